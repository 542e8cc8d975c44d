"""The answer for twisted layers: interface, layers, map, alternatives and the image drawn again."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from picostem.resolve.result import SlipMap
from picostem.resolve.twist_map import TwistWindows, map_twist
from picostem.resolve.twist_result import (
    LEAST_ODDS,
    LEAST_WINDOWS,
    MERGED_DOUBT,
    MODEL_DOUBT,
    TOLD,
    doubt,
    draw_again,
    twist_alternatives,
    twist_interfaces,
    twist_layers,
    twist_microscope,
    twist_slip_map,
)
from picostem.resolve.twisted import Reading, Twisted, lattice_power
from picostem.structure import RelaxedMoire, Stack, image_from_crystal
from picostem.structure.lattice import shortest
from picostem.structure.moire import moire_period, moire_vectors
from picostem.structure.stack import rotation_matrix

from .made import MICROSCOPE, MOS2, PIXEL_SIZE, ROTATION
from .made_bilayers import SHIFT, WSE2, fitted_from_truth, known, stretched
from .made_twisted import ORIGIN, clean_image, recorded

WINDOW, STRIDE = 166, 83
"""Pixels: 20 and 10 Å."""
SHAPE = (420, 420)
FRAME = image_from_crystal(ROTATION, False)
TWIST = np.radians(3.0)


def hetero() -> Twisted:
    return known(MOS2, 3.0, WSE2)


@cache
def windows() -> TwistWindows:
    (found,) = map_twist(hetero().whole, SHAPE, hetero().best, WINDOW, STRIDE, None)
    return found


@cache
def slip_map() -> SlipMap:
    return twist_slip_map(hetero(), windows(), 0, SHAPE, WINDOW * PIXEL_SIZE, STRIDE * PIXEL_SIZE)


class TestInterface:
    (interface,) = twist_interfaces(hetero(), (slip_map(),))

    def test_twist_and_its_error(self) -> None:
        i = self.interface
        assert (i.lower, i.upper) == (1, 2)
        assert i.twist == hetero().best.twist
        assert i.twist_bound == pytest.approx(hetero().best.twist_sigma)
        assert i.twist_bound < i.twist_sigma < 3 * i.twist_bound  # what multiple scattering leaves is of like size
        assert abs(i.twist - TWIST) < 3 * i.twist_sigma
        assert len(i.twist_alternatives) == 0

    def test_slip_at_the_image_centre(self) -> None:
        i = self.interface
        true = RelaxedMoire(MOS2, WSE2, TWIST, SHIFT).registry(-np.array(ORIGIN) @ FRAME) @ MOS2.cell
        off = shortest(i.slip - true, MOS2.cell)
        assert off @ np.linalg.inv(i.slip_covariance) @ off < 13.8  # 99.9 % of two degrees of freedom
        assert 0 < i.slip_bound < i.slip_sigma
        np.testing.assert_allclose(i.slip_frac @ MOS2.cell, i.slip, atol=1e-12)
        np.testing.assert_array_equal(i.equivalents, [i.slip])

    def test_moire(self) -> None:
        expected = moire_vectors(MOS2.cell, WSE2.cell @ rotation_matrix(TWIST).T)
        assert expected is not None
        assert self.interface.moire is not None
        # of the shortest vectors that lie 60° apart, noise decides which are named
        steps = self.interface.moire @ np.linalg.inv(expected)
        # the beats are 15 times shorter than the reciprocal vectors, so that 3e-4 of those is 0.5 % of them: 4 σ
        np.testing.assert_allclose(steps, np.rint(steps), atol=0.02)
        assert round(np.linalg.det(steps)) == 1

    def test_moire_of_equal_layers(self) -> None:
        (interface,) = twist_interfaces(known(MOS2, 14.0), (twist_map_of(known(MOS2, 14.0)),))
        assert interface.moire is not None
        period = moire_period(3.16, np.radians(14.0))
        np.testing.assert_allclose(np.linalg.norm(interface.moire, axis=1), period, rtol=0.01)  # less magnified

    def test_no_strain_beyond_the_materials(self) -> None:
        i = self.interface
        assert i.strain is not None
        assert np.abs(i.strain).max() < 4 * i.strain_sigma
        assert i.strain_sigma < 5e-4

    def test_strain_of_a_stretched_layer(self) -> None:
        """1 % along the upper layer's own a, in the lower layer's frame."""
        stack = Stack.bilayer(MOS2, SHIFT, np.radians(14.0), stretched(MOS2, 1.01, 1.0))
        field = recorded(clean_image(stack, 420), np.random.default_rng(6))
        # asked for as MoS2: the fit starts at the lattices of the unstretched layers
        reading = fitted_from_truth(Stack.bilayer(MOS2, SHIFT, np.radians(14.0)), field)
        twisted = Twisted((MOS2, MOS2), reading, (), 0.0, field, field)
        (interface,) = twist_interfaces(twisted, (twist_map_of(twisted),))
        turn = rotation_matrix(np.radians(14.0))
        assert interface.strain is not None
        # and second order, (0.01)²/2, and what the prior of 0.005 takes off
        limit = 4 * interface.strain_sigma + 1e-4
        np.testing.assert_allclose(interface.strain, turn @ np.diag([0.01, 0.0]) @ turn.T, atol=limit)
        assert abs(interface.twist - np.radians(14.0)) < 3 * interface.twist_sigma

    def test_strain_that_cannot_be_told(self) -> None:
        """A field of 10 Å at a tenth of the dose: the prior of 0.005 is all that is known."""
        stack = Stack.bilayer(MOS2, SHIFT, np.radians(14.0))
        field = recorded(clean_image(stack, 80, dose=2600.0), np.random.default_rng(6))
        reading = fitted_from_truth(stack, field)
        slope = reading.tie.slope(reading.fit.placement.reciprocals, lambda b: reading.tie.strains(b)[0].ravel())
        sigma = np.sqrt(np.mean(np.diag(slope @ reading.fit.lattice_covariance @ slope.T)))
        assert sigma > TOLD * reading.tie.strain
        twisted = Twisted((MOS2, MOS2), reading, (), 0.0, field, field)
        (interface,) = twist_interfaces(twisted, (twist_map_of(hetero()),))
        assert interface.strain is None
        assert interface.strain_sigma == 0


def twist_map_of(twisted: Twisted) -> SlipMap:
    """One window as large as the image: too few to say whether the twist varies."""
    (found,) = map_twist(twisted.whole, twisted.whole.shape, twisted.best, min(twisted.whole.shape), 1000, None)
    return twist_slip_map(twisted, found, 0, twisted.whole.shape, 50.0, 50.0)


class TestTwistThatVaries:
    def interface(self, twists: np.ndarray, sigma: float = 1e-3) -> tuple[float, float, float]:
        """Twist, its error and its spread, where the windows have some twists."""
        count = len(twists)
        changed = replace(slip_map(), twist=twists, twist_sigma=np.full(count, sigma))
        (i,) = twist_interfaces(hetero(), (changed,))
        return i.twist, i.twist_sigma, i.twist_spread

    def test_noise_is_none(self) -> None:
        rng = np.random.default_rng(1)
        twist, sigma, spread = self.interface(TWIST + rng.normal(0, 1e-3, 16))
        (one,) = twist_interfaces(hetero(), (slip_map(),))
        assert (twist, sigma) == (one.twist, one.twist_sigma)
        assert spread < 1e-3

    def test_mean_and_spread(self) -> None:
        rng = np.random.default_rng(1)
        twists = TWIST + rng.normal(0, 5e-3, 16)
        twist, sigma, spread = self.interface(twists)
        assert twist == pytest.approx(twists.mean())
        # beyond the windows' own error
        assert spread == pytest.approx(np.sqrt(twists.var() - 1e-6))
        # windows of 20 Å every 10 Å: four see the same electrons
        assert sigma == pytest.approx(np.hypot(twists.std(), 1e-3) * np.sqrt(4 / 16))

    def test_strain_is_not_told_then(self) -> None:
        changed = replace(slip_map(), twist=TWIST + np.linspace(-0.02, 0.02, 16), twist_sigma=np.full(16, 1e-3))
        (interface,) = twist_interfaces(hetero(), (changed,))
        assert interface.strain is None
        assert interface.strain_sigma == 0

    def test_too_few_windows_say_nothing(self) -> None:
        status = np.where(np.arange(16) < LEAST_WINDOWS - 1, "ok", "vacuum")
        changed = replace(slip_map(), twist=np.linspace(-1, 1, 16), status=status)
        (interface,) = twist_interfaces(hetero(), (changed,))
        assert interface.twist == hetero().best.twist
        assert interface.twist_spread == 0


class TestLayers:
    layers = twist_layers(hetero())
    stack = Stack.bilayer(MOS2, SHIFT, TWIST, WSE2)

    def test_rows_and_origins_lie_on_the_true_atoms(self) -> None:
        for found, true in zip(self.layers, self.stack.layers, strict=True):
            assert found.monolayer == true.monolayer
            np.testing.assert_allclose(found.rows, true.cell @ FRAME.T, atol=0.004)  # 50 Å placed to 0.02 Å: 3e-4
            place = FRAME @ true.position + ORIGIN
            # σ of a position, 0.01 Å, and coma, which moves all layers together
            assert np.linalg.norm(shortest(found.origin - place, found.rows)) < 0.05

    def test_frames(self) -> None:
        first, second = self.layers
        assert not first.mirrored
        assert not second.mirrored
        assert first.rotation == pytest.approx(ROTATION, abs=1e-3)
        assert second.rotation - first.rotation == pytest.approx(hetero().best.twist, abs=1e-4)  # and shear
        np.testing.assert_array_equal(first.position, [0, 0])

    def test_position_is_the_step_between_the_origins(self) -> None:
        first, second = self.layers
        np.testing.assert_allclose(FRAME @ second.position, second.origin - first.origin, atol=5e-3)  # 1e-3 of 2 Å


class TestMicroscope:
    def test_is_the_one_that_made_the_image(self) -> None:
        m = twist_microscope(hetero())
        assert m.voltage_eV == MICROSCOPE.voltage_eV
        assert abs(m.defocus - MICROSCOPE.defocus) < 4 * m.defocus_sigma
        assert abs(m.C12 - MICROSCOPE.C12) < 4 * m.C12_sigma
        assert m.defocus_sigma < 5  # Å: of the data, not of the prior of 40
        # linear images lack the interference that the fit's own width makes up for
        assert m.source_fwhm == pytest.approx(MICROSCOPE.source_fwhm, abs=0.05)


class TestAlternatives:
    def with_other(self, chi2: float, prior: float = 0.0) -> Twisted:
        """Another reading with a twist of 14°, worse by some chi²."""
        best = hetero().best
        fit = replace(known(MOS2, 14.0).best.fit, prior_misfit=best.fit.prior_misfit + prior * best.fit.chi2_reduced)
        fit = replace(fit, chi2=best.fit.chi2 + chi2 * best.fit.chi2_reduced)
        return replace(hetero(), others=(replace(known(MOS2, 14.0).best, fit=fit),), reversed_order=3.0)

    def test_likely_ones_are_undecided(self) -> None:
        twisted = self.with_other(0.9 * doubt(hetero()))
        other, order = twist_alternatives(twisted)
        assert other.hypothesis == "twist 14.0°"
        assert other.detail == "undecided"
        assert other.delta_chi2 == pytest.approx(0.9 * doubt(hetero()), rel=1e-6)
        assert (order.delta_chi2, order.detail) == (3.0, "")
        assert order.hypothesis == "the layers in the opposite order along the beam"
        (interface,) = twist_interfaces(twisted, (slip_map(),))
        np.testing.assert_allclose(np.degrees(interface.twist_alternatives), [14.0], atol=0.1)

    def test_order_along_the_beam(self) -> None:
        """Told as it is where the other one fits better."""
        twisted, best = self.with_other(0.0), hetero().best
        parts = tuple(replace(p, heights=(z,)) for p, z in zip(best.model.parts, (6.3, 0.0), strict=True))
        turned = replace(best, model=replace(best.model, parts=parts))
        order = twist_alternatives(replace(twisted, best=turned))[-1]
        assert order.hypothesis == "the beam meets layer 1 first"
        assert order.detail == "here it meets layer 2 first"
        assert order.delta_chi2 == 3.0

    def test_unlikely_ones_are_excluded(self) -> None:
        twisted = self.with_other(1.1 * doubt(hetero()))
        assert twist_alternatives(twisted)[0].detail == ""
        (interface,) = twist_interfaces(twisted, (slip_map(),))
        assert len(interface.twist_alternatives) == 0

    def test_the_prior_alone_excludes_nothing(self) -> None:
        twisted = self.with_other(0.0, prior=1e5)
        assert twist_alternatives(twisted)[0].detail == "undecided"

    def test_doubt(self) -> None:
        """Odds of 1000 : 1, and a share of what is explained: more where the layers' peaks merge."""
        apart = known(MOS2, 25.0)
        for twisted, share in ((apart, MODEL_DOUBT), (hetero(), MERGED_DOUBT)):
            power = lattice_power(twisted.field, twisted.best)
            assert doubt(twisted) == pytest.approx(LEAST_ODDS + share * power)
        assert abs(np.exp(LEAST_ODDS / 2) - 1000) < 1e-6


