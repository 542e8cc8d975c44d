"""`picostem bench atoms`: the command on a small linear image whose columns are known, and what it is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from picostem.bench.atoms import Asked, measure, read_places, write_recordings
from picostem.bench.atoms_bound import case_bound
from picostem.bench.atoms_case import AtomCase, load_atom_cases
from picostem.bench.atoms_inspection import measure as inspect
from picostem.bench.atoms_labels import measure as measure_labels
from picostem.bench.atoms_positions import precision, speed
from picostem.cli import run
from picostem.errors import FileError
from picostem.image import Image
from picostem.simulate import AcquisitionSettings, Microscope, simulate_atoms, write_simulation
from picostem.simulate.conditions import acquisition_truth, microscope_truth
from picostem.structure import load_monolayer

PIXEL, SIDE, DOSE = 0.15, 160, 1.5e5
MICROSCOPE = Microscope.from_lab_units(
    voltage_kV=60, semiangle_mrad=31.5, detector_mrad=(49.5, 150), defocus_A=8, C12_A=3, source_fwhm_A=0.6
)
SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """WS2 with one column of S2 empty, one S1 and one Mo, all near the middle; and a file that is no case."""
    where, layer = tmp_path_factory.mktemp("clean"), load_monolayer("WS2")
    steps = np.stack(np.meshgrid(*[np.arange(-12, 13)] * 2), axis=-1).reshape(-1, 2) @ layer.cell
    metal, sulphur = (steps + layer.positions[layer.symbols.index(name), :2] for name in ("W", "S"))
    place = np.concatenate([metal, sulphur])
    site = np.array(["W"] * len(metal) + ["S2"] * len(sulphur), dtype="U2")
    species, far = site.copy(), np.linalg.norm(place, axis=1)
    near = [np.flatnonzero(site == name)[np.argsort(far[site == name])] for name in ("W", "S2")]
    species[near[0][0]], species[near[1][3]], species[near[1][8]] = "Mo", "S", ""
    parts = {"W": [("W", 0.0)], "Mo": [("Mo", 0.0)], "S2": [("S", -1.5), ("S", 1.5)], "S": [("S", 1.5)], "": []}
    flat = [(s, (*xy, z)) for name, xy in zip(species, place, strict=True) for s, z in parts[name]]
    atoms = Atoms([s for s, _ in flat], positions=[xyz for _, xyz in flat])
    image = Image(simulate_atoms(atoms, MICROSCOPE, (SIDE, SIDE), PIXEL)).with_pixel_size(PIXEL, "user")
    half = SIDE * PIXEL / 2 + 2
    inside = np.all(np.abs(place) < half, axis=1)
    middle = (SIDE - 1) / 2
    acquisition = acquisition_truth(AcquisitionSettings(dose=math.inf), image) | {"full_dose_e_per_A2": DOSE}
    truth = {
        "task": "atoms",
        "image": {},
        "crystal": "WS2",
        "columns": {
            "row": (middle - place[inside, 1] / PIXEL).tolist(),
            "col": (middle + place[inside, 0] / PIXEL).tolist(),
            "species": species[inside].tolist(),
            "site": site[inside].tolist(),
        },
        "microscope": microscope_truth(MICROSCOPE),
        "acquisition": acquisition,
    }
    write_simulation(where, "WS2", image, truth)
    (where / "other.json").write_text('{"task": "slip"}')
    return where


@pytest.fixture(scope="module")
def case(folder: Path) -> AtomCase:
    (found,) = load_atom_cases(folder)
    return found


class TestCase:
    def test_what_is_read(self, case: AtomCase) -> None:
        assert (case.name, case.crystal, case.dose) == ("WS2", "WS2", DOSE)
        assert case.microscope == MICROSCOPE
        assert case.spacing * PIXEL == pytest.approx(3.15 / 3**0.5, rel=0.02)  # W to S of a lattice of 3.15 Å
        assert case.reach * PIXEL == pytest.approx(0.7)
        names, counts = np.unique(case.truth_class, return_counts=True)
        assert dict(zip(names.tolist(), counts.tolist(), strict=True)) | {"W": 0, "S2": 0} == {
            "W": 0,
            "S2": 0,
            "S1": 1,
            "no S2": 1,
            "W, other": 1,
        }

    def test_recordings_are_counts_and_their_own(self, case: AtomCase) -> None:
        one, again, other = (case.recorded(share, 3).data for share in (1.0, 1.0, 0.1))
        assert np.array_equal(one, again) and np.array_equal(one, np.rint(one))
        expected = case.clean.data.sum(dtype=np.float64) * DOSE * PIXEL**2
        assert one.sum(dtype=np.float64) == pytest.approx(expected, abs=5 * expected**0.5)
        assert other.sum(dtype=np.float64) == pytest.approx(expected / 10, abs=5 * (expected / 10) ** 0.5)

    def test_its_bound_knows_the_image(self, case: AtomCase) -> None:
        """Linear images are what the bound takes them to be, but for interference and tails beyond its profiles."""
        bound, residual = case_bound(case)
        assert residual < 0.03
        inner = case.inside(4.0)
        counts = [np.median(bound.counts[inner & (case.species == name)]) for name in ("S", "S2", "Mo", "W")]
        assert counts == sorted(counts)
        assert np.isnan(bound.covariance[case.species == ""]).all()


class TestMeasure:
    def test_atoms_of_a_linear_image(self, folder: Path) -> None:
        report = measure(folder, Asked(doses=(1.0,)))
        (image,) = report.as_dict()["images"]
        assert image["f1"] > 0.98 and image["sure_share"] == 1
        assert 0.85 < image["rms_over_bound"] < 1.5
        (classes,) = report.as_dict()["species"]
        assert classes["f1"]["W"] > 0.97 and classes["f1"]["S2"] > 0.95 and classes["f1"]["no S2"] == 1

    def test_places_of_others(self, folder: Path, tmp_path: Path) -> None:
        """Starts are scored as if a program had found them: their errors are START, and none is missed."""
        write_recordings(folder, tmp_path, (1.0, 0.1))
        assert {path.name for path in tmp_path.glob("*.tif")} == {"WS2_1.tif", "WS2_10.tif"}
        image = measure(folder, Asked(places=tmp_path, doses=(0.1,))).as_dict()["images"][0]
        assert (image["f1"], image["missed"], image["inside_95"]) == (1, 0, None)
        assert image["rms_A"] == pytest.approx(0.15, rel=0.1)  # 500 coordinates: 3 % is a deviation

    def test_places_that_are_not_there(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(FileError, match="WS2_1.csv"):
            measure(folder, Asked(places=tmp_path))
        (tmp_path / "bad.csv").write_text("row,col\n1,2\n")
        with pytest.raises(FileError, match="# SECONDS"):
            read_places(tmp_path / "bad.csv")

    def test_no_cases(self, tmp_path: Path) -> None:
        with pytest.raises(FileError, match="atoms_set"):
            load_atom_cases(tmp_path)


class TestPositions:
    @pytest.mark.parametrize("arrangement", ["apart", "dense"])
    def test_at_the_bound(self, arrangement: str) -> None:
        found = precision(arrangement, 12, 500, np.random.default_rng(1))
        # sigma over the root of the counts, and more: for the background, and for neighbours 3.5 sigma away
        assert 2 / 500**0.5 < found.bound < 1.7 * 2 / 500**0.5
        assert 0.87 < found.over_bound < 1.2  # 288 coordinates: 4 % is a deviation
        assert 0.90 < found.inside_95 < 0.99

    def test_speed_counts_all_atoms(self) -> None:
        times = speed(side=200).as_dict()["times"]
        assert [one["what"] for one in times] == ["detection, maxima", "refinement", "all: find_atoms"]
        assert all(abs(one["atoms"] - 16 * 16) <= 3 for one in times)  # a peak or two is split at times
        assert all(one["seconds"] > 0 for one in times)


class TestLabels:
    def test_nothing_labelled(self, tmp_path: Path) -> None:
        with pytest.raises(FileError, match="found none"):
            measure_labels(tmp_path)

    def test_a_micrograph_of_our_own(self, tmp_path: Path, case: AtomCase) -> None:
        """Labels are x and y."""
        write_simulation(tmp_path / "single_atoms", "007_x", case.recorded(1.0, 0), {"image": {}})
        inside = case.place[case.inside(1.5) & (case.species != "")]
        lines = [f"{k},{col:.1f},{row:.1f}" for k, (row, col) in enumerate(inside.tolist())]
        (tmp_path / "single_atoms" / "007_Results.csv").write_text("\n".join([" ,X,Y", *lines]))
        one, whole = measure_labels(tmp_path).as_dict()["micrographs"]
        assert (one["name"], whole["name"]) == ("007", "all of single_atoms")
        assert one["labelled"] == len(inside) and one["both"] > 0.98 * len(inside)


class TestCommand:
    def test_writes_what_it_prints(self, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        starts, out = tmp_path / "starts", tmp_path / "out.json"
        assert run(["bench", "atoms", str(folder), "--write", str(starts), "--dose", "0.5"]) == 0
        options = ["--places", str(starts), "--dose", "0.5", "--json", str(out), "--markdown"]
        assert run(["bench", "atoms", str(folder), *options]) == 0
        assert "| WS2 | 75000 |" in capsys.readouterr().out
        assert json.loads(out.read_text())["images"]["images"][0]["image"] == "WS2"

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ([], "nothing to do"),
            (["--write", "x"], "nothing to do"),
            (["--case", "cats"], "expected one of positions"),
            (["--case", "speed", "--dose", "2"], "at most 1"),
        ],
    )
    def test_refusals(self, options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["bench", "atoms", *options]) == 2
        assert said in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "monolayers" / "WSe2_Ti").is_dir(), reason="no micrographs here")
def test_labelled_micrographs() -> None:
    """Of the sites that were labelled in WSe2 with Ti, nearly all are found, and few others."""
    found = {one["name"]: one for one in measure_labels(SHARED).as_dict()["micrographs"]}["1028_Ti2"]
    assert found["both"] / found["labelled"] > 0.97
    assert found["both"] / found["found"] > 0.9


class TestInspection:
    def test_blobs_of_a_crystal(self, folder: Path) -> None:
        """Of one defect of each kind no class can be made; what is common is told apart."""
        found = inspect(folder, (1.0,), 0, lambda name, done, total: None)
        calls = found.said[1.0]
        assert calls.f1("W") > 0.98 and calls.f1("S2") > 0.98
        (row,) = found.as_dict()["doses"]
        assert row["detections"] == pytest.approx(len(found.found[1.0].true)) and row["detections_ece"] < 0.05
        assert [len(table.rows) for table in found.tables()] == [1, 1]

    def test_needs_images(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["bench", "atoms", "--case", "inspection"]) == 2
        assert "needs a FOLDER" in capsys.readouterr().err
