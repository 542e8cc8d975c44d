"""Files of probe microscopes: pixel size, units, and that x is right and y up in whatever order a scan was stored."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from picostem.errors import FileError, ImageError
from picostem.files import list_datasets, read_image
from picostem.image import MAX_SIDE, check_image

FloatArray = NDArray[np.float64]
PIXEL = (0.2, 0.1)
"""Å along rows and columns."""

WIDTH, HEIGHT = 48 * 1e-11, 40 * 2e-11
"""m."""


@pytest.fixture
def heights() -> FloatArray:
    """40 lines of 48 points, m, the top line first, all different under any flip; a scanner's zero is far off."""
    return 1.5e-7 + np.random.default_rng(5).normal(0, 1e-10, (40, 48))


def _above_median(heights: FloatArray) -> Any:
    """In Å, as exact as 4-byte values of 1.5e-7 m are: 2^-24 of that, 1e-4 Å."""
    return pytest.approx((heights - np.median(heights)) * 1e10, abs=3e-4)


# Nanonis


def _sxm(
    path: Path,
    stored: list[FloatArray],
    rows: list[str],
    direction: str = "down",
    order: str = "MSBFIRST",
    **other: str,
) -> Path:
    n, m = stored[0].shape
    tags = {
        "NANONIS_VERSION": "2", "SCANIT_TYPE": f"              FLOAT            {order}", "SCAN_PIXELS": f"  {m}  {n}",
        "SCAN_RANGE": f"   {WIDTH:E}   {HEIGHT:E}", "SCAN_DIR": direction, "COMMENT": "two\nlines: with a colon",
        "DATA_INFO": "\n".join(["\tChannel\tName\tUnit\tDirection\tCalibration\tOffset", *rows]) + "\n",
    } | other  # fmt: skip
    text = "".join(f":{name}:\n{value}\n" for name, value in tags.items()) + ":SCANIT_END:\n\n\n"
    numbers = b"".join(one.astype(">f4" if order == "MSBFIRST" else "<f4").tobytes() for one in stored)
    path.write_bytes(text.encode() + b"\x1a\x04" + numbers)
    return path


BOTH = ["\t14\tZ\tm\tboth\t9.000E-9\t0.000E+0", "\t0\tCurrent\tA\tboth\t1.0E-10\t0.0E+0"]


@pytest.mark.parametrize("order", ["MSBFIRST", "LSBFIRST"])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_sxm(tmp_path: Path, heights: FloatArray, direction: str, order: str) -> None:
    """The first line recorded comes first, and the way back from right to left."""
    current = np.random.default_rng(6).normal(5e-11, 1e-11, heights.shape)
    images = [heights, heights + 1e-10, current, 2 * current]
    lines = slice(None, None, -1 if direction == "up" else 1)
    stored = [one[lines, :: 1 if i % 2 == 0 else -1] for i, one in enumerate(images)]
    path = _sxm(tmp_path / "a.sxm", stored, BOTH, direction, order)
    found = list_datasets(path)
    assert [one.name for one in found] == ["Z forward", "Z backward", "Current forward", "Current backward"]
    assert all(one.pixel_size == pytest.approx(PIXEL) for one in found)
    forward = read_image(path, "z FORWARD")
    assert forward.data == _above_median(heights)
    assert forward.pixel_size == pytest.approx(PIXEL) and forward.pixel_size_source == "file"
    assert forward.notes == ("grey levels are heights in Å above their median",)
    assert forward.acquisition.tip
    assert read_image(path, 1).data == _above_median(heights)
    assert read_image(path, 3).data == pytest.approx(2e12 * current, rel=1e-6)  # 4-byte values
    assert read_image(path, 3).notes == ("grey levels are in pA",)
    check_image(forward)


def test_which_channel_is_meant_must_be_said(tmp_path: Path, heights: FloatArray) -> None:
    path = _sxm(tmp_path / "a.sxm", [heights] * 4, BOTH)
    with pytest.raises(FileError, match=r"4 data sets could be meant, choose one \(dataset=0 .*'Z forward'"):
        read_image(path)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_of_a_scan_that_was_stopped_the_recorded_lines_are_left(
    tmp_path: Path, heights: FloatArray, direction: str
) -> None:
    stored = heights.copy()
    stored[33:] = np.nan
    stored[32, 20:] = np.nan
    path = _sxm(tmp_path / "a.sxm", [stored], ["\t14\tZ\tm\tfwd\t1\t0"], direction)
    image = read_image(path)
    assert image.data == _above_median(heights[:32][:: -1 if direction == "up" else 1])
    assert image.pixel_size == pytest.approx(PIXEL)
    assert image.notes[1] == "the scan was stopped: only 32 of its 40 lines were recorded"


