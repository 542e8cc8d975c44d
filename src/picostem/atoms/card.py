"""What a network that finds atoms says of itself: `atoms.json`, its card, checked value by value when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picostem.atoms.reading import PIXEL_A
from picostem.errors import DataError
from picostem.net_folder import NUMBER, as_document, check_network, read_document, read_json
from picostem.version import VERSION

FloatArray = NDArray[np.float64]

FORMAT, CARD = "picostem.atom-net/1", "atoms.json"
LEAST = 1e-6
"""Output from which log odds are told."""


@dataclass(frozen=True)
class AtomCard:
    """What a network finds, and from which probability on it is believed.

    Attributes:
        name: of the network. classes: of atoms; one if it does not tell them apart. pixel_A: of what it reads, Å.
        threshold: output from which a maximum counts as an atom. calibration: slope and offset that make the log odds
            of an output those of the probability that an atom is there.
        training: settings, seed, what it was trained with. figures: as measured.
        version: of picostem. sha256: of network.onnx; empty until that is written.

    Raises:
        DataError: the values contradict each other, or `picostem.atoms.reading` reads another pixel size.
    """

    name: str
    classes: tuple[str, ...]
    threshold: float
    calibration: tuple[float, float] = (1.0, 0.0)
    pixel_A: float = PIXEL_A
    training: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    version: str = VERSION
    sha256: str = ""

    def __post_init__(self) -> None:
        numbers = len(self.calibration) == 2 and all(isinstance(one, int | float) for one in self.calibration)
        named = self.classes and all(isinstance(one, str) for one in self.classes)
        if not (named and numbers and 0 < self.threshold < 1):
            raise DataError(
                f"net {self.name!r}: expected names of classes, a threshold between 0 and 1, two numbers to calibrate "
                f"it, got {self}"
            )
        if self.pixel_A != PIXEL_A:
            raise DataError(f"net {self.name!r} reads pixels of {self.pixel_A} Å, not {PIXEL_A}: train it again")

    def probability(self, output: NDArray[np.floating]) -> FloatArray:
        """That an atom, or what its class says, is where the network's output has a maximum of this height."""
        p = np.clip(np.asarray(output, dtype=np.float64), LEAST, 1 - LEAST)
        slope, offset = self.calibration
        return np.asarray(1 / (1 + np.exp(-slope * np.log(p / (1 - p)) - offset)))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as in `atoms.json`."""
        return as_document(self, FORMAT)

    @staticmethod
    def read(folder: Path) -> AtomCard:
        """The card of a folder whose network is the one that the card was written for.

        Raises:
            DataError: a file is missing, `atoms.json` is no card of this format, or the network is another one.
        """
        values = read_document(read_json(folder / CARD), FORMAT, _KINDS, str(folder / CARD))
        card = AtomCard(**values | {name: tuple(values[name]) for name in ("classes", "calibration")})
        check_network(folder, CARD, card.sha256)
        return card


_KINDS: dict[str, Any] = {
    "name": str,
    "classes": list,
    "threshold": NUMBER,
    "calibration": list,
    "pixel_A": NUMBER,
    "training": dict,
    "figures": dict,
    "version": str,
    "sha256": str,
}
