"""Layers with lattices of their own: which lattices, which settings of each, and the joint fit in real space.

Candidates come from the power spectrum where the layers' peaks are apart (`pair`), and from a scan of the angle about a
single lattice where they merge. Each is located on a grid of positions, fitted roughly, and the best ones with the
microscope; the misfits of those that remain tell how sure the twist is.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from picostem.resolve.field import BAND, Field
from picostem.resolve.joint import JointFit, Placement, Tie, fit_joint, predict, unfitted
from picostem.resolve.lattice import SPECTRUM_SIZE, Lattice, Spectrum, find_lattices, refine_lattice
from picostem.resolve.locate import explained_alone, locate, locate_alone
from picostem.resolve.model import Optics
from picostem.resolve.noise import measure_noise
from picostem.resolve.pair import find_pairs, same_points, settings_like
from picostem.resolve.parallel import side_by_side
from picostem.resolve.waves import WaveModel
from picostem.structure.equivalence import twist_distance
from picostem.structure.monolayer import Monolayer
from picostem.structure.stack import rotation_matrix
from picostem.structure.symmetry import layer_operations

FloatArray = NDArray[np.float64]

PATCHES = (60.0, 30.0)  # Å; sides of the part of the image, about its centre, that is fitted as one
RIGID = 0.88  # chi² of the smaller part over that of the larger one from which both are rigid layers
PAIRS, SINGLES = 4, 2  # candidates from the spectrum: pairs of lattices, and single ones that two layers may share
MERGED = 1.2  # resolution elements by which the first reflections of the layers are apart at most in the scan
SCAN = 0.3  # of a resolution element at TYPICAL: step of its angles
FIRST, TYPICAL = 0.37, 0.6  # 1/Å; the shortest reflections of 2D crystals, and those that count
ROUGH = 0.8  # 1/Å; limit of the reflections that first fits use
ROUGH_FITS, FINAL_FITS = 16, 4  # candidates fitted roughly, and with the microscope
THIRDS = 3  # turned lattices of a third layer that are fitted
SETTINGS = 3  # of a layer with like peaks that are looked at
CLEAR = 0.9  # share of the lattices' power from which a rough fit of layers whose peaks are apart is right
STRAIN = 0.005  # standard deviation of the strain between layers of one material
MISMATCH = 0.01  # the same for two materials, whose cells are known less well
TOGETHER = 5.0  # resolution elements between the layers' first reflections up to which cross-terms are tried
BRANCHED = 2  # times that other settings of the layers are tried from the best reading
CROSS_TERMS = 2  # times that they are computed anew
PRIOR_SAYS = 10.0  # chi² that what is expected of the microscope and of the species' brightness may count for
PLAUSIBLE = 0.5  # share of the lattices' power that the best rough fit must explain to be followed
HOPELESS = 0.8  # share of the lattices' power up to which a reading is wrong whatever the layers do together
RIVALS = 3  # readings that are judged with them at most
CLOSE = 400.0  # chi² over the best reading up to which another is judged with them
TRIAL = 1.0  # chi²; tolerance of fits that only choose between starts
DEFOCUS_STARTS = (-15.0, 15.0)  # Å from mid-focus
SAME_TWIST = np.radians(0.3)  # twists that differ by less are one reading


@dataclass(frozen=True)
class Reading:
    """A way to read the image: the lattices of both layers with their fit."""

    lattices: tuple[Lattice, ...]
    model: WaveModel
    tie: Tie
    fit: JointFit

    @property
    def twist(self) -> float:
        """Rotation of the second lattice relative to the first, first layer's crystal frame, rad."""
        return self.twist_of(self.fit, 0, 1)

    @property
    def twist_sigma(self) -> float:
        """Its standard deviation, rad, by the Fisher information and the noise that was found."""
        return self.twist_sigma_of(self.fit, 0, 1)

    def twist_of(self, fit: JointFit, lower: int, upper: int) -> float:
        """Rotation of one lattice relative to another in a fit of this model, rad."""
        return float(self._between(lower, upper)(fit.placement.reciprocals)[0])

    def twist_sigma_of(self, fit: JointFit, lower: int, upper: int) -> float:
        """Its standard deviation."""
        slope = self.tie.slope(fit.placement.reciprocals, self._between(lower, upper))
        return float(np.sqrt((slope @ fit.lattice_covariance @ slope.T)[0, 0]))

    def _between(self, lower: int, upper: int) -> Callable[[FloatArray], FloatArray]:
        def twist(reciprocals: FloatArray) -> FloatArray:
            twists = np.concatenate([[0.0], self.tie.twists(reciprocals)])
            return np.asarray(np.remainder(twists[[upper]] - twists[lower] + np.pi, 2 * np.pi) - np.pi)

        return twist

    @property
    def fitted_lattices(self) -> tuple[Lattice, ...]:
        """The lattices as the fit left them."""
        rows = np.swapaxes(np.linalg.inv(self.fit.placement.reciprocals), 1, 2)
        return tuple(Lattice(own, lattice.cell) for own, lattice in zip(rows, self.lattices, strict=True))

    def layer_lattice(self, layer: int) -> Lattice:
        """The fitted lattice of a layer."""
        return self.fitted_lattices[self.model.lattice_of[layer]]


