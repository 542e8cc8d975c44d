"""`picostem resolve --average`: a movie in, one result out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picostem.files import read_image
from picostem.structure import SlipEquivalence, load_monolayer
from tests.cli.conftest import RES2, Run


@pytest.fixture
def movie(picostem: Run, simulated: tuple[Path, dict[str, Any]]) -> Path:
    """Six frames that move by two pixels down and one to the right each, the third of them blank; in the folder."""
    data = read_image(simulated[0]).data
    frames = np.stack([data[20 - 2 * i : 240 - 2 * i, 10 - i : 230 - i] for i in range(6)])
    frames[2] = np.random.default_rng(1).poisson(1.5, frames[2].shape)
    np.save("movie.npy", frames)
    return Path("movie.npy")


def test_the_mean_is_resolved(picostem: Run, movie: Path, simulated: tuple[Path, dict[str, Any]]) -> None:
    ended = picostem("resolve", movie, *RES2, "--pixel-size", "0.12", "--average", "--json", "-")
    assert ended.code == 0
    found = json.loads(ended.out)
    error = SlipEquivalence(load_monolayer("ReS2")).distance(
        found["interfaces"][0]["slip_cart_A"], simulated[1]["slip"]["D_cart_A"]
    )
    # 0.04 Å: five times the bound of 0.006 Å for this dose and two thirds of the field of the image itself
    assert error < 0.04
    assert found["image"]["name"] == "movie mean of 5 frames"
    assert found["image"]["shape"] == [210, 215]  # 10 and 5 pixels of the border are not in all frames
    note = next(line for line in ended.err.splitlines() if "note: " in line)
    assert "the mean of 5 of 6 frames" in note
    # 0.12 Å a pixel
    assert "0.60 Å to the right and -1.20 Å up, at most 1.34 Å; 1 frame unlike the others dropped (2)" in note


@pytest.mark.parametrize(
    ("name", "options", "code", "expected"),
    [
        ("movie.npy", ("--average", "--frame", "1"), 2, "--frame chooses one frame and --average takes all"),
        ("movie.npy", (), 1, "--average"),
        ("single.npy", ("--average",), 2, "single.npy: 1 image, and a mean needs a series of them"),
        ("line.npy", ("--average",), 1, "two-dimensional"),
        ("noise.npy", ("--average",), 1, "noise.npy: no two of 4 frames correlate"),
    ],
)
@pytest.mark.usefixtures("movie")
def test_what_cannot_be_averaged(picostem: Run, name: str, options: tuple[str, ...], code: int, expected: str) -> None:
    noise = np.random.default_rng(2).poisson(3, (4, 96, 96))
    np.save("noise.npy", noise)
    np.save("single.npy", noise[0])
    np.save("line.npy", noise[0, 0])
    ended = picostem("resolve", name, *RES2, *options)
    assert ended.code == code
    assert expected in ended.complaint
    assert not list(Path().glob("*.picostem"))
