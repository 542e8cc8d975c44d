"""Cases and results made by hand, so that scores can be tested without resolving anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from picostem.bench.case import Case
from picostem.image import Image
from picostem.physics import DEGREE
from picostem.resolve.result import Interface, ResolvedLayer, Result, SlipMap
from picostem.resolve.settings import Settings
from picostem.structure import image_from_crystal, load_monolayer

FloatArray = NDArray[np.float64]
ROTATION = 30.0
"""Degrees, of layer 1 in the images."""


def case(
    task: str,
    structures: tuple[str, ...] = ("MoS2", "MoS2"),
    twists_deg: tuple[float, ...] = (),
    *,
    mirrored: bool = False,
    flipped: tuple[int, ...] = (),
    positions: ArrayLike = (),
    **truth: Any,
) -> Case:
    """A case of layers with these twists against the one below, those of the indices `flipped` upside down."""
    turns = np.concatenate([[0.0], np.cumsum(twists_deg)]) if twists_deg else np.zeros(len(structures))
    places = np.asarray(positions, dtype=float) if len(np.asarray(positions)) else np.zeros((len(structures), 2))
    layers = [
        {"structure": name, "twist_deg": turn, "flipped": index in flipped, "position_cart_A": place.tolist()}
        for index, (name, turn, place) in enumerate(zip(structures, turns, places, strict=True))
    ]
    whole = {"task": task, "layers": layers, "layer1": {"rotation_deg": ROTATION, "mirrored": mirrored}, **truth}
    return Case("made", Path("made.tif"), whole)


def layer(name: str, rotation_deg: float = ROTATION, mirrored: bool = False, **changes: Any) -> ResolvedLayer:
    """A layer as it was found."""
    monolayer, rotation = load_monolayer(name), rotation_deg * DEGREE
    fields: dict[str, Any] = {
        "monolayer": monolayer,
        "rotation": rotation,
        "mirrored": mirrored,
        "rows": monolayer.cell @ image_from_crystal(rotation, mirrored).T,
        "position": np.zeros(2),
        "origin": np.zeros(2),
    }
    return ResolvedLayer(**(fields | changes))


def interface(
    twist_deg: float = 0.0, sigma_deg: float = 0.0, alternatives_deg: tuple[float, ...] = (), **changes: Any
) -> Interface:
    """An interface with this twist, a slip of nothing ± 0.01 Å, and a bound of half the stated error."""
    fields: dict[str, Any] = {
        "lower": 1,
        "upper": 2,
        "slip": np.zeros(2),
        "slip_frac": np.zeros(2),
        "slip_covariance": np.eye(2) * 1e-4,
        "slip_bound": 0.007,
        "slip_spread": 0.0,
        "equivalents": np.zeros((1, 2)),
        "twist": twist_deg * DEGREE,
        "twist_sigma": sigma_deg * DEGREE,
        "twist_bound": sigma_deg * DEGREE / 2,
        "twist_alternatives": np.array(alternatives_deg) * DEGREE,
    }
    return Interface(**(fields | changes))


def slip_map(slips: Any, positions: Any, **changes: Any) -> SlipMap:
    """Windows with these slips ± 0.01 Å, all of them resolved."""
    count = len(slips)
    fields: dict[str, Any] = {
        "row": np.zeros(count),
        "col": np.zeros(count),
        "position": np.array(positions, dtype=float),
        "slip": np.array(slips, dtype=float),
        "covariance": np.tile(np.eye(2) * 1e-4, (count, 1, 1)),
        "chi2": np.ones(count),
        "status": np.array(["ok"] * count),
        "fine": np.zeros(count, dtype=bool),
        "window": 20.0,
        "stride": 10.0,
        "grid": (count, 1),
    }
    return SlipMap(**(fields | changes))


def result(
    verdict: Any, layers: tuple[ResolvedLayer, ...] = (), interfaces: tuple[Interface, ...] = (), **changes: Any
) -> Result:
    """A result with this verdict."""
    image = changes.pop("image", Image(np.zeros((8, 8), dtype=np.float32)))
    seconds = {"total": 1.5, "map": 0.5}
    return Result(
        verdict, None, image, Settings("MoS2"), "0", layers=layers, interfaces=interfaces, seconds=seconds, **changes
    )