@dataclass(frozen=True)
class Twisted:
    """The best reading of an image as layers, two or three, with lattices of their own.

    Attributes:
        layers: their structures. best: the reading. others: other readings, one for each twist that differs.
        reversed_order: chi² that the opposite order of the layers along the beam costs.
        field: what was fitted. whole: all of the image.
    """

    layers: tuple[Monolayer, ...]
    best: Reading
    others: tuple[Reading, ...]
    reversed_order: float
    field: Field
    whole: Field

    def cost(self, reading: Reading) -> float:
        """Chi² that a reading costs over the best one."""
        return (reading.fit.cost - self.best.fit.cost) / self.best.fit.chi2_reduced

    def evidence(self, reading: Reading) -> float:
        """Chi² by which the image itself speaks against a reading; of the prior's part of it at most PRIOR_SAYS."""
        data = (reading.fit.chi2 - self.best.fit.chi2) / self.best.fit.chi2_reduced
        return data + min(reading.fit.prior_misfit - self.best.fit.prior_misfit, PRIOR_SAYS)

    @property
    def explained(self) -> float:
        """Share of the lattices' power explained."""
        return explained(self.field, self.best)


def lattice_power(field: Field, reading: Reading) -> float:
    """Chi² that a reading's lattices explain, in units of the noise that was found."""
    image = predict(reading.model, field, reading.fit.placement) * field.weight
    return float(np.sum(image.astype(np.float64) ** 2)) / reading.fit.chi2_reduced


def explained(field: Field, reading: Reading) -> float:
    """Share of the lattices' power that a reading explains; residual above the noise that was expected is missed."""
    fit = reading.fit
    missed = max(fit.chi2_reduced - 1.0, 0.0) * fit.samples
    power = lattice_power(field, reading) * fit.chi2_reduced
    return power / (power + missed)


def find_twisted(
    data: NDArray[np.float32],
    spectrum: Spectrum,
    layers: tuple[Monolayer, Monolayer],
    pixel_size: float | None,
    optics: tuple[Optics, ...],
) -> Twisted | None:
    """The best reading of an image as two twisted layers, or None if no lattice was found.

    Args:
        data: image with its mean subtracted. spectrum: its power spectrum.
        layers: from the beam's entrance on. pixel_size: Å per pixel, if known.
        optics: microscopes it may be; the first serves to find the lattices.
    """
    first = replace(optics[0], semiangle_sigma=0.0)
    side = min(SPECTRUM_SIZE, *data.shape)
    lattices = [pair.lattices for pair in find_pairs(spectrum, layers, pixel_size, side, PAIRS)]
    singles = _singles(spectrum, layers, pixel_size)
    if not lattices and not singles:
        return None
    scale = (lattices or singles)[0][0].pixel_size
    whole = Field.of(data, measure_noise(data, spectrum, scale), scale)
    found: Twisted | None = None
    for patch in PATCHES:
        part = whole.cut((0.0, 0.0), patch / scale)
        if found is not None and _is_rigid(found, part):
            break
        rough = _rough_fits(
            part, layers, first, [two for pair in lattices for two in _settings(part, layers, pair, first)]
        )
        if not rough or explained(part, rough[0]) < CLEAR:
            angles = _angles(min(side * scale, patch))
            turned = [
                (_turned(one, -angle / 2), nearest_way(_turned(other, angle / 2), one, layers[1]))
                for single in singles
                for one, other in _settings(part, layers, single, first)
                for angle in angles
            ]
            rough = sorted([*rough, *_rough_fits(part, layers, first, turned)], key=lambda r: r.fit.cost)
        if rough and explained(part, rough[0]) > PLAUSIBLE:
            found = _judged(whole, part, layers, _readings(part, layers, rough, optics))
    return found


