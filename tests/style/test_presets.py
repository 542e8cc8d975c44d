"""Presets: published values, what ablations leave out, and the greys that networks take."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from picostem.errors import UsageError
from picostem.style.picture import BRIGHT, Picture
from picostem.style.presets import CPU, PAPER, PRESETS, preset_named


def test_presets_have_the_published_values() -> None:
    assert PAPER.network.base == 64
    assert PAPER.augment.patch == 1024
    assert PAPER.augment.sides == (462.0, 612.0)
    assert (PAPER.batch, PAPER.learning_rate, PAPER.betas, PAPER.weight_decay) == (2, 1e-4, (0.5, 0.999), 1e-4)
    assert (PAPER.content_slower, PAPER.content_every, PAPER.adversarial) == (2.5, 3, "bce")
    # 41 simulations, 2 in a batch, 3000 epochs, of which 600 at the full rate
    steps = PAPER.total_steps(41, 3)
    assert steps == 3000 * 21
    assert PAPER.rate(600 * 21 - 1, steps) == 1.0
    assert PAPER.rate(1800 * 21, steps) == pytest.approx(0.5, abs=1e-12)
    assert PAPER.rate(steps - 1, steps) == pytest.approx(1 / (2400 * 21), rel=1e-9)


def test_ablations_leave_out_what_they_say() -> None:
    assert preset_named("cpu-no-selection").keep is None
    assert preset_named("cpu-no-augmentation").augment.rotation_deg == 0
    assert preset_named("paper-no-consistency").weights.consistency == 0
    plain = preset_named("cpu-plain")
    assert (plain.keep, plain.augment.flips, plain.weights.consistency) == (None, False, 0)
    assert plain.weights.cross_reconstruction == PRESETS["cpu"].weights.cross_reconstruction
    with pytest.raises(UsageError, match="cpu-wings.*paper or cpu.*-cyclegan"):
        preset_named("cpu-wings")


def test_content_has_the_greys_that_the_network_takes() -> None:
    greys = np.random.default_rng(0).random((2, 40, 40), dtype=np.float32)
    given = [Picture(each, 0.08, 2.0, 5.0, f"{number}") for number, each in enumerate(greys)]
    assert all(a is b for a, b in zip(replace(CPU, greys="range").content(given), given, strict=True))
    found = replace(CPU, greys="mean").content(given)
    for one, data in zip(found, greys, strict=True):
        counted = 2 + 3 * data
        np.testing.assert_allclose(one.data, counted / (BRIGHT * counted.mean()), rtol=1e-5)  # float32
    assert [one.name for one in found] == ["0", "1"]
