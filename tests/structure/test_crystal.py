from __future__ import annotations

import time
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms

from picostem.errors import FileError, StructureError
from picostem.structure import load_monolayer
from picostem.structure.crystal import MAX_ATOMS, MAX_BYTES, read_crystal

CIF = """data_MoS2
_cell_length_a 3.160
_cell_length_b 3.160
_cell_length_c 12.294
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 120
_symmetry_space_group_name_H-M 'P 63/m m c'
_symmetry_Int_Tables_number 194
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Mo1 Mo 0.3333 0.6667 0.25 1.0
S1 S 0.3333 0.6667 0.621(3) 1.0
"""

POSCAR = """MoS2
1.0
3.16 0.0 0.0
-1.58 2.7366 0.0
0.0 0.0 20.0
Mo S
1 2
Direct
0.0 0.0 0.5
0.3333333 0.6666667 0.579295
0.3333333 0.6666667 0.420705
"""

XYZ = """3
Lattice="3.16 0 0 -1.58 2.7366 0 0 0 20"
Mo 0.0 0.0 10.0
S 0.0 1.8244 11.5859
S 0.0 1.8244 8.4141
"""


def written(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mos2.cif", CIF),
        ("MOS2.CIF", CIF),
        ("POSCAR", POSCAR),
        ("CONTCAR_relaxed", POSCAR),
        ("mos2.vasp", POSCAR),
        ("mos2.poscar", POSCAR.replace("Mo S\n", "").replace("MoS2\n", "Mo S\n", 1)),
        ("mos2.xyz", XYZ),
        ("mos2.extxyz", XYZ.replace('20"', '20" Properties=species:S:1:pos:R:3 pbc="T T F"')),
    ],
)
def test_every_format_gives_the_same_layer(tmp_path: Path, name: str, text: str) -> None:
    layer = load_monolayer(written(tmp_path, name, text))
    assert layer.name == "MoS2" and layer.source == f"file {name}"
    # 1e-3 Å: the digits in the files.
    assert layer.cell == pytest.approx(np.array([[3.16, 0], [-1.58, 2.7366]]), abs=1e-3)
    assert sorted(layer.positions[:, 2]) == pytest.approx([-1.5859, 0, 1.5859], abs=1e-3)


def test_a_path_may_be_a_string_and_hold_odd_characters(tmp_path: Path) -> None:
    path = written(tmp_path, "my cell@2*[1].cif", CIF)
    assert load_monolayer(str(path)).name == "MoS2"


def test_a_plane_cell_without_a_third_vector(tmp_path: Path) -> None:
    text = XYZ.replace('0 0 20"', '0 0 0" pbc="T T F"')
    atoms = read_crystal(written(tmp_path, "a.xyz", text))
    assert atoms.cell.array[2] == pytest.approx([0, 0, 3.1718 + 20])
    assert atoms.pbc.tolist() == [True, True, False]