def _is_rigid(found: Twisted, part: Field) -> bool:
    """Whether a smaller part of what was fitted fits no better by itself: else the layers are not rigid, or several."""
    best = found.best
    own = fit_joint(best.model, part, best.fit.placement, best.tie, free_microscope=False)
    return own.chi2_reduced > RIGID * best.fit.chi2_reduced


def _readings(
    field: Field, layers: tuple[Monolayer, Monolayer], rough: list[Reading], optics: tuple[Optics, ...]
) -> list[Reading]:
    """The best rough reading and those of other twists, each with its microscope, the best first."""
    best = _refit(field, layers, rough[0], optics)
    known = best.model.parts[0].optics
    readings, tried = [best], _distinct(rough[1:], rough[0], layers)
    for _ in range(BRANCHED):
        tried += _branches(field, layers, readings[0])
        readings += side_by_side(lambda r: _final(field, layers, r, known), tried)
        tried = []
        readings.sort(key=lambda r: r.fit.cost)
        readings = [readings[0], *_distinct(readings[1:], readings[0], layers)]
    return readings


def _branches(field: Field, layers: tuple[Monolayer, Monolayer], best: Reading) -> list[Reading]:
    """The reading's lattices with other settings of the layers, from both sides of focus."""
    known = best.model.parts[0].optics
    mine = best.fit.placement.microscope
    found = []
    first, second = best.fitted_lattices
    for lattices in _settings(field, layers, (first, second), known):
        model = WaveModel.build(layers, lattices, (0, 1), known, BAND)
        reciprocals = np.array([lattice.reciprocal for lattice in lattices])
        for microscope in (mine, other_side(model, mine)):
            one = locate(model, field, microscope, reciprocals, 1)[0]
            start = unfitted(Placement(microscope, one.scale, one.positions, reciprocals))
            found.append((one.explained, Reading(lattices, model, Tie.of(lattices, best.tie.strain), start)))
    chosen: list[Reading] = []
    for _, reading in sorted(found, key=lambda pair: -pair[0]):
        if not any(same_twist(reading, other, layers) for other in chosen):
            chosen.append(reading)
    return chosen[:FINAL_FITS]


def other_side(model: WaveModel, microscope: FloatArray) -> FloatArray:
    """The microscope on the other side of focus: nearly the same transfer, but for its effect on the layers' depths."""
    turned = microscope.copy()
    turned[0] = 2 * model.prior.mean[0] - turned[0]
    turned[1:3] *= -1
    return turned


def _judged(whole: Field, field: Field, layers: tuple[Monolayer, Monolayer], readings: list[Reading]) -> Twisted:
    """The readings, best first, each with what the layers do together where that may matter."""
    best = readings[0]
    if explained(field, best) < HOPELESS:
        return Twisted(layers, best, tuple(_distinct(readings[1:], best, layers)), 0.0, field, whole)
    close = [r for r in readings if (r.fit.cost - best.fit.cost) / best.fit.chi2_reduced < CLOSE][:RIVALS]
    both = [_orders(field, layers, r) for r in close]
    readings = sorted([*(one for one, _ in both), *readings[len(close) :]], key=lambda r: r.fit.cost)
    best = readings[0]
    reverse = next(((other.fit.cost - one.fit.cost) for one, other in both if one is best), 0.0)
    others = tuple(_distinct(readings[1:], best, layers))
    return Twisted(layers, best, others, reverse / best.fit.chi2_reduced, field, whole)


