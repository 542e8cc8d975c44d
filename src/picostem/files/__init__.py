"""Readers: from any file of an electron microscope, a NumPy array or a HyperSpy signal to an Image."""

from picostem.files.memory import from_array, from_hyperspy
from picostem.files.read import DatasetInfo, list_datasets, read_image, read_images
from picostem.files.series import average_series, measure_drift
from picostem.image import check_image

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
