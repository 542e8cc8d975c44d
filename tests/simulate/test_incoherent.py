"""The fast model against direct integration, itself (periodic against finite) and the symmetries of space."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.data import chemical_symbols
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from picostem.errors import UsageError
from picostem.physics import DEGREE
from picostem.simulate import Microscope, incoherent, simulate_atoms, simulate_periodic
from picostem.simulate.scattering import adf_object_transfer, thermal_transfer
from picostem.simulate.synthesis import pixel_axes
from picostem.simulate.transfer import Aberrations, probe_transfer
from picostem.structure import Layer, Stack, load_monolayer

CLEAN = Microscope.from_lab_units(voltage_kV=300, semiangle_mrad=21.3, detector_mrad=(39, 97), source_fwhm_A=0.6)
ABERRATED = Microscope.from_lab_units(
    voltage_kV=300,
    semiangle_mrad=21.3,
    detector_mrad=(39, 97),
    defocus_A=-18,
    C12_A=14,
    phi12_deg=147,
    C21_A=100,
    phi21_deg=30,
    C30_A=2e3,
    source_fwhm_A=0.5,
)
RES2, MOS2 = load_monolayer("ReS2"), load_monolayer("MoS2")
BILAYER = Stack.bilayer(RES2, (1.4, -2.8))
TWISTED = Stack.bilayer(MOS2, (0.7, 0.3), twist=14.1 * DEGREE)


def direct_image(
    atoms: Atoms, microscope: Microscope, shape: tuple[int, int], pixel_size: float
) -> NDArray[np.float64]:
    """Each atom's spectrum integrated over a polar grid of Gauss nodes, every depth exactly; no grid, no period."""
    x, w = np.polynomial.legendre.leggauss(90)
    radius, weight = (x + 1) / 2 * microscope.cutoff, w / 2 * microscope.cutoff
    azimuth = np.arange(96) * 2 * np.pi / 96
    gx, gy = (np.outer(radius, f(azimuth)).ravel() for f in (np.cos, np.sin))
    area = np.repeat(weight * radius * 2 * np.pi / 96, 96)
    across, down = pixel_axes(shape, pixel_size)
    image = np.zeros(shape)
    for number, (x0, y0, z) in zip(atoms.numbers, atoms.positions, strict=True):
        symbol = chemical_symbols[number]
        m = microscope
        transfer = probe_transfer(gx, gy, m.wavelength, m.semiangle, m.aberrations_at(z))
        signal = adf_object_transfer(
            symbol, np.hypot(gx, gy), m.voltage_eV, m.semiangle, m.detector_inner, m.detector_outer
        )
        width = np.hypot(0.08, m.source_sigma)
        spectrum = area * transfer * signal * thermal_transfer(np.hypot(gx, gy), width)
        waves_x = np.exp(2j * np.pi * np.outer(gx, across - x0))
        waves_y = np.exp(2j * np.pi * np.outer(gy, down - y0))
        image += (waves_y.T @ (spectrum[:, None] * waves_x)).real
    return image


@pytest.mark.parametrize("microscope", [CLEAN, ABERRATED], ids=["clean", "aberrated"])
@pytest.mark.parametrize(("shape", "pixel_size"), [((40, 33), 0.13), ((14, 15), 0.41)], ids=["fine", "undersampled"])
def test_atoms_are_the_direct_integral(microscope: Microscope, shape: tuple[int, int], pixel_size: float) -> None:
    positions = [[0.013, 0.77, 0.0], [-1.31, -0.42, 1.7], [1.9, -2.0, -1.7], [0.6, 1.23, 7.7]]
    atoms = Atoms(["Re", "S", "S", "Re"], positions=positions)
    displacements = {"Re": 0.08, "S": 0.08}
    got = simulate_atoms(atoms, microscope, shape, pixel_size, displacements=displacements)
    slow = direct_image(atoms, microscope, shape, pixel_size)
    assert got.dtype == np.float32
    assert got.shape == shape
    # The padded field repeats after 25 Å, where a probe has a tail of some 1e-5 of its peak; the first-order expansion
    # in depth adds some 1e-3 of a sulfur peak. Measured 9e-5. A wrong aberration, depth or scale shows as 1e-2.
    np.testing.assert_allclose(got, slow, atol=2e-4 * slow.max())


def test_atoms_are_placed_to_a_fraction_of_a_thousandth_of_a_pixel() -> None:
    atoms, moved = (Atoms("Re", positions=[[0.4567 + shift, -0.321, 0.0]]) for shift in (0.0, 1e-3 * 0.13))
    displacements = {"Re": 0.08}
    got, other = (simulate_atoms(a, CLEAN, (40, 33), 0.13, displacements=displacements) for a in (atoms, moved))
    error = np.abs(got - direct_image(atoms, CLEAN, (40, 33), 0.13)).max()
    assert error < 2e-5 * got.max()  # measured 9e-6, float32
    assert np.abs(got - other).max() > 5 * error  # what a thousandth of a pixel does


