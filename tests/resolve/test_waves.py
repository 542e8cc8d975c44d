"""Plane waves of layers with lattices of their own, against the fast engine and the model of aligned stacks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from picostem.physics import KV, MRAD
from picostem.resolve import waves
from picostem.resolve.estimate import State
from picostem.resolve.estimate import predict as predict_stack
from picostem.resolve.joint import Placement
from picostem.resolve.lattice import Lattice
from picostem.resolve.model import Optics, StackModel
from picostem.resolve.waves import WaveModel
from picostem.structure import Monolayer, Stack, load_monolayer

from .made import MOS2, OPTICS, PIXEL_SIZE, RES2, make_lattice, plane_waves
from .made_twisted import LIMIT, build, clean_image, lattices_of, true_placement

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
IntArray = NDArray[np.int64]

WSE2 = load_monolayer("WSe2")
TWIST = np.radians(7)
POSITIONS = np.array([[0.13, -0.24], [0.41, 0.32]])
SKEWED = np.array([[1, 0], [1, 1]])
"""Another basis of the upper layer's lattice."""
SLOW = Optics(60 * KV, 31.5 * MRAD, 0.0, 49.5 * MRAD, 198 * MRAD, "user")
"""Electrons that layers scatter much, so that what they do together is more than a few per cent."""


def waves_of(model: WaveModel, placement: Placement) -> tuple[FloatArray, ComplexArray]:
    """Frequencies and amplitudes of an image's waves, as the module's equation has them."""
    phase = np.einsum("wla,la->w", model.orders, placement.positions)
    amplitudes = placement.scale * model.amplitudes(placement.microscope)[0] * np.exp(-2j * np.pi * phase)
    return model.reciprocal(placement.reciprocals), amplitudes


def off_mean(model: WaveModel) -> FloatArray:
    """A microscope off the prior's mean in every parameter, so that no derivative vanishes by symmetry."""
    step = np.where(np.arange(len(model.prior.mean)) % 2, -0.3, 0.4)
    return model.prior.mean + step * model.prior.sigma * np.where(model.prior.sigma > 0.2, 0.5, 1.0)


@pytest.mark.parametrize("layers", [(MOS2, MOS2), (MOS2, WSE2), (RES2, MOS2), (MOS2, RES2, WSE2)])
def test_image_is_that_of_the_engine(layers: tuple[Monolayer, ...]) -> None:
    """Layers of any cells: their scale, brightness, depth and position, without anything fitted but the mean."""
    stack = Stack.of(layers, [(0.6, 1.1)] * (len(layers) - 1), [TWIST] * (len(layers) - 1))
    model = build(layers, lattices_of(stack), limit=2.16)
    image = clean_image(stack, 90)
    drawn = plane_waves((90, 90), *waves_of(model, true_placement(stack, model)))
    # float32 images; a thousand waves of which the engine leaves out those below 1e-6 of the strongest
    np.testing.assert_allclose(drawn - drawn.mean(), image - image.mean(), atol=1e-4 * image.std())


