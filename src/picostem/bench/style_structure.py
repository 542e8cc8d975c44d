"""The structure of many styled images: slips spread over the cell, styled, resolved, and their columns matched."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from picostem.bench.style_kept import GAUSSIAN, STYLED, Kept, SlipKept, slip_kept, slips_apart
from picostem.bench.style_likeness import styled_picture
from picostem.bench.style_peaks import Matched, match_columns
from picostem.errors import UsageError
from picostem.image import Image
from picostem.simulate import Microscope
from picostem.style.baseline import with_equal_noise
from picostem.style.picture import Picture
from picostem.style.pool import PUBLISHED_MICROSCOPE, Simulation, simulate_pool
from picostem.style.transfer import Attribute, Style

SIDE_BY_SIDE = 2
"""Processes; more only make sense where there are more cores."""


def structure_kept(
    material: str,
    style: str | Path,
    attributes: Sequence[Attribute],
    *,
    count: int,
    pixel_size: float,
    extent: float,
    seed: int = 0,
    microscope: Microscope = PUBLISHED_MICROSCOPE,
    baseline: bool = True,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Kept, ...]:
    """Styled images of slips spread over the cell, and the same with Gaussian noise as strong: resolved, and matched.

    Args:
        material: of both layers.
        style: name or folder; each process loads it.
        attributes: of the style, taken in turn.
        count: how many slips. pixel_size, extent: of the images, Å.
        seed: of slips, places and noise.
        microscope: of the simulation, told to `resolve` but for its aberrations.
        baseline: whether to take the images with Gaussian noise, too.
        progress: called with a name, the images done, and all.

    Returns:
        of styled images, and of those with Gaussian noise.

    Raises:
        UsageError: no attributes, or a count that is not positive.
    """
    if not attributes:
        raise UsageError("expected one attribute at least, got none: name an image to take the style from")
    pool = simulate_pool(material, count, pixel_size=pixel_size, extent=extent, seed=seed, microscope=microscope)
    jobs = [
        _Job(one, attributes[index % len(attributes)], np.random.SeedSequence([seed, index]), microscope, baseline)
        for index, one in enumerate(pool)
    ]
    found = []
    with ProcessPoolExecutor(
        min(SIDE_BY_SIDE, os.cpu_count() or 1), get_context("spawn"), _load, (str(style),)
    ) as processes:
        for index, one in enumerate(processes.map(_examine, jobs, chunksize=4)):
            found.append(one)
            if progress is not None:
                progress("structure", index + 1, count)
    names = (STYLED, GAUSSIAN) if baseline else (STYLED,)
    return tuple(
        Kept(
            name,
            tuple(one[k].slip for one in found),
            tuple(one[k].columns for one in found),
            tuple(apart for one in found if (apart := one[k].apart) is not None),
        )
        for k, name in enumerate(names)
    )


@dataclass(frozen=True)
class _Job:
    """One simulation to be styled and examined; carries its own seed, so that the order does not matter."""

    simulation: Simulation
    attribute: Attribute
    seed: np.random.SeedSequence
    microscope: Microscope
    baseline: bool


_loaded: list[Style] = []


def _load(style: str) -> None:
    """Load the style once in each process; images run side by side, so that each takes one thread."""
    _loaded[:] = [Style.load(style, threads=1)]


@dataclass(frozen=True)
class _Examined:
    slip: SlipKept
    columns: Matched
    apart: float | None = None


def _examine(job: _Job) -> tuple[_Examined, ...]:
    """The styled image, and that with Gaussian noise as strong if it is asked for."""
    rng = np.random.default_rng(job.seed)
    clean = job.simulation.picture
    styled = styled_picture(clean, _loaded[0], job.attribute, rng)
    images = (styled, with_equal_noise(clean, styled, rng)) if job.baseline else (styled,)
    first, *others = (
        _Examined(slip_kept(_image(one), job.simulation.truth, job.microscope), match_columns(one, clean))
        for one in images
    )
    if others:
        first = replace(first, apart=slips_apart(first.slip, others[0].slip, job.simulation.truth))
    return first, *others


def _image(picture: Picture) -> Image:
    return Image(picture.data, (picture.pixel_size, picture.pixel_size), "user", picture.name)
