"""Least-squares fit of the waves of several lattices to a field in real space: positions, lattices and the microscope.

The residual at every sample is what is fitted, so that lattices whose reciprocal vectors merge within the field are no
special case. Levenberg-Marquardt with analytic derivatives; the images that it needs are sums of plane waves, made as
products of two small matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from picostem.resolve.field import Field
from picostem.resolve.lattice import Lattice
from picostem.resolve.waves import WaveModel

FloatArray = NDArray[np.float64]
FloatImage = NDArray[np.float32]
ComplexArray = NDArray[np.complex128]

FARTHEST = 0.3  # of a reciprocal vector, that a fit may change a lattice by
BACKGROUND = 6  # columns: 1, x, y, x², xy, y²


@dataclass(frozen=True)
class Placement:
    """Parameters of a fit.

    Attributes:
        microscope: in the order of the model's prior, shape (p,). scale: of all waves.
        positions: of the layers, fractions of their cells, shape (layers, 2).
        reciprocals: rows a*, b* of each lattice, cycles per pixel, shape (lattices, 2, 2).
    """

    microscope: FloatArray
    scale: float
    positions: FloatArray
    reciprocals: FloatArray


@dataclass(frozen=True)
class Tie:
    """What is known beforehand of how lattices lie: how far they may be from a reference and from each other.

    Attributes:
        inverses: of the crystals' reciprocal lattices, Å, shape (lattices, 2, 2), all in frames of one hand.
        strain: standard deviation of the strain of the further crystals relative to the first.
        reference: reciprocal lattices near which they lie, or None.
        common, rotation: standard deviations of the first lattice's deformation and of the further crystals' rotation
            (rad) from the reference.
    """

    inverses: FloatArray
    strain: float
    reference: FloatArray | None = None
    common: float = 0.01
    rotation: float = 0.03

    @classmethod
    def of(cls, lattices: Sequence[Lattice], strain: float) -> Tie:
        """For lattices in one image; a mirrored one counts as turned over."""
        hands = [np.diag([1.0, -1.0 if lattice.mirrored != lattices[0].mirrored else 1.0]) for lattice in lattices]
        inverses = [hand @ np.linalg.inv(item.crystal_reciprocal) for hand, item in zip(hands, lattices, strict=True)]
        return cls(np.array(inverses), strain)

    def relative(self, reciprocals: FloatArray) -> FloatArray:
        """Deformation of each further crystal relative to the first one, shape (lattices - 1, 2, 2)."""
        maps = self.inverses @ reciprocals
        return np.asarray(maps[0] @ np.linalg.inv(maps[1:]))

    def strains(self, reciprocals: FloatArray) -> FloatArray:
        """Its symmetric part, first crystal's frame, shape (lattices - 1, 2, 2)."""
        relative = self.relative(reciprocals)
        return np.asarray((relative @ np.swapaxes(relative, 1, 2) - np.eye(2)) / 2)

    def twists(self, reciprocals: FloatArray) -> FloatArray:
        """Rotation of each further crystal relative to the first, rad, shape (lattices - 1,)."""
        relative = self.relative(reciprocals)
        return np.asarray(np.arctan2(relative[:, 1, 0] - relative[:, 0, 1], relative[:, 0, 0] + relative[:, 1, 1]))

    def misfit(self, reciprocals: FloatArray) -> FloatArray:
        """What the lattices are off, in standard deviations, shape (n,)."""
        strains = self.strains(reciprocals) / self.strain
        parts = [strains[:, 0, 0], strains[:, 1, 1], np.sqrt(2) * strains[:, 0, 1]]
        if self.reference is not None:
            off = self.twists(reciprocals) - self.twists(self.reference)
            parts.append((np.remainder(off + np.pi, 2 * np.pi) - np.pi) / self.rotation)
            change = np.linalg.inv(self.reference[0]) @ reciprocals[0] - np.eye(2)
            parts.append(change.ravel() / self.common)
        return np.concatenate(parts)

    def slope(self, reciprocals: FloatArray, of: Callable[[FloatArray], FloatArray]) -> FloatArray:
        """Derivatives of a function by the reciprocals' elements, shape (values, 4 lattices)."""
        step = 1e-6 * float(np.abs(reciprocals).max())
        columns = []
        for index in np.ndindex(reciprocals.shape):
            change = np.zeros_like(reciprocals)
            change[index] = step
            columns.append((of(reciprocals + change) - of(reciprocals - change)) / (2 * step))
        return np.stack(columns, axis=-1)


