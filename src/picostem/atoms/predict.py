"""Atoms of an image by a trained network, without torch: in tiles that overlap, for images of any size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from picostem.atoms.blobs import Blobs, find_blobs
from picostem.atoms.card import CARD, AtomCard
from picostem.atoms.reading import Reading
from picostem.errors import DataError
from picostem.image import Image, check_image
from picostem.net_folder import NETWORK
from picostem.onnx_file import open_network

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

FloatArray = NDArray[np.float64]
Single = NDArray[np.float32]

SHIPPED = Path(__file__).parent / "shipped"
"""Folders of the networks that come with the package, by name."""
TILE, OVERLAP = 512, 64
"""Pixels that the network reads."""
SIDES = 4
"""What the sides of a tile must be a multiple of."""
LONGEST = 1.5
"""Pixels: an offset that leads further away is an error."""
VACANCY = "vacancy"
"""The class of what is no atom."""
SAME = 1.5
"""Pixels: of two maxima that lead to places nearer than that, the less probable one goes."""


@dataclass(frozen=True, eq=False)
class Detections:
    """Atoms: row and column, pixels, shape (n, 2); probability, shape (n,); class, shape (n,)."""

    place: FloatArray
    score: FloatArray
    kind: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.place)


@dataclass(frozen=True, eq=False)
class AtomNet:
    """A trained network, ready to be asked."""

    card: AtomCard
    session: InferenceSession = field(repr=False)

    @classmethod
    def load(cls, name_or_folder: str | Path, threads: int = 0) -> AtomNet:
        """A network that comes with the package, by name, or that of a folder; `threads` 0 takes all cores.

        Raises:
            DataError: a file is missing, damaged, not what the card says, or reaches out of itself.
        """
        shipped = SHIPPED / str(name_or_folder)
        folder = shipped if (shipped / CARD).is_file() else Path(name_or_folder).expanduser()
        return cls(AtomCard.read(folder), open_network(folder / NETWORK, threads))

    def look(self, image: Image) -> Output:
        """What it says of an image.

        Raises:
            ImageError: too small, too large, with NaN or infinite pixels, constant, or saturated.
            DataError: the network cannot be run, or gives no numbers.
        """
        check_image(image)
        reading = Reading.of(image)
        heat, offset = in_tiles(self._said, reading.data, len(self.card.classes))
        return Output(self.card, reading, heat, offset, (image.data.shape[0], image.data.shape[1]))

    def _said(self, tile: Single) -> tuple[Single, Single]:
        try:
            heat, offset = self.session.run(["heat", "offset"], {"image": tile[None, None]})
        except Exception as error:  # onnxruntime's exceptions have no common base of their own
            reason = " ".join(str(error).split())[:160]
            raise DataError(f"net {self.card.name!r} cannot be run ({reason}): copy it again") from error
        if heat.shape[1] != len(self.card.classes) or not (np.isfinite(heat).all() and np.isfinite(offset).all()):
            raise DataError(f"net {self.card.name!r} does not give what its card says: train it again")
        return heat[0], offset[0]


@dataclass(frozen=True, eq=False)
class Output:
    """The output layer of a network for an image.

    Attributes:
        card: of the network. reading: the image as it was read. heat, offset: in those pixels, as `in_tiles` gives
            them. shape: of the image, rows and columns.
    """

    card: AtomCard
    reading: Reading
    heat: Single
    offset: Single
    shape: tuple[int, int]

    def detections(self, threshold: float | None = None) -> Detections:
        """What is found, in pixels of the image, from top to bottom, sites without atoms too.

        Args:
            threshold: least probability, instead of the card's.
        """
        found = decode(self.heat, self.offset, self.card.threshold if threshold is None else threshold)
        place = self.reading.image_from_place(found.place)
        order = np.flatnonzero(np.all((place > -0.5) & (place < np.array(self.shape) - 0.5), axis=1))
        order = order[np.lexsort((place[order, 1], place[order, 0]))]
        return Detections(place[order], self.card.probability(found.score[order]), found.kind[order])

    def atoms(self) -> FloatArray:
        """Row and column of the atoms, pixels of the image, shape (n, 2)."""
        found = self.detections()
        return np.asarray(found.place[np.array(self.card.classes)[found.kind] != VACANCY])

    def blobs(self) -> Blobs:
        """The blobs of its output, in pixels of the image."""
        blobs = find_blobs(self.heat, self.card.threshold)
        row, col = self.reading.image_from_place(np.column_stack([blobs.row, blobs.col])).T
        return replace(blobs, row=row, col=col)


def in_tiles(
    said: Callable[[Single], tuple[Single, Single]],
    data: Single,
    classes: int,
    tile: int = TILE,
    overlap: int = OVERLAP,
) -> tuple[Single, Single]:
    """Probabilities, shape (classes, rows, columns), and offsets, (2, rows, columns), of an image of any size.

    Where tiles overlap they are averaged, with weights that fall towards each tile's border.

    Args:
        said: both for a tile whose sides are multiples of SIDES. data: shape (rows, columns). tile, overlap: pixels.
    """
    rows, columns = data.shape
    padded = np.pad(data, [(0, -n % SIDES) for n in data.shape], mode="edge")
    starts = [_starts(n, tile, overlap) for n in padded.shape]
    sides = [min(n, tile) for n in padded.shape]
    ramps = [np.minimum(np.arange(1, n + 1), np.arange(n, 0, -1)).clip(max=overlap) / overlap for n in sides]
    weight = np.outer(*ramps).astype(np.float32)
    total = np.zeros((classes + 2, *padded.shape), dtype=np.float32)
    share = np.zeros(padded.shape, dtype=np.float32)
    for top in starts[0]:
        for left in starts[1]:
            at = np.s_[top : top + sides[0], left : left + sides[1]]
            heat, offset = said(np.ascontiguousarray(padded[at]))
            total[:classes][:, *at] += weight * heat
            total[classes:][:, *at] += weight * offset
            share[at] += weight
    total /= share
    total = total[:, :rows, :columns]
    return total[:classes], total[classes:]


def _starts(length: int, tile: int, overlap: int) -> NDArray[np.intp]:
    """First pixels of tiles that cover a length, evenly spread, multiples of SIDES."""
    if length <= tile:
        return np.zeros(1, dtype=np.intp)
    count = -(-(length - overlap) // (tile - overlap))
    return (np.linspace(0, length - tile, count) // SIDES * SIDES).astype(np.intp)


def decode(heat: Single, offset: Single, threshold: float) -> Detections:
    """Local maxima of probabilities, each moved by the offset there.

    Args:
        heat: shape (classes, rows, columns). offset: shape (2, rows, columns), pixels.
    """
    best = heat.max(axis=0)
    row, column = np.nonzero((best == ndimage.maximum_filter(best, size=3, mode="constant")) & (best > threshold))
    order = np.argsort(-best[row, column])
    row, column = row[order], column[order]
    away = np.clip(offset[:, row, column].T.astype(np.float64), -LONGEST, LONGEST)
    place = np.stack([row, column], axis=1) + away
    score, kind = best[row, column].astype(np.float64), heat[:, row, column].argmax(axis=0)
    kept = np.ones(len(place), dtype=bool)
    for one, other in sorted(cKDTree(place).query_pairs(SAME)) if len(place) else ():
        kept[other] &= not kept[one]
    return Detections(place[kept], score[kept], kind[kept])
