"""The losses of DRIT++ with content consistency, each a function, and their weights.

Published weights are for greys from -1 to 1. Pictures here go from 0 to 1, so differences of pictures count twice.

Source: Lee et al., IJCV 128, 2402 (2020); mode seeking: Mao et al., CVPR 2019; content consistency: TED-Gen, eq. 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Adversarial = Literal["bce", "hinge", "least-squares"]

GREYS = 2.0
"""Published range of greys over ours."""

QUANTILES, TAIL = 65, 8
"""Greys are compared at so many quantiles, the outermost of which leave so many pixels beyond."""

MODE_FLOOR = 1e-5
"""Keeps the mode-seeking loss finite where two styles give one image."""


@dataclass(frozen=True)
class LossWeights:
    """What each term counts in the sum; 0 leaves it out. `spectrum` and `greys` are not published but ours."""

    self_reconstruction: float = 10.0
    cross_reconstruction: float = 10.0
    adversarial: float = 1.0
    random_adversarial: float = 1.0
    content_adversarial: float = 1.0
    kl: float = 0.01
    content_norm: float = 0.01
    latent: float = 10.0
    mode_seeking: float = 1.0
    consistency: float = 0.5
    spectrum: float = 0.0
    greys: float = 0.0

    @property
    def random_styles(self) -> bool:
        """Whether any term needs images in random styles."""
        return self.random_adversarial > 0 or self.latent > 0 or self.mode_seeking > 0

    @property
    def encoded_images(self) -> bool:
        """Whether any term needs images in the other domain's styles."""
        return self.cross_reconstruction > 0 or self.adversarial > 0 or self.consistency > 0


def difference(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of two batches of pictures, greys from -1 to 1; self and cross-cycle reconstruction."""
    return GREYS * functional.l1_loss(a, b)


def greys_difference(image: Tensor, other: Tensor) -> Tensor:
    """Mean absolute difference of quantiles evenly spaced in their log odds, greys from -1 to 1.

    Of all quantiles it would be how far greys have to be moved to make the histograms alike (Wasserstein); the few
    brightest and darkest pixels, which an image is normalised by, would hardly count in it.
    """
    one, two = (each.flatten(1).sort(dim=1).values for each in (image, other))
    count = one.shape[1]
    most = math.log(max(count / TAIL, 2.0))
    levels = torch.sigmoid(torch.linspace(-most, most, QUANTILES, device=one.device))
    places = (levels * (count - 1)).round().long()
    return difference(one[:, places], two[:, places])


def consistency(u: Tensor, y: Tensor, v: Tensor, x: Tensor) -> Tensor:
    """|u - y| + |v - x|, means over pixels, greys from -1 to 1: TED-Gen, eq. 1.

    x simulated, y experimental, u the simulation generated from y's content, v the experiment from x's.
    """
    return difference(u, y) + difference(v, x)


def fool(logits: Sequence[Tensor], kind: Adversarial) -> Tensor:
    """What generators lose where a discriminator does not take their images as real; summed over its scales."""
    return torch.stack([_fool(each, kind) for each in logits]).sum()


def _fool(logits: Tensor, kind: Adversarial) -> Tensor:
    if kind == "hinge":
        return -logits.mean()
    if kind == "least-squares":
        return ((logits - 1) ** 2).mean()
    return _entropy(logits, 1.0)


def _entropy(logits: Tensor, label: float) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def tell_apart(real: Sequence[Tensor], fake: Sequence[Tensor], kind: Adversarial) -> Tensor:
    """What a discriminator loses by mistaking real for generated or the other way round; summed over its scales."""
    return torch.stack([_tell_apart(r, f, kind) for r, f in zip(real, fake, strict=True)]).sum()


def _tell_apart(real: Tensor, fake: Tensor, kind: Adversarial) -> Tensor:
    if kind == "hinge":
        return functional.relu(1 - real).mean() + functional.relu(1 + fake).mean()
    if kind == "least-squares":
        return ((real - 1) ** 2).mean() + (fake**2).mean()
    return _entropy(real, 1.0) + _entropy(fake, 0.0)


def confuse_content(logits_x: Tensor, logits_y: Tensor) -> Tensor:
    """What content encoders lose where the content discriminator knows the domain: cross entropy with one half."""
    logits = torch.cat([logits_x, logits_y])
    return 2 * _entropy(logits, 0.5)


def tell_content(logits_x: Tensor, logits_y: Tensor) -> Tensor:
    """What the content discriminator loses by mistaking content of X for that of Y or the other way round."""
    return tell_apart([logits_x], [logits_y], "bce")


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of attributes from the standard normal law, ½ Σ (μ² + σ² - 1 - ln σ²).

    mean, log_variance: (batch, attribute size); summed over both, as published.
    """
    return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum()


def content_size(content: Tensor) -> Tensor:
    """Mean square of content, (batch, channels, rows, columns)."""
    return (content**2).mean()


def latent_error(found: Tensor, drawn: Tensor) -> Tensor:
    """Mean absolute difference between the attributes found in images and those drawn for them."""
    return functional.l1_loss(found, drawn)


def sameness(image: Tensor, other: Tensor, style: Tensor, other_style: Tensor) -> Tensor:
    """Mode seeking: 1/(l + 1e-5), l = |image - other| / |style - other style|, of one content in two styles."""
    ratio = difference(image, other) / functional.l1_loss(style, other_style)
    return 1 / (ratio + MODE_FLOOR)
