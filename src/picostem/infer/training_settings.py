"""How a network for stackings is trained; needs no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from picostem.errors import UsageError
from picostem.training import warmed_up


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained.

    Attributes:
        steps, batch: how many, of how many samples.
        learning_rate: its highest value, which it reaches after `warm_up` steps, to fall evenly to nothing at the end.
        weight_decay: of AdamW.
        clip: largest norm of a gradient.
        averaged: share of the mean network that stays in each step.
        outlier_weight: of telling outliers, beside the likelihood of the stackings.
        validation, validate_every: samples that are drawn once; steps after which the errors on them are measured.
        modes, width, blocks: of the network.

    Raises:
        UsageError: numbers out of range.
    """

    steps: int = 20_000
    batch: int = 512
    learning_rate: float = 1e-3
    warm_up: int = 500
    weight_decay: float = 0.01
    clip: float = 5.0
    averaged: float = 0.999
    outlier_weight: float = 0.5
    validation: int = 4096
    validate_every: int = 500
    modes: int = 4
    width: int = 512
    blocks: int = 4

    def __post_init__(self) -> None:
        counts = (self.steps, self.batch, self.validation - 1, self.validate_every)  # the spread of one is none
        if min(counts) < 1 or self.warm_up < 0 or not (self.learning_rate > 0 and self.clip > 0):
            raise UsageError(f"expected positive steps, batch, rate and clip, and two samples to validate with: {self}")
        if not (0 <= self.averaged < 1 and self.weight_decay >= 0 and self.outlier_weight >= 0):
            raise UsageError(f"expected averaged from 0 to below 1, and no negative weights: {self}")

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        return self.learning_rate * warmed_up(step, self.steps, self.warm_up)

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)
