"""The style network: shapes, what is shared, grain, styles, shifts, and how far a pixel sees."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from picostem.errors import DataError, UsageError

pytest.importorskip("torch")

import torch

from picostem.style.discriminator import SCALES
from picostem.style.generator import SLOW, FreeImaging, Grain, LinearImaging
from picostem.style.network import SHRINK, NetworkConfig, StyleNetwork, receptive_field
from tests.style.made_network import FREE, PUBLISHED, SMALL, made, noise, pictures

ROUNDING = 1e-5
"""Absolute; greys are of order 1, single precision has 1e-7, and sums are of some hundred terms in other order."""


@pytest.mark.parametrize(
    "config", [SMALL, PUBLISHED, replace(SMALL, attribute=0), FREE], ids=["small", "paper", "one", "free"]
)
@pytest.mark.parametrize("shape", [(32, 32), (32, 48)])
def test_shapes(config: NetworkConfig, shape: tuple[int, int]) -> None:
    network, judges = made(config)
    picture = torch.rand(2, 1, *shape)
    content = network.content_x(picture)
    channels = 4 * config.base + (SHRINK**2 if config.imaging == "linear" else 0)
    assert content.shape == network.content_y(picture).shape == (2, channels, shape[0] // SHRINK, shape[1] // SHRINK)
    mean, log_variance = network.attribute_y(picture)
    assert mean.shape == log_variance.shape == (2, config.attribute)
    assert network.generate_y(content, mean).shape == picture.shape
    assert network.generate_x(content, mean).shape == picture.shape
    assert len(judges.y(picture)) == SCALES
    assert judges.content(content).shape == (2, 1)


def test_translation_is_content_then_generation() -> None:
    network, _ = made()
    x, style = pictures(1), torch.ones(2, 3)
    n = noise(x)
    assert torch.equal(network.translate(x, style, n), network.generate_y(network.content_x(x), style, n))


def test_last_content_block_and_first_generator_block_are_shared() -> None:
    network, _ = made()
    assert network.content_x.shared is network.content_y.shared
    assert network.generate_x.shared is network.generate_y.shared
    assert network.content_x.shared is not network.generate_x.shared
    own = [p for part in ("content_x", "content_y") for p in getattr(network, part).own.parameters()]
    assert len({id(p) for p in own}) == len(own)


def test_published_output_stays_between_black_and_white() -> None:
    network, _ = made(PUBLISHED)
    imaging = network.generate_y.imaging
    assert isinstance(imaging, FreeImaging)
    with torch.no_grad():
        imaging.last.weight.mul_(30)
        image = network.translate(pictures(1), torch.zeros(2, 8))
    assert 0 <= image.min() < 0.1
    assert 0.9 < image.max() <= 1


def a_grain() -> Grain:
    grain = made()[0].generate_y.grain
    assert grain is not None
    return grain


def test_grain_has_no_mean_and_the_skewness_of_counts() -> None:
    """Of a flat image: no mean over many pixels, the variance that g has, high greys further out than low ones."""
    grain, style = a_grain(), torch.zeros(1, 3)
    image = torch.full((1, 1, 400, 400), 0.3)
    with torch.no_grad():
        grain.filters.weight.zero_()
        grain.filters.weight[:, 0, 7, 7:9] = 0.05  # correlated with the next pixel alone
        found = grain(image, style, noise(image))
        # g is normal with deviation s, r = sqrt(image + offset): third moment 24 r² s⁴ + 8 s⁶, variance 4 r² s² + 2 s⁴
        r2 = float(image[0, 0, 0, 0] + grain.log_offset.exp())
        s2 = float((grain.inject(shares_of(grain), style)[:, : len(grain.strengths)].sum() * 0.05) ** 2 * 2)
    variance, skewness = 4 * r2 * s2 + 2 * s2**2, (24 * r2 * s2**2 + 8 * s2**3)
    flat = found.flatten()
    assert abs(float(flat.mean())) < 4 * math.sqrt(2 * variance / flat.numel())  # neighbours: twice that of white noise
    assert float(flat.var()) == pytest.approx(variance, rel=0.03)  # 160,000 pixels, half of them independent: 0.5 %
    assert float((flat**3).mean()) / variance**1.5 == pytest.approx(skewness / variance**1.5, rel=0.1)


def shares_of(grain: Grain) -> torch.Tensor:
    return torch.cat([grain.strengths, grain.displacements])[None, :, None, None]


def test_displacement_makes_slopes_noisy() -> None:
    """Of a ramp to the right, grain by displacement alone is displacement times slope; upwards there is none."""
    grain, style = a_grain(), torch.zeros(1, 3)
    with torch.no_grad():
        for parameter in (*grain.inject.parameters(), grain.strengths):
            parameter.zero_()
        count = len(grain.strengths)
        grain.displacements[:count].fill_(0.3)  # to the right
        ramp = torch.linspace(0, 1, 64).expand(1, 1, 64, 64)
        draws = noise(ramp)
        found = grain(ramp, style, draws)[..., 1:-1]  # the slope is halved in the outermost pixels
        expected = 0.3 * grain.filters(draws).sum(dim=1, keepdim=True)[..., 1:-1] / 63
        torch.testing.assert_close(found, expected, atol=ROUNDING, rtol=0)
        level = grain(ramp.transpose(2, 3), style, draws)[..., 1:-1, :]
    assert level.abs().max() < ROUNDING


def test_bright_places_are_noisier() -> None:
    """By the root of what lies above the offset."""
    grain, style = a_grain(), torch.zeros(1, 3)
    with torch.no_grad():
        grain.filters.weight.mul_(1e-3)  # little noise: the square of g does not count
        dark, bright = (
            grain(torch.full((1, 1, 64, 64), grey), style, noise(torch.zeros(1, 1, 64, 64))) for grey in (0.1, 0.7)
        )
    offset = float(grain.log_offset.detach().exp())
    assert float(bright.std() / dark.std()) == pytest.approx(math.sqrt((0.7 + offset) / (0.1 + offset)), rel=1e-2)


def test_bright_greys_level_off() -> None:
    """Without grain: as they are far below the level, within 1 %; never above it; in the same order."""
    generator, style = made()[0].generate_y, torch.zeros(5, 3)
    greys = torch.tensor([0.1, 0.3, 0.8, 1.2, 3.0])[:, None, None, None].expand(5, 1, 8, 8)
    assert generator.log_level is not None
    assert generator.grain is not None
    with torch.no_grad():
        generator.log_level.fill_(math.log(0.8))
        generator.grain.filters.weight.zero_()
        found = generator.recorded(greys, style, torch.zeros_like(greys))
    levels = found[:, 0, 4, 4].tolist()
    assert levels[:2] == pytest.approx([0.1, 0.3], rel=0.01)
    assert levels[2] == pytest.approx(0.8 / 2**0.25)
    assert levels == sorted(levels)
    assert levels[-1] < 0.8


def test_without_noise_there_is_no_grain() -> None:
    network, _ = made()
    x, style = pictures(1), torch.randn(2, 3)
    clean = network.translate(x, style)
    assert torch.equal(network.translate(x, style, None), clean)
    assert (network.translate(x, style, noise(x)) - clean).abs().mean() > 1e-3


def linear_imaging(network: StyleNetwork) -> LinearImaging:
    imaging = network.generate_y.imaging
    assert isinstance(imaging, LinearImaging)
    return imaging


def test_linear_imaging_is_a_linear_filter_of_the_simulation() -> None:
    """Without slow changes the image is affine in the picture; fresh, it is the picture but for greys and haze."""
    network, _ = made()
    x, other, style = pictures(1), pictures(2), torch.full((2, 3), 0.5)
    with torch.no_grad():
        linear_imaging(network).slow.weight.zero_()
        a, b = network.translate(x, style), network.translate(other, style)
        between = network.translate((x + other) / 2, style)
    torch.testing.assert_close(between, (a + b) / 2, atol=ROUNDING, rtol=0)
    alike = torch.corrcoef(torch.stack([a[0].ravel(), x[0].ravel()]))[0, 1]
    assert alike > 0.8  # the filters begin near nothing but for one


def test_linear_imaging_changes_slowly() -> None:
    """Gain and background have nothing of the lattice: none of them can make an atom, or move one."""
    imaging = linear_imaging(made()[0])
    draws = torch.Generator().manual_seed(1)
    features, constant = torch.randn((2, SMALL.features, 64, 64), generator=draws), torch.full((2, 16, 64, 64), 0.5)
    with torch.no_grad():
        imaging.slow.weight.normal_(generator=draws)
        image = imaging(features, constant, torch.zeros(2, 3))
    window = torch.hann_window(256, periodic=False)  # no power from opposite borders that do not meet
    power = torch.fft.rfft2((image - image.mean(dim=(2, 3), keepdim=True)) * window[:, None] * window).abs().square()
    rows, columns = torch.fft.fftfreq(256)[:, None], torch.fft.rfftfreq(256)
    fine = torch.hypot(rows, columns) > 1 / (SHRINK * SLOW)  # periods below the smoothing's width
    assert power[..., fine].sum() < 5e-4 * power.sum()  # what cutting the Gaussian off at 4 % lets through


def test_linear_imaging_keeps_bright_bright() -> None:
    """Whatever its filters, shares and the style: of constant pictures the image is proportional to them, not less."""
    draws = torch.Generator().manual_seed(1)
    imaging = linear_imaging(made()[0])
    features = torch.zeros(1, SMALL.features, 8, 8)
    with torch.no_grad():
        for parameter in imaging.parameters():
            parameter.normal_(generator=draws)
        for parameter in imaging.slow.parameters():
            parameter.zero_()
        style = torch.randn((1, 3), generator=draws)
        images = [imaging(features, torch.full((1, 16, 8, 8), grey), style) + 0.5 for grey in (0.0, 0.2, 1.0)]
    scale = float(images[2].mean())
    assert scale > 0
    for image, grey in zip(images, (0.0, 0.2, 1.0), strict=True):
        torch.testing.assert_close(image, torch.full_like(image, grey * scale), atol=1e-4 * scale, rtol=0)


def test_linear_imaging_takes_no_pixel_of_an_experiment_as_it_is() -> None:
    """Its noise would come along: the picture in its content is estimated from the features."""
    network, _ = made()
    picture = pictures(1)
    x, y = (encode(picture)[:, SMALL.features :] for encode in (network.content_x, network.content_y))
    assert torch.equal(torch.nn.functional.pixel_shuffle(x, SHRINK), picture)
    assert not torch.allclose(x, y, atol=0.1)


def test_grain_depends_on_image_and_style() -> None:
    grain = made()[0].generate_y.grain
    assert grain is not None
    n, style = noise(pictures(1)), torch.zeros(2, 3)
    dark, bright = torch.zeros_like(n), torch.ones_like(n)
    assert not torch.allclose(grain(dark, style, n), grain(bright, style, n), atol=1e-3)
    assert not torch.allclose(grain(bright, style + 2, n), grain(bright, style, n), atol=1e-3)


def test_published_network_takes_no_noise() -> None:
    network, _ = made(PUBLISHED)
    x, style = pictures(1), torch.zeros(2, 8)
    assert torch.equal(network.translate(x, style, noise(x)), network.translate(x, style))


@pytest.mark.parametrize("config", [SMALL, FREE, PUBLISHED], ids=["cpu", "free", "paper"])
def test_style_changes_the_image(config: NetworkConfig) -> None:
    """Also with instance norms, which take a constant away that comes before them."""
    network, _ = made(config)
    content = network.content_x(pictures(1))
    styles = torch.zeros(2, config.attribute), torch.full((2, config.attribute), 2.0)
    a, b = (network.generate_y(content, style) for style in styles)
    assert (a - b).abs().mean() > 1e-3  # two decades above rounding


def test_a_network_without_styles() -> None:
    network, _ = made(replace(SMALL, attribute=0))
    x, nothing = pictures(1), torch.zeros(2, 0)
    assert torch.isfinite(network.translate(x, nothing, noise(x))).all()
    assert not any("maps" in name or "head" in name for name, _ in network.named_parameters())


@pytest.mark.parametrize(("config", "side"), [(SMALL, 320), (FREE, 192)], ids=["linear", "free"])
def test_shifted_by_one_content_pixel_the_image_is_the_same_but_shifted(config: NetworkConfig, side: int) -> None:
    network, _ = made(config)
    x, style = pictures(1, batch=1, side=side), torch.zeros(1, 3)
    with torch.no_grad():
        image = network.translate(x, style)
        moved = network.translate(torch.roll(x, (SHRINK, 2 * SHRINK), (2, 3)), style)
    reach = receptive_field(config) + 2 * SHRINK
    assert side > 2 * reach
    expected = torch.roll(image, (SHRINK, 2 * SHRINK), (2, 3))
    inside = (..., slice(reach, -reach), slice(reach, -reach))
    torch.testing.assert_close(moved[inside], expected[inside], atol=ROUNDING, rtol=0)


@pytest.mark.parametrize(("residual", "imaging"), [(0, "free"), (0, "linear"), (1, "free")])
def test_no_pixel_sees_further_than_the_receptive_field(residual: int, imaging: Any) -> None:
    config = replace(SMALL, residual=residual, imaging=imaging)
    network, _ = made(config)
    reach = receptive_field(config)
    side = 4 * (reach // 2 + 4)
    x = pictures(1, 1, side).requires_grad_()
    n = noise(x)
    furthest = 0
    for centre in range(side // 2, side // 2 + SHRINK):  # the four places that a pixel can have in one of content
        image = network.translate(x, torch.zeros(1, 3), n)
        (gradient,) = torch.autograd.grad(image[0, 0, centre, centre], x)
        rows = gradient[0, 0].abs().sum(dim=1).nonzero()
        furthest = max(furthest, int((rows - centre).abs().max()))
    assert reach - SHRINK <= furthest <= reach  # not less, or tiles would overlap more than they must


def test_with_instance_norms_all_is_seen() -> None:
    with pytest.raises(UsageError, match="no receptive field"):
        receptive_field(PUBLISHED)


def test_config_round_trip_and_unknown_names() -> None:
    values = SMALL.as_dict()
    assert NetworkConfig.from_dict(values) == SMALL
    with pytest.raises(DataError, match="wings"):
        NetworkConfig.from_dict(values | {"wings": 2})
    with pytest.raises(DataError, match="base"):
        NetworkConfig.from_dict({name: value for name, value in values.items() if name != "base"})


def test_spectral_norm_bounds_the_judges() -> None:
    """Each convolution, as a matrix, has norm 1 once the power iteration has settled; it has not without."""
    picture, norms = pictures(1), []
    for spectral in (True, False):
        _, judges = made(replace(SMALL, spectral=spectral))
        for _ in range(50):
            judges.y(picture)
        weight = next(each for each in judges.y.modules() if isinstance(each, torch.nn.Conv2d)).weight
        norms.append(float(torch.linalg.matrix_norm(weight.detach().flatten(1), 2)))
    assert norms[0] == pytest.approx(1, abs=1e-3)  # of a 4 × 9 matrix; the iteration's error falls by 2 and more a step
    assert abs(norms[1] - 1) > 0.05
