"""What layers do together: the same as the model that images are fitted with says, and nearer to multislice."""

from __future__ import annotations

import numpy as np
import pytest

from picostem.errors import UsageError
from picostem.resolve.estimate import State, predict
from picostem.resolve.model import Optics, StackModel
from picostem.resolve.window import extract_harmonics
from picostem.simulate import Microscope, simulate_periodic
from picostem.structure import Stack, image_from_crystal, load_monolayer
from picostem.structure.lattice import reflections

PIXEL_SIZE, SIDE = 0.1, 256
SLIP = np.array([0.5, 0.3])
ROTATION = 0.4


@pytest.mark.parametrize("astigmatism", [0.0, 12.0], ids=["round", "astigmatic"])
@pytest.mark.parametrize("mirrored", [False, True])
def test_harmonics_are_those_of_the_fitted_model(astigmatism: float, mirrored: bool) -> None:
    """Its code takes the same terms from weights and an aperture of its own; the image goes through pixels."""
    layer = load_monolayer("ReS2")
    scope = Microscope.from_lab_units(
        voltage_kV=300, semiangle_mrad=21.3, detector_mrad=(39, 200), defocus_A=20, C12_A=astigmatism, phi12_deg=25,
        source_fwhm_A=0.6,
    )  # fmt: skip
    frame = image_from_crystal(ROTATION, mirrored)
    hk = reflections(layer.reciprocal, 1.0)
    optics = Optics(scope.voltage_eV, scope.semiangle, 0.0, scope.detector_inner, scope.detector_outer, "user")
    model = StackModel.build((layer, layer), hk, frame, optics)
    at = scope.aberrations_at(0.0)
    parameters = np.zeros(len(model.prior.mean))
    parameters[:5] = at.C10, at.C12a, at.C12b, at.C21a, at.C21b
    parameters[5] = scope.source_sigma**2
    slips = SLIP @ np.linalg.inv(layer.cell)
    state = State(parameters, np.ones(1), np.zeros((1, 2)), slips[None, None])
    expected = predict(model.with_cross_terms(parameters), state)[0] - predict(model, state)[0]

    def harmonics(together: bool) -> np.ndarray:
        image = simulate_periodic(
            Stack.bilayer(layer, tuple(SLIP)), scope, (SIDE, SIDE), PIXEL_SIZE, rotation=ROTATION, mirrored=mirrored,
            together=together,
        )  # fmt: skip
        reciprocal = layer.reciprocal @ frame.T * PIXEL_SIZE
        starts = np.array([0]), np.array([0])
        return extract_harmonics(image, reciprocal, hk, SIDE, starts).amplitudes[0]

    found = (harmonics(True) - harmonics(False)) * layer.area / model.unit
    # harmonics beyond those extracted leak 1.3 % of the largest into a finite window
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()


def test_one_layer_has_nothing_to_add() -> None:
    stack = Stack.of((load_monolayer("MoS2"),), [], [])
    scope = Microscope.from_lab_units(voltage_kV=80, semiangle_mrad=30, detector_mrad=(60, 200))
    plain, same = (simulate_periodic(stack, scope, (64, 64), 0.15, together=each) for each in (False, True))
    np.testing.assert_array_equal(plain, same)


def test_twisted_layers_are_refused() -> None:
    stack = Stack.bilayer(load_monolayer("MoS2"), (0.0, 0.0), 0.1)
    scope = Microscope.from_lab_units(voltage_kV=80, semiangle_mrad=30, detector_mrad=(60, 200))
    with pytest.raises(UsageError, match="parallel layers of one lattice"):
        simulate_periodic(stack, scope, (64, 64), 0.15, together=True)
