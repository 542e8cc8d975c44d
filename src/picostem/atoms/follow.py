"""Atoms of a movie at low dose: found in the mean of its frames, then refined in each, with the mean's width of peaks.

A frame in which atoms cannot be found still tells where the known ones are. Frames are aligned beforehand
(`picostem.files`); an atom may move by about the width of its peak.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from picostem.atoms.find import find_atoms
from picostem.atoms.judge import inflation, judge
from picostem.atoms.peaks import Peaks
from picostem.atoms.recording import measure_recording
from picostem.atoms.refine import refine
from picostem.atoms.table import AtomTable
from picostem.errors import UsageError
from picostem.image import Image

WIDE = 2.0
"""Standard deviations of a peak between two that a frame may not tell apart."""


def follow(images: Sequence[Image]) -> AtomTable:
    """The atoms of all frames; the track is the atom's number in the mean frame, and none is missing in any frame.

    What two atoms of the mean are and cannot be told apart in some frame is one atom: motion made its peak wide.

    Raises:
        UsageError: there are no frames, or they differ in shape. ImageError: the mean cannot be used.
    """
    if not images or any(image.data.shape != images[0].data.shape for image in images):
        shapes = sorted({image.data.shape for image in images})
        raise UsageError(f"expected frames of one shape for a movie whose atoms stay where they are, got {shapes}")
    mean = np.asarray(sum(image.data.astype(np.float64) for image in images) / len(images), dtype=np.float32)
    found = find_atoms(replace(images[0], data=mean))
    if not len(found):
        return found
    while True:
        tables = [_refined(image, found) for image in images]
        spread = np.array([np.hypot(one.covariance[:, 0, 0], one.covariance[:, 1, 1]) for one in tables])
        lost = ~np.all(spread < found.width**2, axis=0) & (_fainter(found) | ~np.isfinite(spread).all(axis=0))
        if not lost.any():
            return AtomTable.joined(tables)
        found = found[~lost]


def _fainter(found: AtomTable) -> NDArray[np.bool_]:
    """Atoms with a brighter one so near that one wide peak may be both, shape (n,)."""
    place = np.column_stack([found.row, found.col])
    pairs = cKDTree(place).query_pairs(WIDE * float(np.median(found.width)), output_type="ndarray")
    out = np.zeros(len(found), dtype=bool)
    out[np.where(found.score[pairs[:, 0]] < found.score[pairs[:, 1]], pairs[:, 0], pairs[:, 1])] = True
    return out


def _refined(image: Image, found: AtomTable) -> AtomTable:
    """The atoms of a table in a frame, all of which are taken to be there."""
    width = float(np.median(found.width))
    recording = measure_recording(image.data, (width, width))
    counts = recording.counts(image.data.astype(np.float64))
    start = Peaks.at(np.column_stack([found.row, found.col]), found.intensity / recording.gain, (width, width))
    fit = refine(counts, start, fit_form=False)
    judgement = judge(counts, fit)
    covariance = fit.covariance * inflation(counts, fit, judgement.chi2)
    return replace(
        found,
        row=fit.peaks.place[:, 0],
        col=fit.peaks.place[:, 1],
        covariance=covariance[:, 1:3, 1:3],
        intensity=fit.peaks.intensity * recording.gain,
        intensity_sigma=np.sqrt(covariance[:, 0, 0]) * recording.gain,
        background=fit.background * recording.gain + recording.zero,
        width=np.full(len(found), width),
        score=judgement.score,
        chi2=judgement.chi2,
        track=np.arange(len(found)),
    )
