"""Places of peaks of a known form against the Cramér-Rao bound, from few counts to many, and the time that they take.

The peaks are Gaussians on a level background, drawn from the formula: what is tested is the fit, not its model.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from picostem.atoms.find import find_atoms
from picostem.atoms.locate import locate
from picostem.atoms.peaks import Peaks, render
from picostem.atoms.predict import AtomNet
from picostem.atoms.recording import measure_recording
from picostem.atoms.refine import refine
from picostem.atoms.sampled import Sampled
from picostem.bench.atoms_bound import Profile, joint_bound
from picostem.bench.table import Table, number
from picostem.image import Image

FloatArray = NDArray[np.float64]
Value = TypeVar("Value")

SIGMA = 2.0  # pixels, standard deviation of a peak
LEVEL = 0.05  # of the background, in heights of a peak
OFF = 0.4  # pixels rms that the fit starts from the true place
COUNTS = (30, 100, 300, 1000, 2000)
ARRANGED = {"apart": (14.0, 0.0), "dense": (7.0, 0.0), "pairs": (20.0, 4.6)}
"""Pixels between middles, and between the peaks of a pair; 4.6 is 0.8 Å for peaks 0.8 Å wide at half height."""
SIDE, PITCH, BRIGHT = 1024, 12.0, 500.0
"""Of the image that is timed: pixels, pixels between atoms, counts."""


@dataclass(frozen=True)
class Figures:
    """A table and what it shows, for JSON."""

    table: Table
    figures: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return self.figures

    def tables(self) -> list[Table]:
        """The one."""
        return [self.table]


@dataclass(frozen=True)
class Precision:
    """Of peaks of so many counts: rms error and bound along one axis, pixels; rms of errors over their own bounds;
    share of coordinates in 95 % intervals."""

    arrangement: str
    counts: int
    peaks: int
    rms: float
    bound: float
    over_bound: float
    inside_95: float


def positions(side: int = 20, counts: Sequence[int] = COUNTS, seed: int = 0) -> Figures:
    """Fit peaks of known places, from starts nearby, and compare with the bound of the true peaks.

    Args:
        side: middles along rows and columns. counts: of each peak; the second of a pair has 0.6 of them.
    """
    rng = np.random.default_rng(seed)
    scored = [precision(name, side, number, rng) for name in ARRANGED for number in counts]
    rows = tuple(
        (
            one.arrangement,
            str(one.counts),
            str(one.peaks),
            number(one.rms, 3),
            number(one.bound, 3),
            number(one.over_bound, 2),
            f"{100 * one.inside_95:.1f} %",
        )
        for one in scored
    )
    head = ("peaks", "counts", "number", "rms px", "bound px", "rms/bound", "in 95 %")
    return Figures(Table("Places of Gaussian peaks", head, rows), {"peaks": [vars(one) for one in scored]})


def precision(arrangement: str, side: int, counts: int, rng: np.random.Generator) -> Precision:
    """One image's."""
    pitch, apart = ARRANGED[arrangement]
    middle = np.mgrid[:side, :side].reshape(2, -1).T * pitch + pitch + rng.uniform(-0.5, 0.5, (side * side, 2))
    angle = rng.uniform(0, np.pi, len(middle))
    away = apart / 2 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    place = np.concatenate([middle - away, middle + away]) if apart else middle
    intensity = np.full(len(place), float(counts))
    intensity[len(middle) :] *= 0.6
    shape = (round((side + 1) * pitch),) * 2
    level = LEVEL * counts / (2 * np.pi * SIGMA**2)
    expected = render(Peaks.at(place, intensity, (SIGMA, SIGMA)), shape) + level
    start = Peaks.at(
        place + rng.normal(0, OFF, place.shape), intensity.mean() * np.ones(len(place)), (1.1 * SIGMA,) * 2
    )
    fit = refine(rng.poisson(expected).astype(np.float64), start)
    least = joint_bound(expected, place, intensity, [_gaussian()], np.zeros(len(place), dtype=np.intp))
    bound = np.diagonal(least.covariance, axis1=1, axis2=2)
    errors, stated = fit.peaks.place - place, np.diagonal(fit.covariance, axis1=1, axis2=2)[:, 1:3]
    return Precision(
        arrangement,
        counts,
        len(place),
        float(np.sqrt(np.mean(errors**2))),
        float(np.sqrt(np.mean(bound))),
        float(np.sqrt(np.mean(errors**2 / bound))),
        float(np.mean(errors**2 < 1.96**2 * stated)),
    )


def speed(weights: str | None = None, side: int = SIDE, seed: int = 0) -> Figures:
    """Time detection and refinement of an image's atoms.

    Args:
        weights: folder of a network, timed too. side: of the image, pixels.
    """
    rng = np.random.default_rng(seed)
    along = np.arange(PITCH, side - PITCH / 2, PITCH)
    place = np.stack(np.meshgrid(along, along), axis=-1).reshape(-1, 2)
    place = place + rng.uniform(-0.5, 0.5, place.shape)
    peaks = Peaks.at(place, np.full(len(place), BRIGHT), (SIGMA, SIGMA))
    counts = rng.poisson(render(peaks, (side, side)) + LEVEL * BRIGHT / (2 * np.pi * SIGMA**2)).astype(np.float64)
    image = Image(counts.astype(np.float32)).with_pixel_size(0.2, "user")

    def located() -> int:
        sampled = Sampled.of(image)
        recording = measure_recording(sampled.data, sampled.sigma)
        return len(locate(recording.counts(sampled.data), sampled.sigma).place)

    start = Peaks.at(place + rng.normal(0, OFF, place.shape), peaks.intensity, (1.1 * SIGMA,) * 2)
    jobs: dict[str, Callable[[], int]] = {
        "detection, maxima": located,
        "refinement": lambda: len(refine(counts, start).peaks),
        "all: find_atoms": lambda: len(find_atoms(image)),
    }
    if weights is not None:
        net = AtomNet.load(weights)
        jobs["detection, network"] = lambda: len(net.look(image).detections())
    figures: list[dict[str, Any]] = []
    for name, job in jobs.items():
        atoms, wall, busy = _timed(job)
        figures.append({"what": name, "atoms": atoms, "seconds": wall, "processor_seconds": busy})
    rows = tuple(
        (
            one["what"],
            str(one["atoms"]),
            number(one["seconds"], 2),
            number(one["processor_seconds"], 2),
            number(one["atoms"] / one["seconds"], 0),
        )
        for one in figures
    )
    head = ("what", "atoms", "s", "processor s", "atoms/s")
    return Figures(Table(f"An image of {side}²", head, rows), {"times": figures})


def _gaussian() -> Profile:
    """A peak of one count."""
    axis = np.arange(-50, 51) * 0.2
    line = np.exp(-(axis**2) / (2 * SIGMA**2)) / np.sqrt(2 * np.pi * SIGMA**2)
    return Profile.sampled(np.outer(line, line), 0.2)


def _timed(job: Callable[[], Value]) -> tuple[Value, float, float]:
    """What a job gives, the seconds that it takes, and those of all processors."""
    with threadpool_limits(1, user_api="blas"):
        wall, busy = time.perf_counter(), time.process_time()
        value = job()
        return value, time.perf_counter() - wall, time.process_time() - busy
