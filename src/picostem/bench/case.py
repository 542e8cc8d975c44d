"""Images whose truth is known: NAME.tif with NAME.json, as `picostem simulate` writes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picostem.errors import FileError
from picostem.physics import DEGREE

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """One image and its truth, in the layout of `picostem.simulate.truth.describe`."""

    name: str
    path: Path
    truth: dict[str, Any]

    @property
    def task(self) -> str:
        """What is asked of the image: slip, interface, twist, trilayer, negative."""
        return str(self.truth["task"])

    @property
    def material(self) -> str:
        """Name of the lowest layer's structure."""
        return str(self.truth["layers"][0]["structure"])

    @property
    def slips(self) -> list[FloatArray]:
        """True slips, Å: one, or those on both sides of a boundary."""
        slip = self.truth.get("slip", {})
        return [np.array(slip[key]) for key in ("D_cart_A", "D2_cart_A") if key in slip]

    @property
    def expected(self) -> str | None:
        """The verdict that is right, None where none is settled."""
        if self.task == "negative":
            return "monolayer" if str(self.truth.get("negative", "")).startswith("monolayer") else "unresolved"
        return "slip" if self.task in ("slip", "interface") else None

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
