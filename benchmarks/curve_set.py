"""Make multislice images without noise for `picostem bench curves` and `picostem bench outliers`.

    python benchmarks/curve_set.py FOLDER [--slips 8] [--damaged 1] [--seed 20261202]

ReS2 at 300 kV under the published microscope, with what a corrector leaves. Perfect bilayers of `--slips` slips, 8 nm
wide; `--damaged` bilayers of 4 nm for each share of vacancies, whose atoms are removed before the multislice. Beside
them what is no such stack: one layer, bilayers of two other materials, and a film in which the atoms of a bilayer lie
anywhere. Frozen phonons, potentials by abTEM (the extra "sim"). An image holds the detected fraction of the beam; the
commands add electrons, holes and dirt. The truth lies beside each image. Images that exist are kept, so that the script
can be stopped and started again; each depends on the seed, its kind and its number alone. All of them take fifteen to
twenty minutes on one core.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from picostem.simulate import AcquisitionSettings, Microscope, MultisliceSettings, simulate_specimen, simulate_stack
from picostem.simulate.truth import Placement
from picostem.simulate.writing import write_simulation
from picostem.structure import Monolayer, SlipEquivalence, Stack, load_monolayer
from picostem.structure.defect import vacancies

PIXEL = 0.125  # Å
WIDE, SMALL = 640, 320  # pixels: four and two windows of 2 nm across
LEAST_SLIP = 0.6  # Å from eclipsed, where the bound itself is wide
SHARES = (0.02, 0.05, 0.10)  # of the atoms, missing
DISORDER = 1.5  # Å rms that each atom of the film is off its place, each way: no reflection is left
OTHERS = ("ReSe2", "MoS2")
NOISE_FREE = AcquisitionSettings(dose=math.inf)
CELL = MultisliceSettings(configurations=16)  # one cell is computed, and repeated
FIELD = MultisliceSettings(configurations=2, scan_step=0.9)  # every atom vibrates on its own
FROZEN = MultisliceSettings(configurations=1, scan_step=0.9)  # atoms that lie anywhere may as well lie still


@dataclass(frozen=True)
class Film:
    """The atoms of a bilayer, each moved at random until nothing of the lattice is left."""

    stack: Stack
    rng: np.random.Generator

    def atoms(self, rotation: float, mirrored: bool, origin: tuple[float, float], extent: tuple[float, float]) -> Atoms:
        """As `picostem.simulate.experiment.Specimen` says."""
        atoms = self.stack.atoms(rotation=rotation, mirrored=mirrored, origin=origin, extent=extent)
        atoms.positions[:, :2] += self.rng.normal(0, DISORDER, (len(atoms), 2))
        return atoms

    def truth(self, placement: Placement) -> Mapping[str, Any]:
        """That there is no stacking to find."""
        return {"task": "negative", "negative": "amorphous film"}


def names(slips: int, damaged: int) -> Iterator[tuple[str, str, float]]:
    """Name, kind and share of vacancies of each image."""
    for index in range(slips):
        yield f"perfect_{index:02d}", "ReS2", 0.0
    for index in range(damaged):
        for share in SHARES:
            yield f"vacancies{round(100 * share):02d}_{index:02d}", "ReS2", share
    yield "monolayer_00", "monolayer", 0.0
    yield from ((f"{other}_00", other, 0.0) for other in OTHERS)
    yield "amorphous_00", "amorphous", 0.0


def make(folder: Path, name: str, kind: str, share: float, seed: int) -> None:
    """Simulate and write one image."""
    if (folder / f"{name}.json").exists():
        return
    started = time.perf_counter()
    rng = np.random.default_rng([seed, *name.encode()])
    layer = load_monolayer(kind if kind in OTHERS else "ReS2")
    stack = Stack.of([layer]) if kind == "monolayer" else Stack.bilayer(layer, draw_slip(layer, rng))
    side = SMALL if share or kind == "amorphous" else WIDE
    frame: dict[str, Any] = {
        "rotation": rng.uniform(0, 2 * np.pi),
        "mirrored": bool(rng.integers(2)),
        "origin": tuple(rng.uniform(-3, 3, 2)),
        "engine": "multislice",
        "multislice": FROZEN if kind == "amorphous" else FIELD if share else CELL,
        "name": name,
    }
    recorded = (microscope(rng), NOISE_FREE, (side, side), PIXEL, rng)
    if kind == "amorphous":
        image, truth = simulate_specimen(Film(stack, rng.spawn(1)[0]), *recorded, **frame)
    elif share:
        image, truth = simulate_stack(
            stack, *recorded, **frame, damage=lambda atoms, drawn: vacancies(atoms, share, drawn)
        )
    else:
        image, truth = simulate_stack(stack, *recorded, **frame)
    if kind == "ReS2":
        truth["specimen"]["vacancy_fraction"] = share
    truth["seeds"] = {"set": seed}
    write_simulation(folder, name, image, truth)
    print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)


def draw_slip(layer: Monolayer, rng: np.random.Generator) -> NDArray[np.float64]:
    """A slip of parallel layers that are not nearly eclipsed, Å."""
    equivalence = SlipEquivalence(layer)
    while True:
        slip = rng.random(2) @ layer.cell
        if equivalence.distance(slip, np.zeros(2)) > LEAST_SLIP:
            return np.asarray(slip)


def microscope(rng: np.random.Generator) -> Microscope:
    """The published microscope with residual aberrations; the detector ends where little more is scattered."""
    return Microscope.from_lab_units(
        voltage_kV=300,
        semiangle_mrad=21.3,
        detector_mrad=(39, 97),
        defocus_A=rng.normal(0, 15),
        C12_A=abs(rng.normal(0, 8)),
        phi12_deg=rng.uniform(0, 360),
        C21_A=abs(rng.normal(0, 80)),
        phi21_deg=rng.uniform(0, 360),
        source_fwhm_A=rng.uniform(0.5, 0.7),
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--slips", type=int, default=8)
    parser.add_argument("--damaged", type=int, default=1)
    parser.add_argument("--seed", type=int, default=20261202)
    arguments = parser.parse_args()
    for name, kind, share in names(arguments.slips, arguments.damaged):
        make(arguments.folder, name, kind, share, arguments.seed)


if __name__ == "__main__":
    main()
