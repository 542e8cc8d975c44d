"""The fit: derivatives against differences, truth from perfect data, and noise that scatters slips as it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from picostem.resolve.estimate import (
    Observation,
    State,
    _Expansion,
    _interference,
    _normal,
    choose,
    fit_common,
    fit_windows,
    predict,
)
from picostem.resolve.model import CrossTerm, StackModel

from .made import make_model, make_state, microscope_vector, noisy, white

FloatArray = NDArray[np.float64]


def with_some_cross_terms(model: StackModel, seed: int = 0) -> StackModel:
    """Random cross-terms of a few per cent, for every pair of layers: the algebra is the same for all."""
    rng = np.random.default_rng(seed)
    q = np.array([[0, 0], [1, 0], [-1, 2], [2, 1], [0, -3]])
    shape = (len(model.hk), len(q))
    terms = [
        CrossTerm(lower, upper, q, 0.03 * (rng.normal(size=shape) + 1j * rng.normal(size=shape)))
        for upper in range(1, model.layer_count)
        for lower in range(upper)
    ]
    return replace(model, cross_terms=tuple(terms))


BILAYER, TRILAYER = make_model(2), make_model(3)
MODELS = {
    "bilayer": BILAYER,
    "with cross-terms": with_some_cross_terms(BILAYER),
    "three with cross-terms": with_some_cross_terms(TRILAYER),
    "monolayer": make_model(1),
}


def naive_harmonics(model: StackModel, state: State) -> NDArray[np.complex128]:
    """The sum as it is printed, term by term."""
    value = model.layer_factors(state.microscope)[0]
    found = np.zeros((len(state.scale), len(model.hk)), dtype=complex)
    for w in range(len(state.scale)):
        t = [state.origin[w]]
        for slip in state.slips[w]:
            t.append(t[-1] + slip)
        for i, h in enumerate(model.hk):
            total = sum(np.exp(-2j * np.pi * (h @ t[k])) * value[k, i] for k in range(model.layer_count))
            for term in model.cross_terms:
                between = np.exp(-2j * np.pi * term.q @ (t[term.upper] - t[term.lower]))
                total += np.exp(-2j * np.pi * (h @ t[term.lower])) * (term.kernel[i] @ between)
            found[w, i] = state.scale[w] * total
    return found


@pytest.mark.parametrize("name", MODELS)
def test_harmonics_are_the_printed_sum(name: str) -> None:
    model = MODELS[name]
    state = make_state(model, 3, np.random.default_rng(1))
    np.testing.assert_allclose(predict(model, state), naive_harmonics(model, state), atol=1e-11)  # rounding


def moved(state: State, own: FloatArray, common: FloatArray, common_slip: bool) -> State:
    """State changed by own (windows, 3 or 3 + 2s) and common parameters, in the order of the normal equations."""
    p = len(state.microscope)
    slips = np.tile(common[p:], (len(own), 1)) if common_slip else own[:, 3:]
    return State(
        state.microscope + common[:p],
        state.scale + own[:, 0],
        state.origin + own[:, 1:3],
        state.slips + slips.reshape(state.slips.shape),
    )


@pytest.mark.parametrize("common_slip", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_gradient_of_the_misfit(name: str, common_slip: bool) -> None:
    """-2 J^T r for every parameter, slips and cross-terms included, in two windows with coupled noise."""
    model = MODELS[name]
    rng = np.random.default_rng(2)
    state = make_state(model, 2, rng)
    n = len(model.hk)
    phases = np.exp(2j * np.pi * rng.uniform(size=(2, 2, 2 * n)))
    data = Observation(
        predict(model, state) + 0.3 * (rng.normal(size=(2, n)) + 1j * rng.normal(size=(2, n))),
        phases[0],
        rng.normal(size=(2 * n, 2 * n)) / np.sqrt(n),
        phases[1],
        (rng.normal(size=(2 * n, 2 * n)) + 1j * rng.normal(size=(2 * n, 2 * n))) / np.sqrt(n),
    )
    normal = _normal(model, data, state, True, common_slip)
    p, s = len(state.microscope), 2 * (model.layer_count - 1)
    q = 3 if common_slip else 3 + s

    def misfit(own: FloatArray, common: FloatArray) -> float:
        there = moved(state, own, common, common_slip)
        return float(np.sum(data.whiten((data.amplitudes - predict(model, there))[:, None]) ** 2))

    zero_own, zero_common = np.zeros((2, q)), np.zeros(p + (s if common_slip else 0))
    assert normal.chi2.sum() == pytest.approx(misfit(zero_own, zero_common))
    for w in range(2):
        for i in range(q):
            own = zero_own.copy()
            own[w, i] = 1e-6
            slope = (misfit(own, zero_common) - misfit(-own, zero_common)) / 2e-6
            # differences: rounding of a misfit of 1e4 over 1e-6
            assert -2 * normal.own_rhs[w, i] == pytest.approx(slope, rel=1e-5, abs=1e-4 * normal.chi2.sum())
    scale = np.concatenate([model.prior.sigma, np.ones(s)])
    for i in range(len(zero_common)):
        common = zero_common.copy()
        common[i] = 1e-6 * scale[i]
        slope = (misfit(zero_own, common) - misfit(zero_own, -common)) / 2e-6
        expected = -2 * normal.common_rhs[i] * scale[i]
        assert expected == pytest.approx(slope, rel=1e-5, abs=1e-4 * normal.chi2.sum())


def test_curvature_of_the_misfit_where_the_fit_is_perfect() -> None:
    """2 J^T J, all blocks, along random directions."""
    model = MODELS["with cross-terms"]
    rng = np.random.default_rng(3)
    state = make_state(model, 2, rng)
    data = white(predict(model, state), 0.1)
    normal = _normal(model, data, state, True, False)
    for _ in range(5):
        own = rng.normal(size=(2, 5)) * 1e-5
        common = rng.normal(size=len(state.microscope)) * 1e-5 * model.prior.sigma
        quadratic = np.einsum("wq,wqr,wr", own, normal.own, own)
        quadratic += 2 * np.einsum("wq,wqc,c", own, normal.mixed, common)
        quadratic += common @ normal.common @ common
        there = moved(state, own, common, False)
        misfit = np.sum(data.whiten((data.amplitudes - predict(model, there))[:, None]) ** 2)
        assert misfit == pytest.approx(quadratic, rel=1e-3)  # third order: 1e-5 of the second, times 2 pi |h| ~ 50


class TestInterference:
    model = MODELS["three with cross-terms"]
    state = make_state(model, 2, np.random.default_rng(4))

    def test_slope_by_the_slips(self) -> None:
        slope = _interference(self.model, self.state)[1]
        assert slope.shape == (2, 4, len(self.model.hk))
        for i in range(4):
            change = np.zeros((2, 4))
            change[:, i] = 1e-6
            shift = change.reshape(self.state.slips.shape)
            up, down = (
                _interference(self.model, replace(self.state, slips=self.state.slips + d))[0] for d in (shift, -shift)
            )
            np.testing.assert_allclose(slope[:, i], (up - down) / 2e-6, atol=1e-7)  # rounding 1e-16 / 1e-6, times 50

    def test_expansion_is_exact_where_it_was_made_and_at_any_origin(self) -> None:
        expansion = _Expansion.about(self.model, self.state)
        turned = replace(self.state, origin=self.state.origin + (0.3, -0.7))
        for state in (self.state, turned):
            for got, expected in zip(expansion.at(state), _interference(self.model, state), strict=True):
                np.testing.assert_allclose(got, expected, atol=1e-12)

    def test_expansion_errs_by_the_second_order(self) -> None:
        expansion = _Expansion.about(self.model, self.state)
        errors = []
        for step in (1e-3, 2e-3):
            there = replace(self.state, slips=self.state.slips + step)
            errors.append(np.abs(expansion.at(there)[0] - _interference(self.model, there)[0]).max())
        assert errors[1] / errors[0] == pytest.approx(4, rel=0.05)


class TestPerfectData:
    @pytest.mark.parametrize("common_slip", [False, True])
    def test_truth_is_found_from_nearby(self, common_slip: bool) -> None:
        model = MODELS["with cross-terms"]
        rng = np.random.default_rng(5)
        truth = make_state(model, 6, rng, spread=0.0 if common_slip else 0.1)
        data = white(predict(model, truth), 1e-4)
        start = replace(
            truth,
            microscope=truth.microscope + 0.1 * model.prior.sigma,
            origin=truth.origin + 0.01,
            slips=truth.slips + 0.015,
            scale=1.1 * truth.scale,
        )
        fit = fit_common(model, data, start, common_slip=common_slip, tolerance=1e-9)
        # the prior pulls by its share of the information: (noise 1e-4)² against amplitudes of 1
        np.testing.assert_allclose(fit.state.slips, truth.slips, atol=1e-5)
        assert fit.chi2.sum() < 1
        assert fit.common_slip == common_slip

    def test_windows_with_the_microscope_known(self) -> None:
        model = MODELS["with cross-terms"]
        truth = make_state(model, 6, np.random.default_rng(6))
        data = white(predict(model, truth), 1e-3)
        start = replace(truth, slips=truth.slips + 0.01, origin=truth.origin - 0.005, scale=0.9 * truth.scale)
        p = len(truth.microscope)
        fit = fit_windows(model, data, start, np.zeros((p, p)))
        # stops when chi² falls by less than 0.01: a tenth of a standard deviation, and the expansion's second order
        sigma = np.sqrt(np.einsum("wii->wi", fit.slip_covariance))
        assert (np.abs(fit.state.slips[:, 0] - truth.slips[:, 0]) < 0.3 * sigma).all()
        assert fit.state.microscope is truth.microscope

    def test_held_slips_stay(self) -> None:
        """The scale and the place follow, the covariance is that of the fit there."""
        model = MODELS["with cross-terms"]
        truth = make_state(model, 6, np.random.default_rng(6))
        data = white(predict(model, truth), 1e-3)
        start = replace(truth, origin=truth.origin - 0.005, scale=0.9 * truth.scale)
        p = len(truth.microscope)
        fit = fit_windows(model, data, start, np.zeros((p, p)), held=True)
        free = fit_windows(model, data, truth, np.zeros((p, p)))
        np.testing.assert_array_equal(fit.state.slips, truth.slips)
        # stops when chi² falls by less than 0.01: a tenth of a standard deviation of 1e-3 over amplitudes of 1
        np.testing.assert_allclose(fit.state.origin, truth.origin, atol=1e-3)
        np.testing.assert_allclose(fit.state.scale, truth.scale, rtol=1e-2)
        np.testing.assert_allclose(fit.slip_covariance, free.slip_covariance, rtol=0.05)
        assert fit.dof == free.dof + 2
        wrong = fit_windows(model, data, replace(start, slips=truth.slips + 0.03), np.zeros((p, p)), held=True)
        assert (wrong.chi2 > 100 * (fit.chi2 + 1)).all()


def normalised_errors(slips: FloatArray, truth: FloatArray, covariance: FloatArray) -> FloatArray:
    """Squared Mahalanobis distances, shape (w,)."""
    error = slips - truth
    return np.asarray(np.einsum("wi,wij,wj->w", error, np.linalg.inv(covariance), error))


class TestStatistics:
    """Draws of noise side by side, as windows of one image."""

    draws = 160
    model = with_some_cross_terms(BILAYER)
    sigma = 0.25

    def truth(self, rng: np.random.Generator) -> State:
        state = make_state(self.model, self.draws, rng, spread=0.0)
        return replace(state, scale=np.ones(self.draws))

    def test_windows_scatter_as_their_covariance_says(self) -> None:
        rng = np.random.default_rng(7)
        truth = self.truth(rng)
        p = len(truth.microscope)
        fit = fit_windows(self.model, noisy(self.model, truth, self.sigma, rng), truth, np.zeros((p, p)))
        squared = normalised_errors(fit.state.slips[:, 0], truth.slips[:, 0], fit.slip_covariance)
        # mean of 160 chi² with 2 degrees of freedom: 2 ± 0.16
        assert squared.mean() == pytest.approx(2, abs=3.3 * 0.16)
        assert np.mean(squared < 5.99) == pytest.approx(0.95, abs=3.3 * np.sqrt(0.95 * 0.05 / self.draws))
        assert stats.kstest(squared, stats.chi2(2).cdf).pvalue > 1e-3
        # noise of 2n real data less 5 parameters: 1 ± sqrt(2 / (160 · 135))
        assert fit.chi2_reduced == pytest.approx(1, abs=0.03)
        assert fit.dof == 2 * len(self.model.hk) - 5

    def test_common_fit_shares_the_microscope(self) -> None:
        """Slips of each window with the microscope free: it is known from all 160, its own error adds little."""
        rng = np.random.default_rng(8)
        truth = self.truth(rng)
        fit = fit_common(self.model, noisy(self.model, truth, self.sigma, rng), truth, common_slip=False)
        squared = normalised_errors(fit.state.slips[:, 0], truth.slips[:, 0], fit.slip_covariance)
        assert squared.mean() == pytest.approx(2, abs=3.3 * 0.16)
        deviation = (fit.state.microscope - truth.microscope) / np.sqrt(np.diag(fit.microscope_covariance))
        assert np.abs(deviation).max() < 4  # 10 correlated normal numbers, pulled by the prior by less than 1 sigma
        assert fit.chi2_reduced == pytest.approx(1, abs=0.03)

    def test_common_slip_of_few_windows(self) -> None:
        """80 images of 4 windows, each with its own fit of slip and microscope."""
        rng = np.random.default_rng(9)
        errors = []
        for _ in range(80):
            truth = self.truth(rng)
            truth = truth.take(np.arange(self.draws) < 4)
            # the microscope is drawn from the prior that the fit knows; small steps keep the model nearly linear
            microscope = self.model.prior.mean + 0.3 * self.model.prior.sigma * rng.normal(size=len(truth.microscope))
            truth = replace(truth, microscope=microscope)
            narrow = replace(truth, microscope=self.model.prior.mean)
            fit = fit_common(self.model, noisy(self.model, truth, self.sigma, rng), narrow, common_slip=True)
            errors.append(normalised_errors(fit.state.slips[:1, 0], truth.slips[:1, 0], fit.slip_covariance[:1])[0])
        # 2 ± 0.22, or less: the prior is three times wider than what is drawn
        assert 1.0 < np.mean(errors) < 2 + 3.3 * 0.22

    def test_more_noise_more_error(self) -> None:
        rng = np.random.default_rng(10)
        truth = self.truth(rng).take(np.arange(self.draws) < 8)
        p = len(truth.microscope)
        traces = [
            np.trace(
                fit_windows(self.model, white(predict(self.model, truth), s), truth, np.zeros((p, p))).slip_covariance[
                    0
                ]
            )
            for s in (0.1, 0.2)
        ]
        assert traces[1] / traces[0] == pytest.approx(4, rel=1e-6)

    def test_an_uncertain_microscope_makes_slips_uncertain(self) -> None:
        rng = np.random.default_rng(11)
        truth = self.truth(rng).take(np.arange(self.draws) < 3)
        data = white(predict(self.model, truth), 0.1)
        p = len(truth.microscope)
        known, unsure = (
            fit_windows(self.model, data, truth, c).slip_covariance
            for c in (np.zeros((p, p)), np.diag(self.model.prior.sigma**2))
        )
        assert (np.linalg.eigvalsh(unsure - known) > -1e-12).all()
        assert (np.trace(unsure, axis1=1, axis2=2) > 1.05 * np.trace(known, axis1=1, axis2=2)).all()


class TestState:
    def test_positions_add_up(self) -> None:
        state = State(np.zeros(1), np.ones(1), np.array([[0.1, 0.2]]), np.array([[[0.3, 0.0], [0.1, -0.5]]]))
        np.testing.assert_allclose(state.positions, [[[0.1, 0.2], [0.4, 0.2], [0.5, -0.3]]])

    def test_choose_and_take(self) -> None:
        rng = np.random.default_rng(12)
        old, new = (make_state(BILAYER, 3, rng) for _ in range(2))
        better = np.array([True, False, True])
        mixed = choose(better, replace(new, microscope=new.microscope + 1), old)
        np.testing.assert_array_equal(mixed.slips[better], new.slips[better])
        np.testing.assert_array_equal(mixed.origin[~better], old.origin[~better])
        np.testing.assert_array_equal(mixed.microscope, old.microscope)
        np.testing.assert_array_equal(mixed.take(better).scale, new.scale[better])


def test_whitening_is_the_printed_product() -> None:
    rng = np.random.default_rng(13)
    n, windows = 4, 3
    size = (windows, 2 * n)
    before, after = (np.exp(1j * rng.uniform(0, 6, size)) for _ in range(2))
    inverse = rng.normal(size=(2 * n, 2 * n)) + 1j * rng.normal(size=(2 * n, 2 * n))
    data = Observation(np.zeros((windows, n), complex), before, rng.normal(size=(2 * n, 2 * n)), after, inverse)
    values = rng.normal(size=(windows, 2, n)) + 1j * rng.normal(size=(windows, 2, n))
    got = data.whiten(values)
    for w in range(windows):
        for m in range(2):
            full = np.concatenate([values[w, m], values[w, m].conj()])
            x = inverse @ (after[w] * (data.shape @ (before[w] * full)))
            np.testing.assert_allclose(got[w, m], np.concatenate([x.real, x.imag]), atol=1e-12)
    some = data.take(np.array([False, True, False]))
    np.testing.assert_array_equal(some.before, before[1:2])


def test_an_empty_window_does_not_stop_the_others() -> None:
    model = MODELS["bilayer"]
    truth = make_state(model, 3, np.random.default_rng(14), spread=0.0)
    truth = replace(truth, microscope=microscope_vector(model))
    amplitudes = predict(model, truth)
    amplitudes[1] = 0
    start = replace(truth, slips=truth.slips + 0.01, scale=np.array([1.0, 0.0, 1.0]))
    p = len(truth.microscope)
    fit = fit_windows(model, white(amplitudes, 1e-3), start, np.zeros((p, p)))
    assert np.isfinite(fit.state.slips).all()
    np.testing.assert_allclose(fit.state.slips[[0, 2]], truth.slips[[0, 2]], atol=1e-4)  # as in TestPerfectData
