"""The truth about a simulated image, as plain JSON values with units in the names.

Frames and signs are those of the package: image frame x right, y up; slip of the upper layer in the lower layer's
crystal frame; twist counter-clockwise in the crystal frame, so that a mirrored image shows the opposite one.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray

from picostem.errors import UsageError
from picostem.image import Image
from picostem.physics import DEGREE, KV, MRAD
from picostem.simulate.acquisition import AcquisitionSettings
from picostem.simulate.microscope import Microscope
from picostem.structure import Layer, Monolayer, Stack, image_from_crystal

FloatArray = NDArray[np.float64]

CHALCOGENS = frozenset({"O", "S", "Se", "Te"})
_FRAME = (
    "image frame x right, y UP, origin at the image centre, A; col=(nx-1)/2+x/px, row=(ny-1)/2-y/px. crystal frame: a "
    "along +x, b at +gamma (ccw). r_image = R(rotation) M r_crystal + origin, M=diag(1,-1) if mirrored"
)


@dataclass(frozen=True)
class Placement:
    """Where layer 1's crystal frame lies in the image: r_image = R(rotation) M r_crystal + origin (rad, Å)."""

    rotation: float = 0.0
    mirrored: bool = False
    origin: tuple[float, float] = (0.0, 0.0)

    @property
    def matrix(self) -> FloatArray:
        """R(rotation) M, shape (2, 2), for column vectors."""
        return image_from_crystal(self.rotation, self.mirrored)


def describe(
    stack: Stack,
    microscope: Microscope,
    settings: AcquisitionSettings,
    image: Image,
    placement: Placement,
    atoms: Atoms | None = None,
) -> dict[str, Any]:
    """All that is true of a simulated image.

    Args:
        stack, microscope, settings, placement: what was simulated.
        image: the result, for its name, shape and pixel size.
        atoms: those that were imaged, in the image frame, if some of the perfect stack's are missing.

    Returns:
        keys name, task (slip, twist, trilayer, negative or stack), image, frame, structures, layers, layer1 (and layer2
        of a twisted bilayer), twist_deg, slip or trilayer or negative, microscope, acquisition, specimen.
    """
    if image.pixel_size is None:
        raise UsageError(f"image {image.name!r} has no pixel size")
    drift = np.asarray(settings.drift)
    first = stack.layers[0]
    truth: dict[str, Any] = {
        "name": image.name,
        "task": _task(stack),
        "image": _image(image),
        "frame": _FRAME,
        "structures": {layer.monolayer.name: _structure(layer.monolayer) for layer in stack.layers},
        "layers": [
            {"index": index, **_layer(layer), **_vacancies(stack, index, atoms, image, placement)}
            for index, layer in enumerate(stack.layers, start=1)
        ],
        "layer1": _lattice(first, placement, drift) | _origin(image, placement, drift),
        **_interfaces(stack, placement, drift),
        "microscope": _microscope(microscope),
        "acquisition": _acquisition(settings, image, drift),
        "specimen": {"vacancies": None if atoms is None else "atoms removed, no relaxation", "contamination": None},
    }
    return truth


def _task(stack: Stack) -> str:
    if len(stack.layers) == 2:
        try:
            stack.unit_cell()
        except UsageError:
            return "twist"
    return {1: "negative", 2: "slip", 3: "trilayer"}.get(len(stack.layers), "stack")


def _image(image: Image) -> dict[str, Any]:
    assert image.pixel_size is not None
    rows, columns = image.data.shape
    dy, dx = image.pixel_size
    return {"shape_rows_cols": [rows, columns], "pixel_size_A": dx, "field_A": [columns * dx, rows * dy]}


def _structure(monolayer: Monolayer) -> dict[str, Any]:
    a, b = monolayer.cell
    atoms = zip(monolayer.symbols, monolayer.scaled.tolist(), monolayer.positions[:, 2].tolist(), strict=True)
    return {
        "a": float(np.hypot(*a)),
        "b": float(np.hypot(*b)),
        "gamma": float(np.arctan2(b[1], b[0]) / DEGREE),
        "atoms": [[symbol, *scaled, z] for symbol, scaled, z in atoms],
        "layer_spacing": monolayer.layer_spacing,
    }


def _layer(layer: Layer) -> dict[str, Any]:
    return {
        "structure": layer.monolayer.name,
        "z_A": layer.z,
        "position_cart_A": list(layer.position),
        "position_frac": (np.asarray(layer.position) @ layer.monolayer.reciprocal.T).tolist(),
        "twist_deg": layer.twist / DEGREE,
    }


def _vacancies(
    stack: Stack, index: int, atoms: Atoms | None, image: Image, placement: Placement
) -> dict[str, dict[str, float]]:
    """Share of missing metal (that is, other than chalcogen) and chalcogen atoms of one layer, within the image."""
    if atoms is None:
        return {"vacancy_fraction_actual_in_image": {"metal": 0.0, "chalcogen": 0.0}}
    field = np.array(_image(image)["field_A"])
    perfect = stack.atoms(
        rotation=placement.rotation, mirrored=placement.mirrored, origin=placement.origin, extent=(field[0], field[1])
    )
    counts = np.array([_sites(group, index, field) for group in (atoms, perfect)])
    missing = 1 - counts[0] / np.maximum(counts[1], 1)
    shares = np.where(counts[1] > 0, missing, 0.0).tolist()
    return {"vacancy_fraction_actual_in_image": dict(zip(("metal", "chalcogen"), shares, strict=True))}


