"""One step of training: all images that the losses compare, and the losses."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from picostem.errors import UsageError
from picostem.style.discriminator import ContentDiscriminator, DomainDiscriminator
from picostem.style.loss import (
    Adversarial,
    LossWeights,
    confuse_content,
    consistency,
    content_size,
    difference,
    divergence,
    fool,
    greys_difference,
    latent_error,
    sameness,
    tell_apart,
    tell_content,
)
from picostem.style.network import StyleNetwork
from picostem.style.network_config import NetworkConfig

Losses = dict[str, Tensor]


class Discriminators(nn.Module):
    """The three judges: of pictures of X, of pictures of Y, of content."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.x = DomainDiscriminator(config)
        self.y = DomainDiscriminator(config)
        self.content = ContentDiscriminator(config)


@dataclass(frozen=True)
class Generated:
    """Images of one domain made by its generator, each (batch, 1, rows, columns); "other" is the other domain.

    Attributes:
        again: the domain's pictures from their own content and attribute, without grain.
        image: the other's content in the style of this domain's pictures, without grain.
        shown: the same as discriminators and encoders see it, with grain.
        random: the other's content in a drawn style, without grain; `random_shown` with grain.
        random_other: the same in a second style, without grain.
        style, style_other: the drawn styles, (batch, attribute size).
        found: the attribute found in `random_shown`.
    """

    again: Tensor
    image: Tensor
    shown: Tensor
    random: Tensor
    random_shown: Tensor
    random_other: Tensor
    style: Tensor
    style_other: Tensor
    found: Tensor


@dataclass(frozen=True)
class Side:
    """Everything about one domain in one step.

    Attributes:
        real: its pictures, (batch, 1, rows, columns).
        content: of them.
        mean, log_variance: of their attributes.
        made: images of this domain.
        back: the pictures again after two translations, without grain.
    """

    real: Tensor
    content: Tensor
    mean: Tensor
    log_variance: Tensor
    made: Generated
    back: Tensor


@contextlib.contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """What is computed with the module in the block sends gradients through it, but none to its parameters."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def normal(shape: tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers, drawn on the processor so that they are the same on every device."""
    return torch.randn(shape, generator=generator).to(like)


def imagine(network: StyleNetwork, x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Side, Side]:
    """All images of one step, of X and of Y.

    x, y: (batch, 1, rows, columns), as many of each.
    """
    content_x, content_y = network.content_x(x), network.content_y(y)
    code_x, code_y = network.attribute_x(x), network.attribute_y(y)
    made_x = _generate(network, "x", (content_x, content_y), _sample(code_x, generator), y, generator)
    made_y = _generate(network, "y", (content_y, content_x), _sample(code_y, generator), x, generator)
    u, v = made_x.shown, made_y.shown
    style_u, style_v = _sample(network.attribute_x(u), generator), _sample(network.attribute_y(v), generator)
    back_x = network.generate_x.base(network.content_y(v), style_u)
    back_y = network.generate_y.base(network.content_x(u), style_v)
    return (
        Side(x, content_x, code_x[0], code_x[1], made_x, back_x),
        Side(y, content_y, code_y[0], code_y[1], made_y, back_y),
    )


def _sample(code: tuple[Tensor, Tensor], generator: torch.Generator) -> Tensor:
    mean, log_variance = code
    return mean + torch.exp(log_variance / 2) * normal(tuple(mean.shape), mean, generator)


def _generate(
    network: StyleNetwork,
    domain: str,
    contents: tuple[Tensor, Tensor],
    encoded: Tensor,
    like: Tensor,
    generator: torch.Generator,
) -> Generated:
    """Images of one domain, all at once, from its own and the other's content."""
    own, other = contents
    make = network.generate_x if domain == "x" else network.generate_y
    style, style_other = (normal(tuple(encoded.shape), encoded, generator) for _ in range(2))
    styles = torch.cat([encoded, encoded, style, style_other])
    images = make.base(torch.cat([own, other, other, other]), styles)
    again, image, random, random_other = images.chunk(4)
    shown, random_shown = image, random
    if make.grain is not None:
        clean = torch.cat([image, random])
        noise = normal(tuple(clean.shape), like, generator)
        shown, random_shown = make.recorded(clean, torch.cat([encoded, style]), noise).chunk(2)
    encode = network.attribute_x if domain == "x" else network.attribute_y
    with frozen(encode):  # attributes are learned from images, not from what generators make of drawn ones
        found = encode(random_shown)[0]
    return Generated(again, image, shown, random, random_shown, random_other, style, style_other, found)


