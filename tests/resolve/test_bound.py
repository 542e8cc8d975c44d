"""The error bar: the bound is reached on images of the model, and the model's own error is added to it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from picostem.physics import electron_wavelength
from picostem.resolve.bound import MODEL_ERROR, calibrated
from picostem.resolve.estimate import State, fit_windows, predict
from picostem.resolve.evidence import gather
from picostem.resolve.lattice import power_spectrum
from picostem.resolve.model import StackModel
from picostem.resolve.noise import Noise, Whitener, measure_noise

from .made import OPTICS, PIXEL_SIZE, RES2, SLIP, make_lattice, make_model, plane_waves


def test_model_error_is_added_per_axis() -> None:
    covariance = np.array([[[4e-5, 1e-5], [1e-5, 9e-5]]])
    wavelength = electron_wavelength(300e3)
    got = calibrated(covariance, wavelength)
    np.testing.assert_allclose(got - covariance, [np.eye(2) * (MODEL_ERROR * wavelength) ** 2])
    assert np.sqrt(got[0, 0, 0] - 4e-5) == pytest.approx(0.004, abs=1e-4)  # Å, as the documentation says


class TestBoundIsReached:
    """Recordings of one window's crystal, drawn by the model, with Poisson noise; the microscope known."""

    side, draws, counts = 168, 150, 14.0
    lattice = make_lattice(RES2)

    def drawn(self, side: int) -> tuple[StackModel, State, np.ndarray]:
        model = StackModel.build((RES2, RES2), make_model().hk, self.lattice.orthogonal, OPTICS)
        slips = (SLIP @ np.linalg.inv(RES2.cell)).reshape(1, 1, 2)
        state = State(model.prior.mean, np.ones(1), np.array([[0.2, 0.4]]), slips)
        waves = predict(model, state)[0]
        image = plane_waves((side, side), model.hk @ self.lattice.reciprocal, waves)
        scale = self.counts / np.abs(waves).sum() / 1.5  # the darkest place holds at least a third of the mean or so
        return model, replace(state, scale=np.full(1, scale)), self.counts + scale * image

    def measured(self, rng: np.random.Generator) -> tuple[Noise, Whitener]:
        """Noise and its coupling from a larger piece of the same crystal, where peaks leave room between them."""
        piece = (rng.poisson(self.drawn(4 * self.side)[2]) - self.counts).astype(np.float32)
        noise = measure_noise(piece, power_spectrum(piece), PIXEL_SIZE)
        starts = (np.arange(4) * self.side, np.arange(4) * self.side)
        return noise, gather(piece, noise, self.lattice, self.side, starts).whitener

    def test_slips_scatter_by_the_bound(self) -> None:
        model, truth, clean = self.drawn(self.side)
        rng = np.random.default_rng(3)
        noise, whitener = self.measured(rng)
        starts = (np.array([0]), np.array([0]))
        p = len(truth.microscope)
        found, bounds, chi2 = [], [], []
        for _ in range(self.draws):
            data = (rng.poisson(clean) - self.counts).astype(np.float32)
            evidence = gather(data, noise, self.lattice, self.side, starts, whitener)
            fit = fit_windows(model, evidence.observation, truth, np.zeros((p, p)))
            found.append(fit.state.slips[0, 0] @ RES2.cell)
            bounds.append(model.cell.T @ fit.slip_covariance[0] @ model.cell)
            chi2.append(fit.chi2_reduced)
        error = np.array(found) - SLIP
        rms, bound = np.sqrt(np.mean(np.sum(error**2, axis=1))), np.sqrt(np.trace(np.mean(bounds, axis=0)))
        assert 0.002 < bound < 0.1  # Å
        # 300 numbers: 4 % by chance; the level of the noise to 10 %, half of it in the bound
        assert rms / bound == pytest.approx(1, abs=0.15)
        assert np.abs(error.mean(axis=0)).max() < 4 * bound / np.sqrt(2 * self.draws)  # no bias
        assert np.mean(chi2) == pytest.approx(1, abs=0.15)  # the level of the noise
        squared = np.einsum("wi,wij,wj->w", error, np.linalg.inv(bounds), error)
        assert np.mean(squared < 5.99) > 0.95 - 3.3 * np.sqrt(0.95 * 0.05 / self.draws)

    def test_fisher_information_of_the_pixels(self) -> None:
        """The bound from the pixels themselves, position and scale free: what whitened harmonics must not lose."""
        model, truth, clean = self.drawn(self.side)
        hk, g = model.hk, model.hk @ self.lattice.reciprocal
        shape = (self.side, self.side)

        def image(scale: float, origin: np.ndarray, slip: np.ndarray) -> np.ndarray:
            state = State(truth.microscope, np.array([scale]), origin[None], slip.reshape(1, 1, 2))
            return plane_waves(shape, g, predict(model, state)[0]).ravel()

        scale, origin, slip = truth.scale[0], truth.origin[0], truth.slips[0, 0]
        assert len(hk) == len(g)
        columns = [image(1.0, origin, slip), np.ones(self.side**2)]
        for step in np.eye(2) * 1e-5:
            columns.append((image(scale, origin + step, slip) - image(scale, origin - step, slip)) / 2e-5)
            columns.append((image(scale, origin, slip + step) - image(scale, origin, slip - step)) / 2e-5)
        jacobian = np.stack(columns, axis=1)
        information = jacobian.T @ (jacobian / clean.ravel()[:, None])
        covariance = RES2.cell.T @ np.linalg.inv(information)[np.ix_([3, 5], [3, 5])] @ RES2.cell
        exact = np.sqrt(np.trace(covariance))
        rng = np.random.default_rng(4)
        noise, whitener = self.measured(rng)
        data = (rng.poisson(clean) - self.counts).astype(np.float32)
        evidence = gather(data, noise, self.lattice, self.side, (np.array([0]), np.array([0])), whitener)
        p = len(truth.microscope)
        fit = fit_windows(model, evidence.observation, truth, np.zeros((p, p)))
        bound = np.sqrt(np.trace(model.cell.T @ fit.slip_covariance[0] @ model.cell))
        # waves beyond 1.1 1/Å of the varying noise are not used, the noise's level is known to 10 %
        assert bound == pytest.approx(exact, rel=0.15)
