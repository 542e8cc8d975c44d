"""A learned style put on images, by onnxruntime: the networks as they were exported, and nothing of what trained them.

Content at a pixel size that the style was trained for is taken as it is. Other content is brought to the style's own
pixel size, styled there, and the result brought back to the content's own grid: the grain of the noise, which is drawn
at the network's pixel size, then keeps its size in Å, and a coarser grid averages some of it away.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from picostem.errors import DataError, UsageError
from picostem.onnx_file import open_network
from picostem.style.picture import Picture, by_mean
from picostem.style.regrid import covering, regridded
from picostem.style.tiles import MULTIPLE, run_in_tiles, up
from picostem.style.weights import ATTRIBUTE, GENERATOR, StyleCard, generator_inputs, read_card, style_folder

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

FloatImage = NDArray[np.float32]

TILE = 1024
"""Pixels on a side of the tiles that a large image is styled in."""

PRIOR = 0.0
"""Share of the standard normal prior in the variance of a sampled attribute; the rest is between the exemplars'."""

WHOLE_REACH = 64
"""Pixels around a tile that are thrown away where a network sees the whole picture: seams are faded over, not exact."""

_SAME = 1e-3  # relative: pixel sizes that tif files round differently are one


@dataclass(frozen=True)
class Attribute:
    """How one image looks: what the attribute encoder made of it, and the grey values that mean 0 and 1.

    Attributes:
        name: of the image, or of how it was sampled.
        vector: the attribute.
        black, white: grey values of styled images where the network says 0 and 1.
    """

    name: str
    vector: tuple[float, ...]
    black: float = 0.0
    white: float = 1.0


@dataclass(frozen=True, eq=False, repr=False)
class Style:
    """A style that can be put on pictures; made by `Style.load`.

    Attributes:
        card: what it is.
        generator, encoder: its networks; no encoder where it has no attributes.
        fingerprint: of the generator's file.
    """

    card: StyleCard
    generator: InferenceSession
    encoder: InferenceSession | None
    fingerprint: str

    @staticmethod
    def load(name_or_folder: str | Path, *, threads: int = 0) -> Style:
        """A shipped style by its name, or any style folder; `threads` for each image, 0 for all cores.

        Raises:
            UsageError: no style of this name (the message lists those there are), or a negative number of threads.
            DataError: no style folder, another format, or networks that are missing, damaged or not a style's.
        """
        if threads < 0:
            raise UsageError(f"threads is {threads}; expected 0 for all cores, or a number of them")
        folder = style_folder(name_or_folder)
        card = read_card(folder)
        generator = open_network(folder / GENERATOR, threads)
        _check(generator, set(generator_inputs(card)), {"image"}, folder / GENERATOR)
        fingerprint = hashlib.sha256((folder / GENERATOR).read_bytes()).hexdigest()[:16]
        if not card.attribute_size:
            return Style(card, generator, None, fingerprint)
        encoder = open_network(folder / ATTRIBUTE, threads)
        _check(encoder, {"image"}, {"mean", "log_variance"}, folder / ATTRIBUTE)
        return Style(card, generator, encoder, fingerprint)

    @property
    def pixel_size(self) -> float:
        """The pixel size, Å, that the style knows best: that of its training, or the nearest that augmentation left."""
        low, high = self.card.pixel_range_A
        return min(max(self.card.pixel_size_A, low), high)

    def pixel_size_for(self, pixel_size: float) -> float:
        """The pixel size, Å, at which content is styled: its own if that is in the style's range, else the style's."""
        low, high = self.card.pixel_range_A
        known = low * (1 - _SAME) <= pixel_size <= high * (1 + _SAME)
        return pixel_size if known else self.pixel_size

    def attribute_of(self, picture: Picture) -> Attribute:
        """How a picture looks: the mean that the attribute encoder gives, averaged over the parts of a large picture.

        As the exemplars are, the picture is brought to the style's own pixel size: grain's size is part of the look.

        Raises:
            DataError: the encoder fails, or gives values that are not finite.
        """
        if self.encoder is None:
            return Attribute(picture.name, (), picture.black, picture.white)
        data = _resampled(picture, self.pixel_size)
        sums, total = np.zeros(self.card.attribute_size), 0
        for part in _patches(data):
            mean = _run(self.encoder, {"image": part[None, None]}, "mean").reshape(-1)
            if mean.size != self.card.attribute_size:
                raise DataError(
                    f"style {self.card.name!r}: the encoder gives {mean.size} numbers, the card says "
                    f"{self.card.attribute_size}: export the style again"
                )
            sums, total = sums + mean * part.size, total + part.size
        return Attribute(picture.name, tuple((sums / total).tolist()), picture.black, picture.white)

    def exemplar(self, name: str) -> Attribute:
        """The style of an image that it was trained on; raises `UsageError` with the names there are."""
        one = self.card.exemplar(name)
        black, white = (0.0, 1.0) if one.black is None or one.white is None else (one.black, one.white)
        return Attribute(one.name, one.attribute, black, white)

    def sample(self, rng: np.random.Generator, prior: float = PRIOR) -> Attribute:
        """A random attribute, a = sqrt(1 - p) sum_k w_k a_k + sqrt(p) n.

        a_k are the exemplars', w random weights that sum to one, each mixture as likely, n standard normal and p =
        `prior`: 0 gives looks between the exemplars, 1 the prior that training pulls all attributes to. Without
        exemplars it is the prior. Grey values are mixed as the attributes are.

        Raises:
            UsageError: prior is not from 0 to 1.
        """
        if not 0 <= prior <= 1:
            raise UsageError(f"prior is {prior}; expected a share from 0 to 1")
        normal = rng.standard_normal(self.card.attribute_size)
        if not self.card.exemplars:
            return Attribute("sampled", tuple(normal.tolist()))
        known = [self.exemplar(one.name) for one in self.card.exemplars]
        weights = rng.dirichlet(np.ones(len(known)))
        mixed = weights @ np.array([one.vector for one in known])
        black, white = weights @ np.array([(one.black, one.white) for one in known])
        vector = math.sqrt(1 - prior) * mixed + math.sqrt(prior) * normal
        return Attribute("sampled", tuple(vector.tolist()), float(black), float(white))

    def apply(
        self, picture: Picture, attribute: Attribute, rng: np.random.Generator, *, tile: int = TILE
    ) -> FloatImage:
        """A picture's content in the style of an attribute.

        The noise is drawn once for the whole picture, so that tiles share it.

        Args:
            picture: the content, noise-free.
            attribute: of this style.
            rng: draws the noise; not used by a network that takes none.
            tile: side in pixels of the tiles of a picture that has more than two tiles' pixels.

        Returns:
            shape as the picture's, float32, in the attribute's grey values.

        Raises:
            UsageError: the attribute is not of this style's size.
            DataError: the network fails, or gives values that are not finite; or the mean of the content's greys is
                not positive, where the style goes by it.
        """
        if len(attribute.vector) != self.card.attribute_size:
            raise UsageError(
                f"attribute {attribute.name!r} has {len(attribute.vector)} numbers, style {self.card.name!r} takes "
                f"{self.card.attribute_size}: use an attribute of this style"
            )
        size = self.pixel_size_for(picture.pixel_size)
        content = _resampled(by_mean(picture) if self.card.greys == "mean" else picture, size)
        rows, columns = content.shape
        images = [np.pad(content, ((0, up(rows) - rows), (0, up(columns) - columns)), mode="reflect")]
        if self.card.takes_noise:
            images.append(rng.standard_normal(images[0].shape, dtype=np.float32))
        network = self._generator_for(attribute)
        styled = run_in_tiles(network, images, tile, self.card.receptive_field_px or WHOLE_REACH)[:rows, :columns]
        if abs(size / picture.pixel_size - 1) >= _SAME:
            styled = regridded(styled, size / picture.pixel_size, (picture.data.shape[0], picture.data.shape[1]))
        return np.asarray(attribute.black + (attribute.white - attribute.black) * styled, dtype=np.float32)

    def _generator_for(self, attribute: Attribute) -> Callable[..., FloatImage]:
        """The generator with one attribute, from parts of content and noise to a part of the image."""
        vector = np.array([attribute.vector], dtype=np.float32)

        def network(*parts: FloatImage) -> FloatImage:
            feed = {name: part[None, None] for name, part in zip(("content", "noise"), parts, strict=False)}
            result = _run(self.generator, feed | ({"attribute": vector} if attribute.vector else {}), "image")
            if result.shape != (1, 1, *parts[0].shape):
                raise DataError(
                    f"the style's generator made {result.shape} of {parts[0].shape} pixels: export it again"
                )
            return np.asarray(result[0, 0])

        return network


