"""What a style is worth: its likeness to the experiment and the structure kept; several trainings side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from picostem.bench.style_content import resolved
from picostem.bench.style_kept import Kept, kept_table
from picostem.bench.style_likeness import LikenessReport, compare
from picostem.bench.style_structure import structure_kept
from picostem.bench.table import Table
from picostem.errors import UsageError
from picostem.files import read_image
from picostem.image import Image
from picostem.simulate import Microscope
from picostem.style.pool import PUBLISHED_MICROSCOPE
from picostem.style.transfer import Style

EXTENT = 40.0
"""Å, side of the images whose slips are found: that of the published experimental images."""

ABLATION_HEAD = (
    "variant", "trainings", "D_KL", "|ΔR_a|", "spectrum", "Gaussian/spectrum", "Fréchet", "median Å", "95 % Å",
    "not found", "invented", "lost",
)  # fmt: skip


@dataclass(frozen=True)
class Experiments:
    """What a style is judged by.

    Attributes:
        images: each scored in its own style. held_out: each scored in the style of the first of `images`.
        material: None takes the style's.
        microscope: of simulations.
    """

    images: tuple[Image, ...]
    held_out: tuple[Image, ...] = ()
    material: str | None = None
    microscope: Microscope = PUBLISHED_MICROSCOPE

    def __post_init__(self) -> None:
        if not self.images:
            raise UsageError("expected an experimental image to score a style against, got none")


@dataclass(frozen=True)
class StyleReport:
    """Figures of one style."""

    name: str
    likeness: tuple[LikenessReport, ...]
    kept: tuple[Kept, ...]

    def totals(self) -> dict[str, float | int | None]:
        """Means over the experimental images that were not held out, and what became of the structure."""
        own = [one for one in self.likeness if not one.held_out] or list(self.likeness)
        structure = self.kept[0].totals() if self.kept else {}
        return {
            "d_kl": float(np.mean([one.styled.d_kl for one in own])),
            "abs_delta_ra": float(np.mean([abs(one.styled.delta_ra) for one in own])),
            "spectrum": float(np.mean([one.styled.spectrum for one in own])),
            "spectrum_gain": float(np.mean([min(one.gain.values()) for one in own])),
            "frechet": float(np.mean([one.styled.frechet for one in own])),
            **{key: structure.get(key) for key in ("median_error_A", "error_95_A", "not_found", "invented", "lost")},
        }

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "style": self.name,
            "totals": self.totals(),
            "likeness": [one.as_dict() for one in self.likeness],
            "structure": {kind.name: kind.totals() for kind in self.kept},
        }

    def tables(self) -> list[Table]:
        """One for each experimental image, and one of the structure."""
        return [one.table() for one in self.likeness] + ([kept_table(self.kept)] if self.kept else [])


def read_experiments(
    files: Sequence[Path], held_out: Sequence[Path], material: str | None, pixel_size: float | None = None
) -> Experiments:
    """Experimental images from files; `pixel_size`, Å, of all of them, if it is known; else the file's or lattice's."""

    def read(file: Path) -> Image:
        image = replace(read_image(file), name=file.stem)
        return image if pixel_size is None else image.with_pixel_size(pixel_size, "user")

    return Experiments(tuple(map(read, files)), tuple(map(read, held_out)), material)


def measure(
    weights: str | Path,
    experiments: Experiments,
    *,
    count: int = 200,
    seed: int = 0,
    baseline: bool = True,
    progress: Callable[[str, int, int], None] | None = None,
) -> StyleReport:
    """Likeness on the same content, and the slips of `count` styled images; a count of 0 leaves the structure out.

    Args:
        weights: a style's name or folder.
        baseline: whether the slips of images with Gaussian noise are found, too, which takes as long again.
        progress: called with what is done, how much of it, and all.

    Raises:
        UsageError: no such style.
        DataError: a style or image that cannot be used.
    """
    style = Style.load(weights)
    material = experiments.material or style.card.material
    scope = experiments.microscope
    images = (*experiments.images, *experiments.held_out)
    reports, first = [], None
    for index, image in enumerate(images):
        if progress is not None:
            progress(image.name, index, len(images))
        result = resolved(image, material, scope)
        first = first or result.image
        like = first if index >= len(experiments.images) else None
        reports.append(compare(result, style, like, microscope=scope, seed=seed))
    kept: tuple[Kept, ...] = ()
    if count:
        own = [one.attribute for one in reports if not one.held_out]
        size = style.card.pixel_size_A
        kept = structure_kept(
            material,
            weights,
            own,
            count=count,
            pixel_size=size,
            extent=EXTENT,
            seed=seed,
            microscope=scope,
            baseline=baseline,
            progress=progress,
        )
    return StyleReport(style.card.name, tuple(reports), kept)


def ablation_table(variants: Mapping[str, Sequence[Mapping[str, float | int | None]]]) -> Table:
    """One line for each variant: mean ± standard deviation of the totals of its trainings."""
    return Table("Ablation", ABLATION_HEAD, tuple(_variant(name, totals) for name, totals in variants.items()))


def _variant(name: str, totals: Sequence[Mapping[str, float | int | None]]) -> tuple[str, ...]:
    digits = {
        "d_kl": 3, "abs_delta_ra": 3, "spectrum": 3, "spectrum_gain": 1, "frechet": 3, "median_error_A": 4,
        "error_95_A": 4, "not_found": 1, "invented": 1, "lost": 1,
    }  # fmt: skip
    return (name, str(len(totals)), *(_spread([t[key] for t in totals], n) for key, n in digits.items()))


def _spread(values: Sequence[float | int | None], digits: int) -> str:
    """Mean ± standard deviation of the values there are."""
    known = [float(value) for value in values if value is not None]
    if not known:
        return "–"
    deviation = f" ± {np.std(known, ddof=1):.{digits}f}" if len(known) > 1 else ""
    return f"{np.mean(known):.{digits}f}{deviation}"
