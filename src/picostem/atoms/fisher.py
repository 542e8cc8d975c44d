"""The Fisher information of overlapping peaks on a background, and steps towards the maximum of the likelihood.

Of a peak k, the parameters are its intensity, row, column and, if single widths are free, the logarithm of its width.
With d = (x, y) the distance from it and P the inverse of its form, the derivatives of the model are

    ∂m/∂(Q, place, swell) = g_k · (1, Q P d, Q (d·Pd - 2)),     ∂m/∂form = Q g_k (P d dᵀ P - P) / 2,

so that all of the Fisher information Σ ∂m ∂m / m is in moments of 1/m under products of two Gaussians. The common form
is fitted through the parameters (rows, across, columns) of the change form ← form + [[a, b], [b, c]].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import linalg
from scipy.spatial import cKDTree

from picostem.atoms.background import Grid
from picostem.atoms.peaks import (
    BATCH,
    Canvas,
    Peaks,
    StampArray,
    Stamps,
    gaussian,
    moments,
    moved,
    polynomials,
    product,
    stamps,
    windows,
)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

NEIGHBOURS = 5.0  # standard deviations between peaks that are fitted together: their stamps share 0.2 % beyond
ROUNDING = 1e-9  # added to the diagonal, relative
TOLERANCE = 1e-2  # of a step
ORDER = {3: 2, 4: 4}  # of the moments that the information on so many parameters takes
STIFF = 1e6  # times its information, for a knot whose change is given
MOST_STEPS = 60  # of the conjugate gradients


@dataclass(frozen=True, eq=False)
class Fisher:
    """Information on all peaks and the background, and the score: the gradient of the logarithm of the likelihood.

    Attributes:
        diagonal: of each peak with itself, shape (n, p, p). pairs: neighbours, both ways, sorted, shape (e, 2).
        blocks: of these pairs, shape (e, p, p). border: of each peak with the background's knots that it touches, shape
            (n, p, k). knots: their numbers, shape (n, k).
        level: of the background's knots with each other, (knots, knots).
        spread: of each peak with the common form, shape (n, p, 3). level_spread: of the knots with it, (knots, 3).
            form: of the form with itself, shape (3, 3). Where the form is held, 0 for 3.
    """

    diagonal: FloatArray
    pairs: IntArray
    blocks: FloatArray
    border: FloatArray
    knots: IntArray
    level: sparse.csr_array
    spread: FloatArray
    level_spread: FloatArray
    form: FloatArray


@dataclass(frozen=True, eq=False)
class Step:
    """Changes of each peak's parameters, shape (n, p), of the background's knots, and of the common form, (3,) or (0,).

    gain: twice what the likelihood's logarithm should grow by.
    """

    peaks: FloatArray
    level: FloatArray
    form: FloatArray
    gain: float


def scores(peaks: Peaks, misfit: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Gradient of the log likelihood by each peak's parameters, shape (n, 4), and by the form, shape (3,).

    misfit: (y - m) / m.
    """
    seen = windows(misfit, peaks)
    out, form = np.empty((len(peaks), 4)), np.zeros(3)
    for some in stamps(peaks):
        m = moments(seen[some.first[:, 0], some.first[:, 1]] * some.values, some.off, 2)
        out[some.members] = _derivatives(_mixing(peaks, some.members), _basis(peaks, some.members, m, 4))
        form += _by_form(peaks, some.members, m).sum(axis=0)
    return out, form


def _derivatives(mixing: FloatArray, basis: FloatArray) -> FloatArray:
    """Sums with the derivatives by peaks' parameters from those with the basis, shape (n, p)."""
    return np.asarray((mixing @ basis[:, :, None])[..., 0])


def _basis(peaks: Peaks, members: slice, m: FloatArray, free: int) -> FloatArray:
    """Sums with the basis (1, x, y, d·Pd - 2) from moments, shape (n, ..., free)."""
    basis = [m[0, 0], m[1, 0], m[0, 1]]
    if free == 4:
        (rr, rc), (_, cc) = peaks.precision
        round_ = rr * m[2, 0] + 2 * rc * m[1, 1] + cc * m[0, 2]
        basis.append(round_ * np.exp(-2 * peaks.swell[members]) - 2 * m[0, 0])
    return np.stack(basis).T


