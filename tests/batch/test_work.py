"""Which files patterns name, and when two works are the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from picostem.batch import work
from picostem.batch.work import Recipe, content_of, find_files, folder_name, identity, stamp_of
from picostem.errors import UsageError
from picostem.resolve.settings import Settings
from tests.batch.made import RECIPE


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images in folders, beside what is none."""
    data = tmp_path / "data"
    names = (
        "b.tif",
        "a/c.dm4",
        "a/deep/d.DM3",
        "notes.txt",
        ".hidden.tif",
        ".trash/e.tif",
        "a/old.picostem/figure.png",
    )
    for name in (*names, "a/old.picostem/result.json", "run/ledger.sqlite", "run/x.tif"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text(name)
    monkeypatch.chdir(tmp_path)
    return data


def named(data: Path, *patterns: str, out: str = "out") -> list[str]:
    return [str(path.relative_to(data)) for path in find_files(patterns, Path(out))]


def test_a_folder_stands_for_the_images_in_it_that_are_no_results(data: Path) -> None:
    (data / "run/x.tif").unlink()
    assert named(data, "data") == ["a/c.dm4", "a/deep/d.DM3", "b.tif"]


def test_globs_take_what_they_match_and_each_file_comes_once(data: Path) -> None:
    assert named(data, "data/**/*.dm4", "data/a/c.dm4", "data/b.*") == ["a/c.dm4", "b.tif"]
    assert named(data, "data/*.txt") == ["notes.txt"]
    (data / "a/drawn.png").touch()
    assert named(data, "data/a/**/*.png") == ["a/drawn.png"]


def test_a_name_with_brackets_is_a_name(data: Path) -> None:
    (data / "[1].tif").touch()
    assert named(data, "data/[1].tif") == ["[1].tif"]


def test_a_zarr_folder_is_an_image(data: Path) -> None:
    (data / "run/x.tif").unlink()
    (data / "f.zspy").mkdir()
    (data / "f.zspy/0.tif").write_text("chunk")
    assert named(data, "data") == ["a/c.dm4", "a/deep/d.DM3", "b.tif", "f.zspy"]
    assert named(data, "data/*.zspy") == ["f.zspy"]


def test_nothing_in_the_folder_of_the_batch_is_an_image(data: Path) -> None:
    assert named(data, "data/**/*.tif", out="data/run") == ["b.tif"]
    assert named(data, "data", out="data/run") == ["a/c.dm4", "a/deep/d.DM3", "b.tif"]


def test_a_pattern_that_names_nothing_is_refused(data: Path) -> None:
    with pytest.raises(UsageError, match=r"no image is called 'data/\*.emd'"):
        named(data, "data", "data/*.emd")


def test_the_recipe_counts_by_its_meaning() -> None:
    text = Recipe(Settings("ReS2", voltage_kV=300)).canonical()
    assert text == Recipe(Settings("ReS2", voltage_kV=300.0)).canonical()
    others = [
        RECIPE,
        Recipe(Settings("ReSe2", voltage_kV=300)),
        Recipe(Settings("ReS2", voltage_kV=300, stride_nm=0.5)),
        Recipe(Settings("ReS2", voltage_kV=300), frame=1),
        Recipe(Settings("ReS2", voltage_kV=300), average=True),
        Recipe(Settings("ReS2", voltage_kV=300, engine="net")),
    ]
    assert len({text, *(other.canonical() for other in others)}) == 7


def test_another_version_is_other_work(monkeypatch: pytest.MonkeyPatch) -> None:
    before = RECIPE.canonical()
    monkeypatch.setattr(work, "VERSION", "99")
    assert RECIPE.canonical() != before


def test_a_structure_file_counts_by_its_atoms(tmp_path: Path) -> None:
    from picostem.report.stacking import cell_model
    from picostem.structure import Stack, load_monolayer, write_structure

    path = tmp_path / "layer.xyz"
    texts = []
    for name in ("ReS2", "WS2"):
        layer = load_monolayer(name)
        write_structure(cell_model(Stack.bilayer(layer, (0.5, 0.2))).atoms, path)
        texts.append(Recipe(Settings(str(path))).canonical())
    assert texts[0] != texts[1]


@pytest.mark.parametrize(("frame", "average"), [(-1, False), (0, True)])
def test_impossible_frames_are_refused(frame: int, average: bool) -> None:
    with pytest.raises(UsageError, match="--frame"):
        replace(RECIPE, frame=frame, average=average)


def test_contents_and_stamps(tmp_path: Path) -> None:
    one, two = tmp_path / "one.tif", tmp_path / "two.tif"
    one.write_text("same")
    two.write_text("same")
    # printf same | sha256sum
    assert content_of(one) == content_of(two) == "0967115f2813a3541eaef77de9d9d5773f1c0c04314b0bbfe4ff3b3b1c55b5d5"
    before = stamp_of(one)
    one.write_text("other")
    assert stamp_of(one) != before
    assert content_of(one) != content_of(two)


def test_data_beside_a_header_counts(tmp_path: Path) -> None:
    header, raw = tmp_path / "scan.rpl", tmp_path / "scan.raw"
    header.write_text("width 64")
    raw.write_text("first")
    before = content_of(header)
    raw.write_text("second")
    assert content_of(header) != before


def test_folders_of_results_have_names_that_any_disk_takes() -> None:
    job = identity("content", "recipe")
    assert folder_name(Path("data/image.dm4"), job) == f"image.{job[:12]}"
    # 255 bytes less the 10 of the folder that it is written in first.
    assert len(folder_name(Path("é" * 120 + ".tif"), job).encode()) < 245
    assert folder_name(Path("a\nb\udcff.tif"), job) == f"a_b_.{job[:12]}"
