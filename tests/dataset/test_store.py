"""Stored samples: made once, made on where they were left, and not taken for another's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from picostem.dataset.plan import Plan
from picostem.dataset.store import MANIFEST, Manifest, bank_hash, build, read, read_manifest, shards
from picostem.errors import FileError, OutputError, UsageError

from .made import bank_of

PLAN = Plan("MoS2", count=100, seed=3)


def made(folder: Path, plan: Plan = PLAN) -> Manifest:
    return build(plan, bank_of(), folder, shard=40)


def test_gives_the_samples_in_shards(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    manifest = build(PLAN, bank_of(), tmp_path / "set", lambda *args: told.append(args), shard=40)
    assert told == [(40, 100), (80, 100), (100, 100)]
    assert [one.count for one in manifest.shards] == [40, 40, 20]
    assert [one.seed for one in manifest.shards] == [(3, 0), (3, 1), (3, 2)]
    assert manifest == read_manifest(tmp_path / "set")
    samples = read(tmp_path / "set")
    assert len(samples) == 100 and samples.amplitudes.dtype == np.complex64
    assert [len(one) for one in shards(tmp_path / "set")] == [40, 40, 20]
    assert len(np.unique(samples.slips[:, 0, 0])) == 100


def test_goes_on_where_it_was_left(tmp_path: Path) -> None:
    whole = made(tmp_path / "whole")

    class LeftError(Exception):
        pass

    def leave(done: int, total: int) -> None:
        if done == 80:
            raise LeftError

    with pytest.raises(LeftError):
        build(PLAN, bank_of(), tmp_path / "part", leave, shard=40)
    with pytest.raises(FileError, match="80 of 100 samples"):
        read(tmp_path / "part")
    assert made(tmp_path / "part") == whole
    np.testing.assert_array_equal(read(tmp_path / "part").amplitudes, read(tmp_path / "whole").amplitudes)


def test_is_made_once(tmp_path: Path) -> None:
    made(tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    made(tmp_path)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_refuses_another_plan_s_folder(tmp_path: Path) -> None:
    made(tmp_path)
    with pytest.raises(UsageError, match="another plan"):
        made(tmp_path, replace(PLAN, seed=4))
    with pytest.raises(UsageError, match="another plan"):
        build(PLAN, bank_of(count=2), tmp_path, shard=40)
    with pytest.raises(UsageError, match="another plan"):
        build(PLAN, bank_of(), tmp_path, shard=50)


def test_notices_what_was_changed(tmp_path: Path) -> None:
    made(tmp_path)
    path = tmp_path / "shard_00001.npz"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"x")
    for use in (read, made):
        with pytest.raises(FileError, match="changed or cut off"):
            use(tmp_path)
    path.unlink()
    with pytest.raises(FileError, match="cannot read"):
        read(tmp_path)


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="expected a folder of samples"):
        read(tmp_path)
    (tmp_path / MANIFEST).write_text("{")
    with pytest.raises(FileError, match="damaged"):
        read(tmp_path)
    (tmp_path / MANIFEST).write_text(json.dumps({"format": "other/1"}))
    with pytest.raises(FileError, match="other/1"):
        read(tmp_path)


def test_a_manifest_cannot_lead_elsewhere(tmp_path: Path) -> None:
    made(tmp_path)
    document = json.loads((tmp_path / MANIFEST).read_text())
    document["shards"][0]["file"] = "../shard_00000.npz"
    (tmp_path / MANIFEST).write_text(json.dumps(document))
    with pytest.raises(FileError, match="other folders"):
        read(tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        made(tmp_path / "file" / "set")


def test_the_hash_of_a_bank_is_of_its_numbers() -> None:
    bank = bank_of()
    assert bank_hash(bank) == bank_hash(replace(bank, sites=bank.sites.copy()))
    sites = bank.sites.copy()
    sites[0, 0, 0, 0] *= 1.001
    assert bank_hash(bank) != bank_hash(replace(bank, sites=sites))
