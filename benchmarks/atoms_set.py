"""Make multislice images without noise for `picostem bench atoms`, each with the exact places of its columns.

    python benchmarks/atoms_set.py FOLDER [--seed 20270411]

At 60 kV: monolayers of WS2 with S1 and S2 vacancies, W substituted by Mo or Cr, and Se in S columns; a boundary of two
grains of WS2, not relaxed; graphene with Si on sites of C. At 200 kV: SrTiO3 along [001], Bi2Te3 along [11-20] and
Nb3Sn along [001], some 15 Å thick; no scene of `picostem.atoms.specimens` shows the last two. Crystals have frozen
phonons, alike in all cells; atoms of monolayers stand still, as if the source were wider by that much. Potentials by
abTEM (the extra "sim"). An image holds the detected fraction of the beam; the command counts the electrons. Truth and
structure lie beside the images. Images that exist are kept, so that the script can be stopped and started again; each
depends on the seed and its name alone. About a minute each on one core.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.io import write
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from picostem.image import Image
from picostem.simulate import AcquisitionSettings, Microscope, MultisliceSettings, write_simulation
from picostem.simulate.conditions import acquisition_truth, microscope_truth
from picostem.simulate.multislice import simulate_atoms_multislice, simulate_periodic_multislice
from picostem.simulate.scattering import rms_displacement
from picostem.structure import Monolayer, Stack, load_monolayer, rotation_matrix

FloatArray = NDArray[np.float64]

ONE_COLUMN = 0.3  # Å between atoms that are one column
BOUNDARY = 1.5  # Å: of columns nearer than that across the boundary, the other grain's goes
MARGIN = 14.0  # Å of specimen around the image
SLAB = 13.0  # Å, least thickness of crystals
PAIRS = 2  # of opposite displacements, so that mean places stay exact
NOISE_FREE = AcquisitionSettings(dose=math.inf)
GRAPHENE = Monolayer(
    "graphene",
    2.46 * np.array([[1, 0], [-0.5, 0.75**0.5]]),
    ("C", "C"),
    np.array([[0, 0, 0], [0, 1.42, 0]]),
    3.35,
    "a = 2.46 Å",
)


@dataclass(frozen=True)
class Column:
    """x, y (Å, image frame) of a column, its name in the perfect crystal, and its atoms: symbols and heights (Å)."""

    x: float
    y: float
    site: str
    atoms: tuple[tuple[str, float], ...]

    @property
    def species(self) -> str:
        """As `picostem.atoms.columns` names it; empty without an atom."""
        count = Counter(symbol for symbol, _ in self.atoms)
        return "".join(f"{symbol}{n if n > 1 else ''}" for symbol, n in sorted(count.items()))


Damage = Callable[[list[Column], np.random.Generator], list[Column]]


@dataclass(frozen=True)
class Plan:
    """An image: crystal, voltage (kV), semiangle and detector (mrad), dose at most (e/Å²), pixels (Å), side (Å)."""

    crystal: Callable[[], Monolayer]
    optics: tuple[float, float, tuple[float, float]]
    dose: float
    pixel: float
    side: float
    thin: bool = True
    damage: Damage | None = None
    grains: bool = False


def sites(layer: Monolayer, turn: float, shift: FloatArray, half: float) -> list[Column]:
    """The columns of a perfect crystal over a square that reaches `half` Å from the centre."""
    groups: list[list[int]] = []
    inverse = np.linalg.inv(layer.cell)
    for atom, place in enumerate(layer.positions[:, :2]):
        for group in groups:
            away = (place - layer.positions[group[0], :2]) @ inverse
            if np.linalg.norm((away - np.rint(away)) @ layer.cell) < ONE_COLUMN:
                group.append(atom)
                break
        else:
            groups.append([atom])
    rotation = rotation_matrix(turn)
    reach = np.ceil(np.abs(inverse.T) @ np.full(2, 1.5 * half)).astype(int) + 1
    steps = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach)), axis=-1).reshape(-1, 2)
    out = []
    for group in groups:
        atoms = tuple((layer.symbols[k], float(layer.positions[k, 2])) for k in group)
        name = Column(0, 0, "", atoms).species
        places = (steps @ layer.cell + layer.positions[group[0], :2]) @ rotation.T + shift
        out += [Column(x, y, name, atoms) for x, y in places.tolist() if max(abs(x), abs(y)) < half]
    return out


def ws2_defects(dopant: str) -> Damage:
    """Vacancies of S1 and S2, a dopant for W, and Se for one S."""

    def damage(columns: list[Column], rng: np.random.Generator) -> list[Column]:
        out = []
        for column, drawn in zip(columns, rng.random(len(columns)).tolist(), strict=True):
            first, *others = column.atoms
            if column.site == "W" and drawn < 0.06:
                column = replace(column, atoms=((dopant, first[1]),))
            elif column.site == "S2" and drawn < 0.07:
                column = replace(column, atoms=tuple(others))
            elif column.site == "S2" and drawn < 0.11:
                column = replace(column, atoms=())
            elif column.site == "S2" and drawn < 0.14:
                column = replace(column, atoms=(("Se", first[1]), *others))
            out.append(column)
        return out

    return damage


def with_silicon(columns: list[Column], rng: np.random.Generator) -> list[Column]:
    """Si on 2 % of the sites, and 1 % of them empty."""
    drawn = rng.random(len(columns)).tolist()
    return [
        replace(column, atoms=(("Si", 0.0),) if one < 0.02 else () if one < 0.03 else column.atoms)
        for column, one in zip(columns, drawn, strict=True)
    ]


def perovskite() -> Monolayer:
    """SrTiO3 along [001]."""
    a = 3.905
    faces = np.array([(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)])
    return slab("SrTiO3", a * np.eye(3), ("Sr", "Ti", "O", "O", "O"), faces * a)


def bismuth_telluride() -> Monolayer:
    """Bi2Te3 (R-3m, a 4.386, c 30.497 Å, Bi at z 0.400, Te at 0 and 0.210) along [11-20]."""
    a, c = 4.386, 30.497
    hexagonal = np.array([[a, 0, 0], [-a / 2, a * 0.75**0.5, 0], [0, 0, c]])
    heights = {"Bi": (0.4, 0.6), "Te": (0.0, 0.2097, 0.7903)}
    centring = np.array([(0, 0, 0), (2 / 3, 1 / 3, 1 / 3), (1 / 3, 2 / 3, 2 / 3)])
    base = [(symbol, (0, 0, z) + shift) for symbol, zs in heights.items() for z in zs for shift in centring]
    frame = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]])  # the beam along a
    cell = np.array([[0, a * 3**0.5, 0], [0, 2 * a / 3**0.5, c / 3], [a, 0, 0]])
    steps = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 3), axis=-1).reshape(-1, 3) @ hexagonal
    symbols, places = [], []
    for symbol, scaled in base:
        inside = (steps + scaled @ hexagonal) @ np.linalg.inv(cell)
        for one in inside[np.all((inside > -1e-6) & (inside < 1 - 1e-6), axis=1)]:
            symbols.append(symbol)
            places.append(one @ cell @ frame.T)
    return slab("Bi2Te3", cell @ frame.T, tuple(symbols), np.array(places))


def niobium_tin() -> Monolayer:
    """Nb3Sn (A15, a 5.29 Å) along [001]."""
    a = 5.29
    niobium = [(0.25, 0, 0.5), (0.75, 0, 0.5), (0.5, 0.25, 0), (0.5, 0.75, 0), (0, 0.5, 0.25), (0, 0.5, 0.75)]
    scaled = np.array([(0, 0, 0), (0.5, 0.5, 0.5), *niobium])
    return slab("Nb3Sn", a * np.eye(3), ("Sn", "Sn", *["Nb"] * 6), scaled * a)


def slab(name: str, cell: FloatArray, symbols: tuple[str, ...], places: FloatArray) -> Monolayer:
    """One cell of a crystal, c along the beam, as a layer of its own."""
    return Monolayer(name, cell[:2, :2], symbols, places, float(cell[2, 2]), "textbook cell")


def thick(layer: Monolayer) -> Monolayer:
    """Cells one upon the other, SLAB thick or more."""
    count = math.ceil(SLAB / layer.layer_spacing)
    heights = [layer.positions + [0, 0, (k - (count - 1) / 2) * layer.layer_spacing] for k in range(count)]
    return replace(layer, symbols=layer.symbols * count, positions=np.concatenate(heights))


SIXTY, TWO_HUNDRED = (60.0, 31.5, (49.5, 120.0)), (200.0, 24.0, (60.0, 120.0))
PLANS = {
    "WS2_Mo": Plan(lambda: load_monolayer("WS2"), SIXTY, 1.5e5, 0.125, 38, damage=ws2_defects("Mo")),
    "WS2_Cr": Plan(lambda: load_monolayer("WS2"), SIXTY, 1.5e5, 0.14, 38, damage=ws2_defects("Cr")),
    "WS2_boundary": Plan(lambda: load_monolayer("WS2"), SIXTY, 1.5e5, 0.13, 38, grains=True),
    "graphene_Si": Plan(lambda: GRAPHENE, (60.0, 33.0, (49.5, 120.0)), 1.5e6, 0.11, 28, damage=with_silicon),
    "SrTiO3": Plan(perovskite, TWO_HUNDRED, 5e4, 0.12, 48, thin=False),
    "Bi2Te3": Plan(bismuth_telluride, TWO_HUNDRED, 5e4, 0.11, 48, thin=False),
    "Nb3Sn": Plan(niobium_tin, TWO_HUNDRED, 5e4, 0.10, 40, thin=False),
}


def make(folder: Path, name: str, seed: int) -> None:
    """Simulate and write one image."""
    if (folder / f"{name}.json").exists():
        return
    started = time.perf_counter()
    plan, rng = PLANS[name], np.random.default_rng([seed, *name.encode()])
    layer, microscope = plan.crystal(), probe(plan, rng)
    turn, shift = rng.uniform(0, 2 * np.pi), rng.uniform(-2, 2, 2)
    shape = (round(plan.side / plan.pixel),) * 2
    columns = sites(layer, turn, shift, plan.side / 2 + MARGIN)
    if plan.grains:
        columns = two_grains(columns, sites(layer, turn + np.radians(21.8), shift, plan.side / 2 + MARGIN), rng)
    if plan.damage is not None:
        columns = plan.damage(columns, rng)
    if plan.thin:
        flat = [(symbol, (one.x, one.y, z)) for one in columns for symbol, z in one.atoms]
        atoms = Atoms([symbol for symbol, _ in flat], positions=[place for _, place in flat])
        data = simulate_atoms_multislice(
            atoms, microscope, shape, plan.pixel, rng, still(layer, "Si", "Se", "Mo", "Cr")
        )
    else:
        data = vibrating(thick(layer), microscope, shape, plan.pixel, rng, rotation=turn, origin=(shift[0], shift[1]))
        cell = np.zeros((3, 3))
        cell[:2, :2], cell[2, 2] = layer.cell, layer.layer_spacing
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / f"{name}.cif", Atoms(layer.symbols, positions=layer.positions, cell=cell, pbc=True))
    image = Image(data, name=name).with_pixel_size(plan.pixel, "user")
    crystal = None if plan.grains or layer is GRAPHENE else f"{name}.cif" if not plan.thin else layer.name
    write_simulation(folder, name, image, truth_of(name, plan, image, microscope, columns, crystal) | {"seed": seed})
    print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)


def still(layer: Monolayer, *others: str) -> MultisliceSettings:
    """No frozen phonons of these elements."""
    return MultisliceSettings(1, 3.5, displacements=dict.fromkeys((*layer.symbols, *others), 0.0), scan_step=0.9)


def vibrating(
    layer: Monolayer,
    microscope: Microscope,
    shape: tuple[int, int],
    pixel: float,
    rng: np.random.Generator,
    **frame: Any,
) -> NDArray[np.float32]:
    """The mean image of a crystal whose cells vibrate alike, each atom along the beam on its own: columns on the
    border of the cell that is computed have one place, too."""
    rms = np.array([rms_displacement(symbol) for symbol in layer.symbols])[:, None] * [1.0, 1.0, 0.0]
    images = []
    for _ in range(PAIRS):
        drawn = rng.normal(size=rms.shape) * rms
        for sign in (1, -1):
            stack = Stack.of([replace(layer, positions=layer.positions + sign * drawn)])
            settings = replace(still(layer), slice_thickness=2.0)
            images.append(simulate_periodic_multislice(stack, microscope, shape, pixel, rng, settings, **frame))
    return np.asarray(np.mean(images, axis=0), dtype=np.float32)


def probe(plan: Plan, rng: np.random.Generator) -> Microscope:
    """A corrected microscope with what the corrector leaves of the defocus."""
    voltage, semiangle, detector = plan.optics
    return Microscope.from_lab_units(
        voltage_kV=voltage,
        semiangle_mrad=semiangle,
        detector_mrad=detector,
        defocus_A=rng.normal(0, 15),
        C12_A=abs(rng.normal(0, 5)),
        phi12_deg=rng.uniform(0, 360),
        source_fwhm_A=rng.uniform(0.5, 0.7),
    )


def two_grains(one: list[Column], other: list[Column], rng: np.random.Generator) -> list[Column]:
    """Two grains on both sides of a line through the middle."""
    angle = rng.uniform(0, 2 * np.pi)
    kept = [column for column in one if column.x * np.cos(angle) + column.y * np.sin(angle) < 0]
    others = [column for column in other if column.x * np.cos(angle) + column.y * np.sin(angle) >= 0]
    near = cKDTree([(column.x, column.y) for column in kept]).query([(c.x, c.y) for c in others])[0]
    return kept + [column for column, distance in zip(others, near, strict=True) if distance > BOUNDARY]


def truth_of(
    name: str, plan: Plan, image: Image, microscope: Microscope, columns: list[Column], crystal: str | None
) -> dict[str, Any]:
    """What is true of an image; columns beyond its border by less than 2 Å are told too."""
    (rows, cols), pixel = image.data.shape, plan.pixel
    half = np.array([cols, rows]) * pixel / 2 + 2
    inside = [one for one in columns if abs(one.x) < half[0] and abs(one.y) < half[1]]
    return {
        "name": name,
        "task": "atoms",
        "image": {"shape_rows_cols": [rows, cols], "pixel_size_A": pixel},
        "crystal": crystal,
        "columns": {
            "row": [(rows - 1) / 2 - one.y / pixel for one in inside],
            "col": [(cols - 1) / 2 + one.x / pixel for one in inside],
            "species": [one.species for one in inside],
            "site": [one.site for one in inside],
        },
        "microscope": microscope_truth(microscope),
        "acquisition": acquisition_truth(NOISE_FREE, image) | {"full_dose_e_per_A2": plan.dose},
        "simulated": "picostem, abTEM multislice",
        "elements": sorted(
            {symbol for one in inside for symbol, _ in one.atoms}, key=lambda symbol: int(atomic_numbers[symbol])
        ),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=PLANS, default=list(PLANS))
    parser.add_argument("--seed", type=int, default=20270411)
    arguments = parser.parse_args()
    for name in arguments.only:
        make(arguments.folder, name, arguments.seed)


if __name__ == "__main__":
    main()
