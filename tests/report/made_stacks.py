"""Results of further stacks made by hand: twisted ones with maps, three layers, antiparallel ones, two materials."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from picostem.physics import DEGREE
from picostem.resolve.result import Alternative, Interface, Quality, ResolvedLayer, Result, SlipMap
from picostem.resolve.settings import Settings
from picostem.simulate import simulate_periodic
from picostem.structure import SlipEquivalence, Stack, image_from_crystal, load_monolayer, rotation_matrix
from picostem.structure.moire import moire_vectors
from tests.report.made import DOSE, FITTED, MICROSCOPE, make_image, make_map, make_result

FloatArray = NDArray[np.float64]

ROTATION, ORIGIN = 0.3, np.array([0.4, 0.7])
TWIST_SIGMA = 0.05 * DEGREE
"""Of the fake windows' twists."""
TRILAYER_SLIPS = (np.array([0.62, 1.25]), np.array([-1.4, 0.9]))
AT_ORIGIN = np.array([0.5, 0.3])
"""Å, slip of the fake twisted layers where the crystal frame has its origin."""


def lie(stack: Stack, mirrored: bool = False) -> tuple[ResolvedLayer, ...]:
    """Layers of a stack as they lie in the fake image."""
    frame = image_from_crystal(ROTATION, mirrored)
    return tuple(
        ResolvedLayer(
            layer.monolayer,
            ROTATION + (-1 if mirrored else 1) * layer.twist,
            mirrored,
            layer.cell @ frame.T,
            np.array(layer.position),
            frame @ layer.position + ORIGIN,
        )
        for layer in stack.layers
    )


def local_slips(position: FloatArray, twist: float, stretch: float = 1.0) -> FloatArray:
    """Slip (n, 2) of a twisted layer at places in the image: (R(twist) · stretch - 1) · r + slip at the origin."""
    crystal = (position - ORIGIN) @ image_from_crystal(ROTATION, False)
    return np.asarray(crystal @ (stretch * rotation_matrix(twist) - np.eye(2)).T + AT_ORIGIN)


def make_twisted(
    twists_deg: tuple[float, ...] = (4.2,),
    materials: tuple[str, str] = ("MoS2", "MoS2"),
    *,
    pixels: int = 512,
    pixel_size: float = 0.2,
    stride: float = 5.0,
    seed: int = 5,
) -> Result:
    """A twisted bilayer with its map; with two twists, the second one holds right of a curved line."""
    rng = np.random.default_rng(seed)
    layers = [load_monolayer(name) for name in materials]
    twists = [twist * DEGREE for twist in twists_deg]
    stacks = [Stack.bilayer(layers[0], AT_ORIGIN, twist, layers[1]) for twist in twists]
    bare, _ = make_result(domains=len(twists), pixels=64).image, None
    clean = [
        simulate_periodic(
            stack, MICROSCOPE, (pixels, pixels), pixel_size, rotation=ROTATION, origin=(ORIGIN[0], ORIGIN[1])
        )
        for stack in stacks
    ]
    y, x = np.mgrid[:pixels, :pixels] / pixels
    mixed = np.where(x > 0.62 + 0.1 * np.sin(3 * y), clean[-1], clean[0]) * DOSE * pixel_size**2
    image = replace(bare, data=rng.poisson(mixed).astype(np.float32)).with_pixel_size(pixel_size, "file")
    slips = [np.zeros(2)] * len(twists)
    flat = make_map(image, slips, slips[0], stride, rng)
    stretch = float(layers[1].cell[0, 0] / layers[0].cell[0, 0])
    return Result(
        "twist",
        None,
        image,
        Settings("/".join(dict.fromkeys(materials))),
        "1.2.3",
        pixel_size_lattice=pixel_size,
        layers=lie(stacks[0]),
        interfaces=(make_twisted_interface(stacks[0]),),
        microscope=FITTED,
        quality=Quality("fit", 1.3, 0.94, (Alternative("one layer", 5120.0), Alternative("twist 55.8°", 2.2))),
        maps=(twisted_map(flat, twists, stretch, rng),),
        simulated=mixed.astype(np.float32),
        seconds={"lattice": 0.21, "map": 1.9, "total": 2.4},
    )


def make_twisted_interface(stack: Stack, lower: int = 1) -> Interface:
    """The interface above layer `lower` with a twist."""
    below, above = stack.layers[lower - 1], stack.layers[lower]
    turn = above.twist - below.twist
    upper_cell = above.monolayer.cell @ rotation_matrix(turn).T
    return Interface(
        lower,
        lower + 1,
        AT_ORIGIN,
        AT_ORIGIN @ np.linalg.inv(below.monolayer.cell),
        np.diag([1e-4, 1e-4]),
        0.008,
        0.0,
        AT_ORIGIN[None],
        twist=turn,
        twist_sigma=0.006 * DEGREE,
        twist_bound=0.0042 * DEGREE,
        twist_alternatives=np.array([60 * DEGREE - turn]),
        strain=np.array([[0.0021, -0.0004], [-0.0004, -0.0013]]),
        strain_sigma=0.0003,
        moire=moire_vectors(below.monolayer.cell, upper_cell),
    )


