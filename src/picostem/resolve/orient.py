"""How the crystal lies in the image: which lattice candidate, orientation and hand, and the fit of the microscope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from picostem.resolve.estimate import Fit, Observation, State, choose, fit_common, fit_windows, predict
from picostem.resolve.evidence import Evidence, gather, harmonics_of, tile_starts
from picostem.resolve.lattice import Lattice, Spectrum, find_lattices, refine_lattice, same_setting, unindexed_share
from picostem.resolve.model import Optics, StackModel
from picostem.resolve.noise import Noise, measure_noise
from picostem.resolve.parallel import side_by_side
from picostem.resolve.search import coarse_search, fit_each
from picostem.resolve.stacking import all_orders
from picostem.resolve.window import extract_harmonics
from picostem.structure.monolayer import Monolayer

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

CANDIDATES = 12  # lattices looked at; the pseudo-hexagonal settings of ReS2, both hands, are 12
FINALISTS = 3  # of them fitted,
CLEAR = 0.6  # and only those whose coarse search explains this share of what the best one's does
STARTS, MORE_STARTS = 2, 4  # slips from which the microscope is fitted: of parallel pairs, of other stacks
MOST_RIVALS = 3  # distinct stackings of one stack that are fitted to all tiles,
DISTINCT = 0.15  # Å; if they differ by more
POOR = 3.0  # chi² over the best tile's from which all stackings are tried in every tile
TILES = 16  # windows that determine the microscope
RIVAL = 2.5  # reduced chi² over the best one's up to which a setting is judged with the interference in
SMALLEST_CORRECTION = 2e-4  # of the reciprocal lattice; what each tile's own position makes up for anyway
LARGEST_CORRECTION = 0.01  # of the reciprocal lattice; the spectrum's peaks place it to 0.002
INNER_RATIOS = (1.4, 1.8, 2.5)  # of the semiangle: inner angles that are tried where the detector is unknown
TRIAL = 1.0  # chi²; tolerance of fits that only choose between starts or microscopes
AGREEMENT = 0.75  # share of its best explanation from which a tile agrees to a common slip
DEFOCUS_STARTS = (-15.0, 15.0)  # Å from mid-focus: transfer is even in the defocus, its sign must be tried


@dataclass(frozen=True)
class Twin:
    """The best fit on the other side of focus: what it costs in chi², and its defocus, Å."""

    cost: float
    defocus: float


@dataclass(frozen=True)
class Setting:
    """The crystal as it lies in the image, with the stack that was fitted to some windows.

    Attributes:
        lattice: in pixels. noise: of the image. window: side of the windows, pixels.
        model: of the stack. evidence: of the tiles. fit: of the model to them.
        twin: the fit on the other side of focus, once the interference is in.
    """

    lattice: Lattice
    noise: Noise
    window: int
    model: StackModel
    evidence: Evidence
    fit: Fit
    twin: Twin | None = None

    @property
    def explained(self) -> float:
        """Share of the Bragg power explained."""
        return self.evidence.explained(predict(self.model, self.fit.state))


def find_settings(
    data: NDArray[np.float32],
    spectrum: Spectrum,
    layers: tuple[Monolayer, ...],
    pixel_size: float | None,
    window: float,
    optics: tuple[Optics, ...],
) -> list[Setting]:
    """Settings of a stack of equal layers that explain the image, the best first; empty if no lattice was found.

    Args:
        data: image with its mean subtracted.
        spectrum: its power spectrum.
        layers: the stack's layers.
        pixel_size: Å per pixel, if known.
        window: side of the windows, Å.
        optics: microscopes it may be; the first serves to find the lattice.
    """
    first = replace(optics[0], semiangle_sigma=0.0)
    candidates = find_lattices(spectrum, layers[0], pixel_size, CANDIDATES)
    refined: list[Lattice] = []
    for candidate, _ in candidates:
        lattice = refine_lattice(spectrum, candidate)
        if not any(same_setting(lattice, other, layers[0]) for other in refined):
            refined.append(lattice)

    def score(lattice: Lattice) -> float:
        coarse = _coarse_score(data, spectrum, lattice, layers, window, first)
        return coarse * (1 - unindexed_share(spectrum, lattice))

    def fitted(lattice: Lattice) -> Setting:
        return fit_setting(data, spectrum, lattice, layers, window, first)

    scored = list(zip(side_by_side(score, refined), refined, strict=True))
    ranked = sorted(scored, key=lambda pair: -pair[0])
    finalists = [lattice for score, lattice in ranked[:FINALISTS] if score > CLEAR * ranked[0][0]]
    settings = side_by_side(fitted, finalists)
    if not settings:
        return []
    best = max(settings, key=lambda s: s.explained * (1 - unindexed_share(spectrum, s.lattice)))
    lattice = straightened(best)
    again = best if lattice is best.lattice else _on_lattice(best, data, lattice)
    rivals = [s for s in settings if s is not best and s.fit.chi2_reduced < RIVAL * best.fit.chi2_reduced]
    best = max(best, again, key=lambda s: s.explained)
    optical = _with_likeliest(best, optics)
    return [optical, *(_with_optics(rival, optical.model.optics) for rival in rivals)]


def other_layers(setting: Setting, layers: tuple[Monolayer, ...], optics: tuple[Optics, ...]) -> list[Setting]:
    """The same lattice and windows explained by other layers: the distinct stackings that fit best, the best first.

    The likeliest microscope is found anew, with the best of them.
    """
    first = replace(optics[0], semiangle_sigma=0.0)
    model = StackModel.build(layers, setting.model.hk, setting.lattice.orthogonal, first)
    best, *others = (replace(setting, model=model, fit=fit) for fit in fit_stackings(model, setting.evidence))
    best = _with_likeliest(best, optics)
    others = [_with_optics(other, best.model.optics) for other in others]
    return sorted([best, *others], key=lambda one: one.fit.cost)


def rivals_of(best: Setting, settings: list[Setting]) -> list[Setting]:
    """The settings that may turn out best once the interference is in, the best one included."""
    return [one for one in settings if one.fit.chi2_reduced < RIVAL * best.fit.chi2_reduced]


def _on_lattice(setting: Setting, data: NDArray[np.float32], lattice: Lattice) -> Setting:
    """The same setting on a slightly different lattice, fitted from the microscope it has."""
    starts = tile_starts((data.shape[0], data.shape[1]), setting.window, TILES)
    evidence = gather(data, setting.noise, lattice, setting.window, starts)
    old = setting.model
    model = StackModel.build(old.layers, evidence.harmonics.hk, lattice.orthogonal, old.optics)
    fit = _fit_all(model, evidence, setting.fit.state.microscope)
    return replace(setting, lattice=lattice, model=model, evidence=evidence, fit=fit)


def settle(candidates: list[Setting]) -> Setting:
    """The candidate that fits best once the interference between the layers is in."""
    return min(map(with_interference, candidates), key=lambda s: s.fit.cost / len(s.fit.chi2) / s.fit.dof)


def _with_likeliest(setting: Setting, optics: tuple[Optics, ...]) -> Setting:
    """The same setting seen by that of several microscopes with which it fits best."""
    known = [replace(o, semiangle_sigma=0.0) for o in optics]
    tried = side_by_side(lambda o: _with_optics(setting, o), known)
    likeliest = int(np.argmin([s.fit.cost for s in tried]))
    return _with_optics(tried[likeliest], optics[likeliest])


def _with_optics(setting: Setting, optics: Optics) -> Setting:
    """The same setting seen by another microscope, fitted from where the fit stands."""
    if optics == setting.model.optics:
        return setting
    model = StackModel.build(setting.model.layers, setting.model.hk, setting.lattice.orthogonal, optics)
    microscope = model.prior.mean.copy()
    microscope[: len(setting.fit.state.microscope)] = setting.fit.state.microscope
    start = replace(setting.fit.state, microscope=microscope)
    fit = fit_common(model, setting.evidence.observation, start, common_slip=False, tolerance=TRIAL)
    return replace(setting, model=model, fit=fit)


def with_interference(setting: Setting) -> Setting:
    """The fit with the interference between the layers, on the side of focus and with the order that fit best.

    Where the detector is not known, the inner angle that fits best is taken.
    """
    if setting.model.layer_count < 2:
        return setting
    optics = setting.model.optics
    if not optics.detector_known:
        inner = [optics.semiangle * ratio for ratio in INNER_RATIOS]
        others = [replace(optics, inner=i, outer=max(optics.outer, 2 * i)) for i in inner]
        tried = side_by_side(lambda other: _with_detector(setting, other), others)
        setting = min(tried, key=lambda s: s.fit.cost)
    return _both_sides(setting)


def _with_detector(setting: Setting, optics: Optics) -> Setting:
    old, state = setting.model, setting.fit.state
    model = StackModel.build(old.layers, old.hk, old.orthogonal, optics).with_cross_terms(state.microscope)
    fit = fit_common(model, setting.evidence.observation, state, common_slip=False, tolerance=TRIAL)
    return replace(setting, model=model, fit=fit)


def _both_sides(setting: Setting) -> Setting:
    """Fits on both sides of focus, each with all orders of the layers; the other side's cost is kept."""
    state = setting.fit.state
    starts = ((setting.model, state), focus_twin(setting.model, state))
    here, there = side_by_side(lambda start: _with_cross_terms(setting, *start), starts)
    best, other = (here, there) if here.fit.cost <= there.fit.cost else (there, here)
    twin = Twin(other.fit.cost - best.fit.cost, -float(other.fit.state.microscope[0]))
    return replace(best, twin=twin)