def _orders(field: Field, layers: tuple[Monolayer, Monolayer], reading: Reading) -> tuple[Reading, Reading]:
    """The reading with the order of the layers along the beam that fits best, and with the other one."""
    optics = reading.model.parts[0].optics
    found = [[reading], [_final(field, layers, reading, optics, upside_down=True)]]
    if merged(reading, field):
        jobs = [(order, side) for order in (0, 1) for side in (False, True)]
        crossed = side_by_side(lambda job: _with_cross_terms(field, found[job[0]][0], job[1]), jobs)
        for (order, _), one in zip(jobs, crossed, strict=True):
            found[order].append(one)
    best = [min(some, key=lambda r: r.fit.cost) for some in found]
    best.sort(key=lambda r: r.fit.cost)
    return best[0], best[1]


def merged(reading: Reading, field: Field) -> bool:
    """Whether the layers' first reflections lie so close that what the layers do together is mixed with them."""
    side = max(np.ptp(field.x), np.ptp(field.y))
    one, other = reading.fitted_lattices
    return bool(_apart(one, other) * one.pixel_size * side < TOGETHER)


def _with_cross_terms(field: Field, reading: Reading, across: bool) -> Reading:
    """The reading with the cross-terms of both layers, from this or the other side of focus."""
    fit, model = reading.fit, replace(reading.model, cross=np.zeros(0, dtype=complex))
    if across:
        start = replace(fit.placement, microscope=other_side(model, fit.placement.microscope))
        fit = fit_joint(model, field, start, reading.tie, free_microscope=True)
    full = model
    for _ in range(CROSS_TERMS):
        full = model.with_cross_terms(reading.fitted_lattices, fit.placement.microscope)
        fit = fit_joint(full, field, fit.placement, reading.tie, free_microscope=True)
    return replace(reading, model=full, fit=fit)


def turned_about(
    data: NDArray[np.float32],
    spectrum: Spectrum,
    layers: tuple[Monolayer, Monolayer],
    lattice: Lattice,
    optics: Optics,
) -> Twisted | None:
    """Two layers turned against each other by so little that they were found as one lattice; a quick look.

    Args:
        lattice: that was found. optics: the microscope, its semiangle known.
    """
    whole = Field.of(data, measure_noise(data, spectrum, lattice.pixel_size), lattice.pixel_size)
    side = min(PATCHES[0], min(data.shape) * lattice.pixel_size)
    field = whole.cut((0.0, 0.0), side / lattice.pixel_size)
    pairs = [(_turned(lattice, -angle / 2), _turned(lattice, angle / 2)) for angle in _angles(side) if angle]
    rough = _rough_fits(field, layers, optics, pairs)
    if not rough:
        return None
    best = _final(field, layers, rough[0], optics)
    return Twisted(layers, best, (), 0.0, field, whole)


def _settings(
    field: Field, layers: tuple[Monolayer, Monolayer], lattices: tuple[Lattice, Lattice], optics: Optics
) -> list[tuple[Lattice, Lattice]]:
    """Pairs of settings with like peaks: of each layer those that explain most of the field by themselves.

    Of the ways to say the same of the second layer, the one with the smallest twist is taken.
    """
    kept = []
    for layer, lattice in zip(layers, lattices, strict=True):
        found = settings_like(lattice, layer)
        if len(found) > SETTINGS:
            models = [WaveModel.build((layer,), (one,), (0,), optics, ROUGH) for one in found]
            shares = [
                explained_alone(model, field, model.prior.mean, one.reciprocal[None])
                for model, one in zip(models, found, strict=True)
            ]
            found = [found[i] for i in np.argsort(shares)[::-1][:SETTINGS]]
        kept.append(found)
    return [(one, nearest_way(other, one, layers[1])) for one, other in itertools.product(*kept)]