def twisted_map(flat: SlipMap, twists: list[float], stretch: float, rng: np.random.Generator) -> SlipMap:
    """The map with the twist of each of its domains, and the slips that follow."""
    second = np.zeros(len(flat), dtype=bool)
    if len(twists) == 2:
        side = (flat.position.max() + flat.window / 2) * 2
        x, y = flat.position[:, 0] / side + 0.5, 0.5 - flat.position[:, 1] / side
        second = x > 0.62 + 0.1 * np.sin(3 * y)
    mean = np.where(second, twists[-1], twists[0])
    slip = np.where(
        second[:, None],
        local_slips(flat.position, twists[-1], stretch),
        local_slips(flat.position, twists[0], stretch),
    )
    slip = slip + flat.slip  # noise, and NaN where there is none
    domains = tuple(
        replace(domain, slip=slip[domain.windows].mean(axis=0), twist=twist, twist_sigma=0.008 * DEGREE)
        for domain, twist in zip(flat.domains, twists, strict=True)
    )
    return replace(
        flat,
        slip=slip,
        domains=domains,
        twist=mean + TWIST_SIGMA * rng.standard_normal(len(flat)),
        twist_sigma=np.full(len(flat), TWIST_SIGMA),
        strain=np.tile(np.array([[0.001, 0.0], [0.0, -0.001]]), (len(flat), 1, 1)),
    )


def make_trilayer(pixels: int = 300, stride: float = 3.0) -> Result:
    """Three layers of ReS2 with one lattice, and a map of each interface with two domains."""
    rng = np.random.default_rng(7)
    layer = load_monolayer("ReS2")
    stack = Stack.of([layer] * 3, TRILAYER_SLIPS)
    image, _ = make_image([layer], [np.zeros(2)], 64, rng)
    clean = simulate_periodic(stack, MICROSCOPE, (pixels, pixels), 0.12, rotation=ROTATION, origin=(0.4, 0.7))
    expected = (clean * DOSE * 0.12**2).astype(np.float32)
    image = replace(image, data=rng.poisson(expected).astype(np.float32)).with_pixel_size(0.12, "file")
    lower, upper = TRILAYER_SLIPS
    maps = (
        make_map(image, [lower, lower + (0.2, 0.1)], lower, stride, rng),
        replace(make_map(image, [upper, upper + (0.5, -0.3)], upper, stride, rng), interface=2),
    )
    return replace(
        make_result(pixels=64),
        image=image,
        simulated=expected,
        layers=lie(stack),
        interfaces=tuple(slip_interface(stack, i) for i in (1, 2)),
        maps=maps,
    )


def slip_interface(stack: Stack, lower: int, twist: float = 0.0) -> Interface:
    """The interface above layer `lower` of a stack with one lattice."""
    below, above = (stack.layers[i].monolayer for i in (lower - 1, lower))
    slip = stack.slips[lower - 1]
    return Interface(
        lower,
        lower + 1,
        slip,
        slip @ np.linalg.inv(below.cell),
        np.array([[1.6e-5, 4e-6], [4e-6, 2.5e-5]]),
        0.0048,
        0.003,
        SlipEquivalence(below, above, twist=twist).equivalents(slip),
        twist=twist,
    )


def make_antiparallel() -> Result:
    """Two layers of MoS2 turned against each other by 60° (H), with a slip and its map."""
    rng = np.random.default_rng(9)
    layer, slip = load_monolayer("MoS2"), np.array([0.4, 1.1])
    stack = Stack.bilayer(layer, slip, 60 * DEGREE)
    result = make_result(("MoS2", "MoS2"), pixels=256)
    clean = simulate_periodic(stack, MICROSCOPE, (256, 256), 0.12, rotation=ROTATION, origin=(0.4, 0.7))
    expected = (clean * DOSE * 0.12**2).astype(np.float32)
    image = replace(result.image, data=rng.poisson(expected).astype(np.float32))
    return replace(
        result,
        image=image,
        simulated=expected,
        layers=lie(stack),
        interfaces=(slip_interface(stack, 1, 60 * DEGREE),),
        maps=(make_map(image, [slip], slip, 3.0, rng),),
    )


def make_twisted_trilayer() -> Result:
    """A bilayer of MoS2 with one lattice under a twisted third layer, with a map of each interface."""
    result = make_twisted(pixels=400)
    rng = np.random.default_rng(11)
    layer, slip = load_monolayer("MoS2"), np.array([0.4, 1.1])
    stack = Stack.of([layer] * 3, [slip, AT_ORIGIN], [0.0, 4.2 * DEGREE])
    clean = simulate_periodic(stack, MICROSCOPE, (400, 400), 0.2, rotation=ROTATION, origin=(0.4, 0.7))
    expected = (clean * DOSE * 0.2**2).astype(np.float32)
    image = replace(result.image, data=rng.poisson(expected).astype(np.float32))
    return replace(
        result,
        image=image,
        simulated=expected,
        layers=lie(stack),
        interfaces=(slip_interface(stack, 1), make_twisted_interface(stack, 2)),
        maps=(make_map(image, [slip], slip, 5.0, rng), replace(result.maps[0], interface=2)),
    )
