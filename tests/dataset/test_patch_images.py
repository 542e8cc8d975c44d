"""Patches cropped from images whose truth is known: their labels, what is left out, and one multislice image."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picostem.dataset.patch_images import PatchImages
from picostem.dataset.patch_plan import PatchCorruptions, PatchPlan
from picostem.dataset.patch_samples import draw
from picostem.dataset.stack import amplitudes
from picostem.dataset.window import Window
from picostem.errors import DataError, UsageError
from picostem.physics import DEGREE
from picostem.simulate import AcquisitionSettings, Microscope, MultisliceSettings, simulate_stack, write_simulation
from picostem.structure import Stack, rotation_matrix
from tests.dataset.made import MOS2, NOISE_FREE, bank_of, steady_bank, write_image

CALM: dict[str, Any] = {"corruptions": PatchCorruptions.none(), "rotation_deg": 0.0, "scale": 0.0, "flips": False}
SHIFT = np.array([0.2, 0.45])
STACKS = {
    "slip": Stack.bilayer(MOS2, SHIFT @ MOS2.cell),
    "antiparallel": Stack.bilayer(MOS2, SHIFT @ MOS2.cell, np.pi),
    "twist": Stack.bilayer(MOS2, (0.3, 0.1), 23 * DEGREE),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each stack, a bilayer with noise, and notes that are no truth of an image."""
    where = tmp_path_factory.mktemp("images")
    for name, stack in STACKS.items():
        write_image(where, name, stack)
    write_image(where, "noisy", STACKS["slip"], AcquisitionSettings())
    (where / "notes.json").write_text("{}")
    return where


def loaded(folder: Path, task: Any = "slip", **rest: Any) -> PatchImages:
    plan = PatchPlan("MoS2", task, source=f"multislice:{folder}", **{**CALM, **rest})
    return PatchImages.load(plan, bank_of(antiparallel=task == "antiparallel"))


@pytest.mark.parametrize("task", ["slip", "antiparallel"])
def test_patches_show_what_their_labels_say(folder: Path, task: Any) -> None:
    """The lowest harmonics of patches at the plan's orientation are to each other as those of a stack with that label.

    10 % is for the microscopes, which differ: the layers are not in focus alike. Other slips differ by far more.
    """
    images = loaded(folder, task, orientation_deg=20.0)
    bank = steady_bank(antiparallel=task == "antiparallel")
    samples = images.cropped(np.random.default_rng(0), 12)
    assert samples.labels == pytest.approx(np.tile(SHIFT, (12, 1)), abs=1e-9)
    window = Window.build(bank.hk, bank.reciprocal, images.plan.extent_A, np.radians(20.0), images.plan.pixel_A)
    lowest = np.argsort(np.linalg.norm(bank.hk @ bank.reciprocal, axis=1))[:3]
    found = np.abs(window.extract(samples.patches))[:, lowest].mean(axis=0)
    expected, other = (np.abs(amplitudes(bank, 0, slip[None, None])[0, lowest]) for slip in (SHIFT, SHIFT[::-1]))
    found, expected, other = (values / np.linalg.norm(values) for values in (found, expected, other))
    assert np.linalg.norm(found - expected) < 0.1
    assert np.linalg.norm(found - other) > 0.3


def strength(patch: np.ndarray, angle: float, scale: float = 1.0) -> float:
    """How strong the first reflection of a layer at an angle is in a patch of 0.36 Å."""
    g = rotation_matrix(angle) @ MOS2.reciprocal[0] / scale
    x = (np.arange(len(patch)) - (len(patch) - 1) / 2) * 0.36
    wave = np.exp(-2j * np.pi * (g[0] * x[None] - g[1] * x[:, None]))
    return float(np.abs(((patch - patch.mean()) * np.outer(np.hanning(len(x)), np.hanning(len(x))) * wave).sum()))


