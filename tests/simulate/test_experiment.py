"""From a stack to files with truth: the truth against independent sources, the files by reading them back."""

from __future__ import annotations

import importlib.util
import json
import os
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tifffile
from ase import Atoms

from picostem.errors import OutputError, UsageError
from picostem.files import read_image
from picostem.image import Image
from picostem.physics import DEGREE
from picostem.simulate import AcquisitionSettings, Microscope, simulate_periodic, simulate_stack, write_simulation
from picostem.simulate.truth import Placement, describe
from picostem.structure import Layer, Monolayer, Stack, load_monolayer

BENCH = Path(__file__).parents[3] / "shared" / "bench"
needs_bench = pytest.mark.skipif(not BENCH.is_dir(), reason="the multislice bench is not here")

MICROSCOPE = Microscope.from_lab_units(
    voltage_kV=300, semiangle_mrad=21.3, detector_mrad=(39, 97), defocus_A=-12, C12_A=8, source_fwhm_A=0.6
)
DRIFTED = AcquisitionSettings(
    dose=2e4,
    read_noise=0.2,
    gain=13.0,
    offset=5000.0,
    jitter=0.02,
    line_offset=0.02,
    drift=((1.002, -0.003), (0.001, 0.997)),
)
RES2, MOS2 = load_monolayer("ReS2"), load_monolayer("MoS2")
STACKS = {
    "slip": Stack.bilayer(RES2, (1.4, -2.8)),
    "twist": Stack.bilayer(MOS2, (0.7, 0.3), twist=14.1 * DEGREE),
    "trilayer": Stack.of([RES2] * 3, [(1.0, 0.4), (-0.8, 2.0)]),
    "negative": Stack.of([RES2]),
    "stack": Stack.of([RES2] * 4, [(1.0, 0.4)] * 3),
}


def simulated(stack: Stack, seed: int = 0, **options: Any) -> tuple[Image, dict[str, Any]]:
    settings = options.pop("settings", DRIFTED)
    return simulate_stack(
        stack,
        MICROSCOPE,
        settings,
        (64, 72),
        0.15,
        np.random.default_rng(seed),
        rotation=0.7,
        mirrored=True,
        origin=(1.0, -2.0),
        **options,
    )


def rebuilt(truth: dict[str, Any]) -> tuple[Stack, Microscope, AcquisitionSettings, Placement]:
    """What a truth says, as the objects that make one."""
    m, first, acquisition = truth["microscope"], truth["layer1"], truth["acquisition"]
    layers = tuple(
        Layer(load_monolayer(e["structure"]), tuple(e["position_cart_A"]), e["twist_deg"] * DEGREE, e["z_A"])
        for e in truth["layers"]
    )
    microscope = Microscope.from_lab_units(
        voltage_kV=m["kV"],
        semiangle_mrad=m["semiangle_mrad"],
        detector_mrad=tuple(m["detector_mrad"]),
        defocus_A=m["defocus_A"],
        C12_A=m["aberrations"]["C12_A"],
        phi12_deg=m["aberrations"]["phi12_deg_image"],
        C21_A=m["aberrations"]["C21_A"],
        phi21_deg=m["aberrations"]["phi21_deg_image"],
        source_fwhm_A=m["source_fwhm_A"],
    )
    settings = AcquisitionSettings(
        dose=acquisition["dose_e_per_A2"],
        read_noise=acquisition["read_noise_counts"],
        gain=acquisition["gain"],
        offset=acquisition["offset"],
        drift=tuple(tuple(row) for row in acquisition["drift_matrix_specimen_from_scan"]),  # type: ignore[arg-type]
    )
    placement = Placement(first["rotation_deg"] * DEGREE, first["mirrored"], tuple(first["origin_image_A"]))
    return Stack(layers), microscope, settings, placement


