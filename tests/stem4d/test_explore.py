"""All stages of a scan in order, on toy patterns whose angles and strengths are known."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from picostem.errors import DataError, UsageError
from picostem.simulate.toy4d import Toy
from picostem.stem4d.analysis import ExploreSettings
from picostem.stem4d.compare import agreements, clusters
from picostem.stem4d.explore import analyse
from picostem.stem4d.scan import Scan4D

LINEAR = ExploreSettings(network=False)
TOY = Toy(size=32, electrons=2e4)


@cache
def toy(rows: int = 8, columns: int = 8) -> tuple[Scan4D, NDArray[np.float64]]:
    """A scan of one-armed patterns, and their angles."""
    rng = np.random.default_rng(3)
    angles, strengths = TOY.draw(rows * columns, rng)
    data = TOY.patterns(angles, strengths, rng).reshape(rows, columns, 32, 32)
    return Scan4D.of(data, name="toy", step_A=(0.5, 0.5)), angles.reshape(rows, columns)


def round_patterns(centre: tuple[float, float], side: int = 40, radius: float = 11.3) -> NDArray[np.float64]:
    """Disks with sharp edges, 4 × 4 of them, whose brightness differs a little."""
    y, x = np.indices((side, side))
    disk = 30.0 * (np.hypot(y - centre[0], x - centre[1]) < radius) + 0.1
    return np.linspace(1, 1.2, 16).reshape(4, 4, 1, 1) * disk


def test_orientation_deflection_and_images_of_a_toy() -> None:
    scan, angles = toy()
    found = analyse(scan, LINEAR)
    assert found.counted and found.learned is None and found.com is not None
    maps = found.maps()
    assert {one.shape for one in maps.values()} == {(8, 8)}
    off = np.angle(np.exp(1j * np.radians(maps["orientation_1_deg"] - np.degrees(angles))))
    sigma = np.radians(maps["orientation_1_sigma_deg"])
    assert np.sqrt(np.mean((off / sigma) ** 2)) == pytest.approx(1, abs=0.25)  # 64 positions: ± 3 standard errors
    pull = np.angle(np.exp(1j * (np.arctan2(maps["com_y"], maps["com_x"]) - angles)))
    assert np.abs(pull).max() < 0.2  # the centre of mass lies where the arc is
    np.testing.assert_array_equal(maps["counts"], scan.data.sum(axis=(2, 3)))
    assert (maps["bright"] + maps["dark"] <= maps["counts"]).all()
    assert maps["bright"].sum() > 0.9 * maps["counts"].sum()


def test_semiangle_calibrates_by_the_disk() -> None:
    data = np.random.default_rng(0).poisson(round_patterns((19.5, 19.5)))
    scan = Scan4D.of(data, step_A=(0.3, 0.3))
    scan = replace(scan, detector=replace(scan.detector, voltage_eV=60e3))
    found = analyse(scan, replace(LINEAR, semiangle=0.032))
    assert found.disk is not None and found.field is not None
    assert found.scan.detector.unit == "1/Å" and found.momentum_unit == "mrad" and found.field.phase_unit == "rad"
    radius = np.abs(np.linalg.det(found.scan.detector.matrix)) ** 0.5 * found.disk.radius
    assert radius * float(found.scan.detector.mrad or 0) == pytest.approx(32)


def test_turned_detector_is_turned_back() -> None:
    """A scan over round attracting atoms, whose detector is turned by 90° and mirrored."""
    i, j = np.indices((24, 24))
    field = np.zeros((24, 24, 2))  # (row, column) of the deflection towards atoms
    for row, col in [(6, 6), (6, 18), (18, 12), (17, 2), (15, 21)]:
        away = np.stack([i - row, j - col], axis=-1)
        field -= away * np.exp(-(away**2).sum(-1, keepdims=True) / 8)
    y, x = np.indices((32, 32))
    shift = 15.5 + 0.5 * field
    edge = np.hypot(y - shift[..., :1, None], x - shift[..., 1:, None])
    data = np.random.default_rng(1).poisson(60 / (1 + np.exp((edge - 8) / 0.4)))
    straight = analyse(Scan4D.of(data), LINEAR)
    assert straight.rotation is None
    turned = analyse(Scan4D.of(np.ascontiguousarray(data.swapaxes(2, 3))), LINEAR)
    assert turned.rotation is not None and turned.rotation.flip
    assert straight.com is not None and turned.com is not None
    np.testing.assert_allclose(turned.com.vectors, straight.com.vectors, atol=0.15)  # the angle's error, 1°, and noise
    assert any("turned by" in note for note in turned.notes)


def test_values_below_zero_are_no_counts() -> None:
    scan, angles = toy()
    data = scan.data - scan.data.mean(axis=(0, 1))
    found = analyse(Scan4D.of(data.astype(np.float32)), LINEAR)
    assert not found.counted and found.com is None and found.field is None and found.disk is None
    assert any("no counts" in note for note in found.notes)
    maps = found.maps()
    assert np.isnan(maps["orientation_1_sigma_deg"]).all() and "com_x" not in maps
    off = np.angle(np.exp(1j * (np.radians(maps["orientation_1_deg"]) - angles)))
    assert np.sqrt(np.mean(off**2)) < 0.15  # that of the whole pattern, to a part of the mean's
    with pytest.raises(DataError, match="take likelihood gaussian or auto"):
        analyse(Scan4D.of(data), ExploreSettings(likelihood="poisson"))


def test_wandering_disk_is_taken_off() -> None:
    y, x = np.indices((32, 32))
    drift = np.linspace(0, 3, 8)[:, None, None, None]
    data = np.random.default_rng(0).poisson(
        40 / (1 + np.exp((np.hypot(y - 14 - drift, x - 15.5) - 8) / 0.3)), (8, 8, 32, 32)
    )
    found = analyse(Scan4D.of(data), LINEAR)
    assert found.scan.descan[0, 1] * 7 == pytest.approx(3, abs=0.1)
    assert found.com is not None
    assert np.abs(found.com.vectors).max() < 0.5  # 4 standard errors of 8000 counts
    assert any("wanders" in note for note in found.notes)


def test_autoencoder_goes_on_where_it_stopped_but_only_on_the_same_data(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    scan, _ = toy()
    settings = ExploreSettings(steps=16, latent=1)
    stages: list[str] = []
    first = analyse(scan, settings, folder=tmp_path, report=lambda stage, done, total: stages.append(stage))
    assert first.learned is not None
    assert sum(stage.startswith("autoencoder, loss") for stage in stages) == 16
    stages.clear()
    again = analyse(scan, settings, folder=tmp_path, report=lambda stage, done, total: stages.append(stage))
    assert not any(stage.startswith("autoencoder, loss") for stage in stages)  # it was done
    assert again.learned is not None
    np.testing.assert_array_equal(again.learned.found.mean, first.learned.found.mean)
    other = Scan4D.of(scan.data[::-1], name="toy")
    analyse(other, settings, folder=tmp_path, report=lambda stage, done, total: stages.append(stage))
    assert sum(stage.startswith("autoencoder, loss") for stage in stages) == 16
    maps = first.maps()
    assert maps["z0"].shape == maps["angle_deg"].shape == maps["cluster"].shape == (8, 8)
    assert {one.latent for one in first.agreements} <= {"z0"}


def test_without_torch_there_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.delitem(sys.modules, "picostem.stem4d.model", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    found = analyse(toy()[0])
    assert found.learned is None and 'pip install "picostem[train]"' in found.notes[-1]


def test_agreement_of_known_relations() -> None:
    rng = np.random.default_rng(0)
    z, noise = rng.normal(size=4000), rng.normal(size=4000)
    rho = 0.8
    joint = rho * z + np.sqrt(1 - rho**2) * rng.normal(size=4000)
    maps = {"joint": joint, "noise": noise, "same": np.exp(-z), "constant": np.ones(4000)}
    found = {one.map: one for one in agreements({"z0": z}, maps, rng)}
    assert set(found) == {"joint", "noise", "same"}
    assert found["joint"].information == pytest.approx(-0.5 * np.log(1 - rho**2), abs=0.04)  # of Gaussians; 2 sigma
    assert found["noise"].information < 0.03 and abs(found["noise"].rho) < 0.05
    assert found["same"].rho == pytest.approx(-1) and found["same"].information > 3


def test_clusters_by_bic_from_the_largest() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], (300, 200, 100))
    latents = np.array([[0, 0], [8, 0], [0, 8.0]])[truth] + rng.normal(size=(600, 2))
    np.testing.assert_array_equal(clusters(latents, rng), truth)
    assert (clusters(rng.normal(size=(400, 1)), rng) == 0).all()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.ones((3, 5, 8, 8)), "16 or more are needed"),
        (np.ones((4, 4, 24, 24)), "all patterns are alike"),
        (np.zeros((4, 4, 24, 24)), "all patterns are alike"),
        (np.full((4, 4, 24, 24), np.nan), "not finite"),
        (np.random.default_rng(0).uniform(0, 9, (4, 4, 24, 24)), "bernoulli is for values from 0 to 1"),
    ],
)
def test_scans_that_tell_nothing(data: NDArray[np.float64], words: str) -> None:
    with pytest.raises(DataError, match=words):
        analyse(Scan4D.of(data), replace(LINEAR, likelihood="bernoulli") if "bernoulli" in words else LINEAR)


@pytest.mark.parametrize("wrong", [{"radius": 0.0}, {"semiangle": -1.0}, {"latent": 0}, {"symmetry": 0}])
def test_settings_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        ExploreSettings(**wrong)  # type: ignore[arg-type]
