"""Each loss: known values; and that its gradient comes to what it should train, and to nothing else."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from picostem.style import loss
from picostem.style.loss import LossWeights
from picostem.style.network import StyleNetwork
from picostem.style.step import (
    Discriminators,
    Side,
    content_loss,
    domain_losses,
    frozen,
    imagine,
    network_losses,
    weighted,
)
from tests.style.made_network import made, own_parts, pictures, reached

EXACT = 1e-6
"""Relative: single precision, few operations."""

NONE = LossWeights(**{field.name: 0.0 for field in fields(LossWeights)})


def close(value: torch.Tensor, expected: float) -> None:
    assert float(value) == pytest.approx(expected, rel=EXACT, abs=EXACT)


def test_differences_count_on_the_published_scale_of_greys() -> None:
    black, white = torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4)
    close(loss.difference(black, white), 2.0)
    close(loss.consistency(black, white, white, 0.75 * white), 2.5)


@pytest.mark.parametrize(
    ("kind", "fooled", "apart"),
    [
        ("bce", math.log1p(math.exp(-2)), math.log1p(math.exp(-2)) + math.log1p(math.exp(-3))),
        ("hinge", -2.0, 0.0),
        ("least-squares", 1.0, 1.0 + 9.0),
    ],
)
def test_adversarial_values(kind: loss.Adversarial, fooled: float, apart: float) -> None:
    two, minus_three = torch.full((2, 1, 3, 3), 2.0), torch.full((2, 1, 3, 3), -3.0)
    close(loss.fool([two], kind), fooled)
    close(loss.fool([two, two], kind), 2 * fooled)
    close(loss.tell_apart([two], [minus_three], kind), apart)


def test_hinge_counts_what_is_on_the_wrong_side() -> None:
    close(loss.tell_apart([torch.tensor([0.5, -1.0])], [torch.tensor([-0.5, 2.0])], "hinge"), 1.25 + 1.75)


def test_content_is_confused_best_where_nothing_is_known() -> None:
    unknown, known = torch.zeros(2, 1), torch.full((2, 1), 4.0)
    close(loss.confuse_content(unknown, unknown), 2 * math.log(2))
    assert loss.confuse_content(known, -known) > 2 * loss.confuse_content(unknown, unknown)
    close(loss.tell_content(known, -known), 2 * math.log1p(math.exp(-4)))


def test_divergence_against_integration() -> None:
    """Of N(μ, σ²) from N(0, 1), by the trapezoid rule, which is exact to rounding for such functions."""
    mean, deviation = 0.7, 0.4
    z = np.linspace(-8, 8, 4001)
    p = np.exp(-(((z - mean) / deviation) ** 2) / 2) / (deviation * math.sqrt(2 * math.pi))
    q = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    inside = p > 0
    expected = float(np.trapezoid(p[inside] * np.log(p[inside] / q[inside]), z[inside]))
    found = loss.divergence(torch.tensor([[mean]]), torch.tensor([[2 * math.log(deviation)]]))
    assert float(found) == pytest.approx(expected, rel=1e-5)  # single precision, terms that nearly cancel
    close(loss.divergence(torch.zeros(3, 2), torch.zeros(3, 2)), 0.0)


def test_small_terms() -> None:
    close(loss.content_size(torch.full((1, 2, 2, 2), 3.0)), 9.0)
    close(loss.latent_error(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 0.0]])), 1.5)
    image, other = torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.25)
    close(loss.sameness(image, other, torch.zeros(1, 2), torch.ones(1, 2)), 1 / (0.5 + 1e-5))
    close(loss.sameness(image, image, torch.zeros(1, 2), torch.ones(1, 2)), 1e5)


def imagined() -> tuple[StyleNetwork, Discriminators, Side, Side]:
    network, judges = made()
    x, y = imagine(network, pictures(1), pictures(2), torch.Generator().manual_seed(3))
    return network, judges, x, y


CONTENT, STYLE = {"content_x", "content_y"}, {"attribute_x", "attribute_y"}
MAKERS = {"generate_x", "generate_y"}
ALL = CONTENT | STYLE | MAKERS
TRAINS = {
    "self_reconstruction": ALL,
    "cross_reconstruction": ALL,
    "adversarial": ALL,
    "random_adversarial": CONTENT | MAKERS,
    "content_adversarial": CONTENT,
    "kl": STYLE,
    "content_norm": CONTENT,
    "latent": CONTENT | MAKERS,  # attributes are learned from images; generators must show what they were given
    "mode_seeking": CONTENT | MAKERS,
    "consistency": ALL,
}


def test_every_weight_has_its_term() -> None:
    assert TRAINS.keys() == {field.name for field in fields(LossWeights)}


@pytest.mark.parametrize("term", TRAINS)
def test_a_term_trains_what_it_should_and_nothing_else(term: str) -> None:
    network, judges, x, y = imagined()
    terms = network_losses(x, y, judges, replace(NONE, **{term: 1.0}), "hinge")
    assert set(terms) == {term}
    torch.autograd.backward(terms[term])
    assert {part for part, has in own_parts(network).items() if has} == TRAINS[term]
    assert not reached(judges)


@pytest.mark.parametrize("term", TRAINS)
def test_only_terms_with_noise_train_the_grain(term: str) -> None:
    network, judges, x, y = imagined()
    torch.autograd.backward(network_losses(x, y, judges, replace(NONE, **{term: 1.0}), "hinge")[term])
    sees_noise = {"adversarial", "random_adversarial", "latent", "cross_reconstruction"}
    assert network.generate_y.grain is not None
    assert reached(network.generate_y.grain) is (term in sees_noise)


def test_drawn_styles_are_learned() -> None:
    """Descending the latent term alone, styles drawn at random are found again; the published code never learns it.

    The encoders, which it leaves alone, are made sensitive first: fresh ones see little in any image.
    """
    network, judges = made()
    with torch.no_grad():
        for encoder in (network.attribute_x, network.attribute_y):
            assert encoder.head is not None
            encoder.head.weight.mul_(30)
    weights = replace(NONE, latent=1.0)
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    draws = torch.Generator().manual_seed(0)
    errors = []
    for _ in range(60):
        x, y = imagine(network, pictures(1), pictures(2), draws)
        terms = network_losses(x, y, judges, weights, "hinge")
        optimiser.zero_grad()
        torch.autograd.backward(terms["latent"])
        optimiser.step()
        errors.append(float(terms["latent"].detach()))
    assert np.mean(errors[-10:]) < 0.9 * np.mean(errors[:10])


def test_the_second_translation_trains_the_first() -> None:
    """The cycle's images come back to the generator that made what is between: here that of Y, from x back to x."""
    network, _, x, _ = imagined()
    torch.autograd.backward(loss.difference(x.back, x.real))
    assert reached(network.generate_y, ("shared", "grain"))
    assert reached(network.content_y, ("shared",))
    assert reached(network.attribute_x)