@dataclass(frozen=True)
class JointFit:
    """A fit, its misfit, and the covariance of what was free.

    Attributes:
        placement: the parameters. chi2: sum over the samples. samples: how many of them are independent.
        prior_misfit: of microscope and strain.
        covariance: of [scale, positions, reciprocals, microscope if free], Fisher information alone.
        background: coefficients of its columns.
    """

    placement: Placement
    chi2: float
    samples: float
    prior_misfit: float
    covariance: FloatArray
    background: FloatArray

    @property
    def cost(self) -> float:
        """Total squared misfit, the prior's included."""
        return self.chi2 + self.prior_misfit

    @property
    def chi2_reduced(self) -> float:
        """Misfit per degree of freedom: what the noise is in units of what was expected of it."""
        return self.chi2 / max(self.samples - len(self.covariance) - BACKGROUND, 1.0)

    @property
    def lattice_covariance(self) -> FloatArray:
        """Of the elements of the reciprocals, with the noise that was found, shape (4 lattices, 4 lattices)."""
        first = 1 + self.placement.positions.size
        inside = slice(first, first + self.placement.reciprocals.size)
        return self.covariance[inside, inside] * self.chi2_reduced

    @property
    def position_covariance(self) -> FloatArray:
        """Of the positions, with the noise that was found, shape (2 layers, 2 layers)."""
        inside = slice(1, 1 + self.placement.positions.size)
        return self.covariance[inside, inside] * self.chi2_reduced


def unfitted(placement: Placement) -> JointFit:
    """What stands for a fit where there is only a start."""
    return JointFit(placement, np.inf, 0.0, 0.0, np.zeros((0, 0)), np.zeros(0))


def fit_joint(
    model: WaveModel,
    field: Field,
    start: Placement,
    tie: Tie,
    *,
    free_microscope: bool,
    iterations: int = 30,
    tolerance: float = 0.05,
) -> JointFit:
    """Fit positions, lattices and scale, and the microscope if it is free, to a field.

    Args:
        tie: prior of the lattices' relative strain.
        tolerance: stop when an iteration lowers the misfit by less than this many units of chi².
    """
    amplitudes = model.amplitudes(start.microscope)
    background = _background(field)
    placement, damping = start, 1e-3
    normal = _normal(model, field, placement, amplitudes, background, free_microscope)
    pull, curvature, prior = _prior(model, placement, tie, free_microscope)
    for _ in range(iterations):
        matrix = normal.matrix + curvature
        step = _solve(matrix + damping * np.diag(np.diag(matrix)), normal.rhs + pull)
        trial_placement = _moved(placement, step, free_microscope)
        if not _near(trial_placement, start):
            damping *= 8.0
            if damping > 1e7:
                break
            continue
        # a step that leads nowhere may overflow; its misfit is then no number, and it is not taken
        with np.errstate(over="ignore", invalid="ignore"):
            changed = model.amplitudes(trial_placement.microscope) if free_microscope else amplitudes
            trial = _normal(model, field, trial_placement, changed, background, free_microscope)
        trial_prior = _prior(model, trial_placement, tie, free_microscope)
        gain = normal.chi2 + prior - trial.chi2 - trial_prior[2]
        damping *= 0.15 if gain > 0 else 8.0
        if gain > 0:
            placement, normal, amplitudes = trial_placement, trial, changed
            pull, curvature, prior = trial_prior
        if 0 <= gain < tolerance or damping > 1e7:
            break
    covariance = _inverse(normal.matrix + curvature)
    return JointFit(placement, normal.chi2, field.values.size * field.independent, prior, covariance, normal.background)


def _near(trial: Placement, start: Placement) -> bool:
    """Whether lattices are still those that a fit began with, and not about to collapse."""
    change = np.linalg.inv(start.reciprocals) @ trial.reciprocals - np.eye(2)
    return bool(np.abs(change).max() < FARTHEST)


def predict(model: WaveModel, field: Field, placement: Placement, only: int | None = None) -> FloatImage:
    """The model's whitened image, without the background, shape (ny, nx); of one layer alone, if `only` names it."""
    g = model.reciprocal(placement.reciprocals)
    amplitude = model.amplitudes(placement.microscope)[0] * field.response(g) * placement.scale
    if only is not None:
        own = np.delete(model.orders, only, axis=1)
        amplitude = np.where(np.any(own != 0, axis=(1, 2)), 0.0, amplitude)
    return np.asarray(draw(field.x, field.y, g, (amplitude * _phases(model, placement))[None])[0])


def draw(x: FloatArray, y: FloatArray, g: FloatArray, amplitudes: ComplexArray) -> FloatImage:
    """Sums of plane waves of frequencies g (n, 2), cycles per pixel, and their conjugates, shape (k, ny, nx).

    Args:
        x, y: of the samples, pixels, shapes (nx,) and (ny,). amplitudes: shape (k, n).
    """
    across = np.exp(2j * np.pi * np.outer(g[:, 0], x)).astype(np.complex64)
    down = np.exp(2j * np.pi * np.outer(y, g[:, 1])).astype(np.complex64)
    left = (2 * amplitudes.astype(np.complex64)[:, None] * down).reshape(-1, len(g))
    left = np.concatenate([left.real, -left.imag], axis=1)
    right = np.concatenate([across.real, across.imag])
    return np.asarray((left @ right).reshape(len(amplitudes), len(y), len(x)))


def _phases(model: WaveModel, placement: Placement) -> ComplexArray:
    return np.asarray(np.exp(-2j * np.pi * np.einsum("wla,la->w", model.orders, placement.positions)))


