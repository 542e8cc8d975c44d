"""What patches suffer: each does what it says, and mirrors move the label as they move the atoms."""

from __future__ import annotations

import numpy as np
import pytest

from picostem.dataset.patch_corruption import MIRRORS, Mirrors, blurred, flipped, mask
from picostem.dataset.patch_render import rendered, slid, turned
from picostem.dataset.window import Window
from tests.dataset.made import steady_bank

SIDE, PIXEL = 60, 0.36


def grid(seed: int = 0, count: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 32, 32)).astype(np.float32) + 1


def test_mask_takes_its_share() -> None:
    share = np.array([0.0, 0.05, 0.1, 0.2, 0.3, 1.0])
    before = grid()
    masked = mask(before, share, np.random.default_rng(1))
    gone = (masked == 0).mean(axis=(1, 2))
    # sides are rounded to a pixel of 32, which changes an area of 1 % and more by up to 20 %; no more fits than all
    assert gone[:5] == pytest.approx(share[:5], rel=0.2, abs=1e-9)
    assert 0.5 <= gone[5] <= 1
    assert (masked[masked > 0] == before[masked > 0]).all()
    places = [np.argwhere(mask(before, share, np.random.default_rng(i))[2] == 0)[0].tolist() for i in range(5)]
    assert len({tuple(place) for place in places}) > 1


def test_blur_is_that_of_a_gaussian() -> None:
    """A wave of frequency g loses exp(-2 pi² sigma² g²); borders reflect a cosine with half a pixel's phase exactly."""
    x = np.arange(32) + 0.5
    g = 2 / 32
    waves = np.tile(np.cos(2 * np.pi * g * x), (3, 32, 1)).astype(np.float32)
    sigma = np.array([0.0, 1.0, 2.0])
    found = blurred(waves, sigma)
    expected = waves * np.exp(-2 * (np.pi * sigma * g) ** 2)[:, None, None]
    np.testing.assert_allclose(found, expected, atol=2e-3)  # the kernel ends at 4 sigma
    assert (found[0] == waves[0]).all()


def test_flips() -> None:
    before = grid(count=4)
    after = flipped(before, np.arange(4))
    for one, other, mirror in zip(before, after, MIRRORS, strict=True):
        x, y = (int(value) for value in np.diag(mirror))
        np.testing.assert_array_equal(other, one[::y, ::x])
    np.testing.assert_array_equal(flipped(after, np.arange(4)), before)


@pytest.mark.parametrize(
    ("material", "antiparallel", "orientation", "which"),
    [
        ("MoS2", False, 0.0, 2),
        ("MoS2", False, np.pi / 6, 2),
        ("MoS2", False, 0.1, 1),
        ("MoS2", True, 0.0, 2),
        ("ReS2", False, 0.0, 2),
    ],
)
def test_mirrors_move_the_label_with_the_atoms(
    material: str, antiparallel: bool, orientation: float, which: int
) -> None:
    """A mirrored patch, and a patch of the mirrored label turned the other way, differ by where they lie at most.

    The moduli of the harmonics, and the phases of products that do not depend on the place, are equal to 2 %: constant
    and slow waves beside them are not orthogonal to them in a window of 6 cells, and the beam may be tilted a little.
    """
    bank = steady_bank(material, antiparallel)
    mirrors = Mirrors.of(bank, orientation)
    assert len(mirrors.which) == which
    small = 0.03
    slips = np.tile([[[0.13, 0.29]]], (which, 1, 1))
    chosen = np.arange(which)
    angle = np.full(which, orientation + small)
    patches = flipped(rendered(bank, _scene(slips, angle), SIDE, PIXEL), mirrors.which)
    sign = np.array([np.linalg.det(MIRRORS[i]) for i in mirrors.which])
    expected = rendered(bank, _scene(mirrors.labels(slips, chosen), orientation + sign * small), SIDE, PIXEL)
    wrong = rendered(bank, _scene((slips + 0.15) % 1, orientation + sign * small), SIDE, PIXEL)
    for row in range(which):
        window = Window.build(bank.hk, bank.reciprocal, SIDE * PIXEL, orientation + sign[row] * small, PIXEL)
        a, b, c = (_invariants(bank.hk, window.extract(one[[row]])[0]) for one in (patches, expected, wrong))
        assert np.abs(a - b).max() < 0.02 * np.abs(b).max()
        assert np.abs(a - c).max() > 0.1 * np.abs(b).max()


