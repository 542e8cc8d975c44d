"""Where the stacking changes: domains of like slip on the coarse map, and the boundary between them on a 1 Å grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.measure import find_contours

from picostem.resolve.evidence import harmonics_of
from picostem.resolve.orient import Setting
from picostem.resolve.search import coarse_search
from picostem.resolve.stacking import Stackings
from picostem.resolve.window import extract_harmonics

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

JUMP = 0.25  # Å; neighbouring windows that differ by more belong to different stackings
LEAST_SHARE = 0.03  # of the windows that a domain must have
FINE_STRIDE = 1.0  # Å
MOST_FINE = 4000  # windows; where the boundary is longer, the stride is wider
ORIGIN_ZOOM = 4  # finer grid of origins, for the likelihood of a given slip without a fit


@dataclass(frozen=True)
class FineGrid:
    """A rectangle of closely spaced windows across a boundary between two domains.

    Attributes:
        starts: first rows and columns, pixels. domains: the two.
    """

    starts: tuple[IntArray, IntArray]
    domains: tuple[int, int]


def find_domains(slips: FloatArray, ok: NDArray[np.bool_], grid: tuple[int, int], stackings: Stackings) -> IntArray:
    """Domain of each window of a grid, -1 for none; numbered by size, the largest 0.

    Args:
        slips: Å, shape (w, s, 2), rows slowest.
        ok: which windows can be trusted, shape (w,).
        grid: rows and columns.
        stackings: which of them are alike.
    """
    index = np.arange(len(slips)).reshape(grid)
    pairs = np.concatenate(
        [
            np.stack([index[:, :-1].ravel(), index[:, 1:].ravel()], axis=1),
            np.stack([index[:-1].ravel(), index[1:].ravel()], axis=1),
        ]
    )
    pairs = pairs[ok[pairs].all(axis=1)]
    if len(pairs):
        pairs = pairs[stackings.distance(slips[pairs[:, 0]], slips[pairs[:, 1]]) < JUMP]
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(slips), len(slips)))
    component = connected_components(graph, directed=False)[1]
    component[~ok] = -1
    return _merged(component, slips, stackings)


def _merged(component: IntArray, slips: FloatArray, stackings: Stackings) -> IntArray:
    """Components renumbered by size; small ones dropped, those of one mean slip joined."""
    least = max(2.0, LEAST_SHARE * len(component))
    names, counts = np.unique(component[component >= 0], return_counts=True)
    labels = np.full(len(component), -1)
    means: list[FloatArray] = []
    for name in names[np.argsort(-counts, kind="stable")]:
        members = component == name
        if members.sum() < least and means:
            continue
        mean = stackings.mean(slips[members])
        near = [i for i, other in enumerate(means) if stackings.distance(mean, other) < JUMP]
        if not near:
            means.append(mean)
        labels[members] = near[0] if near else len(means) - 1
    return labels


def fine_grids(labels: IntArray, starts: tuple[IntArray, IntArray], setting: Setting) -> list[FineGrid]:
    """Rectangles of windows 1 Å apart that cover each boundary between two domains of the coarse map."""
    rows, cols = starts
    grid = labels.reshape(len(rows), len(cols))
    found = []
    for first in range(labels.max() + 1):
        for second in range(first + 1, labels.max() + 1):
            box = _between(grid, first, second)
            if box is not None:
                top, bottom, left, right = box
                step = max(1.0, FINE_STRIDE / setting.lattice.pixel_size)
                area = (rows[bottom] - rows[top] + 1) * (cols[right] - cols[left] + 1)
                step = max(step, float(np.sqrt(area / MOST_FINE)))
                if top == bottom or left == right:
                    continue
                fine = (_spaced(rows[top], rows[bottom], step), _spaced(cols[left], cols[right], step))
                found.append(FineGrid(fine, (first, second)))
    return found


def _between(grid: IntArray, first: int, second: int) -> tuple[int, int, int, int] | None:
    """Box (top, bottom, left, right) around the nearest pairs of windows of two domains along rows and columns."""
    reach = 4
    marked = np.zeros(grid.shape, dtype=bool)
    for lines, flip in ((grid, False), (grid.T, True)):
        for i, line in enumerate(lines):
            for a, b in ((first, second), (second, first)):
                for j in np.nonzero(line == a)[0]:
                    ahead = line[j + 1 : j + 1 + reach]
                    hits = np.nonzero(ahead == b)[0]
                    if len(hits) and not (ahead[: hits[0]] == a).any():
                        span = np.s_[j : j + hits[0] + 2]
                        if flip:
                            marked[span, i] = True
                        else:
                            marked[i, span] = True
    if not marked.any():
        return None
    rows, cols = np.nonzero(marked.any(axis=1))[0], np.nonzero(marked.any(axis=0))[0]
    return int(rows[0]), int(rows[-1]), int(cols[0]), int(cols[-1])


def _spaced(first: int, last: int, step: float) -> IntArray:
    return np.unique(np.rint(np.linspace(first, last, int(np.ceil((last - first) / step)) + 1)).astype(np.int64))


def boundary_line(data: NDArray[np.float32], setting: Setting, grid: FineGrid, slips: FloatArray) -> FloatArray:
    """Line on which two slips explain a window alike, image frame, pixels, shape (n, 2); empty if there is none.

    Args:
        data: image with its mean subtracted.
        grid: windows across the boundary.
        slips: of the two domains, fractions of a and b, shape (2, s, 2).
    """
    rows, cols = grid.starts
    turned = np.einsum("oij,djx->odix", setting.model.stackings.matrices, slips)
    contrast = []
    hk = harmonics_of(setting.lattice)
    for part in np.array_split(rows, max(1, len(rows) * len(cols) // 2000)):
        harmonics = extract_harmonics(data, setting.lattice.reciprocal, hk, setting.window, (part, cols))
        search = coarse_search(
            setting.model,
            setting.fit.state.microscope,
            harmonics.amplitudes,
            setting.evidence.noise_power,
            turned.reshape(-1, *slips.shape[1:]),
            zoom=ORIGIN_ZOOM,
        )
        explained = search.explained.reshape(-1, len(turned), 2).max(axis=1)
        contrast.append(explained[:, 0] - explained[:, 1])
    field = np.concatenate(contrast).reshape(len(rows), len(cols))
    lines = find_contours(field, 0.0)
    if not lines:
        return np.empty((0, 2))
    line = max(lines, key=len)
    middle = (setting.window - 1) / 2
    row = np.interp(line[:, 0], np.arange(len(rows)), rows) + middle
    col = np.interp(line[:, 1], np.arange(len(cols)), cols) + middle
    return np.stack([col - (data.shape[1] - 1) / 2, (data.shape[0] - 1) / 2 - row], axis=1)
