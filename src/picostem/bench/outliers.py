"""`picostem bench outliers`: whether a network knows what it was not trained for, and believes what it was.

Good windows are those of perfect crystals of the network's stack, with vacancies too. The others show one layer,
another material read on the network's lattice, a film without order, or electrons alone. Both are asked twice: as
windows, whose harmonics are read at the lattice that they should have, and as images, by `resolve` with that network.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picostem.bench.ask import Given, ask
from picostem.bench.case import Case, load_cases
from picostem.bench.curves import OVERLAPPING_NM, WINDOW_NM, noise_free, windowed
from picostem.bench.curves_spoil import Step
from picostem.bench.table import Table, percent
from picostem.errors import DataError
from picostem.image import Image
from picostem.infer.predict import StackingNet
from picostem.physics import KV, MRAD, NM, SIGMA_PER_FWHM
from picostem.resolve.model import Optics, StackModel
from picostem.resolve.window import extract_harmonics, window_starts
from picostem.structure import load_monolayer

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

HEAD = ("what", "windows", "not trusted", "images", "answers", "windows with a slip")
GOOD, NOISE = "the stack itself", "noise"


@dataclass(frozen=True)
class Kind:
    """What became of all windows and images of one kind.

    Attributes:
        good: whether it is what the network is for.
        windows: that were shown to the network. doubted: share of them that it does not trust.
        images: that `resolve` was asked about. answers: what it said of them, by how often.
        resolved: share of their windows that have a slip in the end.
    """

    name: str
    good: bool
    windows: int
    doubted: float
    images: int
    answers: dict[str, int]
    resolved: float


@dataclass(frozen=True)
class OutliersReport:
    """All kinds."""

    kinds: tuple[Kind, ...]

    def totals(self) -> dict[str, float | None]:
        """Shares, each kind counted alike: good windows not trusted, others not trusted; the same of `resolve`."""

        def share(values: list[float]) -> float | None:
            return float(np.mean(values)) if values else None

        return {
            "false_alarms": share([one.doubted for one in self.kinds if one.good]),
            "caught": share([one.doubted for one in self.kinds if not one.good]),
            "resolve_false_alarms": share([1 - one.resolved for one in self.kinds if one.good]),
            "resolve_caught": share([1 - one.resolved for one in self.kinds if not one.good]),
        }

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"kinds": [asdict(one) for one in self.kinds], "totals": self.totals()}

    def tables(self) -> list[Table]:
        """One line for each kind, and what they come to."""
        rows = tuple(
            (
                one.name,
                str(one.windows),
                _tenths(one.doubted),
                str(one.images),
                ", ".join(f"{count} {answer}" for answer, count in one.answers.items()),
                percent(one.resolved),
            )
            for one in self.kinds
        )
        totals = tuple((name.replace("_", " "), _tenths(value)) for name, value in self.totals().items())
        return [Table("What a network knows", HEAD, rows), Table("Together", ("share", "value"), totals)]


def measure(
    folder: Path,
    net: str,
    *,
    draws: int = 2,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> OutliersReport:
    """Ask a network about what it knows and what it does not.

    Args:
        folder: with images NAME.tif and truths NAME.json, without noise; see benchmarks/curve_set.py.
        net: a network's name or folder.
        draws: recordings of each image.
        seed: of their electrons.
        progress: called with the image's name, how many recordings are done, and all.

    Raises:
        FileError: the folder holds no cases.
        DataError: none of them is of the network's stack, or none of anything else; or the network's files are damaged.
        UsageError: no such network.
    """
    asked = StackingNet.load(net, threads=1)
    cases = [case for case in load_cases(folder) if noise_free(case)]
    good = [case for case in cases if _kind(case, asked) == GOOD]
    if not good or len(good) == len(cases):
        raise DataError(
            f"{folder}: expected noise-free images of {asked.card.material} bilayers and of other things, found "
            f"{len(good)} and {len(cases) - len(good)}: make them with benchmarks/curve_set.py"
        )
    jobs = [(case, name, draw) for case, name in _named(cases, good[0], asked) for draw in range(draws)]
    trusted: dict[str, list[BoolArray]] = {}
    resolved: dict[str, list[float]] = {}
    answers: dict[str, Counter[str]] = {}
    for index, (case, name, draw) in enumerate(jobs):
        if progress is not None:
            progress(case.name, index, len(jobs))
        rng = np.random.default_rng([seed, draw, zlib.crc32(f"{name} {case.name}".encode())])
        image = _recorded(case, name, rng)
        trusted.setdefault(name, []).append(_trusted(asked, case, name, image, rng))
        answer, share = _resolved(case, image, asked.card.material, net)
        answers.setdefault(name, Counter())[answer] += 1
        resolved.setdefault(name, []).append(share)
    return OutliersReport(
        tuple(
            Kind(
                name=name,
                good=name == GOOD,
                windows=len(np.concatenate(parts)),
                doubted=float(1 - np.concatenate(parts).mean()),
                images=len(parts),
                answers=dict(answers[name]),
                resolved=float(np.mean(resolved[name])),
            )
            for name, parts in trusted.items()
        )
    )


def _named(cases: list[Case], model: Case, net: StackingNet) -> list[tuple[Case, str]]:
    """The cases with their kinds, the good ones first, and one whose image gives way to noise of its mean."""
    named = [(case, _kind(case, net)) for case in cases] + [(model, NOISE)]
    return sorted(named, key=lambda one: one[1] != GOOD)


def _kind(case: Case, net: StackingNet) -> str:
    """What an image shows, for a network of parallel bilayers."""
    if case.task == "negative":
        return str(case.truth["negative"])
    return GOOD if case.task == "slip" and case.material == net.card.material else f"{case.task} of {case.material}"


def _recorded(case: Case, name: str, rng: np.random.Generator) -> Image:
    image, _ = windowed(case, Step("none"), rng)
    if name == NOISE:
        return replace(image, data=rng.poisson(image.data.mean(), image.data.shape).astype(np.float32))
    return image


def _trusted(net: StackingNet, case: Case, name: str, image: Image, rng: np.random.Generator) -> BoolArray:
    """Whether the network trusts what it says of each window of an image of counted electrons, shape (k,)."""
    pixel = float(case.truth["image"]["pixel_size_A"])
    side, stride = (round(length * NM / pixel) for length in (WINDOW_NM, OVERLAPPING_NM))
    starts = tuple(window_starts(n, side, stride) for n in image.data.shape)
    reciprocal = np.asarray(np.linalg.inv(_rows(net, case, name, rng)).T * pixel, dtype=np.float64)
    data = image.data - np.float32(image.data.mean(dtype=np.float64))
    found = extract_harmonics(data, reciprocal, net.invariants.hk, side, (starts[0], starts[1])).amplitudes
    floor = np.exp(net.card.limits[0][0]) * np.linalg.norm(found, axis=1) if net.card.limits else 0.0
    noise = np.maximum(np.sqrt(image.data.mean(dtype=np.float64)) / side, floor)
    microscope = case.truth["microscope"]
    inner, semiangle = microscope["detector_mrad"][0], microscope["semiangle_mrad"]
    conditions = np.array([microscope["kV"] / 300, semiangle / 25, inner / semiangle])
    if net.card.limits:
        conditions = np.clip(conditions, *np.array(net.card.limits)[:, 1:])
    count, factors = len(found), _factors(net, microscope)
    said = net.predict(found, np.full(count, noise), np.tile(factors, (count, 1, 1)), np.tile(conditions, (count, 1)))
    return said.trusted


def _factors(net: StackingNet, truth: Mapping[str, Any]) -> NDArray[np.complex128]:
    """How each layer alone would look in a microscope, but for its astigmatism and coma, shape (layers, n)."""
    inner, outer = truth["detector_mrad"]
    optics = Optics(truth["kV"] * KV, truth["semiangle_mrad"] * MRAD, 0.0, inner * MRAD, outer * MRAD, "user")
    model = StackModel.build(
        (load_monolayer(net.card.material),) * net.card.layers, net.invariants.hk, np.eye(2), optics
    )
    values = dict(zip(model.prior.names, model.prior.mean, strict=True))
    values |= {"C10": -truth["defocus_A"], "variance": (truth["source_fwhm_A"] * SIGMA_PER_FWHM) ** 2}
    return model.layer_factors(np.array(list(values.values())))[0]


def _rows(net: StackingNet, case: Case, name: str, rng: np.random.Generator) -> FloatArray:
    """Lattice vectors at which an image is read as the network's material, Å, image frame, shape (2, 2).

    Another crystal's are its own, or whole multiples of them, that come nearest: then all its reflections are read, as
    a fit does that takes the pixel size to be wrong. What has no lattice is read at the network's, in any orientation.
    """
    cell = np.array(net.card.cell)
    if name == NOISE or case.expected == ("unresolved",):
        turn = rng.uniform(0, 2 * np.pi)
        return np.asarray(cell @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]))
    multiples = np.rint(cell @ np.linalg.inv(case.monolayers[0].cell))
    own = np.array(case.truth["layers"][0]["rows_image_A"])
    return np.asarray(multiples @ own if np.linalg.det(multiples) > 0 else own)


def _resolved(case: Case, image: Image, material: str, net: str) -> tuple[str, float]:
    """What `resolve` says of an image by that network alone, and the share of the windows that have a slip then."""
    bare = replace(image, pixel_size=None, pixel_size_source=None)
    as_told = replace(case, truth={**case.truth, "layers": [{"structure": material}]})
    try:
        result = ask(as_told, bare, Given(engine="net", net=net), window_nm=WINDOW_NM, stride_nm=WINDOW_NM)
    except DataError:
        return "refused", 0.0
    if result.verdict != "slip" or result.map is None:
        return result.verdict, 0.0
    return result.verdict, float(np.mean(result.map.status[~result.map.fine] == "ok"))


def _tenths(share: float | None) -> str:
    """A share in per cent with one decimal: what counts is a hundredth."""
    return "–" if share is None else f"{100 * share:.1f} %"