def _background(field: Field) -> FloatImage:
    """Weighted columns of the background, orthonormal, shape (samples, BACKGROUND)."""
    x, y = field.x / max(np.ptp(field.x), 1.0), field.y / max(np.ptp(field.y), 1.0)
    x, y = np.meshgrid(x - x.mean(), y - y.mean())
    columns = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1) * field.weight[..., None]
    return np.linalg.qr(columns.reshape(-1, BACKGROUND))[0].astype(np.float32)


@dataclass(frozen=True)
class _Normal:
    matrix: FloatArray
    rhs: FloatArray
    chi2: float
    background: FloatArray


def _normal(
    model: WaveModel,
    field: Field,
    placement: Placement,
    amplitudes: tuple[ComplexArray, ComplexArray],
    background: FloatImage,
    free: bool,
) -> _Normal:
    """Normal equations of [scale, positions, reciprocals, microscope], the background projected out."""
    g = model.reciprocal(placement.reciprocals)
    response, turn = field.response(g), _phases(model, placement)
    value, slope = (part * response * turn for part in amplitudes)
    moves = -2j * np.pi * np.moveaxis(model.orders, 0, -1).reshape(-1, len(g)) * value
    parts = [value[None], placement.scale * moves]
    if free:
        parts.append(placement.scale * slope)
    images = draw(field.x, field.y, g, np.concatenate(parts)) * field.weight
    layers, lattices = len(model.lattice_of), len(placement.reciprocals)
    moved = images[1 : 1 + 2 * layers].reshape(layers, 2, *field.values.shape)
    columns = [images[:1], images[1 : 1 + 2 * layers]]
    for lattice in range(lattices):
        together = moved[[i for i, own in enumerate(model.lattice_of) if own == lattice]].sum(axis=0)
        columns.append(np.concatenate([-image * axis for image in together for axis in _axes(field)]))
    columns.append(images[1 + 2 * layers :])
    jacobian = np.concatenate(columns).reshape(-1, field.values.size).T
    target = (field.weight * field.values).ravel() - np.float32(placement.scale) * jacobian[:, 0]
    joined = np.column_stack([jacobian, target])
    along = background.T @ joined
    joined -= background @ along
    product = (joined.T @ joined).astype(np.float64)
    chi2 = float(np.sum(joined[:, -1].astype(np.float64) ** 2))
    return _Normal(product[:-1, :-1], product[:-1, -1], chi2, along[:, -1].astype(np.float64))


def _axes(field: Field) -> tuple[FloatImage, FloatImage]:
    return field.x[None, None].astype(np.float32), field.y[None, :, None].astype(np.float32)


def _prior(model: WaveModel, placement: Placement, tie: Tie, free: bool) -> tuple[FloatArray, FloatArray, float]:
    """Right-hand side, matrix and misfit of what is known beforehand."""
    first = 1 + placement.positions.size
    inside = slice(first, first + placement.reciprocals.size)
    size = inside.stop + (len(placement.microscope) if free else 0)
    pull, curvature = np.zeros(size), np.zeros((size, size))
    off, slope = tie.misfit(placement.reciprocals), tie.slope(placement.reciprocals, tie.misfit)
    pull[inside] = -slope.T @ off
    curvature[inside, inside] = slope.T @ slope
    misfit = float(off @ off)
    if free:
        weight = 1 / model.prior.sigma**2
        deviation = model.prior.mean - placement.microscope
        pull[inside.stop :] = weight * deviation
        curvature[inside.stop :, inside.stop :] = np.diag(weight)
        misfit += float(np.sum(weight * deviation**2))
    return pull, curvature, misfit


def _inverse(matrix: FloatArray) -> FloatArray:
    """Pseudo-inverse, the unknowns brought to one scale: else what is known least would count as nothing at all."""
    scale = _scale(matrix)
    return np.asarray(np.linalg.pinv(matrix * scale * scale[:, None], hermitian=True) * scale * scale[:, None])


def _scale(matrix: FloatArray) -> FloatArray:
    return np.asarray(1 / np.sqrt(np.maximum(np.diag(matrix), 1e-30)))


def _solve(matrix: FloatArray, rhs: FloatArray) -> FloatArray:
    """Solution of the damped equations, their unknowns brought to one scale."""
    scale = _scale(matrix)
    return np.asarray(scale * np.linalg.lstsq(matrix * scale * scale[:, None], scale * rhs, rcond=1e-12)[0])


def _moved(placement: Placement, step: FloatArray, free: bool) -> Placement:
    own, rest = 1 + placement.positions.size, 1 + placement.positions.size + placement.reciprocals.size
    return replace(
        placement,
        scale=placement.scale + step[0],
        positions=placement.positions + step[1:own].reshape(placement.positions.shape),
        reciprocals=placement.reciprocals + step[own:rest].reshape(placement.reciprocals.shape),
        microscope=placement.microscope + step[rest:] if free else placement.microscope,
    )
