"""The rotationally invariant autoencoder: exact likelihood, angles on the whole circle, invariance, files, errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from picostem.errors import DataError, UsageError  # noqa: E402
from picostem.simulate.toy4d import Toy  # noqa: E402
from picostem.stem4d.harmonics import Harmonics, angular_harmonics  # noqa: E402
from picostem.stem4d.model import MODEL, RVAE  # noqa: E402
from picostem.stem4d.scan import Scan4D  # noqa: E402
from picostem.stem4d.settings import RVAESettings  # noqa: E402
from picostem.stem4d.train import held_out  # noqa: E402

QUICK = RVAESettings(latent=1, width=32, templates=12, steps=250, warm_up=50, batch=64, validate_every=25, patience=3)
TOY = Toy(electrons=2e4)


def scan_of(toy: Toy, side: int, seed: int) -> tuple[Harmonics, np.ndarray, np.ndarray]:
    """Harmonics of patterns of a toy, and their angles and strengths."""
    rng = np.random.default_rng(seed)
    angles, strengths = toy.draw(side**2, rng)
    patterns = toy.patterns(angles, strengths, rng).reshape(side, side, toy.size, toy.size)
    return angular_harmonics(Scan4D.of(patterns), rings=12, orders=12), angles, strengths


@pytest.fixture(scope="module")
def trained() -> RVAE:
    harmonics, *_ = scan_of(TOY, 32, 0)
    return RVAE.build(harmonics, QUICK, seed=0, device="cpu").train(harmonics, seed=0)


def test_angles_on_the_whole_circle_and_strength(trained: RVAE) -> None:
    harmonics, angles, strengths = scan_of(TOY, 16, 1)  # other patterns
    found = trained.encode(harmonics)
    error = np.angle(np.exp(1j * (found.angle - angles)))
    assert abs(error.mean()) < 0.1  # which way the template looks after so short a training
    error -= error.mean()
    bound = np.sqrt(np.mean([TOY.bound(a, s) ** 2 for a, s in zip(angles[:50], strengths[:50], strict=True)]))
    assert np.sqrt(np.mean(error**2)) < 2 * bound
    assert np.sqrt(np.mean((error / found.angle_sigma) ** 2)) == pytest.approx(1, abs=0.35)
    assert abs(np.corrcoef(found.mean[:, 0], strengths)[0, 1]) > 0.97
    alarms = trained.alarms(found)
    assert alarms.active == (True,) and not alarms.warnings and alarms.angle > 50


def test_turning_the_pattern_turns_the_angle_and_nothing_else(trained: RVAE) -> None:
    turns = np.linspace(-3, 3, 16)
    clean = np.array([TOY.clean(a, 2.5) for a in turns]).reshape(4, 4, TOY.size, TOY.size)
    found = trained.encode(angular_harmonics(Scan4D.of(clean), rings=12, orders=12))
    other = trained.encode(scan_of(TOY, 8, 2)[0])
    assert found.mean.std() < 2e-3 * other.mean.std()
    moved = np.angle(np.exp(1j * (found.angle - turns)))
    assert np.ptp(moved) < 1e-3


def test_decoding_is_the_way_back(trained: RVAE) -> None:
    """Of a template drawn at an angle, the encoder says that angle."""
    (picture,) = trained.draw(np.zeros((1, 1)), angle=0.8, side=TOY.size)
    rows = np.full((4, 4, 1, 1), 1e5) * picture / picture.sum()
    found = trained.encode(angular_harmonics(Scan4D.of(rows), rings=12, orders=12))
    assert found.angle == pytest.approx(np.full(16, 0.8), abs=0.02)


def test_likelihood_is_that_of_counted_electrons(trained: RVAE, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums over pixels, of a template drawn pixel by pixel, differ between angles as the closed form says."""
    rng = np.random.default_rng(4)
    counts = rng.poisson(0.1 * TOY.clean(0.5, 3.0))
    harmonics = angular_harmonics(Scan4D.of(np.broadcast_to(counts, (4, 4, *counts.shape))), rings=12, orders=12)
    latents = np.full((1, 1), 0.3)
    levels = []
    monkeypatch.setattr(trained.network, "angles", 4096)
    for angle in (0.52, 0.56):
        template = trained.draw(latents, angle=angle, side=TOY.size)[0]
        inside = template > 0
        levels.append(float(np.sum(counts[inside] * np.log(template[inside] / template.sum()))))
    data = trained._data(harmonics, None)[np.arange(1)]
    template_ = trained._template(torch.tensor(latents, dtype=torch.float32), torch.zeros(1, dtype=torch.int64))
    share = trained.network.posterior(data.values, template_, data.counts).share[0].log().detach().numpy()
    own = float(trained._orientation(template_).detach())
    at = np.arange(len(share)) * 2 * np.pi / len(share)
    closed = [float(np.interp((angle - own) % (2 * np.pi), at, share)) for angle in (0.52, 0.56)]
    assert abs(levels[0] - levels[1]) > 2
    assert closed[0] - closed[1] == pytest.approx(levels[0] - levels[1], rel=0.03)


