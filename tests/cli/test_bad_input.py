"""What cannot be resolved, through the command line: one clear line, the right exit code, nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ase.build
import ase.io
import numpy as np
import pytest
import tifffile

from tests.cli.conftest import OPTICS, RES2, Run

NOISE = np.random.default_rng(8).poisson(50, (64, 64)).astype(np.float32)


def with_pixels(value: float, count: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    data = NOISE.copy()
    data.flat[:count] = value
    return data


def long_image(path: Path) -> None:
    """20 001 × 64 pixels that take no room: a file with a hole."""
    np.lib.format.open_memmap(path, "w+", np.float32, (20_001, 64)).flush()


MAKERS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "a folder": ("image.tif", lambda p: p.mkdir(), "folder"),
    "an empty file": ("image.tif", lambda p: p.write_bytes(b""), "empty"),
    "text": ("image.tif", lambda p: p.write_text("not an image\n" * 100), "image.tif"),
    "cut off": ("image.tif", lambda p: p.write_bytes(whole_tif()[:2000]), "image.tif"),
    "no known format": ("image.xyz", lambda p: p.write_bytes(b"\x00\x01\x02" * 100), "image.xyz"),
    "NaN": ("image.npy", lambda p: np.save(p, with_pixels(np.nan, 1)), "NaN or infinite"),
    "infinite": ("image.npy", lambda p: np.save(p, with_pixels(np.inf, 3)), "NaN or infinite"),
    "constant": ("image.npy", lambda p: np.save(p, np.full((64, 64), 7.0)), "all pixels are 7"),
    "saturated": ("image.npy", lambda p: np.save(p, with_pixels(255.0, 400)), "clipped"),
    "one pixel": ("image.npy", lambda p: np.save(p, np.ones((1, 1))), "1 × 1"),
    "20 001 pixels": ("image.npy", long_image, "20000"),
    "a movie": ("image.npy", lambda p: np.save(p, np.stack([NOISE, NOISE, NOISE])), "--frame"),
    "complex": ("image.npy", lambda p: np.save(p, NOISE + 1j), "complex"),
    "a pickle": ("image.npy", lambda p: np.save(p, np.array([{}], dtype=object), allow_pickle=True), "image.npy"),
    "one number a line": ("image.npy", lambda p: np.save(p, NOISE[0]), "two-dimensional"),
}


def whole_tif() -> bytes:
    import io

    stream = io.BytesIO()
    tifffile.imwrite(stream, NOISE)
    return stream.getvalue()


@pytest.mark.parametrize("kind", MAKERS)
def test_bad_image(picostem: Run, kind: str) -> None:
    name, make, expected = MAKERS[kind]
    make(Path(name))
    ended = picostem("resolve", name, *RES2)
    assert ended.code == 1
    assert expected in ended.complaint
    assert name.split(".")[0] in ended.complaint
    assert ended.out == ""
    assert [p.name for p in Path().iterdir()] == [name]


def test_missing_file(picostem: Run) -> None:
    ended = picostem("resolve", "nowhere.dm4", *RES2)
    assert ended.code == 1
    assert "nowhere.dm4: no such file" in ended.complaint


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--material", "ReS", *OPTICS), "did you mean ReS2?"),
        (("--material", "res2 ", "--layers", "4"), "'--layers'"),
        ((*RES2, "--pixel-size", "0"), "--pixel-size is 0"),
        ((*RES2, "--pixel-size", "nan"), "--pixel-size is nan"),
        ((*RES2, "--pixel-size", "twelve"), "'--pixel-size'"),
        ((*RES2, "--window", "-2"), "--window is -2"),
        ((*RES2, "--stride", "inf"), "--stride is inf"),
        (("--material", "ReS2", "--voltage", "300000"), "--voltage is 300000"),
        (("--material", "ReS2", "--semiangle", "0.02"), "--semiangle is 0.02"),
        (("--material", "ReS2", "--detector", "200", "39"), "--detector 200 39"),
        ((*RES2[:6], "--detector", "nan", "200"), "--detector nan 200"),
        ((*RES2, "--frame", "-1"), "--frame is -1"),
        ((*RES2, "--frame", "0"), "a single image has no frames"),
        ((*RES2, "--dataset", "other"), "no data set is called 'other'"),
        ((*RES2, "--dataset", "7"), "no data set 7"),
        ((*RES2, "--json", "image.npy"), "would replace the image"),
        ((*RES2, "--out", "image.npy"), "is a file"),
        ((*RES2, "--out", "image.npy/below"), "is a file"),
        ((*RES2, "--json", "image.npy/below.json"), "is a file"),
        ((*RES2, "--json", "no/such/folder.json"), "is missing"),
        ((*RES2, "--json", "."), "is a folder"),
        ((*RES2, "image.npy"), "would both write to"),
        ((*RES2, "--no-such-option"), "--no-such-option"),
        ((), "'--material'"),
    ],
)
def test_bad_request(picostem: Run, arguments: tuple[str, ...], expected: str) -> None:
    np.save("image.npy", NOISE)
    before = Path("image.npy").read_bytes()
    ended = picostem("resolve", "image.npy", *arguments)
    cannot_write = any(what in expected for what in ("is a file", "is a folder", "is missing"))
    assert ended.code == (1 if cannot_write else 2)
    assert expected in ended.complaint
    assert [p.name for p in Path().iterdir()] == ["image.npy"]
    assert Path("image.npy").read_bytes() == before


def test_crystal_without_layers(picostem: Run) -> None:
    np.save("image.npy", NOISE)
    ase.io.write("salt.cif", ase.build.bulk("NaCl", "rocksalt", a=5.64, cubic=True))
    ended = picostem("resolve", "image.npy", "--material", "salt.cif")
    assert ended.code == 1
    assert "salt.cif" in ended.complaint


def test_missing_structure_file(picostem: Run) -> None:
    np.save("image.npy", NOISE)
    ended = picostem("resolve", "image.npy", "--material", "missing.cif")
    assert ended.code == 1
    assert "missing.cif" in ended.complaint


def test_noise_is_not_resolved(picostem: Run) -> None:
    np.save("image.npy", np.random.default_rng(1).normal(size=(256, 256)))
    ended = picostem("resolve", "image.npy", *RES2, "--pixel-size", "0.12")
    assert ended.code == 0
    assert "not resolved" in ended.out
    assert not Path("image.picostem/map.parquet").exists()


def test_names_with_control_characters_stay_on_one_line(picostem: Run) -> None:
    ended = picostem("resolve", "two\nlines\x1b[31m.tif", *RES2)
    assert "\x1b" not in ended.complaint


@pytest.mark.parametrize("arguments", [("resolv",), ("resolve",), ("bench",), ("bench", "nothing"), ("--nothing",)])
def test_commands_that_are_none(picostem: Run, arguments: tuple[str, ...]) -> None:
    ended = picostem(*arguments)
    assert ended.code == 2
    assert "--help`)" in ended.complaint
