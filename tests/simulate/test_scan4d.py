"""4D-STEM data by multislice: frames and signs, abTEM's own patterns, source, focus, counts, files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from numpy.typing import NDArray

from picostem.errors import UsageError
from picostem.physics import MRAD
from picostem.simulate import Microscope, propagation, scan4d
from picostem.simulate.scan4d import (
    Scan4DSettings,
    Simulated4D,
    corrected_microscope,
    simulate_scan4d,
    write_scan4d,
)
from picostem.simulate.specimen import Specimen, graphene, make_specimen

abtem = pytest.importorskip("abtem")

FloatArray = NDArray[np.float64]
SHARP = corrected_microscope(60e3, 32 * MRAD)
CLEAN = Scan4DSettings(field=(1.2, 0.8), step=0.4, electrons=np.inf)
GROUP = Specimen(
    "group", Atoms("ReSReS", [(0.0, 0.0, 0.0), (0.9, 0.4, 1.6), (-0.5, 1.1, 6.0), (0.7, -0.8, 4.2)]), "test"
)


def scanned(specimen: Specimen, m: Microscope = SHARP, settings: Scan4DSettings = CLEAN, seed: int = 0) -> Simulated4D:
    return simulate_scan4d(specimen, m, settings, np.random.default_rng(seed))


def centre_of_mass(patterns: NDArray[np.generic]) -> NDArray[np.complex128]:
    """kx + i ky in pixels."""
    k = np.arange(patterns.shape[-1]) - (patterns.shape[-1] - 1) / 2
    return (patterns * (k - 1j * k[:, None])).sum(axis=(-1, -2)) / patterns.sum(axis=(-1, -2))


def test_the_beam_is_drawn_to_an_atom_from_all_sides() -> None:
    """Known answer, and the frame of scan and detector: x right, y up in both."""
    settings = replace(CLEAN, field=(1.2, 1.2))
    scan = scanned(Specimen("Mo", Atoms("Mo", [(0, 0, 0)]), "test"), settings=settings)
    found = centre_of_mass(scan.patterns)
    x = np.array([-0.4, 0, 0.4])
    towards = -(x + 1j * x[::-1, None])
    assert found[1, 0].real > 1  # left of the atom: kx > 0
    assert found[0, 1].imag < -1  # above it: ky < 0
    around = np.abs(towards) > 0
    np.testing.assert_allclose(np.angle(found[around] / towards[around]), 0, atol=0.01)  # the potential's grid
    assert abs(found[1, 1]) < 0.01


def test_a_pattern_is_what_abtem_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: transposition, flips, aberration signs, pixels and normalisation, for atoms without any symmetry."""
    monkeypatch.setattr(propagation, "POTENTIAL_REFINEMENT", 1)  # abTEM has one grid for potential and wave
    m = replace(SHARP, defocus=-30.0, C12=20.0, phi12=2.5, C21=300.0, phi21=0.6)
    settings = replace(CLEAN, field=(0.4, 0.4), detector_pixel=1.5 * MRAD)
    ours = scanned(GROUP, m, settings).patterns[0, 0]
    side = m.wavelength / settings.pixel_for(m)
    grid = propagation.ScanField.around(np.zeros((1, 2)), m, side)
    first = np.rint(-grid.corner / grid.sampling - grid.window / 2)
    origin = grid.corner + first * grid.sampling
    count = 4  # slices of at most 2 Å for atoms over 6 Å, and half a slice of room on both sides
    placed = Atoms(GROUP.atoms.numbers, GROUP.atoms.positions - [*origin, -1], cell=[side, side, 8])
    potential = abtem.Potential(
        placed, gpts=grid.window, slice_thickness=8 / count, parametrization="lobato", projection="infinite"
    )
    a = m.aberrations_at(-1 + 8 / count / 2)
    probe = abtem.Probe(
        energy=60e3,
        semiangle_cutoff=32,
        soft=False,
        aberrations={"C10": a.C10, "C12": m.C12, "phi12": m.phi12, "C21": m.C21, "phi21": m.phi21},
    )
    waves = probe.multislice(potential, scan=abtem.CustomScan([-origin]), lazy=False)
    theirs = np.abs(np.fft.fftshift(np.fft.fft2(waves.array.reshape(grid.window, grid.window)))) ** 2
    middle, half = grid.window // 2, len(ours) // 2
    theirs = theirs[middle - half : middle + half + 1, middle - half : middle + half + 1].T[::-1]
    ours, theirs = ours / ours.sum(), theirs / theirs.sum()  # antialiasing takes 2 % from ours before the last slice
    assert np.abs(ours - theirs).sum() < 0.015
    for wrong in (theirs[::-1], theirs[:, ::-1], theirs.T):
        assert np.abs(ours - wrong).sum() > 0.1


def test_the_source_is_an_average_over_places() -> None:
    """Oracle: probes at Gauss-Hermite nodes (exact to 3e-4), for a scan too coarse to be blurred as it is."""
    m, settings = replace(SHARP, source_fwhm=0.7), replace(CLEAN, field=(0.5, 0.5), step=0.5)
    node, weight = np.polynomial.hermite_e.hermegauss(5)
    weight /= weight.sum()
    places = np.stack(np.meshgrid(node, node), axis=-1).reshape(-1, 2) * m.source_sigma
    signals = scan4d._scanned(GROUP, SHARP, settings, places, lambda *_: None)
    blurred, sharp = (scanned(GROUP, one, settings).patterns[0, 0] for one in (m, SHARP))
    expected = (np.outer(weight, weight).ravel() @ signals[:, :-1]).reshape(blurred.shape)
    # Nuclei of Re lie elsewhere on the potential's grid: 0.0066 of the beam.
    assert np.abs(blurred - expected).sum() < 0.01
    assert np.abs(sharp - expected).sum() > 0.05


