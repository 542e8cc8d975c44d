"""One slip for the image from all its windows: a joint fit of the tiles of the largest domain, or a network's mean."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from picostem.resolve.estimate import Fit, Observation, State, choose, fit_common
from picostem.resolve.evidence import gather, tile_starts
from picostem.resolve.model import StackModel
from picostem.resolve.orient import TILES, Setting, reordered
from picostem.resolve.search import fit_at, fit_each
from picostem.resolve.windows import WindowFits

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

MOST_TILES = 225  # windows of the joint fit: more add nothing that the model's own error would not hide
REACH = 0.75  # Å; how far a tile's slip may be from its domain's mean: a stacking may vary smoothly
HOMOGENEOUS = 2.0  # chi² per added slip that one slip for all tiles may cost where the stacking is uniform


@dataclass(frozen=True)
class CommonSlip:
    """The slips of an image, one for each of its s interfaces.

    Attributes:
        fit: the joint fit, with one slip if the stacking is uniform, one per tile otherwise; of place and brightness
            alone where a network gave the slip.
        slip: Å, crystal frame, of the model's layer order, shape (s, 2).
        covariance: Å², of a uniform slip from the Fisher information only, otherwise of the mean with its spread, or
            what a network says, shape (2s, 2s).
        bound: square root of the trace of the Fisher information's inverse, Å, shape (s,).
        spread: rms deviation of the tiles' slips from it beyond their errors, Å, shape (s,).
        other_orders: chi² that other orders of like layers cost; nan where the stacking varies.
        origin: of layer 1 in the tile nearest to the centre, fractions.
        told: whether a network gave the slip.
    """

    fit: Fit
    slip: FloatArray
    covariance: FloatArray
    bound: FloatArray
    spread: FloatArray
    other_orders: dict[tuple[int, ...], float]
    origin: FloatArray
    told: bool = False

    @property
    def inflated(self) -> FloatArray:
        """The covariance times the reduced chi² where that exceeds 1; a network's is calibrated as it is."""
        return self.covariance * (1.0 if self.told else max(1.0, self.fit.chi2_reduced))


def common_slip(data: NDArray[np.float32], setting: Setting, domain_slip: FloatArray) -> CommonSlip:
    """Joint fit of all tiles whose slip is that of the domain, up to smooth variation.

    Args:
        data: image with its mean subtracted.
        domain_slip: Å, crystal frame, shape (s, 2).
    """
    model, cell = setting.model, setting.model.cell
    observation, centres, state = _members(model, *_tiles(data, setting), domain_slip)
    overlap = _overlap(centres, setting.window)
    local = fit_common(model, observation, state, common_slip=False)
    slips = (local.state.slips @ cell).reshape(len(centres), -1)
    covariances = model.to_angstrom(local.slip_covariance)
    mean, spread = _mean_and_spread(slips, covariances)
    start = replace(local.state, slips=np.tile(mean.reshape(-1, 2) @ np.linalg.inv(cell), (len(slips), 1, 1)))
    joint = fit_common(model, observation, start, common_slip=True)
    nearest = int(np.argmin(np.linalg.norm(centres, axis=1)))
    cost = (joint.cost - local.cost) / max(local.chi2_reduced, 1.0)
    if cost < HOMOGENEOUS * slips.size:
        joint, others = _best_order(setting, observation, joint)
        covariance = model.to_angstrom(joint.slip_covariance[0]) * overlap
        slip = joint.state.slips[0] @ cell
        return CommonSlip(
            joint, slip, covariance, _bounds(covariance), 0.0 * spread, others, joint.state.origin[nearest]
        )
    fisher = np.linalg.inv(np.linalg.inv(covariances).sum(axis=0)) * overlap
    of_mean = fisher + np.diag(np.repeat(spread, 2) ** 2) / (2 * len(slips))
    unknown = {tuple(order.tolist()): np.nan for order in model.stackings.orders[1:]}
    return CommonSlip(
        local, mean.reshape(-1, 2), of_mean, _bounds(fisher), spread, unknown, local.state.origin[nearest]
    )


def _best_order(setting: Setting, observation: Observation, joint: Fit) -> tuple[Fit, dict[tuple[int, ...], float]]:
    """The fit in the order of like layers that suits all tiles best, and what the others, seen from it, cost."""
    model, orders = setting.model, setting.model.stackings.orders
    starts = [reordered(model, joint.state, order)[1] for order in orders[1:]]
    fits = [joint, *(fit_common(model, observation, start, common_slip=True) for start in starts)]
    best = int(np.argmin([fit.cost for fit in fits]))
    return fits[best], _costs(setting, fits, best)


def _costs(setting: Setting, fits: list[Fit], best: int) -> dict[tuple[int, ...], float]:
    """What the other orders of like layers, fitted each, cost, seen from the best one."""
    model, orders = setting.model, setting.model.stackings.orders
    back = np.argsort(orders[best])
    costs = {tuple(back[order].tolist()): fit.cost - fits[best].cost for order, fit in zip(orders, fits, strict=True)}
    upside_down = tuple(range(model.layer_count)[::-1])
    if setting.twin is not None and upside_down in costs:
        costs[upside_down] = min(costs[upside_down], setting.twin.cost)
    return {order: cost for order, cost in costs.items() if order != tuple(range(model.layer_count))}


