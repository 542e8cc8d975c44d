"""Stamps of peaks, their moments and the background's sums, each against the plain formula."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from picostem.atoms.background import Grid
from picostem.atoms.fisher import information
from picostem.atoms.peaks import Peaks, moments, polynomials, product, render, stamps
from picostem.atoms.refine import DARK, start_levels

SHAPE = (50, 61)
SINGLE = 3e-6  # a few roundings of single precision, relative


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(4)


@pytest.fixture
def peaks(rng: np.random.Generator) -> Peaks:
    place, swell = rng.uniform(-1, 49, (30, 2)), rng.normal(0, 0.1, 30)
    return Peaks(place, rng.uniform(50, 200, 30), swell, np.array([[5.0, 1.2], [1.2, 3.0]]))


def test_an_image_is_the_sum_of_gaussians_on_their_stamps(peaks: Peaks) -> None:
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    image = np.zeros(SHAPE)
    for place, intensity, swell in zip(peaks.place, peaks.intensity, peaks.swell, strict=True):
        form = peaks.form * np.exp(2 * swell)
        x, y = rows - place[0], columns - place[1]
        (a, b), (_, c) = np.linalg.inv(form)
        peak = (
            intensity * np.exp(-(a * x**2 + 2 * b * x * y + c * y**2) / 2) / (2 * np.pi * np.sqrt(np.linalg.det(form)))
        )
        near = [np.abs(d - round(p)) <= h for d, p, h in zip((rows, columns), place, peaks.half, strict=True)]
        image += peak * near[0] * near[1]
    np.testing.assert_allclose(render(peaks, SHAPE), image, rtol=10 * SINGLE, atol=SINGLE * image.max())


@pytest.mark.parametrize("order", [1, 2, 4])
def test_moments_are_sums_about_the_peak(order: int, peaks: Peaks) -> None:
    some = next(stamps(peaks))
    x, y = (np.arange(-h, h + 1) + some.off[:, [k]] for k, h in enumerate(peaks.half))
    powers = np.arange(order + 1)
    down, across = (d[:, None] ** powers[:, None] for d in (x, y))
    plain = np.einsum("nij,nai,nbj->abn", some.values, down, across)
    size = np.einsum("nij,nai,nbj->abn", some.values, np.abs(down), np.abs(across))
    assert np.all(np.abs(moments(some.values, some.off, order) - plain) < 10 * SINGLE * size)


def test_products_of_linear_functions(rng: np.random.Generator) -> None:
    one, other = rng.normal(size=(2, 5, 3))
    i, j = np.mgrid[-2:3, -4:5]
    first, second = (np.einsum("nk,kij->nij", terms, [np.ones_like(i), i, j]) for terms in (one, other))
    np.testing.assert_allclose(polynomials(product(one, other), (2, 4)), first * second, atol=1e-4)  # of values to 100


def test_sums_over_the_background_are_those_with_dense_hats(rng: np.random.Generator) -> None:
    grid, data = Grid.of(SHAPE, (1.2, 1.0)), rng.uniform(1, 2, SHAPE)
    hats = np.einsum("ra,cb->abrc", grid.down, grid.across).reshape(-1, *SHAPE)
    np.testing.assert_allclose(grid.gather(data).ravel(), np.einsum("krc,rc->k", hats, data))
    np.testing.assert_allclose(grid.gram(data).toarray(), np.einsum("krc,lrc,rc->kl", hats, hats, data), atol=1e-12)
    levels = rng.uniform(size=grid.shape)
    np.testing.assert_allclose(grid.render(levels), np.einsum("krc,k->rc", hats, levels.ravel()))
    number, (down, across) = grid.touched(np.array([[0, 0], [20, 33], [49, 60]]), (4, 3))
    for middle, knots, rows, columns in zip([(0, 0), (20, 33), (49, 60)], number, down, across, strict=True):
        r, c = (np.clip(m + np.arange(-h, h + 1), 0, n - 1) for m, h, n in zip(middle, (4, 3), SHAPE, strict=True))
        here = np.einsum("ai,bj->abij", rows, columns).reshape(len(knots), len(r), len(c))
        np.testing.assert_allclose(here, hats[knots][:, r[:, None], c], atol=SINGLE)


def test_the_start_is_a_quantile_of_each_block(rng: np.random.Generator) -> None:
    counts, sigma = rng.uniform(0, 9, SHAPE), (1.3, 1.1)
    grid = Grid.of(SHAPE, sigma)
    smooth = ndimage.gaussian_filter(counts, sigma, truncate=3)
    edges = [np.linspace(0, n, k + 1).astype(int) for n, k in zip(SHAPE, grid.shape, strict=True)]
    plain = [[np.quantile(smooth[a:b, c:d], DARK) for c, d in pairwise(edges[1])] for a, b in pairwise(edges[0])]
    np.testing.assert_array_equal(start_levels(counts, grid, sigma), plain)


def test_a_held_form_leaves_the_rest_of_the_information(rng: np.random.Generator, peaks: Peaks) -> None:
    grid, weight = Grid.of(SHAPE, peaks.sigma), rng.uniform(1, 2, SHAPE)
    whole, held = (information(peaks, weight, grid, 3, fit_form=fit_form) for fit_form in (True, False))
    assert held.spread.shape == (30, 3, 0)
    assert held.form.shape == (0, 0)
    for name in ("diagonal", "blocks", "border"):
        np.testing.assert_array_equal(getattr(held, name), getattr(whole, name))
