"""The same work on a Dask cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from picostem.batch import cluster
from picostem.errors import UsageError
from tests.batch.made import batch, contents, files_of, sick

distributed = pytest.importorskip("distributed")


def test_a_cluster_gives_the_same_results(tmp_path: Path) -> None:
    data = files_of(tmp_path / "data", *"abc", "bad")
    batch(data, tmp_path / "here")
    tally, worked = batch(data, tmp_path / "there", sick, cluster="local", workers=2)
    assert (tally.done, tally.failed) == (3, 1)
    assert sorted(name for name, outcome in worked if outcome.error) == ["bad.npy"]
    tally, _ = batch(data, tmp_path / "there", sick, cluster="local", retry_failed=True)
    assert tally.done == 4
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


def test_the_workers_of_a_scheduler_are_used_and_a_dead_one_costs_its_image_only(tmp_path: Path) -> None:
    data = files_of(tmp_path / "data", "a", "killed", "z")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as workers,
        distributed.Client(workers),
    ):
        tally, worked = batch(data, tmp_path / "out", sick, cluster=workers.scheduler_address)
    assert (tally.done, tally.failed) == (2, 1)
    errors = {name: outcome.error for name, outcome in worked if outcome.error}
    assert list(errors) == ["killed.npy"]
    assert "KilledWorker" in str(errors["killed.npy"])


def test_a_scheduler_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "WAIT", 0.3)
    with pytest.raises(UsageError, match="--cluster tcp://127.0.0.1:9: .*; expected local, or a scheduler"):
        batch(files_of(tmp_path / "data", "a"), tmp_path / "out", cluster="tcp://127.0.0.1:9")
