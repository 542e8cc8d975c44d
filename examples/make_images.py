"""Make the example images: multislice simulations, recorded as a microscope would, with their truth beside them.

    python examples/make_images.py [FOLDER]

Needs the extra "sim" (pip install ".[sim]"); some seconds per image, and about a minute for the twisted
one. Seeded: it makes the same images again.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from picostem.image import Image
from picostem.physics import DEGREE
from picostem.simulate import (
    AcquisitionSettings,
    Microscope,
    MultisliceSettings,
    acquire,
    simulate_periodic_multislice,
    simulate_stack,
)
from picostem.simulate.acquisition import clean_shape
from picostem.simulate.synthesis import pixel_axes
from picostem.simulate.truth import Placement, describe
from picostem.structure import Stack, load_monolayer

IDEAL = Microscope.from_lab_units(voltage_kV=300.0, semiangle_mrad=21.3, detector_mrad=(39.0, 97.0), source_fwhm_A=0.6)
RECORDING = AcquisitionSettings(
    dose=2.6e4, read_noise=0.2, gain=110.0, offset=2400.0, jitter=0.04, line_offset=0.05, line_jitter=0.02
)
MULTISLICE = MultisliceSettings(configurations=4)
SIXTY_KV = Microscope.from_lab_units(
    voltage_kV=60.0, semiangle_mrad=31.5, detector_mrad=(49.5, 120.0), source_fwhm_A=0.6
)
NO_SUPERCELL = MultisliceSettings(configurations=2, slice_thickness=4.0, scan_step=0.9)
CROSSOVER = 2.5  # Å, width of the stacking boundary
PER_CM = 1e8  # Å


def bilayer(folder: Path) -> None:
    """One stacking."""
    stack = Stack.bilayer(load_monolayer("ReS2"), (0.62, 1.35))
    microscope = replace(IDEAL, defocus=9.0, C12=8.0, phi12=35.0 * DEGREE, C21=110.0, phi21=250.0 * DEGREE)
    _one(folder, "ReS2_bilayer", stack, microscope, (512, 512), 0.117, 21, rotation=27.0 * DEGREE)


def twisted(folder: Path) -> None:
    """Two layers turned against each other, each with a lattice of its own."""
    stack = Stack.bilayer(load_monolayer("MoS2"), (0.85, 0.4), 5.1 * DEGREE)
    microscope = replace(SIXTY_KV, defocus=7.0, C12=9.0, phi12=65.0 * DEGREE, C21=90.0, phi21=310.0 * DEGREE)
    placement: dict[str, Any] = {"rotation": 17.0 * DEGREE, "multislice": NO_SUPERCELL}
    _one(folder, "MoS2_twisted", stack, microscope, (268, 268), 0.15, 24, **placement)


def monolayer(folder: Path) -> None:
    """One layer: no slip is to be found."""
    stack = Stack.of([load_monolayer("ReS2")])
    microscope = replace(IDEAL, defocus=-12.0, C12=5.0, phi12=80.0 * DEGREE)
    _one(folder, "ReS2_monolayer", stack, microscope, (320, 320), 0.128, 22, rotation=-64.0 * DEGREE, mirrored=True)


def boundary(folder: Path) -> None:
    """Two stackings that meet on a line: a linear cross-over of two images that share layer 1."""
    layer, shape, pixel_size = load_monolayer("ReS2"), (384, 640), 0.132
    microscope = replace(IDEAL, defocus=-6.0, C12=7.0, phi12=120.0 * DEGREE)
    placement = Placement(rotation=140.0 * DEGREE, origin=(1.3, -0.7))
    stacks = [Stack.bilayer(layer, slip) for slip in ((1.95, 0.55), (-0.4, 2.3))]
    phonons, recording = np.random.default_rng(23).spawn(2)
    field = clean_shape(shape, RECORDING)
    frame: dict[str, Any] = {"rotation": placement.rotation, "origin": placement.origin}
    first, second = (
        simulate_periodic_multislice(stack, microscope, field, pixel_size, phonons, MULTISLICE, **frame)
        for stack in stacks
    )
    line = {"point_image_A": [4.0, 0.0], "normal_angle_deg": 12.0, "crossover_width_A": CROSSOVER}
    share = _beyond(line, field, pixel_size)
    data = acquire((1 - share) * first + share * second, shape, pixel_size, RECORDING, recording)
    image = Image(data, (pixel_size, pixel_size), "user", "ReS2_boundary")
    truth, other = (describe(stack, microscope, RECORDING, image, placement) for stack in stacks)
    beyond = {key.replace("D_", "D2_"): value for key, value in other["slip"].items() if key.startswith("D_")}
    truth |= {"task": "interface", "slip": truth["slip"] | beyond, "boundary": line}
    _write(folder, image, truth)


def _beyond(line: dict[str, Any], shape: tuple[int, int], pixel_size: float) -> NDArray[np.float32]:
    """Share of the second stacking at every pixel, from 0 to 1 across the boundary."""
    x, y = pixel_axes(shape, pixel_size)
    angle = line["normal_angle_deg"] * DEGREE
    distance = (x - line["point_image_A"][0]) * np.cos(angle) + (y[:, None] - line["point_image_A"][1]) * np.sin(angle)
    return np.asarray(np.clip(0.5 + distance / CROSSOVER, 0, 1), dtype=np.float32)


def _one(
    folder: Path,
    name: str,
    stack: Stack,
    microscope: Microscope,
    shape: tuple[int, int],
    pixel_size: float,
    seed: int,
    **options: Any,
) -> None:
    rng = np.random.default_rng(seed)
    engine: dict[str, Any] = {"engine": "multislice", "multislice": MULTISLICE, "name": name} | options
    _write(folder, *simulate_stack(stack, microscope, RECORDING, shape, pixel_size, rng, **engine))


def _write(folder: Path, image: Image, truth: dict[str, Any]) -> None:
    """16 bit, compressed, with the pixel size in the standard tags."""
    assert image.pixel_size is not None
    counts = np.clip(np.rint(image.data), 0, 65535).astype(np.uint16)
    per_cm = (PER_CM / image.pixel_size[1], PER_CM / image.pixel_size[0])
    path = folder / f"{image.name}.tif"
    tifffile.imwrite(
        path, counts, compression="deflate", predictor=True, resolution=per_cm, resolutionunit="CENTIMETER"
    )
    truth["image"]["file"] = path.name
    path.with_suffix(".json").write_text(json.dumps(truth, indent=1) + "\n", "utf-8")
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


def main() -> None:
    """Make all images."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images"
    folder.mkdir(parents=True, exist_ok=True)
    for make in (bilayer, twisted, monolayer, boundary):
        make(folder)


if __name__ == "__main__":
    main()