def test_a_lone_atom_has_its_cross_section() -> None:
    atoms = Atoms("Re", positions=[[0.1, -0.2, 0.0]])
    image = simulate_atoms(atoms, CLEAN, (300, 300), 0.12)
    expected = adf_object_transfer("Re", np.array(0.0), 300e3, 0.0213, 0.039, 0.097)
    # 18 Å around the atom leave 1/(pi² k_max 18 Å) = 0.5 % of an Airy disc outside.
    assert image.sum(dtype=np.float64) * 0.12**2 == pytest.approx(expected, rel=6e-3)


def test_an_atom_appears_where_it_is() -> None:
    atoms = Atoms("Mo", positions=[[1.2, 0.9, 0.0]])
    image = simulate_atoms(atoms, CLEAN, (61, 41), 0.1)
    # col = (nx - 1)/2 + x/px, row = (ny - 1)/2 - y/px: up is towards row 0.
    assert image.argmax() == (30 - 9) * 41 + (20 + 12)


@pytest.mark.parametrize("stack", [BILAYER, TWISTED], ids=["oblique", "twisted"])
@pytest.mark.parametrize(("shape", "pixel_size"), [((101, 120), 0.17), ((40, 44), 0.31)], ids=["fine", "undersampled"])
def test_periodic_and_finite_agree(stack: Stack, shape: tuple[int, int], pixel_size: float) -> None:
    origin = (1.2, 0.4)
    periodic = simulate_periodic(stack, ABERRATED, shape, pixel_size, rotation=0.7, mirrored=True, origin=origin)
    extent = (shape[1] * pixel_size + 30, shape[0] * pixel_size + 30)
    atoms = stack.atoms(rotation=0.7, mirrored=True, origin=origin, extent=extent)
    finite = simulate_atoms(atoms, ABERRATED, shape, pixel_size)
    # Tails of atoms more than MARGIN away: 1e-3 of the contrast (2e-5 with twice the margin).
    np.testing.assert_allclose(finite, periodic, atol=2e-3 * periodic.std())


def test_a_wider_margin_closes_the_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoherent, "MARGIN", 25.0)
    periodic = simulate_periodic(BILAYER, ABERRATED, (60, 60), 0.2, rotation=0.3)
    finite = simulate_atoms(BILAYER.atoms(rotation=0.3, extent=(70, 70)), ABERRATED, (60, 60), 0.2)
    np.testing.assert_allclose(finite, periodic, atol=1e-4 * periodic.std())  # measured 5e-5: transfer table, float32


def test_eclipsed_chalcogens_agree_too() -> None:
    low = Microscope.from_lab_units(voltage_kV=60, semiangle_mrad=31.5, detector_mrad=(49.5, 198), source_fwhm_A=0.6)
    stack = Stack.of([MOS2])
    periodic = simulate_periodic(stack, low, (60, 60), 0.2)
    finite = simulate_atoms(stack.atoms(extent=(40, 40)), low, (60, 60), 0.2)
    np.testing.assert_allclose(finite, periodic, atol=3e-3 * periodic.std())  # as above; the 60 kV probe is wider
    # Without the upper sulfurs, their site must lose more than half: the pair's interference goes with them.
    atoms = stack.atoms(extent=(40, 40))
    lower_only = simulate_atoms(atoms[~((atoms.numbers == 16) & (atoms.positions[:, 2] > 0))], low, (60, 60), 0.2)
    metal_only = simulate_atoms(atoms[atoms.numbers == 42], low, (60, 60), 0.2)
    full, half = (float((image - metal_only).mean()) for image in (finite, lower_only))
    assert half / full == pytest.approx(1 / (2 * 1.32), abs=0.005)  # 1.32: see column.py, to two digits


def test_depth_expansion_is_good_to_a_tenth_of_a_percent() -> None:
    g = np.array([[0.3, 0.1], [0.5, -0.6], [1.1, 0.4]])
    waves = {}
    for z in (-1.75, 0.0, 1.75):
        a = ABERRATED.aberrations_at(z)
        waves[z] = probe_transfer(g[:, 0], g[:, 1], ABERRATED.wavelength, ABERRATED.semiangle, a)
    slope = (waves[1.75] - waves[-1.75]) / 3.5
    bend = (waves[1.75] + waves[-1.75]) / 2 - waves[0.0]
    assert (np.abs(slope * 1.75) > 5e-3).all()  # the first order matters
    assert (np.abs(bend) < 2e-3).all()  # the second, left out, is at most (pi z/depth of focus)²/2 at the rim


@settings(deadline=None, max_examples=12)
@given(
    steps=st.tuples(st.integers(-3, 3), st.integers(-3, 3)),
    rotation=st.floats(-3, 3),
    mirrored=st.booleans(),
)
def test_a_lattice_vector_changes_nothing(steps: tuple[int, int], rotation: float, mirrored: bool) -> None:
    stack = Stack.of([RES2])
    shift = np.array(steps) @ RES2.cell
    moved = Stack((Layer(RES2, (float(shift[0]), float(shift[1]))),))
    one, other = (
        simulate_periodic(s, ABERRATED, (24, 30), 0.2, rotation=rotation, mirrored=mirrored) for s in (stack, moved)
    )
    np.testing.assert_allclose(one, other, atol=1e-5 * one.std())  # float32


