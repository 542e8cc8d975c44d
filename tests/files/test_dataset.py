"""What an array is, told from its axes."""

from __future__ import annotations

import numpy as np
import pytest

from picostem.files.dataset import Axis, Dataset, Kind, Values, describe


def _dataset(*axes: Axis, values: Values = "grey", spectral: bool = False) -> Dataset:
    array = np.arange(np.prod([axis.size for axis in axes])).reshape([axis.size for axis in axes])
    return Dataset("a", axes, lambda key: array[key], values, spectral)


Y, X = Axis(4, 0.02, "nm", "y"), Axis(5, 0.03, "nm", "x")
ENERGY, TIME = Axis(6, 0.5, "eV"), Axis(3, 1.5, "s", navigate=True)
KY, KX = Axis(4, 0.1, "1/nm"), Axis(5, 0.1, "1/nm")
PLAIN = Axis(3)

KINDS: dict[str, tuple[Dataset, Kind, int]] = {
    "image": (_dataset(Y, X), "image", 1),
    "uncalibrated": (_dataset(Axis(4), Axis(5)), "image", 1),
    "one row": (_dataset(Axis(1), X), "image", 1),
    "one frame": (_dataset(Axis(1, navigate=True), Y, X), "image", 1),
    "one pixel": (_dataset(Axis(1), Axis(1), Axis(1)), "image", 1),
    "colour": (_dataset(Y, X, values="colour"), "image", 1),
    "elemental map": (_dataset(Y, X, spectral=True), "image", 1),
    "movie": (_dataset(TIME, Y, X), "image series", 3),
    "frames last": (_dataset(Y, X, Axis(3, 1.0, "")), "image series", 3),
    "plain stack": (_dataset(PLAIN, Axis(4), Axis(5)), "image series", 3),
    "tomogram": (_dataset(Axis(3, 0.5, "nm"), Y, X), "image series", 3),
    "diffraction": (_dataset(KY, KX), "diffraction pattern", 0),
    "diffraction in angles": (_dataset(Axis(4, 0.1, "mrad"), Axis(5, 0.1, "mrad")), "diffraction pattern", 0),
    "diffraction movie": (_dataset(TIME, KY, KX), "diffraction pattern", 0),
    "spectrum": (_dataset(ENERGY), "spectrum or profile", 0),
    "profile": (_dataset(X), "spectrum or profile", 0),
    "line scan": (_dataset(X, ENERGY), "spectrum image", 0),
    "spectrum image": (_dataset(Y, X, ENERGY), "spectrum image", 0),
    "uncalibrated spectra": (_dataset(Axis(4, navigate=True), Axis(5, navigate=True), Axis(6)), "spectrum image", 0),
    "EELS by name": (_dataset(Axis(4), Axis(5), Axis(6), spectral=True), "spectrum image", 0),
    "4D-STEM": (_dataset(Y, X, KY, KX), "4D data", 0),
    "Fourier transform": (_dataset(Y, X, values="complex"), "complex", 0),
    "table": (_dataset(Y, X, values="table"), "table", 0),
}


@pytest.mark.parametrize("name", KINDS)
def test_kind_and_number_of_images(name: str) -> None:
    dataset, kind, frames = KINDS[name]
    assert (dataset.kind, dataset.frames) == (kind, frames)
    assert bool(dataset.advice) == (frames == 0)


@pytest.mark.parametrize("name", [name for name, (_, kind, _) in KINDS.items() if kind == "image series"])
def test_frames_are_found_on_any_axis(name: str) -> None:
    dataset = KINDS[name][0]
    frames = [dataset.load(dataset.key(i)) for i in range(3)]
    assert [frame.shape for frame in frames] == [(4, 5)] * 3
    whole = np.sort(np.concatenate([frame.ravel() for frame in frames]))
    assert np.array_equal(whole, np.arange(60))


def test_pixel_size_belongs_to_rows_and_columns() -> None:
    assert _dataset(Y, X).pixel_size == pytest.approx((0.2, 0.3))
    assert _dataset(TIME, Y, X).pixel_size == pytest.approx((0.2, 0.3))
    assert _dataset(Y, X, Axis(3, 1.0, "")).pixel_size == pytest.approx((0.2, 0.3))


@pytest.mark.parametrize("axes", [(Y, PLAIN), (PLAIN, X), (KY, KX), (Axis(4, 1.0, "nm"), Axis(5, 1.0, "nm"))])
def test_half_a_calibration_is_none(axes: tuple[Axis, Axis]) -> None:
    assert _dataset(*axes).pixel_size is None


def test_description_is_short() -> None:
    assert describe(_dataset(TIME, Y, X)) == "'a', image series, 3 × 4 × 5"