def test_twists_turns_and_scales(folder: Path) -> None:
    """The upper layer's reflections lie where its label says, counter-clockwise as in drawn patches, unlike others."""
    images = loaded(folder, "twist", orientation_deg=7.0)
    samples = images.cropped(np.random.default_rng(0), 4)
    assert samples.labels == pytest.approx(23 * DEGREE)
    for patch in samples.patches:
        lower, upper, other = (strength(patch, angle * DEGREE) for angle in (7, 30, 7 - 23))
        assert min(lower, upper) > 5 * other
    view = images.windows[0].turned(10 * DEGREE, 1.2)
    patch = view.taken(np.zeros((1, 2)))[0]
    assert min(strength(patch, angle * DEGREE, 1.2) for angle in (17, 40)) > 5 * strength(patch, 7 * DEGREE)


def test_patches_suffer_as_drawn_ones_do(folder: Path) -> None:
    images = loaded(folder, corruptions=PatchCorruptions(), rotation_deg=3.0, scale=0.03, flips=True)
    one, again = (images.draw(np.random.default_rng(1), 40) for _ in range(2))
    assert (one.patches == again.patches).all() and np.isfinite(one.patches).all()
    assert len(np.unique(one.patches.std(axis=(1, 2)))) == 40
    still = images.cropped(np.random.default_rng(1), 40).patches
    drawn = draw(replace(images.plan, source="fast"), images.bank, np.random.default_rng(1), 40).patches
    assert still.mean() == pytest.approx(drawn.mean(), rel=0.3)  # fractions of the beam, under microscopes alike


def test_digests_and_what_is_left_out(folder: Path, tmp_path: Path) -> None:
    first = loaded(folder)
    assert len(first) == 1 and first.digest == loaded(folder).digest != loaded(folder, "twist").digest
    with pytest.raises(DataError, match="make more"):
        first.split()
    for index in range(12):
        write_image(tmp_path, f"{index:02d}", Stack.bilayer(MOS2, np.array([index / 12, 0.1]) @ MOS2.cell))
    train, held = loaded(tmp_path).split()
    rows = [tuple(row) for part in (train, held) for row in part.labels]
    assert (len(train), len(held), len(set(rows))) == (11, 1, 12)


def test_bad_input(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no noise-free multislice images of slip of MoS2"):
        loaded(tmp_path)
    with pytest.raises(DataError, match=r"36 Å hold no patch turned any way, which takes 49 Å: .* --field 49"):
        loaded(folder, side=96)
    with pytest.raises(UsageError, match="leave the step out"):
        loaded(folder, step_A=0.2)
    with pytest.raises(UsageError, match="PatchImages"):
        draw(loaded(folder).plan, bank_of(), np.random.default_rng(0), 1)
    write_image(tmp_path, "broken", STACKS["slip"])
    truth = json.loads((tmp_path / "broken.json").read_text())
    del truth["layer1"]
    (tmp_path / "broken.json").write_text(json.dumps(truth))
    with pytest.raises(DataError, match=r"broken.json is no truth of an image \(KeyError\('layer1'\)\)"):
        loaded(tmp_path)


def test_a_multislice_image_serves(tmp_path: Path) -> None:
    """What picostem itself says of a multislice image is understood, and its patches are fractions of the beam."""
    pytest.importorskip("abtem")
    cheap = MultisliceSettings(configurations=1, slice_thickness=4.0, window=8.0, scan_step=0.9)
    narrow = Microscope.from_lab_units(voltage_kV=60, semiangle_mrad=31.5, detector_mrad=(50, 90))
    image, truth = simulate_stack(
        STACKS["slip"], narrow, NOISE_FREE, (100, 100), 0.36, np.random.default_rng(0), engine="multislice",
        multislice=cheap,
    )  # fmt: skip
    write_simulation(tmp_path, "one", image, truth)
    images = loaded(tmp_path)
    assert images.labels == pytest.approx(SHIFT[None])
    patch = images.cropped(np.random.default_rng(0), 1).patches[0]
    assert patch.mean() == pytest.approx(image.data.mean(), rel=0.05)
