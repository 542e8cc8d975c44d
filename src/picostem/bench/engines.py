"""`picostem bench engines`: fit, network and hybrid asked about the same images, whose truth need not be known."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from picostem.bench.slip import untrusted_share
from picostem.bench.table import Table, number, percent
from picostem.errors import PicostemError
from picostem.files import read_image
from picostem.pipeline import resolve_with
from picostem.resolve.result import Result, SlipMap
from picostem.resolve.settings import Engine, Settings
from picostem.structure import SlipEquivalence, load_monolayer

HEAD = ("image", "engine", "verdict", "slips Å", "±", "from the fit's", "windows", "from the fit's, median", "95 %")
MORE = ("from the net", "untrusted", "s")


@dataclass(frozen=True)
class Answer:
    """What one engine says of one image.

    Attributes:
        slips: of all interfaces, Å, lower layer's crystal frame. sigmas: their stated errors, Å.
        apart: the largest distance of a slip from the fit's, Å; None where either has none.
        windows: that have a slip. apart_windows: median and 95 % quantile of their distances from the fit's, Å.
        from_net: share of the windows whose slip is the network's.
        failure: why there is no answer.
    """

    image: str
    engine: Engine
    verdict: str
    seconds: float
    slips: tuple[tuple[float, float], ...] = ()
    sigmas: tuple[float, ...] = ()
    apart: float | None = None
    windows: int = 0
    apart_windows: tuple[float, float] | None = None
    from_net: float | None = None
    untrusted: float | None = None
    failure: str | None = None


def measure(
    images: Sequence[Path], settings: Settings, net: str | None, progress: Callable[[str, int, int], None] | None = None
) -> list[Answer]:
    """Resolve each image with each engine.

    Args:
        settings: of all, but for engine and network. net: a network's name or folder; None for a shipped one.
        progress: called with the image's name, how many answers there are, and all.

    Raises:
        UsageError: no such material.
    """
    equivalence = SlipEquivalence(load_monolayer(settings.material))
    engines: tuple[Engine, ...] = get_args(Engine)
    answers: list[Answer] = []
    for path in images:
        first: Result | None = None
        for engine in engines:
            if progress is not None:
                progress(path.stem, len(answers), len(images) * len(engines))
            start = time.perf_counter()
            asked = replace(settings, engine=engine, net=None if engine == "fit" else net)
            try:
                result = resolve_with(read_image(path), asked)
            except PicostemError as error:
                taken = time.perf_counter() - start
                answers.append(Answer(path.stem, engine, "failed", taken, failure=str(error)))
                continue
            first = first or result
            answers.append(_answer(path.stem, engine, result, first, equivalence, time.perf_counter() - start))
    return answers


def _answer(
    name: str, engine: Engine, result: Result, first: Result, equivalence: SlipEquivalence, seconds: float
) -> Answer:
    told, before = (each.interfaces if each.verdict == "slip" else () for each in (result, first))
    found, other = (np.array([one.slip for one in each]).reshape(-1, 2) for each in (told, before))
    alike = len(found) and found.shape == other.shape
    return Answer(
        name,
        engine,
        result.verdict,
        seconds,
        slips=tuple((float(x), float(y)) for x, y in found),
        sigmas=tuple(one.slip_sigma for one in told),
        apart=float(equivalence.distance(found, other).max()) if alike else None,
        windows=int(np.sum(result.map.status == "ok")) if result.map else 0,
        apart_windows=_apart(result.maps, first.maps, equivalence),
        from_net=_share_of_net(result.map) if result.map else None,
        untrusted=untrusted_share(result.map) if result.map else None,
    )


def _apart(
    maps: Sequence[SlipMap], others: Sequence[SlipMap], equivalence: SlipEquivalence
) -> tuple[float, float] | None:
    """Median and 95 % quantile over coarse windows that have a slip in both maps, of all interfaces."""
    distances = [np.zeros(0)]
    for one, other in zip(maps, others, strict=False):
        count = int(np.prod(one.grid))
        both = (one.status[:count] == "ok") & (other.status[:count] == "ok")
        distances.append(equivalence.distance(one.slip[:count][both], other.slip[:count][both]))
    every = np.concatenate(distances)
    return (float(np.median(every)), float(np.quantile(every, 0.95))) if every.size else None


def _share_of_net(slip_map: SlipMap) -> float:
    return 0.0 if slip_map.engine is None else float(np.mean(slip_map.engine == "net"))


def as_dict(answers: Sequence[Answer]) -> dict[str, Any]:
    """For JSON."""
    return {"answers": [asdict(one) for one in answers]}


def tables(answers: Sequence[Answer]) -> list[Table]:
    """One line for each image and engine, and why there is none."""
    rows = tuple(
        (
            one.image,
            one.engine,
            one.verdict,
            ", ".join(f"({x:.3f}, {y:.3f})" for x, y in one.slips) or "–",
            ", ".join(f"{sigma:.3f}" for sigma in one.sigmas) or "–",
            number(one.apart, 3),
            str(one.windows),
            *(number(value, 3) for value in one.apart_windows or (None, None)),
            percent(one.from_net),
            percent(one.untrusted),
            number(one.seconds, 1),
        )
        for one in answers
    )
    failed = tuple((one.image, one.engine, one.failure) for one in answers if one.failure)
    return [Table("Engines", HEAD + MORE, rows)] + [Table("Failed", ("image", "engine", "why"), failed)] * bool(failed)
