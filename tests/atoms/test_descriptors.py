"""Patches, their components, Zernike moments and neighbours of drawn atoms."""

from __future__ import annotations

import numpy as np
import pytest

from picostem.atoms.descriptors import SIDE, Neighbours, components, patches, zernike, zernike_orders, zernike_real
from picostem.atoms.table import AtomTable
from picostem.errors import DataError, UsageError
from tests.atoms.made import FloatArray, expected, grid, image

WIDTH = 2.0


def table_of(
    place: FloatArray,
    intensity: FloatArray,
    shape: tuple[int, int],
    background: float,
    pixel_size: tuple[float, float] | None = (0.15, 0.15),
    width: float = WIDTH,
) -> AtomTable:
    n, nothing = len(place), np.full(len(place), np.nan)
    return AtomTable(
        row=place[:, 0], col=place[:, 1], covariance=np.tile(np.eye(2) * 0.01, (n, 1, 1)), shape=shape,
        pixel_size=pixel_size, intensity=intensity, intensity_sigma=np.full(n, 1.0), background=np.full(n, background),
        width=np.full(n, width), score=np.full(n, 20.0), chi2=np.ones(n), species=np.full(n, ""), p_species=nothing,
        anomaly=nothing, odd=np.full(n, ""), frame=np.zeros(n, dtype=np.int64), track=np.full(n, -1),
    )  # fmt: skip


def disc() -> tuple[FloatArray, FloatArray]:
    y, x = np.mgrid[:41, :41] / 20 - 1
    return np.hypot(x, y), np.arctan2(y, x)


class TestPatches:
    def test_an_atom_is_a_gaussian_of_height_1(self) -> None:
        rng = np.random.default_rng(0)
        place, shape = grid(4, 5, 20, rng)
        light = rng.uniform(500, 900, len(place))
        data = image(expected(place, light, np.eye(2) * WIDTH**2, shape, 7.0))
        found = patches(data, table_of(place, light, shape, 7.0))
        offset = np.linspace(-2, 2, SIDE)  # widths
        wanted = np.exp(-0.5 * (offset[:, None] ** 2 + offset**2))
        # linear interpolation lowers a top by up to 1/8 of its curvature, h²/w² = 1/4, on each axis
        assert np.abs(found - wanted).max() < 2 / 32 + 1e-3

    def test_pixels_need_not_be_square(self) -> None:
        """Round in Å, twice as many pixels along rows."""
        place = np.array([[40.0, 30.0]])
        data = expected(place, np.array([900.0]), np.diag([64.0, 16.0]), (80, 60), 0.0)
        width = float(np.sqrt(8 * 4))
        found = patches(image(data), table_of(place, np.array([900.0]), (80, 60), 0.0, (0.1, 0.2), width))[0]
        assert np.abs(found - found.T).max() < 0.02
        assert found.max() == pytest.approx(1, abs=0.05)

    def test_nothing_is_made_up_beyond_the_image(self) -> None:
        place = np.array([[2.0, 30.0], [30.0, 30.0], [30.0, 57.5]])
        data = image(np.ones((60, 60)))
        found = patches(data, table_of(place, np.ones(3), (60, 60), 1.0))
        assert np.isnan(found).all(axis=(1, 2)).tolist() == [True, False, True]
        assert np.isnan(zernike_real(zernike(found, 4), 4)).all(axis=1).tolist() == [True, False, True]

    def test_no_atoms_and_another_image(self) -> None:
        table = table_of(np.empty((0, 2)), np.empty(0), (60, 60), 0.0)
        assert patches(image(np.ones((60, 60))), table).shape == (0, SIDE, SIDE)
        with pytest.raises(UsageError, match="shape"):
            patches(image(np.ones((60, 61))), table)