def nearest_way(lattice: Lattice, first: Lattice, layer: Monolayer) -> Lattice:
    """The same layer in the same place, its crystal axes turned by a symmetry of it to be nearest to another's."""
    ways = [
        Lattice(lattice.cell @ (lattice.image_from_crystal @ operation.matrix).T, lattice.cell)
        for operation in layer_operations(layer)
    ]

    def off(way: Lattice) -> tuple[bool, float]:
        turn = first.orthogonal.T @ way.orthogonal
        return way.mirrored != first.mirrored, round(abs(float(np.arctan2(turn[1, 0], turn[0, 0]))), 6)

    return min(ways, key=off)


def _rough_fits(
    field: Field,
    layers: tuple[Monolayer, Monolayer],
    optics: Optics,
    pairs: list[tuple[Lattice, Lattice]],
) -> list[Reading]:
    """Fits of positions and lattices, the best first, from the pairs of lattices that explain most where they lie."""

    def start(lattices: tuple[Lattice, Lattice]) -> tuple[float, list[Reading]]:
        model = WaveModel.build(layers, lattices, (0, 1), optics, ROUGH)
        reciprocals = np.array([lattice.reciprocal for lattice in lattices])
        located = locate(model, field, model.prior.mean, reciprocals, 2)
        places = [Placement(model.prior.mean, one.scale, one.positions, reciprocals) for one in located]
        tie = Tie.of(lattices, STRAIN if layers[0] == layers[1] else MISMATCH)
        return located[0].explained, [Reading(lattices, model, tie, unfitted(place)) for place in places]

    def fit(reading: Reading) -> Reading:
        place = reading.fit.placement
        found = fit_joint(reading.model, field, place, reading.tie, free_microscope=False, iterations=10, tolerance=2.0)
        return replace(reading, fit=found)

    starts = sorted(side_by_side(start, pairs), key=lambda scored: -scored[0])[:ROUGH_FITS]
    fits = side_by_side(fit, [reading for _, readings in starts for reading in readings])
    return sorted((r for r in fits if r.fit.placement.scale > 0), key=lambda r: r.fit.cost)


def _singles(
    spectrum: Spectrum, layers: tuple[Monolayer, Monolayer], pixel_size: float | None
) -> list[tuple[Lattice, Lattice]]:
    """Lattices of both layers under the distortion that a single lattice, of one or the other, was found with."""
    found: list[tuple[Lattice, Lattice]] = []
    for index in (0, 1) if layers[0] != layers[1] else (0,):
        for candidate, _ in find_lattices(spectrum, layers[index], pixel_size, SINGLES):
            seen = refine_lattice(spectrum, candidate)
            both = [Lattice(layer.cell @ seen.image_from_crystal.T, layer.cell) for layer in layers]
            if not any(same_points(both[0], other) for other, _ in found):
                found.append((both[0], both[1]))
    return found


def _angles(side: float) -> FloatArray:
    """Angles at which the first peaks of two layers merge in a field of a side in Å, rad."""
    reach, step = MERGED / (side * FIRST), SCAN / (side * TYPICAL)
    count = int(np.ceil(reach / step))
    return np.asarray(np.arange(-count, count + 1) * step, dtype=np.float64)


def _turned(lattice: Lattice, angle: float) -> Lattice:
    """A crystal turned by an angle in its own frame, under the same distortion of the image."""
    return Lattice(lattice.cell @ rotation_matrix(angle).T @ lattice.image_from_crystal.T, lattice.cell)


def _refit(field: Field, layers: tuple[Monolayer, Monolayer], reading: Reading, optics: tuple[Optics, ...]) -> Reading:
    """The reading with its microscope, the one of those given that fits best."""
    known = [replace(o, semiangle_sigma=0.0) for o in optics]
    tried = side_by_side(lambda o: _final(field, layers, reading, o), known)
    likeliest = int(np.argmin([r.fit.cost for r in tried]))
    if optics[likeliest] == known[likeliest]:
        return tried[likeliest]
    return _final(field, layers, tried[likeliest], optics[likeliest])


