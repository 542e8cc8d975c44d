"""The plain code that speed is compared with gives the same answers as the fast code."""

from __future__ import annotations

import numpy as np
import pytest

from picostem.bench.naive import direct_sum, fit_window
from picostem.bench.speed import PIXEL_SIZE, example, prepare
from picostem.resolve.windows import fit_grid
from picostem.simulate import Microscope, simulate_periodic
from picostem.simulate.synthesis import pixel_axes
from picostem.structure import Stack, load_monolayer


@pytest.mark.parametrize("material", ["ReS2", "MoS2"])
def test_direct_sum_is_the_fast_image(material: str) -> None:
    stack = Stack.bilayer(load_monolayer(material), (1.1, 0.4))
    microscope = Microscope.from_lab_units(
        voltage_kV=300, semiangle_mrad=15, detector_mrad=(39, 200), defocus_A=20, C12_A=10, phi12_deg=20, C21_A=100
    )
    x, y = pixel_axes((24, 30), 0.3)
    fast, slow = simulate_periodic(stack, microscope, (24, 30), 0.3), direct_sum(stack, microscope, x, y)
    # 0.5 % of the contrast: the fast one expands the transfer to first order about each layer's mid-plane.
    assert np.abs(fast - slow).max() < 0.005 * np.ptp(slow)


def test_plain_least_squares_finds_the_same_slip() -> None:
    data, setting = prepare(example(256)[0])
    slip = setting.fit.state.slips[0, 0]
    fast = fit_grid(data, setting, slip[None, None], (np.array([30]), np.array([50])))
    slow = fit_window(data, setting, (30, 50), slip)
    off = (slow - fast.slips[0, 0]) @ setting.model.cell
    # The plain fit gives all harmonics one weight, which costs it some precision: three standard deviations.
    assert np.linalg.norm(off) < 3 * np.sqrt(np.trace(fast.covariance[0]))
    assert setting.lattice.pixel_size == pytest.approx(PIXEL_SIZE, rel=0.01)
