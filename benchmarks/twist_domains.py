"""Make images of a bilayer whose upper layer is divided into small triangles of two twists, with their truth.

    python benchmarks/twist_domains.py FOLDER [--seed 20261205]

Fields of 8 and 10 nm of MoS2; one, the smallest, by multislice (the extra "sim", about four minutes on one core), the
others by the fast model in a second each. Images that exist are kept. `picostem.simulate.domains.true_twists` reads the
truth.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from twist_set import MULTISLICE, microscope, recording

from picostem.physics import DEGREE
from picostem.simulate.domains import TwistDomains
from picostem.simulate.experiment import Engine, simulate_specimen
from picostem.simulate.writing import write_simulation
from picostem.structure import load_monolayer

PIXEL_SIZE = 0.16  # Å
# name, twists (degrees), side of the triangles (Å), field (Å), dose (e/Å²), engine
CASES: tuple[tuple[str, tuple[float, float], float, float, float, Engine], ...] = (
    ("domains_a", (9.8, 11.8), 60, 100, 4e4, "incoherent"),
    ("domains_b", (9.8, 11.8), 60, 100, 1e4, "incoherent"),
    ("domains_c", (48.2, 50.2), 60, 100, 4e4, "incoherent"),
    ("domains_d", (9.8, 11.8), 60, 80, 4e4, "multislice"),
)


def make(folder: Path, index: int, seed: int) -> None:
    """Simulate and write image number `index`."""
    name, twists, side, field, dose, engine = CASES[index]
    if (folder / f"{name}.json").exists():
        return
    rng = np.random.default_rng([seed, index])
    mos2 = load_monolayer("MoS2")
    x, y = (rng.random(2) @ mos2.cell).tolist()
    domains = TwistDomains(mos2, mos2, (twists[0] * DEGREE, twists[1] * DEGREE), side, (x, y))
    pixels = round(field / PIXEL_SIZE)
    image, truth = simulate_specimen(
        domains,
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
    print(f"{name}: {twists[0]}° and {twists[1]}°, {field:.0f} Å, {engine}", flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=20261205)
    arguments = parser.parse_args()
    for index in range(len(CASES)):
        make(arguments.folder, index, arguments.seed)


if __name__ == "__main__":
    main()
