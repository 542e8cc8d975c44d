"""Images with their calibration: an array never travels without its pixel size and where that came from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from picostem.errors import ImageError

CalibrationSource = Literal["file", "user", "lattice"]

MAX_SIDE = 20_000
"""Pixels. A square of it takes 1.6 GB as float32, and the few copies that a Fourier transform needs still fit into
16 GB. Scan generators stop at 16 384; a header that claims more is damaged, a montage, or meant to exhaust memory."""

MIN_SIDE = 32
"""Pixels. At 0.1 Å per pixel this is 3.2 Å, about one unit cell: with less there is no lattice to measure."""

SATURATED_SHARE = 0.01
"""Share of the pixels that may sit at the clipping value. If all atoms are alike (Gaussians 0.9 Å wide at half height,
one in 10 Å²), clipping 1 % of the pixels cuts them at 90 % of their height and takes 0.5 % of their intensity; if only
the brightest quarter of the atoms clips, these lose 7 %, and the stacking is read from just that brightness."""

PILE_UP = 4.0
"""How many times more frequent than the next lower value the clipping value is. Unclipped histograms end in a tail:
their highest value is the rarest (low counts), or about as frequent as the next (flat peaks in 8 bit, ratio 1.4)."""


@dataclass(frozen=True)
class Acquisition:
    """What the file says of the microscope; None where it says nothing.

    Angles are in radians (half angles), the voltage in eV. tip: a tip scanned a surface, and there were no electrons of
    a beam to count.
    """

    voltage_eV: float | None = None
    semiangle: float | None = None
    detector_inner: float | None = None
    detector_outer: float | None = None
    tip: bool = False


@dataclass(frozen=True, eq=False, repr=False)
class Image:
    """One two-dimensional micrograph. Compared by identity.

    Image frame: x right, y up, origin at the centre: col = (nx - 1)/2 + x/dx, row = (ny - 1)/2 - y/dy.

    Attributes:
        data: shape (rows, columns), float32, arbitrary intensity units.
        pixel_size: (row, column) spacing in Å, or None if unknown.
        pixel_size_source: where the pixel size came from; None exactly when it is unknown.
        notes: what was done to the file's values on reading that the user should know, a sentence each.

    Raises:
        ImageError: the array is not two-dimensional, or pixel size and source do not go together.
    """

    data: NDArray[np.float32]
    pixel_size: tuple[float, float] | None = None
    pixel_size_source: CalibrationSource | None = None
    name: str = "array"
    path: Path | None = None
    acquisition: Acquisition = field(default_factory=Acquisition)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if np.ndim(self.data) != 2:
            raise ImageError(f"an image has two dimensions, got an array of shape {np.shape(self.data)}")
        if (self.pixel_size is None) != (self.pixel_size_source is None):
            raise ImageError(
                "a pixel size and where it came from go together, "
                f"got {self.pixel_size} from {self.pixel_size_source}: use with_pixel_size"
            )

    def __repr__(self) -> str:
        rows, columns = self.data.shape
        size = "pixel size unknown"
        if self.pixel_size is not None:
            size = f"{self.pixel_size[0]:.4g} × {self.pixel_size[1]:.4g} Å/px ({self.pixel_size_source})"
        voltage = self.acquisition.voltage_eV
        kilovolts = "voltage unknown" if voltage is None else f"{voltage / 1e3:g} kV"
        return f"<Image {self.name!r}: {rows} × {columns} px, {size}, {kilovolts}>"

    def with_pixel_size(self, pixel_size: float | tuple[float, float], source: CalibrationSource) -> Image:
        """The same image with another calibration (Å; one number for square pixels)."""
        both = (pixel_size, pixel_size) if isinstance(pixel_size, int | float) else pixel_size
        if len(both) != 2 or not all(np.isfinite(p) and p > 0 for p in both):
            raise ImageError(f"pixel size must be positive and finite, got {pixel_size}")
        return replace(self, pixel_size=(float(both[0]), float(both[1])), pixel_size_source=source)


def check_size(shape: tuple[int, ...], name: str) -> None:
    """Refuse an image that is empty or larger than MAX_SIDE, before memory is taken for it.

    Raises:
        ImageError: naming the shape and the limit.
    """
    if min(shape) < 1:
        raise ImageError(f"{name}: the image is empty, its shape is {shape}")
    if max(shape) > MAX_SIDE:
        size = " × ".join(str(n) for n in shape)
        raise ImageError(f"{name}: {size} pixels are more than {MAX_SIDE} on a side: crop or bin the image first")


def check_image(image: Image) -> None:
    """Refuse what no lattice can be measured in.

    Saturation is judged here, on float32, and not on the file's integers: what clips, clips at one value, and equal
    values stay equal in any conversion. So a calibrated, 12-bit or 8-bit image is judged alike.

    Raises:
        ImageError: too small, too large, with NaN or infinite pixels, constant, or saturated.
    """
    name, data = image.name, image.data
    check_size(data.shape, name)
    if min(data.shape) < MIN_SIDE:
        rows, columns = data.shape
        raise ImageError(f"{name}: {rows} × {columns} pixels show no lattice, at least {MIN_SIDE} on a side are needed")
    bad = data.size - int(np.count_nonzero(np.isfinite(data)))
    if bad:
        raise ImageError(
            f"{name}: {bad} of {data.size} pixels are NaN or infinite: "
            "crop them away, or replace them by the values around them"
        )
    if data.min() == data.max():
        raise ImageError(f"{name}: all pixels are {data.flat[0]:g}: is it the right data set of the file?")
    share = saturated_share(data)
    if share > SATURATED_SHARE:
        raise ImageError(
            f"{name}: {share:.1%} of the pixels are clipped at {data.max():g}, so the atoms have lost their tops: "
            "use the original data or lower the detector's gain"
        )


def saturated_share(data: NDArray[np.float32]) -> float:
    """Share of the pixels that pile up at the highest value; 0 if the histogram just ends there.

    data: shape (rows, columns), finite and not constant.
    """
    highest = data.max()
    at_highest = np.count_nonzero(data == highest)
    next_lower = data.max(where=data < highest, initial=-np.inf)
    at_next = np.count_nonzero(data == next_lower)
    return at_highest / data.size if at_highest > PILE_UP * at_next else 0.0
