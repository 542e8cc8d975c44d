"""Results made from simulated images, so that reports can be tested without resolving anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from picostem.image import Image
from picostem.physics import DEGREE
from picostem.resolve.result import (
    Alternative,
    Boundary,
    Domain,
    FittedMicroscope,
    Interface,
    Quality,
    ResolvedLayer,
    Result,
    SlipMap,
)
from picostem.resolve.settings import Settings
from picostem.simulate import Microscope, simulate_periodic
from picostem.structure import Monolayer, SlipEquivalence, Stack, image_from_crystal, load_monolayer

FloatArray = NDArray[np.float64]

DOSE = 3e4
"""e/Å² of the fake images."""
WINDOW_SIGMA = 0.012
"""Å, of the fake windows' slips."""
MICROSCOPE = Microscope.from_lab_units(
    voltage_kV=300, semiangle_mrad=22, detector_mrad=(40, 200), defocus_A=12, source_fwhm_A=0.7
)
SLIPS = (np.array([0.62, 1.25]), np.array([1.9, -0.35]))
"""Å, of the first and the second domain."""


def make_image(
    layers: list[Monolayer],
    slips: list[FloatArray],
    pixels: int,
    rng: np.random.Generator,
    *,
    pixel_size: float = 0.12,
    rotation: float = 0.3,
    twist: float = 0.0,
) -> tuple[Image, NDArray[np.float32]]:
    """A noisy image and the one without noise; with two slips, the second one holds right of a curved line."""
    clean = []
    for slip in slips:
        stack = Stack.of(layers, [slip] * (len(layers) - 1), [twist] * (len(layers) - 1))
        clean.append(
            simulate_periodic(stack, MICROSCOPE, (pixels, pixels), pixel_size, rotation=rotation, origin=(0.4, 0.7))
        )
    row, col = np.mgrid[:pixels, :pixels] / pixels
    mixed = np.where(is_second(col, row), clean[-1], clean[0]) * DOSE * pixel_size**2
    noisy = rng.poisson(mixed).astype(np.float32)
    image = Image(noisy, name="flake 3.dm4", path=Path("data/flake 3.dm4")).with_pixel_size(pixel_size, "file")
    return image, mixed.astype(np.float32)


def is_second(x: FloatArray, y: FloatArray) -> NDArray[np.bool_]:
    """Whether points, as shares of the image from its upper left corner, lie in the second domain."""
    return np.asarray(x > 0.62 + 0.1 * np.sin(3 * y))


def make_layers(layers: list[Monolayer], slip: FloatArray, rotation: float, twist: float) -> tuple[ResolvedLayer, ...]:
    """Layers as they lie in the image; the fields of the second one follow from slip and twist."""
    found = []
    for i, monolayer in enumerate(layers):
        turn = rotation + i * twist
        rows = monolayer.cell @ image_from_crystal(turn, False).T
        position = i * slip
        origin = image_from_crystal(rotation, False) @ position + (0.4, 0.7)
        found.append(ResolvedLayer(monolayer, turn, False, rows, position, origin))
    return tuple(found)


