"""A network asked for the twists of an image's windows: which network, and what it says of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from picostem.errors import DataError
from picostem.image import Image
from picostem.infer.folder import is_patch_net
from picostem.infer.patch_density import Density
from picostem.infer.patch_labels import NEAR_DEG, Labels
from picostem.infer.patch_predict import SURE, PatchNet
from picostem.physics import DEGREE
from picostem.resolve.twist_told import ToldTwists
from picostem.resolve.twisted import Twisted

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TwistEngine:
    """A network for twists, that the windows of an image of two like layers are asked about.

    Attributes:
        net: the network; it tells densities of twists, of patches that lie any way.
    """

    net: PatchNet

    @classmethod
    def choose(cls, folders: tuple[Path, ...], found: Twisted, *, named: bool) -> TwistEngine | None:
        """The one of some networks that is for twists, if the image shows what it knows.

        Args:
            folders: of networks for the layers' material. named: whether the user named the network.

        Raises:
            DataError: the network that the user named is none for what the image shows.
        """
        patches = [folder for folder in folders if is_patch_net(folder)]
        first, *others = found.best.lattices
        alike = len(found.layers) == 2 and all(other.mirrored == first.mirrored for other in others)
        if patches and alike:
            return cls(PatchNet.load(patches[0], threads=1))
        if named:
            knows = "two twisted layers, both seen from one side" if patches else "layers on one lattice"
            raise DataError(
                f"the image shows {len(found.layers)} twisted layers of {found.layers[0].name}, the network that --net "
                f"names knows {knows}: leave --net out, or take --engine fit"
            )
        return None

    def __call__(self, image: Image, centres: FloatArray, window: float, about: float) -> ToldTwists | None:
        """What the network says of windows; None if it cannot be asked about any.

        It is asked about the patch that is nearest to a window's centre, if that is whole and its centre in the window.

        Args:
            image: with square pixels and their size. centres: of the windows, image frame, Å, shape (n, 2).
            window: side of the windows, Å.
            about: twist of the lattices, rad; of twists that look the same, the nearest to it is told.

        Raises:
            ImageError: pixels that are not finite. DataError: a network that gives no numbers.
        """
        card = self.net.card
        reach = spare(image, card.extent_A)
        places = np.clip(centres, -reach, reach)
        asked = (np.abs(places - centres).max(axis=1) <= window / 2) & (reach.min() >= 0)
        if not asked.any():
            return None
        patches, index = np.unique(places[asked], axis=0, return_inverse=True)
        twist, sigma, sure = (np.full(len(centres), fill) for fill in (np.nan, np.nan, 0.0))
        said = self.net.numbers_at(image, patches)[index.ravel()]
        labels, sure[asked] = self.net.labels.decoded(said)
        twist[asked] = nearest(labels[:, 0], about, self.net.labels.unit[0, 0])
        sigma[asked] = standard_deviations(said, labels[:, 0], self.net.labels)
        return ToldTwists(twist, sigma, sure >= SURE, card.extent_A)


def spare(image: Image, side: float) -> FloatArray:
    """How far from the image's centre that of a patch may be, x and y, Å; negative where the image is smaller."""
    assert image.pixel_size is not None
    return np.asarray((np.array(image.data.shape[::-1]) * image.pixel_size[0] - side) / 2, dtype=np.float64)


def nearest(twists: FloatArray, about: float, period: float) -> FloatArray:
    """Of the twists that look like some, τ, -τ and these after whole periods, those nearest to another; rad, (k,)."""
    both = np.stack([twists, -twists])
    both += np.rint((about - both) / period) * period
    return np.asarray(np.where(np.abs(both[0] - about) <= np.abs(both[1] - about), both[0], both[1]))


def standard_deviations(numbers: NDArray[np.floating], twists: FloatArray, labels: Labels) -> FloatArray:
    """Root mean square distance from the likeliest twists of what is within NEAR_DEG of them, rad, shape (k,).

    That is the error if the likeliest twist is the right one; how likely that is, is how sure the network is.

    Args:
        numbers: what a network says, (k, 3 B). twists: the likeliest, as labels are, rad, (k,).
    """
    density, period = Density.of(numbers), labels.unit[0, 0]
    peak = (twists / period)[:, None]
    means = np.concatenate([density.means, -density.means, 1 - density.means], axis=1)
    weights, sigmas = (np.tile(part, 3) for part in (density.weights, density.sigmas))
    near = NEAR_DEG * DEGREE / period
    low, high = np.maximum(peak - near, 0.0), np.minimum(peak + near, 0.5)
    a, b, off = (low - means) / sigmas, (high - means) / sigmas, means - peak
    inside = ndtr(b) - ndtr(a)
    at_a, at_b = (np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) for z in (a, b))
    # second moment of a Gaussian about the peak, between two bounds
    square = (off**2 + sigmas**2) * inside + 2 * off * sigmas * (at_a - at_b) + sigmas**2 * (a * at_a - b * at_b)
    return np.asarray(np.sqrt((weights * square).sum(axis=1) / (weights * inside).sum(axis=1)) * period)
