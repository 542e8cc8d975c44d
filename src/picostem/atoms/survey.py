"""From an image or a movie to all its atoms: found in each frame, linked into tracks, sorted into classes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from picostem.atoms.anomaly import anomalies, shapes
from picostem.atoms.blobs import Blobs, Inspection
from picostem.atoms.columns import Columns
from picostem.atoms.constancy import Changes, measure_changes
from picostem.atoms.dumbbells import Dumbbells, find_dumbbells
from picostem.atoms.find import find_atoms, fit_atoms
from picostem.atoms.follow import follow
from picostem.atoms.predict import AtomNet, Output
from picostem.atoms.recording import Recording, measure_recording
from picostem.atoms.sites import find_sites, flat_scan
from picostem.atoms.species import Classified, classify, vacant_sites
from picostem.atoms.states import Sightings, Transitions, sites, transitions
from picostem.atoms.table import AtomTable
from picostem.atoms.track import link
from picostem.atoms.windows import find_defects, window_side, windows
from picostem.errors import UsageError
from picostem.image import Image

FloatArray = NDArray[np.float64]
Progress = Callable[[str, int, int], None]
"""Stage, how much of it is done, and of how much; 0 where that is not known."""


@dataclass(frozen=True, eq=False)
class Movie:
    """Of a movie: how its dumbbells change, how often sites change their class, where its defects are, and the window
    around each of these, shape (n, side, side), NaN beyond the border."""

    changes: Changes
    transitions: Transitions
    defects: Sightings
    windows: NDArray[np.float32]

    @classmethod
    def of(cls, found: Classified, dumbbells: Dumbbells, images: Sequence[Image]) -> Movie:
        """All that is made of the tracks."""
        names = [one.name for one in found.classes]
        defects = find_defects(found)
        around = windows(images, defects, window_side(found.table) if len(defects) else 1)
        return cls(measure_changes(dumbbells), transitions(sites(found), names), defects, around)


@dataclass(frozen=True, eq=False)
class Survey:
    """All atoms of an image or a movie.

    Attributes:
        image: the first frame, levelled if a tip scanned it. frames: their number. found: table, classes and vacancies.
            recording: how its electrons became grey levels, None of a scan or where no atoms were found. dumbbells:
            pairs of atoms. inspection: the blobs of the network's output, None without any. movie: what only a movie
            tells, None of an image. seconds: that it took.
    """

    image: Image
    frames: int
    found: Classified
    recording: Recording | None
    dumbbells: Dumbbells
    inspection: Inspection | None
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
    *,
    still: bool = False,
) -> Survey:
    """Find, link and sort the atoms of an image, or of a movie's frames in order.

    Args:
        columns: of the crystal that is shown, if it is known. net: says where atoms may be. still: of a movie
            whose atoms stay where they are: they are found in the mean of its frames and refined in each.

    Raises:
        ImageError: a frame cannot be used. UsageError: there is none, or frames differ in shape where atoms stay.
    """
    with threadpool_limits(1, user_api="blas"):  # its threads get into each other's way
        start = time.perf_counter()
        report = progress or (lambda stage, done, total: None)
        frames: list[Image] = []
        tables: list[AtomTable] = []
        blobs: list[Blobs] = []
        for image in map(flat_scan, images):
            report("atoms", len(frames), 0)
            frames.append(image)
            output = None if net is None or image.acquisition.tip else net.look(image)
            if output is not None:
                blobs.append(output.blobs())
            if not still:
                tables.append(_complete(image, output))
        if not frames:
            raise UsageError("expected at least one image")
        first = frames[0]
        report("species and anomalies", 0, 0)
        inspection = Inspection.of(blobs, net.card) if net and blobs else None
        table = follow(frames) if still else link(tables) if len(tables) > 1 else tables[0]
        looks = [shapes(image, table[table.frame == number]) for number, image in enumerate(frames)]
        recording = None
        if len(table) and table.frame[0] == 0 and not first.acquisition.tip:
            width = float(np.median(table.width[table.frame == 0]))
            recording = measure_recording(first.data, (width, width))
        found = classify(table, columns)
        odd = anomalies(found.table, found.classes, found.basis, np.concatenate(looks))
        found = replace(found, table=replace(found.table, anomaly=odd.score, odd=odd.what))
        dumbbells = find_dumbbells(found.table, recording.zero if recording else 0.0)
        movie = Movie.of(found, dumbbells, frames) if len(frames) > 1 else None
        return Survey(first, len(frames), found, recording, dumbbells, inspection, movie, time.perf_counter() - start)


def _complete(image: Image, output: Output | None) -> AtomTable:
    """The atoms of an image; where its lattice has sites without one, the image is fitted again with atoms there.

    A faint atom beside bright ones can be overlooked until its place is known; those that are not there are left out.
    """
    if image.acquisition.tip:
        return find_sites(image)
    table = find_atoms(image, None if output is None else output.atoms())
    sites = vacant_sites(table)
    if not len(sites):
        return table
    again = fit_atoms(image, np.concatenate([np.column_stack([table.row, table.col]), sites]))
    return again if len(again) > len(table) else table