def _sites(atoms: Atoms, layer: int, field: FloatArray) -> tuple[int, int]:
    """Numbers of other atoms and of chalcogen atoms of one layer, counted from 1, within the field (width, height)."""
    here = (atoms.arrays["layer"] == layer) & np.all(np.abs(atoms.positions[:, :2]) < field / 2, axis=1)
    chalcogen = np.isin(atoms.numbers[here], [atomic_numbers[symbol] for symbol in CHALCOGENS])
    return int(np.sum(~chalcogen)), int(np.sum(chalcogen))


def _lattice(layer: Layer, placement: Placement, drift: FloatArray) -> dict[str, Any]:
    rows = layer.cell @ placement.matrix.T
    return {
        "structure": layer.monolayer.name,
        "rows_crystal_A": layer.monolayer.cell.tolist(),
        "rotation_deg": placement.rotation / DEGREE,
        "mirrored": placement.mirrored,
        "rows_image_A": rows.tolist(),
        "rows_apparent_A": (rows @ np.linalg.inv(drift).T).tolist(),
    }


def _origin(image: Image, placement: Placement, drift: FloatArray) -> dict[str, Any]:
    """The crystal's origin in the specimen, and the pixel where the drifted image shows it."""
    assert image.pixel_size is not None
    rows, columns = image.data.shape
    x, y = np.linalg.solve(drift, placement.origin).tolist()
    column, row = (columns - 1) / 2 + x / image.pixel_size[1], (rows - 1) / 2 - y / image.pixel_size[0]
    return {"origin_image_A": list(placement.origin), "origin_col_row": [column, row]}


def _interfaces(stack: Stack, placement: Placement, drift: FloatArray) -> dict[str, Any]:
    """What is asked of the image: slip, twist, the three positions of a trilayer, or nothing."""
    slips, twists = stack.slips, stack.twists / DEGREE
    lower = stack.layers[0].monolayer
    task = _task(stack)
    if task == "negative":
        return {"negative": f"monolayer {lower.name}"}
    if task == "slip":
        return {"twist_deg": float(twists[0]), "slip": _slip(slips[0], lower, placement, drift)}
    if task == "twist":
        seen = -twists[0] if placement.mirrored else twists[0]
        second = _lattice(stack.layers[1], placement, drift)
        kept = {key: second[key] for key in ("structure", "rows_image_A", "rows_apparent_A")}
        return {"twist_deg": float(twists[0]), "twist_seen_in_image_deg": float(seen), "layer2": kept}
    named = {f"D{k}{k + 1}": slip for k, slip in enumerate(slips, start=1)}
    cartesian = {f"{key}_cart_A": slip.tolist() for key, slip in named.items()}
    fractional = {f"{key}_frac": (slip @ lower.reciprocal.T).tolist() for key, slip in named.items()}
    return {"twists_deg": twists.tolist(), task: cartesian | fractional}


def _slip(slip: FloatArray, lower: Monolayer, placement: Placement, drift: FloatArray) -> dict[str, Any]:
    seen = placement.matrix @ slip
    fraction = slip @ lower.reciprocal.T
    steps = np.array(list(itertools.product((-1, 0, 1), repeat=2)))
    shortest = np.hypot(*((fraction - np.round(fraction) + steps) @ lower.cell).T).min()
    return {
        "D_cart_A": slip.tolist(),
        "D_frac": fraction.tolist(),
        "D_image_A": seen.tolist(),
        "D_apparent_image_A": np.linalg.solve(drift, seen).tolist(),
        "norm_minimal_A": float(shortest),
    }


def _microscope(m: Microscope) -> dict[str, Any]:
    return {
        "kV": m.voltage_eV / KV,
        "semiangle_mrad": m.semiangle / MRAD,
        "detector_mrad": [m.detector_inner / MRAD, m.detector_outer / MRAD],
        "defocus_A": m.defocus,
        "aberrations": {
            "C10_A": -m.defocus,
            "C12_A": m.C12,
            "phi12_deg_image": m.phi12 / DEGREE,
            "C21_A": m.C21,
            "phi21_deg_image": m.phi21 / DEGREE,
            "C30_A": m.C30,
            "convention": "abTEM polar; defocus = -C10, referred to the mid-plane of layer 1; angles ccw, image frame",
        },
        "source_fwhm_A": m.source_fwhm,
    }


def _acquisition(settings: AcquisitionSettings, image: Image, drift: FloatArray) -> dict[str, Any]:
    assert image.pixel_size is not None
    electrons = settings.dose * image.pixel_size[0] * image.pixel_size[1]
    counts = (image.data.mean(dtype=np.float64) - settings.offset) / settings.gain
    return {
        "dose_e_per_A2": settings.dose,
        "electrons_per_pixel": electrons,
        "mean_detected_counts_per_pixel": float(counts),
        "noise": "Poisson counts + Gaussian read noise; image = gain*(counts+read*N(0,1))+offset",
        "gain": settings.gain,
        "offset": settings.offset,
        "read_noise_counts": settings.read_noise,
        "drift_matrix_specimen_from_scan": drift.tolist(),
        "drift_matrix_apparent_from_ideal": np.linalg.inv(drift).tolist(),
        "drift_note": "scan point p (x right,y up, A) samples specimen point T p; a vector v appears as T^-1 v",
        "fast_axis_jitter_rms_px": settings.jitter,
        "line_offset_rms_px": settings.line_offset,
        "slow_axis_line_jitter_rms_px": settings.line_jitter,
        "background_peak_over_mean_signal": settings.contamination,
    }
