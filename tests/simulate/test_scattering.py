"""Object transfer of single atoms and of columns against slow sums over plane waves."""

from __future__ import annotations

import numpy as np
import pytest

from picostem.errors import UsageError
from picostem.physics import adf_cross_section, electron_wavelength, relativistic_factor, scattering_amplitude
from picostem.simulate import Microscope, column, scattering

AT_300 = (300e3, 0.0213, 0.039, 0.097)
AT_60 = (60e3, 0.0315, 0.0495, 0.198)


def slow_transfer(
    symbol: str, g: float, geometry: tuple[float, float, float, float], separation: float = 0.0, rms: float = 0.0
) -> float:
    """Sum over a square grid of incident and a polar grid of detected directions, edges cut hard."""
    voltage, semiangle, inner, outer = geometry
    wavelength = electron_wavelength(voltage)
    side = np.linspace(-1, 1, 61) * semiangle / wavelength
    px, py = (p.ravel() for p in np.meshgrid(side, side))
    both = (np.hypot(px + g / 2, py) < semiangle / wavelength) & (np.hypot(px - g / 2, py) < semiangle / wavelength)
    px, py = px[both], py[both]
    edges = np.linspace(inner, outer, 61) / wavelength
    radius, azimuth = np.meshgrid((edges[1:] + edges[:-1]) / 2, np.arange(64) * 2 * np.pi / 64)
    kx, ky = (radius * np.cos(azimuth)).ravel(), (radius * np.sin(azimuth)).ravel()
    weight = (radius * (edges[1] - edges[0]) * 2 * np.pi / 64).ravel()
    ux, uy = kx[:, None] - px, ky[:, None] - py
    a, b = np.hypot(ux + g / 2, uy), np.hypot(ux - g / 2, uy)
    waves = scattering_amplitude(symbol, a, voltage) * scattering_amplitude(symbol, b, voltage).conj()
    waves *= np.exp(1j * np.pi * wavelength * separation * ((kx**2 + ky**2)[:, None] - px**2 - py**2 - g**2 / 4))
    waves *= np.exp(-2 * np.pi**2 * rms**2 * (a**2 + b**2))
    return float((wavelength * relativistic_factor(voltage)) ** 2 * (weight @ waves.real).mean())


@pytest.mark.parametrize("geometry", [AT_300, AT_60])
@pytest.mark.parametrize("symbol", ["Re", "S"])
@pytest.mark.parametrize("share", [0.0, 0.43, 0.8])
def test_object_transfer_is_the_slow_sum(
    symbol: str, share: float, geometry: tuple[float, float, float, float]
) -> None:
    g = share * 2 * geometry[1] / electron_wavelength(geometry[0])
    got = scattering.adf_object_transfer(symbol, np.array(g), *geometry)
    # Cut edges of a 61 x 61 grid are good to about 1/61 of the rim's share: 0.5 %.
    assert got == pytest.approx(slow_transfer(symbol, g, geometry), rel=5e-3)


def test_object_transfer_of_a_nearly_parallel_beam_is_the_cross_section() -> None:
    got = scattering.adf_object_transfer("Re", np.array(0.0), 300e3, 1e-4, 0.039, 0.097)
    # sin(theta) against theta in the solid angle: theta²/6 and below, 0.1 %.
    assert got == pytest.approx(adf_cross_section("Re", 300e3, 0.039, 0.097), rel=1e-3)


def test_convergence_adds_signal_and_the_object_has_a_width() -> None:
    g = np.linspace(0, 2.16, 25)
    transfer = scattering.adf_object_transfer("Re", g, *AT_300)
    assert transfer[0] > 1.2 * adf_cross_section("Re", 300e3, 0.039, 0.097)  # measured 1.23
    assert (np.diff(transfer) < 0).all()
    assert transfer[-1] / transfer[0] == pytest.approx(0.693, abs=0.005)  # a regression: what the fast model rests on