def _with_cross_terms(setting: Setting, model: StackModel, state: State) -> Setting:
    observation = setting.evidence.observation
    model = model.with_cross_terms(state.microscope)
    starts = [reordered(model, state, order) for order in all_orders(model.layer_count)]
    starts = [(m if m is model else m.with_cross_terms(s.microscope), s) for m, s in starts]
    fits = [fit_common(m, observation, s, common_slip=False, tolerance=TRIAL) for m, s in starts]
    best = int(np.argmin([fit.cost for fit in fits]))
    model = starts[best][0].with_cross_terms(fits[best].state.microscope)
    fit = fit_common(model, observation, fits[best].state, common_slip=False)
    return replace(setting, model=model, fit=_in_best_orders(model, observation, fit))


def _in_best_orders(model: StackModel, observation: Observation, fit: Fit) -> Fit:
    """The fit with each window's like layers in the order that suits it best."""
    state, chi2 = fit.state, fit.chi2
    for order in model.stackings.orders[1:]:
        turned = fit_windows(model, observation, reordered(model, fit.state, order)[1], fit.microscope_covariance)
        state, chi2 = choose(turned.chi2 < chi2, turned.state, state), np.minimum(turned.chi2, chi2)
    if not (chi2 < fit.chi2).any():
        return fit
    return fit_common(model, observation, state, common_slip=False)