def test_three_fold_angles_are_modulo_120_degrees() -> None:
    harmonics, angles, _ = scan_of(Toy("three-fold", electrons=2e4), 24, 5)
    model = RVAE.build(harmonics, replace(QUICK, symmetry=3), seed=5, device="cpu").train(harmonics, seed=5)
    found = model.encode(harmonics)
    assert np.abs(found.angle).max() <= np.pi / 3 + 1e-6
    error = np.angle(np.exp(3j * (found.angle - angles))) / 3
    assert np.rad2deg(np.abs(error).mean()) < 0.6


def test_data_that_are_no_counts() -> None:
    rng = np.random.default_rng(6)
    angles, strengths = TOY.draw(400, rng)
    patterns = np.array([TOY.clean(a, s) for a, s in zip(angles, strengths, strict=True)])
    patterns = (patterns - patterns.mean(axis=0)) / patterns.std() + rng.normal(0, 0.05, patterns.shape)
    harmonics = angular_harmonics(Scan4D.of(patterns.reshape(20, 20, 64, 64)), rings=12, orders=12)
    model = RVAE.build(harmonics, replace(QUICK, likelihood="gaussian"), seed=0, device="cpu").train(harmonics, seed=0)
    found = model.encode(harmonics)
    error = np.angle(np.exp(1j * (found.angle - angles)))
    error -= np.angle(np.exp(1j * error).mean())
    assert np.rad2deg(np.abs(error).mean()) < 1
    with pytest.raises(DataError, match="Gaussian"):
        RVAE.build(angular_harmonics(Scan4D.of(-np.ones((4, 4, 16, 16)))))


def test_classes_without_and_with_labels() -> None:
    """Discs with one arc or three: told apart without labels, and as the labels have it with some."""
    rng = np.random.default_rng(7)
    kinds = rng.integers(2, size=576)
    toys = (TOY, replace(TOY, kind="three-fold"))
    patterns = np.array(
        [toys[k].patterns([a], [3.0], rng)[0] for k, a in zip(kinds, rng.uniform(-3, 3, 576), strict=True)]
    )
    harmonics = angular_harmonics(Scan4D.of(patterns.reshape(24, 24, 64, 64)), rings=12, orders=12)
    settings = replace(QUICK, classes=2, latent=1)
    labels = np.where(rng.random(576) < 0.1, kinds, -1)
    model = RVAE.build(harmonics, settings, seed=0, device="cpu").train(harmonics, labels=labels, seed=0)
    said = model.encode(harmonics).classes.argmax(axis=1)
    assert np.mean(said == kinds) > 0.97


def test_training_repeats_resumes_and_is_kept(tmp_path: Path) -> None:
    harmonics, *_ = scan_of(TOY, 12, 8)
    settings = replace(QUICK, steps=30, validate_every=10, warm_up=5)
    once = RVAE.build(harmonics, settings, seed=1, device="cpu").train(harmonics, tmp_path / "once", seed=1)

    def interrupt(step: int, steps: int, figures: dict[str, float]) -> None:
        if step == 17:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        RVAE.build(harmonics, settings, seed=1, device="cpu").train(
            harmonics, tmp_path / "twice", seed=1, progress=interrupt
        )
    twice = RVAE.build(harmonics, settings, seed=1, device="cpu").train(harmonics, tmp_path / "twice", seed=1)
    first, second = once.encode(harmonics), twice.encode(harmonics)
    assert np.array_equal(first.angle, second.angle) and np.array_equal(first.mean, second.mean)
    kept = RVAE.load(tmp_path / "once" / MODEL, "cpu").encode(harmonics)
    assert np.array_equal(kept.mean, first.mean)


def test_round_patterns_raise_the_alarm() -> None:
    disks = np.random.default_rng(9).poisson(TOY.clean(0.0, 0.0), (16, 16, 64, 64))
    harmonics = angular_harmonics(Scan4D.of(disks), rings=12, orders=12)
    model = RVAE.build(harmonics, replace(QUICK, steps=100), seed=0, device="cpu").train(harmonics, seed=0)
    alarms = model.alarms(model.encode(harmonics))
    assert alarms.active == (False,)
    assert len(alarms.warnings) == 2 and alarms.angle < 0.5
    found = model.encode(harmonics)
    assert np.median(found.angle_sigma) > 1  # of an unknown angle 1.8


def test_what_is_held_out_is_in_blocks() -> None:
    held = held_out((40, 30), 0.15, np.random.default_rng(0)).reshape(40, 30)
    assert 0.1 < held.mean() < 0.2
    inner = held[1:-1, 1:-1] & held[:-2, 1:-1] & held[2:, 1:-1] & held[1:-1, :-2] & held[1:-1, 2:]
    assert inner.sum() > 0.3 * held.sum()  # of single positions: next to none
    assert 0 < held_out((1, 20), 0.15, np.random.default_rng(0)).sum() < 20


def test_bad_requests(trained: RVAE) -> None:
    harmonics, *_ = scan_of(TOY, 4, 0)
    with pytest.raises(UsageError, match="for each of 16 patterns"):
        trained.train(harmonics, labels=np.zeros(3, dtype=np.int64))
    with pytest.raises(UsageError, match="rings and orders"):
        trained.encode(angular_harmonics(Scan4D.of(np.ones((4, 4, 64, 64)))))
    with pytest.raises(UsageError, match="likelihood"):
        RVAESettings(likelihood="rayleigh")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="one latent"):
        RVAESettings(latent=0)
