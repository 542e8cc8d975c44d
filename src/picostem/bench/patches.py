"""Networks for patches on images whose truth is known: errors of windows all over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picostem.bench.ask import bare_image
from picostem.bench.case import Case, load_cases
from picostem.bench.table import Table, number, percent
from picostem.errors import DataError, ImageError
from picostem.image import Image
from picostem.infer.patch_labels import Labels
from picostem.infer.patch_learn import summary
from picostem.infer.patch_predict import SURE, PatchNet
from picostem.physics import DEGREE
from picostem.structure import load_monolayer

FloatArray = NDArray[np.float64]

STRIDE_A = 10.0
"""Between windows."""

HEAD = ("image", "true", "windows", "mean error", "worst", "sure")


@dataclass(frozen=True, eq=False)
class PatchScore:
    """Windows of one image.

    Attributes:
        error: Å or degrees, shape (k,). sure: as the network says, shape (k,).
        true: the twist, degrees; None of slips.
    """

    name: str
    error: FloatArray
    sure: FloatArray
    true: float | None


def measure(folder: Path, net: PatchNet, stride_A: float = STRIDE_A) -> list[PatchScore]:
    """Errors on the images of a folder that the network is for and that hold a window.

    Images are those of the network's material and task, of slips those of parallel layers. Pixel size, and where the
    network needs it the orientation of layer 1, are those of the truth.

    Raises:
        FileError: no images with their truth.
        DataError: none that the network is for, or a network that gives no numbers.
    """
    found = [score for case in load_cases(folder) if _fits(case, net) for score in _scored(case, net, stride_A)]
    if not found:
        card = net.card
        raise DataError(f"{folder}: no images of {card.task} of {card.material} with windows of {card.extent_A:.0f} Å")
    return found


def _fits(case: Case, net: PatchNet) -> bool:
    """Whether the image shows like layers of the network's material, parallel ones where it tells slips."""
    card = net.card
    names = {layer.name for layer in case.monolayers}
    parallel = card.task == "twist" or not case.twists.any()
    return case.task == card.task and names == {load_monolayer(card.material).name} and parallel


def _scored(case: Case, net: PatchNet, stride_A: float) -> list[PatchScore]:
    first = case.truth["layer1"]
    rotation, mirrored = (0.0, False) if net.card.any_orientation else (first["rotation_deg"], first["mirrored"])
    try:
        found = net.map(image_of(case), rotation=rotation * DEGREE, mirrored=mirrored, coarse_A=stride_A, fine_A=None)
    except ImageError:
        return []
    truth = true_label(case, net.labels)
    error = net.labels.distance(found.labels, np.tile(truth, (len(found.labels), 1)))
    unit = DEGREE if net.labels.twists else 1.0
    return [PatchScore(case.name, error / unit, found.sure, truth[0] / DEGREE if net.labels.twists else None)]


def image_of(case: Case) -> Image:
    """The image, with the true pixel size."""
    size = float(case.truth["image"]["pixel_size_A"])
    return replace(bare_image(case), pixel_size=(size, size), pixel_size_source="user")


def true_label(case: Case, labels: Labels) -> FloatArray:
    """The truth as the network's labels have it, canonical, shape (c,)."""
    if labels.twists:
        return np.asarray(labels.canonical(case.twists[:1, None])[0])
    steps = np.diff(case.positions, axis=0) @ np.linalg.inv(labels.unit)
    return np.asarray(labels.canonical(steps.reshape(1, -1))[0])


def totals(scores: Sequence[PatchScore], labels: Labels) -> dict[str, float | None]:
    """What all windows add up to, every image with the same weight, as `picostem.infer.patch_learn.summary` has it."""
    most = max(len(score.error) for score in scores)
    rows = [np.linspace(0, len(score.error) - 1, most).round().astype(np.int64) for score in scores]
    error = np.concatenate([score.error[row] for score, row in zip(scores, rows, strict=True)])
    sure = np.concatenate([score.sure[row] for score, row in zip(scores, rows, strict=True)])
    return summary(error, sure, labels)


def as_dict(scores: Sequence[PatchScore], labels: Labels) -> dict[str, Any]:
    """For JSON; errors in Å or degrees."""
    images = [
        {"name": one.name, "true_deg": one.true, "error": one.error.tolist(), "sure": one.sure.tolist()}
        for one in scores
    ]
    return {"images": images, "totals": totals(scores, labels)}


def tables(scores: Sequence[PatchScore], labels: Labels) -> list[Table]:
    """One line for each image, errors in Å or degrees, and what they add up to."""
    rows = [
        (
            score.name,
            number(score.true, 3),
            str(len(score.error)),
            number(float(score.error.mean()), 3),
            number(float(score.error.max()), 3),
            percent(float(np.mean(score.sure >= SURE))),
        )
        for score in scores
    ]
    together = tuple((key.replace("_", " "), number(value, 3)) for key, value in totals(scores, labels).items())
    return [
        Table("Windows by a network for patches", HEAD, tuple(rows)),
        Table("Together", ("figure", "value"), together),
    ]
