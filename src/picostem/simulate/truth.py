"""The truth about a simulated image, as plain JSON values with units in the names.

Frames and signs are those of the package: image frame x right, y up; slip of the upper layer in the lower layer's
crystal frame; twist counter-clockwise in the crystal frame, so that a mirrored image shows the opposite one.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray

from picostem.errors import UsageError
from picostem.image import Image
from picostem.physics import DEGREE
from picostem.simulate.acquisition import AcquisitionSettings
from picostem.simulate.conditions import acquisition_truth, microscope_truth
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
        keys name, task (slip, twist, trilayer, twisted trilayer, negative or stack), material (as `load_materials`
        takes it), image, frame, structures, layers, layer1 (and layer2 of a twisted bilayer), twist_deg, slip or
        trilayer or negative, interfaces, microscope, acquisition, specimen.
    """
    if image.pixel_size is None:
        raise UsageError(f"image {image.name!r} has no pixel size")
    material, stack = _material(stack), _named(stack)
    drift = np.asarray(settings.drift)
    first = stack.layers[0]
    structures: dict[str, Monolayer] = {}
    for layer in stack.layers:
        structures.setdefault(layer.monolayer.name, layer.monolayer)
    truth: dict[str, Any] = {
        "name": image.name,
        "task": _task(stack),
        "material": material,
        "image": _image(image),
        "frame": _FRAME,
        "structures": {name: _structure(monolayer) for name, monolayer in structures.items()},
        "layers": [
            {
                "index": index,
                **_layer(layer),
                **_placed(layer, layer.monolayer != structures[layer.monolayer.name], placement, drift),
                **_vacancies(stack, index, atoms, image, placement),
            }
            for index, layer in enumerate(stack.layers, start=1)
        ],
        "layer1": _lattice(first, placement, drift) | _origin(image, placement, drift),
        **_asked(stack, placement, drift),
        "interfaces": _interfaces(stack, placement),
        "microscope": microscope_truth(microscope),
        "acquisition": acquisition_truth(settings, image),
        "specimen": {"vacancies": None if atoms is None else "atoms removed, no relaxation", "contamination": None},
    }
    return truth


def _task(stack: Stack) -> str:
    count = len(stack.layers)
    if count in (2, 3) and not shares_lattice(stack):
        return {2: "twist", 3: "twisted trilayer"}[count]
    return {1: "negative", 2: "slip", 3: "trilayer"}.get(count, "stack")


def shares_lattice(stack: Stack) -> bool:
    """Whether all layers have one lattice, twists of 60° included."""
    try:
        stack.unit_cell()
    except UsageError:
        return False
    return True


def _material(stack: Stack) -> str:
    """One name where all layers share it, else one per layer with slashes between them."""
    names = [layer.monolayer.name for layer in stack.layers]
    return names[0] if len(set(names)) == 1 else "/".join(names)


def _named(stack: Stack) -> Stack:
    """The stack with another name for each monolayer that is neither the first of its name nor that upside down."""
    first: dict[str, Monolayer] = {}
    layers = []
    for index, layer in enumerate(stack.layers, start=1):
        same = first.setdefault(layer.monolayer.name, layer.monolayer)
        if layer.monolayer not in (same, same.flipped()):
            other = replace(layer.monolayer, name=f"{same.name}, layer {index}")
            layer = replace(layer, monolayer=other)
        layers.append(layer)
    return Stack(tuple(layers))


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


def _placed(layer: Layer, flipped: bool, placement: Placement, drift: FloatArray) -> dict[str, Any]:
    """How one layer lies in the image: r_image = R(rotation) M r + position, r in the frame of its listed structure."""
    rows = layer.cell @ placement.matrix.T
    turn = -layer.twist if placement.mirrored else layer.twist
    return {
        "flipped": flipped,
        "rotation_deg": (placement.rotation + turn) / DEGREE,
        "mirrored": placement.mirrored != flipped,
        "rows_image_A": rows.tolist(),
        "rows_apparent_A": (rows @ np.linalg.inv(drift).T).tolist(),
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


def _asked(stack: Stack, placement: Placement, drift: FloatArray) -> dict[str, Any]:
    """What is asked of the image: slip, twist, the positions of three layers, or nothing."""
    twists, task = stack.twists / DEGREE, _task(stack)
    lower = stack.layers[0].monolayer
    if task == "negative":
        return {"negative": f"monolayer {lower.name}"}
    if task == "slip":
        return {"twist_deg": float(twists[0]), "slip": _slip(stack.slips[0], lower, placement, drift)}
    if task == "twist":
        seen = -twists[0] if placement.mirrored else twists[0]
        second = _lattice(stack.layers[1], placement, drift)
        kept = {key: second[key] for key in ("structure", "rows_image_A", "rows_apparent_A")}
        return {"twist_deg": float(twists[0]), "twist_seen_in_image_deg": float(seen), "layer2": kept}
    between = _interfaces(stack, placement)
    named = {f"D{e['lower']}{e['upper']}_{key}": e[f"slip_{key}"] for key in ("cart_A", "frac") for e in between}
    return {"twists_deg": twists.tolist(), "trilayer" if len(stack.layers) == 3 else task: named}


def _interfaces(stack: Stack, placement: Placement) -> list[dict[str, Any]]:
    """Slip and twist between each layer and the next, in the frame of the lower one."""
    return [
        {
            "lower": lower,
            "upper": lower + 1,
            "slip_cart_A": slip.tolist(),
            "slip_frac": (slip @ layer.monolayer.reciprocal.T).tolist(),
            "twist_deg": twist,
            "twist_seen_in_image_deg": -twist if placement.mirrored else twist,
        }
        for lower, (layer, slip, twist) in enumerate(
            zip(stack.layers[:-1], stack.slips, (stack.twists / DEGREE).tolist(), strict=True), start=1
        )
    ]


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