def test_judges_learn_from_their_own_losses_only() -> None:
    network, judges, x, y = imagined()
    terms = domain_losses(x, y, judges, LossWeights(), "hinge")
    torch.autograd.backward(terms["judge_y"])
    assert reached(judges.y)
    assert not reached(judges.x)
    assert not reached(network)
    judges.zero_grad()
    torch.autograd.backward(content_loss(x, y, judges))
    assert reached(judges.content)
    assert not reached(judges.y)
    assert not reached(network)


def test_pixelwise_terms_see_no_grain() -> None:
    """With another grain, what compares pixels stays the same, and what judges see does not."""
    network, judges, _, _ = imagined()
    weights = replace(LossWeights(), cross_reconstruction=0.0)  # goes through an image with grain, as it should
    before = values(network, judges, weights)
    assert network.generate_y.grain is not None
    with torch.no_grad():
        network.generate_y.grain.mix.weight.mul_(5)
    after = values(network, judges, weights)
    for name in ("self_reconstruction", "consistency", "mode_seeking"):
        assert after[name] == before[name]
    assert after["adversarial"] != before["adversarial"]


def values(network: StyleNetwork, judges: Discriminators, weights: LossWeights) -> dict[str, float]:
    judges.eval()  # the power iteration of spectral norms goes on in training mode
    x, y = imagine(network, pictures(1), pictures(2), torch.Generator().manual_seed(3))
    return {name: float(term.detach()) for name, term in network_losses(x, y, judges, weights, "hinge").items()}


def test_the_sum_is_weighted() -> None:
    weights = replace(NONE, kl=2.0, latent=0.5)
    close(weighted({"kl": torch.tensor(3.0), "latent": torch.tensor(4.0)}, weights), 8.0)


def test_frozen_ends() -> None:
    network, _ = made()
    with frozen(network.generate_x):
        assert not any(p.requires_grad for p in network.generate_x.parameters())
    assert all(p.requires_grad for p in network.parameters())


def test_a_side_s_images_are_what_they_are_called() -> None:
    network, _ = made()
    x_real, y_real = pictures(1), pictures(2)
    x, y = imagine(network, x_real, y_real, torch.Generator().manual_seed(3))
    content_x, content_y = network.content_x(x_real), network.content_y(y_real)
    tolerance = {"atol": 1e-5, "rtol": 0.0}  # single precision; a batch is summed in another order
    torch.testing.assert_close(y.made.random, network.generate_y(content_x, y.made.style), **tolerance)
    torch.testing.assert_close(y.made.random_other, network.generate_y(content_x, y.made.style_other), **tolerance)
    torch.testing.assert_close(x.made.random, network.generate_x(content_y, x.made.style), **tolerance)
    torch.testing.assert_close(y.made.found, network.attribute_y(y.made.random_shown)[0], **tolerance)
    assert not torch.equal(y.made.style, y.made.style_other)
    assert not torch.equal(y.made.shown, y.made.image)
    assert torch.equal(x.made.shown, x.made.image)  # simulations have no grain
