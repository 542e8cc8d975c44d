"""What a network for twists is asked about an image, what its answers mean, and which network it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from picostem.errors import DataError
from picostem.image import Image
from picostem.infer.patch_density import Density
from picostem.infer.patch_predict import PatchNet
from picostem.infer.twists import TwistEngine, nearest, standard_deviations
from picostem.physics import DEGREE
from tests.infer.made_twists import CARD_OF, EXTENT, LABELS, numbers, written
from tests.resolve.made import MOS2

PERIOD = float(LABELS.unit[0, 0])


class Slope:
    """Stands for a session: the twist, in degrees, is the mean of the patch."""

    def __init__(self, beside: float | None = None) -> None:
        self.asked = 0
        self.beside = beside

    def run(self, names: list[str], feed: dict[str, Any]) -> list[np.ndarray]:
        means = feed["patches"].mean(axis=(1, 2))
        self.asked += len(means)
        return [np.array([numbers(float(one), 0.2, self.beside) for one in means])]


def as_they_are(patches: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray(patches, dtype=np.float32)


def slope(side: int = 120) -> Image:
    """30 in the middle, and 0.1 more for each Å further right; 0.4 Å per pixel."""
    x = (np.arange(side) - (side - 1) / 2) * 0.4
    return Image(np.tile(30 + 0.1 * x, (side, 1)).astype(np.float32), (0.4, 0.4), "user", "slope")


def engine(beside: float | None = None) -> tuple[TwistEngine, Slope]:
    session = Slope(beside)
    return TwistEngine(PatchNet(CARD_OF, session, LABELS, as_they_are)), session


class TestWindows:
    CENTRES = np.array([[0.0, 0.0], [10.0, 0.0], [-17.0, 5.0], [-18.0, 5.0], [-23.0, 5.0]])
    REACH = (120 * 0.4 - EXTENT) / 2
    """17.6 Å from the image's centre, patches of 12.8 Å are whole."""

    def test_each_is_read_where_it_lies(self) -> None:
        asked, session = engine()
        told = asked(slope(), self.CENTRES, 8.0, 20 * DEGREE)
        assert told is not None and told.side == EXTENT
        # the patch of the fourth is the nearest whole one; that of the fifth has its centre beyond the window
        x = np.array([0.0, 10.0, -17.0, -self.REACH, np.nan])
        np.testing.assert_allclose(told.twist / DEGREE, 30 + 0.1 * x, atol=1e-3)  # single precision
        np.testing.assert_allclose(told.sigma[:4] / DEGREE, 0.2, rtol=1e-3)
        assert told.asked.tolist() == told.trusted.tolist() == [True, True, True, True, False]
        assert session.asked == 4

    def test_one_patch_is_read_once(self) -> None:
        asked, session = engine()
        told = asked(slope(32), self.CENTRES[:2] / 10, 8.0, 0.0)
        assert told is not None and session.asked == 1
        assert told.twist[0] == told.twist[1] == pytest.approx(30 * DEGREE, rel=1e-3)

    def test_two_twists_that_are_as_good_are_not_trusted(self) -> None:
        told = engine(beside=12.0)[0](slope(), self.CENTRES, 8.0, 0.0)
        assert told is not None and not told.trusted.any()
        assert told.twist[0] / DEGREE == pytest.approx(30, abs=1e-3)

    def test_an_image_smaller_than_a_patch(self) -> None:
        asked, session = engine()
        assert asked(slope(31), self.CENTRES[:1], 8.0, 0.0) is None
        assert session.asked == 0


def test_of_twists_that_look_the_same_the_nearest() -> None:
    twists = np.radians([14.0, 46.0, 59.9, 0.2])
    for about, expected in (
        (13.0, [14.0, 46.0, 59.9, 0.2]),
        (-13.0, [-14.0, -46.0, -59.9, -0.2]),
        (-59.0, [-14.0, -46.0, -59.9, -0.2]),
        (-61.0, [-106.0, -74.0, -60.1, -119.8]),
        (110.0, [106.0, 74.0, 60.1, 119.8]),
    ):
        np.testing.assert_allclose(nearest(twists, np.radians(about), PERIOD) / DEGREE, expected, atol=1e-9)


@pytest.mark.parametrize(("twist", "sigma"), [(20.0, 0.1), (20.0, 0.8), (0.3, 0.4), (59.8, 0.3)])
def test_standard_deviations_beside_sums(twist: float, sigma: float) -> None:
    """Of the density itself, which is folded at no twist and at half the period, within 1° of the peak."""
    said = numbers(twist, sigma)[None]
    found = standard_deviations(said, np.array([twist * DEGREE]), LABELS)[0]
    edges = np.clip(np.linspace(twist - 1, twist + 1, 2001), 0, 60) * DEGREE / PERIOD
    low, high = np.unique(edges)[:-1], np.unique(edges)[1:]
    density = Density.of(np.tile(said, (len(low), 1)))
    share = density.within(low, high)
    off = ((low + high) / 2) * PERIOD - twist * DEGREE
    expected = np.sqrt(np.sum(share * off**2) / share.sum())
    assert found == pytest.approx(expected, rel=1e-3)  # steps of 1e-3°
    if sigma == 0.1:
        assert found == pytest.approx(0.1 * DEGREE, rel=1e-3)


class TestChoice:
    @staticmethod
    def found(layers: int = 2, mirrored: tuple[bool, ...] = (False, False)) -> Any:
        lattices = [SimpleNamespace(mirrored=one) for one in mirrored]
        return SimpleNamespace(layers=(MOS2,) * layers, best=SimpleNamespace(lattices=lattices))

    @pytest.fixture(name="net")
    def folder(self, tmp_path: Path) -> Path:
        pytest.importorskip("onnx")
        return written(tmp_path / "net", numbers(14.0, 0.1), replace(CARD_OF, name="fourteen"))

    def test_it_answers(self, net: Path) -> None:
        chosen = TwistEngine.choose((net.parent, net), self.found(), named=True)
        assert chosen is not None and chosen.net.card.name == "fourteen"
        told = chosen(slope(), np.zeros((1, 2)), 8.0, -13 * DEGREE)
        assert told is not None and told.twist[0] / DEGREE == pytest.approx(-14)

    @pytest.mark.parametrize("found", [found(3), found(2, (False, True))])
    def test_other_stacks(self, net: Path, found: Any) -> None:
        assert TwistEngine.choose((net,), found, named=False) is None
        with pytest.raises(DataError, match=r"twisted layers of MoS2, .*knows two twisted layers.*--engine fit"):
            TwistEngine.choose((net,), found, named=True)

    def test_no_network_for_twists(self, tmp_path: Path) -> None:
        assert TwistEngine.choose((tmp_path,), self.found(), named=False) is None
        with pytest.raises(
            DataError, match=r"2 twisted layers of MoS2, .*knows layers on one lattice: leave --net out"
        ):
            TwistEngine.choose((tmp_path,), self.found(), named=True)
