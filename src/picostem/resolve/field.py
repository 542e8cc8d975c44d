"""An image, or a part of it, made ready for a fit in real space: band-limited, sampled coarsely, its noise white.

The cosine transform of the image is divided by the square root of its noise spectrum, cut at BAND and transformed back
onto a coarser grid. A plane wave exp(2 pi i g . r) of the image becomes response(g) times itself, and the noise has
unit variance where the intensity is the mean one; `weight` makes up for its growth with the intensity.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from picostem.resolve.lattice import Spectrum
from picostem.resolve.noise import Noise

FloatArray = NDArray[np.float64]
FloatImage = NDArray[np.float32]

BAND = 1.35  # 1/Å; what is kept; probes of atomic-resolution microscopes pass little beyond
LEAST_VARIANCE = 0.3  # of the mean variance: the intensity that a sample's weight follows is a noisy one
OVERSAMPLING = 1.15  # of the grid over what that band needs


@dataclass(frozen=True)
class Field:
    """Samples of an image.

    Attributes:
        values: whitened, shape (ny, nx).
        weight: one over the relative standard deviation of the noise at each sample, shape (ny, nx).
        x, y: where the samples lie, image frame, pixels of the image, shapes (nx,) and (ny,).
        spectrum: of the image. gain: of the resampling.
        shape: rows and columns of the image.
        independent: how many samples of noise of their own there are for each sample.
    """

    values: FloatImage
    weight: FloatImage
    x: FloatArray
    y: FloatArray
    spectrum: Spectrum
    gain: float
    independent: float
    shape: tuple[int, int]

    @classmethod
    def of(cls, data: NDArray[np.float32], noise: Noise, pixel_size: float) -> Field:
        """The whole of an image with its mean subtracted, pixel size in Å."""
        side = [min(n, max(8, round(2 * BAND * OVERSAMPLING * pixel_size * n))) for n in data.shape]
        transform = fft.dctn(data.astype(np.float64), norm="ortho")[: side[0], : side[1]]
        frequency = [np.arange(m) / (2 * n) for m, n in zip(side, data.shape, strict=True)]
        radius = np.hypot(frequency[0][:, None], frequency[1])
        passed = radius <= BAND * pixel_size
        level = np.exp(np.interp(radius, noise.spectrum.radii, np.log(noise.spectrum.noise)))
        gain = float(np.sqrt(np.prod([n / m for m, n in zip(side, data.shape, strict=True)])))
        white = fft.idctn(np.where(passed, transform / np.sqrt(level), 0), norm="ortho")
        smooth = fft.idctn(np.where(passed, transform, 0), norm="ortho") / gain
        # the data have lost their mean, that of the image
        excess = float(data.mean(dtype=np.float64)) - noise.mean
        variance = np.maximum(1 + noise.slope * (smooth + excess), LEAST_VARIANCE)
        y, x = ((np.arange(m) + 0.5) * n / m - n / 2 for m, n in zip(side, data.shape, strict=True))
        weight = (1 / np.sqrt(variance)).astype(np.float32)
        shape = (data.shape[0], data.shape[1])
        return cls(white.astype(np.float32), weight, x, -y, noise.spectrum, gain, float(passed.mean()), shape)

    @property
    def spacing(self) -> tuple[float, float]:
        """Distance of the samples along y and x, pixels of the image."""
        return float(self.y[0] - self.y[1]), float(self.x[1] - self.x[0])

    def response(self, g: FloatArray) -> FloatArray:
        """What becomes of plane waves at frequencies g, cycles per pixel of the image, shape (..., 2)."""
        return np.asarray(self.gain / np.sqrt(self.spectrum.noise_at(g)))

    def cut(self, centre: tuple[float, float], side: float) -> Field:
        """The samples within a square about a centre (x, y), their new origin; in pixels of the image."""
        rows = np.abs(self.y - centre[1]) < side / 2
        cols = np.abs(self.x - centre[0]) < side / 2
        where = np.ix_(rows, cols)
        return replace(
            self,
            values=self.values[where],
            weight=self.weight[where],
            x=self.x[cols] - centre[0],
            y=self.y[rows] - centre[1],
        )
