"""A folder of images and tables becomes labelled scenes, and a network learns from them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from picostem.atoms.examples import Examples, fainter, load_examples, turned, varied
from picostem.atoms.find import find_atoms
from picostem.atoms.reading import PIXEL_A, Reading
from picostem.atoms.scene import Scene
from picostem.atoms.settings import AtomSettings, ScenePlan
from picostem.atoms.specimens import KINDS, VACANCY
from picostem.errors import DataError, FileError, ImageError, UsageError
from picostem.files import read_image
from picostem.image import Image
from tests.atoms.made import expected, grid, image

FloatArray = NDArray[np.float64]

PIXEL = 0.15
PLACE, SHAPE = grid(8, 10, 12.0, np.random.default_rng(0))
COUNTS = np.random.default_rng(1).poisson(expected(PLACE, np.full(80, 900.0), 6.0 * np.eye(2), SHAPE, 5.0))
PLAN = ScenePlan(pixel_A=(0.15, 0.25), counts=(500, 2000), extent_A=14)
TINY = AtomSettings(steps=2, batch=4, side=32, validation=4, validate_every=2, width=4, blocks=1, warm_up=1)


def write(
    folder: Path, name: str = "one", data: Any = COUNTS, pixel: tuple[float, float] | None = (PIXEL, PIXEL)
) -> None:
    folder.mkdir(exist_ok=True)
    scale = {} if pixel is None else {"resolution": (10 / pixel[1], 10 / pixel[0]), "metadata": {"unit": "nm"}}
    tifffile.imwrite(folder / f"{name}.tif", np.asarray(data, dtype=np.float32), imagej=True, **scale)


def table(folder: Path, name: str = "one", place: FloatArray = PLACE, classes: list[str] | None = None) -> None:
    head = "row,col" if classes is None else "row,col,class"
    ends = [""] * len(place) if classes is None else [f",{one}" for one in classes]
    lines = [f"{row},{col}{end}" for (row, col), end in zip(place.tolist(), ends, strict=True)]
    (folder / f"{name}.csv").write_text("\n".join([head, *lines]) + "\n", "utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "own")
    table(tmp_path / "own")
    return tmp_path / "own"


def peaks(scene: Scene) -> FloatArray:
    """Mean grey level at atoms, and two peak widths away from them, in every direction."""
    row, col = np.rint(scene.place).astype(int).T
    inner = (np.minimum(row, col) > 6) & (row < scene.data.shape[0] - 7) & (col < scene.data.shape[1] - 7)
    assert inner.sum() > 5
    row, col = row[inner], col[inner]
    ring = [scene.data[row + a, col + b].mean() for a, b in ((5, 0), (-5, 0), (0, 5), (0, -5))]
    return np.array([scene.data[row, col].mean(), *ring])


class TestTables:
    def test_places_and_scale(self, folder: Path) -> None:
        found = load_examples(folder)
        assert (found.names, found.classes, found.share) == (("one.tif",), ("atom",), 0.5)
        (scene,) = found.scenes
        assert scene.place == pytest.approx(PLACE) and scene.sure.all() and not scene.kind.any()
        assert scene.pixel_size == pytest.approx(PIXEL, rel=1e-4)  # as the file keeps it
        assert scene.data.std() == pytest.approx(COUNTS.std(), rel=0.2)  # electrons, as well as their noise tells

    def test_as_picostem_atoms_writes_them(self, folder: Path) -> None:
        atoms = find_atoms(image(COUNTS))
        atoms = replace(atoms, species=np.where(np.arange(len(atoms)) % 3, "W", "S2"))
        (folder / "one.csv").write_bytes(atoms.as_csv())
        text = load_examples(folder, classes=True)
        (folder / "one.parquet").write_bytes(atoms.as_parquet())  # is taken where there are both
        binary = load_examples(folder, classes=True)
        assert text.classes == binary.classes == ("S2", "W") and text.share == 1
        assert np.array_equal(text.scenes[0].kind, (np.arange(len(atoms)) % 3 > 0).astype(int))
        assert binary.scenes[0].place == pytest.approx(text.scenes[0].place, abs=1e-4)  # digits of text
        assert text.sha256 != binary.sha256

    def test_classes_of_drawn_scenes_go_with_these(self, folder: Path) -> None:
        table(folder, classes=["vacancy"] * 2 + ["dopant"] * 78)
        found = load_examples(folder, classes=True)
        assert found.classes == KINDS and found.share == 0.5
        assert [KINDS[kind] for kind in found.scenes[0].kind[:3]] == ["vacancy", "vacancy", "dopant"]
        (scene,) = load_examples(folder).scenes
        assert np.flatnonzero(scene.kind == VACANCY).tolist() == [0, 1]  # which patches of one class leave out

    def test_first_frame_of_a_movie(self, tmp_path: Path) -> None:
        tmp_path.joinpath("own").mkdir()
        np.save(tmp_path / "own" / "one.npy", np.stack([COUNTS, COUNTS[::-1]]).astype(np.float32))
        lines = [f"{row},{col},0\n{SHAPE[0] - 1 - row},{col},1" for row, col in PLACE.tolist()]
        (tmp_path / "own" / "one.csv").write_text("\n".join(["row,col,frame", *lines]), "utf-8")
        (scene,) = load_examples(tmp_path / "own").scenes
        assert scene.place * scene.pixel_size == pytest.approx(PLACE * scene.pixel_size)
        level = peaks(scene)
        assert level[0] > 2 * level[1:].max()

    def test_without_calibration(self, tmp_path: Path) -> None:
        write(tmp_path / "own", pixel=None)
        table(tmp_path / "own")
        (scene,) = load_examples(tmp_path / "own").scenes
        step = Reading.of(Image(COUNTS.astype(np.float32))).step
        assert scene.pixel_size == pytest.approx(PIXEL_A / step[0], rel=1e-6)

    def test_oblong_pixels_become_square(self, tmp_path: Path) -> None:
        write(tmp_path / "own", data=np.repeat(COUNTS, 2, axis=0), pixel=(PIXEL / 2, PIXEL))
        table(tmp_path / "own", place=(PLACE + 0.5) * [2, 1] - 0.5)
        (scene,) = load_examples(tmp_path / "own").scenes
        assert scene.data.shape == SHAPE and scene.place == pytest.approx(PLACE, abs=0.01)


class TestWithoutTables:
    def test_atoms_that_the_fit_finds(self, tmp_path: Path) -> None:
        write(tmp_path / "own")
        found = load_examples(tmp_path / "own")
        away, atom = cKDTree(found.scenes[0].place).query(PLACE)
        assert len(found.scenes[0].place) == len(set(atom)) == 80
        assert away.max() < 0.5  # σ / √counts is 0.08

    def test_what_differs_from_the_lattice(self, tmp_path: Path) -> None:
        rows, cols = np.mgrid[:14, :15] * 12.0 + 6
        place = np.stack([rows.ravel(), cols.ravel()], axis=1) + [0.3, 0.4]
        light = np.full(len(place), 900.0)
        light[[70, 140]], light[[77, 170]] = 0, 2000
        light[130] = 450
        counts = expected(place, light, 6.0 * np.eye(2), (168, 180), 5.0)
        write(tmp_path / "own", data=np.random.default_rng(3).poisson(counts))
        found = load_examples(tmp_path / "own", classes=True)
        assert found.classes == ("atom", "brighter", "darker", "vacancy") and found.share == 1
        (scene,) = found.scenes
        for name, sites in {"vacancy": [70, 140], "brighter": [77, 170], "darker": [130]}.items():
            own = scene.place[scene.kind == found.classes.index(name)]
            assert len(own) == len(sites)
            assert own == pytest.approx(place[sites], abs=1.5)  # of what is not there, a pixel and its noise


class TestVariations:
    @pytest.fixture
    def scene(self, folder: Path) -> Scene:
        return load_examples(folder).scenes[0]

    @pytest.mark.parametrize("degrees", [17, 45, 90, 200, 301])
    def test_atoms_turn_with_the_image(self, scene: Scene, degrees: float) -> None:
        other = turned(scene, math.radians(degrees))
        level = peaks(other)
        assert level[0] > 0.85 * peaks(scene)[0]  # at the nearest pixels
        assert level[1:].max() < level[0] / 2
        assert np.all((other.place > -0.5) & (other.place < np.array(other.data.shape) - 0.5))
        inside = SHAPE[0] / (abs(math.cos(math.radians(degrees))) + abs(math.sin(math.radians(degrees))))
        assert other.data.shape == (int(inside + 1e-9),) * 2

    def test_right_angles_keep_pixels(self, scene: Scene) -> None:
        square = replace(scene, data=scene.data[:100, :100])
        assert turned(square, math.pi / 2).data == pytest.approx(np.rot90(square.data, -1), abs=1e-3)  # splines

    def test_fewer_electrons(self, scene: Scene) -> None:
        """Of Poisson noise of mean m, a share q leaves the variance m / q, and the mean as it is."""
        flat = np.random.default_rng(2).poisson(80, (300, 300)).astype(np.float32)
        data = fainter(replace(scene, data=flat), 0.25, np.random.default_rng(3)).data
        assert data.mean() == pytest.approx(80, abs=0.3)  # 5 standard errors
        assert data.var() == pytest.approx(320, rel=0.03)  # 6

    def test_small_images_turn_by_right_angles_only(self, scene: Scene) -> None:
        rng = np.random.default_rng(4)
        whole = min(SHAPE) * PIXEL
        assert {varied(scene, rng, whole).data.shape[0] for _ in range(10)} == {min(SHAPE)}
        assert len({varied(scene, rng, whole / 2).data.shape[0] for _ in range(10)}) > 2

    def test_parts_lie_anywhere(self, folder: Path) -> None:
        found = load_examples(folder)
        rng = np.random.default_rng(5)
        parts = [found.draw(rng, 9.0) for _ in range(20)]
        assert {part.data.shape for part in parts} == {(60, 60)}
        assert len({part.data.tobytes() for part in parts}) > 15
        for part in parts[:3]:
            level = peaks(part)
            assert level[0] > 2 * level[1:].max()

    def test_a_quarter_is_kept_for_measuring(self, folder: Path) -> None:
        for name in "abcd":
            write(folder, name)
            table(folder, name)
        seen, unseen = load_examples(folder).parted()
        assert (seen.names, unseen.names) == (("a.tif", "b.tif", "c.tif", "d.tif"), ("one.tif",))
        one, other = seen.parted()[0].parted()  # of three, none
        assert one.names == other.names == ("a.tif", "b.tif", "c.tif")


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("x,y\n1,2\n", r"expected columns row and col .* got \['x', 'y'\]"),
            ("row;col\n1;2\n", "expected columns row and col"),
            ("", "expected columns row and col"),
            ("row,col\n1,5,2\n", "3 values in row 1 for 2 columns"),
            ("row,col\n1,two\n", "expected numbers .*two"),
            ("row,col\n1,500\n", "1 atoms lie outside the image of 108 × 132 pixels, the first at row 1, col 500"),
            ("row,col\n1,nan\n", "outside the image"),
            ("row,col\n", "not one atom"),
        ],
    )
    def test_tables(self, folder: Path, text: str, complaint: str) -> None:
        (folder / "one.csv").write_text(text, "utf-8")
        with pytest.raises(DataError, match=complaint):
            load_examples(folder)

    def test_damaged_files(self, folder: Path) -> None:
        (folder / "one.parquet").write_bytes(b"PAR1")
        with pytest.raises(FileError, match="cannot be read as parquet"):
            load_examples(folder)
        (folder / "one.parquet").unlink()
        (folder / "one.csv").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(FileError, match="comma-separated text"):
            load_examples(folder)

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            (lambda folder: (folder / "one.tif").unlink(), "no images"),
            (lambda folder: table(folder, "two"), "no image for the table two.csv"),
            (lambda folder: np.save(folder / "one.npy", COUNTS), "one table for one.npy and one.tif"),
            (lambda folder: (folder / "notes.odt").write_text("x"), "unknown format"),
            (lambda folder: write(folder, "flat", np.ones((64, 64))), "all pixels are 1"),
        ],
    )
    def test_folders(self, folder: Path, change: Callable[[Path], Any], complaint: str) -> None:
        change(folder)
        with pytest.raises((FileError, DataError, ImageError), match=complaint):
            load_examples(folder)

    def test_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(FileError, match="expected a folder of images"):
            load_examples(tmp_path / "nowhere")

    def test_classes(self, folder: Path) -> None:
        with pytest.raises(DataError, match="expected a class of each atom"):
            load_examples(folder, classes=True)
        table(folder, classes=["W"] * 80)
        with pytest.raises(UsageError, match="drawn scenes know nothing of the classes W"):
            load_examples(folder, classes=True, share=0.5)
        with pytest.raises(UsageError, match="share of examples is 0"):
            load_examples(folder, share=0.0)
        write(folder, "two")
        with pytest.raises(DataError, match=r"nobody knows the classes of two\.tif"):
            load_examples(folder, classes=True)


class TestTraining:
    @pytest.fixture(autouse=True)
    def torch(self) -> None:
        for name in ("torch", "safetensors", "onnx"):
            pytest.importorskip(name)

    def learn(self, out: Path, examples: Examples, settings: AtomSettings = TINY, **options: Any) -> Any:
        from picostem.atoms.train import learn_atoms

        fixed: dict[str, Any] = {"name": "made", "device": "cpu", "threads": 1}
        return learn_atoms(settings, PLAN, out, examples=examples, **fixed | options)

    def test_classes_to_a_network(self, folder: Path, tmp_path: Path) -> None:
        from picostem.atoms.predict import AtomNet

        table(folder, classes=["W", "S2", "S1", "S2"] * 20)
        found = load_examples(folder, classes=True)
        card = self.learn(tmp_path / "out", found, replace(TINY, classes=3))
        assert card.classes == ("S1", "S2", "W")
        assert card.figures.keys() == {"examples"}
        assert card.training["examples"] == {"sha256": found.sha256, "share": 1.0}
        heat = AtomNet.load(tmp_path / "out" / "net", 1).look(read_image(folder / "one.tif")).heat
        assert heat.shape[0] == 3
        with pytest.raises(UsageError, match="expected 1 class of atoms or 3"):
            self.learn(tmp_path / "other", found, replace(TINY, classes=6))

    def test_resumes_with_the_same_data_only(self, folder: Path, tmp_path: Path) -> None:
        first = self.learn(tmp_path / "out", load_examples(folder))
        assert self.learn(tmp_path / "out", load_examples(folder)).sha256 == first.sha256
        table(folder, place=PLACE + 0.1)
        with pytest.raises(UsageError, match="examples differ"):
            self.learn(tmp_path / "out", load_examples(folder))

    def test_large_patches(self, folder: Path, tmp_path: Path) -> None:
        found = load_examples(folder, share=1.0)
        assert found.side == 76  # of 81 pixels, one of which binning may take
        with pytest.raises(UsageError, match="holds patches of 76 pixels, not 80"):
            self.learn(tmp_path / "out", found, replace(TINY, side=80))
        self.learn(tmp_path / "out", found, replace(TINY, side=76))

    def test_patches_of_both_whoever_draws_them(self, folder: Path) -> None:
        """The mean picture around atoms is a peak, in patches of examples as of scenes."""
        from picostem.atoms.train import drawing

        found = load_examples(folder, share=0.5)
        with drawing(TINY, PLAN, 0, found) as alone, drawing(TINY, PLAN, 1, found) as together:
            patches = alone(np.random.default_rng(3), 40)
            again = together(np.random.default_rng(3), 40)
        assert all(np.array_equal(one.data, other.data) for one, other in zip(patches, again, strict=True))
        own = replace(found, share=1.0)
        with drawing(TINY, PLAN, 0, own) as draw:
            patches = draw(np.random.default_rng(4), 40)
        middle = [
            patch.data[row - 4 : row + 5, col - 4 : col + 5]
            for patch in patches
            for row, col in np.rint(patch.place).astype(int)
            if 4 <= row < 28 and 4 <= col < 28
        ]
        peak = np.mean(middle, axis=0)
        assert len(middle) > 50 and np.unravel_index(peak.argmax(), peak.shape) == (4, 4)
