"""What an image shows, resolved and simulated again without noise."""

from __future__ import annotations

import numpy as np
import pytest

from picostem.bench.style_content import BORDER, resolved, resolved_atoms, simulated_again
from picostem.errors import DataError
from picostem.image import Image
from picostem.simulate import AcquisitionSettings, simulate_stack
from picostem.structure import Stack, load_monolayer
from picostem.style.pool import PUBLISHED_MICROSCOPE
from tests.bench.made_style import PX, micrograph, shot


@pytest.mark.parametrize("mirrored", [False, True])
def test_content_simulated_again_is_what_was_imaged(mirrored: bool) -> None:
    """Against the noise-free image of the true stack: correlation 0.99, where one shifted by 0.2 Å has 0.95."""
    result = resolved(micrograph(mirrored=True)[0], "ReS2") if mirrored else shot()
    again = simulated_again(result, PX, (256, 260))
    clean = simulate_stack(
        Stack.bilayer(load_monolayer("ReS2"), (1.2, 1.9)),
        PUBLISHED_MICROSCOPE,
        AcquisitionSettings(dose=1e9),
        (256, 260),
        PX,
        np.random.default_rng(0),
        rotation=0.7,
        mirrored=mirrored,
        origin=(0.4, -0.9),
    )[0]
    assert np.corrcoef(again.data.ravel(), clean.data.ravel())[0, 1] > 0.985
    assert again.data.shape == clean.data.shape
    assert again.pixel_size == PX


def test_atoms_of_a_resolved_stack_fill_the_field_with_its_border() -> None:
    """As many as two layers of 12 atoms in each cell have there, to a cell's width at the edge."""
    field = (30.0, 20.0)
    layers = shot().layers
    atoms = resolved_atoms(layers, field)
    area = (field[0] + 2 * BORDER) * (field[1] + 2 * BORDER)
    cell = abs(np.linalg.det(layers[0].rows))
    assert len(atoms) == pytest.approx(24 * area / cell, rel=0.02)
    assert np.ptp(atoms.positions[:, 2]) == pytest.approx(6.1 + 3.2, abs=0.6)  # one layer's spacing and thickness


def test_what_cannot_be_resolved_is_refused() -> None:
    noise = np.random.default_rng(3).random((256, 256)).astype(np.float32)
    with pytest.raises(DataError, match="no model to simulate again"):
        resolved(Image(noise, (PX, PX), "user", "grains"), "ReS2")
