"""`picostem atoms --stm`: arrays that do not say that a tip scanned them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from picostem.bench.atoms_stm import SURFACES, scanned_surface
from picostem.cli import app


def test_an_array_of_a_scan(tmp_path: Path) -> None:
    made = scanned_surface(SURFACES["square"], 0.3, np.random.default_rng(0))
    np.save(tmp_path / "scan.npy", made.heights)
    found = CliRunner().invoke(
        app, ["atoms", str(tmp_path / "scan.npy"), "--stm", "--pixel-size", "0.35", "--json", str(tmp_path / "a.json")]
    )
    assert found.exit_code == 0, found.output
    result = json.loads((tmp_path / "a.json").read_text())
    there = np.all((made.place > -0.5) & (made.place < 191.5), axis=1).sum()
    assert abs(result["atoms"] - there) < 0.05 * there and result["noise"] is None
    assert "rows, slopes and terraces are levelled" in result["notes"]