def _mixing(peaks: Peaks, members: slice | IntArray) -> FloatArray:
    """From (1, x, y, d·Pd - 2) to the derivatives by the parameters, shape (n, 4, 4)."""
    q = peaks.intensity[members]
    out = np.zeros((len(q), 4, 4))
    out[:, 0, 0], out[:, 3, 3] = 1, q
    out[:, 1:3, 1:3] = (q * np.exp(-2 * peaks.swell[members]))[:, None, None] * peaks.precision
    return out


def _by_form(peaks: Peaks, members: slice, m: FloatArray) -> FloatArray:
    """From moments under peaks to sums with the derivatives by the form's three numbers, shape (n, 3)."""
    second = np.stack([m[2, 0], m[1, 1], m[1, 1], m[0, 2]], axis=1).reshape(-1, 2, 2)
    shrink = np.exp(-2 * peaks.swell[members])[:, None, None]
    p = peaks.precision
    gradient = peaks.intensity[members, None, None] / 2 * (p @ second @ p * shrink - p * m[0, 0][:, None, None])
    return np.stack([gradient[:, 0, 0], 2 * gradient[:, 0, 1], gradient[:, 1, 1]], axis=1)


def _form_images(peaks: Peaks, shape: tuple[int, int]) -> Canvas:
    """Derivatives of the model by the form's three numbers."""
    canvas, p = Canvas(peaks, shape, 3), peaks.precision
    for some in stamps(peaks):
        slope = np.empty((len(some.off), 2, 3))  # P d in terms of (1, i, j)
        slope[:, :, 0], slope[:, :, 1:] = some.off @ p, p
        shrink = np.exp(-2 * peaks.swell[some.members])[:, None, None]
        values = []
        for a, b, times in ((0, 0, 0.5), (0, 1, 1.0), (1, 1, 0.5)):
            terms = times * shrink * product(slope[:, a], slope[:, b])
            terms[:, 0, 0] -= times * p[a, b]
            values.append(polynomials(terms, peaks.half) * some.values)
        canvas.add(some, values)
    return canvas


def information(peaks: Peaks, weight: FloatArray, grid: Grid, free: int, *, fit_form: bool = True) -> Fisher:
    """The Fisher information at a model.

    Args:
        weight: 1 over the model, shape of the image. free: parameters per peak, 3 or 4.
        fit_form: the information on the common form is wanted, too.
    """
    shape, n = (weight.shape[0], weight.shape[1]), len(peaks)
    by_form = _form_images(peaks, shape) if fit_form else Canvas(peaks, shape, 0)
    seen, by_form_seen = windows(weight, peaks), by_form.windows()
    diagonal, spread = np.empty((n, free, free)), np.empty((n, free, len(by_form_seen)))
    knots = np.empty((n, grid.reach), dtype=np.intp)
    border = np.empty((n, free, grid.reach))
    pairs = neighbours(peaks)
    blocks = np.empty((len(pairs), free, free))
    starts = np.searchsorted(pairs[:, 0], np.arange(n + 1))
    for some in stamps(peaks):
        here, at = some.members, (some.first[:, 0], some.first[:, 1])
        weights = seen[at] * some.values
        mixing = _mixing(peaks, here)[:, :free, :free]
        own = _gram(peaks, here, moments(weights * some.values, some.off, ORDER[free]), free)
        diagonal[here] = mixing @ own @ mixing
        for k, one in enumerate(by_form_seen):
            m = moments(one[at] * weights, some.off, free - 2)
            spread[here, :, k] = _derivatives(mixing, _basis(peaks, here, m, free))
        knots[here], hats = grid.touched(some.nearest, peaks.half)
        border[here] = mixing @ _border(peaks, weights, some, hats, free)
        for start in range(starts[here.start], starts[here.stop], BATCH):
            edges = slice(start, min(start + BATCH, starts[here.stop]))
            blocks[edges] = _pair_blocks(peaks, weights, some, pairs[edges], free)
    blocks = (blocks + blocks[_reverse(pairs, n)].transpose(0, 2, 1)) / 2
    weighted = weight.astype(np.float32) * by_form.images
    level_spread = np.array([grid.gather(one) for one in weighted]).reshape(len(weighted), math.prod(grid.shape)).T
    form = np.asarray(np.sum(by_form.images.swapaxes(0, 1) @ weighted.transpose(1, 2, 0), axis=0, dtype=np.float64))
    return Fisher(diagonal, pairs, blocks, border, knots, grid.gram(weight), spread, level_spread, form)


