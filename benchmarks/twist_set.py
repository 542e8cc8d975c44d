"""Make a set of multislice images of twisted bilayers for `picostem bench stack`.

    python benchmarks/twist_set.py FOLDER [--count 44] [--material MoS2] [--field 42] [--noise-free] [--seed 20261204]

Each image is computed by multislice (the extra "sim") with a pair of opposite frozen-phonon configurations, in which
every atom of the field has a displacement of its own, and recorded with its own aberrations, dose, read noise, scan
jitter and drift; its truth lies beside it. Angles, materials, fields (20 to 60 Å) and doses go round in cycles of
different lengths, so that the first few images are a mixture already; `--material` and `--field` (Å) leave one of each.
`--noise-free` records nothing, for networks to learn from (docs/networks.md). Images that exist are kept, so that the
script can be stopped and started again; image number i depends on the seed, the options and i alone. About 40 s each on
one core, 70 s for a field of 60 Å.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np

from picostem.physics import DEGREE
from picostem.simulate.acquisition import AcquisitionSettings
from picostem.simulate.experiment import simulate_stack
from picostem.simulate.microscope import Microscope
from picostem.simulate.multislice import MultisliceSettings
from picostem.simulate.writing import write_simulation
from picostem.structure import Stack, load_monolayer

# |twist| in degrees; 2H-type layers at t and 60 - t have the same reflections and are different stackings.
ANGLES = ((10, 30), (3, 10), (30, 50), (0.8, 3), (50, 57), (57, 59.2))
ANY_ANGLE = (3, 179.2)  # for ReS2, but for its turns at the smallest
MATERIALS = (
    ("MoS2", "MoS2"),
    ("WSe2", "WSe2"),
    ("ReS2", "ReS2"),
    ("MoS2", "WSe2"),
    ("WS2", "WS2"),
    ("MoS2", "MoS2"),
    ("ReS2", "ReS2"),
    ("WSe2", "WSe2"),
    ("MoS2", "WS2"),
    ("MoS2", "MoS2"),
    ("WS2", "WS2"),
)
FIELDS = (40, 30, 40, 60, 40, 20, 40)  # Å
RES2_SHARE = 0.7  # of those fields: at 300 kV one takes three times as long as at 60 kV
DOSES = (4e4, 1e4, 3e3)  # e/Å²
# voltage (kV), semiangle (mrad), detector (mrad) by the lower layer; detectors are as wide as the time allows
MICROSCOPES = {
    "MoS2": (60.0, 31.5, (49.5, 120.0)),
    "WS2": (80.0, 30.0, (50.0, 110.0)),
    "WSe2": (80.0, 30.0, (50.0, 110.0)),
    "ReS2": (300.0, 21.3, (39.0, 80.0)),
}
# Slices of 3.3 Å hold one or two planes of atoms each.
MULTISLICE = MultisliceSettings(configurations=2, slice_thickness=4.0, scan_step=0.9)


def make(folder: Path, index: int, material: str | None, field: float | None, noise_free: bool, seed: int) -> None:
    """Simulate and write image number `index`."""
    lower, upper = (material, material) if material else MATERIALS[index % len(MATERIALS)]
    name = f"T{index:03d}_{lower}" + (f"-{upper}" if upper != lower else "")
    if (folder / f"{name}.json").exists():
        return
    started = time.perf_counter()
    rng = np.random.default_rng([seed, index])
    stack = bilayer(lower, upper, index, rng)
    pixel_size = rng.uniform(0.12, 0.18)
    share = RES2_SHARE if lower == "ReS2" else 1
    side = round((field or FIELDS[index % len(FIELDS)] * share) / pixel_size)
    image, truth = simulate_stack(
        stack,
        microscope(lower, rng),
        AcquisitionSettings(dose=math.inf) if noise_free else recording(DOSES[(index + index // 6) % len(DOSES)], rng),
        (side, side),
        pixel_size,
        rng,
        rotation=rng.uniform(0, 2 * np.pi),
        mirrored=bool(rng.integers(2)),
        origin=tuple(rng.uniform(-3, 3, 2)),
        engine="multislice",
        multislice=MULTISLICE,
        name=name,
    )
    truth["seeds"] = {"set": seed, "index": index}
    write_simulation(folder, name, image, truth)
    seconds = time.perf_counter() - started
    print(f"{name}: {truth['twist_deg']:.3f}°, {side * pixel_size:.0f} Å, {seconds:.0f} s", flush=True)


def bilayer(lower: str, upper: str, index: int, rng: np.random.Generator) -> Stack:
    """The stack of image number `index`; upper layers of ReS2 lie upside down in every other image."""
    below, above = load_monolayer(lower), load_monolayer(upper)
    angles = ANGLES[index % len(ANGLES)]
    if lower == "ReS2" and angles != (0.8, 3):
        angles = ANY_ANGLE
    if lower == "ReS2" and index % 2:
        above = above.flipped()
    twist = rng.choice([-1, 1]) * rng.uniform(*angles) * DEGREE
    return Stack.bilayer(below, rng.random(2) @ below.cell, twist, above)


def microscope(material: str, rng: np.random.Generator) -> Microscope:
    """A microscope for this material with what its corrector left."""
    voltage, semiangle, detector = MICROSCOPES[material]
    return Microscope.from_lab_units(
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


def recording(dose: float, rng: np.random.Generator) -> AcquisitionSettings:
    """A recording with read noise, scan jitter and a drift of 0.2 %."""
    change = rng.normal(0, 0.002, (2, 2))
    return AcquisitionSettings(
        dose=dose,
        read_noise=rng.uniform(0.1, 0.3),
        gain=rng.uniform(20, 150),
        offset=rng.uniform(0, 1000),
        jitter=rng.uniform(0, 0.06),
        line_offset=rng.uniform(0, 0.05),
        line_jitter=rng.uniform(0, 0.02),
        drift=((1 + change[0, 0], change[0, 1]), (change[1, 0], 1 + change[1, 1])),
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=44)
    parser.add_argument("--material", choices=sorted(MICROSCOPES))
    parser.add_argument("--field", type=float)
    parser.add_argument("--noise-free", action="store_true")
    parser.add_argument("--seed", type=int, default=20261204)
    arguments = parser.parse_args()
    for index in range(arguments.count):
        make(arguments.folder, index, arguments.material, arguments.field, arguments.noise_free, arguments.seed)


if __name__ == "__main__":
    main()
