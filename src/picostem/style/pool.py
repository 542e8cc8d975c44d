"""Noise-free simulated pictures of stackings spread evenly over all slips."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picostem.errors import UsageError
from picostem.image import Image
from picostem.simulate.acquisition import AcquisitionSettings
from picostem.simulate.experiment import LINEAR, TOGETHER
from picostem.simulate.incoherent import simulate_periodic
from picostem.simulate.microscope import Microscope
from picostem.simulate.together import share_a_lattice
from picostem.simulate.truth import Placement, describe
from picostem.structure import Monolayer, Stack, load_materials
from picostem.style.picture import Picture, prepare

FloatArray = NDArray[np.float64]

PUBLISHED_MICROSCOPE = Microscope.from_lab_units(
    voltage_kV=300.0, semiangle_mrad=21.3, detector_mrad=(39.0, 200.0), defocus_A=35.0, source_fwhm_A=0.6
)
"""Voltage, angles: TED-Gen, Methods, for ReS2. Defocus and source: what its published images of ReS2 resolve to."""


@dataclass(frozen=True, eq=False)
class Simulation:
    """A noise-free image (detected fraction of the beam), as networks see it, and its truth for JSON."""

    picture: Picture
    image: Image
    truth: dict[str, Any]


def simulate_pool(
    material: str,
    count: int,
    *,
    pixel_size: float,
    extent: float,
    seed: int,
    microscope: Microscope | None = None,
    layers: int = 2,
    twists: Sequence[float] | None = None,
    step: float | None = None,
) -> tuple[Simulation, ...]:
    """Square noise-free images of a material, their slips spread evenly over the cell, each randomly turned and placed.

    Equal arguments give equal pools, and the first n of a larger pool are the pool of n.

    Args:
        material: as `load_materials` takes it; one name for all layers, or one for each.
        count: how many.
        pixel_size, extent: of the pixels and of the side, Å.
        seed: of everything random.
        microscope: PUBLISHED_MICROSCOPE if None.
        layers: number of layers, where one name stands for all.
        twists: of the upper layer of a bilayer, rad, taken in turn; None for parallel layers.
        step: of a grid over the cell of slips, Å (published: 0.1), of whose points each is taken once before any is
            taken again; None for the low-discrepancy sequence R of Roberts, shifted at random.

    Returns:
        images of shape (n, n), n = extent/pixel_size rounded, float32, with the truth of `picostem.simulate`.

    Raises:
        UsageError: a count, size or step that is not positive, or twists of other than two layers.
    """
    _check(count, pixel_size, extent, step)
    monolayers = load_materials(material)
    monolayers = monolayers * layers if len(monolayers) == 1 else monolayers
    if twists is not None and (len(monolayers) != 2 or not len(twists)):
        raise UsageError(f"twists are for bilayers, at least one; got {list(twists)} for {len(monolayers)} layers")
    slip_rng, place_rng = np.random.default_rng(seed).spawn(2)
    interfaces = len(monolayers) - 1
    fractions = _grid(monolayers[0], count, step, slip_rng) if step else even_points(count, 2 * interfaces, slip_rng)
    shape = (round(extent / pixel_size),) * 2
    scope = microscope or PUBLISHED_MICROSCOPE

    def one(index: int, fraction: FloatArray) -> Simulation:
        slips = [part @ low.cell for part, low in zip(fraction.reshape(-1, 2), monolayers, strict=False)]
        angles = [twists[index % len(twists)]] if twists is not None else []
        stack, placement = Stack.of(monolayers, slips, angles), _placement(monolayers[0], place_rng)
        return _simulated(stack, scope, shape, pixel_size, placement, f"simulated_{index:04d}")

    return tuple(one(index, fraction) for index, fraction in enumerate(fractions))


def even_points(count: int, dimensions: int, rng: np.random.Generator) -> FloatArray:
    """Points n a + s mod 1, n = 1, 2, ..., spread evenly over the unit cube, shape (count, dimensions).

    a_k = phi^-k, phi the real root of phi^(d+1) = phi + 1, s a random shift of all: M. Roberts, "The unreasonable
    effectiveness of quasirandom sequences" (2018).
    """
    root = 2.0
    for _ in range(64):  # a contraction: each step gains a factor of 3 or more
        root = (1 + root) ** (1 / (dimensions + 1))
    steps = root ** -np.arange(1.0, dimensions + 1)
    return np.asarray((rng.random(dimensions) + np.outer(np.arange(1, count + 1), steps)) % 1)


def _check(count: int, pixel_size: float, extent: float, step: float | None) -> None:
    if count < 1:
        raise UsageError(f"a pool has at least one simulation, got a count of {count}")
    for what, value in (("pixel size", pixel_size), ("extent", extent), ("step", 1.0 if step is None else step)):
        if not (math.isfinite(value) and value > 0):
            raise UsageError(f"the {what} must be positive and finite, got {value} Å")


def _grid(lower: Monolayer, count: int, step: float, rng: np.random.Generator) -> FloatArray:
    """Points of a grid over the cell, in units of it, in random order, again and again; shape (count, 2)."""
    numbers = [max(1, round(float(np.hypot(*row)) / step)) for row in lower.cell]
    axes = [np.arange(n) / n for n in numbers]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)

    def rounds() -> Iterator[FloatArray]:
        for _ in range(math.ceil(count / len(points))):
            yield rng.permutation(points)

    return np.concatenate(list(rounds()))[:count]


def _placement(lower: Monolayer, rng: np.random.Generator) -> Placement:
    """A random rotation, hand and origin."""
    x, y = (rng.random(2) @ lower.cell).tolist()
    return Placement(float(rng.uniform(0, 2 * math.pi)), bool(rng.random() < 0.5), (x, y))


def _simulated(
    stack: Stack, microscope: Microscope, shape: tuple[int, int], pixel_size: float, place: Placement, name: str
) -> Simulation:
    frame = {"rotation": place.rotation, "mirrored": place.mirrored, "origin": place.origin}
    together = share_a_lattice(stack)
    data = simulate_periodic(stack, microscope, shape, pixel_size, together=together, **frame)  # type: ignore[arg-type]
    image = Image(data=data, name=name).with_pixel_size(pixel_size, "user")
    truth = describe(stack, microscope, AcquisitionSettings(), image, place)
    truth["acquisition"] = {"noise": "none; the image is the detected fraction of the beam", "dose_e_per_A2": None}
    return Simulation(prepare(image), image, truth | {"simulated": TOGETHER if together else LINEAR})
