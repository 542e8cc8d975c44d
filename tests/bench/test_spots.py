"""Twists read off spots: right where the spots are apart, and not where a window is too small for that."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from picostem.bench.spots import nearest_spots, spot_twist, symmetry_angle
from picostem.physics import DEGREE
from picostem.simulate import Microscope, simulate_periodic
from picostem.structure import Monolayer, Stack, load_monolayer

PIXEL_SIZE = 0.15
MOS2, WSE2, GRAPHENE = (load_monolayer(name) for name in ("MoS2", "WSe2", "graphene"))


def window(lower: Monolayer, upper: Monolayer, twist_deg: float, side: float) -> NDArray[np.float32]:
    """Noise-free image of a twisted bilayer, side × side Å."""
    microscope = Microscope.from_lab_units(voltage_kV=80, semiangle_mrad=30, detector_mrad=(50, 200), source_fwhm_A=0.6)
    stack = Stack.bilayer(lower, (0.3, 0.5), twist_deg * DEGREE, upper)
    pixels = round(side / PIXEL_SIZE)
    return simulate_periodic(stack, microscope, (pixels, pixels), PIXEL_SIZE, rotation=0.2)


def test_nearest_spots_of_a_hexagonal_layer() -> None:
    spots = nearest_spots(MOS2)
    assert len(spots) == 3
    assert np.hypot(*spots.T) == pytest.approx([2 / np.sqrt(3) / np.linalg.norm(MOS2.cell[0])] * 3)
    assert symmetry_angle(spots) == pytest.approx(60 * DEGREE)


def test_spots_of_an_oblique_and_a_square_layer() -> None:
    res2 = nearest_spots(load_monolayer("ReS2"))
    lengths = np.hypot(*res2.T)
    assert lengths.max() <= 1.1 * lengths.min()
    assert symmetry_angle(res2) == pytest.approx(180 * DEGREE)
    assert symmetry_angle(np.array([[0.3, 0.0], [0.0, 0.3]])) == pytest.approx(90 * DEGREE)


@pytest.mark.parametrize("twist", [14.0, 24.0])
def test_a_large_field_shows_its_twist(twist: float) -> None:
    found = spot_twist(window(WSE2, WSE2, twist, 100.0), PIXEL_SIZE, WSE2, WSE2)
    assert found is not None
    modulo = abs((found + 30 * DEGREE) % (60 * DEGREE) - 30 * DEGREE)
    # 0.1°: what the other lattice's tails pull; a spot is 0.6° wide in 100 Å
    assert modulo / DEGREE == pytest.approx(twist, abs=0.1)


def test_layers_of_two_lattices() -> None:
    found = spot_twist(window(MOS2, WSE2, 10.0, 100.0), PIXEL_SIZE, MOS2, WSE2)
    assert found is not None
    assert (found / DEGREE + 30) % 60 - 30 == pytest.approx(10.0, abs=0.1)  # ° as above


def test_a_window_of_2_nm_is_too_small_for_a_few_degrees() -> None:
    # The spots of 2 nm are 8° wide: those of two lattices at 4° are one maximum, or pushed elsewhere.
    found = spot_twist(window(WSE2, WSE2, 4.0, 20.0), PIXEL_SIZE, WSE2, WSE2)
    assert found is None or abs(abs((found / DEGREE + 30) % 60 - 30) - 4.0) > 0.1


def test_nothing_but_a_constant_has_no_twist() -> None:
    assert spot_twist(np.ones((60, 60), dtype=np.float32), PIXEL_SIZE, GRAPHENE, GRAPHENE) is None
