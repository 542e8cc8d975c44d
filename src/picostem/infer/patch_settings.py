"""How networks for patches are trained, and the settings that belong together; needs no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from picostem.dataset.patch_plan import PatchPlan, Task
from picostem.errors import UsageError
from picostem.infer.patch_labels import Form, twist_period
from picostem.physics import DEGREE
from picostem.structure.materials import load_monolayer
from picostem.training import warmed_up


@dataclass(frozen=True)
class PatchSettings:
    """How a network for patches is trained. The defaults are the published recipe (TED-Gen, Methods).

    Attributes:
        form: of the labels; published: plain.
        width: of the network's layers over those of ResNet-50, or of the network for twists.
        steps: published: 3000 epochs.
        batch: patches in a step.
        learning_rate: its highest value, reached in the first `warm_up` of the steps, to fall evenly to nothing.
        warm_up: share of the steps; published: 60 of 3000 epochs.
        clip: largest norm of a gradient; None for any, as published.
        validation, validate_every: patches that are drawn once; steps after which the errors on them are measured.

    Raises:
        UsageError: numbers out of range.
    """

    form: Form = "plain"
    width: float = 1.0
    steps: int = 100_000
    batch: int = 32
    learning_rate: float = 1e-3
    warm_up: float = 0.02
    clip: float | None = None
    validation: int = 512
    validate_every: int = 500

    def __post_init__(self) -> None:
        # normalisation over a batch needs two
        if min(self.steps, self.batch - 1, self.validation, self.validate_every) < 1 or not self.learning_rate > 0:
            raise UsageError(f"expected positive steps, rate and validation, and two patches in a batch: {self}")
        if not (0 <= self.warm_up <= 1 and 0.05 <= self.width <= 4 and (self.clip is None or self.clip > 0)):
            raise UsageError(f"expected a warm-up from 0 to 1, a width from 0.05 to 4 and a positive clip: {self}")

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        return self.learning_rate * warmed_up(step, self.steps, round(self.warm_up * self.steps))

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class PatchPreset:
    """Settings of patches and training that belong together.

    Attributes:
        side, pixel_A: of the patches; both together are the window, of 2 to 5 nm as published.
        settings: of the training.
        rotation_deg: how far off its orientation the crystal may be.
    """

    side: int
    pixel_A: float
    settings: PatchSettings
    rotation_deg: float = 3.0

    def plan(self, material: str, task: Task, **changes: Any) -> PatchPlan:
        """Patches of this size, twists up to the largest that there is; `changes` are of other settings of a plan.

        Raises:
            UsageError: as `PatchPlan` does, or densities of what is no twist.
        """
        if self.settings.form == "density" and task != "twist":
            raise UsageError(f"the network for twists tells no {task}: take another one")
        given: dict[str, Any] = {"side": self.side, "pixel_A": self.pixel_A, "rotation_deg": self.rotation_deg}
        if task == "twist":
            given["twist_deg"] = (0.0, twist_period(load_monolayer(material)) / DEGREE / 2)
        return PatchPlan(material, task, **given | changes)


PRESETS = {
    "ted-gen": PatchPreset(224, 0.15, PatchSettings()),
    "ted-gen-small": PatchPreset(
        64, 0.36, PatchSettings(form="waves", width=0.5, steps=12_000, validation=512, validate_every=500)
    ),
    "rings": PatchPreset(
        110,
        0.36,
        PatchSettings(
            form="density", steps=3000, batch=64, learning_rate=3e-3, clip=5.0, validation=1024, validate_every=250
        ),
        rotation_deg=180.0,
    ),
}
"""By name: the published network and recipe; a smaller one, whose labels have no seam, that trains on a processor; and
one for twists, of any orientation, that trains in minutes."""


def preset(name: str) -> PatchPreset:
    """A preset by name; raises `UsageError` with those there are."""
    if name not in PRESETS:
        raise UsageError(f"no preset {name!r}: take one of {', '.join(PRESETS)}")
    return PRESETS[name]
