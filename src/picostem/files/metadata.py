"""Voltage and angles of the microscope out of the many places where files keep them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from picostem.image import Acquisition

_DM = "original/ImageList/TagGroup0/ImageTags"

VOLTAGE_eV: tuple[tuple[str, float], ...] = (
    ("metadata/Acquisition_instrument/TEM/beam_energy", 1e3),  # HyperSpy, keV
    ("original/Optics/AccelerationVoltage", 1.0),  # Velox, V
    (f"{_DM}/Microscope Info/Voltage", 1.0),  # DigitalMicrograph, V
    (f"{_DM}/source/Tags at creation/Microscope Info/Voltage", 1.0),  # DigitalMicrograph's stack builder
    ("original/ObjectInfo/ExperimentalDescription/High tension_kV", 1e3),  # TIA (emi)
    ("original/microscope/high tension", 1.0),  # Berkeley EMD, V
    ("original/experiment/acceleration_voltage", 1.0),  # NSID, V
)
"""Where it may stand, and the factor to eV."""

SEMIANGLE_rad: tuple[tuple[str, float], ...] = (
    ("metadata/Acquisition_instrument/TEM/convergence_angle", 1e-3),  # HyperSpy, mrad
    ("original/Optics/BeamConvergence", 1.0),  # Velox, rad
    (f"{_DM}/EELS/Experimental Conditions/Convergence semi-angle (mrad)", 1e-3),
    ("original/microscope/convergence angle", 1.0),  # Berkeley EMD, rad
    ("original/experiment/convergence_angle", 1e-3),  # NSID, mrad
)

DETECTOR_rad = "original/DetectorMetadata/CollectionAngleRange"  # Velox, rad

_VOLTAGES_eV = (1e3, 3e6)
"""From scanning to high-voltage microscopes: outside, the number is a placeholder or in another unit."""
_SEMIANGLES = (1e-4, 0.2)
"""rad. No probe-forming lens goes beyond 0.2 rad: a larger number is in mrad though it should be in rad."""
_DETECTOR_ANGLES = (0.0, math.pi / 2)


def acquisition_from(metadata: Mapping[str, Any], original: Mapping[str, Any]) -> Acquisition:
    """What RosettaSciIO's (HyperSpy's) metadata and the file's own metadata say; implausible numbers are dropped."""
    tree = {"metadata": metadata, "original": original}
    inner = _number(_find(tree, f"{DETECTOR_rad}/begin"), *_DETECTOR_ANGLES)
    outer = _number(_find(tree, f"{DETECTOR_rad}/end"), *_DETECTOR_ANGLES)
    ring = inner is not None and outer is not None and inner < outer
    return Acquisition(
        voltage_eV=_first(tree, VOLTAGE_eV, *_VOLTAGES_eV),
        semiangle=_first(tree, SEMIANGLE_rad, *_SEMIANGLES),
        detector_inner=inner if ring else None,
        detector_outer=outer if ring else None,
    )


def _first(
    tree: Mapping[str, Any], places: tuple[tuple[str, float], ...], lowest: float, highest: float
) -> float | None:
    """The first plausible number at any of these places."""
    for place, factor in places:
        number = _number(_find(tree, place), lowest / factor, highest / factor)
        if number is not None:
            return number * factor
    return None


def _find(tree: object, place: str) -> object:
    for name in place.split("/"):
        if not isinstance(tree, Mapping) or name not in tree:
            return None
        tree = tree[name]
    return tree


def _number(value: object, lowest: float, highest: float) -> float | None:
    """A number between two others, however it was written; None for anything else."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if lowest <= number <= highest else None
