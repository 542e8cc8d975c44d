"""`picostem atoms`: what it writes of images and movies with known atoms, and what it says of bad input."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from pyarrow import parquet

from picostem.structure import load_monolayer
from tests.atoms.made import expected
from tests.cli.conftest import Run

FILES = {
    *("atoms.parquet", "atoms.csv", "atoms.xyz", "atoms.hspy", "defects.parquet", "defects.csv", "figure.png"),
    *("blobs.csv", "result.json"),
}
SHAPE = (150, 170)
PIXEL = 0.2
PEAK = np.diag([3.5, 3.5])


def ws2() -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Row and column of the columns of WS2, and which are W."""
    layer = load_monolayer("WS2")
    cells = np.stack(np.mgrid[-20:20, -20:20], axis=-1).reshape(-1, 1, 2)
    xy = ((cells + layer.scaled[:2]) @ layer.cell).reshape(-1, 2) / PIXEL
    place = np.column_stack([SHAPE[0] / 2 - xy[:, 1], SHAPE[1] / 2 + xy[:, 0]])
    inside = np.all((place > 1) & (place < np.array(SHAPE) - 2), axis=1)
    return place[inside], np.tile([layer.symbols[0] == "W", layer.symbols[0] != "W"], len(cells))[inside]


def write_ws2(path: str, seed: int = 1, frames: int = 0) -> int:
    """An image with an S2 column missing near its middle, or a movie of such; returns the number of atoms."""
    place, metal = ws2()
    middle = np.linalg.norm(place - np.array(SHAPE) / 2, axis=1) + 1e6 * metal
    kept = np.arange(len(place)) != middle.argmin()
    intensity = np.where(metal, 3000.0, 900.0)[kept]
    rng = np.random.default_rng(seed)
    drawn = [
        rng.poisson(expected(place[kept] + shift, intensity, PEAK, SHAPE, 5.0))
        for shift in rng.normal(0, 0.5, (max(frames, 1), kept.sum(), 2)) * (frames > 0)
    ]
    np.save(path, np.array(drawn if frames else drawn[0], dtype=np.float32))
    return int(kept.sum())


def blocks(path: str) -> list[ase.Atoms]:
    """All frames of an extended xyz file."""
    return [one for one in ase.io.iread(path, format="extxyz") if isinstance(one, ase.Atoms)]


@pytest.fixture
def document(picostem: Run) -> tuple[dict[str, Any], int]:
    """The result of WS2, with all files in its folder, and the true number of atoms."""
    count = write_ws2("ws2.npy")
    ended = picostem("atoms", "ws2.npy", "--pixel-size", PIXEL, "--cif", "WS2")
    assert ended.code == 0, ended.err
    assert "S2" in ended.out and "vacancies: 1 on S2" in ended.out
    return json.loads(Path("ws2.atoms/result.json").read_text("utf-8")), count