def test_sites_doubled_by_rounded_coordinates_are_merged(tmp_path: Path) -> None:
    # 0.33 and 0.67 instead of thirds: the three-fold axis makes three sites of each, 0.03 Å apart.
    atoms = read_crystal(written(tmp_path, "a.cif", CIF.replace("0.3333 0.6667", "0.33 0.67")))
    assert atoms.get_chemical_formula() == "Mo2S4"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.cif", CIF.replace("0.25 1.0", "0.25 0.5"), r"disordered \(occupancies of 0.5\)"),
        ("a.cif", CIF.replace("0.25 1.0", "0.25 0.93(2)"), r"disordered \(occupancies of 0.93\)"),
        ("a.cif", CIF.replace("site_occupancy", "site_disorder_group"), "disordered .disorder groups"),
        ("a.cif", CIF + "W1 W 0.3333 0.6667 0.25 1.0\n", "Mo and W share a site"),
        ("a.cif", CIF + CIF.replace("data_MoS2", "data_other"), "expected one structure, got 2"),
        ("a.cif", "data_nothing\n_cell_length_a 3.0\n", "expected one structure, got 0"),
        ("a.cif", CIF.replace("0.25 1.0", "0.25"), "malformed.*Wrong number 11 of tokens, expected 6"),
        (
            "a.cif",
            CIF.replace("_cell_length_a 3.160", "_cell_length_a nan"),
            "cell lengths and angles must be positive",
        ),
        (
            "a.cif",
            CIF.replace("_cell_length_a 3.160", "_cell_length_a -3.160"),
            "cell lengths and angles must be positive",
        ),
        ("a.cif", CIF.replace("_cell_length_a 3.160\n", ""), "has no cell"),
        ("a.cif", CIF.replace("Mo1 Mo", "? ?"), "malformed"),
        ("a.cif", CIF.replace("Mo1 Mo", "Xx Xx"), "malformed|unknown element"),
        ("a.cif", "%PDF-1.4 not a crystal", "malformed"),
        ("a.cif", "", "is empty"),
        ("a.xyz", " \n\n", "is empty"),
        ("a.xyz", XYZ.replace('Lattice="3.16 0 0 -1.58 2.7366 0 0 0 20"', "MoS2"), "has no cell: an xyz file needs"),
        ("a.xyz", XYZ.replace("3\n", "4\n", 1), "malformed"),
        ("a.xyz", XYZ + XYZ, "more than one structure"),
        ("a.xyz", XYZ.replace("3\n", "three\n", 1), "expected the number of atoms"),
        ("a.xyz", XYZ.replace("3\n", "999999999999\n", 1), f"between 1 and {MAX_ATOMS} atoms"),
        ("a.xyz", XYZ.replace("3\n", "9" * 5000 + "\n", 1), f"between 1 and {MAX_ATOMS} atoms"),
        ("a.xyz", "0\n\n", f"between 1 and {MAX_ATOMS} atoms"),
        ("a.xyz", XYZ.replace("Mo 0.0", "Mo nan"), "finite"),
        ("a.xyz", XYZ.replace("Mo 0.0", "X 0.0"), "unknown element"),
        ("a.xyz", XYZ.replace("1.8244 11.5859", "0.2 10.2"), "two atoms are only 0.28 Å apart"),
        ("a.xyz", XYZ.replace("0 0 20", "0 0 0.01"), "cell vectors must be"),
        ("a.xyz", XYZ.replace("0 0 20", "0 0 1e9"), "cell vectors must be"),
        ("a.xyz", XYZ.replace("-1.58 2.7366 0", "3.16 0.0001 0"), "cell vectors must be"),
        ("a.xyz", XYZ.replace("-1.58 2.7366 0", "3.16 0 0"), "cell vectors must be"),
        ("POSCAR", POSCAR.replace("1 2\n", "1 2000000000\n"), f"between 1 and {MAX_ATOMS} atoms"),
        ("POSCAR", POSCAR.replace("1 2\n", "1 200\n"), "seems cut off"),
        ("POSCAR", POSCAR.replace("1 2\n", "one two\n"), "numbers of atoms in line 6 or 7"),
        ("POSCAR", POSCAR.replace("Mo S\n", "").replace("MoS2\n", "no symbols\n", 1), "malformed"),
        ("POSCAR", "\n".join(POSCAR.splitlines()[:-2]), "malformed"),
        ("POSCAR", POSCAR.replace("3.16 0.0 0.0", "3.16 zero 0.0"), "malformed"),
    ],
)
def test_bad_files_are_turned_down_with_a_reason(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = written(tmp_path, name, text)
    with pytest.raises(StructureError, match=message) as caught:
        read_crystal(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["a.cif", "a.xyz", "POSCAR"])
def test_random_bytes_are_turned_down(tmp_path: Path, name: str) -> None:
    for seed in range(20):
        path = written(tmp_path, name, np.random.default_rng(seed).bytes(400))
        with pytest.raises(StructureError):
            read_crystal(path)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.cif"
    with path.open("wb") as stream:
        stream.truncate(50 * 10**9)  # sparse: 50 GB that take no room
    start = time.perf_counter()
    with pytest.raises(StructureError, match=rf"larger than {MAX_BYTES / 1e6:g} MB"):
        read_crystal(path)
    # 2 s: reading all of it would take minutes.
    assert time.perf_counter() - start < 2


def test_a_cif_with_too_many_sites_or_operations(tmp_path: Path) -> None:
    sites = "".join(f"S{k} S 0.1 0.2 {k / 1e4} 1.0\n" for k in range(2000))
    with pytest.raises(StructureError, match=f"between 1 and {MAX_ATOMS} atoms"):
        read_crystal(written(tmp_path, "sites.cif", CIF + sites))
    operations = "loop_\n_symmetry_equiv_pos_as_xyz\n" + "'x,y,z'\n" * 1000
    with pytest.raises(StructureError, match="1000 symmetry operations"):
        read_crystal(written(tmp_path, "operations.cif", CIF + operations))


@pytest.mark.parametrize("name", ["a.txt", "a.dump", "poscar_backup.cif.gz", "structure"])
def test_unknown_formats_are_named(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, name, CIF)
    if name.startswith("poscar"):
        with pytest.raises(StructureError):
            read_crystal(path)
    else:
        with pytest.raises(FileError, match="expected a name ending in .cif"):
            read_crystal(path)


def test_an_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    # Not by the file's permissions, which do not hold for an administrator.
    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(FileError, match=r"cannot read .*a.cif: Permission denied"):
        read_crystal(tmp_path / "a.cif")


def test_a_folder_is_no_structure_file(tmp_path: Path) -> None:
    (tmp_path / "a.cif").mkdir()
    with pytest.raises(FileError, match="cannot read|no structure file"):
        read_crystal(tmp_path / "a.cif")


def test_a_three_dimensional_crystal_names_its_file(tmp_path: Path) -> None:
    path = tmp_path / "salt.cif"
    ase.io.write(path, Atoms("NaCl", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[3.3, 3.3, 3.3], pbc=True))
    with pytest.raises(StructureError, match=r"salt.cif: expected a crystal of layers"):
        load_monolayer(path)
