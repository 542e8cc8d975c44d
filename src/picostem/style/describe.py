"""What a trained style says of itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from picostem.style.card import Exemplar, StyleCard
from picostem.style.network import SHRINK, StyleNetwork, receptive_field
from picostem.style.picture import Picture
from picostem.style.presets import Preset
from picostem.version import VERSION


def describe(
    network: StyleNetwork,
    simulated: Sequence[Picture],
    experimental: Sequence[Picture],
    preset: Preset,
    seed: int,
    name: str,
    material: str,
) -> StyleCard:
    """The card of a trained style, without figures, licence and credit."""
    low, high = (side / preset.augment.patch * preset.pixel_size for side in preset.augment.sides)
    config = preset.network
    return StyleCard(
        name=name,
        material=material,
        pixel_size_A=preset.pixel_size,
        pixel_range_A=(low, high),
        receptive_field_px=receptive_field(config) if config.norm == "none" else 0,
        attribute_size=config.attribute,
        takes_noise=config.noise != "none",
        greys=preset.greys,
        exemplars=tuple(_exemplar(network, picture) for picture in experimental) if config.attribute else (),
        training={
            "preset": preset.name,
            "seed": seed,
            "steps": preset.total_steps(len(simulated), len(experimental)),
            "simulations": len(simulated),
            "experiments": len(experimental),
            "version": VERSION,
        },
    )


@torch.no_grad()
def _exemplar(network: StyleNetwork, picture: Picture) -> Exemplar:
    rows, columns = (n - n % SHRINK for n in picture.data.shape)
    data = torch.from_numpy(picture.data[:rows, :columns])[None, None].to(next(network.parameters()).device)
    mean, _ = network.attribute_y(data)
    return Exemplar(picture.name, tuple(mean[0].tolist()), picture.black, picture.white, picture.pixel_size)
