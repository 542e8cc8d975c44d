"""From an image or a movie to all its atoms: found in each frame, linked into tracks, sorted into classes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from picostem.atoms.anomaly import anomalies, shapes
from picostem.atoms.columns import Columns
from picostem.atoms.constancy import Changes, measure_changes
from picostem.atoms.dumbbells import Dumbbells, find_dumbbells
from picostem.atoms.find import find_atoms, fit_atoms
from picostem.atoms.predict import AtomNet
from picostem.atoms.recording import Recording, measure_recording
from picostem.atoms.species import Classified, classify, vacant_sites
from picostem.atoms.states import Sightings, Transitions, sites, transitions
from picostem.atoms.table import AtomTable
from picostem.atoms.track import link
from picostem.atoms.windows import find_defects
from picostem.errors import UsageError
from picostem.image import Image

FloatArray = NDArray[np.float64]
Progress = Callable[[str, int, int], None]
"""Stage, how much of it is done, and of how much; 0 where that is not known."""


@dataclass(frozen=True, eq=False)
class Movie:
    """Of a movie: how its dumbbells change, how often sites change their class, and where its defects are."""

    changes: Changes
    transitions: Transitions
    defects: Sightings

    @classmethod
    def of(cls, found: Classified, dumbbells: Dumbbells) -> Movie:
        """All that is made of the tracks."""
        names = [one.name for one in found.classes]
        return cls(measure_changes(dumbbells), transitions(sites(found), names), find_defects(found))


@dataclass(frozen=True, eq=False)
class Survey:
    """All atoms of an image or a movie.

    Attributes:
        image: the first frame. frames: their number. found: table, classes and vacancies. recording: how its electrons
            became grey levels, None where no atoms were found. dumbbells: pairs of atoms. movie: what only a movie
            tells, None of an image. seconds: that it took.
    """

    image: Image
    frames: int
    found: Classified
    recording: Recording | None
    dumbbells: Dumbbells
    movie: Movie | None
    seconds: float

    @property
    def table(self) -> AtomTable:
        """The atoms."""
        return self.found.table


def survey(
    images: Iterable[Image],
    columns: Columns | None = None,
    net: AtomNet | None = None,
    progress: Progress | None = None,
) -> Survey:
    """Find, link and sort the atoms of an image, or of a movie's frames in order.

    Args:
        columns: of the crystal that is shown, if it is known. net: says where atoms may be.

    Raises:
        ImageError: a frame cannot be used. UsageError: there is none.
    """
    with threadpool_limits(1, user_api="blas"):  # its threads get into each other's way
        start = time.perf_counter()
        report = progress or (lambda stage, done, total: None)
        first: Image | None = None
        tables: list[AtomTable] = []
        looks: list[FloatArray] = []
        for image in images:
            report("atoms", len(tables), 0)
            first = first or image
            table = _complete(image, net)
            tables.append(table)
            looks.append(shapes(image, table))
        if first is None:
            raise UsageError("expected at least one image")
        report("species and anomalies", 0, 0)
        table = link(tables) if len(tables) > 1 else tables[0]
        recording = None
        if len(tables[0]):
            width = float(np.median(tables[0].width))
            recording = measure_recording(first.data, (width, width))
        found = classify(table, columns)
        odd = anomalies(found.table, found.classes, found.basis, np.concatenate(looks))
        found = replace(found, table=replace(found.table, anomaly=odd.score, odd=odd.what))
        dumbbells = find_dumbbells(found.table, recording.zero if recording else 0.0)
        movie = Movie.of(found, dumbbells) if len(tables) > 1 else None
        return Survey(first, len(tables), found, recording, dumbbells, movie, time.perf_counter() - start)


def _complete(image: Image, net: AtomNet | None) -> AtomTable:
    """The atoms of an image; where its lattice has sites without one, the image is fitted again with atoms there.

    A faint atom beside bright ones can be overlooked until its place is known; those that are not there are left out.
    """
    table = find_atoms(image, None if net is None else net.detect(image).place)
    sites = vacant_sites(table)
    if not len(sites):
        return table
    again = fit_atoms(image, np.concatenate([np.column_stack([table.row, table.col]), sites]))
    return again if len(again) > len(table) else table
