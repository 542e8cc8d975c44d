"""One slip for the image from all its windows: a joint fit of the tiles of the largest domain."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from picostem.resolve.estimate import Fit, Observation, State, choose, fit_common, fit_windows
from picostem.resolve.evidence import gather, tile_starts
from picostem.resolve.interface import aligned
from picostem.resolve.orient import TILES, Setting, exchanged
from picostem.resolve.search import coarse_search
from picostem.structure.equivalence import SlipEquivalence

FloatArray = NDArray[np.float64]

MOST_TILES = 225  # windows of the joint fit: more add nothing that the model's own error would not hide
REACH = 0.75  # Å; how far a tile's slip may be from its domain's mean: a stacking may vary smoothly
HOMOGENEOUS = 2.0  # chi² per added slip that one slip for all tiles may cost where the stacking is uniform


@dataclass(frozen=True)
class CommonSlip:
    """The slip of an image.

    Attributes:
        fit: the joint fit, with one slip if the stacking is uniform, one per tile otherwise.
        slip: Å, crystal frame, of the model's layer order.
        covariance: Å², of a uniform slip from the Fisher information only, otherwise of the mean with its spread.
        bound: square root of the trace of the Fisher information's inverse, Å.
        spread: rms deviation of the tiles' slips from it beyond their errors, Å.
        opposite_order: chi² that the opposite order of the layers costs.
        origin: of layer 1 in the tile nearest to the centre, fractions.
    """

    fit: Fit
    slip: FloatArray
    covariance: FloatArray
    bound: float
    spread: float
    opposite_order: float
    origin: FloatArray


def common_slip(
    data: NDArray[np.float32], setting: Setting, domain_slip: FloatArray, equivalence: SlipEquivalence
) -> CommonSlip:
    """Joint fit of all tiles whose slip is that of the domain, up to smooth variation.

    Args:
        data: image with its mean subtracted.
        domain_slip: Å, crystal frame.
        equivalence: in a fixed frame.
    """
    observation, centres, state = _tiles(data, setting)
    cell = setting.model.cell
    near, signs = aligned(state.slips[:, 0] @ cell, domain_slip, equivalence)
    majority = 1.0 if np.sum(signs) >= 0 else -1.0
    if len(equivalence.operations) > 1:
        state = choose(signs != majority, exchanged(state), state)
    target = near if majority > 0 else -near
    state = replace(state, slips=(target @ np.linalg.inv(cell))[:, None])
    members = np.linalg.norm(target - majority * domain_slip, axis=1) < REACH
    observation, centres, state = observation.take(members), centres[members], state.take(members)
    overlap = _overlap(centres, setting.window)
    local = fit_common(setting.model, observation, state, common_slip=False)
    slips = local.state.slips[:, 0] @ cell
    covariances = cell.T @ local.slip_covariance[:, :2, :2] @ cell
    mean, spread = _mean_and_spread(slips, covariances)
    start = replace(local.state, slips=np.tile(mean @ np.linalg.inv(cell), (len(slips), 1, 1)))
    joint = fit_common(setting.model, observation, start, common_slip=True)
    nearest = int(np.argmin(np.linalg.norm(centres, axis=1)))
    cost = (joint.cost - local.cost) / max(local.chi2_reduced, 1.0)
    if cost < HOMOGENEOUS * 2 * len(slips):
        opposite = fit_common(setting.model, observation, exchanged(joint.state), common_slip=True)
        if opposite.cost < joint.cost:
            joint, opposite = opposite, joint
        gap = min(opposite.cost - joint.cost, setting.twin.cost if setting.twin else np.inf)
        covariance = cell.T @ joint.slip_covariance[0][:2, :2] @ cell * overlap
        slip = joint.state.slips[0, 0] @ cell
        bound = float(np.sqrt(np.trace(covariance)))
        return CommonSlip(joint, slip, covariance, bound, 0.0, gap, joint.state.origin[nearest])
    fisher = np.linalg.inv(np.linalg.inv(covariances).sum(axis=0)) * overlap
    of_mean = fisher + np.eye(2) * spread**2 / (2 * len(slips))
    bound = float(np.sqrt(np.trace(fisher)))
    return CommonSlip(local, mean, of_mean, bound, spread, np.nan, local.state.origin[nearest])


def _tiles(data: NDArray[np.float32], setting: Setting) -> tuple[Observation, FloatArray, State]:
    """Observation, centres and fitted state of all non-overlapping windows, up to MOST_TILES."""
    starts = tile_starts((data.shape[0], data.shape[1]), setting.window, MOST_TILES)
    evidence = setting.evidence
    if len(starts[0]) * len(starts[1]) <= TILES:
        return evidence.observation, evidence.harmonics.centres, setting.fit.state
    evidence = gather(data, setting.noise, setting.lattice, setting.window, starts, evidence.whitener)
    microscope = setting.fit.state.microscope
    search = coarse_search(setting.model, microscope, evidence.harmonics.amplitudes, evidence.noise_power)
    start = search.state(microscope, search.explained.argmax(axis=1), setting.model.layer_count - 1)
    fit = fit_windows(setting.model, evidence.observation, start, setting.fit.microscope_covariance)
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


def _mean_and_spread(slips: FloatArray, covariances: FloatArray) -> tuple[FloatArray, float]:
    """Weighted mean, and the rms scatter that the covariances do not account for."""
    weights = np.linalg.inv(covariances)
    mean = np.linalg.solve(weights.sum(axis=0), np.einsum("wij,wj->i", weights, slips))
    scatter = np.mean(np.sum((slips - mean) ** 2, axis=1)) - np.mean(np.trace(covariances, axis1=1, axis2=2))
    return mean, float(np.sqrt(max(scatter, 0.0)))
