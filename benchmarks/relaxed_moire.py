"""Make images of bilayers with relaxed moirés, whose slip changes from place to place as the truth beside them says.

    python benchmarks/relaxed_moire.py FOLDER [--seed 20261206]

Fields of 10 to 20 nm; one, the smallest, by multislice (the extra "sim", about four minutes on one core), the others by
the fast model in seconds. Images that exist are kept. `picostem.simulate.slip_field.true_slips` reads the truth.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from twist_set import MULTISLICE, microscope, recording

from picostem.physics import DEGREE
from picostem.simulate.experiment import Engine, simulate_specimen
from picostem.simulate.slip_field import SlipField
from picostem.simulate.writing import write_simulation
from picostem.structure import RelaxedMoire, load_monolayer

PIXEL_SIZE = 0.16  # Å
# name, materials, twist (degrees), amplitude (Å), field (Å), dose (e/Å²), engine
CASES: tuple[tuple[str, tuple[str, str], float, float, float, float, Engine], ...] = (
    ("moire_a", ("MoS2", "MoS2"), 1.2, 0.35, 200, 4e4, "incoherent"),
    ("moire_b", ("MoS2", "MoS2"), 2.0, 0.2, 120, 1e4, "incoherent"),
    ("moire_c", ("MoS2", "WSe2"), 1.5, 0.2, 150, 4e4, "incoherent"),
    ("moire_d", ("MoS2", "MoS2"), 2.5, 0.15, 80, 4e4, "multislice"),
)


def make(folder: Path, index: int, seed: int) -> None:
    """Simulate and write image number `index`."""
    name, materials, twist, amplitude, field, dose, engine = CASES[index]
    if (folder / f"{name}.json").exists():
        return
    rng = np.random.default_rng([seed, index])
    lower, upper = (load_monolayer(material) for material in materials)
    x, y = (rng.random(2) @ lower.cell).tolist()
    moire = RelaxedMoire(lower, upper, twist * DEGREE, (x, y), amplitude, share=0.5)
    pixels = round(field / PIXEL_SIZE)
    image, truth = simulate_specimen(
        SlipField(moire),
        microscope("MoS2", rng),
        recording(dose, rng),
        (pixels, pixels),
        PIXEL_SIZE,
        rng,
        rotation=rng.uniform(0, 2 * np.pi),
        mirrored=bool(rng.integers(2)),
        origin=tuple(rng.uniform(-10, 10, 2)),
        engine=engine,
        multislice=MULTISLICE,
        name=name,
    )
    truth["seeds"] = {"set": seed, "index": index}
    write_simulation(folder, name, image, truth)
    print(f"{name}: {twist}°, {amplitude} Å, field {field:.0f} Å, {engine}", flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=20261206)
    arguments = parser.parse_args()
    for index in range(len(CASES)):
        make(arguments.folder, index, arguments.seed)


if __name__ == "__main__":
    main()
