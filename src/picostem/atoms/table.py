"""The atoms of an image as a table: arrays of equal length, and files of them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picostem.errors import UsageError
from picostem.version import VERSION

FloatArray = NDArray[np.float64]

SCHEMA = "picostem.atoms/1"
DIGITS = 7  # significant ones in text


@dataclass(frozen=True, eq=False)
class AtomTable:
    """Atoms of an image, each array of shape (n,) unless it says otherwise.

    Attributes:
        row, col: pixels. covariance: of (row, col), pixels², shape (n, 2, 2). shape: of the image, rows and columns.
        pixel_size: Å along rows and columns, or None.
        intensity, intensity_sigma: grey levels summed over the peak, its standard deviation. background: grey level.
        width: standard deviation of the peak, geometric mean of both axes, pixels. score: intensity in standard
            deviations of the image's noise. chi2: mean squared misfit within the peak, in variances.
        species: names, empty where unknown. p_species: probability of the species, NaN where unknown.
        anomaly, odd: how odd the atom is, NaN where not asked, and in what, see `picostem.atoms.anomaly`. frame: of a
            movie, else 0. track: -1 where not tracked.
    """

    row: FloatArray
    col: FloatArray
    covariance: FloatArray
    shape: tuple[int, int]
    pixel_size: tuple[float, float] | None
    intensity: FloatArray
    intensity_sigma: FloatArray
    background: FloatArray
    width: FloatArray
    score: FloatArray
    chi2: FloatArray
    species: NDArray[np.str_]
    p_species: FloatArray
    anomaly: FloatArray
    odd: NDArray[np.str_]
    frame: NDArray[np.int64]
    track: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, chosen: NDArray[np.bool_]) -> AtomTable:
        return replace(self, **{name: getattr(self, name)[chosen] for name in self._arrays()})

    @classmethod
    def joined(cls, tables: Sequence[AtomTable]) -> AtomTable:
        """The atoms of all frames of a movie, which are numbered in the order of the tables.

        Raises:
            UsageError: there are no frames, or they differ in shape or pixel size.
        """
        if not tables:
            raise UsageError("no frames to join: expected at least one table of atoms")
        first = tables[0]
        for index, table in enumerate(tables):
            if table.shape != first.shape or table.pixel_size != first.pixel_size:
                raise UsageError(
                    f"frame {index} has shape {table.shape} and pixel size {table.pixel_size}, frame 0 {first.shape} "
                    f"and {first.pixel_size}: take frames of one movie"
                )
        merged: dict[str, Any] = {
            name: np.concatenate([getattr(table, name) for table in tables]) for name in cls._arrays()
        }
        merged["frame"] = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
        return replace(first, **merged)

    @classmethod
    def _arrays(cls) -> list[str]:
        return [one.name for one in fields(cls) if one.name not in ("shape", "pixel_size")]

    @property
    def x_A(self) -> FloatArray:
        """Å to the right of the image's centre, NaN without a calibration."""
        return (self.col - (self.shape[1] - 1) / 2) * self._size[1]

    @property
    def y_A(self) -> FloatArray:
        """Å up from the image's centre, NaN without a calibration."""
        return ((self.shape[0] - 1) / 2 - self.row) * self._size[0]

    @property
    def _size(self) -> tuple[float, float]:
        return (np.nan, np.nan) if self.pixel_size is None else self.pixel_size

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """The columns of the files, in their order; `sigma_row` and `sigma_col` are in pixels, `width` too."""
        dy, dx = self._size
        return {
            "row": self.row,
            "col": self.col,
            "x_A": self.x_A,
            "y_A": self.y_A,
            "cov_xx_A2": self.covariance[:, 1, 1] * dx**2,
            "cov_xy_A2": -self.covariance[:, 0, 1] * dx * dy,
            "cov_yy_A2": self.covariance[:, 0, 0] * dy**2,
            "intensity": self.intensity,
            "species": self.species,
            "p_species": self.p_species,
            "score": self.score,
            "anomaly": self.anomaly,
            "frame": self.frame,
            "track": self.track,
            "odd": self.odd,
            "sigma_row": np.sqrt(self.covariance[:, 0, 0]),
            "sigma_col": np.sqrt(self.covariance[:, 1, 1]),
            "intensity_sigma": self.intensity_sigma,
            "background": self.background,
            "width": self.width,
            "chi2": self.chi2,
        }

    def as_parquet(self) -> bytes:
        """atoms.parquet; what is not known becomes null. The metadata name schema, version and pixel size."""
        import pyarrow as pa
        from pyarrow import parquet

        arrays = {name: pa.array(values, mask=_missing(values)) for name, values in self.columns().items()}
        metadata = {"picostem.schema": SCHEMA, "picostem.version": VERSION}
        if self.pixel_size is not None:
            metadata["picostem.pixel_size_A"] = f"{self.pixel_size[0]!r} {self.pixel_size[1]!r}"
        stream = io.BytesIO()
        parquet.write_table(pa.table(arrays).replace_schema_metadata(metadata), stream)
        return stream.getvalue()

    def as_csv(self) -> bytes:
        """Comma-separated text with a line of names; what is not known is empty."""
        columns = self.columns()
        text = [[_text(value) for value in values] for values in columns.values()]
        lines = [",".join(columns), *(",".join(line) for line in zip(*text, strict=True))]
        return ("\n".join(lines) + "\n").encode("utf-8")

    def as_xyz(self) -> bytes:
        """Extended XYZ: x right, y up, z 0 in Å (pixels without a calibration), X for unknown species."""
        if self.pixel_size is None:
            x, y, unit = self.col - (self.shape[1] - 1) / 2, (self.shape[0] - 1) / 2 - self.row, "pixel"
        else:
            x, y, unit = self.x_A, self.y_A, "angstrom"
        lines = [str(len(self)), f'Properties=species:S:1:pos:R:3:intensity:R:1 unit={unit} pbc="F F F"']
        for name, *values in zip(self.species, x, y, self.intensity, strict=True):
            lines.append(f"{name or 'X'} {values[0]:.5f} {values[1]:.5f} 0.0 {values[2]:.{DIGITS}g}")
        return ("\n".join(lines) + "\n").encode("utf-8")


def _missing(values: NDArray[np.generic]) -> NDArray[np.bool_] | None:
    if values.dtype.kind == "f":
        return np.asarray(~np.isfinite(values))
    return np.asarray(values == "") if values.dtype.kind == "U" else None


def _text(value: np.generic) -> str:
    if isinstance(value, np.floating):
        return f"{value:.{DIGITS}g}" if np.isfinite(value) else ""
    return str(value)
