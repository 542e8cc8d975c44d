"""Labelled images in a learned style: of simulated images that are there, or straight from the simulation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from picostem.errors import DataError, UsageError
from picostem.image import Image
from picostem.simulate.acquisition import AcquisitionSettings
from picostem.simulate.microscope import Microscope
from picostem.style.picture import Picture, prepare
from picostem.style.pool import simulate_pool
from picostem.style.recording import record, reframed
from picostem.style.transfer import PRIOR, TILE, Attribute, Style

POOL = 32
"""Images that are simulated at a time: their slips are spread evenly, and no more of them are in memory."""


def labelled_set(
    material: str,
    style: Style,
    count: int,
    *,
    seed: int = 0,
    pixel_size: float | None = None,
    extent: float = 40.0,
    microscope: Microscope | None = None,
    layers: int = 2,
    twists: Sequence[float] | None = None,
    attribute: Attribute | None = None,
    prior: float = PRIOR,
    recording: AcquisitionSettings | None = None,
) -> Iterator[tuple[Image, dict[str, Any]]]:
    """Labelled images in a style, one after the other, without files.

    Args:
        material, extent, microscope, layers, twists: as `simulate_pool` takes them.
        style: put on the simulations.
        count: how many.
        seed: of everything random; the images of a seed are the first of a larger set of that seed.
        pixel_size: Å; None for the style's own.
        attribute: how all images look; None samples one for each (`Style.sample`).
        prior: share of the prior in sampled attributes.
        recording: dose and scan noise for the content before it is styled; None for none.

    Yields:
        the styled image, shape (rows, columns), and its truth with the block `style`.

    Raises:
        UsageError: a count below 1, or what `simulate_pool` refuses.
    """
    if count < 1:
        raise UsageError(f"count is {count}; expected 1 or more images")
    size = style.pixel_size if pixel_size is None else pixel_size
    made = {"pixel_size": size, "extent": extent, "microscope": microscope, "layers": layers, "twists": twists}
    for start in range(0, count, POOL):
        pool_seed = int(np.random.SeedSequence([seed, start]).generate_state(1)[0])
        # Always POOL of them would be waste at the end of a set: the first n of a pool are the pool of n.
        pool = simulate_pool(material, min(POOL, count - start), seed=pool_seed, **made)  # type: ignore[arg-type]
        for index, one in enumerate(pool, start=start):
            sampling, rng = np.random.default_rng([seed, index, 1]).spawn(2)
            chosen = style.sample(sampling, prior) if attribute is None else attribute
            named = replace(one.image, name=f"{style.card.name}_{index:05d}")
            yield restyle(style, named, one.truth, chosen, rng, recording=recording, origin={"seed": seed})


def restyle(
    style: Style,
    image: Image,
    truth: Mapping[str, Any] | None,
    attribute: Attribute,
    rng: np.random.Generator,
    *,
    recording: AcquisitionSettings | None = None,
    origin: Mapping[str, Any] | None = None,
    tile: int = TILE,
) -> tuple[Image, dict[str, Any]]:
    """An image in a style, and its truth carried over.

    Args:
        style, attribute: how it is to look.
        image: content; its name is that of the result.
        truth: about the image; None for an image without labels.
        rng: draws the recording and the style's noise, each from a stream of its own.
        recording: dose and scan noise put on the content before it is styled; None for none.
        origin: what else the block `style` of the truth is to say: seed, source file.
        tile: as `Style.apply` takes it.

    Returns:
        the image on the content's grid, and the truth with the block `style`; without labels only that and `image`.

    Raises:
        DataError: the image cannot be used, or does not fit its truth.
    """
    recording_rng, noise_rng = rng.spawn(2)
    if truth is not None:
        _check_fits(image, truth)
    if recording is not None:
        image, truth = record(image, truth, recording, recording_rng)
    picture = prepare(image)
    if truth is not None and picture.data.shape != image.data.shape:
        raise DataError(f"{image.name}: its pixels are oblong, which its labels do not survive: simulate square ones")
    data = style.apply(picture, attribute, noise_rng, tile=tile)
    result = replace(image, data=data, pixel_size=(picture.pixel_size,) * 2)
    return result, reframed(dict(truth or {}), result) | {"style": _block(style, picture, attribute, origin or {})}


def _block(style: Style, picture: Picture, attribute: Attribute, origin: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": style.card.name,
        "weights": style.fingerprint,
        "attribute_of": attribute.name,
        "attribute": list(attribute.vector),
        "black": attribute.black,
        "white": attribute.white,
        "network_pixel_size_A": style.pixel_size_for(picture.pixel_size),
        "note": "microscope and acquisition are those of the content, before it was styled",
        **origin,
    }


def _check_fits(image: Image, truth: Mapping[str, Any]) -> None:
    shape = truth.get("image", {}).get("shape_rows_cols")
    if shape is not None and list(image.data.shape) != list(shape):
        raise DataError(f"{image.name}: its truth is about {shape} pixels, it has {list(image.data.shape)}")


def is_labelled(truth: Mapping[str, Any] | None) -> bool:
    """Whether a truth says what an image shows, as that of a simulation does."""
    return truth is not None and {"task", "layers"} <= truth.keys()


def label_row(truth: Mapping[str, Any]) -> dict[str, Any]:
    """What the index of a set says of one image; slips (Å, and in cell vectors) and twists for each interface."""
    frame, style, first = truth["image"], truth["style"], truth.get("layer1", {})
    rows, columns = frame["shape_rows_cols"]
    row = {
        "file": frame.get("file", f"{truth['name']}.tif"),
        "source": style.get("source"),
        "labelled": is_labelled(truth),
        "task": truth.get("task"),
        "material": truth.get("material"),
        "rows": rows,
        "columns": columns,
        "pixel_size_A": frame["pixel_size_A"],
        "style": style["name"],
        "attribute_of": style["attribute_of"],
        "seed": style.get("seed"),
        "rotation_deg": first.get("rotation_deg"),
        "mirrored": first.get("mirrored"),
    }
    for one in truth.get("interfaces", ()):
        between = f"{one['lower']}{one['upper']}"
        row |= dict(zip((f"slip{between}_x_A", f"slip{between}_y_A"), one["slip_cart_A"], strict=True))
        row |= dict(zip((f"slip{between}_a", f"slip{between}_b"), one["slip_frac"], strict=True))
        row[f"twist{between}_deg"] = one["twist_deg"]
    return row
