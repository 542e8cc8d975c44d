"""Maximum-likelihood fit of the stack model to the harmonics of many windows at once.

Levenberg-Marquardt with analytic derivatives. Parameters are the windows' own (scale, position of the first layer and,
unless they are common, slips) or common to all windows (the microscope's and, if asked, the slips). The common ones
couple the windows only through a small block, so the normal equations are solved window by window and joined by their
Schur complement.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from picostem.resolve.model import StackModel

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

EXPANSIONS = 2  # times that the interference is computed anew while windows are fitted
TINY = 1e-30  # keeps the equations of a window without any signal solvable


@dataclass(frozen=True)
class Observation:
    """Harmonics and how to make their noise white: x = inverse @ (after * (shape @ (before * [c, c*]))).

    Attributes:
        amplitudes: shape (windows, n).
        before: phases to the windows' centres, shape (windows, 2n).
        shape: K^1/2 over the noise level, common to all windows, shape (2n, 2n).
        after: phases to a common position of the lattice, shape (windows, 2n).
        inverse: inverse Cholesky factor of the noise's coupling, shape (2n, 2n).
    """

    amplitudes: ComplexArray
    before: ComplexArray
    shape: FloatArray
    after: ComplexArray
    inverse: ComplexArray

    def take(self, index: NDArray[np.bool_]) -> Observation:
        """The chosen windows."""
        return replace(self, amplitudes=self.amplitudes[index], before=self.before[index], after=self.after[index])

    def whiten(self, values: ComplexArray) -> FloatArray:
        """Whitened real vectors of complex harmonics, shape (windows, m, n) -> (windows, m, 4n)."""
        full = np.concatenate([values, np.conj(values)], axis=-1) * self.before[:, None]
        rows = full.reshape(-1, full.shape[-1])
        local = (rows.real @ self.shape.T + 1j * (rows.imag @ self.shape.T)).reshape(full.shape)
        white = ((local * self.after[:, None]).reshape(rows.shape) @ self.inverse.T).reshape(full.shape)
        return np.concatenate([white.real, white.imag], axis=-1)


@dataclass(frozen=True)
class State:
    """Parameters of the model in all windows.

    Attributes:
        microscope: in the order of `StackModel.prior`, shape (p,).
        scale: shape (windows,).
        origin: position of layer 1, fractions of a and b, shape (windows, 2).
        slips: of each layer relative to the one below, fractions of a and b, shape (windows, layers - 1, 2).
    """

    microscope: FloatArray
    scale: FloatArray
    origin: FloatArray
    slips: FloatArray

    def take(self, index: NDArray[np.bool_]) -> State:
        """The chosen windows."""
        return State(self.microscope, self.scale[index], self.origin[index], self.slips[index])

    @property
    def positions(self) -> FloatArray:
        """Positions of all layers, shape (windows, layers, 2)."""
        steps = np.concatenate([self.origin[:, None], self.slips], axis=1)
        return np.asarray(np.cumsum(steps, axis=1))


@dataclass(frozen=True)
class Fit:
    """A fit's parameters, the covariance of what is asked for, and its misfit.

    Attributes:
        state: the parameters.
        common_slip: whether one slip stands for all windows.
        slip_covariance: of the slips (fractions), all other parameters free; shape (windows, 2s, 2s) with s slips.
        microscope_covariance: shape (p, p).
        chi2: whitened squared residual of each window, shape (windows,).
        prior_misfit: squared deviation of the microscope from its prior.
        dof: real data per window less its own parameters.
    """

    state: State
    common_slip: bool
    slip_covariance: FloatArray
    microscope_covariance: FloatArray
    chi2: FloatArray
    prior_misfit: float
    dof: int

    @property
    def cost(self) -> float:
        """Total squared misfit, the prior's included."""
        return float(self.chi2.sum() + self.prior_misfit)

    @property
    def chi2_reduced(self) -> float:
        """Misfit per degree of freedom."""
        return float(self.chi2.mean() / self.dof)


