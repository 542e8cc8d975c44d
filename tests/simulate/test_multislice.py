"""The multislice adapter against abTEM's own multislice, and the fast model against both."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

import numpy as np
import pytest
from ase import Atoms
from numpy.typing import NDArray
from scipy import fft

from picostem.errors import UsageError
from picostem.simulate import (
    Microscope,
    MultisliceSettings,
    multislice,
    propagation,
    simulate_atoms,
    simulate_atoms_multislice,
    simulate_periodic,
    simulate_periodic_multislice,
)
from picostem.structure import Stack, load_monolayer

abtem = pytest.importorskip("abtem")

FloatArray = NDArray[np.float64]
AT_300 = {"voltage_kV": 300.0, "semiangle_mrad": 21.3, "detector_mrad": (39.0, 97.0)}
AT_60 = {"voltage_kV": 60.0, "semiangle_mrad": 31.5, "detector_mrad": (49.5, 198.0)}
AT_80 = {**AT_60, "voltage_kV": 80.0}
ABERRATIONS = {"defocus_A": -18.0, "C12_A": 14.0, "phi12_deg": 147.0, "C21_A": 100.0, "phi21_deg": 30.0}
STILL = MultisliceSettings(configurations=1, displacements={"Re": 0, "Mo": 0, "S": 0, "W": 0, "Se": 0, "C": 0})


def microscope(where: dict[str, object], **more: float) -> Microscope:
    return Microscope.from_lab_units(**where, **more)  # type: ignore[arg-type]


def test_one_position_is_what_abtem_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Aberration signs, propagation, detector and normalisation, for a probe beside an asymmetric group of atoms."""
    monkeypatch.setattr(propagation, "POTENTIAL_REFINEMENT", 1)  # abTEM has one grid for potential and wave
    strong = {"defocus_A": -50.0, "C12_A": 40.0, "phi12_deg": 147.0, "C21_A": 500.0, "phi21_deg": 30.0}
    m = microscope(AT_300, **strong)
    positions = np.array([[0.11, 0.07], [0.61, -0.33], [-0.7, 0.6]])
    group = np.array([[0.0, 0.0, 0.0], [0.9, 0.4, 1.6], [-0.5, 1.1, 6.0], [0.7, -0.8, 4.2]])
    atoms = Atoms(["Re", "S", "Re", "S"], positions=group)
    theirs = np.array([_abtem_fraction(atoms, m, position, STILL) for position in positions])
    ours = [_one_fraction(atoms, m, position) for position in positions]
    # Soft against hard rims of the detector, a fraction of a pixel of 1.5 mrad at 39 mrad. Measured 0.018.
    np.testing.assert_allclose(ours, theirs, rtol=0.025)
    for change in ({"C12_A": -40.0}, {"C21_A": -500.0}, {"defocus_A": 50.0}):
        other = microscope(AT_300, **{**strong, **change})
        wrong = np.array([_one_fraction(atoms, other, position) for position in positions])
        assert np.abs(wrong / theirs - 1).max() > 0.1  # a wrong sign would show


def _one_fraction(atoms: Atoms, m: Microscope, position: FloatArray) -> float:
    return float(multislice._mean_fraction(atoms, m, position[None], np.random.default_rng(0), STILL)[0])


def _abtem_fraction(atoms: Atoms, m: Microscope, position: FloatArray, settings: MultisliceSettings) -> float:
    """Detected fraction by abTEM alone, in the window that the adapter would cut around the position."""
    grid = propagation.ScanField.around(position[None], m, settings.window_for(m))
    side = settings.window_for(m)
    first = np.rint((position - grid.corner) / grid.sampling - grid.window / 2)
    origin = grid.corner + first * grid.sampling
    low, high = -settings.slice_thickness / 2, atoms.positions[:, 2].max() + settings.slice_thickness / 2
    count = int(np.ceil((high - low) / settings.slice_thickness))
    placed = Atoms(atoms.numbers, atoms.positions - [*origin, low], cell=[side, side, high - low])
    potential = abtem.Potential(
        placed, gpts=grid.window, slice_thickness=(high - low) / count, parametrization="lobato", projection="infinite"
    )
    # abTEM starts at its first slice, half a slice above the adapter's box.
    a = m.aberrations_at(low + (high - low) / count / 2)
    probe = abtem.Probe(
        energy=m.voltage_eV,
        semiangle_cutoff=m.semiangle * 1e3,
        soft=False,
        aberrations={
            "C10": a.C10,
            "C12": m.C12,
            "phi12": m.phi12,
            "C21": m.C21,
            "phi21": m.phi21,
        },
    )
    detector = abtem.AnnularDetector(m.detector_inner * 1e3, m.detector_outer * 1e3)
    measured = probe.scan(potential, scan=abtem.CustomScan([position - origin]), detectors=detector, lazy=False)
    return float(np.asarray(measured.array).ravel()[0])


