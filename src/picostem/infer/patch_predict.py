"""Slips and twists of patches by a trained network, without torch; and of windows all over an image.

Windows over an image are taken in two steps, as published (TED-Gen, SPM technique): coarse ones everywhere, and fine
ones where neighbouring coarse ones differ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from picostem.dataset.patch_windows import Windows, beside_change
from picostem.errors import DataError, UsageError
from picostem.image import Image
from picostem.infer.folder import read_patch_card
from picostem.infer.patch_card import PatchCard
from picostem.infer.patch_input import Read, standardised
from picostem.infer.patch_labels import Labels
from picostem.net_folder import NETWORK
from picostem.onnx_file import open_network
from picostem.physics import DEGREE

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Single = NDArray[np.float32]
Progress = Callable[[int, int], object]

SURE = 0.9
"""How sure a network is, from 0 to 1, from which on its twist counts as one that it knows."""

PIXELS = 2_000_000
"""Of the patches at once: a network of ResNet-50's width then takes some hundred MB."""

COARSE_A, FINE_A = 10.0, 1.0
"""Strides, as published: 1 nm and 1 Å."""

CHANGE_A, CHANGE_DEG = 0.3, 1.0
"""By how much neighbouring coarse windows differ where the stacking changes: ten times the published errors."""


@dataclass(frozen=True, eq=False)
class PatchMap:
    """Stackings of windows of an image.

    Attributes:
        centres: of the windows, Å, image frame, shape (m, 2).
        labels: canonical, as `picostem.infer.patch_labels` has them, shape (m, c).
        sure: how sure the network is, from 0 to 1, shape (m,).
        fine: windows of the second step, shape (m,).
    """

    centres: FloatArray
    labels: FloatArray
    sure: FloatArray
    fine: BoolArray