def neighbours(peaks: Peaks) -> IntArray:
    """Pairs of peaks that overlap, both ways, sorted, shape (e, 2)."""
    tree = cKDTree(peaks.place / peaks.sigma)
    one_way = tree.query_pairs(NEIGHBOURS, output_type="ndarray").astype(np.intp).reshape(-1, 2)
    both = np.concatenate([one_way, one_way[:, ::-1]])
    return both[np.lexsort((both[:, 1], both[:, 0]))]


def _gram(peaks: Peaks, members: slice | IntArray, m: FloatArray, free: int) -> FloatArray:
    """Products of the basis (1, x, y, d·Pd - 2) from moments, shape (n, free, free)."""
    out = np.empty((m.shape[2], free, free))
    out[:, 0, 0], out[:, 0, 1], out[:, 0, 2] = m[0, 0], m[1, 0], m[0, 1]
    out[:, 1, 1], out[:, 1, 2], out[:, 2, 2] = m[2, 0], m[1, 1], m[0, 2]
    if free == 4:
        (rr, rc), (_, cc) = peaks.precision
        shrink = np.exp(-2 * peaks.swell[members])

        def raised(a: int, b: int) -> FloatArray:
            more = rr * m[a + 2, b] + 2 * rc * m[a + 1, b + 1] + cc * m[a, b + 2]
            return np.asarray(shrink * more - 2 * m[a, b])

        out[:, 0, 3], out[:, 1, 3], out[:, 2, 3] = raised(0, 0), raised(1, 0), raised(0, 1)
        twice = rr * raised(2, 0) + 2 * rc * raised(1, 1) + cc * raised(0, 2)
        out[:, 3, 3] = shrink * twice - 2 * raised(0, 0)
    for a in range(1, free):
        for b in range(a):
            out[:, a, b] = out[:, b, a]
    return out


def _border(peaks: Peaks, weights: StampArray, some: Stamps, hats: list[StampArray], free: int) -> FloatArray:
    """Sums of weight times the basis times each pair of hats, shape (n, free, hats)."""
    order, n = free - 2, len(weights)
    down, across = (
        (
            np.arange(-half, half + 1, dtype=np.float32) ** np.arange(order + 1, dtype=np.float32)[:, None, None]
            * hat[:, None]
        ).reshape(n, -1, 2 * half + 1)
        for half, hat in zip(peaks.half, hats, strict=True)
    )
    m = (down @ (weights @ across.transpose(0, 2, 1))).astype(np.float64)
    m = m.reshape(n, order + 1, hats[0].shape[1], order + 1, hats[1].shape[1]).transpose(1, 3, 2, 4, 0)
    m = moved(m.reshape(order + 1, order + 1, -1, n), some.off)
    return _basis(peaks, some.members, m, free).transpose(0, 2, 1)


def _reverse(pairs: IntArray, n: int) -> IntArray:
    """Where each pair stands the other way round."""
    return np.searchsorted(pairs[:, 0] * n + pairs[:, 1], pairs[:, 1] * n + pairs[:, 0])


