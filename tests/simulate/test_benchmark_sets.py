"""The scripts that make test sets: what they plan, and one image each of those that are fast."""

from __future__ import annotations

import importlib
import itertools
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from picostem.files import read_image
from picostem.simulate.domains import true_twists
from picostem.simulate.slip_field import true_slips

SCRIPTS = Path(__file__).parents[2] / "benchmarks"
pytestmark = pytest.mark.skipif(not SCRIPTS.is_dir(), reason="the benchmark scripts are not here")


@pytest.fixture
def script(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script whose name is the parameter."""
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
    return importlib.import_module(request.param)


@pytest.mark.parametrize("script", ["twist_set"], indirect=True)
class TestTwistSet:
    def test_every_range_of_angles_gets_every_dose_and_every_material_its_turns(self, script: ModuleType) -> None:
        images = range(44)
        doses = [script.DOSES[(i + i // 6) % len(script.DOSES)] for i in images]
        angles = [script.ANGLES[i % len(script.ANGLES)] for i in images]
        assert set(zip(angles, doses, strict=True)) == set(itertools.product(script.ANGLES, script.DOSES))
        materials = [script.MATERIALS[i % len(script.MATERIALS)] for i in images]
        assert min(materials.count(m) for m in set(materials)) >= 4

    def test_twists_lie_in_their_ranges(self, script: ModuleType) -> None:
        flipped = 0
        for i in range(44):
            lower, upper = script.MATERIALS[i % len(script.MATERIALS)]
            stack = script.bilayer(lower, upper, i, np.random.default_rng(i))
            low, high = script.ANGLES[i % len(script.ANGLES)]
            if lower == "ReS2" and low > 1:
                low, high = script.ANY_ANGLE
            assert low <= abs(np.degrees(stack.twists[0])) <= high
            flipped += stack.layers[1].monolayer == stack.layers[0].monolayer.flipped() and lower == "ReS2"
        assert flipped == 4  # half of the eight of ReS2

    def test_images_that_exist_are_kept(
        self, script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def never(*_: object, **__: object) -> None:
            raise AssertionError("simulated again")

        monkeypatch.setattr(script, "simulate_stack", never)
        (tmp_path / "T003_MoS2-WSe2.json").write_text("{}")
        script.make(tmp_path, 3, None, None, False, 0)
        with pytest.raises(AssertionError, match="again"):
            script.make(tmp_path, 4, None, None, False, 0)


@pytest.mark.parametrize("script", ["twist_domains"], indirect=True)
def test_twist_domains(script: ModuleType, tmp_path: Path) -> None:
    script.make(tmp_path, 1, 0)
    truth = json.loads((tmp_path / "domains_b.json").read_text("utf-8"))
    assert read_image(tmp_path / "domains_b.tif").data.shape == (625, 625)
    twists, _ = true_twists(truth, np.random.default_rng(0).uniform(-50, 50, (500, 2)))
    share = np.mean(np.isclose(np.degrees(twists), 9.8))
    assert share == pytest.approx(0.5, abs=0.15)  # triangles of 60 Å in a field of 100 Å


@pytest.mark.parametrize("script", ["relaxed_moire"], indirect=True)
def test_relaxed_moire(script: ModuleType, tmp_path: Path) -> None:
    script.make(tmp_path, 1, 0)
    truth = json.loads((tmp_path / "moire_b.json").read_text("utf-8"))
    assert truth["task"] == "slip field"
    grid = np.stack(np.meshgrid(*[np.arange(-55, 55, 2.0)] * 2), axis=-1)
    registry = true_slips(truth, grid).registry
    # A field larger than the moiré, 90 Å: each stacking occurs, so that averages over the torus vanish nearly.
    assert np.abs(np.exp(2j * np.pi * registry).mean(axis=(0, 1))).max() < 0.4