def test_a_lone_atom_at_rest_is_what_the_fast_model_says() -> None:
    m = microscope(AT_60)
    atoms = Atoms("Mo", positions=[[0.02, -0.03, 0.0]])
    slow = simulate_atoms_multislice(atoms, m, (9, 9), 0.35, np.random.default_rng(0), STILL)
    fast = simulate_atoms(atoms, m, (9, 9), 0.35, displacements={"Mo": 0})
    # Both solve the same phase object; the grid of the potential leaves 1 % of the peak.
    np.testing.assert_allclose(slow, fast, atol=0.015 * fast.max())  # measured 0.008


def test_frozen_phonons_come_in_opposite_pairs_and_of_the_stated_size() -> None:
    settings = MultisliceSettings(configurations=3, displacements={"S": 0.2})
    numbers = np.array([16] * 4000 + [75] * 4000)
    first, second, third = multislice._displacements(numbers, np.random.default_rng(0), settings)
    np.testing.assert_array_equal(first, -second)
    assert not np.array_equal(np.abs(first), np.abs(third))
    assert not first[:, 2].any()
    # 8000 draws fix a standard deviation to 1/sqrt(16000) = 0.8 %: four sigma.
    assert first[:4000, :2].std() == pytest.approx(0.2, rel=0.032)
    assert first[4000:, :2].std() == pytest.approx(0.06, rel=0.032)


def test_periodic_and_aperiodic_scans_agree() -> None:
    m = microscope(AT_60, **ABERRATIONS)
    stack = Stack.of([load_monolayer("WSe2")])
    rng = np.random.default_rng(0)
    origin = (0.4, -0.2)
    settings = replace(STILL, window=12.8, slice_thickness=4.0)
    periodic = simulate_periodic_multislice(
        stack, m, (7, 9), 0.35, rng, settings, rotation=0.3, mirrored=True, origin=origin
    )
    atoms = stack.atoms(rotation=0.3, mirrored=True, origin=origin, extent=(26, 26))
    aperiodic = simulate_atoms_multislice(atoms, m, (7, 9), 0.35, rng, settings)
    # Positions of nuclei on the grids differ: up to 2 % of a peak with potentials refined three times.
    np.testing.assert_allclose(aperiodic, periodic, atol=0.02 * periodic.max())
    assert np.corrcoef(aperiodic.ravel(), periodic.ravel())[0, 1] > 0.999


@pytest.mark.parametrize("step", [0.0, 1.0, np.nan])
def test_a_scan_step_beyond_the_band_limit_is_refused(step: float) -> None:
    with pytest.raises(UsageError, match="scan_step"):
        MultisliceSettings(scan_step=step)


@pytest.mark.parametrize(
    ("scan_step", "share", "tolerance"),
    # The tolerance is what a quintic spline does to a wave at this share of the band limit, (s/(2 - s))^6 of it with
    # s = scan_step share, twice over, and 5e-4 for what the blur's edges, four sigma away, let through.
    [(0.7, 0.45, 6e-4), (0.9, 0.45, 1.1e-3), (0.9, 0.7, 1.6e-2)],
)
def test_the_source_blurs_and_the_spline_keeps_waves(
    monkeypatch: pytest.MonkeyPatch, scan_step: float, share: float, tolerance: float
) -> None:
    """Known answer: a plane wave of detected fractions leaves as exp(-2 pi² sigma² g²) of itself, at every pixel."""
    m = microscope(AT_60, source_fwhm_A=0.6)
    g = share * m.cutoff * np.array([np.cos(0.4), np.sin(0.4)])

    def wave(positions: FloatArray) -> FloatArray:
        return np.asarray(np.cos(2 * np.pi * (positions @ g) + 0.3))

    monkeypatch.setattr(multislice, "_mean_fraction", lambda atoms, m, positions, rng, settings: wave(positions))
    settings = MultisliceSettings(scan_step=scan_step)
    got = simulate_atoms_multislice(Atoms(), m, (40, 50), 0.15, np.random.default_rng(0), settings)
    x, y = np.meshgrid((np.arange(50) - 24.5) * 0.15, (19.5 - np.arange(40)) * 0.15)
    damping = np.exp(-2 * np.pi**2 * m.source_sigma**2 * (g @ g))
    expected = damping * wave(np.stack([x, y], axis=-1))
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * damping)


def test_grid_holds_the_detector_and_every_window() -> None:
    m = microscope(AT_300)
    positions = np.random.default_rng(0).uniform(-7, 9, (50, 2))
    grid = propagation.ScanField.around(positions, m, MultisliceSettings().window_for(m))
    assert 1 / (3 * grid.sampling) >= m.detector_outer / m.wavelength
    assert grid.window * grid.sampling == pytest.approx(14.2 * m.wavelength / m.semiangle)
    assert fft.next_fast_len(grid.window) == grid.window
    first = np.rint((positions - grid.corner) / grid.sampling - grid.window / 2)
    assert (first >= 0).all()
    assert (first + grid.window <= grid.counts).all()


