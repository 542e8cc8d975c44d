"""Species or classes of atoms: sublattices first, then classes of brightness on each, with the probability of a call.

Where no crystal is known, sublattices are A, B, ... from the brightest down and their classes A1, A2, ... likewise;
atoms off the lattice are X1, X2, .... With a crystal, sublattices have the names of its columns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from picostem.atoms.columns import Columns, name_sublattices
from picostem.atoms.mixture import Mixture, fit_mixture
from picostem.atoms.sublattice import Sublattices, find_sublattices
from picostem.atoms.table import AtomTable

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVW"
OFF_LATTICE = "X"
MARGIN = 3.0  # standard deviations of a peak from the border, within which an atom may be overlooked
PART = 0.25  # atoms: how near a class's brightness is to that of a column with atoms missing


@dataclass(frozen=True)
class AtomClass:
    """Atoms of one species: its name, that of its sublattice, their number, mean intensity and its relative spread.

    element: the chemical symbol, where a known crystal says it.
    """

    name: str
    sublattice: str
    element: str | None
    atoms: int
    intensity: float
    spread: float


@dataclass(frozen=True, eq=False)
class Vacancies:
    """Sites of sublattices without an atom: row and column in pixels, sublattices and frames, each of shape (k,)."""

    row: FloatArray
    col: FloatArray
    sublattice: NDArray[np.str_]
    frame: IntArray


@dataclass(frozen=True, eq=False)
class Classified:
    """A table with species, the classes from the brightest down, vacancies, and the first frame's lattice.

    Attributes:
        basis: rows of (row, column), pixels, shape (2, 2), or None. crystal: the known one if it fits the lattice.
    """

    table: AtomTable
    classes: tuple[AtomClass, ...]
    vacancies: Vacancies
    basis: FloatArray | None
    crystal: str | None


def classify(table: AtomTable, columns: Columns | None = None) -> Classified:
    """Species of all atoms of an image, or of all frames of a movie together, and vacancies.

    Args:
        columns: of the crystal, if it is known.
    """
    unit, place = _lengths(table)
    frames = [np.flatnonzero(table.frame == frame) for frame in np.unique(table.frame)]
    found = [_sublattices(table, place[mine], table.intensity[mine]) for mine in frames]
    label, alike = _aligned(table, frames, found)
    match = _match(columns, found, frames, place, table) if columns is not None else None
    count = int(label.max(initial=-1)) + 1
    names = [columns.names[match[k]] if columns and match and _is(match, k) else LETTERS[k] for k in range(count)]
    species, probability = np.full(len(table), "", dtype="U16"), np.full(len(table), np.nan)
    classes: list[AtomClass] = []
    for one in np.unique(label):
        mine = label == one
        mixture = fit_mixture(np.maximum(table.intensity[mine], 1e-300), table.intensity_sigma[mine])
        called = mixture.probability(table.intensity[mine], table.intensity_sigma[mine])
        sublattice = OFF_LATTICE if one < 0 else names[one]
        if columns and match and one >= 0 and _is(match, one):
            labels = _named(sublattice, mixture, columns.elements[match[one]])
        else:
            labels = [(f"{sublattice}{k + 1}", None) for k in range(len(mixture.mean))]
        best = called.argmax(axis=1)
        species[mine] = np.array([name for name, _ in labels])[best]
        probability[mine] = called.max(axis=1)
        classes += [
            AtomClass(name, sublattice, element, int((best == k).sum()), float(mixture.mean[k]), mixture.spread)
            for k, (name, element) in enumerate(labels)
        ]
    classes.sort(key=lambda one: -one.intensity)
    basis = found[0].basis if found else None
    return Classified(
        replace(table, species=species, p_species=probability),
        tuple(classes),
        _vacancies(table, frames, found, alike, names, unit),
        None if basis is None else basis / unit,
        columns.name if columns is not None and match is not None else None,
    )


def vacant_sites(table: AtomTable) -> FloatArray:
    """Row and column in pixels of the sites of an image's lattice that have no atom, shape (k, 2)."""
    unit, place = _lengths(table)
    return np.asarray(_sublattices(table, place, table.intensity).vacancies / unit)


def _lengths(table: AtomTable) -> tuple[FloatArray, FloatArray]:
    """Å, or pixels where they are not known, per row and column, and places in these, shape (n, 2)."""
    unit = np.ones(2) if table.pixel_size is None else np.asarray(table.pixel_size)
    return unit, np.column_stack([table.row, table.col]) * unit


