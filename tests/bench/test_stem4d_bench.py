"""`picostem bench 4d`: scores with known answers, and every case at a small size."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from picostem.bench import stem4d_agreement, stem4d_graphene, stem4d_recovered, stem4d_speed, stem4d_toy
from picostem.bench.stem4d import Asked, run
from picostem.bench.stem4d_scores import angle_sigma, anomaly, deviations, rank_correlation, roc_auc
from picostem.cli import run as command
from picostem.errors import FileError, UsageError
from picostem.physics import FloatArray
from picostem.simulate.toy4d import Toy
from picostem.stem4d.com import centre_of_mass
from picostem.stem4d.scan import Scan4D
from picostem.stem4d.settings import RVAESettings

QUICK = RVAESettings(latent=1, width=16, templates=8, steps=60, warm_up=20, batch=64, validate_every=20)


def rng() -> np.random.Generator:
    return np.random.default_rng(2)


def test_deviations_know_the_circle_and_take_one_offset_off() -> None:
    true = np.linspace(-3, 3, 50)
    found = true + 2.0 + 0.01 * (-1.0) ** np.arange(50) + 2 * np.pi / 3 * np.arange(50)
    error, offset = deviations(found, true, 3)
    assert offset == pytest.approx(2.0 - 2 * np.pi / 3)
    np.testing.assert_allclose(error, 0.01 * (-1.0) ** np.arange(50), atol=1e-12)
    anything = rng().uniform(-np.pi, np.pi, 4000)
    assert np.abs(deviations(anything, 0.0)[0]).mean() == pytest.approx(math.pi / 2, rel=0.05)  # chance


def test_anomaly_is_what_most_positions_are_not() -> None:
    features = rng().standard_normal((600, 3)) @ [[1, 0, 0], [5, 1, 0], [0, 0, 1e-3]]
    odd = np.arange(600) < 20
    features[odd] += [0, 0, 6e-3]  # far in the direction that scatters least
    assert roc_auc(odd, anomaly(features)) > 0.99
    assert roc_auc(odd, features[:, 0]) < 0.7
    still = np.column_stack([features, np.zeros(600)])  # a latent that tells nothing changes nothing
    assert roc_auc(odd, anomaly(still)) > 0.99


def test_rank_correlation_of_what_never_changes_is_none() -> None:
    assert rank_correlation([1, 2, 3, 4], [1, 8, 27, 64]) == pytest.approx(1)
    assert rank_correlation([1, 1, 1], [1, 2, 3]) == 0


def test_stated_error_of_a_direction_is_its_scatter() -> None:
    toy = Toy(size=32)
    patterns = toy.patterns(np.full(400, 0.7), np.full(400, 3.0), rng()).reshape(20, 20, 32, 32)
    com = centre_of_mass(Scan4D.of(patterns))
    scatter = np.std(deviations(np.arctan2(com.ky, com.kx), 0.7)[0])
    assert angle_sigma(com).mean() == pytest.approx(scatter, rel=0.11)  # three standard errors of 400 patterns


def test_toy_patterns_and_their_turns() -> None:
    pytest.importorskip("torch")
    plan = stem4d_toy.Plan(side=16, size=24, settings=QUICK)
    report = stem4d_toy.measure(plan, seeds=(0,))
    scores = {(one.kind, one.method, one.seed): one for one in report.scores}
    assert len(scores) == 6
    com, harmonic = scores["asymmetric", "CoM", 0], scores["three-fold", "harmonic 3", 0]
    assert 2 < com.rms_deg / com.bound_deg < 15 and abs(com.offset_deg) < 1  # in the centre there is little of an arc
    assert com.pull == pytest.approx(1, abs=0.2) and com.rho > 0.95
    assert harmonic.rms_deg < 1.5 and harmonic.bound_deg < harmonic.rms_deg
    assert scores["three-fold", "CoM", 0].mean_deg == pytest.approx(30, abs=6)  # chance, 256 patterns
    assert scores["asymmetric", "rVAE", 0].mean_deg < 10 and scores["asymmetric", "rVAE", 0].seconds is not None
    (table,) = report.tables()
    assert len(table.rows) == 6 and "1 seed;" in table.title
    turned = stem4d_toy.measure_turns(plan, seeds=(0,)).scores[0]
    assert turned.spread < 0.2 and turned.angle_rms_deg <= turned.angle_most_deg < 1  # so short a training tells little


def test_graphene_far_from_its_defect_is_perfect() -> None:
    pytest.importorskip("abtem")
    pytest.importorskip("torch")
    plan = stem4d_graphene.Plan(field=6.5, step=0.65, settings=replace(QUICK, latent=2))
    truth = stem4d_graphene.simulate(plan, "Si4")
    y, x = (np.indices(truth.distance.shape) - (truth.distance.shape[0] - 1) / 2) * plan.step
    away = np.hypot(x, y)
    assert truth.defective[away < 0.5].all() and not truth.defective[away > 2.5].any()
    assert truth.distance[away > 3.5].max() < 0.3 * stem4d_graphene.DEFECTIVE  # the lattice is the same
    scores = [stem4d_graphene.score(plan, "Si4", truth, dose, rng()) for dose in (1e4, math.inf)]
    noisy, clean = scores
    assert clean.electrons is None and set(clean.auc) == {"CoM", "harmonics", "PCA", stem4d_graphene.KNOWN}
    assert clean.angle_deg["CoM"] < 3 and abs(clean.offset_deg["CoM"]) < 3  # to where psi_1 says
    assert clean.angle_deg["CoM"] < noisy.angle_deg["CoM"]
    assert set(noisy.auc) == {*stem4d_graphene.METHODS, stem4d_graphene.KNOWN}
    assert clean.auc[stem4d_graphene.KNOWN] > 0.99 and noisy.auc[stem4d_graphene.KNOWN] > 0.85
    report = stem4d_graphene.GrapheneReport(tuple(scores))
    assert [len(table.rows) for table in report.tables()] == [2, 2]
    json.dumps(report.as_dict(), allow_nan=False)


def recovered(path: Path) -> FloatArray:
    """A file like that of the recovered scan: three maps of a lattice, one of which the HAADF shows."""
    row, column = np.indices((48, 48))
    waves = [np.cos(2 * np.pi * (row * a + column * b) / 8) for a, b in ((1, 0), (0.5, 0.87), (-0.5, 0.87))]
    y, x = np.indices((32, 32)) - 15.5
    disk = np.hypot(x, y) < 10
    patterns = np.array([disk * x, disk * y, disk * np.cos(3 * np.arctan2(y, x))])
    haadf = sum(waves) + 0.3 * rng().standard_normal((48, 48))
    scores = np.array([sum(waves), waves[1], waves[2]]) + 0.05 * rng().standard_normal((3, 48, 48))
    grey = np.uint8(np.clip(100 + 30 * haadf, 0, 255))
    np.savez(path, scores=scores.astype("f4"), components=patterns.astype("f4"), haadf_64x64_u8=grey)
    return np.asarray(haadf)


def test_recovered_scan_against_its_haadf(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    file = tmp_path / "scan.npz"
    recovered(file)
    settings = replace(QUICK, latent=2, likelihood="gaussian")
    report = stem4d_recovered.measure(file, settings)
    scores = {one.method: one for one in report.scores}
    assert scores["first moment"].rho > 0.9 and scores["first moment"].predicted > 0.9
    assert scores["first moment"].atoms > 0.9 and scores["PCA"].predicted > 0.9
    assert (report.defects == 0) == (scores["PCA"].defects is None)
    assert "HAADF" in report.tables()[0].title and len(report.tables()[0].rows) == 6


def test_what_is_no_recovered_scan_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", scores=np.zeros(3))
    with pytest.raises(FileError, match="no components"):
        stem4d_recovered.read(tmp_path / "other.npz")
    with pytest.raises(FileError, match="cannot read"):
        stem4d_recovered.read(tmp_path / "nowhere.npz")


def test_speed_and_memory_are_measured() -> None:
    rate = stem4d_speed.rate("uint16", 8, 2)
    assert rate.com > 0 and rate.read > 0
    report = stem4d_speed.measure_memory((0.04, 0.2))
    assert [one.gigabytes for one in report.peaks] == pytest.approx([0.034, 0.201], abs=0.001)
    small, large = (one.bytes for one in report.peaks)
    if small is not None and large is not None:
        assert large < small + 150e6  # a block of the file is 64 MB, and 4 MB a thread
    assert len(report.tables()[0].rows) == 2


def test_centres_agree_with_sums_in_double_precision() -> None:
    report = stem4d_agreement.measure(shape=(2, 3, 40, 56))
    assert max(report.oracle.values()) < 1e-6
    assert max(report.shifts.values()) < 1e-4  # of a disk in pixels


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "figures.json"
    assert command(["bench", "4d", "--case", "agreement", "--markdown", "--json", str(out)]) == 0
    assert "**Centres of mass against sums in double precision**" in capsys.readouterr().out
    assert set(json.loads(out.read_text("utf-8"))) == {"agreement"}


def test_unknown_case_and_missing_file_are_named() -> None:
    with pytest.raises(UsageError, match="expected one of toy"):
        run(["tea"], Asked(), lambda *_: None)
    with pytest.raises(UsageError, match="--recovered FILE"):
        run(["recovered"], Asked(), lambda *_: None)
