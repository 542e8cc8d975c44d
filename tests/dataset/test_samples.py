"""Samples: labels are those of what was drawn, corruption and noise have the shares and sizes that the plan says."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from picostem.dataset.plan import Corruptions, Plan
from picostem.dataset.samples import Samples, _fitted, concatenate, draw, draw_slips
from picostem.dataset.stack import amplitudes
from picostem.errors import UsageError
from picostem.structure.lattice import reduced, shortest_length

from .made import RES2, bank_of, steady_bank

CLEAN = Plan("MoS2", corruptions=Corruptions.none(), outliers=0.0, dose=(1e12, 1e12))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def bispectra(hk: np.ndarray, c: np.ndarray) -> np.ndarray:
    """c(h) c(k) c*(h + k) of all pairs within hk: they do not tell where the lattice lies."""
    place = {tuple(h): i for i, h in enumerate(hk.tolist())}
    triples = [(i, j, place[tuple(hk[i] + hk[j])]) for i in range(9) for j in range(9) if tuple(hk[i] + hk[j]) in place]
    i, j, k = np.array(triples).T
    return c[:, i] * c[:, j] * c[:, k].conj()


@pytest.mark.parametrize("jitter", [(0.0, 0.0), (1.0, 1e-6)], ids=["harmonics", "pixels"])
def test_labels_are_those_of_the_harmonics(jitter: tuple[float, float]) -> None:
    """Without corruption, under a round microscope, the drawn slips give the drawn harmonics up to a translation."""
    bank = steady_bank()
    drawn = draw(replace(CLEAN, corruptions=replace(Corruptions.none(), jitter=jitter)), bank, rng(), 300)
    expected = amplitudes(bank, 0, drawn.slips)
    scale = np.linalg.norm(expected, axis=1, keepdims=True)
    # orientations: columns that were left out of the kernels, 1 % as in test_orientation, three times in a product
    one, other = bispectra(bank.hk, drawn.amplitudes / scale), bispectra(bank.hk, expected / scale)
    assert np.abs(one - other).max() < 0.03 * np.abs(other).max()
    # the lattice lies anywhere: the phase of the first harmonic is even over the circle
    phase = np.angle(drawn.amplitudes[:, 0] / expected[:, 0])
    assert abs(np.exp(1j * phase).mean()) < 5 / np.sqrt(300)


def test_slips_are_anywhere_but_eclipsed() -> None:
    plan, bank = Plan("ReS2"), bank_of("ReS2")
    slips = draw_slips(plan, bank, rng(), 4000)
    assert slips.shape == (4000, 1, 2) and slips.min() >= 0 and slips.max() < 1
    apart = shortest_length(slips[:, 0] @ RES2.cell, reduced(RES2.cell))
    assert 0.25 <= apart.min() < 0.35
    np.testing.assert_allclose(slips[:, 0].mean(axis=0), 0.5, atol=5 * 0.29 / np.sqrt(4000))  # standard errors


def test_slips_of_antiparallel_layers_may_be_eclipsed() -> None:
    plan = Plan("MoS2", antiparallel=True)
    slips = draw_slips(plan, bank_of(antiparallel=True), rng(), 4000)
    cell = bank_of().cell
    assert shortest_length(slips[:, 0] @ cell, reduced(cell)).min() < 0.1


def test_three_layers_may_have_two_eclipsed() -> None:
    bank = bank_of("MoS2", 3)
    slips = draw_slips(Plan("MoS2", layers=3), bank, rng(), 4000)
    lengths = shortest_length(np.cumsum(slips, axis=1) @ bank.cell, reduced(bank.cell))
    assert lengths.min() < 0.1 and lengths.max(axis=1).min() >= 0.25


def test_labels_on_a_grid() -> None:
    plan, bank = replace(CLEAN, material="ReS2", step_A=0.4), bank_of("ReS2")
    slips = draw(plan, bank, rng(), 2000).slips[:, 0]
    steps = np.rint(np.linalg.norm(RES2.cell, axis=1) / 0.4)
    np.testing.assert_allclose(slips * steps, np.rint(slips * steps), atol=1e-9)  # rounding
    found = np.unique(np.rint(slips * steps), axis=0)
    assert steps.prod() - 2 <= len(found) < steps.prod()  # all of the cell, but the eclipsed one


def test_noise_is_what_it_is_said_to_be() -> None:
    """The same seed without noise gives the noise by difference; its level against the root mean square."""
    bank, none = bank_of(), replace(CLEAN, window_A=30.0)
    noisy = draw(replace(none, dose=(1e4, 1e4)), bank, rng(3), 800)
    clean = draw(none, bank, rng(3), 800)
    np.testing.assert_array_equal(noisy.slips, clean.slips)
    found = np.abs(noisy.amplitudes - clean.amplitudes) / noisy.noise[:, None]
    # large windows: 3 % more than a pixel's over the side; 14400 draws: 0.8 %, three of these
    assert np.sqrt(np.mean(found**2)) == pytest.approx(1.03, abs=0.04)
    np.testing.assert_allclose(noisy.noise / clean.noise, 1e4, rtol=1e-3)  # 1/sqrt(dose), single precision


def test_noise_of_rendered_windows_is_that_of_the_others() -> None:
    bank = bank_of()
    plan = replace(CLEAN, dose=(1e4, 1e4), window_A=30.0)
    rendered = replace(plan, corruptions=replace(Corruptions.none(), jitter=(1.0, 1e-9)))
    other = draw(rendered, bank, rng(3), 800)
    one = draw(plan, bank, rng(3), 128)  # a batch: the next one is drawn after noise, which is drawn otherwise
    np.testing.assert_allclose(one.noise, other.noise[:128], rtol=2e-3)  # the mean in a window is not the cell's
    clean = draw(replace(rendered, dose=(1e12, 1e12)), bank, rng(3), 800)
    found = np.abs(other.amplitudes - clean.amplitudes) / other.noise[:, None]
    assert np.sqrt(np.mean(found**2)) == pytest.approx(1.03, abs=0.04)  # as above


@pytest.mark.parametrize(
    ("name", "amount"),
    [
        ("vacancies", (1.0, 0.3)),
        ("hole", (1.0, 0.3)),
        ("partial_layer", (1.0, 0.3)),
        ("contamination", (1.0, 1.0)),
        ("absorption", (1.0, 0.5)),
        ("jitter", (1.0, 0.3)),
        ("blur", (1.0, 0.3)),
        ("model", (1.0, 0.3)),
    ],
)
def test_every_corruption_changes_harmonics_and_no_label(name: str, amount: tuple[float, float]) -> None:
    bank, none = bank_of(), replace(CLEAN, step_A=0.1)
    plain = draw(none, bank, rng(5), 64)
    drawn = draw(replace(none, corruptions=replace(Corruptions.none(), **{name: amount})), bank, rng(5), 64)
    assert not np.allclose(drawn.amplitudes, plain.amplitudes, rtol=1e-2, atol=0)
    # amounts are drawn alike whatever the shares are; missing atoms alone draw otherwise afterwards
    if name != "vacancies":
        np.testing.assert_array_equal(drawn.slips, plain.slips)


def test_read_noise_adds_to_the_noise() -> None:
    bank, plan = bank_of(), replace(CLEAN, dose=(1e4, 1e4))
    for jitter in ((0.0, 0.0), (1.0, 1e-9)):
        quiet = replace(plan, corruptions=replace(Corruptions.none(), jitter=jitter))
        loud = replace(quiet, corruptions=replace(quiet.corruptions, read_noise=(1.0, 2.0)))
        ratio = draw(loud, bank, rng(5), 128).noise / draw(quiet, bank, rng(5), 128).noise
        assert 0.995 < ratio.min() < 1.1 and 2.1 < ratio.max() < 2.25  # sqrt(1 + 0..2²), the window's mean to 0.2 %


def test_outliers_have_their_share_and_are_no_stacks() -> None:
    plan = replace(CLEAN, outliers=0.5)
    drawn = draw(plan, bank_of(), rng(), 2000, bank_of("ReS2"))
    assert abs(drawn.outlier.mean() - 0.5) < 5 * 0.5 / np.sqrt(2000)
    power = np.linalg.norm(drawn.amplitudes, axis=1) / drawn.noise
    assert power[~drawn.outlier].min() > 100  # no stack lacks its harmonics
    assert np.mean(power[drawn.outlier] < 100) == pytest.approx(0.25, abs=0.07)  # noise does, one kind of four


def test_a_seed_decides_and_counts_need_not_be_whole_batches() -> None:
    plan, bank = Plan("MoS2"), bank_of()
    one, other = draw(plan, bank, rng(1), 150), draw(plan, bank, rng(1), 150)
    np.testing.assert_array_equal(one.amplitudes, other.amplitudes)
    assert len(one) == 150 and one.amplitudes.dtype == np.complex64 and one.noise.dtype == np.float32
    assert one.conditions.shape == (150, 3)
    assert not np.array_equal(one.amplitudes, draw(plan, bank, rng(2), 150).amplitudes)
    both = concatenate([one, other])
    assert isinstance(both, Samples) and len(both) == 300


@pytest.mark.parametrize(
    ("plan", "count"), [(Plan("MoS2", layers=3), 5), (Plan("MoS2", antiparallel=True), 5), (Plan("MoS2"), 0)]
)
def test_a_plan_needs_its_bank(plan: Plan, count: int) -> None:
    with pytest.raises(UsageError, match="build the bank of plan.stack"):
        draw(plan, bank_of(), rng(), count)


@pytest.mark.slow
def test_speed() -> None:
    """3000 samples a second on one core, by its own clock; the largest built-in cell."""
    plan, bank = Plan("ReS2"), bank_of("ReS2")
    draw(plan, bank, rng(), 128)
    start = time.process_time()
    draw(plan, bank, rng(), 2048)
    assert 2048 / (time.process_time() - start) > 3000


def test_factors_have_the_errors_of_fits() -> None:
    """Off by 2 to 30 % of the prior's standard deviations, and by a whole turn of focus where they are of the twin."""
    bank = bank_of()
    found = _fitted(bank, np.zeros(2000, np.int64), rng())
    right, twin = bank.factors[0, :, 0]
    off = np.linalg.norm(found - right, axis=(1, 2))
    scale = np.linalg.norm(bank.factors[0, 0, 1:], axis=(1, 2))
    assert np.quantile(off, 0.05) < 0.1 * np.linalg.norm(scale)
    beside_twin = np.linalg.norm(found - twin, axis=(1, 2)) < off
    assert 0.14 < beside_twin.mean() < 0.26  # 0.2, and 4.5 standard errors and what lies half-way
    np.testing.assert_allclose(found[~beside_twin].mean(axis=0), right, atol=0.05 * np.abs(right).max())