class TestBuild:
    def test_waves_are_those_of_each_layer(self) -> None:
        stack = Stack.bilayer(MOS2, (0, 0), TWIST, RES2)
        lattices = lattices_of(stack)
        model = build((MOS2, RES2), lattices)
        assert model.lattice_of == (0, 1)
        reciprocals = np.array([lattice.reciprocal for lattice in lattices])
        g = model.reciprocal(reciprocals)
        for index, lattice in enumerate(lattices):
            own = np.any(model.orders[:, index] != 0, axis=1)
            assert not model.orders[own, 1 - index].any()
            np.testing.assert_allclose(g[own], model.orders[own, index] @ lattice.reciprocal, atol=1e-12)
            assert np.linalg.norm(g[own], axis=1).max() < LIMIT * PIXEL_SIZE * 1.01
        assert len(model.orders) == sum(len(part.hk) for part in model.parts)
        # no wave is there with its conjugate
        every = {tuple(order) for order in model.orders.reshape(-1, 4).tolist()}
        assert len(every) == len(model.orders)
        assert not every & {tuple(-n for n in order) for order in every}

    def test_waves_are_slow_enough_for_the_pixels(self) -> None:
        coarse = Lattice(make_lattice(MOS2).rows / 4, MOS2.cell)
        model = WaveModel.build((MOS2,), (coarse,), (0,), OPTICS, LIMIT)
        assert 0 < len(model.orders) < len(build((MOS2,), (make_lattice(MOS2),)).orders)
        assert np.abs(model.reciprocal(coarse.reciprocal[None])).max() < 0.5

    def test_layers_lie_at_their_depths(self) -> None:
        lattices = lattices_of(Stack.of([MOS2, RES2, WSE2]))
        step = [(MOS2.layer_spacing + RES2.layer_spacing) / 2, (RES2.layer_spacing + WSE2.layer_spacing) / 2]
        down = build((MOS2, RES2, WSE2), lattices)
        up = WaveModel.build((MOS2, RES2, WSE2), lattices, (0, 1, 2), OPTICS, LIMIT, upside_down=True)
        np.testing.assert_allclose([p.heights[0] for p in down.parts], [0, step[0], sum(step)])
        np.testing.assert_allclose([p.heights[0] for p in up.parts], [sum(step), step[1], 0])
        middle = -np.mean([p.heights[0] for p in down.parts])
        assert down.prior.mean[0] == pytest.approx(middle)  # focus in the middle of the stack

    def test_layers_can_share_a_lattice(self) -> None:
        lattices = (make_lattice(MOS2), make_lattice(MOS2, rotation=0.9))
        model = WaveModel.build((MOS2, MOS2, MOS2), lattices, (0, 1, 0), OPTICS, LIMIT)
        g = model.reciprocal(np.array([lattice.reciprocal for lattice in lattices])).reshape(3, -1, 2)
        np.testing.assert_array_equal(g[0], g[2])
        assert np.abs(g[0] - g[1]).max() > 0.01

    def test_prior_has_each_parameter_once(self) -> None:
        lattices = lattices_of(Stack.of([MOS2, WSE2, MOS2]))
        free = replace(OPTICS, semiangle_sigma=3 * MRAD)
        model = WaveModel.build((MOS2, WSE2, MOS2), lattices, (0, 1, 2), free, LIMIT)
        names = model.prior.names
        assert len(set(names)) == len(names) == len(model.prior.mean) == len(model.prior.sigma)
        expected = (
            "log weight S in MoS2",
            "log weight Se in WSe2",
            "log brightness 2",
            "log brightness 3",
            "semiangle",
        )
        assert names[-5:] == expected
        assert (model.prior.mean[-1], model.prior.sigma[-1]) == (OPTICS.semiangle, 3 * MRAD)


@pytest.mark.parametrize("layers", [(MOS2,), (MOS2, WSE2), (MOS2, RES2, MOS2)])
@pytest.mark.parametrize("semiangle_sigma", [0.0, 2 * MRAD])
def test_slopes_of_the_amplitudes(layers: tuple[Monolayer, ...], semiangle_sigma: float) -> None:
    optics = replace(OPTICS, semiangle_sigma=semiangle_sigma)
    lattices = lattices_of(Stack.of(layers))
    model = WaveModel.build(layers, lattices, tuple(range(len(layers))), optics, 0.8)
    microscope = off_mean(model)
    value, slope = model.amplitudes(microscope)
    assert slope.shape == (len(microscope), len(value)) == (len(model.prior.names), len(model.orders))
    for index, name in enumerate(model.prior.names):
        step = 1e-4 * model.prior.sigma[index] * np.eye(len(microscope))[index]
        difference = (model.amplitudes(microscope + step)[0] - model.amplitudes(microscope - step)[0]) / 2
        analytic = slope[index] * step[index]
        # the model is curved: its third derivative over 1e-4 of sigma; the semiangle's own slope is a difference over
        # 1e-3 of it on a quadrature
        off = 0.02 if name == "semiangle" else 1e-4
        assert np.abs(difference - analytic).max() < off * np.abs(analytic).max()


def sums_by_frequency(g: FloatArray, amplitudes: ComplexArray, of: FloatArray) -> ComplexArray:
    """Sums of the amplitudes of the waves at some frequencies, conjugates counted; every wave must be at one, or 0."""
    total = np.zeros(len(of), dtype=complex)
    for frequency, amplitude in zip(g, amplitudes, strict=True):
        there, back = (np.abs(of - s * frequency).max(axis=1) < 1e-9 for s in (1, -1))
        assert there.any() or back.any() or np.abs(frequency).max() < 1e-9
        total[there] += amplitude
        total[back] += np.conj(amplitude)
    return total


