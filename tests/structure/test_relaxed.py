from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from picostem.errors import UsageError
from picostem.structure import Monolayer, RelaxedMoire, Stack, image_from_crystal, load_monolayer, rotation_matrix
from tests.strategies.structure import angles, seeded, vectors

FloatArray = NDArray[np.float64]

MOS2, WSE2, RES2 = (load_monolayer(name) for name in ("MoS2", "WSe2", "ReS2"))

STEP = 1e-3
"""Å: of numerical derivatives; their error, STEP² times the third derivative, is far below 1e-9."""


@st.composite
def moires(draw: st.DrawFn) -> RelaxedMoire:
    lower, upper = draw(
        st.sampled_from([(MOS2, MOS2), (MOS2, MOS2.turned()), (MOS2, WSE2), (RES2, RES2), (RES2, RES2.flipped())])
    )
    twist = np.radians(draw(st.floats(0.6, 4.0))) * draw(st.sampled_from([-1, 1]))
    slip, crest = (tuple(draw(vectors(5.0))) for _ in range(2))
    return RelaxedMoire(lower, upper, twist, slip, draw(st.floats(-0.2, 0.2)), crest, draw(st.floats(0, 1)))


def gradient(moire: RelaxedMoire, points: FloatArray) -> FloatArray:
    """du_i/dr_j, shape (n, 2, 2), by central differences."""
    columns = [
        (moire.displacement(points + step) - moire.displacement(points - step)) / (2 * STEP)
        for step in STEP * np.eye(2)
    ]
    return np.stack(columns, axis=-1)


@seeded
@given(moires(), vectors(300.0))
def test_displacement_is_periodic_and_the_registry_goes_on_by_whole_cells(
    moire: RelaxedMoire, point: FloatArray
) -> None:
    for vector in moire.vectors:
        # 1e-9 Å and 1e-9: rounding of phases of some hundred.
        np.testing.assert_allclose(moire.displacement(point + vector), moire.displacement(point), atol=1e-9)
        steps = moire.registry(point + vector) - moire.registry(point)
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-9)
        assert np.abs(np.round(steps)).sum() > 0
    assert np.linalg.norm(moire.displacement(point)) <= 3 * abs(moire.amplitude)


def test_displacement_is_not_periodic_within_the_moire() -> None:
    moire = RelaxedMoire(MOS2, MOS2, np.radians(1.0), amplitude=0.3)
    point = np.array([20.0, 35.0])
    for vector in moire.vectors / 2:
        assert np.linalg.norm(moire.displacement(point + vector) - moire.displacement(point)) > 0.01


@pytest.mark.parametrize("upper", [MOS2, MOS2.turned()])
def test_twisted_layers_only_turn_and_strained_ones_only_stretch(upper: Monolayer) -> None:
    points = np.random.default_rng(1).uniform(-200, 200, (50, 2))
    twisted = gradient(RelaxedMoire(MOS2, upper, np.radians(1.3), (0.4, 0.9), 0.3), points)
    parallel = gradient(RelaxedMoire(MOS2, WSE2, 0.0, (0.4, 0.9), 0.3), points)
    divergence, curl = twisted[:, 0, 0] + twisted[:, 1, 1], twisted[:, 1, 0] - twisted[:, 0, 1]
    # 1e-9: see STEP, and rounding of 1e-13 over a step.
    assert np.abs(divergence).max() < 1e-9 and np.abs(curl).max() > 0.01
    divergence, curl = parallel[:, 0, 0] + parallel[:, 1, 1], parallel[:, 1, 0] - parallel[:, 0, 1]
    assert np.abs(curl).max() < 1e-9 and np.abs(divergence).max() > 0.01


def test_curl_where_the_stackings_are_by_hand() -> None:
    # At the crest all three cosines are 1: curl u = ± 3 · 2 pi A |G|, |G| = 2/(sqrt(3) L); at the two other stackings
    # of high symmetry they are -1/2.
    moire = RelaxedMoire(MOS2, MOS2, np.radians(1.0), amplitude=0.3)
    period = 3.16 / (2 * np.sin(np.radians(0.5)))
    a, b = moire.vectors
    slope = gradient(moire, np.array([[0.0, 0.0], (2 * a + b) / 3, (a + 2 * b) / 3]))
    curl = slope[:, 1, 0] - slope[:, 0, 1]
    expected = 2 * np.pi * 0.3 * 2 / (np.sqrt(3) * period) * np.array([3, -1.5, -1.5])
    # 1e-8: see STEP. Positive: the upper layer turns further where it costs energy, and back in the domains.
    np.testing.assert_allclose(curl, expected, atol=1e-8)