def test_image_of_a_known_crystal(document: tuple[dict[str, Any], int]) -> None:
    found, count = document
    assert found["schema"] == "picostem.atoms/1"
    assert (found["crystal"], found["frames"], found["tracks"]) == ("WS2", 1, None)
    assert found["image"]["pixel_size_A"] == [PIXEL, PIXEL]
    names = {one["name"]: one["atoms"] for one in found["classes"]}
    assert set(names) == {"W", "S2"}
    assert sum(names.values()) == found["atoms"]
    assert abs(found["atoms"] - count) <= 4  # where peaks are cut by the border, two may be one
    (gone,) = found["vacancies"]
    assert gone["sublattice"] == "S2"
    assert np.hypot(gone["row"] - SHAPE[0] / 2, gone["col"] - SHAPE[1] / 2) < 12
    rows = np.array(found["lattice"]["rows_A"])
    assert np.linalg.norm(rows, axis=1) == pytest.approx(load_monolayer("WS2").cell[0, 0], rel=0.01)
    assert found["noise"]["grey_per_electron"] == pytest.approx(1, rel=0.15)
    assert found["width_px"]["median"] == pytest.approx(np.sqrt(3.5), rel=0.03)
    assert found["quality"]["chi2"]["median"] == pytest.approx(1, abs=0.15)

    assert {path.name for path in Path("ws2.atoms").iterdir()} == FILES
    table = parquet.read_table("ws2.atoms/atoms.parquet")
    assert table.num_rows == found["atoms"]
    assert min(table["p_species"].to_pylist()) > 0.5
    with Path("ws2.atoms/atoms.csv").open(encoding="utf-8") as lines:
        assert [line["species"] for line in csv.DictReader(lines)] == table["species"].to_pylist()
    with Path("ws2.atoms/blobs.csv").open(encoding="utf-8") as lines:
        blobs = list(csv.DictReader(lines))
    assert {one["channel"] for one in blobs} == {"atom"}
    assert np.bincount([int(one["class"]) for one in blobs])[1:].tolist() == [one["blobs"] for one in found["network"]]
    place = np.array([[float(one["row"]), float(one["col"])] for one in blobs])
    near = np.hypot(*(place[:, None] - np.column_stack([table["row"], table["col"]])).T).min(axis=0)
    assert np.median(near) < 1.5  # pixels: blobs are where atoms are
    (atoms,) = blocks("ws2.atoms/atoms.xyz")
    assert set(atoms.get_chemical_symbols()) == {"W", "S"}
    with Image.open("ws2.atoms/figure.png") as figure:
        assert figure.width > figure.height > 500
        assert np.asarray(figure.convert("L")).std() > 20  # not blank


def test_movie_gets_tracks(picostem: Run) -> None:
    count = write_ws2("movie.npy", frames=3)
    ended = picostem("atoms", "movie.npy", "--out", "there", "--json", "-")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert found["frames"] == 3
    assert abs(found["tracks"] - count) <= 4
    assert all(found["vacancies"].count(one) == 1 for one in found["vacancies"])
    assert [one["frame"] for one in found["vacancies"]] == [0, 1, 2]  # the missing column, and no others
    names = {path.name for path in Path("there").iterdir()}
    assert names == FILES | {"transitions.csv", "defect_tracks.csv", "defect_windows.tif"}
    windows = tifffile.imread("there/defect_windows.tif")  # of the missing column: one in each frame, as the table says
    assert len(windows) == len(Path("there/defect_tracks.csv").read_text("utf-8").splitlines()) - 1 >= 3
    assert windows.shape[1] == windows.shape[2] and windows.shape[1] % 2 == 1
    table = parquet.read_table("there/atoms.parquet").to_pydict()
    frames, tracks = np.array(table["frame"]), np.array(table["track"])
    assert set(frames) == {0, 1, 2}
    place = np.column_stack([table["row"], table["col"]])
    for number in np.unique(tracks)[:50]:
        mine = tracks == number
        assert len(np.unique(frames[mine])) == mine.sum()
        assert np.ptp(place[mine], axis=0).max() < 5  # shaken by 0.5 pixels, 9 and more apart
    assert table["x_A"] == [None] * len(tracks)
    assert {one["name"] for one in found["classes"]} >= {"A1", "B1"}
    found_blocks = blocks("there/atoms.xyz")
    assert [len(one) for one in found_blocks] == np.bincount(frames).tolist()
    assert set(found_blocks[0].get_chemical_symbols()) == {"X"}


def test_atoms_that_stay_are_refined_in_every_frame(picostem: Run) -> None:
    count = write_ws2("movie.npy", frames=3)
    ended = picostem("atoms", "movie.npy", "--still", "--weights", "none", "--out", "there")
    assert ended.code == 0, ended.err
    table = parquet.read_table("there/atoms.parquet").to_pydict()
    frames, tracks = np.array(table["frame"]), np.array(table["track"])
    counts = np.bincount(frames)
    assert len(set(counts)) == 1 and abs(counts[0] - count) <= 4
    assert all(np.array_equal(tracks[frames == k], np.arange(counts[0])) for k in range(3))
    assert not Path("there/blobs.csv").exists()  # no network was asked