def told_slip(setting: Setting, windows: WindowFits) -> CommonSlip:
    """Mean of the slips that a network gave to windows of one stacking; the tiles say in which order the layers lie.

    All windows were seen by one microscope, of which the network knows no more than one window shows: part of their
    errors is common, and does not vanish in the mean. With C the mean of their covariances, S their scatter and
    r = tr S / tr C, at most 1, the mean of n that do not overlap has the covariance C (1 - r + r / n).
    """
    model = setting.model
    stackings = model.stackings
    raw = windows.slips @ model.cell
    near, order = stackings.aligned(raw, raw[0])
    slips = near.reshape(len(near), -1)
    covariances = stackings.covariance(windows.covariance, order)
    mean, spread = _mean_and_spread(slips, covariances)
    overlap = _overlap(windows.centres, setting.window)
    count = max(1.0, len(slips) / overlap)
    whole = covariances.mean(axis=0)
    own = min(1.0, float(np.mean(np.sum((slips - mean) ** 2, axis=1)) / np.trace(whole)))
    covariance = whole * (1 - own + own / count) + np.diag(np.repeat(spread, 2) ** 2) / (2 * count)
    fisher = np.linalg.inv(np.linalg.inv(stackings.covariance(windows.fisher, order)).sum(axis=0))
    slip = mean.reshape(-1, 2)
    fits, centres = _held(setting, slip)
    best = int(np.argmin([fit.cost for fit in fits]))
    turned = np.kron(stackings.matrices[best], np.eye(2))
    return CommonSlip(
        fits[best],
        stackings.matrices[best] @ slip,
        turned @ covariance @ turned.T,
        _bounds(turned @ fisher @ turned.T * min(overlap, len(slips))),
        spread,
        _costs(setting, fits, best),
        fits[best].state.origin[int(np.argmin(np.linalg.norm(centres, axis=1)))],
        told=True,
    )


def _held(setting: Setting, slip: FloatArray) -> tuple[list[Fit], FloatArray]:
    """The tiles of a stacking fitted with it, Å, in each order of like layers, and their centres."""
    model, state, evidence = setting.model, setting.fit.state, setting.evidence
    there = model.stackings.distance(state.slips @ model.cell, slip) < REACH
    if there.any():
        evidence = evidence.take(there)
    count, certainty = len(evidence.harmonics.centres), setting.fit.microscope_covariance
    fits = []
    for matrix in model.stackings.matrices:
        slips = np.tile(matrix @ slip @ np.linalg.inv(model.cell), (count, 1, 1))
        fits.append(fit_at(model, evidence, state.microscope, certainty, slips, held=True))
    return fits, evidence.harmonics.centres


def _members(
    model: StackModel, observation: Observation, centres: FloatArray, state: State, domain_slip: FloatArray
) -> tuple[Observation, FloatArray, State]:
    """The tiles near the domain's stacking, all in the order of like layers that most of them have."""
    stackings, cell = model.stackings, model.cell
    near, order = stackings.aligned(state.slips @ cell, domain_slip)
    commonest = np.bincount(order).argmax()
    back = np.argsort(stackings.orders[commonest])
    for k in np.unique(order[order != commonest]):
        moved = reordered(model, state, stackings.orders[k][back])[1]
        state = choose(order == k, moved, state)
    target = np.linalg.inv(stackings.matrices[commonest]) @ near
    state = replace(state, slips=target @ np.linalg.inv(cell))
    members = np.linalg.norm(near - domain_slip, axis=2).max(axis=1) < REACH
    return observation.take(members), centres[members], state.take(members)


def _tiles(data: NDArray[np.float32], setting: Setting) -> tuple[Observation, FloatArray, State]:
    """Observation, centres and fitted state of all non-overlapping windows, up to MOST_TILES."""
    starts = tile_starts((data.shape[0], data.shape[1]), setting.window, MOST_TILES)
    evidence = setting.evidence
    if len(starts[0]) * len(starts[1]) <= TILES:
        return evidence.observation, evidence.harmonics.centres, setting.fit.state
    evidence = gather(data, setting.noise, setting.lattice, setting.window, starts, evidence.whitener)
    microscope = setting.fit.state.microscope
    fit = fit_each(setting.model, evidence, microscope, setting.fit.microscope_covariance)
    # a window without crystal has no scale; it must not hold up the joint fit
    there = fit.state.scale > 0.5 * np.median(fit.state.scale)
    return evidence.observation.take(there), evidence.harmonics.centres[there], fit.state.take(there)


def _overlap(centres: FloatArray, window: int) -> float:
    """How many times the tiles use each pixel of the area they cover: their errors are not independent above 1."""
    shares = []
    for axis in (0, 1):
        places = np.unique(np.rint(centres[:, axis] * 2))
        shares.append(len(places) * window / (np.ptp(places) / 2 + window))
    return float(np.prod(np.maximum(shares, 1.0)))


def _mean_and_spread(slips: FloatArray, covariances: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Weighted mean (2s,), and of each slip the rms scatter that the covariances do not account for, (s,)."""
    weights = np.linalg.inv(covariances)
    mean = np.linalg.solve(weights.sum(axis=0), np.einsum("wij,wj->i", weights, slips))
    excess = np.mean((slips - mean) ** 2 - np.einsum("wii->wi", covariances), axis=0)
    return mean, np.sqrt(np.maximum(excess.reshape(-1, 2).sum(axis=1), 0.0))


def _bounds(covariance: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt(np.diag(covariance).reshape(-1, 2).sum(axis=1)))
