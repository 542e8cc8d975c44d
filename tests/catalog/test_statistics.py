from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from picostem.bench.catalog_known import BETA, LAYER, WELLS, drawn, known_energy, known_landscape, measured
from picostem.catalog.density import Density
from picostem.catalog.landscape import RELATIVE, Landscape, load_landscape, pair_landscape
from picostem.catalog.occupancy import boltzmann_plot, fit_temperature
from picostem.catalog.peaks import find_peaks
from picostem.catalog.series import Series, grid_points
from picostem.catalog.slips import Slips, transitions
from picostem.errors import DataError
from picostem.structure import SlipEquivalence, load_monolayer


@pytest.fixture(scope="module")
def slips() -> Slips:
    """3750 windows of 150 images, each of its own."""
    rng = np.random.default_rng(3)
    return measured(drawn(3750, rng), np.repeat(np.arange(150), 25), rng)


def test_a_series_through_a_grid_gives_its_values_and_slopes() -> None:
    shape = (9, 8)
    values = np.random.default_rng(0).standard_normal(shape)
    # A grid of even size cannot hold its highest wave.
    values = Series.of_grid(LAYER.cell, values).grid(shape)
    series = Series.of_grid(LAYER.cell, values)
    assert series(grid_points(LAYER.cell, shape)) == pytest.approx(values.ravel(), abs=1e-12)
    point, step = np.array([0.7, 1.9]), 1e-5
    moved = [point + step * np.array(d) for d in ((1, 0), (-1, 0), (0, 1), (0, -1))]
    right, left, up, down = series(np.array(moved))
    gradient, hessian = series.derivatives(point)
    assert gradient == pytest.approx([(right - left) / (2 * step), (up - down) / (2 * step)], abs=1e-6)
    assert hessian[0, 0] == pytest.approx((right + left - 2 * series(point[None])[0]) / step**2, rel=1e-3)


def test_the_density_is_one_in_all_and_alike_for_equivalents(slips: Slips) -> None:
    series = Density.of(slips).series
    assert series.mean * LAYER.area == pytest.approx(1)
    points = np.random.default_rng(1).random((20, 2)) @ LAYER.cell
    assert series(points) == pytest.approx(series(-points), abs=1e-12)


@pytest.mark.parametrize(("deconvolve", "variance"), [(True, 0.2**2), (False, 0.2**2 + 2 * 0.3**2)])
def test_errors_of_windows_are_taken_out(deconvolve: bool, variance: float) -> None:
    # Slips scatter by 0.2 Å, errors by 0.3 Å; left in, each window is once more as wide as its error.
    rng = np.random.default_rng(5)
    place, many = np.array([[1.5, 1.5]]), 5000
    slip = place + np.hypot(0.2, 0.3) * rng.standard_normal((many, 2))
    slips = Slips(slip, np.tile(0.09 * np.eye(2), (many, 1, 1)), np.arange(many), SlipEquivalence(LAYER))
    peak = Density.of(slips, bandwidth=0.5, deconvolve=deconvolve).series(place)[0]
    # The other half lies at -D. 5 %: the noise is (1 / (4 pi (0.5² - 0.3²) f N))^½, 1.9 % of the height f.
    assert peak == pytest.approx(0.5 / (2 * np.pi * (variance + 0.5**2)), rel=0.05)


def test_peaks_lie_within_a_tenth_of_an_angstrom_of_the_wells(slips: Slips) -> None:
    peaks, labels = find_peaks(Density.of(slips))
    assert len(peaks) == 2
    equivalence = slips.equivalence
    distance = np.array([equivalence.distance(WELLS, peak.slip) for peak in peaks])
    assert distance.min(axis=0).max() < 0.1
    assert all(np.sqrt(np.trace(peak.covariance)) < 0.1 for peak in peaks)
    assert np.bincount(labels) / len(slips) == pytest.approx([peak.share for peak in peaks])
    # Of each peak's windows most are nearer to it than to the other one.
    near = np.array([equivalence.distance(slips.slip, peak.slip) for peak in peaks]).argmin(axis=0)
    assert (near == labels).mean() > 0.9


def test_the_temperature_comes_back(slips: Slips) -> None:
    landscape = known_landscape()
    fit = fit_temperature(slips, landscape)
    assert fit.sigma < 0.03 * BETA
    assert abs(fit.beta - BETA) < 3 * fit.sigma
    plot = boltzmann_plot(slips, landscape, fit.beta)
    assert -plot.slope == pytest.approx(BETA, rel=0.1)
    assert plot.chi2 < 3


