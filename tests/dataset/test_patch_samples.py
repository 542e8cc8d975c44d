"""Patches drawn by plans: what their labels are, what they suffer, and that a seed says everything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picostem.dataset.patch_plan import PatchCorruptions, PatchPlan
from picostem.dataset.patch_samples import PatchSamples, Pool, clean, draw, draw_twists, suffered
from picostem.dataset.window import Window
from picostem.errors import UsageError
from picostem.style.transfer import Style
from tests.dataset.made import bank_of, steady_bank

CALM: dict[str, Any] = {"corruptions": PatchCorruptions.none(), "flips": False, "rotation_deg": 0.0, "scale": 0.0}
SLIPS = PatchPlan("MoS2", **CALM)


def drawn(plan: PatchPlan, count: int = 16, seed: int = 0, **rest: Any) -> PatchSamples:
    bank = bank_of(plan.material, 3 if plan.task == "trilayer" else 2, plan.task == "antiparallel")
    return draw(plan, bank, np.random.default_rng(seed), count, **rest)


@pytest.mark.parametrize(("task", "coordinates"), [("slip", 2), ("antiparallel", 2), ("trilayer", 4), ("twist", 1)])
def test_shapes(task: Any, coordinates: int) -> None:
    samples = drawn(PatchPlan("MoS2", task), 40)
    assert samples.patches.shape == (40, 64, 64) and samples.patches.dtype == np.float32
    assert samples.labels.shape == (40, coordinates) and len(samples) == 40
    assert np.isfinite(samples.patches).all() and np.isfinite(samples.labels).all()


def test_a_seed_says_everything() -> None:
    one, again, other = (drawn(PatchPlan("MoS2"), seed=seed) for seed in (0, 0, 1))
    assert (one.patches == again.patches).all() and (one.labels == again.labels).all()
    assert not (one.labels == other.labels).any()


def test_the_label_is_the_slip() -> None:
    """With the lattice at the plan's orientation the lowest harmonics are |1 + exp(2πi h·D)| times one layer's.

    20 % is for what layers do together, and for noise of 1e6 electrons per Å²; other slips differ by far more.
    """
    plan = replace(SLIPS, orientation_deg=20.0, dose=(1e6, 1e6))
    bank = steady_bank()
    samples = draw(plan, bank, np.random.default_rng(0), 60)
    window = Window.build(bank.hk, bank.reciprocal, plan.extent_A, np.radians(20.0), plan.pixel_A)
    lowest = np.argsort(np.linalg.norm(bank.hk @ bank.reciprocal, axis=1))[:3]
    found = np.abs(window.extract(samples.patches))[:, lowest]
    factor = np.abs(1 + np.exp(2j * np.pi * samples.labels @ bank.hk[lowest].T))
    one = np.median(found / factor)
    assert np.median(np.abs(found - one * factor)) < 0.2 * one
    assert np.median(np.abs(found - one * factor[::-1])) > 0.4 * one


@pytest.mark.parametrize("step", [0.1, 0.4])
def test_label_grids(step: float) -> None:
    labels = drawn(replace(SLIPS, step_A=step), 100).labels
    count = round(np.linalg.norm(bank_of().cell[0]) / step)
    assert labels * count == pytest.approx(np.rint(labels * count))
    assert len(np.unique(np.round(labels[:, 0] * count))) > count / 2


def test_twist_grids() -> None:
    plan = PatchPlan("MoS2", "twist", twist_deg=(2.0, 5.0), twist_step_deg=0.5)
    twists = np.degrees(draw_twists(plan, np.random.default_rng(0), 200))
    assert sorted(set(np.round(twists, 6))) == [2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0]
    free = np.degrees(draw_twists(replace(plan, twist_step_deg=None), np.random.default_rng(0), 200))
    assert 2.0 <= free.min() < 2.2 and 4.8 < free.max() <= 5.0


def test_patches_of_a_twist_lie_all_over_the_moire() -> None:
    """At 3° a moiré is 60 Å, so that patches of 23 Å show one registry each: contrast varies as among slips."""
    plan = PatchPlan("MoS2", "twist", twist_deg=(3.0, 3.001), dose=(1e7, 1e7), **CALM)
    spread = drawn(plan, 60).patches.std(axis=(1, 2))
    assert spread.max() > 1.3 * spread.min()


@pytest.mark.parametrize("name", list(PatchCorruptions.none().as_dict()))
def test_every_corruption_changes_patches_and_no_label(name: str) -> None:
    plan = replace(SLIPS, corruptions=replace(PatchCorruptions.none(), **{name: (1.0, 0.3)}), dose=(1e9, 1e9))
    bank = bank_of()
    plain, spoilt = (
        suffered(p, bank, clean(p, bank, np.random.default_rng(3), 8), np.random.default_rng(3))
        for p in (replace(plan, corruptions=PatchCorruptions.none()), plan)
    )
    changed = np.abs(plain.patches - spoilt.patches).max(axis=(1, 2))
    assert (plain.labels == spoilt.labels).all()
    assert (changed > 1e-5 * plain.patches.max()).all()


def test_flips_change_labels() -> None:
    plain, mirrored = (drawn(replace(SLIPS, flips=flips), 64) for flips in (False, True))
    kept = np.isclose(plain.labels, mirrored.labels).all(axis=1)
    assert 16 < kept.sum() < 48  # half, and 4 standard deviations
    twists = drawn(PatchPlan("MoS2", "twist", twist_deg=(1.0, 9.0)), 64).labels
    assert 16 < (twists < 0).sum() < 48


def test_noise_is_that_of_the_dose() -> None:
    """The variance of a pixel is its mean over the electrons, to 3 % in 65 000 pixels, which is five errors of it."""
    plan = replace(SLIPS, dose=(2e4, 2e4))
    bank = bank_of()
    still = clean(plan, bank, np.random.default_rng(0), 16)
    noisy = suffered(plan, bank, still, np.random.default_rng(1))
    variance = (noisy.patches - still.patches).var()
    assert variance == pytest.approx(still.patches.mean() / (2e4 * plan.pixel_A**2), rel=0.03)


def test_pools() -> None:
    bank = bank_of()
    pool = Pool.build(PatchPlan("MoS2"), bank, np.random.default_rng(0), 5, None)
    one, again = (pool.draw(np.random.default_rng(1), 40) for _ in range(2))
    assert (one.patches == again.patches).all()
    assert len(np.unique(one.patches.std(axis=(1, 2)))) == 40  # each has noise of its own
    calm = Pool.build(SLIPS, bank, np.random.default_rng(0), 5, None)
    labels = calm.draw(np.random.default_rng(1), 40).labels
    assert {tuple(row) for row in labels} == {tuple(row) for row in calm.clean.labels}


def test_styled_patches(tmp_path: Path) -> None:
    """A style that adds grain: the content stays, mean and variance come back, looks differ from patch to patch."""
    from tests.style.made_style import card, write_style

    folder = write_style(tmp_path / "made", of=card(pixel_range_A=(0.1, 0.4)))
    style = Style.load(folder, threads=1)
    plan = replace(SLIPS, source=f"styled:{folder}")
    bank = bank_of()
    plain = clean(SLIPS, bank, np.random.default_rng(0), 6)
    made = clean(plan, bank, np.random.default_rng(0), 6, style)
    assert (plain.labels == made.labels).all()
    for a, b in zip(plain.patches, made.patches, strict=True):
        assert np.abs(a - b).max() > 0.05 * a.std()
        assert b.mean() == pytest.approx(a.mean(), rel=1e-4) and b.std() == pytest.approx(a.std(), rel=1e-3)
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.1  # grain of up to twice the content's range
    with pytest.raises(UsageError, match="drawn with a style"):
        drawn(plan)
    with pytest.raises(UsageError, match="drawn without a style"):
        drawn(SLIPS, style=style)


def test_bad_input() -> None:
    with pytest.raises(UsageError, match=r"build the bank of plan.stack\(\)"):
        draw(PatchPlan("MoS2", "trilayer"), bank_of(), np.random.default_rng(0), 4)
    with pytest.raises(UsageError, match="a patch or more"):
        drawn(SLIPS, 0)