def window_pixels(shape: tuple[int, int], window: float, lattice: Lattice) -> int:
    """Side of a window in pixels: as asked, at least two cells across, at most the image."""
    least = 2.0 * float(np.linalg.norm(lattice.cell, axis=1).max())
    return int(min(round(max(window, least) / lattice.pixel_size), *shape))


def _coarse_score(
    data: NDArray[np.float32],
    spectrum: Spectrum,
    lattice: Lattice,
    layers: tuple[Monolayer, ...],
    window: float,
    optics: Optics,
) -> float:
    side = window_pixels(data.shape, window, lattice)
    hk = harmonics_of(lattice)
    if len(hk) < 4:
        return 0.0
    harmonics = extract_harmonics(data, lattice.reciprocal, hk, side, tile_starts(data.shape, side, 4))
    model = StackModel.build(layers, hk, lattice.orthogonal, optics)
    noise = spectrum.noise_at(hk @ lattice.reciprocal) / side**2
    search = coarse_search(model, model.prior.mean, harmonics.amplitudes, noise)
    return float(np.mean(search.explained.max(axis=1)))


def fit_setting(
    data: NDArray[np.float32],
    spectrum: Spectrum,
    lattice: Lattice,
    layers: tuple[Monolayer, ...],
    window: float,
    optics: Optics,
) -> Setting:
    """Fit microscope and slips (one per tile) of a stack whose lattice is known."""
    side = window_pixels(data.shape, window, lattice)
    noise = measure_noise(data, spectrum, lattice.pixel_size)
    evidence = gather(data, noise, lattice, side, tile_starts(data.shape, side, TILES))
    model = StackModel.build(layers, evidence.harmonics.hk, lattice.orthogonal, optics)
    return Setting(lattice, noise, side, model, evidence, fit_microscope(model, evidence))