def test_some_mirrors_change_the_slip() -> None:
    bank = steady_bank()
    mirrors = Mirrors.of(bank, 0.0)
    slips = np.tile([[[0.13, 0.29]]], (2, 1, 1))
    moved = mirrors.labels(slips, np.arange(2))
    assert moved[0] == pytest.approx(slips[0])
    assert not np.allclose(moved[1], slips[1]) and not np.allclose(moved[1], 1 - slips[1])
    assert ((moved >= 0) & (moved < 1)).all()


def test_mirrors_turn_twists_round() -> None:
    mirrors = Mirrors.of_twists()
    bank = steady_bank()
    twist, angle = np.full(4, 0.1), np.full(4, 0.2)
    places = np.zeros((4, 2, 2))
    zero = np.zeros(4, dtype=np.int64)
    patches = flipped(rendered(bank, turned(twist, zero, angle, np.ones(4), places), SIDE, PIXEL), mirrors.which)
    labels = mirrors.labels(twist, np.arange(4))
    assert labels.tolist() == pytest.approx([0.1, -0.1, -0.1, 0.1])
    # a mirrored hexagonal lattice is one turned the other way; what lies in its cells changes no place of a peak
    lattice = angle * np.sign(labels)
    expected = rendered(bank, turned(labels, zero, lattice, np.ones(4), places), SIDE, PIXEL)
    spectra = [np.abs(np.fft.fft2(one - one.mean(axis=(1, 2), keepdims=True))) for one in (patches, expected)]
    for a, b in zip(*spectra, strict=True):
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.99
    wrong = np.abs(np.fft.fft2(rendered(bank, turned(-labels, zero, lattice, np.ones(4), places), SIDE, PIXEL)))
    assert np.corrcoef(spectra[0].ravel()[1:], wrong.ravel()[1:])[0, 1] < 0.9


def test_drawn_mirrors_are_all_of_them() -> None:
    mirrors = Mirrors.of(steady_bank(), 0.0)
    slips = np.tile([[[0.13, 0.29]]], (64, 1, 1))
    patches, moved = mirrors.draw(grid(count=64), slips, np.random.default_rng(0))
    kept = np.isclose(moved[:, 0], slips[:, 0]).all(axis=1)
    assert 16 < kept.sum() < 48  # half, and 4 standard deviations
    assert ((patches == grid(count=64)).all(axis=(1, 2)) == kept).all()


def _scene(slips: np.ndarray, angle: np.ndarray):  # type: ignore[no-untyped-def]
    count = len(slips)
    return slid(slips, np.zeros(count, dtype=np.int64), angle, np.ones(count), np.tile([0.3, 0.8], (count, 1)))


def _invariants(hk: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Moduli, and products c(h) c(k) c*(h + k), as roots of like size."""
    place = {tuple(h): i for i, h in enumerate(hk.tolist())}
    found = [np.abs(c)]
    for i, h in enumerate(hk.tolist()):
        for j, k in enumerate(hk.tolist()[:i]):
            other = place.get((h[0] + k[0], h[1] + k[1]))
            if other is not None:
                product = c[i] * c[j] * c[other].conj()
                size = np.cbrt(np.abs(product))
                found.append([product.real / max(size, 1e-12) ** 2, product.imag / max(size, 1e-12) ** 2])
    return np.concatenate([np.ravel(one) for one in found])