@dataclass(frozen=True)
class _Normal:
    """Normal equations: windows' own (w, q, q), mixed (w, q, c) and common (c, c) blocks, right-hand sides, misfit."""

    own: FloatArray
    mixed: FloatArray
    common: FloatArray
    own_rhs: FloatArray
    common_rhs: FloatArray
    chi2: FloatArray


def predict(model: StackModel, state: State) -> ComplexArray:
    """Model harmonics, shape (windows, n)."""
    unit = _phases(model, state) * model.layer_factors(state.microscope)[0]
    total = unit.sum(axis=1) + _interference(model, state)[0]
    return np.asarray(state.scale[:, None] * total)


def _phases(model: StackModel, state: State) -> ComplexArray:
    return np.asarray(np.exp(-2j * np.pi * state.positions @ model.hk.T.astype(float)))


def _interference(model: StackModel, state: State) -> tuple[ComplexArray, ComplexArray]:
    """Cross-terms at unit scale, shape (windows, n), and their derivatives by the slips, (windows, 2s, n)."""
    positions, h = state.positions, model.hk.astype(float)
    windows, layers = positions.shape[:2]
    value = np.zeros((windows, len(h)), dtype=complex)
    slope = np.zeros((windows, layers - 1, 2, len(h)), dtype=complex)
    for term in model.cross_terms:
        turn = np.exp(-2j * np.pi * positions[:, term.lower] @ h.T)
        q = term.q.astype(float)
        waves = np.exp(-2j * np.pi * (positions[:, term.upper] - positions[:, term.lower]) @ q.T)
        part = turn * (waves @ term.kernel.T)
        value += part
        slope[:, : term.lower] += -2j * np.pi * h.T * part[:, None, None]
        for axis in (0, 1):
            moved = turn * ((waves * (-2j * np.pi * q[:, axis])) @ term.kernel.T)
            slope[:, term.lower : term.upper, axis] += moved[:, None]
    return value, slope.reshape(windows, 2 * (layers - 1), len(h))


@dataclass(frozen=True)
class _Expansion:
    """The interference to first order in the slips about a state, for windows that stay near it."""

    hk: FloatArray
    slips: FloatArray
    value: ComplexArray
    slope: ComplexArray

    @classmethod
    def about(cls, model: StackModel, state: State) -> _Expansion:
        hk = model.hk.astype(float)
        back = np.exp(2j * np.pi * state.origin @ hk.T)
        value, slope = _interference(model, state)
        return cls(hk, state.slips, value * back, slope * back[:, None])

    def at(self, state: State) -> tuple[ComplexArray, ComplexArray]:
        """As `_interference`."""
        moved = (state.slips - self.slips).reshape(len(state.scale), -1)
        turn = np.exp(-2j * np.pi * state.origin @ self.hk.T)
        return (self.value + np.einsum("ws,wsn->wn", moved, self.slope)) * turn, self.slope * turn[:, None]


def _normal(
    model: StackModel,
    data: Observation,
    state: State,
    free: bool,
    common_slip: bool,
    expansion: _Expansion | None = None,
) -> _Normal:
    value, slope = model.layer_factors(state.microscope)
    phases, scale = _phases(model, state), state.scale[:, None, None]
    unit = phases * value
    between, between_slope = _interference(model, state) if expansion is None else expansion.at(state)
    above = np.cumsum(unit[:, ::-1], axis=1)[:, ::-1]  # sum over this layer and those above: what moves with it
    moved = -2j * np.pi * model.hk.T[None, None] * scale[..., None] * above[:, :, None]
    windows, layers, n = unit.shape
    slips = moved[:, 1:].reshape(windows, 2 * (layers - 1), n) + scale * between_slope
    total = (above[:, 0] + between)[:, None]
    own = np.concatenate([total, -2j * np.pi * model.hk.T * scale * total], axis=1)
    common = scale * np.einsum("wln,pln->wpn", phases, slope) if free else np.empty((windows, 0, n))
    if common_slip:
        common = np.concatenate([common, slips], axis=1)
    else:
        own = np.concatenate([own, slips], axis=1)
    q = own.shape[1]
    jacobian = data.whiten(np.concatenate([own, common], axis=1))
    residual = data.whiten(data.amplitudes[:, None] - scale * total)[:, 0]
    own, common = jacobian[:, :q], jacobian[:, q:]
    return _Normal(
        own=own @ np.swapaxes(own, 1, 2),
        mixed=own @ np.swapaxes(common, 1, 2),
        common=np.tensordot(common, common, axes=([0, 2], [0, 2])),
        own_rhs=(own @ residual[..., None])[..., 0],
        common_rhs=np.einsum("wcn,wn->c", common, residual),
        chi2=np.sum(residual**2, axis=1),
    )