def network_losses(x: Side, y: Side, judges: Discriminators, weights: LossWeights, kind: Adversarial) -> Losses:
    """The terms that train encoders and generators, unweighted; discriminators are left alone. Unused ones left out."""
    terms: Losses = {
        "self_reconstruction": difference(x.made.again, x.real) + difference(y.made.again, y.real),
        "cross_reconstruction": difference(x.back, x.real) + difference(y.back, y.real),
        "kl": divergence(x.mean, x.log_variance) + divergence(y.mean, y.log_variance),
        "content_norm": content_size(x.content[:, : judges.content.features])
        + content_size(y.content[:, : judges.content.features]),
        "consistency": consistency(x.made.image, y.real, y.made.image, x.real),
    }
    with frozen(judges):
        terms["adversarial"] = fool(judges.x(x.made.shown), kind) + fool(judges.y(y.made.shown), kind)
        if weights.random_adversarial:
            terms["random_adversarial"] = fool(judges.x(x.made.random_shown), kind) + fool(
                judges.y(y.made.random_shown), kind
            )
        if weights.content_adversarial:
            terms["content_adversarial"] = confuse_content(judges.content(x.content), judges.content(y.content))
    if weights.greys:
        terms["greys"] = greys_difference(y.made.shown, y.real)
    if weights.latent:
        terms["latent"] = latent_error(x.made.found, x.made.style) + latent_error(y.made.found, y.made.style)
    if weights.mode_seeking:
        terms["mode_seeking"] = sum_of(
            sameness(s.made.random, s.made.random_other, s.made.style, s.made.style_other) for s in (x, y)
        )
    return {name: term for name, term in terms.items() if getattr(weights, name)}


def grain_of(network: StyleNetwork, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
    """The grain that content of x has in the styles of y, both (batch, 1, rows, columns); it trains grain and style."""
    if network.generate_y.grain is None:
        raise UsageError('a network whose noise is "none" has no grain to train: leave the weight `spectrum` at 0')
    attribute = network.attribute_y(y)[0]
    with torch.no_grad():
        clean = network.generate_y.base(network.content_x(x), attribute)
    noise = normal(tuple(x.shape), x, generator)
    return network.generate_y.recorded(clean, attribute, noise) - network.generate_y.levelled(clean)


def sum_of(terms: Iterator[Tensor]) -> Tensor:
    """The sum of scalars."""
    return torch.stack(list(terms)).sum()


def weighted(terms: Losses, weights: LossWeights) -> Tensor:
    """Σ weight × term."""
    return sum_of(getattr(weights, name) * term for name, term in terms.items())


def domain_losses(x: Side, y: Side, judges: Discriminators, weights: LossWeights, kind: Adversarial) -> Losses:
    """What trains the domain discriminators: real pictures against those in encoded and in drawn styles."""
    return {
        f"judge_{name}": _judged(side, judge, weights, kind)
        for name, side, judge in (("x", x, judges.x), ("y", y, judges.y))
    }


def _judged(side: Side, judge: DomainDiscriminator, weights: LossWeights, kind: Adversarial) -> Tensor:
    real = judge(side.real)
    fakes = [side.made.shown] + ([side.made.random_shown] if weights.random_adversarial else [])
    return sum_of(tell_apart(real, judge(fake.detach()), kind) for fake in fakes)


def content_loss(x: Side, y: Side, judges: Discriminators) -> Tensor:
    """What trains the content discriminator."""
    return tell_content(judges.content(x.content.detach()), judges.content(y.content.detach()))
