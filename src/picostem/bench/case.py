"""Images whose truth is known: NAME.tif with NAME.json, as `picostem simulate` writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picostem.errors import FileError
from picostem.physics import DEGREE
from picostem.structure import Monolayer, image_from_crystal, load_monolayer, rotation_matrix

FloatArray = NDArray[np.float64]

VERDICTS = {
    "slip": ("slip",),
    "interface": ("slip",),
    "trilayer": ("slip",),
    "twist": ("twist",),
    "twisted trilayer": ("twist",),
    "twist domains": ("twist",),
    # layers that were turned by a fraction of a degree and relaxed share their lattice in most places
    "slip field": ("slip", "twist"),
}
"""Verdicts that are right, by task."""


@dataclass(frozen=True)
class Case:
    """One image and its truth, in the layout of `picostem.simulate.truth.describe`."""

    name: str
    path: Path
    truth: dict[str, Any]

    @property
    def task(self) -> str:
        """What is asked of the image: one of VERDICTS, or `negative`."""
        return str(self.truth["task"])

    @property
    def material(self) -> str:
        """What `resolve` is told: one structure's name, or those of all layers with slashes between them."""
        names = [str(layer["structure"]) for layer in self.truth["layers"]]
        return names[0] if len(set(names)) == 1 else "/".join(names)

    @property
    def monolayers(self) -> tuple[Monolayer, ...]:
        """The true layers from the bottom up, those that lie upside down turned over."""
        loaded = ((load_monolayer(str(layer["structure"])), layer) for layer in self.truth["layers"])
        return tuple(one.flipped() if layer.get("flipped") else one for one, layer in loaded)

    @property
    def twists(self) -> FloatArray:
        """True rotation of each layer relative to the one below it, rad, shape (layers - 1,)."""
        return np.diff([float(layer["twist_deg"]) for layer in self.truth["layers"]]) * DEGREE

    @property
    def twist_spread(self) -> float:
        """How far the twists of the domains, if there are any, differ from their mean, rad."""
        domains = self.truth.get("domain_twists_deg", [0.0])
        return float(max(domains) - min(domains)) / 2 * DEGREE

    @property
    def positions(self) -> FloatArray:
        """True positions of the layers, Å, layer 1's crystal frame, shape (layers, 2)."""
        return np.array([layer["position_cart_A"] for layer in self.truth["layers"]], dtype=np.float64)

    @property
    def matrices(self) -> list[FloatArray]:
        """Of each true layer, what takes its own crystal frame into that of the image, shape (2, 2)."""
        first = self.truth["layer1"]
        frame = image_from_crystal(first["rotation_deg"] * DEGREE, first["mirrored"])
        return [frame @ rotation_matrix(layer["twist_deg"] * DEGREE) for layer in self.truth["layers"]]

    @property
    def slips(self) -> list[FloatArray]:
        """True slips, Å: one, or those on both sides of a boundary."""
        slip = self.truth.get("slip", {})
        return [np.array(slip[key]) for key in ("D_cart_A", "D2_cart_A") if key in slip]

    @property
    def expected(self) -> tuple[str, ...]:
        """The verdicts that are right, empty where none is settled."""
        if self.task == "negative":
            return ("monolayer",) if str(self.truth.get("negative", "")).startswith("monolayer") else ("unresolved",)
        return VERDICTS.get(self.task, ())

    def ordered(self, order: Sequence[int], mirrored: bool) -> Case:
        """The same with its layers in another order, and all turned the other way round if mirrored."""
        sign = -1.0 if mirrored else 1.0
        layers = (self.truth["layers"][index] for index in order)
        turned = [{**layer, "twist_deg": sign * layer["twist_deg"]} for layer in layers]
        return replace(self, truth={**self.truth, "layers": turned})

    def side(self, positions: FloatArray) -> FloatArray:
        """Signed distance in Å of positions (n, 2) from the stacking boundary, positive on the second slip's side."""
        boundary = self.truth["boundary"]
        angle = boundary["normal_angle_deg"] * DEGREE
        return np.asarray((positions - boundary["point_image_A"]) @ np.array([np.cos(angle), np.sin(angle)]))


def load_cases(folder: Path) -> list[Case]:
    """The cases of a folder, by name.

    Raises:
        FileError: there are none, or a truth file is not readable.
    """
    cases = []
    for path in sorted(folder.glob("*.json")):
        image = path.with_suffix(".tif")
        try:
            truth = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise FileError(f"{path}: cannot be read as JSON ({error})") from error
        if image.is_file() and isinstance(truth, dict) and {"task", "layers"} <= truth.keys():
            cases.append(Case(path.stem, image, truth))
    if not cases:
        raise FileError(f"{folder}: expected images NAME.tif with their truth NAME.json, found none")
    return cases
