"""How much a styled image looks like the experiment, on the same content, and beside it what needs no style."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from picostem.bench.style_content import simulated_again
from picostem.bench.table import Table, number
from picostem.image import Image
from picostem.resolve.result import Result
from picostem.simulate import Microscope
from picostem.style.baseline import with_equal_noise, with_matched_greys
from picostem.style.metrics import Likeness, Score, score
from picostem.style.picture import Picture, prepare
from picostem.style.pool import PUBLISHED_MICROSCOPE
from picostem.style.transfer import Attribute, Style

NOISE_FREE, GAUSSIAN, MATCHED, STYLED = "noise-free", "Gaussian, same noise", "Gaussian, same greys", "styled"

DIGITS = {
    "d_kl": 4,
    "delta_ra": 4,
    "psnr": 1,
    "spectrum": 3,
    "spectrum_directional": 3,
    "noise_autocorrelation": 3,
    "frechet": 3,
}
HEAD = (
    "image",
    "D_KL",
    "ΔR_a",
    "PSNR dB",
    "spectrum",
    "directional",
    "autocorrelation",
    "Fréchet",
    "Gaussian/spectrum",
)


@dataclass(frozen=True)
class LikenessReport:
    """Scores against one experimental image of simulations of what it shows.

    Attributes:
        name: of the experimental image. style_from: the image that the style was taken from.
        attribute: of that style.
        scores: by NOISE_FREE, GAUSSIAN, MATCHED and STYLED.
        pixel_size: at which they are compared, Å.
        held_out: whether the style is that of another image.
    """

    name: str
    style_from: str
    attribute: Attribute
    scores: dict[str, Score]
    pixel_size: float
    held_out: bool

    @property
    def styled(self) -> Likeness:
        """Of the styled image."""
        return self.scores[STYLED].likeness

    @property
    def gain(self) -> dict[str, float]:
        """How many times smaller the spectrum distance is than that of each image with Gaussian noise."""
        own = max(self.styled.spectrum, 1e-12)
        return {name: self.scores[name].likeness.spectrum / own for name in (GAUSSIAN, MATCHED)}

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "image": self.name,
            "style_from": self.style_from,
            "held_out": self.held_out,
            "pixel_size_A": self.pixel_size,
            "spectrum_gain": self.gain,
            "scores": {name: one.as_dict() for name, one in self.scores.items()},
        }

    def table(self) -> Table:
        """One line for each kind of image, and the floor."""
        rows = [(name, *cells(one.likeness), self._ratio(one)) for name, one in self.scores.items()]
        floor = self.scores[STYLED].floor
        title = f"Likeness to {self.name}" + (f", style from {self.style_from}" if self.held_out else "")
        return Table(title, HEAD, (*rows, ("halves of the experiment", *cells(floor), "–")))

    def _ratio(self, one: Score) -> str:
        return number(self.scores[GAUSSIAN].likeness.spectrum / max(one.likeness.spectrum, 1e-12), 1)


def cells(likeness: Likeness) -> tuple[str, ...]:
    """The measures as short strings, in the order of HEAD."""
    return tuple(number(getattr(likeness, key), digits) for key, digits in DIGITS.items())


def compare(
    result: Result,
    style: Style,
    like: Image | None = None,
    *,
    microscope: Microscope = PUBLISHED_MICROSCOPE,
    seed: int = 0,
) -> LikenessReport:
    """Simulate the model of a resolved experimental image again, style it, and score all against the image.

    Compared at the pixel size that the style's networks take for the image.

    Args:
        result: of the experimental image.
        style: to be judged.
        like: image with its pixel size that the style is taken from; None takes it from the experimental image itself.
        microscope: of the simulation.
        seed: of noise and patches.

    Raises:
        DataError: the style cannot be applied.
    """
    reference = _at_style(result.image, style)
    content = simulated_again(result, reference.pixel_size, reference.data.shape, microscope)
    source = reference if like is None else _at_style(like, style)
    attribute, rng = style.attribute_of(source), np.random.default_rng(seed)
    made = {
        NOISE_FREE: content,
        GAUSSIAN: with_equal_noise(content, reference, rng),
        MATCHED: with_matched_greys(content, reference, rng),
        STYLED: styled_picture(content, style, attribute, rng),
    }
    scores = {name: score(one, reference, seed=seed) for name, one in made.items()}
    return LikenessReport(reference.name, source.name, attribute, scores, reference.pixel_size, like is not None)


def styled_picture(content: Picture, style: Style, attribute: Attribute, rng: np.random.Generator) -> Picture:
    """A noise-free picture in a style, normalised again."""
    data = style.apply(content, attribute, rng)
    return prepare(Image(data, (content.pixel_size, content.pixel_size), "user", content.name))


def _at_style(image: Image, style: Style) -> Picture:
    """The image at a pixel size that the style's networks take."""
    picture = prepare(image)
    size = style.pixel_size_for(picture.pixel_size)
    return picture if size == picture.pixel_size else prepare(image, size)