def _final(
    field: Field, layers: tuple[Monolayer, Monolayer], reading: Reading, optics: Optics, upside_down: bool = False
) -> Reading:
    """The reading fitted with all reflections and the microscope, from both sides of focus."""
    lattices = reading.fitted_lattices
    model = WaveModel.build(layers, lattices, (0, 1), optics, BAND, upside_down)
    starts = [model.prior.mean.copy() for _ in DEFOCUS_STARTS]
    for microscope, shift in zip(starts, DEFOCUS_STARTS, strict=True):
        microscope[0] += shift
    mine = reading.fit.placement.microscope
    if len(mine) == len(starts[0]) and not np.array_equal(mine, reading.model.prior.mean):
        starts += [mine, other_side(model, mine)]
    return Reading(lattices, model, reading.tie, _from_starts(model, field, reading, starts))


def _from_starts(model: WaveModel, field: Field, reading: Reading, microscopes: list[FloatArray]) -> JointFit:
    """The best fit from where a reading stands, with one of some microscopes."""
    fits = [
        fit_joint(
            model,
            field,
            replace(reading.fit.placement, microscope=m),
            reading.tie,
            free_microscope=True,
            tolerance=TRIAL,
        )
        for m in microscopes
    ]
    best = min(fits, key=lambda fit: fit.cost)
    return fit_joint(model, field, best.placement, reading.tie, free_microscope=True)


def _distinct(readings: list[Reading], best: Reading, layers: tuple[Monolayer, Monolayer]) -> list[Reading]:
    """The best readings of other twists, or of other hands of the layers, than those before them."""
    kept: list[Reading] = []
    for reading in sorted(readings, key=lambda r: r.fit.cost):
        if not any(same_twist(reading, other, layers) for other in (best, *kept)):
            kept.append(reading)
    return kept[: FINAL_FITS - 1]


def same_twist(one: Reading, other: Reading, layers: tuple[Monolayer, Monolayer]) -> bool:
    """Whether two readings mean the same twist, up to what projection cannot tell."""
    flipped = [r.lattices[0].mirrored != r.lattices[1].mirrored for r in (one, other)]
    upper = layers[1].flipped() if flipped[0] else layers[1]
    return flipped[0] == flipped[1] and bool(twist_distance(one.twist, other.twist, layers[0], upper) < SAME_TWIST)


def aligned_cost(twisted: Twisted, stack: tuple[Monolayer, ...], lattice: Lattice, positions: FloatArray) -> float:
    """Chi² over the twisted reading of some layers on one lattice, in the same field.

    Args:
        stack: their structures. lattice: in the image. positions: fractions, about the image centre, shape (layers, 2).
    """
    best, field = twisted.best, twisted.field
    model = WaveModel.build(stack, (lattice,), (0,) * len(stack), best.model.parts[0].optics, BAND)
    fits = []
    for shift in DEFOCUS_STARTS:
        microscope = model.prior.mean.copy()
        microscope[0] += shift
        start = Placement(microscope, 1.0, positions, lattice.reciprocal[None])
        image = predict(model, field, start) * field.weight
        scale = float(np.sum(image * field.values * field.weight) / np.sum(image**2))
        start = replace(start, scale=scale)
        fits.append(fit_joint(model, field, start, Tie.of((lattice,), STRAIN), free_microscope=True))
    return (min(fit.cost for fit in fits) - best.fit.cost) / best.fit.chi2_reduced


def with_third_layer(twisted: Twisted, layer: Monolayer) -> Twisted:
    """The best reading with one more layer: on the lattice of one of the two, or turned on its own."""
    field = twisted.field
    starts = [*_thirds_on_a_lattice(twisted), *_thirds_turned(twisted, layer)]

    def fitted(start: Reading) -> Reading:
        mean = start.model.prior.mean
        microscopes = [mean + np.eye(len(mean))[0] * shift for shift in DEFOCUS_STARTS]
        return replace(start, fit=_from_starts(start.model, field, start, microscopes))

    rough = side_by_side(lambda r: replace(r, fit=_hold_microscope(field, r)), starts)
    rough.sort(key=lambda r: r.fit.cost)
    best = min(side_by_side(fitted, rough[:FINAL_FITS]), key=lambda r: r.fit.cost)
    layers = tuple(part.layers[0] for part in best.model.parts)
    return Twisted(layers, best, (), 0.0, field, twisted.whole)


