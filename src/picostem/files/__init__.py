"""Readers: from any file of an electron microscope, a NumPy array or a HyperSpy signal to an Image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from picostem.files.memory import from_array, from_hyperspy
from picostem.files.read import DatasetInfo, list_datasets, read_image, read_images
from picostem.image import check_image

if TYPE_CHECKING:
    from picostem.files.series import average_series, measure_drift

__all__ = [
    "DatasetInfo",
    "average_series",
    "check_image",
    "from_array",
    "from_hyperspy",
    "list_datasets",
    "measure_drift",
    "read_image",
    "read_images",
]


def __getattr__(name: str) -> Any:
    """Import what needs Fourier transforms when it is first used, so that `picostem --help` is instant."""
    if name not in ("average_series", "measure_drift"):
        raise AttributeError(f"module 'picostem.files' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("picostem.files.series"), name)
