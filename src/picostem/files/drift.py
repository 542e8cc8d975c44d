"""Where the frames of a series lie: from frame to frame first, then against their mean; and which are of another place.

Rigid: each frame moves as a whole.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from picostem.errors import ImageError, UsageError
from picostem.files.registration import (
    FINEST,
    FINEST_PIXELS,
    Box,
    Comparison,
    FloatArray,
    Spectrum,
    common_box,
    moved_part,
)
from picostem.image import MIN_SIDE, Image, check_image

Frames = Callable[[], Iterator[Image]]
"""Goes through the series once more."""

STEP = 1 / 8
"""Largest drift between two frames over the shorter side: beyond, too little of both shows the same."""
ALIKE = 0.5
"""Share of the usual correlation with the frame before that a frame must have to belong to the same place."""
DEVIATIONS, SHARE = 6.0, 0.9
"""A frame is dropped if its correlation with the mean of the others is this many standard deviations below the median
and below this share of it: where all frames are nearly equal, small differences do not matter."""
RUNS = 4
"""Places that are followed at a time; each holds one frame in memory."""
FADING = 0.2
"""Share of the window that fades out when frames are compared with the mean: they are aligned but for a pixel or so."""
ROUNDS = 2
"""Of aligning with the mean: in the second it is sharp."""


@dataclass(frozen=True)
class Drift:
    """Where the frames of a series lie.

    Attributes:
        kept: indices of the frames that show the same place, shape (n,).
        position: of each kept frame from the first of them, (row, column) in pixels: the frame shows at x + position
            what the first shows at x; shape (n, 2).
        count: number of frames of the series.
    """

    kept: NDArray[np.int64]
    position: FloatArray
    count: int

    @property
    def dropped(self) -> NDArray[np.int64]:
        """Indices of the other frames."""
        return np.setdiff1d(np.arange(self.count), self.kept)


def drift_of(frames: Frames, max_step: float | None = None) -> Drift:
    """The drift of a series of frames; `max_step` and errors as in `picostem.files.average_series`."""
    if max_step is not None and not max_step > 0:
        raise UsageError(f"max_step is {max_step}; expected pixels, more than 0")
    drift = _follow(frames, max_step)
    for _ in range(ROUNDS):
        drift = _against_mean(frames, drift, max_step)
    return drift


@dataclass(eq=False)
class _Run:
    """Frames of one place: the last of them, and where all of them lie."""

    last: Spectrum
    kept: list[int]
    position: list[FloatArray] = field(default_factory=lambda: [np.zeros(2)])
    correlation: list[float] = field(default_factory=list)

    def expects(self, chance: float) -> float:
        """The correlation that another frame of this place has at least."""
        return max(chance, ALIKE * float(np.median(self.correlation))) if self.correlation else chance


def _follow(frames: Frames, max_step: float | None) -> Drift:
    """Drift added up from frame to frame. Frames unlike those before begin a run of their own; the longest run wins."""
    first = _first_of_several(frames)
    compare = _comparison(first, max_step or STEP * min(first.data.shape), 1.0)
    chance = compare.chance
    runs: list[_Run] = []
    refused: list[ImageError] = []
    count = 0
    for index, image in enumerate(frames()):
        _check_alike(image, first)
        count += 1
        try:
            check_image(image)
        except ImageError as error:
            refused.append(error)
        else:
            _join(runs, index, compare.spectrum(image.data), compare, chance)
    if len(refused) == count:
        raise refused[0]
    best = max(runs, key=lambda run: len(run.kept))
    if len(best.kept) < 2:
        raise _nothing_in_common(first, count)
    return Drift(np.array(best.kept), np.array(best.position), count)


def _join(runs: list[_Run], index: int, spectrum: Spectrum, compare: Comparison, chance: float) -> None:
    """Add a frame to the run that it correlates with best, or begin one with it."""
    found = [(*compare.displacement(run.last, spectrum), run) for run in runs]
    step, correlation, run = max(found, key=lambda one: one[1], default=(np.zeros(2), 0.0, None))
    if run is not None and correlation > run.expects(chance):
        run.last = spectrum
        run.kept.append(index)
        run.position.append(run.position[-1] + step)
        run.correlation.append(correlation)
        return
    if len(runs) == RUNS:
        runs.remove(min(runs, key=lambda run: len(run.kept)))
    runs.append(_Run(spectrum, [index]))


def _against_mean(frames: Frames, drift: Drift, max_step: float | None) -> Drift:
    """Each frame aligned with the mean of the others, which a common noise cannot pull; outliers dropped."""
    first = next(frames())
    box = box_of(first, drift)
    total = sum_aligned(frames, drift, box)
    limit = max_step or STEP * min(total.shape)
    compare = _comparison(replace(first, data=total.astype(np.float32)), limit, FADING)
    others = len(drift.kept) - 1
    steps, correlations = [], []
    for image, position in _kept(frames, drift):
        own = moved_part(image.data, position, box)
        mean = compare.spectrum(((total - own) / others).astype(np.float32))
        step, correlation = compare.displacement(mean, compare.spectrum(own))
        steps.append(step)
        correlations.append(correlation)
    good = _alike(np.array(correlations)) & (np.array(correlations) > compare.chance)
    if np.count_nonzero(good) < 2:
        raise _nothing_in_common(first, drift.count)
    moved = (drift.position + np.array(steps))[good]
    return Drift(drift.kept[good], moved - moved[0], drift.count)


def _alike(correlation: FloatArray) -> NDArray[np.bool_]:
    """Which frames correlate with the others about as well as most do."""
    median = float(np.median(correlation))
    deviation = 1.4826 * float(np.median(np.abs(correlation - median)))  # of a normal distribution
    return np.asarray(correlation >= min(median - DEVIATIONS * deviation, SHARE * median))


def _kept(frames: Frames, drift: Drift) -> Iterator[tuple[Image, FloatArray]]:
    """The frames that are kept, and their positions."""
    positions = dict(zip(drift.kept.tolist(), drift.position, strict=True))
    for index, image in enumerate(frames()):
        if index in positions:
            yield image, positions[index]


def sum_aligned(frames: Frames, drift: Drift, box: Box) -> FloatArray:
    """Sum of the aligned frames, of a part of the first kept one."""
    total = np.zeros((box[1] - box[0], box[3] - box[2]))
    for image, position in _kept(frames, drift):
        total += moved_part(image.data, position, box)
    return total


def _comparison(image: Image, limit: float, fading: float) -> Comparison:
    rows, columns = image.data.shape
    finest = FINEST_PIXELS
    if image.pixel_size is not None:
        finest = min(finest, FINEST * min(image.pixel_size))
    return Comparison((rows, columns), limit, finest, fading)


def box_of(first: Image, drift: Drift) -> Box:
    """The part of the first kept frame that all kept frames show. Raises ImageError if it is too small."""
    rows, columns = first.data.shape
    top, bottom, left, right = common_box((rows, columns), drift.position)
    if min(bottom - top, right - left) < MIN_SIDE:
        raise ImageError(
            f"{_title(first)}: the frames drift so far that they share {max(bottom - top, 0)} × {max(right - left, 0)} "
            f"pixels, at least {MIN_SIDE} on a side are needed: average fewer of them"
        )
    return top, bottom, left, right


def _first_of_several(frames: Frames) -> Image:
    start = list(itertools.islice(frames(), 2))
    if len(start) < 2:
        title = _title(start[0]) if start else "series"
        raise UsageError(
            f"{title}: {len(start)} image, and a mean needs a series of them: resolve it without --average"
        )
    return start[0]


def _check_alike(image: Image, first: Image) -> None:
    one, other = ((i.data.shape, i.pixel_size) for i in (first, image))
    if one != other:
        raise ImageError(
            f"{_title(first)}: all frames of a series have one shape and pixel size (Å), got {one[0]}, {one[1]} and "
            f"{other[0]}, {other[1]}"
        )


def _nothing_in_common(first: Image, count: int) -> ImageError:
    return ImageError(
        f"{_title(first)}: no two of {count} frames correlate, they are too noisy or show different places: choose one "
        "with frame= (--frame)"
    )


def _title(image: Image) -> str:
    return str(image.path or image.name)