@pytest.mark.parametrize("task", STACKS)
def test_image_and_truth_belong_together(task: str) -> None:
    image, truth = simulated(STACKS[task])
    assert truth["task"] == task
    assert json.loads(json.dumps(truth)) == truth
    assert image.data.shape == tuple(truth["image"]["shape_rows_cols"])
    assert image.pixel_size == (0.15, 0.15)
    assert image.acquisition.voltage_eV == 300e3
    assert image.acquisition.semiangle == pytest.approx(0.0213)
    counts = truth["acquisition"]["mean_detected_counts_per_pixel"]
    expected = truth["acquisition"]["mean_detected_fraction"] * truth["acquisition"]["electrons_per_pixel"]
    # Counting error of the mean, and a field that is a little larger than the image's.
    assert counts == pytest.approx(expected, rel=0.05)


def test_truth_can_be_rebuilt_from_itself() -> None:
    for stack in STACKS.values():
        image, truth = simulated(stack)
        parts = rebuilt(truth)
        again = describe(parts[0], parts[1], parts[2], image, parts[3])
        for key in ("layers", "layer1", "slip", "trilayer", "twist_deg", "structures", "microscope"):
            assert _close(again.get(key), truth.get(key)), key


def _close(a: Any, b: Any) -> bool:
    """Equal structures, numbers to 1e-9 (degrees to radians and back)."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_close(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(_close(x, y) for x, y in zip(a, b, strict=True))
    return a == pytest.approx(b, abs=1e-9) if isinstance(a, float) else bool(a == b)


@needs_bench
@pytest.mark.parametrize("name", ["dev_S1_00", "dev_S5_00", "dev_T1_00", "dev_T1_02", "dev_L3_00", "dev_M0_00"])
def test_truth_is_what_another_simulator_wrote(name: str) -> None:
    theirs = json.loads((BENCH / f"{name}.json").read_text())
    shape, pixel_size = theirs["image"]["shape_rows_cols"], theirs["image"]["pixel_size_A"]
    image = Image(np.zeros(shape, np.float32), name=name).with_pixel_size(pixel_size, "user")
    stack, microscope, settings, placement = rebuilt(theirs)
    ours = describe(stack, microscope, settings, image, placement)
    assert ours["task"] == theirs["task"]
    compared = 0
    for key in ("layer1", "layer2", "slip", "twist_deg", "twist_seen_in_image_deg", "trilayer", "negative"):
        if key in theirs:
            _compare(ours[key], theirs[key])
            compared += 1
    assert compared >= 2
    _compare(ours["layers"][-1], {k: v for k, v in theirs["layers"][-1].items() if k in ours["layers"][-1]})


def _compare(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, dict):
        for key in theirs:
            _compare(ours[key], theirs[key])
    elif isinstance(theirs, str | bool):
        assert ours == theirs
    else:
        np.testing.assert_allclose(ours, theirs, atol=1e-6)  # cells are stored to 1e-5 Å and rebuilt from angles


@needs_bench
@pytest.mark.parametrize("task", ["slip", "twist", "trilayer", "negative"])
def test_the_bench_scores_the_truth_as_perfect_and_a_wrong_answer_as_wrong(task: str) -> None:
    score = _score_module()
    truth = simulated(STACKS[task])[1]
    right, wrong = _answers(truth, 0.0), _answers(truth, 0.05)
    figures = {k: v for k, v in score.score(truth, right).items() if k.endswith(("_A", "_deg"))}
    assert all(v == pytest.approx(0, abs=1e-6) for v in figures.values())
    if task == "negative":
        assert score.score(truth, {"reject": True})["correct_reject"]
    else:
        key = {"slip": "slip_error_A", "twist": "twist_error_deg", "trilayer": "trilayer_rms_A"}[task]
        assert score.score(truth, wrong)[key] > 0.02
        assert key in figures


def _answers(truth: dict[str, Any], error: float) -> dict[str, Any]:
    if truth["task"] == "slip":
        return {"slip_cart": (np.array(truth["slip"]["D_cart_A"]) + error).tolist()}
    if truth["task"] == "twist":
        return {"twist_deg": truth["twist_deg"] + error}
    if truth["task"] == "trilayer":
        return {
            "D12_cart": (np.array(truth["trilayer"]["D12_cart_A"]) + error).tolist(),
            "D23_cart": truth["trilayer"]["D23_cart_A"],
        }
    return {"reject": True}


def _score_module() -> ModuleType:
    specification = importlib.util.spec_from_file_location("score", BENCH / "score.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@needs_bench
@pytest.mark.parametrize("name", ["dev_S1_00", "dev_S5_00", "dev_T1_01", "dev_L3_00", "dev_M0_00"])
def test_fast_image_is_the_multislice_image_but_for_noise(name: str) -> None:
    """Frames, drift, aberrations and the absolute signal, against another simulator's image of the same stack."""
    theirs = json.loads((BENCH / f"{name}.json").read_text())
    recorded = tifffile.imread(BENCH / f"{name}.tif").astype(np.float64)
    acquisition, pixel_size = theirs["acquisition"], theirs["image"]["pixel_size_A"]
    stack, microscope, settings, placement = rebuilt(theirs)
    counts = (recorded - acquisition["offset"]) / acquisition["gain"]

    def likelihood(mirrored: bool) -> tuple[float, float]:
        """Correlation of image and model, and what noise alone would leave of it."""
        clean = simulate_periodic(
            stack,
            microscope,
            _undrifted(recorded.shape),
            pixel_size,
            rotation=placement.rotation,
            mirrored=mirrored,
            origin=placement.origin,
        )
        model = _drifted(clean, recorded.shape, settings) * acquisition["electrons_per_pixel"]
        assert model.mean() == pytest.approx(counts.mean(), rel=0.1)  # its coarser grid: up to 9 % in the signal
        model *= np.vdot(counts, model) / np.vdot(model, model)
        noise = model.mean() + acquisition["read_noise_counts"] ** 2
        expected = np.sqrt(model.var() / (model.var() + noise))
        return float(np.corrcoef(counts.ravel(), model.ravel())[0, 1]), float(expected)

    got, expected = likelihood(placement.mirrored)
    # Two parts of difference add: sqrt(1 - 0.01) from the linear model's 10 % residual at 60 to 80 kV, at worst.
    assert got > 0.99 * expected
    assert got > likelihood(not placement.mirrored)[0] + 0.1


