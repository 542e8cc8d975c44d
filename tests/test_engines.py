"""Stackings by a network, and by fit and network together, beside the fit; with a network that seconds have trained."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("safetensors")

from picostem.errors import DataError, UsageError
from picostem.image import Image
from picostem.infer import engine
from picostem.infer.folder import read_card, rewrite_card
from picostem.pipeline import resolve
from picostem.resolve.result import Result
from picostem.simulate import AcquisitionSettings, simulate_stack
from picostem.structure import SlipEquivalence, Stack

from .infer.made_recipe import TINY, learned, tiny
from .infer.made_twists import numbers, written
from .resolve.made import KNOWN, MICROSCOPE, MOS2, RES2

SLIP = (0.9, 0.7)
EQUIVALENCE = SlipEquivalence(MOS2)
SHORT = replace(TINY, steps=450, batch=192, learning_rate=3e-3, warm_up=30, averaged=0.98, modes=3, width=96)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network for MoS2 in the microscope of the images: to 0.1 Å or so, where the shipped ones are at 0.02 Å."""
    folder = tmp_path_factory.mktemp("trained")
    learned(tiny(30, SHORT), folder, judged=600, fewest=6)
    return folder / "net"


@pytest.fixture(scope="module")
def told(net: Path) -> Result:
    """What the network says of the bilayer."""
    return asked("net", net)


@cache
def fitted() -> Result:
    return asked("fit", None)


@cache
def bilayer(layers: int = 2, pixel_size: float = 0.15, side: int = 320) -> Image:
    stack = Stack.bilayer(MOS2, SLIP) if layers == 2 else Stack.of([MOS2])
    settings = AcquisitionSettings(dose=3e4)
    rng = np.random.default_rng(4)
    return simulate_stack(stack, MICROSCOPE, settings, (side, side), pixel_size, rng, rotation=0.7)[0]


def pierced() -> Image:
    """With a hole of 1.6 nm left of its middle."""
    image = bilayer()
    data = image.data.copy()
    rows, cols = np.indices(data.shape)
    data[(rows - 160) ** 2 + (cols - 110) ** 2 < 53**2] = data.min()
    return replace(image, data=data)


def asked(which: str, net: Path | None, image: Image | None = None, **options: Any) -> Result:
    given = {"net": None if net is None else str(net)} | KNOWN | options
    return resolve(image or bilayer(), "MoS2", engine=which, **given)


class TestNet:
    def test_the_slip_is_right_within_its_error(self, net: Path, told: Result) -> None:
        assert told.verdict == "slip"
        (found,) = told.interfaces
        # four standard deviations as it states them, which are to be below 0.15 Å
        assert EQUIVALENCE.distance(found.slip, SLIP) < 4 * found.slip_sigma < 0.6
        assert found.slip_bound < 0.01  # of the image, whoever reads it
        assert told.quality is not None
        assert told.quality.engine == "net"
        assert told.as_dict()["settings"]["net"] == str(net)

    def test_windows_are_the_networks(self, told: Result, tmp_path: Path) -> None:
        assert told.map is not None
        assert set(told.map.engine) == {"net"}
        ok = told.map.status == "ok"
        assert ok.mean() > 0.8
        error = EQUIVALENCE.distance(told.map.slip[ok], SLIP)
        sigma = np.sqrt(np.trace(told.map.covariance[ok], axis1=1, axis2=2))
        assert (error < 4 * sigma).all()
        assert told.simulated is not None
        assert {"map.parquet", "figure.png", "report.html"} <= {path.name for path in told.save(tmp_path).iterdir()}

    def test_a_hole_is_no_matter(self, net: Path) -> None:
        result = asked("net", net, pierced())
        assert result.map is not None
        status = result.map.status
        inside = np.hypot(result.map.row - 160, result.map.col - 110) < 30
        assert "ok" not in status[inside]
        assert (status[~inside] == "ok").mean() > 0.6
        assert EQUIVALENCE.distance(result.interfaces[0].slip, SLIP) < 4 * result.interfaces[0].slip_sigma

    def test_windows_far_apart_are_imaged_again(self, net: Path) -> None:
        result = asked("net", net, stride_nm=2.0)
        assert result.simulated is not None
        simulated, data = result.simulated, bilayer().data
        assert np.corrcoef(simulated.ravel(), data.ravel())[0, 1] > 0.5  # the rest is noise

    def test_a_network_that_trusts_itself_nowhere(self, net: Path, tmp_path: Path) -> None:
        other = doubting(net, tmp_path)
        result = asked("net", other)
        assert result.verdict == "unresolved"
        assert "does not know what any window shows" in str(result.reason)
        hybrid = asked("hybrid", other)
        np.testing.assert_allclose(hybrid.interfaces[0].slip, fitted().interfaces[0].slip, atol=1e-3)


def doubting(net: Path, folder: Path) -> Path:
    """The network with a threshold that no window passes."""
    other = folder / "doubting"
    shutil.copytree(net, other)
    card = read_card(other)
    rewrite_card(other, replace(card, calibration=replace(card.calibration, threshold=-1e6)))
    return other