def fit_microscope(model: StackModel, evidence: Evidence) -> Fit:
    """Best fit of the microscope and of each tile's slips.

    It starts in those tiles that agree on a slip, from several slips and from over- and underfocus, and goes on in all,
    each from the slip that suits it best with that microscope.
    """
    best = min(_trials(model, evidence, STARTS), key=lambda fit: (fit.chi2_reduced, fit.cost))
    return _fit_all(model, evidence, best.state.microscope)


def fit_stackings(model: StackModel, evidence: Evidence) -> list[Fit]:
    """Fits as of `fit_microscope` from the microscope of each distinct stacking that more starts lead to."""
    trials = sorted(_trials(model, evidence, MORE_STARTS), key=lambda fit: fit.chi2_reduced)
    slips = np.array([np.median(fit.state.slips, axis=0) for fit in trials]) @ model.cell
    chosen = model.stackings.distinct(slips, DISTINCT)[:MOST_RIVALS]
    return [_fit_from(model, evidence, trials[i].state) for i in chosen]


def _trials(model: StackModel, evidence: Evidence, count: int) -> list[Fit]:
    """Fits of the tiles that agree on a slip, from the best common slips and from both sides of focus."""
    prior, amplitudes, observation = model.prior, evidence.harmonics.amplitudes, evidence.observation
    search = coarse_search(model, prior.mean, amplitudes, evidence.noise_power)
    fits = []
    for choice in search.best_common(count):
        agree = search.explained[:, choice] > AGREEMENT * search.explained.max(axis=1)
        agree[np.argmax(search.explained[:, choice])] = True
        start = search.state(prior.mean, np.full(len(amplitudes), choice)).take(agree)
        for shift in DEFOCUS_STARTS:
            microscope = prior.mean.copy()
            microscope[0] += shift
            begin = replace(start, microscope=microscope)
            fits.append(fit_common(model, observation.take(agree), begin, common_slip=False, tolerance=TRIAL))
    return fits


def _fit_from(model: StackModel, evidence: Evidence, state: State) -> Fit:
    """Fit of all tiles from the stackings and the microscope of some, each from the one that suits it best."""
    amplitudes = evidence.harmonics.amplitudes
    known = model.stackings.distinct(state.slips @ model.cell, DISTINCT)
    search = coarse_search(model, state.microscope, amplitudes, evidence.noise_power, state.slips[known], zoom=2)
    start = search.state(state.microscope, search.explained.argmax(axis=1))
    fit = fit_common(model, evidence.observation, start, common_slip=False)
    if (fit.chi2 > POOR * fit.chi2.min()).any():  # another stacking
        anew = fit_each(model, evidence, fit.state.microscope, fit.microscope_covariance)
        state = choose(anew.chi2 < fit.chi2, anew.state, fit.state)
        fit = fit_common(model, evidence.observation, state, common_slip=False)
    return _in_best_orders(model, evidence.observation, fit)


