"""Images from arrays and HyperSpy signals."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies
from numpy.typing import NDArray

from picostem.errors import ImageError
from picostem.files import from_array, from_hyperspy
from picostem.image import MAX_SIDE, Acquisition

Pixels = NDArray[np.uint16]


@given(
    numpy_strategies.arrays(
        st.sampled_from(["u1", "i2", ">u4", "f2", "f4", ">f8", "?"]),
        numpy_strategies.array_shapes(min_dims=2, max_dims=2),
    )
)
def test_values_are_kept(array: NDArray[Any]) -> None:
    with np.errstate(over="ignore"):
        expected = array.astype(np.float32)
    assert np.array_equal(from_array(array).data, expected, equal_nan=True)


def test_calibration_and_name() -> None:
    acquisition = Acquisition(voltage_eV=6e4)
    image = from_array([[1, 2], [3, 4]], (0.2, 0.3), name="mine", acquisition=acquisition)
    assert (image.pixel_size, image.pixel_size_source) == ((0.2, 0.3), "user")
    assert (image.name, image.acquisition, image.path) == ("mine", acquisition, None)
    assert from_array([[1, 2]], 0.1).pixel_size == (0.1, 0.1)
    assert from_array([[1, 2]]).pixel_size is None


def test_is_a_copy() -> None:
    array = np.zeros((4, 5), np.float32)
    image = from_array(array)
    array[:] = 1
    assert image.data.max() == 0


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((40, 40), complex), "take the modulus"),
        (np.array([["a", "b"]]), "real numbers"),
        (np.array([[None, 1]]), "real numbers"),
        (np.zeros(40), "two dimensions"),
        (np.zeros((3, 40, 40)), "pass one frame"),
        (np.float64(3), "two dimensions"),
        (np.broadcast_to(np.uint8(0), (MAX_SIDE + 1, 40)), str(MAX_SIDE)),
        (np.zeros((0, 40)), "empty"),
    ],
)
def test_what_is_no_image(array: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        from_array(array)


def test_pixel_size_must_be_positive() -> None:
    with pytest.raises(ImageError, match="positive"):
        from_array(np.zeros((40, 40)), -0.1)


def _axis(**described: Any) -> Any:
    return SimpleNamespace(get_axis_dictionary=lambda: {"offset": 0.0, **described})


def _signal(data: Any, *axes: Any, navigation: int = 0, **metadata: Any) -> Any:
    """A HyperSpy signal in the parts that are used; HyperSpy lists axes as x, y."""
    return SimpleNamespace(
        data=data,
        axes_manager=SimpleNamespace(
            navigation_axes=tuple(reversed(axes[:navigation])), signal_axes=tuple(reversed(axes[navigation:]))
        ),
        metadata=SimpleNamespace(as_dictionary=lambda: metadata),
        original_metadata=SimpleNamespace(as_dictionary=dict),
    )


Y = _axis(name="y", size=40, scale=0.02, units="nm", navigate=False)
X = _axis(name="x", size=48, scale=0.03, units="nm", navigate=False)


def test_signal(pixels: Pixels) -> None:
    tem = {"beam_energy": 60, "convergence_angle": 31.5}
    image = from_hyperspy(_signal(pixels, Y, X, General={"title": "HAADF"}, Acquisition_instrument={"TEM": tem}))
    assert np.array_equal(image.data, pixels)
    assert image.pixel_size == pytest.approx((0.2, 0.3))
    assert image.pixel_size_source == "file"
    assert image.name == "HAADF"
    assert image.acquisition == Acquisition(6e4, 0.0315)


def test_signal_without_calibration(pixels: Pixels) -> None:
    """HyperSpy marks a missing unit by an object, not by None."""
    axes = [_axis(name=object(), size=n, scale=1.0, units=object(), navigate=False) for n in pixels.shape]
    assert from_hyperspy(_signal(pixels, *axes)).pixel_size is None


def test_signals_that_are_no_image(pixels: Pixels) -> None:
    frames = _axis(name="t", size=3, scale=1.0, units="s", navigate=True)
    with pytest.raises(ImageError, match=r"image series.*pass one frame, signal.inav\[0\]"):
        from_hyperspy(_signal(np.stack([pixels] * 3), frames, Y, X, navigation=1))
    reciprocal = [_axis(name="k", size=n, scale=0.1, units="1/nm", navigate=False) for n in pixels.shape]
    with pytest.raises(ImageError, match="diffraction pattern"):
        from_hyperspy(_signal(pixels, *reciprocal))


@pytest.mark.parametrize("lazy", [False, True])
def test_true_signal(pixels: Pixels, lazy: bool) -> None:
    hyperspy = pytest.importorskip("hyperspy.api")
    signal = hyperspy.signals.Signal2D(pixels)
    for axis, name, scale in zip(signal.axes_manager.signal_axes, "xy", (0.03, 0.02), strict=True):
        axis.name, axis.scale, axis.units = name, scale, "nm"
    signal.metadata.set_item("Acquisition_instrument.TEM.beam_energy", 60.0)
    image = from_hyperspy(signal.as_lazy() if lazy else signal)
    assert np.array_equal(image.data, pixels)
    assert image.pixel_size == pytest.approx((0.2, 0.3))
    assert image.acquisition.voltage_eV == 6e4
    assert from_hyperspy(hyperspy.signals.Signal2D(pixels)).pixel_size is None