def _undrifted(shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[0] + 12, shape[1] + 12


def _drifted(clean: Any, shape: tuple[int, ...], settings: AcquisitionSettings) -> Any:
    from scipy import ndimage

    y, x = np.mgrid[: shape[0], : shape[1]]
    p = np.stack([x - (shape[1] - 1) / 2, (shape[0] - 1) / 2 - y])
    q = np.einsum("ij,jrc->irc", np.array(settings.drift), p)
    return ndimage.map_coordinates(
        clean, [(clean.shape[0] - 1) / 2 - q[1], (clean.shape[1] - 1) / 2 + q[0]], order=5, mode="nearest"
    )


def test_streams_are_independent_of_each_other() -> None:
    # Removing nothing still takes the path of finite atoms; jitter must be the same draw as on the periodic path.
    # Counts are not compared: one that rounding changes may take another number of draws, and shift all that follow.
    shaken = replace(DRIFTED, dose=np.inf, read_noise=0.0, gain=1.0, offset=0.0, jitter=0.2)
    perfect, _ = simulated(STACKS["slip"], settings=shaken)
    untouched, truth = simulated(STACKS["slip"], settings=shaken, damage=lambda atoms, rng: atoms)
    other, _ = simulated(STACKS["slip"], seed=1, settings=shaken)
    np.testing.assert_allclose(untouched.data, perfect.data, atol=1e-3 * perfect.data.max())
    assert np.abs(other.data - perfect.data).max() > 0.05 * perfect.data.max()
    assert truth["layers"][0]["vacancy_fraction_actual_in_image"] == {"metal": 0.0, "chalcogen": 0.0}


def test_damage_is_made_counted_and_seen() -> None:
    def lose_upper_sulfur(atoms: Atoms, rng: np.random.Generator) -> Atoms:
        hit = (atoms.numbers == 16) & (atoms.arrays["layer"] == 2) & (rng.random(len(atoms)) < 0.5)
        kept: Atoms = atoms[~hit]
        return kept

    perfect, _ = simulated(STACKS["slip"])
    damaged, truth = simulated(STACKS["slip"], damage=lose_upper_sulfur)
    lower, upper = (layer["vacancy_fraction_actual_in_image"] for layer in truth["layers"])
    assert lower == {"metal": 0.0, "chalcogen": 0.0}
    assert upper["metal"] == 0
    assert upper["chalcogen"] == pytest.approx(0.5, abs=0.25)  # some 25 sulfurs: 2.5 sigma
    assert damaged.data.mean() < perfect.data.mean()


def test_undistorted_recording_keeps_the_shape() -> None:
    image, truth = simulated(STACKS["slip"], settings=AcquisitionSettings(dose=1e4))
    assert image.data.shape == (64, 72)
    assert truth["acquisition"]["drift_matrix_specimen_from_scan"] == [[1, 0], [0, 1]]


def test_unknown_engine_is_refused() -> None:
    with pytest.raises(UsageError, match="'prism'"):
        simulated(STACKS["slip"], engine="prism")


class TestWriting:
    def test_image_is_read_back_with_its_calibration(self, tmp_path: Path) -> None:
        image, truth = simulated(STACKS["slip"])
        tif, text = write_simulation(tmp_path / "new" / "folder", "one", image, truth)
        back = read_image(tif)
        np.testing.assert_array_equal(back.data, image.data)
        assert back.pixel_size == pytest.approx(image.pixel_size, rel=1e-6)  # a ratio of 32-bit integers
        assert back.pixel_size_source == "file"
        written = json.loads(text.read_text("utf-8"))
        assert written["image"]["file"] == "one.tif"
        assert {**written, "image": {**written["image"], "file": None}} == {
            **truth,
            "image": {**truth["image"], "file": None},
        }
        assert sorted(p.name for p in tif.parent.iterdir()) == ["one.json", "one.tif"]

    def test_unequal_pixel_sizes_keep_their_axes(self, tmp_path: Path) -> None:
        image, truth = simulated(STACKS["slip"])
        tif, _ = write_simulation(tmp_path, "oblong", image.with_pixel_size((0.15, 0.1), "user"), truth)
        assert read_image(tif).pixel_size == pytest.approx((0.15, 0.1), rel=1e-6)  # as above

    def test_failing_leaves_nothing_behind(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        image, truth = simulated(STACKS["slip"])

        def full(*paths: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "replace", full)
        with pytest.raises(OutputError, match="No space left"):
            write_simulation(tmp_path, "one", image, truth)
        assert not list(tmp_path.iterdir())

    def test_a_file_in_the_way_is_reported(self, tmp_path: Path) -> None:
        image, truth = simulated(STACKS["slip"])
        (tmp_path / "taken").write_text("a file")
        with pytest.raises(OutputError, match="taken"):
            write_simulation(tmp_path / "taken", "one", image, truth)

    def test_an_uncalibrated_image_is_refused(self, tmp_path: Path) -> None:
        _, truth = simulated(STACKS["slip"])
        with pytest.raises(OutputError, match="with_pixel_size"):
            write_simulation(tmp_path, "one", Image(np.zeros((4, 4), np.float32)), truth)


def test_structure_of_the_truth_is_the_monolayer() -> None:
    _, truth = simulated(STACKS["twist"])
    entry = truth["structures"]["MoS2"]
    assert (entry["a"], entry["b"], entry["gamma"]) == pytest.approx((3.16, 3.16, 120.0), abs=0.03)  # published cells
    assert [atom[0] for atom in entry["atoms"]] == list(MOS2.symbols)
    cell = np.array(
        [
            [entry["a"], 0],
            [entry["b"] * np.cos(np.radians(entry["gamma"])), entry["b"] * np.sin(np.radians(entry["gamma"]))],
        ]
    )
    positions = np.array([atom[1:3] for atom in entry["atoms"]]) @ cell
    np.testing.assert_allclose(positions, MOS2.positions[:, :2], atol=1e-9)  # rounding


def test_heterobilayer_with_two_lattices_is_a_twist_task() -> None:
    other: Monolayer = load_monolayer("WSe2")
    assert simulated(Stack.bilayer(MOS2, (0, 0), upper=other))[1]["task"] == "twist"
    assert simulated(Stack.bilayer(MOS2, (0.3, 0), twist=60 * DEGREE))[1]["task"] == "slip"
