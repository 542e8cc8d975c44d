"""Blobs of drawn heat maps: what they are like, and whether classes that nobody named are found again."""

from __future__ import annotations

import numpy as np
import pytest

from picostem.atoms.blobs import Blobs, find_blobs, sort_blobs
from picostem.errors import DataError, UsageError
from tests.atoms.made import FloatArray

SIDE, REACH = 320, 20


def drawn(
    place: FloatArray, height: FloatArray, long: FloatArray, short: FloatArray, turn: FloatArray, side: int = SIDE
) -> FloatArray:
    """A heat map of Gaussians with standard deviations along both axes, `turn` from columns towards rows."""
    out = np.zeros((side, side))
    for (r, c), h, a, b, t in zip(place, height, long, short, turn, strict=True):
        top, left = max(int(r) - REACH, 0), max(int(c) - REACH, 0)
        rows, cols = np.mgrid[top : min(int(r) + REACH, side), left : min(int(c) + REACH, side)]
        x, y = cols - c, rows - r
        u, v = np.cos(t) * x + np.sin(t) * y, np.cos(t) * y - np.sin(t) * x
        out[rows, cols] = np.maximum(out[rows, cols], h * np.exp(-0.5 * ((u / a) ** 2 + (v / b) ** 2)))
    return out


def one(height: float, long: float, short: float, turn: float, middle: tuple[float, float] = (40.3, 30.6)) -> Blobs:
    sizes = np.array([[height], [long], [short], [turn]])
    heat = drawn(np.array([middle]), sizes[0], sizes[1], sizes[2], sizes[3], 80)
    return find_blobs(heat[None])


def test_a_blob_is_what_was_drawn() -> None:
    blob = one(0.96, 7.0, 4.0, 0.5)
    assert len(blob) == 1 and not blob.border[0]
    assert (blob.row[0], blob.col[0]) == pytest.approx((40.3, 30.6), abs=0.02)  # sampled in pixels
    # above a half: an ellipse with half axes a sqrt(2 ln(h/0.5))
    bound = 2 * np.log(0.96 / 0.5)
    assert blob.area[0] == pytest.approx(np.pi * 7 * 4 * bound, rel=0.03)
    assert blob.strength[0] == pytest.approx(2 * np.pi * 7 * 4 * (0.96 - 0.5), rel=0.03)
    assert blob.peak[0] == pytest.approx(0.96, abs=0.01)
    assert blob.orientation[0] == pytest.approx(0.5, abs=0.02)
    assert blob.eccentricity[0] == pytest.approx(np.sqrt(1 - (4 / 7) ** 2), abs=0.02)


def test_round_and_long() -> None:
    assert one(0.9, 6.0, 6.0, 0.0).eccentricity[0] < 0.1  # of the pixels' steps
    assert one(0.9, 9.0, 3.0, 0.0).eccentricity[0] > 0.9


def test_channels_make_a_profile() -> None:
    heat = np.zeros((3, 40, 40))
    heat[0, 5:10, 5:10] = 0.8
    heat[1, 5:10, 5:10] = 0.3
    heat[1, 16:19, 6:9] = 0.7
    heat[2, 0:3, 20:24] = 0.9
    blobs = find_blobs(heat)
    order = np.argsort(-blobs.area)
    assert blobs.channel[order].tolist() == [0, 2, 1]
    assert blobs.area[order].tolist() == [25, 12, 9]
    assert blobs.profile[order[0]] == pytest.approx([0.8, 0.3, 0])
    assert blobs.strength[order] == pytest.approx([20, 10.8, 6.3])
    assert blobs.border[order].tolist() == [False, True, False]
    assert (blobs.row[order[0]], blobs.col[order[0]]) == pytest.approx((7, 7))


def population(rng: np.random.Generator) -> tuple[FloatArray, np.ndarray]:
    """A heat map with 200 strong round, 80 weak round and 60 long blobs, whichever way, and which is which."""
    kind = rng.permutation(np.repeat([0, 1, 2], [200, 80, 60]))
    place = np.stack(np.mgrid[:20, :20], axis=-1).reshape(-1, 2)[: len(kind)] * 16.0 + 8 + rng.uniform(-2, 2, (340, 2))
    height = np.array([0.97, 0.75, 0.93])[kind] + rng.normal(0, 0.01, 340)
    long = np.array([3.5, 3.4, 5.0])[kind] * (1 + rng.normal(0, 0.03, 340))
    short = np.array([3.4, 3.3, 3.0])[kind] * (1 + rng.normal(0, 0.03, 340))
    return drawn(place, height, long, short, rng.uniform(0, np.pi, 340)), kind


def test_classes_are_found_again() -> None:
    rng = np.random.default_rng(0)
    heat, kind = population(rng)
    blobs = find_blobs(heat[None])
    assert len(blobs) == 340
    pixel = np.rint(np.column_stack([blobs.row, blobs.col]) // 16).astype(int)
    truth = kind[pixel[:, 0] * 20 + pixel[:, 1]]
    found = sort_blobs(blobs)
    assert found.probability.sum(axis=1) == pytest.approx(1)
    assert np.array_equal(found.label, found.probability.argmax(axis=1))
    assert [one.blobs for one in found.classes] == np.bincount(found.label).tolist()
    strength = [one.strength for one in found.classes]
    assert strength == sorted(strength, reverse=True)
    # each class is of one kind, whether or not a kind makes two classes
    pure = sum(np.bincount(truth[found.label == k]).max() for k in range(len(found.classes)))
    assert pure / len(blobs) >= 0.97
    assert 3 <= len(found.classes) <= 6  # strength and area go together, which the mixture does not know


def test_what_other_channels_say_tells_kinds_apart() -> None:
    """The highest channel is the same for both, a second one says a little more of one of them."""
    rng = np.random.default_rng(1)
    place = np.stack(np.mgrid[:20, :20], axis=-1).reshape(-1, 2) * 16.0 + 8
    size, rare = np.full(400, 3.5), np.arange(400) % 20 == 0
    heat = drawn(place, 0.9 + rng.normal(0, 0.01, 400), size, size, np.zeros(400))
    other = drawn(place, np.where(rare, 0.3, 0.1) * (1 + rng.normal(0, 0.05, 400)), size, size, np.zeros(400))
    blobs = find_blobs(np.stack([heat, other]))
    found = sort_blobs(blobs)
    pixel = np.rint((np.column_stack([blobs.row, blobs.col]) - 8) / 16).astype(int)
    mine = rare[pixel[:, 0] * 20 + pixel[:, 1]]
    assert {one.channel for one in found.classes} == {0}
    assert not set(found.label[mine]) & set(found.label[~mine])
    assert len(found.classes) <= 4


def test_few_blobs_are_one_class() -> None:
    found = sort_blobs(one(0.96, 7.0, 4.0, 0.5))
    assert found.label.tolist() == [0]
    assert found.probability.tolist() == [[1.0]]
    assert found.classes[0].eccentricity == pytest.approx(0.82, abs=0.02)


def test_bad_input() -> None:
    with pytest.raises(UsageError, match="classes, rows, columns"):
        find_blobs(np.zeros((10, 10)))
    with pytest.raises(UsageError, match="probability"):
        find_blobs(np.zeros((1, 10, 10)), threshold=1.5)
    nothing = find_blobs(np.zeros((2, 10, 10)))
    assert len(nothing) == 0
    with pytest.raises(DataError, match="no blobs"):
        sort_blobs(nothing)
