"""Power of noise by sectors of rings: what is measured in experiments, and what grain is compared by."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch")

import torch

from picostem.style import noise
from picostem.style.picture import Picture
from tests.style.made_crystal import atoms

SIDE = 128
"""Of a patch, pixels, as in preset `cpu`: no sector of a ring is empty."""

DRAWS = 0.25
"""Decades; by what two draws of one noise differ: 0.17 with a spread of 0.01, some ten frequencies a sector."""


def grain(seed: int, strength: float = 0.05, blur: tuple[float, float] = (0.7, 0.7), side: int = SIDE) -> torch.Tensor:
    """Gaussian noise of a strength before it is blurred along rows and columns (widths in pixels)."""
    white = torch.randn((1, 1, side, side), generator=torch.Generator().manual_seed(seed))
    y, x = torch.fft.fftfreq(side)[:, None] * blur[0], torch.fft.rfftfreq(side) * blur[1]
    kept = torch.exp(-2 * math.pi**2 * (y**2 + x**2))
    return strength * torch.fft.irfft2(torch.fft.rfft2(white) * kept, s=(side, side))


def picture(data: NDArray[np.floating[Any]]) -> Picture:
    return Picture(data.astype(np.float32), 0.1, 0.0, 1.0, "noise")


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(noise.spectrum_difference(noise.decades(one), noise.decades(other)))


def slow_decades(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """The decades of power by ring and sector, each frequency of the half plane by itself, as a plain sum."""
    n = len(image)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / (n - 1))
    tapered = image * np.outer(window, window)
    place = np.arange(n)
    powers: dict[int, list[float]] = {}
    for i, j in np.ndindex(n, n // 2 + 1):
        row, column = (i - n if i >= n / 2 else i) / n, j / n
        amplitude = np.sum(tapered * np.exp(-2j * np.pi * (row * place[:, None] + column * place)))
        ring = int(math.hypot(row, column) / 0.5 * noise.RINGS)
        sector = int((math.atan2(row, column) / math.pi + 0.5) * noise.SECTORS) % noise.SECTORS
        if ring < noise.RINGS:
            powers.setdefault(ring * noise.SECTORS + sector, []).append(abs(amplitude) ** 2 / np.sum(window**2) ** 2)
    every = [powers.get(index, [0.0]) for index in range(noise.RINGS * noise.SECTORS)]
    return np.array([math.log10(np.mean(each) + noise.FLOOR) for each in every])


def test_decades_against_a_slow_sum() -> None:
    images = np.random.default_rng(0).standard_normal((2, 22, 22))  # none of whose frequencies lie on an edge
    found = noise.decades(torch.from_numpy(images)[:, None])
    # Double precision, but for shares and window in single.
    np.testing.assert_allclose(found.numpy(), [slow_decades(image) for image in images], atol=1e-5)


def test_white_noise_has_its_variance_at_every_frequency() -> None:
    """Of grain as of pictures; means over 144 sectors of some ten (grain) and hundred (picture) frequencies."""
    white = grain(0, 0.1, (0.0, 0.0), side=512)
    # A logarithm's mean is lower than the mean's logarithm by 0.2 decades over the frequencies in a bin.
    assert float(noise.decades(white[..., :SIDE, :SIDE]).mean()) == pytest.approx(-2, abs=0.05)
    level = noise.measured(picture(0.5 + white[0, 0].numpy()))
    assert np.isfinite(level).all()
    assert level.mean() == pytest.approx(-2, abs=0.02)
    assert level.std() < 0.15  # 0.07 where a bin holds a hundred; the innermost hold ten


@pytest.mark.parametrize("blur", [(0.7, 0.7), (1.2, 0.7)], ids=["round", "along rows"])
def test_grain_of_the_law_that_was_measured_is_alike(blur: tuple[float, float]) -> None:
    wanted = torch.from_numpy(noise.measured(picture(0.4 + grain(1, blur=blur, side=512)[0, 0].numpy())))[None]
    found = noise.spectrum_difference(noise.decades(grain(2, blur=blur)), wanted)
    other = noise.spectrum_difference(noise.decades(grain(2, blur=blur[::-1], strength=0.08)), wanted)
    assert float(found) < DRAWS < 1.5 * DRAWS < float(other)


def test_atoms_do_not_raise_what_is_measured() -> None:
    """A crystal of 46 Å with four times the noise's standard deviation, between whose peaks the median finds noise."""
    rough = 0.05 * np.random.default_rng(0).standard_normal((384, 384))
    crystal = atoms(384, height=2.0)
    assert crystal.std() > 3.5 * rough.std()
    alone, between = (noise.measured(picture(0.2 + rough + clean)) for clean in (0.0, crystal))
    change = np.abs(between - alone)
    # The innermost rings hold a dozen frequencies in a sector, more of which are beside peaks.
    assert np.quantile(change, 0.9) < 0.1
    assert change[6 * noise.SECTORS :].mean() < 0.05