@pytest.mark.parametrize("mirrored", [False, True])
def test_quarter_turn_turns_the_image(mirrored: bool) -> None:
    upright = simulate_periodic(BILAYER, CLEAN, (50, 50), 0.15, rotation=0.2, mirrored=mirrored)
    turned = simulate_periodic(BILAYER, CLEAN, (50, 50), 0.15, rotation=0.2 + np.pi / 2, mirrored=mirrored)
    np.testing.assert_allclose(turned, np.rot90(upright), atol=2e-5 * upright.std())  # float32


def test_mirroring_turns_the_image_over() -> None:
    plain = simulate_periodic(BILAYER, CLEAN, (50, 51), 0.15)
    mirrored = simulate_periodic(BILAYER, CLEAN, (50, 51), 0.15, mirrored=True)
    np.testing.assert_allclose(mirrored, plain[::-1], atol=2e-5 * plain.std())  # float32
    assert np.abs(mirrored - plain).max() > plain.std()


def test_origin_moves_the_image() -> None:
    still = simulate_periodic(BILAYER, ABERRATED, (60, 60), 0.15)
    moved = simulate_periodic(BILAYER, ABERRATED, (60, 60), 0.15, origin=(3 * 0.15, 5 * 0.15))
    np.testing.assert_allclose(moved[:-5, 3:], still[5:, :-3], atol=2e-5 * still.std())  # float32; right and up


def test_layers_are_seen_at_their_own_depth() -> None:
    # Overfocus of the lower layer by 10 Å is what the upper one, 10 Å higher, sees of a focused probe.
    upper = Stack((Layer(RES2, z=10.0),))
    lower = Stack((Layer(RES2, z=0.0),))
    defocused = Microscope.from_lab_units(
        voltage_kV=300, semiangle_mrad=21.3, detector_mrad=(39, 97), source_fwhm_A=0.6, defocus_A=-10
    )
    one = simulate_periodic(upper, CLEAN, (30, 30), 0.2)
    other = simulate_periodic(lower, defocused, (30, 30), 0.2)
    np.testing.assert_allclose(one, other, atol=1e-6 * one.max())  # the same numbers
    assert np.abs(one - simulate_periodic(lower, CLEAN, (30, 30), 0.2)).max() > 0.01 * one.max()


def test_mean_is_the_sum_of_cross_sections() -> None:
    # The signal per area is the sum over one cell, whatever the probe.
    image = simulate_periodic(Stack.of([RES2]), ABERRATED, (300, 300), 0.2)
    geometry = (300e3, 0.0213, 0.039, 0.097)
    per_cell = sum(float(adf_object_transfer(s, np.array(0.0), *geometry)) for s in RES2.symbols)
    window = np.outer(np.hanning(300), np.hanning(300))
    mean = np.average(image, weights=window)
    assert mean == pytest.approx(per_cell / RES2.area, rel=3e-4)  # side lobes of a window of ten cells


def test_more_thermal_motion_blurs() -> None:
    sharp, soft = (simulate_periodic(BILAYER, CLEAN, (40, 40), 0.2, displacements={"Re": rms}) for rms in (0.0, 0.2))
    assert soft.std() < 0.95 * sharp.std()
    assert soft.mean() == pytest.approx(sharp.mean(), rel=0.02)  # the few cells of the field do not average out


def test_no_atoms_no_signal() -> None:
    assert not simulate_atoms(Atoms(), CLEAN, (20, 20), 0.2).any()


@pytest.mark.parametrize(("shape", "pixel_size"), [((0, 10), 0.1), ((10, 10), 0.0), ((10, 10), np.nan)])
def test_bad_fields_are_refused(shape: tuple[int, int], pixel_size: float) -> None:
    with pytest.raises(UsageError, match="shape"):
        simulate_periodic(BILAYER, CLEAN, shape, pixel_size)
    with pytest.raises(UsageError, match="shape"):
        simulate_atoms(Atoms("Re"), CLEAN, shape, pixel_size)


def test_transfer_table_is_the_quadrature() -> None:
    rng = np.random.default_rng(5)
    radius, azimuth = ABERRATED.cutoff * np.sqrt(rng.random(400)), (rng.random(400) - 0.5) * np.pi
    gx, gy = radius * np.cos(azimuth), radius * np.sin(azimuth)
    table = incoherent._TransferTable(gx, gy, ABERRATED)
    for z in (0.0, -60.0):
        a: Aberrations = ABERRATED.aberrations_at(z)
        exact = probe_transfer(gx, gy, ABERRATED.wavelength, ABERRATED.semiangle, a)
        np.testing.assert_allclose(table.at(z)[0], exact, atol=5e-5)  # cubic splines, 32 radii and 24 azimuths