def test_lines_missing_in_the_middle_are_not_hidden(tmp_path: Path, heights: FloatArray) -> None:
    heights[20] = np.nan
    image = read_image(_sxm(tmp_path / "a.sxm", [heights], ["\t14\tZ\tm\tfwd\t1\t0"]))
    with pytest.raises(ImageError, match="48 of 1920 pixels are NaN"):
        check_image(image)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"SCAN_PIXELS": "48 400"}, r"promises 1 images of 400 × 48 values, but there are 0 whole ones: it is cut off"),
        ({"SCAN_PIXELS": "0 40"}, "its header says 40 lines of 0 points"),
        ({"SCAN_PIXELS": "-48 -40"}, "its header says -40 lines of -48 points"),
        ({"SCAN_PIXELS": "many"}, "cannot be read as sxm"),
        ({"SCAN_RANGE": "nan 1e-9"}, "its header says 40 lines of 48 points on 1e-09 × nan m"),
        ({"SCAN_RANGE": "1e-9"}, "cannot be read as sxm"),
        ({"SCAN_DIR": "sideways"}, "known are FLOAT, MSBFIRST or LSBFIRST, up and down"),
        ({"SCANIT_TYPE": "INT MSBFIRST"}, "known are FLOAT"),
        ({"NANONIS_VERSION": "1"}, "is of version 1, known is version 2"),
        ({"DATA_INFO": "Channel Name Unit Direction\n14 Z m across"}, "expected both, fwd or bwd"),
        ({"DATA_INFO": "Channel Name Unit Direction\n14 Z m"}, "cannot be read as sxm"),
    ],
)
def test_bad_sxm_headers(tmp_path: Path, heights: FloatArray, other: dict[str, str], message: str) -> None:
    path = _sxm(tmp_path / "a.sxm", [heights], ["\t14\tZ\tm\tfwd\t1\t0"], **other)
    with pytest.raises(FileError, match=message):
        list_datasets(path)


def test_size_is_checked_before_memory_is_taken(tmp_path: Path) -> None:
    path = _sxm(tmp_path / "a.sxm", [np.zeros((1, 3 * MAX_SIDE))], ["\t14\tZ\tm\tfwd\t1\t0"])
    with pytest.raises(ImageError, match=f"more than {MAX_SIDE} on a side"):
        read_image(path)


# ISO 28600


def _iso(path: Path, columns: list[FloatArray], mode: str = "MAP_SC", **lines: str) -> Path:
    """Numbers of lines of the standard as keywords: line24="48"."""
    n, m = columns[0].shape
    head = [""] * 128
    said = {1: "ISO/TC 201 SPM data transfer format", 2: "general information", 8: mode, 17: "REGULAR MAPPING"} | {
        20: "X", 21: "left to right", 22: "Y", 23: "top to bottom", 24: str(m), 25: str(n), 26: "nm", 27: "nm",
        28: f"{WIDTH * 1e9!r}", 29: f"{HEIGHT * 1e9!r}", 69: "Z", 70: "m", 94: str(len(columns)), 95: "Z", 96: "m",
        98: "Current", 99: "nA", 128: "end of header",
    } | {int(name.removeprefix("line")): value for name, value in lines.items()}  # fmt: skip
    for number, value in said.items():
        head[number - 1] = value
    points = zip(*(one.ravel().tolist() for one in columns), strict=True)
    body = [", ".join(map(repr, point)) for point in points]
    path.write_text("\n".join([*head, *body, "end of experiment", ""]))
    return path


@pytest.mark.parametrize("right", ["left to right", "right to left"])
@pytest.mark.parametrize("down", ["top to bottom", "bottom to top"])
def test_iso28600(tmp_path: Path, heights: FloatArray, right: str, down: str) -> None:
    stored = heights[:: 1 if down == "top to bottom" else -1, :: 1 if right == "left to right" else -1]
    image = read_image(_iso(tmp_path / "a.spm", [stored], line21=right, line23=down))
    assert image.data == _above_median(heights)
    assert image.pixel_size == pytest.approx(PIXEL)