class TestHybrid:
    def test_it_is_as_good_as_the_fit(self, net: Path) -> None:
        result = asked("hybrid", net)
        assert result.quality is not None
        assert result.quality.engine == "hybrid"
        # 0.03 Å: five times the bound of 0.005 Å; the same minimum as the fit's, to 0.1 of a standard deviation
        assert EQUIVALENCE.distance(result.interfaces[0].slip, SLIP) < 0.03
        np.testing.assert_allclose(result.interfaces[0].slip, fitted().interfaces[0].slip, atol=1e-3)
        assert result.map is not None
        assert result.map.engine is not None
        assert (result.map.engine == "fit").mean() > 0.8

    def test_a_hole_is_no_matter(self, net: Path) -> None:
        result = asked("hybrid", net, pierced())
        assert EQUIVALENCE.distance(result.interfaces[0].slip, SLIP) < 0.03


@pytest.mark.parametrize("which", ["net", "hybrid"])
def test_one_layer_is_for_the_fit(net: Path, which: str) -> None:
    result = asked(which, net, bilayer(1))
    assert result.verdict == "monolayer"
    assert result.quality is not None
    assert result.quality.engine == "fit"


class TestShipped:
    def test_the_one_of_the_stack_is_taken(
        self, net: Path, told: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shutil.copytree(net, tmp_path / "MoS2")
        written(tmp_path / "MoS2-twist", numbers(14.0, 0.1))
        monkeypatch.setattr("picostem.infer.folder.SHIPPED", tmp_path)
        monkeypatch.setattr(engine, "SHIPPED", tmp_path)
        assert asked("net", None).quality == told.quality
        assert asked("net", Path("MoS2")).quality == told.quality
        with pytest.raises(
            UsageError, match=r"no network for ReS2 .*\(there are: MoS2, MoS2-twist\).*picostem train stacking"
        ):
            engine.nets_for(RES2)

    def test_there_is_none(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("picostem.infer.folder.SHIPPED", tmp_path)
        with pytest.raises(UsageError, match=r"there are: none.*picostem train stacking --material MoS2 --task slip"):
            asked("net", None)


class TestRefused:
    def test_no_such_network(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="no network '.*nowhere'"):
            asked("net", tmp_path / "nowhere")

    def test_a_network_for_another_material(self, net: Path) -> None:
        with pytest.raises(UsageError, match=r"is for MoS2, not for ReS2: .*--material ReS2 --task slip"):
            resolve(bilayer(), "ReS2", engine="net", net=str(net), **KNOWN)

    def test_a_material_of_that_name_with_another_lattice(self, net: Path) -> None:
        assert engine.nets_for(replace(MOS2, cell=1.01 * MOS2.cell), str(net)) == (net,)
        with pytest.raises(UsageError, match="is for MoS2, not for MoS2"):
            engine.nets_for(replace(MOS2, cell=1.1 * MOS2.cell), str(net))

    def test_two_materials(self, net: Path) -> None:
        with pytest.raises(UsageError, match="networks know layers of one material; leave --engine out"):
            resolve(bilayer(), "MoS2/WSe2", engine="hybrid", net=str(net), **KNOWN)

    def test_another_stack(self, net: Path) -> None:
        setting: Any = SimpleNamespace(model=SimpleNamespace(layers=(MOS2, MOS2.turned())))
        with pytest.raises(
            DataError,
            match=r"shows 2 antiparallel layers of MoS2, .* tiny \(2 parallel layers\); .*--task antiparallel",
        ):
            engine.Engine.choose((net,), setting, alone=True)

    def test_a_network_for_twists(self, tmp_path: Path) -> None:
        twists = written(tmp_path / "net", numbers(14.0, 0.1))
        with pytest.raises(
            DataError, match=r"shows 2 parallel layers of MoS2, .* made \(2 twisted layers\);.*--task slip"
        ):
            asked("net", twists)

    def test_pixels_too_large(self, net: Path) -> None:
        with pytest.raises(DataError, match=r"pixels of 0\.4\d* Å do not show \d+ of the \d+ reflections"):
            asked("net", net, bilayer(pixel_size=0.46, side=160))

    def test_windows_of_another_size(self, net: Path) -> None:
        with pytest.raises(DataError, match=r"windows are 4 nm wide, net 'tiny' knows those of 2 nm: give --window 2"):
            asked("net", net, window_nm=4.0)

    def test_another_microscope(self, net: Path, tmp_path: Path) -> None:
        other = tmp_path / "other"
        shutil.copytree(net, other)
        card = read_card(other)
        limits = tuple((noise, 60 / 300, *rest) for noise, _, *rest in card.limits)
        rewrite_card(other, replace(card, limits=limits))
        with pytest.raises(
            DataError, match=r"knows 60 kV, 21\.3 mrad, 1\.83 semiangles to the detector; .* is 300 kV, .*--voltage"
        ):
            asked("net", other)