def share_near(moire: RelaxedMoire, slip: FloatArray) -> float:
    """Share of the moiré where the slip is within 0.6 Å of one."""
    grid = np.array(list(itertools.product(np.arange(60) / 60, repeat=2))) @ moire.vectors
    difference = moire.registry(grid) - slip @ np.linalg.inv(MOS2.cell)
    near = (difference - np.round(difference)) @ MOS2.cell
    return float((np.linalg.norm(near, axis=1) < 0.6).mean())


@pytest.mark.parametrize("crest", [(0.0, 0.0), (0.0, 1.8244)])
def test_regions_of_the_crest_shrink(crest: tuple[float, float]) -> None:
    rigid, relaxed, opposite = (
        share_near(RelaxedMoire(MOS2, MOS2, np.radians(1.0), (0.7, 0.2), amplitude, crest), np.array(crest))
        for amplitude in (0.0, 0.15, -0.15)
    )
    # By hand: pi 0.6² of 8.65 Å², 13.1 %; around the crest the slip changes 1 + 3 pi A |g| = 1.52 times as fast.
    # 0.01: 3600 points; and the domain is no longer round.
    assert rigid == pytest.approx(0.131, abs=0.005)
    assert relaxed == pytest.approx(0.131 / 1.52**2, abs=0.01)
    assert opposite > 1.4 * rigid


@seeded
@given(moires(), vectors(200.0))
def test_slip_by_its_formula(moire: RelaxedMoire, point: FloatArray) -> None:
    # Rows of the matched cells: F as a column matrix takes one to the other.
    lower = moire.lower.cell
    upper = np.round(lower @ rotation_matrix(-moire.twist) @ np.linalg.inv(moire.upper.cell)) @ moire.upper.cell
    turned = upper @ rotation_matrix(moire.twist).T
    f = (np.linalg.inv(lower) @ turned).T
    expected = moire.slip_at_origin + (f - np.eye(2)) @ point + moire.displacement(point)
    # 1e-9 Å: rounding.
    np.testing.assert_allclose(moire.slip(point), expected, atol=1e-9)
    np.testing.assert_allclose(moire.registry(point) @ turned, expected, atol=1e-9)


def test_slip_of_equal_layers_is_the_usual_formula() -> None:
    twist, origin = np.radians(2.0), np.array([0.3, 1.1])
    moire = RelaxedMoire(RES2, RES2, twist, (0.3, 1.1), 0.1)
    points = np.random.default_rng(2).uniform(-100, 100, (20, 2))
    expected = origin + points @ (rotation_matrix(twist) - np.eye(2)).T + moire.displacement(points)
    # 1e-9 Å: rounding.
    np.testing.assert_allclose(moire.slip(points), expected, atol=1e-9)
    assert moire.slip(points.reshape(4, 5, 2)).shape == (4, 5, 2)


@seeded
@given(moires(), angles, st.booleans(), vectors(10.0))
def test_without_amplitude_the_atoms_are_those_of_the_stack(
    moire: RelaxedMoire, rotation: float, mirrored: bool, origin: FloatArray
) -> None:
    rigid = RelaxedMoire(moire.lower, moire.upper, moire.twist, moire.slip_at_origin, 0.0, moire.crest, moire.share)
    found = rigid.atoms(rotation, mirrored, origin, (40.0, 25.0))
    stack = Stack.bilayer(moire.lower, moire.slip_at_origin, moire.twist, moire.upper)
    expected = stack.atoms(rotation, mirrored, origin, (40.0, 25.0))
    np.testing.assert_array_equal(found.positions, expected.positions)
    np.testing.assert_array_equal(found.cell.array, expected.cell.array)
    np.testing.assert_array_equal(np.ravel(found.get_celldisp()), np.ravel(expected.get_celldisp()))
    assert str(found.symbols) == str(expected.symbols)
    for name in ("layer", "site"):
        np.testing.assert_array_equal(found.arrays[name], expected.arrays[name])


