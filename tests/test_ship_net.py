"""The script that puts networks among those that come with the program."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

from picostem.infer import folder as folders
from picostem.infer.folder import CARD, PATCH_CARD, net_folder, read_patch_card, shipped_nets, write_folder

from .infer.made_twists import CARD_OF

SCRIPT = Path(__file__).parents[1] / "scripts" / "ship_net.py"
MEASURED = {"images": [{}, {}], "totals": {"patches": 18, "mean_error_deg": 0.25}}


def test_a_network_for_patches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "SHIPPED", tmp_path / "shipped")
    onnx = pytest.importorskip("onnx")
    graph = onnx.helper.make_graph([], "nothing", [], [])
    write_folder(tmp_path / "net", CARD_OF, onnx.helper.make_model(graph).SerializeToString())
    (tmp_path / "patches.json").write_text(json.dumps(MEASURED))
    arguments = [tmp_path / "net", "MoS2-twist", "--patches", tmp_path / "patches.json", "--command", "picostem train"]
    monkeypatch.setattr(sys, "argv", ["ship_net.py", *map(str, arguments)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    assert shipped_nets(PATCH_CARD) == ("MoS2-twist",)
    assert shipped_nets() == shipped_nets(CARD) == ()
    card = read_patch_card(net_folder("MoS2-twist", PATCH_CARD))
    assert card.name == "MoS2-twist"
    assert card.training["command"] == "picostem train"
    assert card.figures["multislice"] == {"images": 2, "patches": 18, "mean_error_deg": 0.25}
    text = (tmp_path / "shipped" / "MoS2-twist" / "README.md").read_text("utf-8")
    assert "Twists of two layers of MoS2 in patches of 32 pixels of 0.4 Å, 1.3 nm, by `picostem resolve" in text
    assert "| multislice | mean error deg | 0.25 |" in text