def _moved(state: State, own: FloatArray, common: FloatArray, free: bool, common_slip: bool) -> State:
    p = len(state.microscope) if free else 0
    slips = common[p:] if common_slip else own[:, 3:]
    return State(
        microscope=state.microscope + common[:p] if free else state.microscope,
        scale=state.scale + own[:, 0],
        origin=state.origin + own[:, 1:3],
        slips=state.slips + slips.reshape(-1 if slips.size else len(state.slips), *state.slips.shape[1:]),
    )


def fit_common(
    model: StackModel,
    data: Observation,
    start: State,
    *,
    common_slip: bool,
    iterations: int = 60,
    tolerance: float = 0.01,
) -> Fit:
    """Fit the microscope together with the windows.

    Args:
        start: where to begin; slips must be equal in all windows if `common_slip`.
        common_slip: one slip for all windows, or one each.
        tolerance: stop when an iteration lowers the misfit by less than this many units of chi².
    """
    prior = model.prior
    p, c = len(prior.mean), len(prior.mean) + (start.slips[0].size if common_slip else 0)
    weight = np.zeros(c)
    weight[:p] = 1 / prior.sigma**2

    def misfit(normal: _Normal, state: State) -> float:
        return float(normal.chi2.sum() + np.sum(weight[:p] * (state.microscope - prior.mean) ** 2))

    state, damping = start, 1e-2
    normal = _normal(model, data, state, True, common_slip)
    for _ in range(iterations):
        pull = np.zeros(c)
        pull[:p] = weight[:p] * (prior.mean - state.microscope)
        own, common = _step(normal, weight, pull, damping)
        trial_state = _moved(state, own, common, True, common_slip)
        trial = _normal(model, data, trial_state, True, common_slip)
        gain = misfit(normal, state) - misfit(trial, trial_state)
        damping = damping * (0.15 if gain > 0 else 6.0)
        if gain > 0:
            state, normal = trial_state, trial
        if (0 <= gain < tolerance) or damping > 1e8:
            break
    inverse = np.linalg.pinv(normal.own, hermitian=True)
    lever = inverse @ normal.mixed
    schur = normal.common + np.diag(weight) - np.einsum("wqc,wqd->cd", normal.mixed, lever)
    covariance = np.linalg.pinv(schur, hermitian=True)
    if common_slip:
        slip_covariance = np.broadcast_to(covariance[p:, p:], (len(state.scale), c - p, c - p))
    else:
        slip_covariance = (inverse + lever @ covariance @ np.swapaxes(lever, 1, 2))[:, 3:, 3:]
    deviation = float(np.sum(weight[:p] * (state.microscope - prior.mean) ** 2))
    dof = 2 * data.amplitudes.shape[1] - normal.own.shape[1]
    return Fit(state, common_slip, slip_covariance, covariance[:p, :p], normal.chi2, deviation, dof)


def _step(normal: _Normal, weight: FloatArray, pull: FloatArray, damping: float) -> tuple[FloatArray, FloatArray]:
    """Damped Gauss-Newton step of each window's own and of the common parameters."""
    q = normal.own.shape[1]
    own = normal.own + (damping * np.einsum("wii->wi", normal.own) + TINY)[:, :, None] * np.eye(q)
    common = normal.common + np.diag(weight + damping * np.diag(normal.common))
    joined = np.linalg.solve(own, np.concatenate([normal.mixed, normal.own_rhs[..., None]], axis=2))
    schur = common - np.einsum("wqc,wqd->cd", normal.mixed, joined[..., :-1])
    rhs = normal.common_rhs + pull - np.einsum("wqc,wq->c", normal.mixed, joined[..., -1])
    step = np.linalg.solve(schur, rhs)
    return joined[..., -1] - joined[..., :-1] @ step, step


