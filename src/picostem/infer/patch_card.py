"""What a network for patches says of itself: `patch.json`, its card, checked value by value when it is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np

from picostem.dataset.patch_plan import PatchPlan, Task
from picostem.errors import DataError, UsageError
from picostem.infer.patch_input import Read, standardised
from picostem.infer.patch_labels import Form, Labels
from picostem.infer.patch_polar import Polar
from picostem.net_folder import NUMBER, as_document, checked, nested, numbers, read_document
from picostem.version import VERSION

FORMAT = "picostem.patch-net/1"

ANY_DEG = 180.0
"""Off an orientation, both ways; all there are."""


@dataclass(frozen=True)
class PatchCard:
    """What a network for patches is for, and what it reads and says.

    Attributes:
        name, material: of the network; of the layers.
        task: "slip", "antiparallel", "trilayer" or "twist".
        side: of the patches, pixels. pixel_A: Å per pixel.
        orientation_deg: of layer 1 in the patches, and `rotation_deg`, how far off it may be.
        form, maps, unit: of `picostem.infer.patch_labels.Labels`.
        polar: reciprocal, orbits and triples of `picostem.infer.patch_polar.Polar`; empty where pixels are read.
        training: settings, seeds, steps, what it was trained with.
        figures: as measured.
        version: of picostem.
        sha256: of network.onnx; empty until that is written.

    Raises:
        DataError: the values contradict each other.
    """

    name: str
    material: str
    task: Task
    side: int
    pixel_A: float
    orientation_deg: float
    rotation_deg: float
    form: Form
    maps: tuple[tuple[tuple[float, ...], ...], ...]
    unit: tuple[tuple[float, ...], ...]
    polar: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    version: str = VERSION
    sha256: str = ""

    def __post_init__(self) -> None:
        if not (self.side > 0 and 0 < self.pixel_A < math.inf and self.rotation_deg >= 0):
            raise DataError(
                f"net {self.name!r}: expected patches of positive size, got {self.side} of {self.pixel_A} Å"
            )
        try:
            coordinates, twists, _ = self.labels.coordinates, self.labels.twists, self.read
        except (UsageError, DataError, ValueError, IndexError) as error:
            raise DataError(f"net {self.name!r}: the card is damaged: {error}") from error
        wanted = {"twist": 1, "trilayer": 4}.get(self.task, 2)
        if self.task not in get_args(Task) or coordinates != wanted or twists != (self.task == "twist"):
            raise DataError(f"net {self.name!r}: task {self.task!r} has no labels of {coordinates} coordinates")

    @staticmethod
    def of(name: str, plan: PatchPlan, labels: Labels, read: Read = standardised, **rest: Any) -> PatchCard:
        """The card of a network for the patches of a plan; `rest` are the other fields."""
        polar = {key: nested(getattr(read, key).tolist()) for key in _WHOLE} if isinstance(read, Polar) else {}
        return PatchCard(
            name,
            plan.material,
            plan.task,
            plan.side,
            plan.pixel_A,
            plan.orientation_deg,
            plan.rotation_deg,
            labels.form,
            nested(labels.maps.tolist()),
            nested(labels.unit.tolist()),
            polar,
            **rest,
        )

    @property
    def labels(self) -> Labels:
        """How its numbers become labels."""
        return Labels(self.form, np.array(self.maps, dtype=np.float64), np.array(self.unit, dtype=np.float64))

    @property
    def any_orientation(self) -> bool:
        """Whether patches may be turned any way."""
        return self.rotation_deg >= ANY_DEG

    @property
    def read(self) -> Read:
        """What the network reads of patches."""
        if not self.polar:
            return standardised
        labels = self.labels
        orbits, triples = (np.array(self.polar[key], dtype=np.int64) for key in ("orbits", "triples"))
        reciprocal = np.array(self.polar["reciprocal"], dtype=np.float64)
        return Polar(self.side, self.pixel_A, labels.unit[0, 0], labels.angles, reciprocal, orbits, triples)

    @property
    def extent_A(self) -> float:
        """Side of the patches, Å."""
        return self.side * self.pixel_A

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as in `patch.json`."""
        return as_document(self, FORMAT)

    @staticmethod
    def from_dict(values: Any, where: str) -> PatchCard:
        """The card of a patch.json that has been parsed; `where` it lies is for messages.

        Raises:
            DataError: another format, keys that are missing or unknown, values of the wrong kind.
        """
        rest = read_document(values, FORMAT, _KINDS, where)
        arrays = {name: numbers(rest[name], False, f"{where}: {name}") for name in ("maps", "unit")}
        if rest["polar"]:
            polar = checked(rest["polar"], _POLAR, f"{where}: polar")
            arrays["polar"] = {key: numbers(polar[key], whole, f"{where}: {key}") for key, whole in _WHOLE.items()}
        return PatchCard(**rest | arrays)


_KINDS: dict[str, Any] = {
    "name": str,
    "material": str,
    "task": str,
    "side": int,
    "pixel_A": NUMBER,
    "orientation_deg": NUMBER,
    "rotation_deg": NUMBER,
    "form": str,
    "maps": list,
    "unit": list,
    "polar": dict,
    "training": dict,
    "figures": dict,
    "version": str,
    "sha256": str,
}
_WHOLE = {"reciprocal": False, "orbits": True, "triples": True}
_POLAR: dict[str, Any] = dict.fromkeys(_WHOLE, list)