def test_the_focus_is_spread_as_asked() -> None:
    m, settings = replace(SHARP, defocus=10.0), replace(CLEAN, field=(0.4, 0.4), detector_pixel=1.5 * MRAD)
    foci = [(weight, one.defocus - 10) for weight, one in scan4d._focus(m, 40.0)]
    moments = [sum(weight * at**n for weight, at in foci) for n in range(5)]
    assert moments == pytest.approx([1, 0, 40**2, 0, 3 * 40**4], abs=1e-6)  # of a normal distribution; rounding
    spread = scanned(GROUP, m, replace(settings, defocus_spread=40.0)).patterns
    each = [weight * scanned(GROUP, replace(m, defocus=10 + at), settings).patterns for weight, at in foci]
    np.testing.assert_allclose(spread, sum(each), atol=1e-8)  # float32
    assert np.abs(spread - scanned(GROUP, m, settings).patterns).sum() > 0.05


def test_electrons_are_counted() -> None:
    specimen = graphene(None, CLEAN.side(SHARP))
    clean = scanned(specimen)
    assert clean.patterns.dtype == np.float32
    assert clean.patterns.shape == (2, 3, 65, 65)
    share = clean.patterns.sum(axis=(2, 3))
    assert ((share > 0.99) & (share < 1)).all()  # graphene scatters little beyond 64 mrad
    counted = scanned(specimen, settings=replace(CLEAN, electrons=2e4))
    assert counted.patterns.dtype == np.uint16
    totals = counted.patterns.sum(axis=(2, 3))
    assert totals == pytest.approx(2e4 * share, abs=5 * 2e4**0.5)  # 5 sigma
    expected = 2e4 * clean.patterns.astype(float)
    bright = expected > 5
    chi2 = ((counted.patterns - expected)[bright] ** 2 / expected[bright]).mean()
    assert chi2 == pytest.approx(1, abs=5 * (2 / bright.sum()) ** 0.5 + 0.01)  # 5 sigma
    other = scanned(specimen, settings=replace(CLEAN, electrons=2e4), seed=1)
    assert (other.patterns != counted.patterns).any()
    assert scanned(specimen, settings=replace(CLEAN, electrons=1e6)).patterns.dtype == np.uint32


def test_scan_truth_and_patterns_share_a_frame() -> None:
    """In graphene psi_1 points to where the beam is drawn: 0.9 of the centres of mass are the atoms' own."""
    settings = replace(CLEAN, field=(2.4, 2.0), step=0.4)
    scan = scanned(graphene("Si3", settings.side(SHARP), 0.3), settings=settings)
    found, told = centre_of_mass(scan.patterns).ravel(), scan.maps["psi_1"].ravel()
    alike = np.vdot(told, found) / np.sqrt(np.vdot(told, told) * np.vdot(found, found))
    assert alike.real > 0.85  # of a kind, not the same: weights differ
    assert abs(alike.imag) < 0.05
    brightest = scan.truth["columns"]["index"].index(scan.maps["column"].ravel()[scan.maps["adf"].argmax()])
    assert scan.truth["columns"]["species"][brightest] == "Si"


def test_files_hold_all_of_it(tmp_path: Path) -> None:
    scan = scanned(graphene("vacancy", CLEAN.side(SHARP)))
    data, text, maps = write_scan4d(tmp_path / "new", "one", scan)
    np.testing.assert_array_equal(np.load(data, mmap_mode="r"), scan.patterns)
    truth = json.loads(text.read_text("utf-8"))
    assert (truth["file"], truth["maps"], truth["defect"]["kind"]) == ("one.npy", "one.npz", "vacancy")
    assert truth["electrons_per_pattern"] is None
    assert truth["detector"]["matrix"] == [[0, scan.pixel], [-scan.pixel, 0]]
    assert scan.pixel == pytest.approx(32e-3 / 16.25 / SHARP.wavelength)
    assert truth["detector"]["centre"] == [32, 32]
    with np.load(maps) as read:
        assert set(read) == {"psi_1", "psi_2", "psi_3", "psi_4", "psi_6", "column", "distance", "kind", "adf"}
        assert {one.shape for one in read.values()} == {(2, 3)}


@pytest.mark.parametrize(
    ("m", "settings", "message"),
    [
        (SHARP, replace(CLEAN, detector_pixel=3 * MRAD), "choose at most 2.25 mrad"),
        (replace(SHARP, defocus=300.0), CLEAN, "too coarse"),
        (replace(SHARP, detector_outer=60 * MRAD), CLEAN, "at least 91 mrad"),
    ],
)
def test_what_the_window_cannot_hold_is_refused(m: Microscope, settings: Scan4DSettings, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        scanned(make_specimen("graphene", 5.0), m, settings)


@pytest.mark.parametrize(
    "bad", [{"step": 0.0}, {"field": (1.0, -1.0)}, {"electrons": 0.0}, {"defocus_spread": -1.0}, {"step": np.nan}]
)
def test_impossible_settings_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="positive|negative"):
        Scan4DSettings(**bad)
