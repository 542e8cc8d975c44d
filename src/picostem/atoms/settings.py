"""How a network that finds atoms is trained, and what its scenes are like; needs no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from picostem.errors import UsageError

FINDER = "finder"
"""The network that `picostem atoms` asks if none is named; it comes with the package."""
SITES = "tmd"
"""The network for sites of 2H dichalcogenides, with classes; it comes with the package, too."""


@dataclass(frozen=True)
class ScenePlan:
    """What random scenes are made of.

    Attributes:
        crystals: monolayers by name, and structure files, seen along their zone axes.
        share: of specimens that are of these, if there are any; the others are of any crystal, or of none.
        pixel_A: least and most of the pixel size, Å, before the image is resampled.
        counts: least and most electrons of the median column.
        defects: largest share of atoms that are missing, and of atoms that are of another element.
        extent_A: side of a scene, Å.

    Raises:
        UsageError: numbers out of range.
    """

    crystals: tuple[str, ...] = ()
    share: float = 0.4
    pixel_A: tuple[float, float] = (0.05, 0.3)
    counts: tuple[float, float] = (20.0, 4000.0)
    defects: float = 0.06
    extent_A: float = 34.0

    def __post_init__(self) -> None:
        for low, high in (self.pixel_A, self.counts):
            if not 0 < low <= high:
                raise UsageError(f"expected limits above 0, the lower one first, got {self}")
        if not (0 <= self.share <= 1 and 0 <= self.defects <= 1 and self.extent_A > 0):
            raise UsageError(f"expected shares from 0 to 1 and a positive extent, got {self}")


@dataclass(frozen=True)
class AtomSettings:
    """A training; `picostem.training.run` is its loop.

    Attributes:
        steps, batch: of it. side: pixels of the patches that it sees, after resampling.
        learning_rate: its highest value, which it reaches after `warm_up` steps, to fall evenly to nothing at the end.
        weight_decay: of AdamW. clip: largest norm of a gradient.
        offset_weight: of the loss of offsets.
        misjudged: standard deviation of the logarithm of the pixel size, which an uncalibrated image only has roughly.
        validation, validate_every: patches that are drawn once; steps after which the errors on them are measured.
        classes: 1 for atoms whatever they are, or as many as there are in `picostem.atoms.specimens.KINDS`, or in the
            examples that are learned from.
        width, blocks: channels at full resolution, and dilated blocks, of the network.

    Raises:
        UsageError: numbers out of range.
    """

    steps: int = 20_000
    batch: int = 16
    side: int = 112
    learning_rate: float = 1e-3
    warm_up: int = 200
    weight_decay: float = 0.01
    clip: float = 5.0
    offset_weight: float = 1.0
    misjudged: float = 0.3
    validation: int = 64
    validate_every: int = 500
    classes: int = 1
    width: int = 16
    blocks: int = 4

    def __post_init__(self) -> None:
        counts = (self.steps, self.batch, self.validation, self.validate_every, self.classes, self.width, self.blocks)
        if min(counts) < 1 or self.side < 16 or self.side % 4:
            raise UsageError(f"expected positive counts, and patches of 16 pixels or more, a multiple of 4, got {self}")
        if not (self.learning_rate > 0 and self.clip > 0 and min(self.weight_decay, self.misjudged) >= 0):
            raise UsageError(f"expected a positive rate and clip, and nothing negative, got {self}")

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)