def fit_windows(
    model: StackModel,
    data: Observation,
    start: State,
    microscope_covariance: FloatArray,
    *,
    iterations: int = 15,
    tolerance: float = 0.01,
    held: bool = False,
) -> Fit:
    """Fit each window by itself with the microscope fixed; its uncertainty still enters the slips' covariance.

    Where the slips are `held`, they stay what they are at the start; their covariance is what a fit there would have.
    """
    state = start
    for _ in range(1 if held else EXPANSIONS):
        expansion = _Expansion.about(model, state)
        state, normal = _relax(model, data, state, expansion, iterations, tolerance, held)
    full = _normal(model, data, state, True, False, expansion)
    inverse = np.linalg.pinv(full.own, hermitian=True)
    lever = inverse @ full.mixed
    covariance = inverse + lever @ microscope_covariance @ np.swapaxes(lever, 1, 2)
    dof = 2 * data.amplitudes.shape[1] - (3 if held else full.own.shape[1])
    return Fit(state, False, covariance[:, 3:, 3:], microscope_covariance, normal.chi2, 0.0, dof)


def _relax(
    model: StackModel,
    data: Observation,
    state: State,
    expansion: _Expansion,
    iterations: int,
    tolerance: float,
    held: bool,
) -> tuple[State, _Normal]:
    """Levenberg-Marquardt in each window, the microscope fixed; each window stops by itself."""
    damping = np.full(len(state.scale), 1e-2)
    normal = _normal(model, data, state, False, False, expansion)
    q = 3 if held else normal.own.shape[1]  # scale and origin come before the slips
    active = np.ones(len(damping), dtype=bool)
    step = np.zeros_like(normal.own_rhs)
    for _ in range(iterations):
        own = normal.own[:, :q, :q]
        own = own + (damping[:, None] * np.einsum("wii->wi", own) + TINY)[:, :, None] * np.eye(q)
        step[:, :q] = np.linalg.solve(own, normal.own_rhs[:, :q, None])[..., 0]
        trial_state = _moved(state, step * active[:, None], np.empty(0), False, False)
        trial = _normal(model, data, trial_state, False, False, expansion)
        gain = normal.chi2 - trial.chi2
        better = gain > 0
        damping = np.clip(damping * np.where(better, 0.15, 6.0), 1e-9, 1e9)
        state, normal = choose(better, trial_state, state), _choose_normal(better, trial, normal)
        active &= ~((gain >= 0) & (gain < tolerance)) & (damping < 1e8)
        if not active.any():
            break
    return state, normal


def better_of(fit: Fit, new: Fit, index: NDArray[np.bool_]) -> Fit:
    """The fit with the windows at `index` taken from `new`, which holds those alone, where that fits better."""
    better = new.chi2 < fit.chi2[index]
    where = np.nonzero(index)[0][better]

    def merged(old: FloatArray, other: FloatArray) -> FloatArray:
        values = old.copy()
        values[where] = other[better]
        return values

    state = replace(
        fit.state,
        scale=merged(fit.state.scale, new.state.scale),
        origin=merged(fit.state.origin, new.state.origin),
        slips=merged(fit.state.slips, new.state.slips),
    )
    covariance = merged(fit.slip_covariance, new.slip_covariance)
    return replace(fit, state=state, slip_covariance=covariance, chi2=merged(fit.chi2, new.chi2))


def choose(better: NDArray[np.bool_], new: State, old: State) -> State:
    """The windows' own parameters from `new` where `better`, from `old` elsewhere; the microscope is `old`'s."""
    return replace(
        old,
        scale=np.where(better, new.scale, old.scale),
        origin=np.where(better[:, None], new.origin, old.origin),
        slips=np.where(better[:, None, None], new.slips, old.slips),
    )


def _choose_normal(better: NDArray[np.bool_], new: _Normal, old: _Normal) -> _Normal:
    return replace(
        old,
        own=np.where(better[:, None, None], new.own, old.own),
        own_rhs=np.where(better[:, None], new.own_rhs, old.own_rhs),
        chi2=np.where(better, new.chi2, old.chi2),
    )