def test_channels_of_iso28600(tmp_path: Path, heights: FloatArray) -> None:
    path = _iso(tmp_path / "a.spm", [heights, 1e6 * heights], "MAP_MC")
    assert [one.name for one in list_datasets(path)] == ["Z", "Current"]
    assert read_image(path, "Z").data == _above_median(heights)
    assert read_image(path, "Current").data == pytest.approx(1e9 * heights, rel=1e-6)  # pA; float32


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ({"line8": "SPEC_SC"}, "SPEC_SC, REGULAR MAPPING, fast axis X: known are MAP_SC"),
        ({"line17": "IRREGULAR MAPPING"}, "known are MAP_SC"),
        ({"line23": "inwards"}, "expected such as 'left to right'"),
        ({"line24": "49"}, "promises 40 × 49 points and then 'end of experiment', but there are 1921 lines"),
        ({"line24": "47"}, "promises 40 × 47 points"),
        ({"line25": "-1"}, "its header says -1 lines"),
        ({"line26": "V"}, "on 8e-10 × 0 m"),
        ({"line28": "wide"}, "cannot be read as spm"),
        ({"line128": "more"}, "no 'end of header' in line 128"),
    ],
)
def test_bad_iso28600(tmp_path: Path, heights: FloatArray, lines: dict[str, str], message: str) -> None:
    with pytest.raises(FileError, match=message):
        list_datasets(_iso(tmp_path / "a.spm", [heights], **lines))


def test_files_of_other_makers_with_the_same_ending(tmp_path: Path) -> None:
    path = tmp_path / "a.spm"
    path.write_bytes(b"\\*File list\r\n")
    with pytest.raises(FileError, match="not a spm file, though its name says so"):
        read_image(path)


# Text


def test_text_of_gwyddion(tmp_path: Path, heights: FloatArray) -> None:
    path = tmp_path / "a.txt"
    head = f"# Channel: Détail\n# Width: {WIDTH * 1e6!r} µm\n# Height: {HEIGHT * 1e9!r} nm\n# Value units: m\n"
    body = "\n".join("\t".join(map(repr, line)) for line in heights.tolist())
    for encoding in ("utf-8", "latin-1"):
        path.write_text(head + body, encoding)
        image = read_image(path)
        assert image.data == _above_median(heights)
        assert image.pixel_size == pytest.approx(PIXEL)
        assert image.acquisition.tip  # values that are lengths


def test_plain_numbers_are_an_image_without_calibration(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "a.txt", np.arange(1600.0).reshape(40, 40))
    image = read_image(tmp_path / "a.txt")
    assert np.array_equal(image.data.ravel(), np.arange(1600.0))
    assert image.pixel_size is None
    assert image.notes == ("grey levels are in no unit",)
    assert not image.acquisition.tip  # of any microscope


