"""What a set of labelled patches is made of: pictures of stacks at one pixel size, as the published way learns from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from picostem.dataset.plan import Amount, Plan
from picostem.errors import DataError, UsageError
from picostem.resolve.evidence import HARMONIC_LIMIT
from picostem.structure.monolayer import Monolayer

Task = Literal["slip", "antiparallel", "trilayer", "twist"]

HIGHEST = 0.48
"""Cycles per pixel that a pixel size may put the highest harmonics at."""


@dataclass(frozen=True)
class PatchCorruptions:
    """How often patches are corrupted, each way independently of the others, and how much; see `patch_corruption`.

    Attributes:
        vacancies: probability that an atom is missing.
        hole: share of the patch that a round hole takes, smooth at its edge.
        mask: share of the patch that is cut out as a rectangle.
        contamination: dirt that scatters, over the patch's mean.
        absorption: share of the signal that dirt takes away.
        blur: variance of a Gaussian, Å².
        read_noise: standard deviation of Gaussian noise over that of the electrons' counting.

    Raises:
        UsageError: shares outside 0 to 1, or amounts below 0 or above what they can be.
    """

    vacancies: Amount = (0.3, 0.12)
    hole: Amount = (0.15, 0.25)
    mask: Amount = (0.1, 0.1)
    contamination: Amount = (0.15, 1.0)
    absorption: Amount = (0.05, 0.4)
    blur: Amount = (0.1, 0.1)
    read_noise: Amount = (0.3, 2.0)

    def __post_init__(self) -> None:
        bounded = ("vacancies", "hole", "mask", "absorption")
        for name, (share, most) in self.as_dict().items():
            high = 1.0 if name in bounded else math.inf
            if not (0 <= share <= 1 and 0 <= most <= high and math.isfinite(most)):
                raise UsageError(
                    f"{name} is {share:g} of the patches, {most:g} at most; expected 0 to 1, and 0 to {high:g}"
                )

    def as_dict(self) -> dict[str, Amount]:
        """The amounts by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def none(cls) -> PatchCorruptions:
        """Perfect crystals, with nothing but the noise of counting."""
        return cls(**{field.name: (0.0, 0.0) for field in fields(cls)})


@dataclass(frozen=True)
class PatchPlan:
    """A set of square patches with known slips or twists.

    The crystal lies in all patches alike, but for a small turn and a small change of scale: a of layer 1 at
    `orientation_deg` from +x, counter-clockwise. Slips are labelled in the crystal frame, as fractions of the cell,
    so that neither changes them. Patches have their size in Å as in pixels: nothing is resized to fit. Cropping, as
    TED-Gen (Methods) does with larger pictures, is here where the lattice starts, anywhere in its cell, and where the
    layers of a twist start, anywhere in their moiré.

    Attributes:
        material: a built-in name or a structure file of one material.
        task: "slip" of two layers, "antiparallel" for an upper one turned by 180°, "trilayer", or "twist".
        side: pixels. pixel_A: Å per pixel.
        orientation_deg: of layer 1 in the patches.
        rotation_deg: how far it may be turned from there, both ways.
        scale: share by which the crystal may be larger or smaller.
        flips: whether patches are mirrored where that leaves a stack of this kind.
        step_A: slips lie on a grid of about this step (published: 0.1 to 0.4), which divides the cell; None for any.
        twist_deg: the least and the most twist.
        twist_step_deg: twists lie on a grid of this step from the least on; None for any.
        dose: least and most electrons of the beam per Å², drawn evenly in the logarithm.
        corruptions: how often and how much patches suffer.
        source: "fast", the simulation as it is; "styled:NAME", in a learned style, by name or folder; or
            "multislice:FOLDER", cropped from the folder's noise-free multislice images, see `patch_images`. Stackings
            and vacancies are then those of the images, and what the plan says of them is not asked.

    Raises:
        UsageError: numbers out of range, a task or source that there is not, or a grid of labels for images.
    """

    material: str
    task: Task = "slip"
    side: int = 64
    pixel_A: float = 0.36
    orientation_deg: float = 0.0
    rotation_deg: float = 3.0
    scale: float = 0.03
    flips: bool = True
    step_A: float | None = None
    twist_deg: tuple[float, float] = (0.0, 60.0)
    twist_step_deg: float | None = None
    dose: tuple[float, float] = (3e3, 1e5)
    corruptions: PatchCorruptions = PatchCorruptions()
    source: str = "fast"

    def __post_init__(self) -> None:
        if self.task not in get_args(Task):
            raise UsageError(f"no task {self.task!r}: take one of {', '.join(get_args(Task))}")
        largest = HIGHEST / HARMONIC_LIMIT * (1 - abs(self.scale))
        limits = {
            "side": (16, 2048),
            "scale": (0.0, 0.3),
            "pixel_A": (0.02, largest),
            "orientation_deg": (-360.0, 360.0),
            "rotation_deg": (0.0, 180.0),
        }
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise UsageError(f"{name} is {getattr(self, name):g}; expected {low:g} to {high:.3g}")
        least, most = self.twist_deg
        if not -180 <= least < most <= 180:
            raise UsageError(
                f"twists go from a least to a most within a turn, got {self.twist_deg}°: change their order"
            )
        if self.twist_step_deg is not None and not 0 < self.twist_step_deg <= most - least:
            raise UsageError(f"twist_step_deg is {self.twist_step_deg:g}; expected above 0 to {most - least:g}")
        if self.source != "fast" and not (self.style or self.images):
            raise UsageError(f"no source {self.source!r}: take fast, styled:NAME or multislice:FOLDER")
        if self.images and (self.step_A, self.twist_step_deg) != (None, None):
            raise UsageError(f"images have the stackings that they have: leave the step out, or {self.source!r}")
        self.harmonics()

    @property
    def style(self) -> str:
        """Name or folder of the style; empty where the source is another one."""
        return self.source.removeprefix("styled:") if self.source.startswith("styled:") else ""

    @property
    def images(self) -> str:
        """Folder of the multislice images; empty where the source is another one."""
        return self.source.removeprefix("multislice:") if self.source.startswith("multislice:") else ""

    @property
    def extent_A(self) -> float:
        """Side of the patches, Å."""
        return self.side * self.pixel_A

    def harmonics(self) -> Plan:
        """The stacks and slips, as a plan of harmonics; raises `UsageError` as that does."""
        three = 3 if self.task == "trilayer" else 2
        window = min(max(self.extent_A, 8.0), 500.0)
        return Plan(self.material, three, self.task == "antiparallel", window, step_A=self.step_A, dose=self.dose)

    def stack(self) -> tuple[Monolayer, ...]:
        """The layers, from the beam's entrance on, not twisted; raises `UsageError` as `Plan.stack` does."""
        return self.harmonics().stack()

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PatchPlan:
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
            pairs = {name: (float(values[name][0]), float(values[name][1])) for name in ("dose", "twist_deg")}
            return cls(**{**values, **pairs, "corruptions": PatchCorruptions(**amounts)})
        except (UsageError, TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            raise DataError(f"no plan of patches ({error}): make the set anew") from error
