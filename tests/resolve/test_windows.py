"""Slips of many windows: status by hand, batches that do not show, and the truth in each window."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from picostem.resolve import windows
from picostem.resolve.window import window_starts
from picostem.resolve.windows import WindowFits, concatenate, fit_grid
from picostem.structure import SlipEquivalence

from .made import RES2, SLIP, fitted

FRACTION = (SLIP @ np.linalg.inv(RES2.cell))[None, None]


def starts(stride: int) -> tuple[np.ndarray, np.ndarray]:
    data, setting = fitted()
    rows, cols = data.shape
    return window_starts(rows, setting.window, stride), window_starts(cols - 20, setting.window, stride)


def fits(stride: int = 40, slips: np.ndarray = FRACTION, **options: object) -> WindowFits:
    data, setting = fitted()
    return fit_grid(data, setting, slips, starts(stride), **options)  # type: ignore[arg-type]


def test_every_window_finds_the_slip() -> None:
    found = fits()
    rows, cols = starts(40)
    assert len(found.centres) == len(rows) * len(cols)
    error = found.slips[:, 0] @ RES2.cell - SLIP
    squared = np.einsum("wi,wij,wj->w", error, np.linalg.inv(found.covariance), error)
    assert squared.max() < 18.4  # 99.99 %; overlapping windows share their noise
    assert (found.status(1.0) == "ok").all()
    assert (found.signal > 10).all()
    np.testing.assert_allclose(found.amplitude, np.median(found.amplitude), rtol=0.05)  # one crystal everywhere


def test_slips_are_found_without_a_hint() -> None:
    """A start that is wrong leaves a poor fit, and all slips are tried."""
    hint, none = fits(80), fits(80, FRACTION + 0.5)
    fixed = SlipEquivalence(RES2, frame_fixed=True)
    # two fits that end on one minimum: 0.1 of a standard deviation
    assert fixed.distance(none.slips[:, 0] @ RES2.cell, hint.slips[:, 0] @ RES2.cell).max() < 5e-3
    stuck = fits(80, FRACTION + 0.5, only_these=True)
    assert (stuck.chi2 > 2 * hint.chi2).all()


def test_batches_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fits()
    for batch in (1, 3, 7):
        monkeypatch.setattr(windows, "BATCH", batch)
        parts = fits()
        for name in WindowFits.__dataclass_fields__:
            # the same windows in the same order; matrix products of other sizes round differently
            np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-4, atol=1e-5, err_msg=name)


def test_progress_counts_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "BATCH", 6)
    said: list[tuple[int, int]] = []
    found = fits(progress=lambda done, total: said.append((done, total)))
    assert [done for done, _ in said] == sorted({done for done, _ in said})
    assert len(said) > 2
    assert said[-1] == (len(found.centres),) * 2


def test_status_says_what_is_wrong() -> None:
    one = np.ones(7)
    eye = np.tile(np.eye(2) * 1e-4, (7, 1, 1))
    eye[1] = np.eye(2) * 0.06
    table = WindowFits(
        centres=np.zeros((7, 2)),
        slips=np.zeros((7, 1, 2)),
        covariance=eye,
        chi2=np.array([1.0, 1.0, 9.0, 1.0, 1.0, 1.0, 3.9]),
        amplitude=np.array([1.0, 1.0, 1.0, 0.6, 0.1, 1.0, 1.0]),
        signal=np.array([9.0, 9.0, 9.0, 9.0, 9.0, 1.2, 9.0]),
        predicted=np.zeros((7, 3), complex),
        mean=one,
        fisher=eye,
        source=np.zeros(7, dtype=int),
    )
    assert table.status(1.0).tolist() == ["ok", "unresolved", "untrusted", "edge", "vacuum", "vacuum", "ok"]
    # where all of the image fits poorly, one window among them is no worse
    assert table.status(3.0)[2] == "ok"
    assert table.status(0.5)[6] == "ok"
    # a network is believed where it believes itself, however the model fits
    told = replace(table, source=np.array([0, 1, 1, 1, 1, 1, 2]))
    assert told.status(1.0).tolist() == ["ok", "unresolved", "ok", "edge", "vacuum", "vacuum", "untrusted"]
    assert replace(table, source=np.full(7, 2)).status(1.0)[0] == "untrusted"
    twice = concatenate([table, replace(table, chi2=2 * table.chi2)])
    np.testing.assert_array_equal(twice.chi2, np.concatenate([table.chi2, 2 * table.chi2]))
    assert twice.covariance.shape == (14, 2, 2)


def test_vacuum_and_edge_in_a_half_empty_image() -> None:
    data, setting = fitted()
    half = data.copy()
    empty = np.random.default_rng(0).poisson(0.1, half[:, 200:].shape) - 1.5
    half[:, 200:] = empty
    grid = (np.array([0, 100]), np.array([0, 5, 10, 15, 20, 100, 169]))
    found = fit_grid(half, setting, FRACTION, grid)
    status = found.status(1.0).reshape(2, 7)
    assert (status[:, :5] == "ok").all()
    assert (status[:, 5] != "ok").all()  # 60 % of it is crystal
    assert (status[:, 6] != "ok").all()