class TestComponents:
    def drawn(self) -> tuple[FloatArray, FloatArray]:
        """Two parts that do not overlap, in random shares."""
        part = np.zeros((2, SIDE, SIDE))
        part[0, 2:5, 3:9] = part[1, 8:11, 2:8] = 1.0
        share = np.random.default_rng(1).gamma(1.0, 1.0, (200, 2))
        return np.einsum("nk,kij->nij", share, part), share

    def test_principal_components_make_the_patches_again(self) -> None:
        patch, _ = self.drawn()
        found = components(patch, 2)
        again = np.einsum("nk,kij->nij", found.weight, found.part) + found.mean
        assert again == pytest.approx(patch, abs=1e-9)

    def test_parts_are_found_again(self) -> None:
        patch, share = self.drawn()
        found = components(patch, 2, "nmf")
        assert found.weight.min() >= 0 and found.part.min() >= 0
        correlation = np.corrcoef(found.weight.T, share.T)[:2, 2:]
        assert np.sort(np.abs(correlation).max(axis=1)).min() > 0.99

    def test_patches_at_the_border_have_no_weights(self) -> None:
        patch, _ = self.drawn()
        patch[3] = np.nan
        weight = components(patch, 2).weight
        assert np.flatnonzero(np.isnan(weight).any(axis=1)).tolist() == [3]

    def test_bad_input(self) -> None:
        patch, _ = self.drawn()
        with pytest.raises(DataError, match="fewer"):
            components(patch[:2], 3)
        with pytest.raises(UsageError, match="one or more"):
            components(patch, 0)
        with pytest.raises(UsageError, match="pca or nmf"):
            components(patch, 2, "ica")


class TestZernike:
    def test_moments_of_the_polynomials(self) -> None:
        """Defocus, coma, astigmatism: A_nm of V_nm is 1, of cos(m theta) R_nm 1/2."""
        rho, theta = disc()
        shown = {
            (2, 0): 2 * rho**2 - 1,
            (3, 1): (3 * rho**3 - 2 * rho) * np.cos(theta),
            (2, 2): rho**2 * np.cos(2 * theta),
        }
        orders = zernike_orders(4)
        for which, values in shown.items():
            found = np.abs(zernike(values[None], 4)[0])
            wanted = np.array([(1.0 if which[1] == 0 else 0.5) * (order == which) for order in orders])
            assert found == pytest.approx(wanted, abs=0.05)  # steps of the circle: 1/20 of its radius

    def test_moduli_stay_when_a_patch_is_turned(self) -> None:
        rho, theta = disc()
        turn = 0.4

        def patch(by: float) -> FloatArray:
            t = theta - by
            return np.exp(-3 * rho**2) * (1 + 0.5 * rho * np.cos(t) + 0.3 * rho**3 * np.sin(3 * t) + np.cos(2 * t))

        first, other = zernike(np.stack([patch(0), patch(turn)]), 6)
        assert np.abs(other) == pytest.approx(np.abs(first), abs=5e-3)
        m = np.array([m for _, m in zernike_orders(6)])
        large = np.abs(first) > 0.02
        assert np.angle(other / first * np.exp(1j * m * turn))[large] == pytest.approx(0, abs=0.05)

    def test_real_numbers_hold_the_same(self) -> None:
        moments = zernike(np.random.default_rng(2).normal(size=(3, SIDE, SIDE)), 4)
        real = zernike_real(moments, 4)
        assert real.shape == (3, 15)
        assert (real**2).sum(axis=1) == pytest.approx((np.abs(moments) ** 2).sum(axis=1))


class TestNeighbours:
    SQUARE = np.stack(np.mgrid[:5, :5], axis=-1).reshape(-1, 2) * 3.0

    def test_square_lattice(self) -> None:
        found = Neighbours.of(self.SQUARE, 8)
        middle = 12
        assert found.distance[middle] == pytest.approx([3] * 4 + [3 * 2**0.5] * 4)
        assert sorted(found.index[middle, :4].tolist()) == [7, 11, 13, 17]
        assert found.gaps(4)[middle] == pytest.approx([np.pi / 2] * 4)
        assert found.order(4)[middle] == pytest.approx(0, abs=1e-9)  # of four along axes and four across them
        assert found.order(4, 4)[middle] == pytest.approx(1)
        assert found.order(6, 4)[middle] == pytest.approx(0, abs=1e-9)

    def test_angles_go_from_columns_towards_rows(self) -> None:
        found = Neighbours.of(np.array([[0.0, 0.0], [1.0, 1.0]]), 2)
        assert found.angle[0, 0] == pytest.approx(np.pi / 4)
        assert np.isnan(found.distance[:, 1]).all()
        assert found.index[:, 1].tolist() == [-1, -1]

    @pytest.mark.parametrize("n", [0, 1])
    def test_none(self, n: int) -> None:
        assert Neighbours.of(np.zeros((n, 2)), 3).distance.shape == (n, 3)