def _hold_microscope(field: Field, reading: Reading) -> JointFit:
    return fit_joint(
        reading.model, field, reading.fit.placement, reading.tie, free_microscope=False, iterations=10, tolerance=2.0
    )


def _thirds_on_a_lattice(twisted: Twisted) -> list[Reading]:
    """Two layers on the lattice of one, in each of its settings, where they explain most of what the other leaves."""
    best, field, found = twisted.best, twisted.field, []
    optics, place = best.model.parts[0].optics, best.fit.placement
    for twice in (0, 1):
        once = 1 - twice
        left = replace(field, values=field.values - predict(best.model, field, place, only=once))
        layers = (twisted.layers[twice], twisted.layers[twice], twisted.layers[once])
        for lattice in settings_like(best.fitted_lattices[twice], twisted.layers[twice]):
            pair = WaveModel.build(layers[:2], (lattice, lattice), (0, 1), optics, ROUGH)
            both = np.array([lattice.reciprocal, lattice.reciprocal])
            lattices = (lattice, nearest_way(best.fitted_lattices[once], lattice, twisted.layers[once]))
            model = WaveModel.build(layers, lattices, (0, 0, 1), optics, BAND)
            reciprocals = np.array([one.reciprocal for one in lattices])
            # the same place in the lattice's points, in the axes that were chosen
            kept = lattices[1].reciprocal @ (best.fitted_lattices[once].rows.T @ place.positions[once])
            for one in locate(pair, left, pair.prior.mean, both, THIRDS):
                start = Placement(model.prior.mean, one.scale, np.vstack([one.positions, kept]), reciprocals)
                found.append(Reading(lattices, model, Tie.of(lattices, best.tie.strain), unfitted(start)))
    return found


def _thirds_turned(twisted: Twisted, layer: Monolayer) -> list[Reading]:
    """A third layer on a lattice of its own, where that explains most of what the two leave."""
    best, field, found = twisted.best, twisted.field, []
    optics, place, lattices = best.model.parts[0].optics, best.fit.placement, best.fitted_lattices
    left = replace(field, values=field.values - predict(best.model, field, place))
    element = 1 / (np.ptp(field.x) * lattices[0].pixel_size)
    turned = [_turned(lattices[0], angle) for angle in np.arange(0, np.pi, SCAN * element / TYPICAL)]
    apart = [one for one in turned if all(_apart(one, other) > element for other in lattices)]
    for own in _most_explained(left, layer, apart, optics, THIRDS):
        some = (*lattices, nearest_way(own, lattices[0], layer))
        model = WaveModel.build((*twisted.layers, layer), some, (0, 1, 2), optics, BAND)
        alone = _alone(layer, some[2], optics)
        there = locate_alone(alone, left, alone.prior.mean, some[2].reciprocal[None])
        reciprocals = np.array([one.reciprocal for one in some])
        start = Placement(model.prior.mean, place.scale, np.vstack([place.positions, there]), reciprocals)
        found.append(Reading(some, model, Tie.of(some, best.tie.strain), unfitted(start)))
    return found


def _apart(one: Lattice, other: Lattice) -> float:
    """Distance of the first reflections of two lattices, 1/Å."""
    points = one.reciprocal @ np.linalg.inv(other.reciprocal)
    off = np.linalg.norm((points - np.rint(points)) @ other.reciprocal, axis=1).min()
    return float(off / one.pixel_size)


def _alone(layer: Monolayer, lattice: Lattice, optics: Optics) -> WaveModel:
    return WaveModel.build((layer,), (lattice,), (0,), optics, ROUGH)


def _most_explained(
    left: Field, layer: Monolayer, lattices: list[Lattice], optics: Optics, count: int
) -> list[Lattice]:
    """The lattices on which one layer explains most of a field."""

    def share(lattice: Lattice) -> float:
        model = _alone(layer, lattice, optics)
        return explained_alone(model, left, model.prior.mean, lattice.reciprocal[None])

    shares = side_by_side(share, lattices)
    return [lattices[i] for i in np.argsort(shares)[::-1][:count]]
