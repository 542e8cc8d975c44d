"""Where tif files keep their pixel size: in the tags of the program that wrote them, or in the tags for printers."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import tifffile

Scale = tuple[float, str | None]
"""Step and unit of one axis."""
Scales = tuple[Scale, Scale]
"""Of the rows and the columns."""

UNCALIBRATED: Scales = ((1.0, None), (1.0, None))

_FEI_TITAN = 34683
_DM_UNITS, _DM_SCALES = (65004, 65003), (65010, 65009)
_PRINTER_UNITS = {2: "inch", 3: "cm", 4: "mm", 5: "µm"}
"""ResolutionUnit of TIFF 6.0 (2, 3), and two that programs have added."""


def pixel_scales(tif: tifffile.TiffFile, page: tifffile.TiffPage, index: int) -> Scales:
    """Scales of the rows and columns of the `index`-th series; the first place that knows them wins.

    What a microscope's program wrote comes before what a general program made of it.
    """
    for place in (_digital_micrograph, _titan, _fei, _tvips, _olympus, _ome, _imagej, _printer):
        try:
            scales = place(tif, page, index)
        except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError, ElementTree.ParseError):
            continue  # tags that are not as their program writes them calibrate nothing
        if scales is not None:
            return scales
    return UNCALIBRATED


def titan_metadata(page: tifffile.TiffPage) -> dict[str, Any]:
    """Metadata of a Thermo Fisher image as nested dictionaries, named as in Velox files; empty if there are none."""
    tag = page.tags.get(_FEI_TITAN)
    if tag is None:
        return {}
    try:
        return {child.tag: _nested(child) for child in _titan_root(tag.value)}
    except (ElementTree.ParseError, UnicodeDecodeError):
        return {}


def _digital_micrograph(tif: tifffile.TiffFile, page: tifffile.TiffPage, index: int) -> Scales | None:
    if _DM_SCALES[0] not in page.tags:
        return None
    rows, columns = (
        (float(page.tags[scale].value), str(page.tags[units].value))
        for scale, units in zip(_DM_SCALES, _DM_UNITS, strict=True)
    )
    return rows, columns


def _titan(tif: tifffile.TiffFile, page: tifffile.TiffPage, index: int) -> Scales | None:
    """Thermo Fisher's XML: <BinaryResult><PixelSize><X unit="m">1.2e-11</X>..."""
    tag = page.tags.get(_FEI_TITAN)
    if tag is None:
        return None
    size = _titan_root(tag.value).find("BinaryResult/PixelSize")
    if size is None:
        return None
    rows, columns = ((float(size.findtext(axis, "")), size[0].get("unit", "m")) for axis in "YX")
    return rows, columns


def _fei(tif: tifffile.TiffFile, page: tifffile.TiffPage, index: int) -> Scales | None:
    scan = (tif.fei_metadata or {}).get("Scan", {})
    return ((float(scan["PixelHeight"]), "m"), (float(scan["PixelWidth"]), "m")) if "PixelWidth" in scan else None


def _tvips(tif: tifffile.TiffFile, page: tifffile.TiffPage, index: int) -> Scales | None:
    found = tif.tvips_metadata or {}
    return ((float(found["PixelSizeY"]), "nm"), (float(found["PixelSizeX"]), "nm")) if "PixelSizeX" in found else None


def _olympus(tif: tifffile.TiffFile, page: tifffile.TiffPage, index: int) -> Scales | None:
    found = tif.sis_metadata or {}
    return ((float(found["pixelsizey"]), "m"), (float(found["pixelsizex"]), "m")) if "pixelsizex" in found else None


def _ome(tif: tifffile.TiffFile, page: tifffile.TiffPage, index: int) -> Scales | None:
    """OME-XML: <Image><Pixels PhysicalSizeX="0.1" PhysicalSizeXUnit="nm" ...>; without a unit it is µm."""
    if tif.ome_metadata is None:
        return None
    root = ElementTree.fromstring(tif.ome_metadata)
    pixels = [element for element in root.iter() if element.tag.endswith("}Pixels")][index].attrib
    if "PhysicalSizeX" not in pixels or "PhysicalSizeY" not in pixels:
        return None
    rows, columns = (
        (float(pixels[f"PhysicalSize{axis}"]), pixels.get(f"PhysicalSize{axis}Unit", "µm")) for axis in "YX"
    )
    return rows, columns


def _imagej(tif: tifffile.TiffFile, page: tifffile.TiffPage, index: int) -> Scales | None:
    found = tif.imagej_metadata or {}
    units = found.get("unit")
    rows, columns = _resolutions(page)
    return ((rows, str(found.get("yunit", units))), (columns, str(units))) if units else None


def _printer(tif: tifffile.TiffFile, page: tifffile.TiffPage, index: int) -> Scales | None:
    """Standard tags; what belongs to a printer (72 dpi) is too large for a pixel, and dropped with its unit later."""
    tag = page.tags.get("ResolutionUnit")
    units = _PRINTER_UNITS.get(int(tag.value)) if tag is not None else None
    if units is None or tif.is_imagej:  # ImageJ counts in its own unit
        return None
    rows, columns = _resolutions(page)
    return (rows, units), (columns, units)


def _resolutions(page: tifffile.TiffPage) -> tuple[float, float]:
    """Size of a pixel (rows, columns) in the unit in use: the tags hold pixels per unit as a fraction."""
    rows, columns = (page.tags[name].value for name in ("YResolution", "XResolution"))
    return rows[1] / rows[0], columns[1] / columns[0]


def _titan_root(text: str | bytes) -> ElementTree.Element:
    decoded = text.decode() if isinstance(text, bytes) else text
    return ElementTree.fromstring(re.sub(r"^[^<]*", "", decoded.rstrip("\0\r\n ")))


def _nested(element: ElementTree.Element) -> Any:
    return {child.tag: _nested(child) for child in element} if len(element) else (element.text or "")