def test_bins_with_few_frequencies_have_no_level_and_do_not_count() -> None:
    level = noise.measured(picture(0.5 + grain(0, side=64)[0, 0].numpy()))
    held = np.bincount(noise.bins(64, 64).ravel(), minlength=noise.RINGS * noise.SECTORS + 1)[:-1]
    assert np.array_equal(np.isnan(level), held < noise.FEWEST)
    assert np.isnan(level).any()
    found = torch.zeros((1, 4), requires_grad=True)
    wanted = torch.tensor([[0.5, math.nan, -1.5, math.nan]])
    value = noise.spectrum_difference(found, wanted)
    assert float(value.detach()) == 1.0
    (gradient,) = torch.autograd.grad(value, found)
    assert gradient.tolist() == [[-0.5, 0.0, 0.5, 0.0]]


def test_the_same_grain_is_alike() -> None:
    assert difference(grain(0), grain(0)) == 0


def test_differences_are_decades_of_power() -> None:
    """Twice as strong is log₁₀ 4 in every sector; the floor of the power takes less than a hundredth of it."""
    assert difference(grain(0), 2 * grain(0)) == pytest.approx(math.log10(4), rel=1e-2)


def test_the_law_counts_not_the_draw() -> None:
    assert max(difference(grain(seed), grain(seed + 50)) for seed in range(6)) < DRAWS
    means = [torch.cat([noise.decades(grain(s)) for s in range(first, first + 20)]).mean(dim=0) for first in (0, 50)]
    # Means over 20 draws, each of spread 0.14, differ by 0.036 in the mean over sectors.
    assert float((means[0] - means[1]).abs().mean()) < 0.05


@pytest.mark.parametrize(
    "changed",
    [{"blur": (1.0, 1.0)}, {"strength": 0.1}, {"blur": (1.2, 0.7)}],
    ids=["blur", "strength", "direction"],
)
def test_changes_of_the_law_are_found(changed: dict[str, Any]) -> None:
    assert difference(grain(0), grain(1, **changed)) > 1.5 * DRAWS


def test_a_direction_is_found_that_rings_do_not_show() -> None:
    image = grain(0, blur=(1.2, 0.7))
    turned = image.transpose(2, 3)
    power = [(10 ** noise.decades(each)).reshape(noise.RINGS, noise.SECTORS).sum(dim=1) for each in (image, turned)]
    # Sectors of the inner rings have not all as many frequencies, which the sum over them would have to weigh.
    torch.testing.assert_close(power[0][8:], power[1][8:], rtol=0.1, atol=0)
    assert difference(image, turned) > 2 * DRAWS


def test_there_is_a_gradient_where_there_is_no_power() -> None:
    nothing = torch.zeros((1, 1, 32, 32), requires_grad=True)
    value = noise.spectrum_difference(noise.decades(nothing), noise.decades(grain(0, side=32)))
    (gradient,) = torch.autograd.grad(value, nothing)
    assert torch.isfinite(gradient).all()
