"""Effects of recording put on a noise-free image that is there already, its truth kept true."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picostem.errors import DataError
from picostem.image import MIN_SIDE, Image
from picostem.simulate.acquisition import AcquisitionSettings, acquire, clean_shape
from picostem.simulate.conditions import acquisition_truth

FloatArray = NDArray[np.float64]
_APPARENT = {"rows_image_A": "rows_apparent_A", "D_image_A": "D_apparent_image_A"}


def is_noise_free(truth: Mapping[str, Any] | None) -> bool:
    """Whether a truth says of its image that it is the detected fraction of the beam, nothing counted."""
    return truth is not None and truth.get("acquisition", {}).get("dose_e_per_A2", 0) is None


def record(
    image: Image, truth: Mapping[str, Any] | None, settings: AcquisitionSettings, rng: np.random.Generator
) -> tuple[Image, dict[str, Any]]:
    """A noise-free simulated image recorded with a dose, read noise, scan noise and drift.

    Where the beam is displaced the image loses its margin, so that every pixel of the result shows simulated specimen.
    The spline that displaces it errs by less than 0.2 % of the contrast for pixels of up to 0.6 of the Nyquist distance
    (0.14 Å at 300 kV and 21.3 mrad).

    Args:
        image: detected fraction of the beam, times a gain and with an offset that `truth` names.
        truth: of the image, as `picostem.simulate` gives it.
        settings: how it is recorded.
        rng: draws everything about the recording.

    Returns:
        the recorded image around the same centre, and its truth: shape, acquisition and apparent lattices are new.

    Raises:
        DataError: no truth, an image that has been recorded with noise already, or too little left of it.
    """
    if truth is None or not is_noise_free(truth) or image.pixel_size is None:
        raise DataError(
            f"{image.name}: dose and scan noise need a noise-free simulation with its truth beside it: "
            "simulate it with `picostem simulate --dose inf`"
        )
    before = truth["acquisition"]
    if not np.array_equal(before.get("drift_matrix_specimen_from_scan", np.eye(2)), np.eye(2)):
        raise DataError(f"{image.name}: was simulated with drift already: simulate it without, and give the drift here")
    gain, offset = float(before.get("gain") or 1), float(before.get("offset") or 0)
    fractions = np.asarray((image.data - offset) / gain, dtype=np.float32)
    shape = _shape_within(image, settings)
    data = acquire(fractions, shape, image.pixel_size[1], settings, rng)
    recorded = replace(image, data=data)
    changed = _apparent(dict(truth), np.linalg.inv(np.asarray(settings.drift)))
    changed["acquisition"] = {**before, **acquisition_truth(settings, recorded)}
    return recorded, reframed(changed, recorded, settings)


def reframed(truth: dict[str, Any], image: Image, settings: AcquisitionSettings | None = None) -> dict[str, Any]:
    """A truth with the image's shape, field and name, and where the crystal's origin shows in it."""
    assert image.pixel_size is not None
    (rows, columns), (dy, dx) = image.data.shape, image.pixel_size
    frame = {"shape_rows_cols": [rows, columns], "pixel_size_A": dx, "field_A": [columns * dx, rows * dy]}
    truth = {**truth, "name": image.name, "image": {**truth.get("image", {}), **frame}}
    if settings is not None and "origin_image_A" in truth.get("layer1", {}):
        x, y = np.linalg.solve(np.asarray(settings.drift), truth["layer1"]["origin_image_A"]).tolist()
        place = [(columns - 1) / 2 + x / dx, (rows - 1) / 2 - y / dy]
        truth["layer1"] = {**truth["layer1"], "origin_col_row": place}
    return truth


def _shape_within(image: Image, settings: AcquisitionSettings) -> tuple[int, int]:
    """The largest shape that can be recorded of an image."""
    rows, columns = image.data.shape
    need = clean_shape((rows, columns), settings)
    # What is needed grows with what is asked for, so asking for less by the excess suffices, or nearly so.
    shape = [2 * rows - need[0], 2 * columns - need[1]]
    while min(shape) >= MIN_SIDE:
        need = clean_shape((shape[0], shape[1]), settings)
        if need[0] <= rows and need[1] <= columns:
            return shape[0], shape[1]
        shape = [shape[0] - 1, shape[1] - 1]
    raise DataError(f"{image.name}: {rows} × {columns} pixels are too few for this scan: simulate a larger image")


def _apparent(value: Any, inverse: FloatArray) -> Any:
    """The truth with every lattice and slip as the drift shows it, v -> T⁻¹ v."""
    if isinstance(value, list):
        return [_apparent(one, inverse) for one in value]
    if not isinstance(value, dict):
        return value
    seen = {key: _apparent(one, inverse) for key, one in value.items()}
    for real, apparent in _APPARENT.items():
        if real in seen and apparent in seen:
            seen[apparent] = (np.asarray(seen[real]) @ inverse.T).tolist()
    return seen