@pytest.mark.parametrize("text", ["these are only words", "1 2 3\n4 5\n", "1,5\t2,5\n3,5\t4,5\n", "1 2\n3 4\x00"])
def test_other_text(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(FileError, match="not a table of numbers"):
        read_image(tmp_path / "a.txt")


# Omicron SCALA


def _scala(folder: Path, heights: FloatArray, names: tuple[str, ...] = ("m1.tf0", "m1.tb0")) -> Path:
    """Heights in nm from -400 to 400 in two bytes, the lowest line first."""
    n, m = heights.shape
    text = (
        ";\n; Omicron SPM Control.\n; Parameter file for SPM data.\n;\n\nFormat : 1\nComment : none\n"
        f"Field X Size in nm              : {WIDTH * 1e9!r}     ;[nm]\nField Y Size in nm : {HEIGHT * 1e9!r} ;[nm]\n"
        f"Image Size in X                 : {m}\nImage Size in Y : {n}\n\n"
    )
    for name, way in zip(names, ("Forward", "Backward"), strict=False):
        text += (
            f"Topographic Channel             : Z             ;Channel\n    {way}     ;Direction\n"
            "    -32767     ;Minimum raw value\n    32767    ;Maximum raw value\n    -400.0    ;Minimum value\n"
            "    400.0    ;Maximum value\n    0.0122   ;Resolution\n    nm     ;Physical unit\n"
            f"    {name}     ;Filename\n    Z 1    ;Display name\n\n"
        )
        (folder / name.upper()).write_bytes(np.rint(heights[::-1] * 1e9 * 32767 / 400).astype(">i2").tobytes())
    (folder / "m1.par").write_text(text, "latin-1")
    return folder / "m1.par"


def test_scala(tmp_path: Path, heights: FloatArray) -> None:
    path = _scala(tmp_path, heights)
    assert [one.name for one in list_datasets(path)] == ["Z forward", "Z backward"]
    image = read_image(path, "Z forward")
    assert image.data == pytest.approx((heights - np.median(heights)) * 1e10, abs=0.13)  # a raw value is 0.122 Å
    assert image.pixel_size == pytest.approx(PIXEL)


def test_scala_without_its_data(tmp_path: Path, heights: FloatArray) -> None:
    path = _scala(tmp_path, heights)
    (tmp_path / "M1.TF0").write_bytes(b"\0" * 100)
    with pytest.raises(FileError, match=r"promises 40 × 48 values of 2 bytes, but there are 100 bytes: it is cut off"):
        read_image(path)
    (tmp_path / "M1.TF0").unlink()
    with pytest.raises(FileError, match=r"its file m1.tf0 of the channel 'Z forward' is not beside it"):
        read_image(path)


def test_other_par_files(tmp_path: Path) -> None:
    (tmp_path / "a.par").write_text("Name : value\n")
    with pytest.raises(FileError, match="not a parameter file of SCALA, it has no 'Image Size in X'"):
        read_image(tmp_path / "a.par")


def test_scala_reads_only_beside_itself(tmp_path: Path, heights: FloatArray) -> None:
    (tmp_path / "in").mkdir()
    path = _scala(tmp_path / "in", heights, ("m1.tf0",))
    (tmp_path / "other").write_bytes(bytes(2 * heights.size))
    path.write_text(path.read_text("latin-1").replace("m1.tf0", "../other"), "latin-1")
    with pytest.raises(FileError, match="is not beside it"):
        read_image(path)


# Omicron Matrix


def _words(text: str) -> bytes:
    return struct.pack("<L", len(text)) + text.encode("utf-16-le")


def _block(name: str, body: bytes, stamp: bool = True) -> bytes:
    """Names are stored backwards; most blocks have a time, which does not count for their length."""
    return name[::-1].encode() + struct.pack("<L", len(body)) + (bytes(8) if stamp else b"") + body


def _number(value: float | int | bool) -> bytes:
    if isinstance(value, bool):
        return b"LOOB" + struct.pack("<L", value)
    return b"GNOL" + struct.pack("<l", value) if isinstance(value, int) else b"BUOD" + struct.pack("<d", value)


def _matrix(folder: Path, raw: NDArray[np.int32], lines: int, columns: int) -> Path:
    """One channel with the ways back and down: raw values in the order of time, 1e12 of them in a metre."""
    scanner = {
        "X_Retrace": True, "Y_Retrace": True, "Points": columns, "Lines": lines, "Width": WIDTH, "Height": HEIGHT,
        "X_Offset": 0.0, "Y_Offset": 0.0, "Angle": 0,
    }  # fmt: skip
    values = b"".join(_words(k) + _words("") + bytes(4) + _number(v) for k, v in scanner.items())
    parameters = bytes(4) + struct.pack("<L", 1) + _words("XYScanner") + struct.pack("<L", len(scanner)) + values
    name = bytes(4) + struct.pack("<L", 7) + bytes(8) + _words("Z") + _words("Meter")
    channels = bytes(8) + struct.pack("<L", 0) + struct.pack("<L", 1) + name + struct.pack("<L", 0)
    factor = _words("Factor") + _number(1e12) + _words("Offset") + _number(0)
    transfer = bytes(4) + struct.pack("<L", 7) + _words("TFF_Linear1D") + _words("") + struct.pack("<L", 2) + factor
    told = _block("CCSY", bytes(4) + _block("DICT", channels, False) + _block("XFER", transfer, False))
    path = folder / "scan--1_1.Z_mtrx"
    chain = _block("EEPA", parameters) + told + _block("BREF", bytes(4) + _words(path.name))
    (folder / "scan_0001.mtrx").write_bytes(b"ONTMATRX0101" + chain)
    about = bytes(20) + struct.pack("<ii", raw.size, raw.size)
    data = _block("DESC", about, False) + _block("DATA", raw.astype("<i4").tobytes(), False)
    path.write_bytes(b"ONTMATRX0101" + b"TLKB" + struct.pack("<L", len(data) + 4) + bytes(12) + data)
    return path


def test_matrix(tmp_path: Path, heights: FloatArray) -> None:
    """Up, then down, each line forth and back."""
    pytest.importorskip("access2thematrix")
    fore, back = heights, heights + 1e-9
    up = np.stack([fore[::-1], back[::-1, ::-1]], axis=1)  # the lowest line first
    down = np.stack([fore + 2e-9, (back + 2e-9)[:, ::-1]], axis=1)
    path = _matrix(tmp_path, np.rint(np.stack([up, down]) * 1e12).astype(np.int32), *heights.shape)
    assert [one.name for one in list_datasets(path)] == [
        "Z forward/up", "Z backward/up", "Z forward/down", "Z backward/down",
    ]  # fmt: skip
    for index in range(4):
        image = read_image(path, index)
        assert image.data == pytest.approx((heights - np.median(heights)) * 1e10, abs=0.011)  # a raw value is 0.01 Å
        assert image.pixel_size == pytest.approx(PIXEL)
        assert image.notes == ("grey levels are heights in Å above their median",)


def test_damaged_matrix_files(tmp_path: Path, heights: FloatArray) -> None:
    pytest.importorskip("access2thematrix")
    raw = np.zeros((4, *heights.shape), np.int32)
    path = _matrix(tmp_path, raw, *heights.shape)
    with pytest.raises(FileError, match=r"has no image: name a file that ends in \.Z_mtrx"):
        read_image(tmp_path / "scan_0001.mtrx")
    whole = path.read_bytes()
    for length in (20, 100, len(whole) // 2):
        path.write_bytes(whole[:length])
        with pytest.raises(FileError, match="no image can be read"):
            read_image(path)
    path.write_bytes(whole)
    (tmp_path / "scan_0001.mtrx").unlink()
    with pytest.raises(FileError, match=r"that end in _0001\.mtrx and so on must lie beside it"):
        read_image(path)


def test_cut_off_anywhere(tmp_path: Path, heights: FloatArray) -> None:
    """A part of a file is refused, or is an image that is whole."""
    for path in (
        _sxm(tmp_path / "a.sxm", [heights], ["\t14\tZ\tm\tfwd\t1\t0"]),
        _iso(tmp_path / "a.spm", [heights]),
        _scala(tmp_path, heights, ("m1.tf0",)),
    ):
        whole = path.read_bytes()
        end = len(whole) if path.suffix != ".par" else whole.index(b";Physical unit")
        for length in np.linspace(40, end - 25, 12).astype(int).tolist():
            path.write_bytes(whole[:length])
            with pytest.raises(FileError):
                read_image(path)


def test_graphite(shared: Path) -> None:
    """Reciprocal vectors measured by those who took the image: y is up, and the pixel size is theirs.

    They were taken from a spectrum, whose pixels are 1/115 Å.
    """
    image = read_image(shared / "data/stm/graphite_step.spm")
    assert image.pixel_size == pytest.approx((114.807 / 512,) * 2, rel=1e-9)
    flat = image.data - np.median(image.data, axis=1)[:, None]
    rows = columns = (np.arange(512) - 255.5) * 114.807 / 512
    window = np.outer(np.hanning(512), np.hanning(512))
    for known in ((0.4191, 0.1692), (0.1176, 0.5127)):
        x, y = (np.linspace(value - 0.04, value + 0.04, 81) for value in known)
        wave = np.exp(2j * np.pi * np.outer(y, rows)) @ (flat * window) @ np.exp(-2j * np.pi * np.outer(columns, x))
        i, j = np.unravel_index(np.abs(wave).argmax(), wave.shape)
        assert np.hypot(x[j] - known[0], y[i] - known[1]) < 1 / 114.8


def test_oxide(shared: Path) -> None:
    image = read_image(shared / "data/stm/Cu2O_111_15nm_heights.txt")
    assert image.pixel_size == pytest.approx((150 / 512,) * 2, rel=1e-9)
    assert image.notes == ("grey levels are heights in Å above their median",)
    assert np.ptp(image.data) == pytest.approx(1.5, abs=0.001)  # digits in the file
    check_image(image)