def as_stack(
    layers: tuple[Monolayer, Monolayer], model: WaveModel, microscope: FloatArray, lattice: Lattice
) -> tuple[StackModel, FloatArray]:
    """The aligned layers' model on the same reflections, and its microscope with the same values."""
    stack = StackModel.build(layers, model.parts[0].hk, lattice.orthogonal, SLOW)
    known = dict(zip(model.prior.names, microscope, strict=True))
    ours = [known.get(name, known.get(f"{name} in {layers[0].name}")) for name in stack.prior.names]
    return stack, np.array(ours, dtype=float)


def stack_harmonics(stack: StackModel, microscope: FloatArray, slip: FloatArray) -> ComplexArray:
    """At the positions POSITIONS[0] and that plus a slip, in fractions of the lower cell."""
    state = State(microscope, np.ones(1), POSITIONS[:1], slip.reshape(1, 1, 2))
    return predict_stack(stack, state)[0]


class TestAlignedLayers:
    """At twist 0 the waves of the layers coincide, and their sums are an aligned stack's harmonics."""

    lattice = make_lattice(MOS2)

    def compared(
        self, upper: Monolayer, basis: IntArray, cross: bool, upside_down: bool = False
    ) -> tuple[ComplexArray, ComplexArray]:
        """Harmonics by waves and by the stack's model, the upper layer described in another basis of the lattice."""
        described = replace(upper, cell=basis @ upper.cell)
        above = Lattice(basis @ self.lattice.rows, described.cell)
        pair = (self.lattice, above)
        model = WaveModel.build((MOS2, described), pair, (0, 1), SLOW, LIMIT, upside_down)
        microscope = off_mean(model)
        fractions = POSITIONS[1] @ basis  # of the lower cell
        slip = fractions - POSITIONS[0]
        order, positions = ((upper, MOS2), (fractions, POSITIONS[0])) if upside_down else ((MOS2, upper), None)
        stack, ours = as_stack(order, model, microscope, self.lattice)
        if cross:
            model = model.with_cross_terms(pair, microscope)
        if upside_down:
            brightness = microscope[model.prior.names.index("log brightness 2")]
            ours[stack.prior.names.index("log brightness 2")] = -brightness
        stack = stack.with_cross_terms(ours) if cross else stack
        if positions is None:
            expected = stack_harmonics(stack, ours, slip)
        else:
            state = State(ours, np.ones(1), positions[0][None], -slip.reshape(1, 1, 2))
            expected = predict_stack(stack, state)[0] * np.exp(brightness)
        placement = Placement(microscope, 1.0, POSITIONS, np.array([lattice.reciprocal for lattice in pair]))
        g, amplitudes = waves_of(model, placement)
        return sums_by_frequency(g, amplitudes, stack.hk @ self.lattice.reciprocal), expected

    @pytest.mark.parametrize("upper", [MOS2, MOS2.turned()], ids=["parallel", "antiparallel"])
    @pytest.mark.parametrize("basis", [np.eye(2, dtype=int), SKEWED], ids=["same", "skewed"])
    def test_without_cross_terms(self, upper: Monolayer, basis: IntArray) -> None:
        found, expected = self.compared(upper, basis, cross=False)
        np.testing.assert_allclose(found, expected, atol=1e-9 * np.abs(expected).max())  # rounding

    @pytest.mark.parametrize("upper", [MOS2, MOS2.turned()], ids=["parallel", "antiparallel"])
    @pytest.mark.parametrize("basis", [np.eye(2, dtype=int), SKEWED], ids=["same", "skewed"])
    @pytest.mark.parametrize("upside_down", [False, True], ids=["down", "up"])
    def test_with_cross_terms(
        self, upper: Monolayer, basis: IntArray, upside_down: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(waves, "WEAKEST", 0.0)
        found, expected = self.compared(upper, basis, cross=True, upside_down=upside_down)
        linear = self.compared(upper, basis, cross=False, upside_down=upside_down)[1]
        # kernels are summed in single precision, in another order for another basis
        np.testing.assert_allclose(found, expected, atol=5e-6 * np.abs(expected).max())
        assert np.abs(expected - linear).max() > 0.02 * np.abs(expected).max()

    @pytest.mark.parametrize("upper", [MOS2, MOS2.turned()], ids=["parallel", "antiparallel"])
    def test_few_waves_hold_most_of_the_cross_terms(self, upper: Monolayer) -> None:
        found, expected = self.compared(upper, np.eye(2, dtype=int), cross=True)
        linear = self.compared(upper, np.eye(2, dtype=int), cross=False)[1]
        # 600 of 6000 waves; those below WEAKEST of the strongest add up to a sixth of the terms at most
        assert np.linalg.norm(found - expected) < 0.2 * np.linalg.norm(expected - linear)


class TestCrossTerms:
    lattices = lattices_of(Stack.bilayer(MOS2, (0, 0), np.radians(1.0)))

    def model(self) -> WaveModel:
        return build((MOS2, MOS2), self.lattices)

    def test_are_waves_of_both_layers_that_do_not_depend_on_the_microscope(self) -> None:
        plain = self.model()
        microscope = off_mean(plain)
        full = plain.with_cross_terms(self.lattices, microscope)
        n = len(plain.orders)
        np.testing.assert_array_equal(full.orders[:n], plain.orders)
        assert len(full.cross) == len(full.orders) - n > 10
        value, slope = full.amplitudes(microscope)
        np.testing.assert_array_equal(value[:n], plain.amplitudes(microscope)[0])
        np.testing.assert_array_equal(value[n:], full.cross)
        np.testing.assert_array_equal(slope[:, :n], plain.amplitudes(microscope)[1])
        assert not slope[:, n:].any()
        assert np.abs(full.cross).min() > waves.WEAKEST * np.abs(value[:n]).max()

    def test_slow_brightness_is_that_of_an_aligned_stack_anywhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What the waves of orders -q and q add up to: the mean brightness of aligned layers with the slip D."""
        monkeypatch.setattr(waves, "WEAKEST", 0.0)
        lattice, slip = make_lattice(MOS2), np.array([0.21, -0.34])
        model = WaveModel.build((MOS2, MOS2), (lattice, lattice), (0, 1), SLOW, LIMIT)
        microscope = off_mean(model)
        full = model.with_cross_terms((lattice, lattice), microscope)
        n = len(model.orders)
        slow = ~full.orders[n:].sum(axis=1).any(axis=1)
        phases = np.exp(-2j * np.pi * full.orders[n:][slow, 1] @ slip)
        found = 2 * np.sum(full.cross[slow] * phases).real  # as `draw` adds each wave's conjugate
        mean = StackModel.build((MOS2, MOS2), np.zeros((1, 2), dtype=np.int64), lattice.orthogonal, SLOW)
        known = dict(zip(model.prior.names, microscope, strict=True))
        ours = np.array([known.get(name, known.get(f"{name} in MoS2", 0.0)) for name in mean.prior.names])
        state = State(ours, np.ones(1), np.zeros((1, 2)), slip.reshape(1, 1, 2))
        unit = mean.unit / model.parts[0].unit
        plain, together = (unit * predict_stack(one, state)[0][0] for one in (mean, mean.with_cross_terms(ours)))
        assert abs(together - plain) > 1e-4 * abs(plain)
        assert found == pytest.approx((together - plain).real, rel=1e-4)  # single precision
        assert abs((together - plain).imag) < 1e-4 * abs(together - plain)

    def test_replace_those_computed_before(self) -> None:
        plain = self.model()
        microscope = off_mean(plain)
        once = plain.with_cross_terms(self.lattices, plain.prior.mean)
        twice = once.with_cross_terms(self.lattices, microscope)
        again = plain.with_cross_terms(self.lattices, microscope)
        np.testing.assert_array_equal(twice.orders, again.orders)
        np.testing.assert_array_equal(twice.cross, again.cross)

    def test_each_lies_near_a_reflection(self) -> None:
        """Orders h - q and q of nearly equal lattices: not far from h, and at it for equal ones."""
        full = self.model().with_cross_terms(self.lattices, self.model().prior.mean)
        crossed = full.orders[-len(full.cross) :]
        g = full.reciprocal(np.array([lattice.reciprocal for lattice in self.lattices]))[-len(full.cross) :]
        there = crossed.sum(axis=1) @ self.lattices[0].reciprocal
        reach = np.linalg.norm(crossed[:, 1] @ self.lattices[0].reciprocal, axis=1)
        # the upper layer's part is turned by 1°
        np.testing.assert_allclose(np.linalg.norm(g - there, axis=1), reach * 2 * np.sin(np.radians(0.5)), atol=1e-9)
