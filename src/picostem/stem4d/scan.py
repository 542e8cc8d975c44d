"""A scan of diffraction patterns with its calibration, read block by block: it may be larger than memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from picostem.errors import DataError, UsageError
from picostem.physics import FloatArray, electron_wavelength

Unit = Literal["1/Å", "px"]

UNCALIBRATED: FloatArray = np.array([[0.0, 1.0], [-1.0, 0.0]])
"""kx along the columns, ky against the rows: y is up."""


@dataclass(frozen=True, eq=False)
class Detector:
    """Where in reciprocal space the pixels of a pattern lie.

    (kx, ky) = matrix @ (row - centre_row, col - centre_col), x right and y up in the frame of the scan.

    Attributes:
        shape: rows and columns of a pattern.
        centre: (row, column) of the optic axis, pixels.
        matrix: shape (2, 2), `unit` per pixel. It holds non-square and elliptical pixels, the scan's rotation and
            flips; not calibrated it is UNCALIBRATED.
        unit: of (kx, ky).
        mask: shape (rows, columns), True where pixels count.
        voltage_eV: needed for angles; None if unknown.

    Raises:
        UsageError: parts that do not fit each other, a matrix without inverse, a mask without pixels.
    """

    shape: tuple[int, int]
    centre: tuple[float, float]
    matrix: FloatArray
    unit: Unit
    mask: NDArray[np.bool_]
    voltage_eV: float | None = None

    def __post_init__(self) -> None:
        if len(self.shape) != 2 or min(self.shape) < 1:
            raise UsageError(f"a detector has rows and columns, got the shape {self.shape}")
        if len(self.centre) != 2 or not np.all(np.isfinite(self.centre)):
            raise UsageError(f"a detector's centre is (row, column) in pixels, got {self.centre}")
        matrix = np.asarray(self.matrix)
        if matrix.shape != (2, 2) or not np.all(np.isfinite(matrix)) or np.linalg.det(matrix) == 0:
            raise UsageError(f"a detector's matrix is 2 × 2 with an inverse, got {matrix.tolist()}")
        if self.unit not in ("1/Å", "px"):
            raise UsageError(f"a detector's unit is '1/Å' or 'px', got {self.unit!r}")
        if np.shape(self.mask) != tuple(self.shape) or np.asarray(self.mask).dtype != np.bool_:
            raise UsageError(
                f"a detector's mask is bool of shape {self.shape}, "
                f"got {np.asarray(self.mask).dtype} of {np.shape(self.mask)}"
            )
        if not np.any(self.mask):
            raise UsageError("a detector's mask leaves no pixel: True means that a pixel counts")
        if self.voltage_eV is not None:
            electron_wavelength(self.voltage_eV)  # raises if it is not positive

    @classmethod
    def plain(cls, shape: tuple[int, int], voltage_eV: float | None = None) -> Detector:
        """A detector of which nothing is known: its centre is the geometric one, in pixels; all of them count."""
        centre = ((shape[0] - 1) / 2, (shape[1] - 1) / 2)
        return cls(shape, centre, UNCALIBRATED, "px", np.ones(shape, bool), voltage_eV)

    def vectors(self) -> FloatArray:
        """(kx, ky) of every pixel in `unit`, shape (rows, columns, 2)."""
        offset = np.moveaxis(np.indices(self.shape, float), 0, -1) - self.centre
        return np.asarray(offset @ np.asarray(self.matrix, float).T)

    @property
    def mrad(self) -> float | None:
        """Scattering angle in mrad per `unit`, lambda k for small angles; None where that is not known."""
        if self.unit == "px" or self.voltage_eV is None:
            return None
        return 1e3 * electron_wavelength(self.voltage_eV)


@dataclass(frozen=True, eq=False)
class Scan4D:
    """A diffraction pattern at every position of a scan.

    Attributes:
        data: shape (rows, columns, detector rows, detector columns), real numbers: a NumPy array or memory map, an
            h5py data set, a dask array or the like. Never loaded whole.
        step_A: (row, column) distance of scan positions in Å, or None if unknown.
        descan: shape (2, 3), pixels: the pattern's centre at scan position (i, j) lies at
            detector.centre + descan @ (1, i, j).

    Raises:
        DataError: not four axes of real numbers, or empty.
        UsageError: a calibration that does not fit the data.
    """

    data: Any
    detector: Detector
    step_A: tuple[float, float] | None = None
    name: str = "array"
    descan: FloatArray = field(default_factory=lambda: np.zeros((2, 3)))

    def __post_init__(self) -> None:
        check_data(self.data, self.name)
        if tuple(self.detector.shape) != tuple(self.data.shape[2:]):
            raise UsageError(
                f"{self.name}: the detector has {self.detector.shape} pixels, the patterns {self.data.shape[2:]}: "
                "make the detector for this scan"
            )
        if self.step_A is not None and not (len(self.step_A) == 2 and all(0 < s < math.inf for s in self.step_A)):
            raise UsageError(f"{self.name}: step_A is (row, column) in Å, both positive, got {self.step_A}")
        if np.shape(self.descan) != (2, 3) or not np.all(np.isfinite(self.descan)):
            raise UsageError(f"{self.name}: descan is a 2 × 3 matrix in pixels, got shape {np.shape(self.descan)}")

    @classmethod
    def of(
        cls,
        data: Any,
        *,
        name: str = "array",
        step_A: tuple[float, float] | None = None,
        detector: Detector | None = None,
    ) -> Scan4D:
        """A scan from an array; without a detector its centre is the geometric one, its unit the pixel.

        Raises: as the class.
        """
        check_data(data, name)
        return cls(data, detector or Detector.plain((int(data.shape[2]), int(data.shape[3]))), step_A, name)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of scan positions."""
        return int(self.data.shape[0]), int(self.data.shape[1])

    def blocks(self, megabytes: float = 64) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Consecutive flat scan positions slice(start, stop) and their patterns, shape (n, rows, columns), as stored.

        A block has at most `megabytes` (10⁶ bytes), or one pattern where that is larger. Whole rows of the scan are
        taken where they fit, aligned with the pieces in which the file is stored. Memory-mapped files are not copied;
        what has been read of them leaves the memory of the process again.
        """
        rows, columns = self.shape
        fit = max(1, int(1e6 * megabytes / (np.dtype(self.data.dtype).itemsize * math.prod(self.data.shape[2:]))))
        if fit >= columns:
            step = _aligned(min(fit // columns, rows), self.data)
            for i in range(0, rows, step):
                stop = min(i + step, rows)
                yield slice(i * columns, stop * columns), self._patterns(slice(i, stop))
                self._forget()
            return
        for i in range(rows):
            for j in range(0, columns, fit):
                stop = min(j + fit, columns)
                yield slice(i * columns + j, i * columns + stop), self._patterns(i, slice(j, stop))
                self._forget()

    def centres(self) -> FloatArray:
        """(row, column) of the centre of every pattern in pixels, shape (rows × columns, 2)."""
        i, j = np.indices(self.shape, float).reshape(2, -1)
        return np.asarray(self.detector.centre + np.stack([np.ones_like(i), i, j], axis=1) @ np.asarray(self.descan).T)

    def _patterns(self, *key: int | slice) -> NDArray[Any]:
        part = self.data[key]
        if hasattr(part, "compute"):  # dask: one thread, as HDF5 has one lock and the caller may have its own workers
            part = part.compute(scheduler="synchronous")
        return np.asarray(part).reshape(-1, *self.detector.shape)

    def _forget(self) -> None:
        """Let go of the pages of a file mapped for reading, which count as memory of the process until then."""
        if isinstance(self.data, np.memmap) and self.data.mode == "r":
            import mmap

            mapped = getattr(self.data, "_mmap", None)
            if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
                mapped.madvise(mmap.MADV_DONTNEED)


def check_data(data: Any, name: str) -> None:
    """Refuse what is no scan of patterns.

    Raises:
        DataError: not four axes of real numbers, or empty.
    """
    shape = getattr(data, "shape", None)
    if shape is None or not hasattr(data, "dtype"):
        raise DataError(f"{name}: expected an array, got {type(data).__name__}: pass it through numpy.asarray")
    if len(shape) != 4:
        raise DataError(
            f"{name}: 4D-STEM data have four axes (scan rows, scan columns, detector rows, detector columns), "
            f"got shape {tuple(shape)}: reshape the array"
        )
    if min(shape) < 1:
        raise DataError(f"{name}: the scan is empty, its shape is {tuple(shape)}")
    if np.dtype(data.dtype).kind not in "biuf":
        raise DataError(f"{name}: counts must be real numbers, got {data.dtype}: save the intensity")


def _aligned(rows: int, data: Any) -> int:
    """As many rows as fit, in whole pieces of the file (h5py, zarr or dask) where there are that many."""
    chunks = getattr(data, "chunks", None)
    piece = (chunks[0][0] if isinstance(chunks[0], tuple) else chunks[0]) if chunks else 1
    return rows // piece * piece or rows
