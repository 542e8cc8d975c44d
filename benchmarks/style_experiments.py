"""Make multislice images that stand for experiments, to learn a style from: one microscope, one session for each set.

    python benchmarks/style_experiments.py FOLDER [--seed 20261207]

Four images of each material, three to learn from and one held out, with aberrations, dose, noise and scan errors that
are those of the set; the truth lies beside each. Images that exist are kept. About a minute each on one core (the extra
"sim").
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from picostem.simulate.acquisition import AcquisitionSettings
from picostem.simulate.experiment import simulate_stack
from picostem.simulate.microscope import Microscope
from picostem.simulate.multislice import MultisliceSettings
from picostem.simulate.writing import write_simulation
from picostem.structure import Stack, load_monolayer

IMAGES = 4
FIELD = 40.0  # Å
LEAST_SLIP = 0.15  # of the cell, from eclipsed
MICROSCOPES = {
    "WSe2": Microscope.from_lab_units(
        voltage_kV=80.0,
        semiangle_mrad=30.0,
        detector_mrad=(50.0, 140.0),
        defocus_A=20.0,
        C12_A=15.0,
        phi12_deg=35.0,
        C21_A=120.0,
        phi21_deg=200.0,
        source_fwhm_A=0.8,
    ),
    "MoS2": Microscope.from_lab_units(
        voltage_kV=60.0,
        semiangle_mrad=31.5,
        detector_mrad=(49.5, 150.0),
        defocus_A=-15.0,
        C12_A=10.0,
        phi12_deg=110.0,
        C21_A=80.0,
        phi21_deg=320.0,
        source_fwhm_A=0.7,
    ),
}
RECORDINGS = {
    "WSe2": (0.11, AcquisitionSettings(dose=1.2e4, read_noise=0.3, gain=80, offset=300, jitter=0.15, line_jitter=0.08)),
    "MoS2": (0.09, AcquisitionSettings(dose=3e4, read_noise=0.2, gain=55, offset=120, jitter=0.1, line_jitter=0.05)),
}
"""Pixel size in Å, and the recording."""


def make(folder: Path, material: str, number: int, seed: int) -> None:
    """Simulate and write one image of a set."""
    name = f"{material}_{number}"
    if (folder / f"{name}.json").exists():
        return
    rng = np.random.default_rng([seed, sorted(MICROSCOPES).index(material), number])
    monolayer = load_monolayer(material)
    pixel_size, recording = RECORDINGS[material]
    side = round(FIELD / pixel_size)
    image, truth = simulate_stack(
        Stack.bilayer(monolayer, rng.uniform(LEAST_SLIP, 1 - LEAST_SLIP, 2) @ monolayer.cell),
        MICROSCOPES[material],
        recording,
        (side, side),
        pixel_size,
        rng,
        rotation=rng.uniform(0, 2 * np.pi),
        origin=tuple(rng.uniform(-3, 3, 2)),
        engine="multislice",
        multislice=MultisliceSettings(configurations=16),
        name=name,
    )
    write_simulation(folder, name, image, truth)
    print(f"{name}: slip {truth['slip']['D_cart_A']} Å", flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=20261207)
    arguments = parser.parse_args()
    for material in MICROSCOPES:
        for number in range(IMAGES):
            make(arguments.folder, material, number, arguments.seed)


if __name__ == "__main__":
    main()
