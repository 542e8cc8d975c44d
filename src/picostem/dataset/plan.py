"""What a set of labelled harmonics is made of, saved with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from picostem.errors import DataError, UsageError
from picostem.resolve.hypotheses import antiparallel
from picostem.structure.materials import load_monolayer
from picostem.structure.monolayer import Monolayer

Amount = tuple[float, float]
"""Share of the samples that suffer it, and how much of it they suffer at most; amounts are drawn evenly from 0 on."""


@dataclass(frozen=True)
class Corruptions:
    """How often windows are corrupted, each way independently of the others, and how much; see `corruption`.

    Attributes:
        vacancies: probability that an atom is missing.
        hole: share of the window.
        partial_layer: share of the window in which the upper layers are missing.
        contamination: dirt that scatters, over the window's mean.
        absorption: share of the signal that dirt takes away.
        jitter: rms displacement of rows, each way, Å.
        blur: variance, Å², beyond that of the microscope.
        read_noise: standard deviation over that of the electrons' counting.
        model: rms error of each harmonic over its size, for what microscopes and specimens do and the simulation does
            not; that of noise-free multislice images of bilayers is 0.02 to 0.09.

    Raises:
        UsageError: shares outside 0 to 1, or amounts below 0 or above what they can be.
    """

    vacancies: Amount = (0.3, 0.12)
    hole: Amount = (0.15, 0.35)
    partial_layer: Amount = (0.05, 0.35)
    contamination: Amount = (0.15, 1.0)
    absorption: Amount = (0.05, 0.4)
    jitter: Amount = (0.1, 0.15)
    blur: Amount = (0.1, 0.1)
    read_noise: Amount = (0.2, 1.0)
    model: Amount = (0.7, 0.08)

    def __post_init__(self) -> None:
        bounded = ("vacancies", "hole", "partial_layer", "absorption")
        for name, (share, most) in self.as_dict().items():
            high = 1.0 if name in bounded else math.inf
            if not (0 <= share <= 1 and 0 <= most <= high and math.isfinite(most)):
                raise UsageError(
                    f"{name} is {share:g} of the samples, {most:g} at most; expected 0 to 1, and 0 to {high:g}"
                )

    def as_dict(self) -> dict[str, Amount]:
        """The amounts by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def none(cls) -> Corruptions:
        """Windows of perfect crystals, with nothing but the noise of counting."""
        return cls(**{field.name: (0.0, 0.0) for field in fields(cls)})


@dataclass(frozen=True)
class Plan:
    """A set of windows with known slips.

    Attributes:
        material: a built-in name or a structure file of one material.
        layers: 2 or 3. antiparallel: whether the upper one of two is turned by 180°.
        window_A: side of the windows, Å.
        count: how many there are, where they are stored.
        step_A: slips lie on a grid of about this step, which divides the cell; None for any slip.
        seed: of everything random, where they are stored.
        dose: least and most electrons of the beam per Å², drawn evenly in the logarithm.
        corruptions: how often and how much windows suffer.
        outliers: share of samples that are no such stack at all.

    Raises:
        UsageError: numbers out of range, or antiparallel layers where there are none.
    """

    material: str
    layers: int = 2
    antiparallel: bool = False
    window_A: float = 20.0
    count: int = 100_000
    step_A: float | None = None
    seed: int = 0
    dose: tuple[float, float] = (3e3, 1e5)
    corruptions: Corruptions = Corruptions()
    outliers: float = 0.1

    def __post_init__(self) -> None:
        if self.layers not in (2, 3) or (self.antiparallel and self.layers != 2):
            raise UsageError(f"got {self.layers} layers; expected 2 or 3, and 2 where they are antiparallel")
        for name, low, high in (("window_A", 8.0, 500.0), ("count", 1, math.inf), ("seed", 0, math.inf)):
            if not low <= getattr(self, name) <= high:
                raise UsageError(f"{name} is {getattr(self, name):g}; expected {low:g} to {high:g}")
        if self.step_A is not None and not 0.02 <= self.step_A <= 1.0:
            raise UsageError(f"step_A is {self.step_A:g}; expected 0.02 to 1 Å, or none for any slip")
        if not (0 < self.dose[0] <= self.dose[1] < math.inf):
            raise UsageError(f"doses go from a least to a most above 0, got {self.dose}: change their order")
        if not 0 <= self.outliers < 1:
            raise UsageError(f"outliers is {self.outliers:g}; expected a share from 0 to below 1")

    def stack(self) -> tuple[Monolayer, ...]:
        """The layers, from the beam's entrance on.

        Raises:
            UsageError: the layer turned by 180° is the same layer, or the material is not known.
        """
        layer = load_monolayer(self.material)
        if not self.antiparallel:
            return (layer,) * self.layers
        turned = antiparallel(layer)
        if turned is None:
            raise UsageError(f"{layer.name} turned by 180° is the same layer: leave antiparallel out")
        return layer, turned

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Plan:
        """The inverse of `as_dict`, from JSON.

        Raises:
            DataError: names missing or unknown, or values that are no plan's.
        """
        names = {field.name for field in fields(cls)}
        if set(values) != names:
            wrong = ", ".join(sorted(names ^ set(values)))
            raise DataError(f"a plan has exactly the entries {', '.join(sorted(names))}; missing or unknown: {wrong}")
        try:
            amounts = {name: (float(one[0]), float(one[1])) for name, one in values["corruptions"].items()}
            dose = (float(values["dose"][0]), float(values["dose"][1]))
            return cls(**{**values, "corruptions": Corruptions(**amounts), "dose": dose})
        except (UsageError, TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            raise DataError(f"no plan of a data set ({error}): make the set anew") from error