def test_vacuum_scatters_nothing() -> None:
    image = simulate_atoms_multislice(Atoms(), microscope(AT_60), (2, 2), 0.5, np.random.default_rng(0))
    assert np.abs(image).max() < 1e-6  # float32 of a beam of 1


def test_missing_abtem_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "abtem", None)
    with pytest.raises(UsageError, match=r'pip install "picostem\[sim\]"'):
        simulate_atoms_multislice(Atoms("C"), microscope(AT_60), (2, 2), 0.5, np.random.default_rng(0))


def test_twisted_layers_have_no_common_cell() -> None:
    stack = Stack.bilayer(load_monolayer("MoS2"), (0, 0), twist=0.3)
    with pytest.raises(UsageError, match="lattice"):
        simulate_periodic_multislice(stack, microscope(AT_60), (4, 4), 0.5, np.random.default_rng(0))


@pytest.mark.parametrize("change", [{"configurations": 0}, {"slice_thickness": 0.0}, {"window": -1.0}])
def test_impossible_settings_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="configuration"):
        MultisliceSettings(**change)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Case:
    """A stack and the limits on how far its fast image may lie from its multislice image."""

    material: str
    slip: tuple[float, float] | None
    where: dict[str, object]
    aberrated: bool
    correlation: float
    residual: float
    signal: float


# Limits: correlation of the two images, rms of their difference over the standard deviation of the multislice image,
# and the mean of that one over the mean of the fast one. Behind each what this test measured: nothing is fitted.
CASES = [
    Case("ReS2", None, AT_300, False, 0.9997, 0.03, 1.013),  # 0.9999, 0.020
    Case("ReS2", (1.4, -2.8), AT_300, False, 0.9985, 0.05, 1.007),  # 0.9993, 0.039
    Case("ReS2", (1.4, -2.8), AT_300, True, 0.998, 0.07, 1.006),  # 0.9988, 0.058
    Case("MoS2", None, AT_60, False, 0.9994, 0.035, 1.030),  # 0.9998, 0.022
    Case("MoS2", None, AT_60, True, 0.999, 0.05, 1.030),  # 0.9994, 0.036
    Case("WSe2", None, AT_80, False, 0.9997, 0.025, 1.026),  # 0.9999, 0.016
    Case("graphene", None, AT_60, False, 0.997, 0.07, 1.013),  # 0.9987, 0.056
    Case("graphene", (1.0, 0.4), AT_60, False, 0.995, 0.10, 1.039),  # 0.9974, 0.083
    # Here the layers see each other's scattering: multislice itself differs by 9 % of the contrast from the sum of its
    # images of the two layers, and no linear model can follow.
    Case("MoS2", (1.0, 0.4), AT_60, True, 0.985, 0.17, 0.981),  # 0.9907, 0.142
    Case("WSe2", (1.0, 0.4), AT_80, True, 0.996, 0.11, 1.003),  # 0.9981, 0.089
]


def _name(case: Case) -> str:
    layers = "layer" if case.slip is None else "bilayer"
    return f"{case.material}-{layers}-{case.where['voltage_kV']:g}kV{'-aberrated' if case.aberrated else ''}"


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=_name)
def test_fast_image_is_close_to_multislice(case: Case) -> None:
    m = microscope(case.where, source_fwhm_A=0.6, **(ABERRATIONS if case.aberrated else {}))
    layer = load_monolayer(case.material)
    stack = Stack.of([layer]) if case.slip is None else Stack.bilayer(layer, case.slip)
    settings = MultisliceSettings(configurations=8)
    slow = simulate_periodic_multislice(
        stack, m, (128, 128), 0.1, np.random.default_rng(1), settings, rotation=0.4, origin=(0.3, 0.2)
    )
    fast = simulate_periodic(stack, m, (128, 128), 0.1, rotation=0.4, origin=(0.3, 0.2))
    assert np.corrcoef(slow.ravel(), fast.ravel())[0, 1] > case.correlation
    assert (slow - fast).std() / slow.std() < case.residual
    assert slow.mean() / fast.mean() == pytest.approx(case.signal, abs=0.01)  # 8 draws of frozen phonons


def test_fast_image_is_close_to_a_cheap_multislice_one() -> None:
    """The comparison above at low cost: one pair of frozen phonons, one slice for the layer."""
    m = microscope(AT_60, source_fwhm_A=0.8)
    stack = Stack.of([load_monolayer("MoS2")])
    settings = MultisliceSettings(configurations=2, slice_thickness=4.0)
    slow = simulate_periodic_multislice(stack, m, (48, 48), 0.2, np.random.default_rng(2), settings)
    fast = simulate_periodic(stack, m, (48, 48), 0.2)
    assert (slow - fast).std() / slow.std() < 0.12  # measured 0.08, of one pair of phonons
    assert (slow - fast[::-1]).std() / slow.std() > 0.5  # what a wrong frame would show
