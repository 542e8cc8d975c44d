"""The answer for layers with lattices of their own: interface, layers, map and alternatives of a result."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from picostem.physics import DEGREE
from picostem.resolve.bound import MODEL_ERROR, calibrated
from picostem.resolve.joint import draw
from picostem.resolve.microscope import fitted_microscope
from picostem.resolve.result import Alternative, Domain, FittedMicroscope, Interface, ResolvedLayer, SlipMap
from picostem.resolve.twist_map import TwistWindows, curvature_error, local_strain, registry_at_centre, twist_domains
from picostem.resolve.twisted import Reading, Twisted, lattice_power, merged
from picostem.structure.lattice import reduced, shortest
from picostem.structure.moire import beat_period, moire_vectors

FloatArray = NDArray[np.float64]

LEAST_ODDS = 2 * np.log(1000.0)  # chi² that another twist must cost to be excluded with odds of 1000 : 1,
MODEL_DOUBT = 0.0005  # and this share of the lattices' power, which the model may get wrong; more
MERGED_DOUBT = 0.005  # where the layers' peaks merge, and what they do together decides
VARIES = 2.0  # excess of the variance of the windows' twists over that of their errors, from which the twist varies
LEAST_WINDOWS = 9  # that tell whether it does
TOLD = 0.6  # of the strain's prior: its standard deviation up to which an image tells it


def twist_interfaces(twisted: Twisted, maps: tuple[SlipMap, ...]) -> tuple[Interface, ...]:
    """The registry of each pair of neighbouring layers: of the patch that was fitted as one where that stands for all
    of the image; where the twist varies, its mean over the largest domain."""
    return tuple(_varied(_interface(twisted, lower), one) for lower, one in enumerate(maps))


def _varied(interface: Interface, one: SlipMap) -> Interface:
    ok = one.status == "ok"
    if one.twist is None or one.twist_sigma is None or np.count_nonzero(ok) < LEAST_WINDOWS:
        return interface
    expected = float(np.mean(one.twist_sigma[ok] ** 2))
    spread = float(np.sqrt(max(np.var(one.twist[ok]) - expected, 0.0)))
    if spread**2 < VARIES * expected or not one.domains:
        return replace(interface, twist_spread=spread)
    members = np.nonzero(ok)[0] if len(one.domains) == 1 else one.domains[0].windows
    twists = one.twist[members]
    # windows that overlap share their electrons and what moves their twist
    shared = min(max(1.0, (one.window / one.stride) ** 2), len(members))
    sigma = float(np.std(twists) * np.sqrt(shared / len(members)))
    return replace(
        interface,
        twist=float(twists.mean()),
        twist_sigma=float(np.hypot(sigma, np.sqrt(expected * shared / len(members)))),
        twist_spread=spread,
        strain=None,
        strain_sigma=0.0,
    )


def _interface(twisted: Twisted, lower: int) -> Interface:
    best = twisted.best
    pair = best.model.lattice_of[lower], best.model.lattice_of[lower + 1]
    below, above = best.layer_lattice(lower), best.layer_lattice(lower + 1)
    registry, fisher = registry_at_centre(best, best.fit, lower)
    slip = shortest(registry @ below.cell, reduced(below.cell))
    common = Interface(
        lower=lower + 1,
        upper=lower + 2,
        slip=slip,
        slip_frac=slip @ np.linalg.inv(below.cell),
        slip_covariance=calibrated(fisher, best.model.parts[0].wavelength),
        slip_bound=float(np.sqrt(np.trace(fisher))),
        slip_spread=0.0,
        equivalents=slip[None],
    )
    if pair[0] == pair[1]:
        return common
    strain, sigma = _strain(best) if pair == (0, 1) else (None, 0.0)
    bound = best.twist_sigma_of(best.fit, *pair)
    return replace(
        common,
        twist=best.twist_of(best.fit, *pair),
        twist_sigma=float(np.hypot(bound, _model_error(best, pair, _side(twisted)))),
        twist_bound=bound,
        twist_alternatives=np.array([r.twist for r in twisted.others if twisted.evidence(r) < doubt(twisted)]),
        strain=strain,
        strain_sigma=sigma,
        moire=moire_vectors(below.cell, above.rows @ np.linalg.inv(below.image_from_crystal).T),
    )


def doubt(twisted: Twisted) -> float:
    """Chi² that another reading must cost to be excluded."""
    share = MERGED_DOUBT if merged(twisted.best, twisted.field) else MODEL_DOUBT
    return float(LEAST_ODDS + share * lattice_power(twisted.field, twisted.best))


def _side(twisted: Twisted) -> float:
    """Side of what was fitted, Å."""
    field = twisted.field
    return float(np.sqrt(np.ptp(field.x) * np.ptp(field.y)) * twisted.best.lattices[0].pixel_size)


def _model_error(reading: Reading, pair: tuple[int, int], side: float) -> float:
    """Standard deviation of a twist, rad, that multiple scattering leaves in a field of a side in Å.

    It displaces one layer against the other by MODEL_ERROR wavelengths per axis, here in one way and there in another
    over half a moiré period; where the field holds many periods, that averages out.
    """
    one, other = (reading.fitted_lattices[i].rows * reading.fitted_lattices[i].pixel_size for i in pair)
    periods = side / beat_period(one, other)
    return float(np.sqrt(2) * MODEL_ERROR * reading.model.parts[0].wavelength / side / max(periods, 1.0))


def _strain(reading: Reading) -> tuple[FloatArray | None, float]:
    """Relative strain and the standard deviation of a component; None where the prior says as much as the image."""
    reciprocals, tie = reading.fit.placement.reciprocals, reading.tie
    slope = tie.slope(reciprocals, lambda b: tie.strains(b)[0].ravel())
    covariance = slope @ reading.fit.lattice_covariance @ slope.T
    sigma = float(np.sqrt(np.mean(np.diag(covariance))))
    return (tie.strains(reciprocals)[0], sigma) if sigma < TOLD * tie.strain else (None, 0.0)


def twist_layers(twisted: Twisted) -> tuple[ResolvedLayer, ...]:
    """The layers as they lie in the image."""
    best = twisted.best
    lattices = [best.layer_lattice(i) for i in range(len(twisted.layers))]
    scale = lattices[0].pixel_size
    near = best.fit.placement.positions - np.rint(best.fit.placement.positions)
    origins = [one @ lattice.rows * scale for one, lattice in zip(near, lattices, strict=True)]
    crystal_from_image = np.linalg.inv(lattices[0].image_from_crystal * scale)
    return tuple(
        ResolvedLayer(
            monolayer,
            lattice.rotation,
            lattice.mirrored,
            lattice.rows * scale,
            crystal_from_image @ (origin - origins[0]),
            origin,
        )
        for monolayer, lattice, origin in zip(twisted.layers, lattices, origins, strict=True)
    )


def twist_microscope(twisted: Twisted) -> FittedMicroscope:
    """The microscope, with the covariance that the fit left it."""
    fit, model = twisted.best.fit, twisted.best.model
    count = len(model.prior.names)
    covariance = fit.covariance[-count:, -count:] * fit.chi2_reduced
    return fitted_microscope(model.prior.names, fit.placement.microscope, covariance, model.parts[0].optics)


def twist_alternatives(twisted: Twisted) -> tuple[Alternative, ...]:
    """Other readings that were fitted, with what they cost."""
    found = []
    for reading in twisted.others:
        cost = twisted.cost(reading)
        detail = "undecided" if twisted.evidence(reading) < doubt(twisted) else ""
        found.append(Alternative(f"twist {reading.twist / DEGREE:.1f}°", cost, detail))
    if len(twisted.layers) > 2:
        return tuple(found)
    first, last = (part.heights[0] for part in twisted.best.model.parts)
    if first <= last:
        order = Alternative("the layers in the opposite order along the beam", twisted.reversed_order)
    else:
        order = Alternative("the beam meets layer 1 first", twisted.reversed_order, "here it meets layer 2 first")
    return (*found, order)


def twist_slip_map(
    twisted: Twisted, windows: TwistWindows, lower: int, shape: tuple[int, int], window: float, stride: float
) -> SlipMap:
    """The map of an interface above layer `lower`, from 0 on; window and stride in Å."""
    best, below = twisted.best, twisted.best.layer_lattice(lower)
    pair = best.model.lattice_of[lower], best.model.lattice_of[lower + 1]
    cell, scale = below.cell, best.fitted_lattices[0].pixel_size
    turned = pair[0] != pair[1]
    model = _model_error(best, pair, window) if turned else 0.0
    sigma = np.hypot(windows.twist_sigma, np.where(windows.engine == "fit", model, 0.0))
    slips = windows.registry @ cell
    covariance = calibrated(windows.covariance, best.model.parts[0].wavelength)
    covariance = covariance + np.eye(2) * curvature_error(windows, cell, window, stride) ** 2
    rows, cols = shape
    return SlipMap(
        row=(rows - 1) / 2 - windows.centres[:, 1],
        col=(cols - 1) / 2 + windows.centres[:, 0],
        position=windows.centres * scale,
        slip=slips,
        covariance=covariance,
        chi2=windows.chi2,
        status=windows.status,
        fine=np.zeros(len(slips), dtype=bool),
        window=window,
        stride=stride,
        grid=windows.grid,
        domains=_domains(windows, slips, covariance, sigma, scale, max(1.0, (window / stride) ** 2)),
        interface=lower + 1,
        twist=windows.twist if turned else None,
        twist_sigma=sigma if turned else None,
        strain=local_strain(windows, cell, np.asarray(np.linalg.inv(below.image_from_crystal), dtype=np.float64)),
        engine=windows.engine if (windows.engine != "fit").any() else None,
    )


def _domains(
    windows: TwistWindows, slips: FloatArray, covariance: FloatArray, sigma: FloatArray, scale: float, overlap: float
) -> tuple[Domain, ...]:
    labels, found = twist_domains(windows), []
    turned = bool(np.any(sigma > 0))
    for i in range(labels.max() + 1):
        members = np.nonzero(labels == i)[0]
        weight = 1 / sigma[members] ** 2 if turned else np.ones(len(members))
        # overlapping windows share their electrons: count each pixel once
        shared = min(overlap, len(members))
        # where a network gave the twist, the registry may not be known
        known = members[np.isfinite(slips[members]).all(axis=1)] if np.isfinite(slips[members]).any() else members
        found.append(
            Domain(
                windows=members,
                slip=slips[known].mean(axis=0),
                slip_covariance=covariance[known].mean(axis=0) * min(overlap, len(known)) / len(known),
                centre=windows.centres[members].mean(axis=0) * scale,
                share=len(members) / max(1, int(np.count_nonzero(labels >= 0))),
                twist=float(np.sum(weight * windows.twist[members]) / weight.sum()) if turned else 0.0,
                twist_sigma=float(np.sqrt(shared / weight.sum())) if turned else 0.0,
            )
        )
    return tuple(found)


def draw_again(reading: Reading, windows: TwistWindows, shape: tuple[int, int], window: int) -> NDArray[np.float32]:
    """The windows' models without noise on the image's pixels, Hann-blended, their means 0, shape (rows, columns)."""
    total, weight = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    # 1e-3: every pixel has some weight, also in the corners where only one window reaches.
    taper = np.hanning(window + 2)[1:-1] + 1e-3
    blend = np.outer(taper, taper).astype(np.float32)
    offset = np.arange(window, dtype=np.float64) - (window - 1) / 2
    amplitude = reading.model.amplitudes(reading.fit.placement.microscope)[0]
    for centre, place in zip(windows.centres, windows.placements, strict=True):
        row = round((shape[0] - 1) / 2 - centre[1] - (window - 1) / 2)
        col = round((shape[1] - 1) / 2 + centre[0] - (window - 1) / 2)
        phase = np.exp(-2j * np.pi * np.einsum("wla,la->w", reading.model.orders, place.positions))
        g = reading.model.reciprocal(place.reciprocals)
        patch = draw(offset, -offset, g, (place.scale * amplitude * phase)[None])[0]
        total[row : row + window, col : col + window] += blend * patch
        weight[row : row + window, col : col + window] += blend
    return np.asarray(np.divide(total, weight, out=total, where=weight > 0))