def _sublattices(table: AtomTable, place: FloatArray, intensity: FloatArray) -> Sublattices:
    """Of a frame of a table."""
    unit, _ = _lengths(table)
    margin = MARGIN * float(np.median(table.width)) * float(unit.max()) if len(table) else 0.0
    return find_sublattices(place, intensity, (table.shape[0] * unit[0], table.shape[1] * unit[1]), margin)


def _is(match: list[int], sublattice: int) -> bool:
    return sublattice < len(match) and match[sublattice] >= 0


def _aligned(
    table: AtomTable, frames: list[IntArray], found: list[Sublattices]
) -> tuple[IntArray, list[dict[int, int]]]:
    """Sublattice of every atom, alike in all frames, (n,), and for each frame what its own labels became.

    A frame's sublattice is that which most of its atoms' tracks were on before; without tracks, its rank counts.
    """
    label = np.full(len(table), -1, dtype=np.int64)
    before: dict[int, int] = {}
    alike: list[dict[int, int]] = []
    for mine, one in zip(frames, found, strict=True):
        became: dict[int, int] = {-1: -1}
        tracks = table.track[mine]
        for number in range(int(one.label.max(initial=-1)) + 1):
            votes = [before[t] for t in tracks[one.label == number].tolist() if before.get(t, -1) >= 0]
            free = [vote for vote in votes if vote not in became.values()]
            unused = (k for k in range(len(LETTERS)) if k not in became.values())
            became[number] = max(set(free), key=free.count) if free else next(unused)
        label[mine] = [became[number] for number in one.label.tolist()]
        before |= {t: k for t, k in zip(tracks.tolist(), label[mine].tolist(), strict=True) if t >= 0}
        alike.append(became)
    return label, alike


def _match(
    columns: Columns, found: list[Sublattices], frames: list[IntArray], place: FloatArray, table: AtomTable
) -> list[int] | None:
    """Column of each sublattice of the first frame, in the image frame x right, y up."""
    if not found or found[0].basis is None:
        return None
    first, mine = found[0], frames[0]
    sites = np.array([first.origin(place[mine], k) for k in range(first.label.max() + 1)])
    bright = np.array([np.median(table.intensity[mine][first.label == k]) for k in range(len(sites))])
    flipped = np.array([[0.0, -1.0], [1.0, 0.0]])  # (row, column) to (x, y)
    calibrated = table.pixel_size is not None
    return name_sublattices(columns, first.basis @ flipped, sites @ flipped, bright, calibrated=calibrated)


def _named(column: str, mixture: Mixture, element: tuple[str, int] | None) -> list[tuple[str, str | None]]:
    """Names and elements of classes on a known column: most are the column; of "S2" about half as bright, "S1".

    Others are the column's name with + if they are brighter and - if fainter, counted from it if there are several.
    """
    usual = int(mixture.share.argmax())
    symbol, number = element or (None, 0)
    names: list[tuple[str, str | None]] = []
    for k, mean in enumerate(mixture.mean):
        left = _left(float(mean / mixture.mean[usual]), number)
        if k == usual:
            names.append((column, symbol))
        elif left and (f"{symbol}{left}", symbol) not in names:
            names.append((f"{symbol}{left}", symbol))
        else:
            further = abs(k - usual)
            names.append((f"{column}{'+' if k < usual else '-'}{further if further > 1 else ''}", None))
    return names


def _left(share: float, number: int) -> int | None:
    """How many of a column's atoms are left if this share of its brightness is; None if no number fits.

    k of n atoms have a share between k/n and (k/n)², that of atoms that scatter in phase.
    """
    near = PART / max(number, 1)
    fits = [k for k in range(1, number) if (k / number) ** 2 - near < share < k / number + near]
    return min(fits, key=lambda k: abs(share - (k / number) ** 1.5), default=None)


def _vacancies(
    table: AtomTable,
    frames: list[IntArray],
    found: list[Sublattices],
    alike: list[dict[int, int]],
    names: list[str],
    unit: FloatArray,
) -> Vacancies:
    numbers = [table.frame[mine[0]] for mine in frames]
    sites = np.concatenate([np.empty((0, 2)), *(one.vacancies for one in found)]) / unit
    label = [names[became[k]] for one, became in zip(found, alike, strict=True) for k in one.vacancy_label.tolist()]
    frame = np.repeat(np.array(numbers, dtype=np.int64), [len(one.vacancies) for one in found])
    return Vacancies(sites[:, 0], sites[:, 1], np.array(label, dtype=np.str_), frame)
