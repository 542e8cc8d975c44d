from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picostem.errors import FileError, StructureError, UnknownMaterialError, UsageError
from picostem.structure import Stack, load_materials, load_monolayer, material_names, write_structure
from tests.strategies.structure import seeded


def names(text: str | Path) -> list[str]:
    return [layer.name for layer in load_materials(text)]


@pytest.fixture
def crystal(tmp_path: Path) -> Path:
    """A structure file of WSe2."""
    path = tmp_path / "some folder" / "bulk.cif"
    path.parent.mkdir()
    monolayer = load_monolayer("WSe2")
    atoms = Stack.bilayer(monolayer, (0, 0)).unit_cell(vacuum=2 * monolayer.layer_spacing)
    atoms.pbc = True
    write_structure(atoms, path)
    return path


@seeded
@given(st.lists(st.sampled_from(material_names()), min_size=1, max_size=4))
def test_names_with_slashes_between_them(chosen: list[str]) -> None:
    assert names("/".join(chosen)) == chosen
    assert names(" / ".join(chosen).lower()) == chosen


def test_one_name_is_one_layer() -> None:
    assert load_materials("ReS2") == (load_monolayer("ReS2"),)


def test_files_and_names_in_any_order(crystal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert names(crystal) == names(str(crystal)) == ["WSe2"]
    for text, expected in (
        (f"{crystal}/MoS2", ["WSe2", "MoS2"]),
        (f"MoS2/{crystal}", ["MoS2", "WSe2"]),
        (f"{crystal}/{crystal}/ReS2", ["WSe2", "WSe2", "ReS2"]),
    ):
        assert names(text) == expected
    monkeypatch.chdir(crystal.parent)
    assert names("bulk.cif/MoS2") == ["WSe2", "MoS2"]
    monkeypatch.chdir(crystal.parent.parent)
    assert names("MoS2/some folder/bulk.cif") == ["MoS2", "WSe2"]


def test_the_whole_text_is_one_file_before_all_else(crystal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = crystal.parent / "MoS2"
    folder.mkdir()
    os.replace(crystal, folder / "ReS2.cif")
    monkeypatch.chdir(crystal.parent)
    assert names("MoS2/ReS2.cif") == ["WSe2"]


@pytest.mark.parametrize(
    ("text", "layer", "unknown", "hint"),
    [
        ("MoS2/WSe3", 2, "WSe3", "did you mean WSe2"),
        ("grafene/hBN", 1, "grafene", "did you mean graphene"),
        ("MoS3/WSe3", 1, "MoS3", "did you mean MoS2"),
        ("MoS2/hBN/xyzzy", 3, "xyzzy", "Expected one of ReS2"),
        ("foo/MoS2", 1, "foo", "Expected one of ReS2"),
    ],
)
def test_the_piece_that_is_unknown_is_named(text: str, layer: int, unknown: str, hint: str) -> None:
    with pytest.raises(UnknownMaterialError, match=f"layer {layer} of '{text}': unknown material '{unknown}': {hint}"):
        load_materials(text)


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("MoS2/b.cif", "layer 2 of .*: no structure file b.cif"),
        ("/nowhere/b.cif/MoS2", "layer 1 of .*: no structure file /nowhere/b.cif"),
        ("/nowhere/MoS2/b.cif", "^no structure file /nowhere/MoS2/b.cif"),
        ("data/mos2.cif", "^no structure file data/mos2.cif"),
        ("folder/crystal", "^no structure file folder/crystal"),
    ],
)
def test_the_file_that_is_missing_is_named(text: str, missing: str) -> None:
    with pytest.raises(FileError, match=missing):
        load_materials(text)


def test_a_file_without_layers_is_named(tmp_path: Path) -> None:
    path = tmp_path / "salt.cif"
    atoms = Stack.bilayer(load_monolayer("graphene"), (0, 0), spacing=1.5).unit_cell(vacuum=1.5)
    atoms.pbc = True
    write_structure(atoms, path)
    with pytest.raises(StructureError, match="layer 2 of .*salt.cif"):
        load_materials(f"MoS2/{path}")


@pytest.mark.parametrize("text", ["MoS2/", "/MoS2", "MoS2//WSe2", "MoS2/ /WSe2"])
def test_nothing_beside_a_slash(text: str) -> None:
    with pytest.raises(UsageError, match="before and after each slash"):
        load_materials(text)


def test_five_layers_are_too_many() -> None:
    with pytest.raises(UsageError, match="up to 4 layers, got 5"):
        load_materials("/".join(itertools.repeat("ReS2", 5)))


@pytest.mark.parametrize("text", ["", "xyzzy"])
def test_one_unknown_name_is_as_for_one_monolayer(text: str) -> None:
    with pytest.raises(UnknownMaterialError, match="^unknown material"):
        load_materials(text)