@pytest.mark.parametrize("doubled", ["_OVERLAP_NODES", "_SMOOTH_RADIAL_NODES", "_SMOOTH_AZIMUTH_NODES", "_DEGREE"])
def test_object_transfer_has_converged(doubled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    g = np.linspace(0, 2.1, 40)
    scattering._object_curve.cache_clear()
    got = scattering.adf_object_transfer("S", g, *AT_300)
    monkeypatch.setattr(scattering, doubled, 2 * getattr(scattering, doubled))
    scattering._object_curve.cache_clear()
    finer = scattering.adf_object_transfer("S", g, *AT_300)
    scattering._object_curve.cache_clear()
    np.testing.assert_allclose(got, finer, atol=2e-5 * got[0])  # as stated beside the numbers of nodes
    assert not np.array_equal(got, finer)


def test_object_transfer_is_constant_beyond_the_cutoff_and_even() -> None:
    limit = 2 * AT_300[1] / electron_wavelength(AT_300[0])
    got = scattering.adf_object_transfer("S", np.array([-0.5, 0.5, limit, 2 * limit]), *AT_300)
    assert got[0] == got[1]
    assert got[2] == got[3] > 0


@pytest.mark.parametrize("geometry", [(300e3, 0.04, 0.039, 0.097), (300e3, 0.0213, 0.1, 0.05), (300e3, 0.0, 0.04, 0.1)])
def test_bright_field_geometries_are_refused(geometry: tuple[float, float, float, float]) -> None:
    with pytest.raises(UsageError, match="dark field"):
        scattering.adf_object_transfer("Re", np.array(0.0), *geometry)


def test_thermal_transfer_is_the_transform_of_a_gaussian() -> None:
    x = np.linspace(-3, 3, 6001)
    density = np.exp(-0.5 * (x / 0.2) ** 2) / (0.2 * np.sqrt(2 * np.pi))
    for g in (0.0, 0.7, 2.0):
        slow = np.trapezoid(density * np.cos(2 * np.pi * g * x), x)
        assert scattering.thermal_transfer(np.array(g), 0.2) == pytest.approx(
            slow, abs=1e-9
        )  # trapezoidal: exponential


def test_displacement_of_an_element_without_a_value() -> None:
    assert scattering.rms_displacement("Re") == 0.06
    assert scattering.rms_displacement("Au") == scattering.DEFAULT_DISPLACEMENT


class TestColumn:
    microscope = Microscope(*AT_60)

    @pytest.mark.parametrize("share", [0.0, 0.6])
    def test_pair_is_the_slow_sum(self, share: float) -> None:
        g = share * self.microscope.cutoff
        got = column.Scatterer(("S", "S"), 3.15).transfer(np.array(g), self.microscope, {"S": 0.085})
        slow = 2 * slow_transfer("S", g, AT_60, separation=3.15, rms=0.085)
        single = float(scattering.adf_object_transfer("S", np.array(0.0), *AT_60))
        assert got == pytest.approx(slow, abs=5e-3 * single)  # the slow sum's cut edges, as above

    def test_two_atoms_at_one_place_scatter_four_times_as_much(self) -> None:
        pair = column.Scatterer(("S", "S"), 0.0).transfer(np.array([0.0, 0.4]), self.microscope, {"S": 0.0})
        single = column.Scatterer(("S",)).transfer(np.array([0.0, 0.4]), self.microscope, {"S": 0.0})
        np.testing.assert_allclose(2 * single + pair, 4 * single, rtol=4e-5)  # two quadratures, each right to 2e-5

    def test_heavy_atom_first_scatters_more(self) -> None:
        # Multislice: W 1.6 Å before S gives 1.45 times their single signals, S before W 1.39; single scattering gives
        # the order, not the amount.
        at_zero = np.array(0.0)
        first, last = (
            column.Scatterer(pair, 1.6).transfer(at_zero, self.microscope, {}) for pair in (("W", "S"), ("S", "W"))
        )
        assert first > last > 0

    def test_thermal_motion_weakens_a_pair(self) -> None:
        pair = column.Scatterer(("S", "S"), 3.15)
        still, hot = (float(pair.transfer(np.array(0.0), self.microscope, {"S": rms})) for rms in (0.0, 0.2))
        assert 0 < hot < 0.6 * still

    def test_groups_of_a_periodic_layer(self) -> None:
        cell = np.array([[3.0, 0.0], [-1.5, 2.6]])
        # The upper S is one lattice vector away: still above the lower one.
        positions = np.array([[0.0, 0, 0], [1.0, 0.5, -1.5], [1.0 - 3.0, 0.5, 1.62]])
        groups = dict(column.scatterers(["Mo", "S", "S"], positions, cell))
        assert set(groups) == {
            column.Scatterer(("Mo",)),
            column.Scatterer(("S",)),
            column.Scatterer(("S", "S"), 3.1),  # 3.12, rounded to 0.05 Å
        }
        np.testing.assert_allclose(groups[column.Scatterer(("S", "S"), 3.1)], [[1.0, 0.5, 0.06]], atol=1e-12)

    def test_finite_atoms_pair_up_only_on_one_column(self) -> None:
        positions = np.array([[0.0, 0, 1.5], [0.05, 0, -1.5], [0.5, 0, 0], [0.0, 0, 9.0]])
        groups = dict(column.scatterers(["S", "Se", "S", "S"], positions))
        pairs = {key: value for key, value in groups.items() if len(key.symbols) == 2}
        assert list(pairs) == [column.Scatterer(("Se", "S"), 3.0)]  # lower atom first; 9 Å is another layer's matter
        np.testing.assert_allclose(pairs[column.Scatterer(("Se", "S"), 3.0)], [[0.025, 0, 0]], atol=1e-12)
        assert sum(len(value) for key, value in groups.items() if len(key.symbols) == 1) == 4