def test_errors_of_the_temperature_hold() -> None:
    # 25 draws of 300 windows each: of z-scores the mean square is 1 ± 0.28.
    landscape, scores = known_landscape(), []
    for seed in range(25):
        rng = np.random.default_rng(seed)
        fit = fit_temperature(measured(drawn(300, rng), np.arange(300), rng), landscape)
        scores.append((fit.beta - BETA) / fit.sigma)
    assert 0.4 < np.mean(np.square(scores)) < 1.9


def test_windows_of_one_image_count_as_one_event() -> None:
    rng = np.random.default_rng(2)
    true, landscape = drawn(60, rng), known_landscape()
    once = fit_temperature(measured(true, np.arange(60), rng), landscape)
    often = fit_temperature(measured(np.repeat(true, 25, axis=0), np.repeat(np.arange(60), 25), rng), landscape)
    assert often.sigma == pytest.approx(once.sigma, rel=0.2)


def test_without_order_there_is_no_temperature() -> None:
    rng = np.random.default_rng(4)
    slips = measured(rng.random((2000, 2)) @ LAYER.cell, np.arange(2000), rng)
    fit = fit_temperature(slips, known_landscape())
    assert abs(fit.beta) < 3 * fit.sigma
    peaks, _ = find_peaks(Density.of(slips))
    assert all(peak.density < 2 / LAYER.area for peak in peaks)


def test_neighbouring_windows_in_two_clusters_are_a_transition() -> None:
    labels, image = np.array([0, 0, 1, 0, 1]), np.array(["p", "p", "p", "q", "r"])
    position = np.array([[0.0, 0], [10, 0], [20, 0], [0, 0], [10, 0]])
    assert transitions(labels, image, position, 10.5, 2).tolist() == [[1, 1], [1, 0]]


def test_landscapes_in_tables_and_grids_are_the_same(tmp_path: Path) -> None:
    shape = (16, 15)
    points = grid_points(LAYER.cell, shape)
    energy = known_energy(points)
    np.savez(tmp_path / "grid.npz", energy=energy.reshape(shape))
    for names, places in (("a,b", points @ np.linalg.inv(LAYER.cell)), ("x_A,y_A", points)):
        rows = "\n".join(f"{p:.9f},{q:.9f},{e:.9f}" for (p, q), e in zip(places, energy, strict=True))
        (tmp_path / f"{names[0]}.csv").write_text(f"{names},energy\n{rows}\n")
    asked = np.random.default_rng(0).random((50, 2)) @ LAYER.cell
    for name in ("grid.npz", "a.csv", "x.csv"):
        # 1 meV: wells 0.75 Å wide on points 0.4 Å apart.
        assert load_landscape(tmp_path / name, LAYER).series(asked) == pytest.approx(known_energy(asked), abs=1e-3)


def test_energies_are_read_from_calculations(tmp_path: Path) -> None:
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write

    lines, places = ["a,b,file"], [(i / 8, j / 8) for i in range(8) for j in range(8)]
    for i, (a, b) in enumerate(places):
        atoms = Atoms("H")
        atoms.calc = SinglePointCalculator(atoms, energy=np.cos(2 * np.pi * a) - 0.5 * np.sin(2 * np.pi * b))
        write(tmp_path / f"{i}.extxyz", atoms)
        lines.append(f"{a},{b},{i}.extxyz")
    (tmp_path / "slips.csv").write_text("\n".join(lines))
    found = load_landscape(tmp_path / "slips.csv", LAYER)
    assert found.series(np.array([[0.3, 0.2]]) @ LAYER.cell)[0] == pytest.approx(
        np.cos(0.6 * np.pi) - 0.5 * np.sin(0.4 * np.pi), abs=1e-6
    )


@pytest.mark.parametrize(
    "text", ["a,b\n0,0\n", "a,b,energy\n0,0,1\n", "a,b,energy\n0,0,x\n", "a,b,energy\n" + "0.1,0.1,1\n" * 100]
)
def test_tables_that_are_no_landscape(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(DataError):
        load_landscape(tmp_path / "bad.csv", LAYER)


def test_a_flat_landscape_tells_no_temperature(slips: Slips) -> None:
    flat = Landscape(Series.of_grid(LAYER.cell, np.ones((9, 9))), RELATIVE, "flat")
    with pytest.raises(DataError, match="flat"):
        fit_temperature(slips, flat)


def test_pairs_of_atoms_repel_where_they_meet() -> None:
    # Parallel MoS2: AA, sulphur above sulphur, is the highest stacking, AB and BA are the lowest and equal.
    mos2 = load_monolayer("MoS2")
    found = pair_landscape(mos2)
    aa, ab, ba = found.series(np.array([[0.0, 0.0], [1 / 3, 2 / 3], [2 / 3, 1 / 3]]) @ mos2.cell)
    # 0.02: the energies were scaled on a grid that may miss the ends.
    assert (aa, ab, ba) == pytest.approx((1, 0, 0), abs=0.02)
