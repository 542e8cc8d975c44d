"""How charge lies around the sites of a surface: dipole and quadrupole of each, with errors, from one scan.

All sites of a lattice are fitted at once. With u = (r - r_j) / w from site j, x right, y up, U = u_x + i u_y,

    z(r) = b_row + s x + sum_j exp(-|u|²/2) (p(u) + a_j + Re(conj(d_j) U) + Re(conj(q_j) U²))

| symbol | meaning |
|---|---|
| b_row, s | offset of each row, slope along rows |
| p | polynomial of order ORDER that all sites share: lattice, and whatever the tip makes of a site |
| a_j, d_j, q_j | what site j has of its own, Gaussian about zero with variances that the image tells (EM) |

A site's asymmetry is c_1 = d_j / a and c_2 = q_j / a, a the height of p at the site and a_j. Dipoles that change
linearly over the image are the drift's, as a dipole is a displacement, and are taken off.

Noise is taken as autoregressive along rows and independent between them, with Huber's weights against streaks. What is
told of a site is its posterior mean and standard deviation: where the image says little, the mean is near zero. A blunt
tip makes c_m smaller by (w_site / w)^m, alike at all sites. Mixed models: Robinson, Statist. Sci. 6, 15 (1991).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, ndimage, sparse

from picostem.atoms.scanned import SiteLattice, fit_lattice, levelled, locate_sites
from picostem.errors import ImageError

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

TERMS = 5  # of a site: a, d and q
ORDER = 4
REACH = 4.5  # widths, where a site ends
WIDTH, WIDEST = 0.27, 0.4  # of the spacing, width of sites: where it is looked for from, and the most
UNSURE = 0.3  # standard deviation of its logarithm
STEP = 0.01  # of a width, for its derivative
BEYOND = 0.6  # of the spacing: sites that far beyond the border have something of their own, too
BORDER = 0.6  # of the spacing: sites that near to it are not told
START = 0.2  # of the sites' height: standard deviation of what is their own, to begin with
MEMORY = 4  # pixels that noise along a row remembers
OUTLIER = 2.5  # standard deviations beyond which a pixel counts less
ROUNDS = 4  # of noise, weights and variances
WHITENED = 2  # of these, after which the noise along rows is known
MOST = 1500  # sites: 10 s


@dataclass(frozen=True, eq=False)
class Charges:
    """Sites of a surface and how asymmetric each is; arrays of shape (n,).

    Attributes:
        place: on the lattice, row and column, pixels, shape (n, 2). width: of all sites, pixels.
        height, height_sigma: units of the image.
        dipole, quadrupole: c_1 and c_2, x right, y up. dipole_sigma, quadrupole_sigma: standard error of the real part
            and of the imaginary part.
    """

    place: FloatArray
    width: float
    height: FloatArray
    height_sigma: FloatArray
    dipole: ComplexArray
    dipole_sigma: FloatArray
    quadrupole: ComplexArray
    quadrupole_sigma: FloatArray


def read_charges(heights: NDArray[np.floating], spacing: float) -> Charges:
    """Asymmetry of all sites of a surface with one site in its cell.

    Args:
        heights: as scanned, rows along the fast axis, shape (rows, columns). spacing: between sites, pixels, roughly.

    Raises:
        ImageError: pixels that are not finite, no lattice, or too few or many sites. UsageError: a spacing that does
            not fit the image.
    """
    shape = (heights.shape[0], heights.shape[1])
    return fit_charges(heights, fit_lattice(locate_sites(heights, spacing), shape, spacing))


def fit_charges(heights: NDArray[np.floating], lattice: SiteLattice) -> Charges:
    """Asymmetry of the sites of a known lattice.

    Args:
        heights: shape (rows, columns).

    Raises:
        ImageError: fewer than four sites away from the border, or more than MOST in all.
    """
    spacing = lattice.spacing
    place, every = lattice.places(BEYOND * spacing), lattice.places(REACH * WIDEST * spacing)
    inside = _inside(place, lattice.shape, BORDER * spacing)
    if inside.sum() < 4 or len(place) > MOST:
        raise ImageError(
            f"{inside.sum()} sites away from the border, {len(place)} in all: expected 4 at least and {MOST} at most; "
            "take a larger part of the image, or parts of it"
        )
    data = heights.astype(np.float64)
    own, covariance, width = _solve(data, place, every, spacing)
    height = _common_height(data, every, width)
    place, own, covariance = place[inside], own[inside], covariance[inside]
    sigma = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    heights = height + own[:, 0]
    dipole, quadrupole = ((own[:, k] + 1j * own[:, k + 1]) / heights for k in (1, 3))
    return Charges(
        place=place,
        width=width,
        height=heights,
        height_sigma=sigma[:, 0],
        dipole=_without_trend(dipole.astype(np.complex128), place),
        dipole_sigma=np.sqrt((sigma[:, 1] ** 2 + sigma[:, 2] ** 2) / 2) / heights,
        quadrupole=quadrupole - quadrupole.mean(),
        quadrupole_sigma=np.sqrt((sigma[:, 3] ** 2 + sigma[:, 4] ** 2) / 2) / heights,
    )


def moments(heights: NDArray[np.floating], lattice: SiteLattice) -> tuple[FloatArray, ComplexArray, ComplexArray]:
    """Asymmetry as shape descriptors have it: first and second moments of the heights in a circle round each site.

    Returns:
        places, row and column, pixels, shape (n, 2); dipole less its trend and quadrupole less its mean, in units of
        the circle's radius (half of the spacing) and its square, shape (n,).
    """
    flat, radius = levelled(heights, lattice.spacing), lattice.spacing / 2
    place = lattice.places()
    place = place[_inside(place, lattice.shape, BORDER * lattice.spacing)]
    across = np.arange(-int(radius), int(radius) + 1)
    x, y = (part[np.hypot(*np.meshgrid(across, across)) <= radius] for part in np.meshgrid(across, across))
    disc = ndimage.map_coordinates(flat, [place[:, :1] - y, place[:, 1:] + x], order=3)
    weight = disc - np.quantile(disc, 0.1)
    weight /= weight.sum(axis=1, keepdims=True)
    turned = (x + 1j * y) / radius
    quadrupole = weight @ turned**2
    return (
        place,
        _without_trend(np.asarray(weight @ turned, dtype=np.complex128), place),
        quadrupole - quadrupole.mean(),
    )


def _inside(place: FloatArray, shape: tuple[int, int], margin: float) -> NDArray[np.bool_]:
    return np.asarray(np.all((place >= margin) & (place <= np.array(shape) - 1 - margin), axis=1))


def _without_trend(values: ComplexArray, place: FloatArray) -> ComplexArray:
    """Less the plane through values at places."""
    design = np.column_stack([place, np.ones(len(place))]).astype(np.complex128)
    return np.asarray(values - design @ np.linalg.lstsq(design, values, rcond=None)[0])


def _common_height(heights: FloatArray, place: FloatArray, width: float) -> float:
    """Height with which Gaussians, all alike, fit the differences along rows best: these know no offsets of rows."""
    shape = (heights.shape[0], heights.shape[1])
    data = np.diff(heights, axis=1).ravel()
    design = np.diff(_alike(place, shape, width, 2)[:, _own(1)].reshape(*shape, TERMS), axis=1).reshape(-1, TERMS)
    usual = np.ones(len(data), dtype=bool)
    for _ in range(2):
        solution = np.linalg.lstsq(design[usual], data[usual], rcond=None)[0]
        residual = np.abs(data - design @ solution)
        usual = residual < OUTLIER * float(np.median(residual)) / 0.6745
    return float(solution[0])


def _background(shape: tuple[int, int]) -> sparse.csr_array:
    """What an offset of each row and a slope along rows add to each pixel, shape (pixels, rows + 1)."""
    slope = np.tile(np.linspace(-1, 1, shape[1]), shape[0])[:, None]
    rows = sparse.kron(sparse.eye_array(shape[0]), np.ones((shape[1], 1)))
    return sparse.csr_array(sparse.hstack([rows, sparse.csr_array(slope)]))


def _alike(place: FloatArray, shape: tuple[int, int], width: float, order: int) -> FloatArray:
    """What the coefficients of a polynomial that all sites share add to each pixel, shape (pixels, terms)."""
    return np.asarray(_sites(place, np.zeros(len(place), dtype=np.int64), shape, width, order).toarray())


def _sites(
    place: FloatArray, owner: NDArray[np.int64], shape: tuple[int, int], width: float, order: int
) -> sparse.csr_array:
    """What each site's polynomial adds to each pixel, shape (pixels, terms k); terms are 1, Re U, Im U, |U|², ...

    Args:
        owner: whose coefficients, below k, a site has, shape (n,).
    """
    reach = int(np.ceil(REACH * width))
    at = np.rint(place).astype(int)[:, None] + np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1).T
    u = (at - place[:, None]) / width
    near = np.all((at >= 0) & (at < np.array(shape)), axis=2) & (np.hypot(u[..., 0], u[..., 1]) <= REACH)
    site = np.nonzero(near)[0]
    at, u = at[near], u[near]
    terms = _polynomials(u[:, 1] - 1j * u[:, 0], order) * np.exp(-(u**2).sum(axis=1, keepdims=True) / 2)
    count = terms.shape[1]
    pixel = np.repeat(at[:, 0] * shape[1] + at[:, 1], count)
    column = (count * owner[site][:, None] + np.arange(count)).ravel()
    size = (int(np.prod(shape)), count * (int(owner.max()) + 1))
    return sparse.csr_array(sparse.coo_array((terms.ravel(), (pixel, column)), shape=size))


def _polynomials(turned: ComplexArray, order: int) -> FloatArray:
    """|U|^k Re U^m and |U|^k Im U^m of all even k with k + m <= order, by order, shape (n, terms)."""
    terms = []
    for total in range(order + 1):
        for m in range(total % 2, total + 1, 2):
            term = np.abs(turned) ** (total - m) * turned**m
            terms += [term.real, term.imag] if m else [term.real]
    return np.column_stack(terms)


def _own(count: int) -> NDArray[np.int64]:
    """Columns of second-order polynomials of count sites without |U|², that is, widths."""
    return np.asarray((6 * np.arange(count)[:, None] + [0, 1, 2, 4, 5]).ravel())


def _solve(
    heights: FloatArray, place: FloatArray, every: FloatArray, spacing: float
) -> tuple[FloatArray, FloatArray, float]:
    """What each site has of its own, shape (n, TERMS), its covariance, shape (n, TERMS, TERMS), and the width, pixels.

    The width is that of what sites have of their own; of what they share, a lattice shows little but first orders.
    """
    shape, data, width = (heights.shape[0], heights.shape[1]), heights.ravel(), WIDTH * spacing
    block = np.arange(TERMS * len(place)).reshape(-1, TERMS)
    rest = sparse.hstack([sparse.csr_array(_alike(every, shape, width, ORDER)), _background(shape)])
    own, prior = np.zeros((len(place), TERMS)), np.full(TERMS, (START * _common_height(heights, every, width)) ** 2)
    white = sparse.csr_array(sparse.eye_array(data.size))
    spread, weight = float(np.std(np.diff(heights, axis=1))) / np.sqrt(2), np.ones(data.size)
    for turn in range(ROUNDS):
        sites, wider = (_single(place, shape, width * by) for by in (1, 1 + STEP))
        growth = sparse.csr_array(((wider - sites) @ own.ravel() / STEP)[:, None])
        design = sparse.csr_array(sparse.hstack([sites, growth, rest]))
        precision = np.zeros(design.shape[1])
        precision[: block.size], precision[block.size] = 1 / np.tile(prior, len(place)), 1 / UNSURE**2
        seen = sparse.csr_array(white @ design)
        weighted = seen.T * (weight / spread**2)
        inverse = _inverse((weighted @ seen).toarray() + np.diag(precision))
        solution = inverse @ (weighted @ (white @ data))
        own, covariance = solution[block], inverse[block[:, :, None], block[:, None]]
        second = np.mean(own**2 + np.diagonal(covariance, axis1=1, axis2=2), axis=0)
        prior = np.array([second[0], *[second[1:3].mean()] * 2, *[second[3:].mean()] * 2])
        residual = data - design @ solution
        if turn < WHITENED:
            white = _whitening(residual.reshape(shape))
        residual = white @ residual
        spread = float(np.median(np.abs(residual))) / 0.6745
        weight = np.minimum(1, OUTLIER * spread / np.maximum(np.abs(residual), 1e-30))
        if turn < ROUNDS - 1:
            width *= float(np.exp(np.clip(solution[block.size], -UNSURE, UNSURE)))
    return own, covariance, width


def _single(place: FloatArray, shape: tuple[int, int], width: float) -> sparse.csr_array:
    return _sites(place, np.arange(len(place)), shape, width, 2)[:, _own(len(place))]


def _inverse(positive: FloatArray) -> FloatArray:
    """Of a positive definite matrix."""
    upper = linalg.lapack.dpotri(linalg.lapack.dpotrf(positive)[0])[0]
    return np.asarray(np.triu(upper) + np.triu(upper, 1).T)


def _whitening(residual: FloatArray) -> sparse.csr_array:
    """Matrix that makes noise along rows white, the first pixels of each row left out: Yule and Walker's equations."""
    rows, columns = residual.shape
    off = residual - residual.mean(axis=1, keepdims=True)
    covariance = [float(np.mean(off[:, : columns - k] * off[:, k:])) for k in range(MEMORY + 1)]
    memory = linalg.solve_toeplitz(covariance[:-1], covariance[1:])
    one = sparse.diags_array([1.0, *-memory], offsets=[0, *range(-1, -MEMORY - 1, -1)], shape=(columns, columns))
    return sparse.csr_array(sparse.kron(sparse.eye_array(rows), sparse.csr_array(one)[MEMORY:]))
