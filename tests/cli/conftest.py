"""A small simulated image, its result computed once, and the command line run inside this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picostem.cli import run
from picostem.pipeline import resolve
from picostem.resolve.result import Result
from picostem.simulate import AcquisitionSettings, Microscope, simulate_stack, write_simulation
from picostem.structure import Stack, load_monolayer

OPTICS = ("--voltage", "300", "--semiangle", "21.3", "--detector", "39", "200")
RES2 = ("--material", "ReS2", *OPTICS)
FILES = ("figure.png", "map.parquet", "report.html", "result.json", "simulated.tif", "stack.cif", "stack.xyz")


@dataclass(frozen=True)
class Ended:
    """How a run of the command line ended."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line on standard error that a failure leaves."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("picostem: "), self.err
        assert "Traceback" not in self.err
        assert "unforeseen" not in self.err
        return lines[0]


Run = Callable[..., Ended]


@pytest.fixture
def picostem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in an empty current folder."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def picostem(*arguments: str | Path) -> Ended:
        code = run([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Ended(code, captured.out, captured.err)

    return picostem


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Image file and truth of a bilayer of ReS2, 256 × 256 pixels."""
    microscope = Microscope.from_lab_units(
        voltage_kV=300, semiangle_mrad=21.3, detector_mrad=(39, 200), defocus_A=6, C12_A=5, source_fwhm_A=0.6
    )
    stack = Stack.bilayer(load_monolayer("ReS2"), (1.2, 1.9))
    rng = np.random.default_rng(4)
    image, truth = simulate_stack(
        stack, microscope, AcquisitionSettings(), (256, 256), 0.12, rng, rotation=0.7, name="bilayer"
    )
    tif, text = write_simulation(tmp_path_factory.mktemp("images"), "bilayer", image, truth)
    return tif, json.loads(text.read_text("utf-8"))


@pytest.fixture(scope="session")
def image_file(simulated: tuple[Path, dict[str, Any]]) -> Path:
    """The image alone."""
    return simulated[0]


@pytest.fixture(scope="session")
def result(image_file: Path) -> Result:
    """What `resolve` finds in it."""
    return resolve(image_file, "ReS2", voltage_kV=300, semiangle_mrad=21.3, detector_mrad=(39, 200))


@pytest.fixture
def instant(monkeypatch: pytest.MonkeyPatch, result: Result) -> None:
    """Every image has this result, at once: for tests of what comes after."""
    monkeypatch.setattr("picostem.pipeline.resolve_with", lambda image, settings, progress=None: result)