class TestMap:
    def test_places(self) -> None:
        m = slip_map()
        np.testing.assert_allclose(m.position, windows().centres * PIXEL_SIZE, rtol=1e-3)
        np.testing.assert_allclose((m.col - 209.5) * PIXEL_SIZE, m.position[:, 0], atol=0.02)  # the fitted pixel size
        np.testing.assert_allclose((209.5 - m.row) * PIXEL_SIZE, m.position[:, 1], atol=0.02)
        assert (m.grid, len(m), m.interface) == ((4, 4), 16, 1)
        assert not m.fine.any()
        assert (m.window, m.stride) == (WINDOW * PIXEL_SIZE, STRIDE * PIXEL_SIZE)

    def test_slips_run_on_from_window_to_window(self) -> None:
        m = slip_map()
        steps = [np.linalg.norm(b - a) for row in m.slip.reshape(4, 4, 2) for a, b in pairwise(row)]
        # 10 Å at a twist of 3° and 4 % of mismatch: 0.65 Å
        np.testing.assert_allclose(steps, 0.65, atol=0.06)

    def test_errors(self) -> None:
        m = slip_map()
        assert m.twist is not None
        assert m.twist_sigma is not None
        assert (m.twist_sigma > windows().twist_sigma).all()
        assert np.abs((m.twist - TWIST) / m.twist_sigma).max() < 4
        np.testing.assert_allclose(m.covariance, np.swapaxes(m.covariance, 1, 2))
        extra = m.covariance - windows().covariance
        np.testing.assert_allclose(extra, np.broadcast_to(extra[0, 0, 0] * np.eye(2), extra.shape), atol=1e-12)
        assert m.strain is not None
        assert m.strain.shape == (16, 2, 2)

    def test_one_domain(self) -> None:
        (domain,) = slip_map().domains
        assert domain.share == 1
        assert len(domain.windows) == 16
        assert abs(domain.twist - TWIST) < 4 * domain.twist_sigma
        # 16 windows of which four share their electrons
        assert domain.twist_sigma == pytest.approx(slip_map().twist_sigma.mean() / 2, rel=0.05)  # type: ignore[union-attr]
        np.testing.assert_allclose(domain.centre, 0, atol=1e-9)


class TestDrawnAgain:
    def drawn(self, reading: Reading, found: TwistWindows) -> np.ndarray:
        return draw_again(reading, found, SHAPE, WINDOW)

    def test_is_the_image_without_noise(self) -> None:
        again = self.drawn(hetero().best, windows())
        clean = clean_image(Stack.bilayer(MOS2, SHIFT, TWIST, WSE2), 420)
        assert again.shape == SHAPE
        assert np.corrcoef(again.ravel(), clean.ravel())[0, 1] > 0.99
        # its scale is that of the image: electrons
        assert again.std() == pytest.approx(clean.std(), rel=0.03)
        assert abs(again.mean()) < 0.02 * clean.std()

    def test_one_window_is_the_reading_itself(self) -> None:
        twisted = hetero()
        (whole,) = map_twist(twisted.whole, SHAPE, twisted.best, 420, 420, None)
        again = draw_again(twisted.best, whole, SHAPE, 420)
        by_windows = self.drawn(twisted.best, windows())
        assert np.corrcoef(again.ravel(), by_windows.ravel())[0, 1] > 0.99
