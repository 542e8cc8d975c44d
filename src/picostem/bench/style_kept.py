"""Whether the structure is kept: the slips that `resolve` finds in styled images against their labels.

Part of an error is the estimator's own: it reckons with channelling between the layers, which the fast simulation of
the content leaves out. So the slip of the same content with Gaussian noise stands beside, and how far they are apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from picostem.bench.case import Case
from picostem.bench.style_content import told
from picostem.bench.style_peaks import Matched
from picostem.bench.table import Table, number
from picostem.errors import PicostemError, UsageError
from picostem.image import Image
from picostem.pipeline import resolve
from picostem.simulate import Microscope
from picostem.simulate.experiment import LINEAR
from picostem.structure import SlipEquivalence

STYLED, GAUSSIAN = "styled", "Gaussian, same noise"
HEAD = (
    "image",
    "slips",
    "not found",
    "median Å",
    "95 % Å",
    "worst Å",
    "bound Å",
    "95 % from Gaussian's Å",
    "columns",
    "invented",
    "lost",
    "moved Å",
)


@dataclass(frozen=True)
class SlipKept:
    """The slip found in one image against its label.

    Attributes:
        error: distance to the nearest equivalent of the label, Å; None where no slip was found.
        bound: Cramér-Rao bound of the slip, Å; None as error.
        slip: that was found, Å, lower layer's crystal frame; None as error.
    """

    error: float | None
    bound: float | None
    slip: tuple[float, float] | None = None


@dataclass(frozen=True)
class Kept:
    """All slips and columns of one kind of image.

    Attributes:
        apart: distance of each slip from that found with Gaussian noise instead, Å, where both were found.
    """

    name: str
    slips: tuple[SlipKept, ...]
    columns: tuple[Matched, ...]
    apart: tuple[float, ...] = ()

    def totals(self) -> dict[str, float | int | None]:
        """Errors in Å, of the slips that were found; columns of all images."""
        errors = [s.error for s in self.slips if s.error is not None]
        bounds = [s.bound for s in self.slips if s.bound is not None]
        moved = [m.displacement for m in self.columns]
        return {
            "slips": len(self.slips),
            "not_found": len(self.slips) - len(errors),
            "median_error_A": float(np.median(errors)) if errors else None,
            "error_95_A": float(np.quantile(errors, 0.95)) if errors else None,
            "worst_error_A": max(errors) if errors else None,
            "median_bound_A": float(np.median(bounds)) if bounds else None,
            "median_from_noise_A": float(np.median(self.apart)) if self.apart else None,
            "from_noise_95_A": float(np.quantile(self.apart, 0.95)) if self.apart else None,
            "columns": sum(m.count for m in self.columns),
            "invented": sum(m.invented for m in self.columns),
            "lost": sum(m.lost for m in self.columns),
            "displacement_rms_A": float(np.sqrt(np.mean(np.square(moved)))) if moved else None,
        }

    def row(self) -> tuple[str, ...]:
        """The totals under HEAD."""
        t = self.totals()
        keys = ("median_error_A", "error_95_A", "worst_error_A", "median_bound_A", "from_noise_95_A")
        lengths = (number(t[key], 4) for key in keys)
        counts = (str(t[key]) for key in ("columns", "invented", "lost"))
        return (self.name, str(t["slips"]), str(t["not_found"]), *lengths, *counts, number(t["displacement_rms_A"], 3))


def slip_kept(image: Image, truth: dict[str, Any], microscope: Microscope | None = None) -> SlipKept:
    """Resolve an image of known material and pixel size, and compare its slip with the label.

    Args:
        image: with its pixel size.
        truth: as `picostem simulate` writes it, of two layers on one lattice.
        microscope: what `resolve` is told; None leaves it what the file says.

    Raises:
        UsageError: the truth is not one of a bilayer with a slip.
    """
    case = Case(image.name, Path(image.name), truth)
    if case.task != "slip" or len(case.slips) != 1:
        raise UsageError(
            f"{image.name}: its truth is of the task {case.task!r}; the structure can be checked of two layers on one "
            "lattice, task 'slip'"
        )
    lower, upper = case.monolayers
    scattering = "independent" if truth.get("simulated") == LINEAR else "full"
    options = told(microscope) if microscope else {}
    try:
        result = resolve(image, case.material, layers="2", scattering=scattering, **options)
    except PicostemError:
        return SlipKept(None, None)
    if result.verdict != "slip" or len(result.interfaces) != 1:
        return SlipKept(None, None)
    found = result.interfaces[0]
    error = SlipEquivalence(lower, upper, float(case.twists[0])).distance(found.slip, case.slips[0])
    return SlipKept(float(error), float(found.slip_bound), (float(found.slip[0]), float(found.slip[1])))


def slips_apart(one: SlipKept, other: SlipKept, truth: dict[str, Any]) -> float | None:
    """Distance of the slips that were found in two images of one content, Å; None where one of them was not."""
    if one.slip is None or other.slip is None:
        return None
    case = Case("", Path(), truth)
    lower, upper = case.monolayers
    return float(SlipEquivalence(lower, upper, float(case.twists[0])).distance(one.slip, other.slip))


def kept_table(kinds: Sequence[Kept]) -> Table:
    """One line for each kind of image."""
    return Table("Structure kept", HEAD, tuple(kind.row() for kind in kinds))