def _pair_blocks(peaks: Peaks, weights: StampArray, some: Stamps, pairs: IntArray, free: int) -> FloatArray:
    """Information that pairs share, on the stamp of the first of each; weights: times that peak."""
    i, j = pairs.T
    k = i - some.members.start
    apart = peaks.place[j] - peaks.place[i]
    other = gaussian(peaks, some.off[k] - apart, peaks.swell[j])
    other *= weights[k]
    gram = _gram(peaks, i, moments(other, some.off[k], ORDER[free]), free)
    shift = np.zeros((len(pairs), free, free))
    shift[:, 0, 0] = shift[:, 1, 1] = shift[:, 2, 2] = 1
    shift[:, 1:3, 0] = -apart
    if free == 4:
        ratio, turned = np.exp(2 * (peaks.swell[i] - peaks.swell[j])), apart @ peaks.precision
        turned *= np.exp(-2 * peaks.swell[j])[:, None]
        shift[:, 3, 3] = ratio
        shift[:, 3, 1:3] = -2 * turned
        shift[:, 3, 0] = 2 * ratio + np.sum(apart * turned, axis=1) - 2
    first, second = (_mixing(peaks, k)[:, :free, :free] for k in (i, j))
    return np.asarray(first @ gram @ shift.transpose(0, 2, 1) @ second)


def step(
    fisher: Fisher,
    score: FloatArray,
    level_score: FloatArray,
    form_score: FloatArray,
    imposed: FloatArray,
    damping: float,
) -> Step:
    """Scoring step (F + damping diag F)⁻¹ s, by conjugate gradients.

    Args:
        score: of the peaks, shape (n, p). level_score: of the background's knots. form_score: of the common form,
            shape (3,), or (0,) where that is held. imposed: changes of knots that are given, NaN for the others.
    """
    n, free = score.shape
    knots = len(level_score)
    starts = np.searchsorted(fisher.pairs[:, 0], np.arange(n + 1))
    diagonal = regular(fisher.diagonal, damping)
    own = sparse.bsr_array((diagonal, np.arange(n), np.arange(n + 1)), shape=(n * free, n * free))
    coupling = sparse.bsr_array((fisher.blocks, fisher.pairs[:, 1], starts), shape=(n * free, n * free))
    rows = np.broadcast_to(np.arange(n * free).reshape(n, free, 1), fisher.border.shape)
    columns = np.broadcast_to(fisher.knots[:, None], fisher.border.shape)
    border = sparse.csr_array((fisher.border.ravel(), (rows.ravel(), columns.ravel())), shape=(n * free, knots))
    border.eliminate_zeros()
    among, back = own + coupling, border.T
    given = np.isfinite(imposed)
    stiff = np.where(given, STIFF, damping) * fisher.level.diagonal()
    level = fisher.level + sparse.diags_array(stiff)
    inverse, level_inverse = np.linalg.inv(diagonal), 1 / np.maximum(level.diagonal(), 1e-300)
    cuts, shaped = [n * free, n * free + knots], len(form_score)
    spread, level_spread = fisher.spread.reshape(n * free, shaped), fisher.level_spread
    form = fisher.form + damping * np.diag(np.diag(fisher.form))
    form_inverse = np.linalg.inv(form)

    def product(vector: FloatArray) -> FloatArray:
        one, other, last = np.split(vector, cuts)
        atoms = among @ one + border @ other + spread @ last
        levels = back @ one + level @ other + level_spread @ last
        return np.concatenate([atoms, levels, form @ last + one @ spread + other @ level_spread])

    def tamed(vector: FloatArray) -> FloatArray:
        one, other, last = np.split(vector, cuts)
        return np.concatenate([(inverse @ one.reshape(n, free, 1)).ravel(), level_inverse * other, form_inverse @ last])

    levels = np.where(given, stiff * np.nan_to_num(imposed), level_score)
    aim = np.concatenate([score.ravel(), levels, form_score])
    matrix, preconditioner = (linalg.LinearOperator((len(aim), len(aim)), matvec=f) for f in (product, tamed))
    found = linalg.cg(matrix, aim, rtol=TOLERANCE, maxiter=MOST_STEPS, M=preconditioner)[0]
    split = np.split(found, cuts)
    gain = score.ravel() @ split[0] + np.where(given, 0, level_score) @ split[1] + form_score @ split[2]
    return Step(split[0].reshape(n, free), split[1], split[2], float(gain))


def regular(blocks: FloatArray, damping: float = ROUNDING) -> FloatArray:
    """Blocks with a little more on their diagonals, so that an atom without information has an inverse."""
    out = blocks.copy()
    size = blocks.shape[1]
    index = np.arange(size)
    out[:, index, index] += damping * np.maximum(out[:, index, index], 1e-300) + 1e-12
    return out