def test_one_frame_of_a_movie_and_json_alone(picostem: Run) -> None:
    write_ws2("movie.npy", frames=2)
    ended = picostem("atoms", "movie.npy", "--frame", "1", "--json", "found.json")
    assert ended.code == 0, ended.err
    found = json.loads(Path("found.json").read_text("utf-8"))
    assert (found["frames"], found["image"]["name"]) == (1, "movie frame 1")
    assert {path.name for path in Path().iterdir()} == {"movie.npy", "found.json"}


def test_several_images_of_which_one_is_bad(picostem: Run) -> None:
    write_ws2("good.npy")
    np.save("bad.npy", np.ones((64, 64)))
    ended = picostem("atoms", "good.npy", "bad.npy", "--out", "all", "--json", "found.json")
    assert ended.code == 1
    assert "bad.npy: bad: all pixels are 1" in ended.complaint
    assert len(json.loads(Path("found.json").read_text("utf-8"))) == 1
    assert {path.name for path in Path("all").iterdir()} == {"good.atoms"}


def test_image_without_atoms_is_an_answer(picostem: Run) -> None:
    np.save("noise.npy", np.random.default_rng(3).poisson(5.0, (96, 96)).astype(np.float32))
    ended = picostem("atoms", "noise.npy")
    assert ended.code == 0, ended.err
    assert "atoms" in ended.out.splitlines()[0]
    assert json.loads(Path("noise.atoms/result.json").read_text("utf-8"))["atoms"] <= 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("none.npy",), 1, "none.npy: no such file"),
        (("--pixel-size", "0"), 2, "--pixel-size is 0"),
        (("--pixel-size", "inf"), 2, "--pixel-size is inf"),
        (("--frame", "-1"), 2, "--frame is -1"),
        (("--frame", "0"), 2, "a single image has no frames"),
        (("--cif", "Unobtainium"), 2, "unknown material"),
        (("--cif", "none.cif"), 1, "no structure file none.cif"),
        (("--json", "image.npy"), 2, "would replace the image"),
        (("--out", "image.npy"), 1, "is a file"),
        (("--dataset", "7"), 2, "no data set 7"),
        (("--weights", "nowhere"), 1, "is it the folder of a network?"),
        (("image.npy",), 2, "would both write to"),
    ],
)
def test_bad_request(picostem: Run, arguments: tuple[str, ...], code: int, words: str) -> None:
    np.save("image.npy", np.random.default_rng(3).poisson(5.0, (64, 64)).astype(np.float32))
    files = () if arguments == ("none.npy",) else ("image.npy",)
    ended = picostem("atoms", *files, *arguments)
    assert ended.code == code
    assert words in ended.complaint
    assert [path.name for path in Path().iterdir()] == ["image.npy"]


def test_silicon_in_graphene_needs_the_network(picostem: Run) -> None:
    """Beside a few bright atoms, those of a dense lattice hardly stand out: peaks alone are not all of them."""
    cells = np.stack(np.mgrid[-20:20, -20:20], axis=-1).reshape(-1, 2)
    cell = 2.46 * np.array([[1, 0], [-0.5, 0.75**0.5]])
    xy = (cells @ cell)[:, None] + np.array([[0, 0], [0, 1.42]])
    place = xy.reshape(-1, 2) / 0.12 + 100
    place = place[np.all((place > 3) & (place < 196), axis=1)]
    bright = np.where(np.arange(len(place)) % 30 == 7, 6000.0, 1500.0)
    image = expected(place, bright, np.diag([11.0, 11.0]), (200, 200), 3.0)
    np.save("graphene.npy", np.random.default_rng(2).poisson(image).astype(np.float32))
    counts = {}
    for weights in ("finder", "none"):
        ended = picostem("atoms", "graphene.npy", "--pixel-size", 0.12, "--weights", weights, "--json", "found.json")
        assert ended.code == 0, ended.err
        counts[weights] = json.loads(Path("found.json").read_text("utf-8"))["atoms"]
    assert abs(counts["finder"] - len(place)) < 0.03 * len(place)
    assert counts["none"] < 0.9 * len(place)
