"""What a network for stackings says of itself: `net.json`, its card, checked value by value when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from picostem.errors import DataError, UsageError
from picostem.infer.calibrate import Calibration
from picostem.infer.features import Invariants
from picostem.infer.samples import CONDITIONS
from picostem.infer.torus import Torus
from picostem.net_folder import NUMBER, as_document, checked, nested, numbers, read_document
from picostem.version import VERSION

FORMAT = "picostem.stacking-net/1"
MAX_LAYERS = 4


@dataclass(frozen=True)
class NetCard:
    """What a network is for, what it reads, and how far it can be believed.

    Attributes:
        name, material: of the network; of the layers.
        layers: how many there are.
        antiparallel: whether every other one is turned by 180°.
        window_A: side of the windows that it was trained for, Å.
        cell: rows of the lattice, Å.
        matrices: of `picostem.infer.torus.Torus`, [order][row][column].
        hk: reflections, in the order of the amplitudes.
        triples: of `picostem.infer.features.Invariants`.
        limits: least and most of ln(noise / s) and of the conditions that training saw; empty for any.
        calibration: of its probabilities.
        training: settings, seeds, steps, what it was trained with.
        figures: as measured.
        version: of picostem.
        sha256: of network.onnx; empty until that is written.

    Raises:
        DataError: the values contradict each other.
    """

    name: str
    material: str
    layers: int
    antiparallel: bool
    window_A: float
    cell: tuple[tuple[float, ...], ...]
    matrices: tuple[tuple[tuple[int, ...], ...], ...]
    hk: tuple[tuple[int, ...], ...]
    triples: tuple[tuple[int, ...], ...]
    limits: tuple[tuple[float, ...], ...] = ()
    calibration: Calibration = field(default_factory=Calibration)
    training: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    version: str = VERSION
    sha256: str = ""

    def __post_init__(self) -> None:
        if not (2 <= self.layers <= MAX_LAYERS and 0 < self.window_A < np.inf):
            raise DataError(
                f"net {self.name!r}: expected 2 to {MAX_LAYERS} layers and a window of positive side, got "
                f"{self.layers} and {self.window_A} Å"
            )
        try:
            interfaces, _ = self.torus.interfaces, self.invariants
        except (UsageError, ValueError, TypeError, OverflowError) as error:
            raise DataError(f"net {self.name!r}: the card is damaged: {error}") from error
        if self.limits and [len(row) for row in self.limits] != [1 + len(CONDITIONS)] * 2:
            raise DataError(f"net {self.name!r}: expected limits of {1 + len(CONDITIONS)} numbers, got {self.limits}")
        if interfaces != self.layers - 1:
            raise DataError(f"net {self.name!r}: {self.layers} layers, but matrices for {interfaces} slips")

    @staticmethod
    def of(
        name: str, material: str, antiparallel: bool, window_A: float, torus: Torus, invariants: Invariants, **rest: Any
    ) -> NetCard:
        """The card of a network with the arrays that it works with; `rest` are the other fields."""
        return NetCard(
            name,
            material,
            torus.interfaces + 1,
            antiparallel,
            window_A,
            nested(torus.cell.tolist()),
            nested(torus.matrices.tolist()),
            nested(invariants.hk.tolist()),
            nested(invariants.triples.tolist()),
            **rest,
        )

    @property
    def torus(self) -> Torus:
        """What stackings there are."""
        return Torus(np.array(self.cell, dtype=np.float64), np.array(self.matrices, dtype=np.int64))

    @property
    def invariants(self) -> Invariants:
        """What the network reads."""
        triples = np.array(self.triples, dtype=np.int64).reshape(-1, 3)
        return Invariants(np.array(self.hk, dtype=np.int64), triples, self.layers)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as in `net.json`."""
        return as_document(self, FORMAT)

    @staticmethod
    def from_dict(values: Any, where: str) -> NetCard:
        """The card of a net.json that has been parsed; `where` it lies is for messages.

        Raises:
            DataError: another format, keys that are missing or unknown, values of the wrong kind.
        """
        rest = read_document(values, FORMAT, _KINDS, where)
        calibration = Calibration(**checked(rest["calibration"], _CALIBRATION, f"{where}: calibration"))
        arrays = {name: numbers(rest[name], whole, f"{where}: {name}") for name, whole in _ARRAYS.items()}
        return NetCard(**rest | arrays | {"calibration": calibration})


_ARRAYS = {"cell": False, "matrices": True, "hk": True, "triples": True, "limits": False}
"""Whether their numbers are whole."""

_KINDS: dict[str, Any] = {
    "name": str,
    "material": str,
    "layers": int,
    "antiparallel": bool,
    "window_A": NUMBER,
    **dict.fromkeys(_ARRAYS, list),
    "calibration": dict,
    "training": dict,
    "figures": dict,
    "version": str,
    "sha256": str,
}
_CALIBRATION: dict[str, Any] = {one.name: NUMBER for one in fields(Calibration)} | {"windows": int}
