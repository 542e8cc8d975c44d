"""The figure of a training: its curves, and all that is to be seen on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from picostem.report.style_train import POINTS, curve, draw_training, save_training

pytest.importorskip("torch")

from picostem.style.showcase import Showcase


def history(steps: int) -> list[dict[str, float]]:
    """A loss that falls in a straight line, and one that only every third step has."""
    rows = [{"step": float(n), "latent": 1 - n / steps, "kl": 2.0} for n in range(1, steps + 1)]
    return [row | ({"judge_content": 5.0} if n % 3 == 0 else {}) for n, row in enumerate(rows)]


def shown() -> Showcase:
    rng = np.random.default_rng(0)
    return Showcase(*(rng.random((2, 16, 16), np.float32) for _ in range(6)))


def test_curves_are_medians_of_equal_parts() -> None:
    steps, values = curve(history(10 * POINTS), "latent")
    assert len(steps) == POINTS
    assert steps[0] == 5.5  # of steps 1 to 10
    np.testing.assert_allclose(values, 1 - np.array(steps) / (10 * POINTS), atol=1e-12)  # rounding


def test_short_and_partial_curves_are_whole() -> None:
    assert curve(history(3), "kl") == ([1.0, 2.0, 3.0], [2.0, 2.0, 2.0])
    assert curve(history(6), "judge_content") == ([1.0, 4.0], [5.0, 5.0])


def test_a_spike_does_not_move_a_curve() -> None:
    rows = history(10 * POINTS)
    rows[55]["kl"] = 1e9
    assert set(curve(rows, "kl")[1]) == {2.0}


def test_figure(tmp_path: Path) -> None:
    from PIL import Image

    figure = draw_training(history(30), shown(), 0.08)
    above, below = figure.subfigs
    drawn = {line.get_label() for ax in above.axes for line in ax.lines}
    assert drawn == {"latent", "kl", "judge content"}
    assert len(below.axes) == 2 * 6
    titles = [ax.get_title() for ax in below.axes]
    assert "experimental, y" in titles
    save_training(figure, tmp_path / "training.png")
    with Image.open(tmp_path / "training.png") as picture:
        assert np.ptp(np.asarray(picture)) == 255  # not blank
