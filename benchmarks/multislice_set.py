"""Make a larger set of multislice images for `picostem bench stack`: random materials, slips, aberrations, doses.

    python benchmarks/multislice_set.py FOLDER [--count 42] [--layers 2] [--material ReS2] [--field 40] [--noise-free]
        [--seed 20261121]

Each image is a bilayer, or with `--layers 3` a trilayer, of 4 nm, computed by multislice with frozen phonons (the extra
"sim") and recorded with a random dose, read noise, scan jitter and drift; its truth lies beside it. Trilayers are of
ReS2, bilayers of any of the materials, or of `--material`. `--noise-free` records nothing and takes any slip, for
networks to learn from (docs/networks.md). Images that exist are kept, so that the script can be stopped and started
again; image number i depends on the seed, the options and i alone. About 30 s each on one core, however large the
field: one cell is computed, and repeated.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np

from picostem.simulate.acquisition import AcquisitionSettings
from picostem.simulate.experiment import simulate_stack
from picostem.simulate.microscope import Microscope
from picostem.simulate.multislice import MultisliceSettings
from picostem.simulate.writing import write_simulation
from picostem.structure import Stack, load_monolayer
from picostem.structure.equivalence import SlipEquivalence

LEAST_SLIP = 0.6  # Å from eclipsed, where the bound itself is wide
# material, share, voltage (kV), semiangle (mrad), detector (mrad), largest dose (e/Å²)
CASES = (
    ("ReS2", 0.40, 300.0, 21.3, (39.0, 97.0), 2.6e4),
    ("ReSe2", 0.15, 300.0, 21.3, (39.0, 97.0), 2.6e4),
    ("1T'-MoTe2", 0.10, 200.0, 24.0, (48.0, 110.0), 3e4),
    ("MoS2", 0.10, 60.0, 31.5, (49.5, 150.0), 4e4),
    ("WS2", 0.10, 80.0, 30.0, (50.0, 140.0), 3e4),
    ("WSe2", 0.10, 80.0, 30.0, (50.0, 140.0), 3e4),
    ("MoSe2", 0.05, 60.0, 31.5, (49.5, 150.0), 3e4),
)


def make(
    folder: Path, index: int, layers: int, material: str | None, field: float, noise_free: bool, seed: int
) -> None:
    """Simulate and write image number `index`, `field` Å wide."""
    rng = np.random.default_rng([seed, index])
    cases = [case for case in CASES if material in (None, case[0])]
    shares = np.array([case[1] for case in cases])
    chosen = 0 if layers == 3 else rng.choice(len(cases), p=shares / shares.sum())
    material, _, voltage, semiangle, detector, dose = cases[chosen]
    name = f"{index:03d}_{material.replace(chr(39), 'p')}"
    if (folder / f"{name}.json").exists():
        return
    monolayer = load_monolayer(material)
    equivalence = SlipEquivalence(monolayer)
    while True:
        slips = rng.random((layers - 1, 2)) @ monolayer.cell
        if noise_free or equivalence.distance(slips, np.zeros(2)).min() > LEAST_SLIP:
            break
    microscope = Microscope.from_lab_units(
        voltage_kV=voltage,
        semiangle_mrad=semiangle,
        detector_mrad=detector,
        defocus_A=rng.normal(0, 15),
        C12_A=abs(rng.normal(0, 12)),
        phi12_deg=rng.uniform(0, 360),
        C21_A=abs(rng.normal(0, 100)),
        phi21_deg=rng.uniform(0, 360),
        source_fwhm_A=rng.uniform(0.5, 0.8),
    )
    recorded = AcquisitionSettings(
        dose=dose / rng.choice([1, 1, 1, 2, 5, 15]),
        read_noise=rng.uniform(0.1, 0.3),
        gain=rng.uniform(20, 150),
        offset=rng.uniform(0, 1000),
        jitter=rng.uniform(0, 0.06),
        line_offset=rng.uniform(0, 0.05),
        line_jitter=rng.uniform(0, 0.02),
        drift=drift(rng),
    )
    pixel_size = rng.uniform(0.10, 0.16)
    side = round(field / pixel_size)
    settings = AcquisitionSettings(dose=math.inf) if noise_free else recorded
    image, truth = simulate_stack(
        Stack.of([monolayer] * layers, slips=list(slips)),
        microscope,
        settings,
        (side, side),
        pixel_size,
        rng,
        rotation=rng.uniform(0, 2 * np.pi),
        mirrored=bool(rng.integers(2)),
        origin=tuple(rng.uniform(-3, 3, 2)),
        engine="multislice",
        multislice=MultisliceSettings(configurations=16),
        name=name,
    )
    truth["seeds"] = {"set": seed, "index": index}
    write_simulation(folder, name, image, truth)
    print(f"{name}: slips {slips.round(3).tolist()} Å, dose {settings.dose:.0f} e/Å²", flush=True)


def drift(rng: np.random.Generator) -> tuple[tuple[float, float], tuple[float, float]]:
    """A drift matrix, specimen from scan, that differs from unity by 0.2 %."""
    change = rng.normal(0, 0.002, (2, 2))
    return (1 + change[0, 0], change[0, 1]), (change[1, 0], 1 + change[1, 1])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=42)
    parser.add_argument("--layers", type=int, choices=(2, 3), default=2)
    parser.add_argument("--material", choices=[case[0] for case in CASES])
    parser.add_argument("--field", type=float, default=40.0)
    parser.add_argument("--noise-free", action="store_true")
    parser.add_argument("--seed", type=int, default=20261121)
    arguments = parser.parse_args()
    for index in range(arguments.count):
        make(
            arguments.folder,
            index,
            arguments.layers,
            arguments.material,
            arguments.field,
            arguments.noise_free,
            arguments.seed,
        )


if __name__ == "__main__":
    main()