@seeded
@given(moires(), angles, st.booleans(), vectors(100.0))
def test_the_slip_measured_from_the_atoms(
    moire: RelaxedMoire, rotation: float, mirrored: bool, origin: FloatArray
) -> None:
    atoms = moire.atoms(rotation, mirrored, origin, (60.0, 45.0))
    assert (np.abs(atoms.positions[:, :2]) <= [30.0, 22.5]).all()
    crystal = (atoms.positions[:, :2] - origin) @ image_from_crystal(rotation, mirrored)
    upper = moire.upper.cell @ rotation_matrix(moire.twist).T
    lower_from_upper = np.linalg.inv(_matched_upper(moire)) @ moire.lower.cell
    u = moire.displacement(crystal)
    # Put back by its part of the displacement, every atom is on its layer's rigid lattice.
    back = {
        1: (moire.lower, moire.lower.cell, moire.share * u @ lower_from_upper),
        2: (moire.upper, upper, -(1 - moire.share) * u - moire.slip_at_origin),
    }
    for number, (layer, cell, move) in back.items():
        chosen = atoms.arrays["layer"] == number
        steps = (crystal + move)[chosen] @ np.linalg.inv(cell) - layer.scaled[atoms.arrays["site"][chosen]]
        # 1e-9: rounding.
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-9)


def _matched_upper(moire: RelaxedMoire) -> FloatArray:
    steps = np.round(moire.lower.cell @ rotation_matrix(-moire.twist) @ np.linalg.inv(moire.upper.cell))
    return steps @ moire.upper.cell @ rotation_matrix(moire.twist).T


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_local_slip_of_neighbouring_atoms(share: float) -> None:
    # With one atom in a cell, local coordinates of each lattice come from four neighbours around a place: linear
    # interpolation, good to the second derivative of u times a²: 0.3 (2 pi/157)² 3.16² / 2 · 3 = 0.01 Å.
    moire = RelaxedMoire(MOS2, MOS2, np.radians(1.0), (0.4, -0.2), 0.3, share=share)
    atoms = moire.atoms(extent=(220.0, 220.0))
    metal = atoms.arrays["site"] == 0
    for place in np.random.default_rng(3).uniform(-80, 80, (20, 2)):
        coordinates = []
        for number, cell, origin in (
            (1, MOS2.cell, (0.0, 0.0)),
            (2, MOS2.cell @ rotation_matrix(moire.twist).T, moire.slip_at_origin),
        ):
            points = atoms.positions[metal & (atoms.arrays["layer"] == number), :2]
            near = points[np.argsort(np.linalg.norm(points - place, axis=1))[:7]]
            index = np.round((near - origin) @ np.linalg.inv(cell))
            design = np.column_stack([near - place, np.ones(7)])
            coordinates.append(np.linalg.lstsq(design, index, rcond=None)[0][2])
        difference = (coordinates[0] - coordinates[1]) - moire.registry(place)
        assert np.linalg.norm((difference - np.round(difference)) @ MOS2.cell) < 0.01


def test_atoms_move_no_further_than_they_may_and_none_is_lost() -> None:
    atoms, rigid = (
        RelaxedMoire(MOS2, MOS2, np.radians(1.0), amplitude=a).atoms(origin=(30.0, 40.0), extent=(200.0, 150.0))
        for a in (0.3, 0.0)
    )
    # The area per atom is that of the rigid layers: none on average, up to those at the edges.
    assert len(atoms) == pytest.approx(len(rigid), rel=0.01)
    lower = atoms[atoms.arrays["layer"] == 1]
    np.testing.assert_array_equal(lower.positions, rigid[rigid.arrays["layer"] == 1].positions)
    inner = rigid[rigid.arrays["layer"] == 2].positions
    inner = inner[(np.abs(inner[:, :2]) < (98.0, 73.0)).all(axis=1)]
    moved = atoms[atoms.arrays["layer"] == 2].positions
    gaps = np.array([np.linalg.norm(moved - atom, axis=1).min() for atom in inner[::50]])
    assert 0.2 < gaps.max() <= 3 * 0.3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"twist": 0.0}, "no moiré cell"),
        ({"twist": float("nan")}, "finite twist"),
        ({"amplitude": float("inf")}, "finite twist and amplitude"),
        ({"share": 1.5}, "share within 0 to 1"),
        ({"share": float("nan")}, "share within 0 to 1"),
        ({"amplitude": 50.0}, r"too large for this moiré: expected up to \d"),
        ({"slip_at_origin": (0.0, float("nan"))}, "slip_at_origin: expected a finite"),
        ({"crest": (0.0, 0.0, 0.0)}, "crest: expected a finite"),
        ({"upper": load_monolayer("graphene")}, "do not correspond|too large"),
    ],
)
def test_impossible_moires(change: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {"lower": RES2, "upper": RES2, "twist": 0.02, "amplitude": 0.1, **change}
    with pytest.raises(UsageError, match=message):
        RelaxedMoire(**arguments)  # type: ignore[arg-type]
