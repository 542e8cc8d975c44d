"""The stack model against sums over atoms, the simulated image and finite differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from picostem.physics import KV, MRAD
from picostem.resolve.estimate import State, predict
from picostem.resolve.model import BLUR, Optics, StackModel
from picostem.resolve.window import extract_harmonics
from picostem.simulate import Microscope, simulate_periodic
from picostem.simulate.scattering import adf_object_transfer, rms_displacement, thermal_transfer
from picostem.simulate.transfer import ABERRATIONS, Aberrations, probe_transfer
from picostem.structure import Stack

from .made import MOS2, OPTICS, PIXEL_SIZE, RES2, SLIP, make_lattice, make_model, microscope_vector

FREE = replace(OPTICS, semiangle_sigma=4 * MRAD)


def naive_factors(model: StackModel, microscope: np.ndarray, exact: bool) -> np.ndarray:
    """Q_l(h) atom by atom; the transfer at the atom's own height exactly, or by a difference about the mid-plane."""
    values = dict(zip(model.prior.names, microscope, strict=True))
    gx, gy = model.g.T
    g = np.hypot(gx, gy)
    optics = model.optics
    damping = np.exp(
        -2
        * np.pi**2
        * (values["variance"] * g**2 + values["variance a"] * (gx**2 - gy**2) + values["variance b"] * 2 * gx * gy)
    )

    def transfer(z: float) -> np.ndarray:
        aberrations = Aberrations(values["C10"] + z, *(values[name] for name in ABERRATIONS[1:]))
        return probe_transfer(gx, gy, model.wavelength, values.get("semiangle", optics.semiangle), aberrations)

    total = np.zeros((model.layer_count, len(g)), dtype=complex)
    for i, (layer, height) in enumerate(zip(model.layers, model.heights, strict=True)):
        brightness = np.exp(values.get(f"log brightness {i + 1}", 0.0))
        for symbol, position, scaled in zip(layer.symbols, layer.positions, layer.scaled, strict=True):
            weight = np.exp(values.get(f"log weight {symbol}", 0.0)) / model.unit
            scatter = adf_object_transfer(symbol, g, optics.voltage_eV, optics.semiangle, optics.inner, optics.outer)
            scatter = scatter * thermal_transfer(g, rms_displacement(symbol))
            z = position[2]
            if exact:
                at_height = transfer(height + z)
            else:
                step = 1e-3
                at_height = transfer(height) + z * (transfer(height + step) - transfer(height - step)) / (2 * step)
            total[i] += brightness * weight * scatter * damping * at_height * np.exp(-2j * np.pi * model.hk @ scaled)
    return total


@pytest.mark.parametrize("optics", [OPTICS, FREE])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_layer_factors_are_the_sum_over_atoms(layers: int, optics: Optics) -> None:
    model = make_model(layers, optics=optics)
    microscope = microscope_vector(model)
    if optics is FREE:
        microscope[-1] = optics.semiangle * 1.05
    value, _ = model.layer_factors(microscope)
    # differences of the transfer over 1e-3 Å: 1e-7 of values up to 5
    np.testing.assert_allclose(value, naive_factors(model, microscope, exact=False), atol=1e-6)


def test_first_order_in_an_atoms_height_is_enough() -> None:
    model = make_model(2)
    microscope = microscope_vector(model)
    value, exact = model.layer_factors(microscope)[0], naive_factors(model, microscope, exact=True)
    # second order: (pi g² lambda z ...)² with z up to 1.75 Å of a depth of focus of 43 Å, some 0.3 %
    assert np.abs(value - exact).max() < 5e-3 * np.abs(exact).max()
    assert np.abs(value - exact).max() > 0


@pytest.mark.parametrize("optics", [OPTICS, FREE])
def test_slope_is_that_of_the_value(optics: Optics) -> None:
    model = make_model(2, optics=optics)
    microscope = microscope_vector(model)
    if optics is FREE:
        microscope[-1] = optics.semiangle * 1.02
    value, slope = model.layer_factors(microscope)
    assert slope.shape == (len(microscope), *value.shape)
    for i, name in enumerate(model.prior.names):
        # the semiangle's slope is itself a difference, over 1e-3 of it
        step = 1e-5 * model.prior.sigma[i] if name != "semiangle" else 1e-3 * microscope[i]
        change = np.zeros(len(microscope))
        change[i] = step
        naive = (model.layer_factors(microscope + change)[0] - model.layer_factors(microscope - change)[0]) / (2 * step)
        scale = np.abs(slope[i]).max()
        assert scale > 0, name
        # rounding 1e-16 / 1e-5, times 10; the semiangle's slope leaves out the atoms' heights, some per cent
        np.testing.assert_allclose(slope[i], naive, atol=(0.03 if name == "semiangle" else 1e-6) * scale, err_msg=name)


def test_prior_names_all_parameters() -> None:
    prior = make_model(3, optics=FREE).prior
    assert prior.names == (
        *ABERRATIONS,
        *BLUR,
        "log weight S",
        "log brightness 2",
        "log brightness 3",
        "semiangle",
    )
    assert prior.mean.shape == prior.sigma.shape == (12,)
    assert (prior.sigma > 0).all()
    assert prior.mean[0] == pytest.approx(-RES2.layer_spacing)  # in focus at the middle of three layers
    assert prior.mean[-1] == OPTICS.semiangle
    assert make_model(1).prior.names == (*ABERRATIONS, *BLUR, "log weight S")


