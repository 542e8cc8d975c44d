"""Patches cropped from noise-free multislice images whose truth is known, as another source than drawn ones.

Any folder of images NAME.tif with truths NAME.json does, as `picostem.simulate.write_simulation` writes them:
multislice takes half a minute an image, so that they are made once, beforehand (benchmarks/multislice_set.py and
twist_set.py, each with --noise-free). Reading them needs no abTEM.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picostem.dataset.bank import Bank
from picostem.dataset.patch_plan import PatchPlan
from picostem.dataset.patch_samples import PatchSamples, suffered
from picostem.dataset.patch_windows import Windows
from picostem.errors import DataError, FileError
from picostem.files import read_image
from picostem.physics import DEGREE
from picostem.structure import load_monolayer
from picostem.style.recording import is_noise_free

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

HELD = 0.1
"""Share of the images that is kept from training."""


@dataclass(frozen=True, eq=False)
class PatchImages:
    """Images that patches are cropped from: anywhere, turned and enlarged as the plan says, then made to suffer.

    Attributes:
        plan: of the patches. bank: of its stack, for what mirrors make of its slips.
        windows: of each image, that hold a patch turned any way. labels: as of `PatchSamples`, shape (n, c).
        digest: SHA-256 of the images and their truths.
    """

    plan: PatchPlan
    bank: Bank
    windows: tuple[Windows, ...]
    labels: FloatArray
    digest: str

    def __len__(self) -> int:
        return len(self.windows)

    @classmethod
    def load(cls, plan: PatchPlan, bank: Bank) -> PatchImages:
        """Those of the plan's folder that show its stack; others are left out. An image of 4 nm takes 0.2 MB.

        Raises:
            DataError: none of them does, one is too small for a patch turned any way, or a truth is damaged.
            FileError: an image or a truth cannot be read.
        """
        windows, labels, digest = [], [], hashlib.sha256()
        for path in sorted(Path(plan.images).expanduser().glob("*.json")):
            content, image = _read(path), path.with_suffix(".tif")
            try:
                truth = json.loads(content)
                if not image.is_file() or not _shows(truth, plan):
                    continue
                windows.append(_windows(image, truth, plan))
                labels.append(_label(truth, plan))
            except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
                raise DataError(f"{path} is no truth of an image ({error!r}): make it anew, or take it away") from error
            digest.update(content + _read(image))
        if not windows:
            raise DataError(
                f"{plan.images}: no noise-free multislice images of {plan.task} of {plan.material}: make some with "
                "benchmarks/multislice_set.py or twist_set.py, --noise-free"
            )
        return cls(plan, bank, tuple(windows), np.array(labels), digest.hexdigest())

    def split(self) -> tuple[PatchImages, PatchImages]:
        """Those to train with, and the share HELD, at least one, to measure errors with; always the same ones.

        Raises:
            DataError: there is one image only.
        """
        if len(self) < 2:
            raise DataError(f"{self.plan.images}: one image is not enough to train and to measure: make more")
        order = np.random.default_rng(0).permutation(len(self))
        held = max(1, round(HELD * len(self)))
        return self._take(order[held:]), self._take(order[:held])

    def draw(self, rng: np.random.Generator, count: int) -> PatchSamples:
        """Patches of images drawn at random, each with its own place, mirror, dirt and noise."""
        return suffered(self.plan, self.bank, self.cropped(rng, count), rng)

    def cropped(self, rng: np.random.Generator, count: int) -> PatchSamples:
        """Patches without noise, each at its own place, angle and scale."""
        plan = self.plan
        rows, most = rng.integers(len(self), size=count), plan.rotation_deg * DEGREE
        angle, scale = rng.uniform(-most, most, count), 1 + rng.uniform(-plan.scale, plan.scale, count)
        place = rng.uniform(-1, 1, (count, 2))
        patches = np.empty((count, plan.side, plan.side), dtype=np.float32)
        for i, row in enumerate(rows):
            view = self.windows[row].turned(angle[i], scale[i])
            patches[i] = view.taken((place[i] * view.reach())[None])[0]
        return PatchSamples(patches, self.labels[rows])

    def _take(self, rows: IntArray) -> PatchImages:
        return replace(self, windows=tuple(self.windows[row] for row in rows), labels=self.labels[rows])


def _shows(truth: Mapping[str, Any], plan: PatchPlan) -> bool:
    """Whether a truth is that of a noise-free multislice image of the plan's stack."""
    fractions = is_noise_free(truth) and (truth["acquisition"]["gain"], truth["acquisition"]["offset"]) == (1, 0)
    if not fractions or "multislice" not in truth.get("simulated", ""):
        return False
    if truth["task"] != ("slip" if plan.task == "antiparallel" else plan.task):
        return False
    name, layers = load_monolayer(plan.material).name, truth["layers"]
    upper = 180.0 if plan.task == "antiparallel" else 0.0
    placed = plan.task == "twist" or all(abs(layer["twist_deg"]) == upper for layer in layers[1:])
    return placed and all(layer["structure"] == name and not layer["flipped"] for layer in layers)


def _label(truth: Mapping[str, Any], plan: PatchPlan) -> FloatArray:
    """The stacking, as of `PatchSamples`, shape (c,)."""
    if plan.task == "twist":
        return np.array([truth["twist_deg"] * DEGREE])
    positions = np.array([layer["position_cart_A"] for layer in truth["layers"]])
    return np.asarray((np.diff(positions, axis=0) @ np.linalg.inv(plan.stack()[0].cell) % 1.0).ravel())


def _windows(path: Path, truth: Mapping[str, Any], plan: PatchPlan) -> Windows:
    """An image's patches, in which layer 1 lies as the plan says."""
    pixel, first = truth["image"]["pixel_size_A"], truth["layer1"]
    image = read_image(path).with_pixel_size(pixel, "user")
    least = math.sqrt(2) * plan.extent_A / (1 - plan.scale)
    if min(image.data.shape) * pixel < least:
        raise DataError(
            f"{path}: {min(image.data.shape) * pixel:.0f} Å hold no patch turned any way, which takes {least:.0f} Å: "
            f"make images with --field {math.ceil(least)}, or take smaller windows"
        )
    turn, rotation = plan.orientation_deg * DEGREE, first["rotation_deg"] * DEGREE
    return Windows.of(image, plan.side, plan.pixel_A, turn, rotation, first["mirrored"])


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from error
