"""Sizes and kinds of a style network."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from picostem.errors import DataError

SHRINK = 4
"""Pixels of a picture on the side of one of its content."""


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes and kinds of a `StyleNetwork`.

    Attributes:
        base: channels at full resolution; content has 4 × base.
        residual: blocks of a content encoder before the shared one, and of a generator after its own shared one.
        attribute: numbers that make a style; 0 for one style only.
        norm: "instance" as published; without norms, what an output pixel becomes depends on its surroundings alone,
            so that an image can be made in tiles.
        output: "tanh" as published, or "linear".
        noise: "additive": images of Y are a function of content and attribute plus grain made from white noise;
            "none" as published, where grain can only be a function of the content.
        grain: channels of the grain's filters.
        imaging: "free" as published, where convolutions make an image from content; "linear": content also holds a
            picture, that of X itself and an estimate from one of Y, and an image is that picture through a linear
            filter, with a brightness and a background that change slowly. No atom can move then, none appear.
        discriminator: channels of the first layer of the domain discriminators.
        discriminator_layers: convolutions of stride 2 of each of them.
        content_kernel: pixels, of the content discriminator's convolutions.
        spectral: spectral normalisation of the discriminators.
    """

    base: int = 64
    residual: int = 3
    attribute: int = 8
    norm: Literal["instance", "none"] = "instance"
    output: Literal["tanh", "linear"] = "tanh"
    noise: Literal["none", "additive"] = "none"
    grain: int = 8
    imaging: Literal["free", "linear"] = "free"
    discriminator: int = 64
    discriminator_layers: int = 4
    content_kernel: int = 7
    spectral: bool = False

    @property
    def features(self) -> int:
        """Channels of content that are features; those after them are a picture."""
        return 4 * self.base

    def as_dict(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> NetworkConfig:
        """The inverse of `as_dict`.

        Raises:
            DataError: names that are unknown or missing.
        """
        names = {field.name for field in fields(cls)}
        if set(values) != names:
            raise DataError(
                f"a style network's settings are {sorted(names)}; unknown or missing here: "
                f"{sorted(names ^ set(values))}: was it written by another version of picostem?"
            )
        return cls(**values)
