"""`picostem bench speed`: that it measures; what it measures depends on the machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from picostem.bench.peak import peak_memory
from picostem.bench.speed import QUICK, Figure, as_dict, measure, table


@pytest.mark.slow
def test_quick_run_measures_everything() -> None:
    figures = measure(QUICK)
    assert all(np.isfinite(figure.value) and figure.value > 0 for figure in figures)
    names = " ".join(figure.name for figure in figures)
    for part in ("24 windows", "twist map", "noise-free image", "styled image", "--help", "picostem resolve", "mapped"):
        assert part in names


def test_figures_as_table_and_json() -> None:
    figures = [Figure("map", 123.456, "windows/s", "> 15.6", "plain 2/s")]
    assert table(figures).text().splitlines()[-1].split() == ["map", "123", "windows/s", ">", "15.6", "plain", "2/s"]
    assert json.loads(json.dumps(as_dict(figures)))["figures"][0]["value"] == 123.456


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not say")
def test_peak_memory_is_that_of_the_process_itself() -> None:
    program = (
        "from picostem.bench.peak import peak_memory; a = peak_memory(); x = b'1' * 10**8; print(a, peak_memory())"
    )
    ballast = np.ones(5 * 10**7)  # 400 MB in this process, which the other must not report
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    before, after = (int(word) for word in done.stdout.split())
    assert after - before == pytest.approx(1e8, rel=0.05)
    own = peak_memory()
    assert own is not None
    assert before < ballast.nbytes < own