def _fit_all(model: StackModel, evidence: Evidence, microscope: FloatArray) -> Fit:
    search = coarse_search(model, microscope, evidence.harmonics.amplitudes, evidence.noise_power)
    start = search.state(microscope, search.explained.argmax(axis=1))
    fit = fit_common(model, evidence.observation, start, common_slip=False)
    return _in_best_orders(model, evidence.observation, fit)


def reordered(model: StackModel, state: State, order: Sequence[int] | IntArray) -> tuple[StackModel, State]:
    """The same layers where they are, in another order along the beam: layer order[k] in place k."""
    positions = state.positions[:, list(order)]
    moved = replace(state, origin=positions[:, 0], slips=np.diff(positions, axis=1))
    return model.reordered(tuple(int(k) for k in order)), moved


def focus_twin(model: StackModel, state: State) -> tuple[StackModel, State]:
    """The stack upside down on the other side of focus: the same image but for atoms' heights and C30."""
    microscope = state.microscope.copy()
    microscope[0] = -microscope[0] - model.heights[-1]
    microscope[1:3] *= -1
    index = [i for i, name in enumerate(model.prior.names) if name.startswith("log brightness")]
    brightness = np.concatenate([[0.0], microscope[index]])
    microscope[index] = (brightness[::-1] - brightness[-1])[1:]
    twin, turned = reordered(model, state, range(model.layer_count)[::-1])
    return twin, replace(turned, microscope=microscope, scale=state.scale * np.exp(brightness[-1]))


def turned_round(setting: Setting, data: NDArray[np.float32], layers: tuple[Monolayer, ...]) -> Setting:
    """The same stack described in the crystal frame rotated by 180°, in which its layers are `layers`."""
    lattice = replace(setting.lattice, rows=-setting.lattice.rows)
    starts = tile_starts((data.shape[0], data.shape[1]), setting.window, TILES)
    evidence = gather(data, setting.noise, lattice, setting.window, starts)
    state = setting.fit.state
    model = StackModel.build(layers, setting.model.hk, lattice.orthogonal, setting.model.optics)
    fit = replace(setting.fit, state=replace(state, origin=-state.origin, slips=-state.slips))
    model = model.with_cross_terms(state.microscope)
    return replace(setting, lattice=lattice, model=model, evidence=evidence, fit=fit)


def straightened(setting: Setting) -> Lattice:
    """The lattice corrected by how the tiles' origins move over the field, which a wrong lattice makes them do.

    An origin t (fractions) that changes by S r over the field means a reciprocal lattice of B - S.
    """
    centres = setting.evidence.harmonics.centres
    origins = setting.fit.state.positions.mean(axis=1)
    if len(centres) < 4 or np.ptp(centres[:, 0]) == 0 or np.ptp(centres[:, 1]) == 0:
        return setting.lattice
    relative = origins - origins[np.argmin(np.linalg.norm(centres, axis=1))]
    relative -= np.rint(relative)
    design = np.column_stack([np.ones(len(centres)), centres])
    weight = np.ones(len(centres))
    for _ in range(5):
        solution = np.linalg.lstsq(design * weight[:, None], relative * weight[:, None], rcond=None)[0]
        residual = np.linalg.norm(relative - design @ solution, axis=1)
        weight = 1 / (1 + (residual / max(float(np.median(residual)), 1e-6) / 2) ** 2)
    change = solution[1:].T
    share = np.linalg.norm(change) / np.linalg.norm(setting.lattice.reciprocal)
    if not SMALLEST_CORRECTION < share < LARGEST_CORRECTION:
        return setting.lattice
    return Lattice(np.linalg.inv(setting.lattice.reciprocal - change).T, setting.lattice.cell)
