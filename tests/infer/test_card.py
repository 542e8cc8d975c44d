from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picostem.errors import DataError, FileError, OutputError, UsageError
from picostem.infer import folder as folders
from picostem.infer.calibrate import Calibration
from picostem.infer.card import FORMAT, NetCard
from picostem.infer.folder import CARD, net_folder, read_card, rewrite_card, shipped_nets, write_folder
from picostem.net_folder import MAX_CARD_BYTES, NETWORK
from tests.infer.made_samples import INVARIANTS, THREE, TWO, card

FULL = card(calibration=Calibration(1.5, -2.0, 900), training={"seed": 3, "rates": [1e-3]}, figures={"mean_A": 0.02})


@pytest.mark.parametrize("one", [FULL, card(THREE)], ids=["two", "three"])
def test_round_trip(one: NetCard) -> None:
    again = NetCard.from_dict(json.loads(json.dumps(one.as_dict())), "x")
    assert again.as_dict() == one.as_dict()
    assert again.hk == one.hk and again.matrices == one.matrices and again.calibration == one.calibration


def test_arrays_are_those_it_was_made_of() -> None:
    assert np.array_equal(FULL.torus.cell, TWO.cell) and np.array_equal(FULL.torus.matrices, TWO.matrices)
    assert np.array_equal(FULL.invariants.hk, INVARIANTS.hk)
    assert np.array_equal(FULL.invariants.triples, INVARIANTS.triples)
    assert FULL.layers == 2 and card(THREE).layers == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "picostem.style/1"}, f"expected a network's card of format '{FORMAT}', found 'picostem.style/1'"),
        ({"more": 1}, "unknown .'more'"),
        ({"layers": 2.0}, "layers should be int"),
        ({"layers": True}, "layers should be int"),
        ({"layers": 3}, "3 layers, but matrices for 1 slips"),
        ({"layers": 9}, "2 to 4 layers"),
        ({"antiparallel": 0}, "antiparallel should be bool"),
        ({"window_A": -1.0}, "window of positive side"),
        ({"window_A": float("nan")}, "window_A should be int or float and finite"),
        ({"cell": [[1.0, 0.0]]}, "card is damaged"),
        ({"cell": [[1.0, 0.0], [0.0, "1"]]}, "cell should be int or float"),
        ({"matrices": [[[1]], [[0.5]]]}, "matrices should be int"),
        ({"matrices": []}, "card is damaged"),
        ({"hk": [[0, 1], [1]]}, "card is damaged"),
        ({"triples": [[0, 1, 2]]}, "sum to zero"),
        ({"hk": [[10**30, 1]]}, "card is damaged"),
        ({"calibration": {"factor": 1.0}}, "calibration: lacks .'threshold', 'windows'"),
        ({"calibration": {"factor": -1.0, "threshold": 0.0, "windows": 3}}, "calibrate again"),
        ({"name": None}, "name should be str"),
    ],
)
def test_damaged_cards(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        NetCard.from_dict(FULL.as_dict() | changes, "somewhere")


def test_no_card() -> None:
    with pytest.raises(DataError, match="found 'list'"):
        NetCard.from_dict([], "somewhere")
    values = FULL.as_dict()
    del values["hk"]
    with pytest.raises(DataError, match="lacks .'hk'"):
        NetCard.from_dict(values, "somewhere")


class TestFolder:
    def test_written_read_and_rewritten(self, tmp_path: Path) -> None:
        place = tmp_path / "net"
        written = write_folder(place, FULL, b"network")
        assert sorted(path.name for path in place.iterdir()) == [CARD, NETWORK]
        assert read_card(place) == written == replace(FULL, sha256=written.sha256)
        later = rewrite_card(place, replace(written, figures={}))
        assert read_card(place) == later and (place / NETWORK).read_bytes() == b"network"
        assert [path.name for path in tmp_path.iterdir()] == ["net"]

    def test_another_network_is_refused(self, tmp_path: Path) -> None:
        write_folder(tmp_path / "net", FULL, b"network")
        (tmp_path / "net" / NETWORK).write_bytes(b"other")
        with pytest.raises(DataError, match="not the file that net.json belongs to"):
            read_card(tmp_path / "net")

    def test_damage(self, tmp_path: Path) -> None:
        write_folder(tmp_path / "net", FULL, b"network")
        (tmp_path / "net" / CARD).write_text("{")
        with pytest.raises(FileError, match="no JSON"):
            read_card(tmp_path / "net")
        (tmp_path / "net" / CARD).write_text(" " * (MAX_CARD_BYTES + 1))
        with pytest.raises(FileError, match="larger than"):
            read_card(tmp_path / "net")
        write_folder(tmp_path / "net", FULL, b"network")
        (tmp_path / "net" / NETWORK).unlink()
        with pytest.raises(FileError, match="cannot be read"):
            read_card(tmp_path / "net")

    def test_other_folders_and_files_are_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "photos").mkdir()
        (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
        (tmp_path / "file").write_bytes(b"x")
        for name in ("photos", "file"):
            with pytest.raises(OutputError, match="holds something else"):
                write_folder(tmp_path / name, FULL, b"network")
        with pytest.raises(OutputError, match="choose another place"):
            write_folder(tmp_path / "file" / "net", FULL, b"network")
        assert (tmp_path / "photos" / "a.jpg").exists()

    @pytest.mark.parametrize("there", [False, True])
    def test_an_interrupt_leaves_what_was_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
    ) -> None:
        place = tmp_path / "net"
        if there:
            write_folder(place, FULL, b"network")

        def interrupted(*arguments: Any, **options: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("picostem.net_folder.json.dumps", interrupted)
            with pytest.raises(KeyboardInterrupt):
                write_folder(place, card(), b"other")
        assert [path.name for path in tmp_path.iterdir()] == (["net"] if there else [])
        assert not there or read_card(place).figures == FULL.figures

    def test_names(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(folders, "SHIPPED", tmp_path / "shipped")
        write_folder(tmp_path / "shipped" / "MoS2", FULL, b"network")
        write_folder(tmp_path / "own", FULL, b"network")
        assert shipped_nets() == ("MoS2",)
        assert net_folder("MoS2") == tmp_path / "shipped" / "MoS2"
        assert net_folder(tmp_path / "own") == tmp_path / "own"
        with pytest.raises(UsageError, match=r"no network 'WS2': give the name of a shipped one \(MoS2\)"):
            net_folder("WS2")
        with pytest.raises(DataError, match="it has no net.json"):
            net_folder(tmp_path)