def _resampled(picture: Picture, pixel_size: float) -> FloatImage:
    """The picture's data at a pixel size, as it is where that is its own."""
    if abs(pixel_size / picture.pixel_size - 1) < _SAME:
        return picture.data
    enlarge = picture.pixel_size / pixel_size
    return regridded(picture.data, enlarge, covering(picture.data.shape, enlarge))


def _patches(data: FloatImage) -> list[FloatImage]:
    """The image in parts of at most TILE on a side, side by side, their sides multiples of MULTIPLE."""
    cuts = []
    for length in data.shape:
        count = math.ceil(length / TILE)
        side = length // count // MULTIPLE * MULTIPLE
        cuts.append([slice(i * side, (i + 1) * side) for i in range(count)])
    return [np.ascontiguousarray(data[row, column]) for row in cuts[0] for column in cuts[1]]


def _run(session: InferenceSession, feed: dict[str, Any], output: str) -> FloatImage:
    """One output of a network, finite."""
    try:
        (result,) = session.run([output], feed)
    except Exception as error:  # onnxruntime's exceptions have no common base of their own
        reason = " ".join(str(error).split())[:160]
        raise DataError(
            f"the style's network failed ({reason}): export the style again, or use smaller tiles"
        ) from error
    if not np.isfinite(result).all():
        raise DataError(
            "the style's network gave NaN or infinite values: its weights are damaged; copy or train it again"
        )
    return np.asarray(result, dtype=np.float32)


def _check(session: InferenceSession, inputs: set[str], outputs: set[str], path: Path) -> None:
    found = ({one.name for one in session.get_inputs()}, {one.name for one in session.get_outputs()})
    if found != (inputs, outputs):
        raise DataError(
            f"{path}: not a style's network: expected {sorted(inputs)} -> {sorted(outputs)}, "
            f"found {sorted(found[0])} -> {sorted(found[1])}; export the style again"
        )
