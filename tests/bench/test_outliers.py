"""`picostem bench outliers`, with a stand-in for the network that trusts what stands out of the noise."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from picostem.bench import outliers
from picostem.bench.outliers import GOOD, NOISE, Kind, OutliersReport, measure
from picostem.cli import run
from picostem.errors import DataError
from picostem.infer.predict import StackingNet
from picostem.resolve.result import Result
from picostem.simulate import AcquisitionSettings, Microscope, simulate_stack, write_simulation
from picostem.structure import Stack, load_monolayer
from picostem.structure.lattice import reflections
from tests.bench.made import interface, layer, result, slip_map

RES2, MOS2 = load_monolayer("ReS2"), load_monolayer("MoS2")
STACKS = {
    "bilayer": Stack.bilayer(RES2, (-0.9, 2.0)),
    "one": Stack.of([RES2]),
    "other": Stack.bilayer(MOS2, (0.5, 0.9)),
}
HK = reflections(np.linalg.inv(RES2.cell).T, 0.5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Linear images without noise, mirrored and turned."""
    where = tmp_path_factory.mktemp("clean")
    microscope = Microscope.from_lab_units(
        voltage_kV=300, semiangle_mrad=21.3, detector_mrad=(39, 200), source_fwhm_A=0.6
    )
    for name, stack in STACKS.items():
        settings, rng = AcquisitionSettings(dose=np.inf), np.random.default_rng(0)
        frame: dict[str, Any] = {"rotation": 0.7, "mirrored": True, "origin": (1.0, 2.0)}
        image, truth = simulate_stack(stack, microscope, settings, (320, 320), 0.125, rng, **frame)
        write_simulation(where, name, image, truth)
    return where


class StandIn:
    """A network for bilayers of ReS2 that keeps what it is shown."""

    def __init__(self) -> None:
        self.card = SimpleNamespace(material="ReS2", layers=2, cell=RES2.cell.tolist(), limits=None)
        self.invariants = SimpleNamespace(hk=HK)
        self.shown: list[tuple[np.ndarray, ...]] = []

    def predict(
        self, amplitudes: np.ndarray, noise: np.ndarray, factors: np.ndarray, conditions: np.ndarray
    ) -> SimpleNamespace:
        self.shown.append((amplitudes, noise, factors, conditions))
        return SimpleNamespace(trusted=np.mean(np.abs(amplitudes) ** 2, axis=1) > 4 * noise**2)


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Loaded whatever is asked for; `resolve` finds a slip in each second window of the bilayer, else says little."""
    one = StandIn()

    def answer(case: Any, image: Any, given: Any, **options: Any) -> Result:
        assert (case.material, given.engine, given.net) == ("ReS2", "net", "trained")
        if case.name == "other":
            raise DataError("another material")
        if case.name == "one" or image.data.std() ** 2 < 1.5 * image.data.mean():
            return result("monolayer", (layer("ReS2"),))
        found = slip_map([(0, 0)] * 4, [(0, 0)] * 4, status=np.array(["ok", "untrusted"] * 2))
        return result("slip", (layer("ReS2"),) * 2, (interface(),), maps=(found,))

    monkeypatch.setattr(StackingNet, "load", lambda *_, **__: one)
    monkeypatch.setattr(outliers, "ask", answer)
    return one


def test_windows_are_read_at_their_lattice_in_the_right_units(folder: Path, net: StandIn) -> None:
    report = measure(folder, "trained", draws=2)
    good, one, other, noise = (net.shown[2 * i] for i in range(4))
    # 3 x 3 windows a nm apart, the lattice anywhere in them: the moduli are all the same, but for noise
    amplitudes, sigma, factors, conditions = good
    assert amplitudes.shape == (9, len(HK))
    assert conditions[0] == pytest.approx((1.0, 21.3 / 25, 39 / 21.3))
    assert np.abs(amplitudes).std(axis=0).max() < 4 * sigma[0]
    # one layer shows the moduli of its factors, in another unit
    seen, expected = np.abs(one[0]).mean(axis=0), np.abs(factors[0, 0])
    assert np.corrcoef(seen, expected)[0, 1] > 0.99
    *power, of_noise = (np.mean(np.abs(shown[0]) ** 2) / shown[1][0] ** 2 for shown in (good, one, other, noise))
    assert min(power) > 100
    # 9 windows that overlap, 2 x len(HK) numbers each: the mean power of noise is known to 10 % or so
    assert of_noise == pytest.approx(1.0, abs=0.4)
    # another crystal, of a quarter of the cell, shows nothing where an index is odd
    odd = np.any(HK % 2, axis=1)
    assert np.abs(other[0][:, odd]).max() < 0.05 * np.abs(other[0]).max()
    names = [kind.name for kind in report.kinds]
    assert names == [GOOD, "monolayer ReS2", "slip of MoS2", NOISE]


def test_kinds_by_hand(folder: Path, net: StandIn) -> None:
    good, one, other, noise = measure(folder, "trained", draws=2).kinds
    assert good == Kind(GOOD, True, 18, 0.0, 2, {"slip": 2}, 0.5)
    assert one == Kind("monolayer ReS2", False, 18, 0.0, 2, {"monolayer": 2}, 0.0)
    assert other.answers == {"refused": 2}
    assert (noise.doubted, noise.answers, noise.resolved) == (1.0, {"monolayer": 2}, 0.0)


def test_a_folder_without_others(folder: Path, tmp_path: Path, net: StandIn) -> None:
    for path in folder.glob("bilayer.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(DataError, match="found 1 and 0"):
        measure(tmp_path, "trained")


REPORT = OutliersReport(
    (
        Kind(GOOD, True, 18, 0.01, 2, {"slip": 2}, 0.98),
        Kind("monolayer ReS2", False, 18, 0.98, 2, {"monolayer": 1, "refused": 1}, 0.0),
        Kind(NOISE, False, 18, 1.0, 2, {"unresolved": 2}, 0.01),
    )
)


def test_totals_and_tables() -> None:
    totals = REPORT.totals()
    assert totals == pytest.approx(
        {"false_alarms": 0.01, "caught": 0.99, "resolve_false_alarms": 0.02, "resolve_caught": 0.995}
    )
    assert OutliersReport(()).totals()["caught"] is None
    kinds, together = REPORT.tables()
    assert kinds.rows[1] == ("monolayer ReS2", "18", "98.0 %", "2", "1 monolayer, 1 refused", "0 %")
    assert together.rows[1] == ("caught", "99.0 %")


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def measured(*told: Any, draws: int, seed: int, progress: Any) -> OutliersReport:
        asked.append((*told, draws))
        return REPORT

    monkeypatch.setattr(outliers, "measure", measured)
    assert run(["bench", "outliers", str(tmp_path), "--net", "trained", "--draws", "3", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["totals"]["caught"] == pytest.approx(0.99)
    assert asked == [(tmp_path, "trained", 3)]
    assert run(["bench", "outliers", str(tmp_path)]) == 2
    assert "--net" in capsys.readouterr().err
