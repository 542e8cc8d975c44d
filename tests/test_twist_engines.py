"""Twists by a network, and by fit and network together; the network says what it is made to say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")

from picostem.errors import UsageError
from picostem.image import Image
from picostem.infer import engine
from picostem.infer.patch_card import PatchCard
from picostem.pipeline import resolve
from picostem.resolve.result import Result
from picostem.structure import canonical_twist

from .infer.made_twists import CARD_OF, LABELS, PLAN, TRAINING, numbers, written
from .resolve.made import KNOWN, MOS2
from .resolve.made_bilayers import Made, imaged, resolved

TWISTED = Made(MOS2, 14.0)
"""34 Å."""
SPOILED = 100
"""Pixels at the image's lower right corner that show nothing of the layers, along both axes."""


def asked(which: str, net: Path | None, image: Image | None = None) -> Result:
    given = {"net": None if net is None else str(net)} | KNOWN
    return resolve(image or imaged(TWISTED), "MoS2", engine=which, **given)


def spoiled() -> Image:
    image = imaged(TWISTED)
    blocks = np.random.default_rng(0).uniform(0, 2 * image.data.mean(), (SPOILED // 4, SPOILED // 4))
    data = image.data.copy()
    data[-SPOILED:, -SPOILED:] = blocks.repeat(4, axis=0).repeat(4, axis=1)
    return replace(image, data=data)


def degrees(result: Result) -> float:
    """The twist of an image, as all that looks the same is written."""
    return float(np.degrees(abs(canonical_twist(result.interfaces[0].twist, MOS2))))


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It says 14.3° of everything."""
    return written(tmp_path_factory.mktemp("nets") / "net", numbers(14.3, 0.1))


class TestNet:
    def test_the_twist_is_the_networks(self, net: Path) -> None:
        result = asked("net", net)
        assert result.quality is not None and result.quality.engine == "net"
        assert degrees(result) == pytest.approx(14.3, abs=1e-3)
        assert np.degrees(result.interfaces[0].twist_sigma) == pytest.approx(0.1, rel=1e-3)
        found = resolved(TWISTED, "MoS2")
        assert np.sign(result.interfaces[0].twist) == np.sign(found.interfaces[0].twist)  # beside the lattices'
        np.testing.assert_array_equal(result.interfaces[0].moire, found.interfaces[0].moire)
        assert result.map is not None and set(result.map.engine) == {"net"} and set(result.map.status) == {"ok"}

    def test_a_network_that_is_not_sure(self, tmp_path: Path) -> None:
        result = asked("net", written(tmp_path / "net", numbers(14.3, 0.1, beside=40.0)))
        assert result.verdict == "unresolved"
        assert "does not know what any window shows" in str(result.reason)


class TestHybrid:
    def test_the_network_is_for_where_the_fit_does_not_hold(self, net: Path, tmp_path: Path) -> None:
        result, fitted = asked("hybrid", net, spoiled()), asked("fit", None, spoiled())
        assert result.quality is not None and result.quality.engine == "hybrid"
        assert degrees(result) == pytest.approx(14.0, abs=0.15)  # the fit's: nearer to the truth than to 14.3°
        assert result.map is not None and fitted.map is not None and fitted.map.engine is None
        told, held = result.map.engine == "net", fitted.map.status == "ok"
        assert np.any(told) and np.any(held)
        np.testing.assert_array_equal(told, ~held & (fitted.map.status != "vacuum"))
        assert set(result.map.status[told]) == {"ok"}
        assert np.isnan(result.map.slip[told]).all() and np.isfinite(result.map.slip[held]).all()
        assert result.map.twist is not None and fitted.map.twist is not None
        np.testing.assert_array_equal(result.map.twist[held], fitted.map.twist[held])
        assert np.degrees(np.abs(result.map.twist[told])) == pytest.approx(14.3, abs=1e-3)
        assert {"map.parquet", "figure.png", "report.html"} <= {path.name for path in result.save(tmp_path).iterdir()}


class TestChoice:
    def test_a_twist_that_was_taken_for_a_slip_first(self, tmp_path: Path) -> None:
        """The network named is none for one lattice, which is tried before two."""
        result = asked("net", written(tmp_path / "net", numbers(2.1, 0.1)), imaged(Made(MOS2, 2.0)))
        assert result.verdict == "twist"
        assert degrees(result) == pytest.approx(2.1, abs=1e-3)

    def test_an_image_smaller_than_a_patch(self, tmp_path: Path) -> None:
        wide = PatchCard.of("wide", replace(PLAN, side=100), LABELS, training=TRAINING)
        result = asked("net", written(tmp_path / "net", numbers(14.3, 0.1), wide))
        assert result.interfaces[0].twist == resolved(TWISTED, "MoS2").interfaces[0].twist
        assert result.quality is not None and result.quality.engine == "fit"
        assert result.image.notes == (
            "net 'wide' reads patches of 40 Å, which no window lies amid: the twist is the fit's",
        )

    def test_shipped(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, card in (("MoS2-twist", CARD_OF), ("WS2-twist", replace(CARD_OF, material="WS2"))):
            written(tmp_path / name, numbers(14.3, 0.1), card)
        monkeypatch.setattr("picostem.infer.folder.SHIPPED", tmp_path)
        monkeypatch.setattr(engine, "SHIPPED", tmp_path)
        assert engine.nets_for(MOS2) == (tmp_path / "MoS2-twist",)
        assert engine.nets_for(MOS2, "MoS2-twist") == (tmp_path / "MoS2-twist",)
        with pytest.raises(UsageError, match="--net WS2-twist is for WS2, not for MoS2"):
            engine.nets_for(MOS2, "WS2-twist")

    def test_another_cell(self, tmp_path: Path) -> None:
        polar = {
            "reciprocal": ((0.3, 0.17), (0.0, 0.35)),
            "orbits": (((1, 0), (0, 1), (1, -1)),),
            "triples": ((((1, 0), (0, -1), (-1, 1)),),),
        }
        other = written(tmp_path / "net", numbers(14.3, 0.1), replace(CARD_OF, polar=polar))
        with pytest.raises(UsageError, match="is for MoS2, not for MoS2"):
            engine.nets_for(MOS2, str(other))

    def test_networks_that_tell_no_density_of_any_twist(self, tmp_path: Path) -> None:
        tilted = written(tmp_path / "net", numbers(14.3, 0.1), replace(CARD_OF, rotation_deg=3.0))
        with pytest.raises(UsageError, match=r"tells no density of twists.*--material MoS2 --task twist"):
            engine.nets_for(MOS2, str(tilted))