def test_species_come_brightest_first_and_set_the_unit() -> None:
    model = make_model(1)
    assert model.species == ("Re", "S")
    assert np.abs(model.factors[0, 0, 0]).max() <= 4 * (1 + 1e-12)  # four rhenium atoms
    assert np.abs(model.factors[0, 0, 0]).max() > np.abs(model.factors[0, 0, 1]).max()


def test_frequencies_are_those_of_the_undistorted_lattice() -> None:
    lattice = make_lattice(RES2, mirrored=True)
    hk = np.array([[1, 0], [2, -1]])
    model = StackModel.build((RES2,), hk, lattice.orthogonal, OPTICS)
    np.testing.assert_allclose(model.g, hk @ lattice.reciprocal / PIXEL_SIZE, atol=1e-12)


@pytest.mark.parametrize(("mirrored", "rotation"), [(False, 0.7), (True, -1.9)])
def test_model_is_what_the_simulation_draws(mirrored: bool, rotation: float) -> None:
    """Frames, heights, brightness, blur: harmonics of the simulated image of a bilayer, with all aberrations."""
    lattice = make_lattice(RES2, PIXEL_SIZE, rotation, mirrored)
    microscope = Microscope.from_lab_units(
        voltage_kV=300,
        semiangle_mrad=21.3,
        detector_mrad=(39, 200),
        defocus_A=-14,
        C12_A=12,
        phi12_deg=25,
        C21_A=180,
        phi21_deg=110,
        source_fwhm_A=0.7,
    )
    image = simulate_periodic(
        Stack.bilayer(RES2, SLIP),
        microscope,
        (200, 200),
        PIXEL_SIZE,
        rotation=rotation,
        mirrored=mirrored,
        origin=(1.0, -0.6),
    )
    model = StackModel.build((RES2, RES2), make_model().hk, lattice.orthogonal, OPTICS)
    at = microscope.aberrations_at(0.0)
    parameters = np.zeros(len(model.prior.mean))
    parameters[: len(ABERRATIONS)] = [getattr(at, name) for name in ABERRATIONS]
    parameters[len(ABERRATIONS)] = microscope.source_sigma**2
    inverse = np.linalg.inv(lattice.rows)
    origin = np.array([[1.0, -0.6]]) / PIXEL_SIZE @ inverse
    slips = (SLIP @ np.linalg.inv(RES2.cell)).reshape(1, 1, 2)
    predicted = predict(model, State(parameters, np.ones(1), origin, slips))[0]
    starts = (np.array([0]), np.array([0]))
    measured = extract_harmonics(image, lattice.reciprocal, model.hk, 200, starts).amplitudes[0]
    scale = np.vdot(predicted, measured) / np.vdot(predicted, predicted)
    assert abs(np.angle(scale)) < 1e-3  # phases are those of the image: nothing is left to a common phase
    # one transfer table with a first-order step in height on both sides; a window's neighbours leak 1e-4
    residual = np.linalg.norm(measured - scale * predicted) / np.linalg.norm(measured)
    assert residual < 5e-3
    assert abs(scale) * RES2.area / model.unit == pytest.approx(1, rel=1e-2)  # Å² per cell: the absolute signal


class TestCrossTerms:
    model = StackModel.build((MOS2, MOS2), make_model(monolayer=MOS2).hk, make_lattice(MOS2).orthogonal, OPTICS)

    def test_pairs(self) -> None:
        three = make_model(3, MOS2).with_cross_terms(make_model(3, MOS2).prior.mean)
        assert [(t.lower, t.upper) for t in three.cross_terms] == [(0, 1), (0, 2), (1, 2)]
        assert make_model(1, MOS2).with_cross_terms(make_model(1, MOS2).prior.mean).cross_terms == ()

    def test_are_a_correction_that_grows_at_low_voltage(self) -> None:
        """A few per cent of the image at 300 kV, more at 60 kV and with a detector close to the probe."""
        low = Optics(60 * KV, 31.5 * MRAD, 0.0, 49.5 * MRAD, 198 * MRAD, "user")
        shares = []
        for optics in (OPTICS, low):
            model = replace(self.model, optics=optics)
            model = StackModel.build((MOS2, MOS2), model.hk, model.orthogonal, optics)
            full = model.with_cross_terms(model.prior.mean)
            state = State(model.prior.mean, np.ones(1), np.zeros((1, 2)), np.array([[[0.3, 0.1]]]))
            plain = predict(model, state)
            shares.append(np.linalg.norm(predict(full, state) - plain) / np.linalg.norm(plain))
        assert 0.003 < shares[0] < 0.15
        assert shares[0] < shares[1] < 0.3

    def test_moving_the_stack_turns_them_with_the_rest(self) -> None:
        model = self.model.with_cross_terms(self.model.prior.mean)
        here = State(model.prior.mean, np.ones(1), np.zeros((1, 2)), np.array([[[0.3, 0.1]]]))
        there = replace(here, origin=np.array([[0.2, -0.45]]))
        turned = predict(model, here) * np.exp(-2j * np.pi * model.hk @ there.origin[0])
        np.testing.assert_allclose(predict(model, there), turned, atol=1e-12)  # rounding

    def test_a_slip_by_a_lattice_vector_changes_nothing(self) -> None:
        model = self.model.with_cross_terms(self.model.prior.mean)
        here = State(model.prior.mean, np.ones(1), np.zeros((1, 2)), np.array([[[0.3, 0.1]]]))
        np.testing.assert_allclose(
            predict(model, replace(here, slips=here.slips + (1, -2))), predict(model, here), atol=1e-12
        )