def make_map(
    image: Image, slips: list[FloatArray], reference: FloatArray, stride: float, rng: np.random.Generator
) -> SlipMap:
    """Windows on a grid and finer ones at the line between the domains; some in the corner are not resolved."""
    assert image.pixel_size is not None
    pixels, pixel_size = image.data.shape[0], image.pixel_size[0]
    window = min(20.0, pixels * pixel_size / 4)
    count = int((pixels * pixel_size - window) // stride) + 1
    centre = np.linspace(window / 2, pixels * pixel_size - window / 2, count)
    col, row = (grid.ravel() / pixel_size - 0.5 for grid in np.meshgrid(centre, centre))
    if len(slips) == 2:
        y = np.arange(0.1, 0.9, 0.5 * stride / (pixels * pixel_size))
        x = 0.62 + 0.1 * np.sin(3 * y)
        col, row = np.concatenate([col, x * pixels]), np.concatenate([row, y * pixels])
    fine = np.arange(len(row)) >= count**2
    second = is_second(col / pixels, row / pixels)
    mean = np.where(second[:, None], slips[-1], slips[0])
    slip = mean + WINDOW_SIGMA * rng.standard_normal((len(row), 2))
    status = np.full(len(row), "ok", dtype="<U10")
    corner = col + row < 0.36 * pixels
    status[corner], status[col + row < 0.22 * pixels] = "unresolved", "vacuum"
    status[(np.arange(len(row)) % 23 == 7) & ~corner] = "untrusted"
    slip[corner] = np.nan
    position = np.column_stack([(col - (pixels - 1) / 2), (pixels - 1) / 2 - row]) * pixel_size
    covariance = np.tile(WINDOW_SIGMA**2 * np.eye(2), (len(row), 1, 1))
    chi2 = 1 + 0.1 * rng.standard_normal(len(row))
    bare = SlipMap(row, col, position, slip, covariance, chi2, status, fine, window, stride, (count, count))
    return with_domains(bare, slips, second, pixels * pixel_size)


def with_domains(slip_map: SlipMap, slips: list[FloatArray], second: NDArray[np.bool_], side: float) -> SlipMap:
    """The map with its domains and, if there are two, the line between them."""
    ok = slip_map.status == "ok"
    members = [np.flatnonzero(ok & (second == bool(i))) for i in range(len(slips))]
    if len(slips) == 1:
        members = [np.flatnonzero(ok)]
    domains = tuple(
        Domain(m, slip, WINDOW_SIGMA**2 / len(m) * np.eye(2), slip_map.position[m].mean(axis=0), len(m) / ok.sum())
        for m, slip in zip(members, slips, strict=True)
    )
    y = np.linspace(0, 1, 40)
    line = np.column_stack([0.62 + 0.1 * np.sin(3 * y) - 0.5, 0.5 - y]) * side
    return replace(slip_map, domains=domains, boundaries=(Boundary(line, (0, 1)),) if len(slips) == 2 else ())


def make_interface(layers: list[Monolayer], slip: FloatArray, twist: float = 0.0) -> Interface:
    """An interface with an error of a few pm."""
    equivalents = slip[None]
    if twist == 0.0:
        equivalents = SlipEquivalence(layers[0], layers[1]).equivalents(slip)
    return Interface(
        lower=1,
        upper=2,
        slip=slip,
        slip_frac=slip @ np.linalg.inv(layers[0].cell),
        slip_covariance=np.array([[1.6e-5, 4e-6], [4e-6, 2.5e-5]]),
        slip_bound=0.0048,
        slip_spread=0.003,
        equivalents=equivalents,
        twist=twist,
        twist_sigma=0.012 * DEGREE if twist else 0.0,
    )


FITTED = FittedMicroscope(
    voltage_eV=300e3,
    semiangle=0.022,
    semiangle_sigma=0.0003,
    source="fitted",
    defocus=12.0,
    defocus_sigma=4.0,
    C12=6.0,
    C12_sigma=2.0,
    phi12=0.5,
    C21=110.0,
    C21_sigma=60.0,
    phi21=-1.0,
    source_fwhm=0.7,
    source_fwhm_sigma=0.03,
)


def make_result(
    materials: tuple[str, str] = ("ReS2", "ReS2"),
    *,
    pixels: int = 256,
    domains: int = 1,
    twist: float = 0.0,
    stride: float = 3.0,
    pixel_size: float = 0.12,
    seed: int = 1,
) -> Result:
    """A bilayer with one or two domains, or a twisted one without a map."""
    rng = np.random.default_rng(seed)
    layers = [load_monolayer(name) for name in materials]
    slips = list(SLIPS[:domains])
    image, simulated = make_image(layers, slips, pixels, rng, pixel_size=pixel_size, twist=twist)
    return Result(
        verdict="twist" if twist else "slip",
        reason="the two layers' lattices are turned against each other" if twist else None,
        image=image,
        settings=Settings(material=materials[0]),
        version="1.2.3",
        pixel_size_lattice=pixel_size,
        layers=make_layers(layers, slips[0], 0.3, twist),
        interfaces=(make_interface(layers, slips[0], twist),),
        microscope=FITTED,
        quality=Quality(
            engine="fit",
            chi2_reduced=1.14,
            explained=0.968,
            alternatives=(
                Alternative("monolayer", 8123.0, "one layer of ReS2"),
                Alternative("mirrored", 312.4, "the crystal seen from the other side"),
            ),
        ),
        maps=() if twist else (make_map(image, slips, slips[0], stride, rng),),
        simulated=simulated,
        seconds={"lattice": 0.21, "fit": 0.83, "map": 1.9},
    )


def make_poor_result(verdict: str = "unresolved", pixels: int = 256) -> Result:
    """A monolayer, or an image in which nothing was found."""
    rng = np.random.default_rng(3)
    layer = load_monolayer("MoS2")
    image, _ = make_image([layer], [SLIPS[0]], pixels, rng)
    if verdict == "monolayer":
        return Result(
            "monolayer",
            "one layer explains all of the image, a second one would scatter at least 30 % more",
            image,
            Settings(material="MoS2"),
            "1.2.3",
            pixel_size_lattice=0.12,
            layers=make_layers([layer], SLIPS[0], 0.3, 0.0),
            microscope=FITTED,
            quality=Quality("fit", 1.02, 0.981),
        )
    noise = Image(rng.poisson(20, (pixels, pixels)).astype(np.float32), name="vacuum.tif")
    return Result("unresolved", "no lattice of MoS2 stands out of the noise", noise, Settings(material="MoS2"), "1.2.3")
