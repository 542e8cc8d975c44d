"""`picostem batch` on small simulated images."""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from picostem.simulate import AcquisitionSettings, Microscope, simulate_stack, write_simulation
from picostem.structure import SlipEquivalence, Stack, load_monolayer
from tests.batch.made import contents

OPTIONS = ("-m", "ReS2", "--voltage", "300", "--semiangle", "21.3", "--detector", "39", "200")
SLIPS = {"a": (1.2, 1.9), "b": (0.7, 1.0)}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two bilayers of ReS2, one of them twice, and a file that is cut off."""
    data = tmp_path_factory.mktemp("data")
    microscope = Microscope.from_lab_units(
        voltage_kV=300, semiangle_mrad=21.3, detector_mrad=(39, 200), defocus_A=6, C12_A=5, source_fwhm_A=0.6
    )
    rng = np.random.default_rng(4)
    for name, slip in SLIPS.items():
        stack = Stack.bilayer(load_monolayer("ReS2"), slip)
        made = simulate_stack(stack, microscope, AcquisitionSettings(), (192, 192), 0.12, rng, rotation=0.7, name=name)
        write_simulation(data, name, *made)
    shutil.copy(data / "a.tif", data / "same.tif")
    (data / "cut.tif").write_bytes((data / "b.tif").read_bytes()[:3000])
    return data


def command(data: Path, out: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "picostem", "batch", str(data), *OPTIONS, "--out", str(out), *options]


def run(data: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(data, out, *options), capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A run that was not interrupted, by two workers."""
    out = tmp_path_factory.mktemp("whole")
    return out, run(data, out, "--workers", "2")


def timeless(out: Path) -> dict[str, bytes]:
    """All results but for how long they took."""
    found = contents(out)
    for name, data in found.items():
        if name.endswith("result.json"):
            document = json.loads(data)
            del document["seconds"]
            found[name] = json.dumps(document).encode()
        elif name.endswith("report.html"):
            found[name] = re.sub(rb"<footer>.*</footer>", b"", data)
    return found


def test_every_image_is_resolved_and_the_bad_one_is_named(
    data: Path, whole: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    out, ended = whole
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith(f"picostem: {data}/cut.tif: ")
    lines = ended.stdout.splitlines()
    assert len(lines) == 3
    assert re.fullmatch(r"\[[12] of 3, \d+ s left\] .*; \d+\.\d s", lines[0])
    assert lines[-1] == f"2 done, 1 failed, 1 with the contents of another; {out}/summary.html"
    rows = {Path(row["file"]).stem: row for row in parquet.read_table(out / "summary.parquet").to_pylist()}
    assert sorted(rows) == ["a", "b", "cut", "same"]
    equivalence = SlipEquivalence(load_monolayer("ReS2"))
    for name, slip in SLIPS.items():
        # 0.06 Å: five times the bound of about 0.008 Å of such a field, and some for its one window.
        assert equivalence.distance([rows[name]["slip_x_A"], rows[name]["slip_y_A"]], slip) < 0.06
    assert rows["same"]["folder"] == rows["a"]["folder"]
    assert sorted(p.name for p in (out / rows["a"]["folder"]).iterdir()) == [
        "figure.png",
        "map.parquet",
        "report.html",
        "result.json",
        "simulated.tif",
        "stack.cif",
        "stack.xyz",
    ]


def test_once_more_does_nothing(data: Path, whole: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    out, _ = whole
    before = contents(out)
    ended = run(data, out)
    assert ended.stdout == f"2 done, 1 failed, 3 of them before, 1 with the contents of another; {out}/summary.html\n"
    assert contents(out) == before


@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_runs_end_as_one_that_was_not(
    data: Path, whole: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path, kills: int
) -> None:
    out, rng = tmp_path / "killed", random.Random(kills)
    for _ in range(kills):
        process = subprocess.Popen(
            command(data, out, "--workers", "1"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(rng.uniform(0.3, 4.0))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(0.2)
    assert run(data, out).returncode == 1  # for the file that is cut off
    assert timeless(out) == timeless(whole[0])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("nothing*.dm4", "-m", "ReS2", "--out", "x"), "no image is called 'nothing*.dm4'"),
        (("image.tif", "-m", "ReS3", "--out", "x"), "did you mean ReS2?"),
        (("image.tif", "-m", "ReS2", "--out", "x", "--frame", "-1"), "--frame is -1"),
    ],
)
def test_wrong_requests_write_nothing(arguments: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    (tmp_path / "image.tif").touch()
    process = [sys.executable, "-m", "picostem", "batch", *arguments]
    ended = subprocess.run(process, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert expected in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["image.tif"]