@dataclass(frozen=True, eq=False)
class PatchNet:
    """A trained network for patches, ready to be asked.

    Attributes:
        card: what it is for. labels: how its numbers become labels. read: what it reads of patches.
    """

    card: PatchCard
    session: InferenceSession = field(repr=False)
    labels: Labels
    read: Read = standardised

    @classmethod
    def load(cls, folder: str | Path, threads: int = 0) -> PatchNet:
        """The network of a folder; `threads` 0 takes all cores.

        Raises:
            DataError: a file is missing, damaged, not what the card says, or reaches out of itself.
        """
        card = read_patch_card(Path(folder))
        return cls(card, open_network(Path(folder) / NETWORK, threads), card.labels, card.read)

    def predict(self, patches: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Labels of patches, (k, side, side), in any unit, at the card's pixel size; and how sure it is, (k,).

        Returns:
            slips, fractions of the cell, or a twist, rad, canonical, shape (k, c).

        Raises:
            UsageError: patches of another size.
            DataError: pixels that are not finite, or a network that gives no numbers.
        """
        return self.labels.decoded(self.numbers(patches))

    def numbers(self, patches: ArrayLike) -> Single:
        """What the network itself says of patches, (k, `Labels.size`); arguments and errors as of `predict`."""
        values, side = np.asarray(patches), self.card.side
        if values.ndim != 3 or values.shape[1:] != (side, side):
            raise UsageError(
                f"net {self.card.name!r} takes patches of {side} × {side} pixels of {self.card.pixel_A:g} Å, got shape "
                f"{values.shape}: cut others out, do not stretch them"
            )
        batch = max(1, PIXELS // side**2)
        parts = [self._said(values[start : start + batch]) for start in range(0, max(len(values), 1), batch)]
        return np.concatenate(parts)

    def map(
        self,
        image: Image,
        *,
        rotation: float = 0.0,
        mirrored: bool = False,
        coarse_A: float = COARSE_A,
        fine_A: float | None = FINE_A,
        change: float | None = None,
        progress: Progress | None = None,
    ) -> PatchMap:
        """Stackings all over an image: coarse windows, then fine ones where these differ from their neighbours.

        Args:
            rotation: of layer 1's crystal frame in the image, counter-clockwise, rad; any where the card says so.
            mirrored: whether the crystal frame is seen mirrored.
            coarse_A, fine_A: strides, Å; no fine ones for None.
            change: by how much neighbours differ, Å or rad; None for CHANGE_A or CHANGE_DEG.
            progress: called with the number of windows done and in all of the step at hand.

        Raises:
            ImageError: an image that patches cannot be taken from.
            UsageError: strides that are not positive, the fine one larger than the coarse one, or too many windows.
            DataError: a network that gives no numbers.
        """
        if fine_A is not None and not 0 < fine_A <= coarse_A:
            raise UsageError(f"the fine stride is {fine_A:g} Å; expected above 0 to the coarse one, {coarse_A:g} Å")
        card = self.card
        turn = card.orientation_deg * DEGREE
        windows = Windows.of(image, card.side, card.pixel_A, turn, rotation, mirrored)
        grid = windows.grid(coarse_A)
        labels, sure = self._over(windows, grid.reshape(-1, 2), progress)
        first = PatchMap(grid.reshape(-1, 2), labels, sure, np.zeros(len(labels), dtype=np.bool_))
        if fine_A is None:
            return first
        limit = (CHANGE_DEG * DEGREE if self.labels.twists else CHANGE_A) if change is None else change
        changes = self._changes(labels.reshape(*grid.shape[:2], -1), limit)
        chosen = windows.grid(fine_A).reshape(-1, 2)
        chosen = chosen[beside_change(changes, grid, chosen, coarse_A)]
        if not len(chosen):
            return first
        labels, sure = self._over(windows, chosen, progress)
        second = PatchMap(chosen, labels, sure, np.ones(len(labels), dtype=np.bool_))
        parts = ("centres", "labels", "sure", "fine")
        return PatchMap(*(np.concatenate([getattr(first, name), getattr(second, name)]) for name in parts))

    def numbers_at(self, image: Image, centres: FloatArray) -> Single:
        """What the network itself says of patches around places of an image, Å, image frame, (k, 2).

        For networks that patches may be turned any way for; errors as of `map`.
        """
        card = self.card
        turn = card.orientation_deg * DEGREE
        return self._numbers_over(Windows.of(image, card.side, card.pixel_A, turn, turn, False), centres, None)

    def _over(self, windows: Windows, centres: FloatArray, progress: Progress | None) -> tuple[FloatArray, FloatArray]:
        """Labels of windows, and how sure they are."""
        return self.labels.decoded(self._numbers_over(windows, centres, progress))

    def _numbers_over(self, windows: Windows, centres: FloatArray, progress: Progress | None) -> Single:
        """What the network says of windows; no more patches are made at once than are asked at once."""
        batch = max(1, PIXELS // self.card.side**2)
        parts = []
        for start in range(0, len(centres), batch):
            parts.append(self.numbers(windows.taken(centres[start : start + batch])))
            if progress is not None:
                progress(min(start + batch, len(centres)), len(centres))
        return np.concatenate(parts)

    def _changes(self, labels: FloatArray, limit: float) -> BoolArray:
        """Which of the windows, (rows, columns, c), differ from one beside them by more than the limit."""
        found = np.zeros(labels.shape[:2], dtype=np.bool_)
        for one, other in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
            a, b = labels[one], labels[other]
            if a.size:
                far = self.labels.distance(a.reshape(-1, a.shape[-1]), b.reshape(-1, a.shape[-1])) > limit
                found[one] |= far.reshape(a.shape[:2])
                found[other] |= far.reshape(a.shape[:2])
        return found

    def _said(self, patches: NDArray[np.floating]) -> Single:
        try:
            (said,) = self.session.run(["labels"], {"patches": self.read(patches)})
        except DataError:
            raise
        except Exception as error:  # onnxruntime's exceptions have no common base of their own
            reason = " ".join(str(error).split())[:160]
            raise DataError(f"net {self.card.name!r} cannot be run ({reason}): copy it again") from error
        if said.shape != (len(patches), self.labels.size) or not np.isfinite(said).all():
            raise DataError(f"net {self.card.name!r} gives no labels: train it again")
        return np.asarray(said, dtype=np.float32)
