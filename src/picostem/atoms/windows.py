"""Defects of a movie and the windows around them, followed through its frames.

A defect is a vacancy, an atom off the lattice, or one of any but the commonest class of its sublattice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from picostem.atoms.species import OFF_LATTICE, Classified
from picostem.atoms.states import VACANCY, Sightings, linked
from picostem.atoms.table import AtomTable
from picostem.errors import UsageError
from picostem.image import Image

FloatArray = NDArray[np.float64]
FloatImage = NDArray[np.float32]

ACROSS = 4.0  # typical distances between atoms, the side of a window
COMMON = 10  # atoms that a drift is the median of


def find_defects(found: Classified) -> Sightings:
    """All defects of all frames; the track is that of the defect, which may go from atom to atom, drift taken off."""
    table, gone = found.table, found.vacancies
    usual: dict[str, int] = {}
    for one in found.classes:
        usual[one.sublattice] = max(usual.get(one.sublattice, 0), one.atoms)
    odd = [one.name for one in found.classes if one.sublattice == OFF_LATTICE or one.atoms < usual[one.sublattice]]
    mine = np.isin(table.species, odd)
    vacant = np.char.add(VACANCY, gone.sublattice) if len(gone.row) else np.empty(0, dtype="U1")
    row, col = np.concatenate([table.row[mine], gone.row]), np.concatenate([table.col[mine], gone.col])
    frame = np.concatenate([table.frame[mine], gone.frame])
    still = np.column_stack([row, col]) - drift(table)[frame]
    return Sightings(
        row,
        col,
        frame,
        linked(still[:, 0], still[:, 1], frame),
        np.concatenate([table.species[mine], vacant]),
        np.concatenate([table.p_species[mine], np.ones(len(gone.row))]),
    )


def drift(table: AtomTable) -> FloatArray:
    """Where each frame's atoms are, relative to the first one's: row and column, pixels, shape (frames, 2).

    It is the sum of the medians of steps; a frame that shares fewer than COMMON tracks with the last adds none.
    """
    frames = int(max(table.frame.max(initial=0), 0)) + 1
    out = np.zeros((frames, 2))
    place = np.column_stack([table.row, table.col])
    for number in range(1, frames):
        before, now = (np.flatnonzero((table.frame == k) & (table.track >= 0)) for k in (number - 1, number))
        _, i, j = np.intersect1d(table.track[before], table.track[now], return_indices=True)
        step = np.median(place[now[j]] - place[before[i]], axis=0) if len(i) >= COMMON else 0.0
        out[number] = out[number - 1] + step
    return out


def window_side(table: AtomTable) -> int:
    """Odd number of pixels that a window has on a side: ACROSS distances between neighbours of the first frame."""
    place = np.column_stack([table.row, table.col])[table.frame == table.frame.min(initial=0)]
    if len(place) < 2:
        raise UsageError(f"expected two atoms at least to know how large a window must be, got {len(place)}")
    spacing = float(np.median(cKDTree(place).query(place, 2)[0][:, 1]))
    return 2 * round(ACROSS * spacing / 2) + 1


def windows(images: Sequence[Image], seen: Sightings, side: int) -> FloatImage:
    """The window around each sighting in its frame, shape (n, side, side); NaN beyond the border.

    Raises:
        UsageError: a sighting is of a frame that is not among the images.
    """
    if len(seen) and int(seen.frame.max()) >= len(images):
        raise UsageError(f"expected images of {int(seen.frame.max()) + 1} frames or more, got {len(images)}")
    half = side // 2
    out = np.full((len(seen), side, side), np.nan, dtype=np.float32)
    for number, image in enumerate(images):
        wide = np.pad(image.data, half, constant_values=np.nan)
        for k in np.flatnonzero(seen.frame == number):
            row, col = round(float(seen.row[k])), round(float(seen.col[k]))
            out[k] = wide[row : row + side, col : col + side]
    return out
