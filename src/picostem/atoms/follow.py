"""Atoms of a movie at low dose: found in the mean of its frames, then refined in each, with the mean's width of peaks.

A frame in which atoms cannot be found still tells where the known ones are. Frames are aligned beforehand
(`picostem.files`); an atom may move by about the width of its peak.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from picostem.atoms.find import find_atoms
from picostem.atoms.judge import inflation, judge
from picostem.atoms.peaks import Peaks
from picostem.atoms.recording import measure_recording
from picostem.atoms.refine import refine
from picostem.atoms.table import AtomTable
from picostem.errors import UsageError
from picostem.image import Image


def follow(images: Sequence[Image]) -> AtomTable:
    """The atoms of all frames; the track is the atom's number in the mean frame, and none is missing in any frame.

    Raises:
        UsageError: there are no frames, or they differ in shape. ImageError: the mean cannot be used.
    """
    if not images or any(image.data.shape != images[0].data.shape for image in images):
        raise UsageError(f"expected frames of one shape, got {sorted({image.data.shape for image in images})}")
    mean = np.asarray(sum(image.data.astype(np.float64) for image in images) / len(images), dtype=np.float32)
    found = find_atoms(replace(images[0], data=mean))
    if not len(found):
        return found
    tables = [_refined(image, found, number) for number, image in enumerate(images)]
    columns = [one.name for one in fields(AtomTable) if one.name not in ("shape", "pixel_size")]
    joined: dict[str, Any] = {name: np.concatenate([getattr(one, name) for one in tables]) for name in columns}
    return replace(found, **joined)


def _refined(image: Image, found: AtomTable, frame: int) -> AtomTable:
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
        frame=np.full(len(found), frame, dtype=np.int64),
        track=np.arange(len(found)),
    )
