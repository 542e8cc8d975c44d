"""The fit in real space: its algebra against slow sums, and whether it finds what images were made with."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from picostem.resolve.field import Field
from picostem.resolve.joint import BACKGROUND, JointFit, Placement, Tie, draw, fit_joint, predict, unfitted
from picostem.resolve.lattice import Lattice
from picostem.resolve.waves import WaveModel
from picostem.structure import Stack, load_monolayer, rotation_matrix

from .made import MOS2, PIXEL_SIZE, RES2, ROTATION, make_lattice
from .made_twisted import DOSE, bare_field, build, clean_image, lattices_of, recorded, true_placement

FloatArray = NDArray[np.float64]

WSE2 = load_monolayer("WSe2")
MORE_NOISE = 0.15
"""The weight follows the intensity at a sample, the noise that around it: between bright atoms there is more of it."""
quick = settings(derandomize=True, deadline=None, max_examples=30)
angles = st.floats(-3.1, 3.1)


def turned(lattice: Lattice, twist: float, mirrored: bool = False) -> Lattice:
    """The same crystal, turned in its own frame (and turned over first), under the same distortion of the image."""
    change = rotation_matrix(twist) @ np.diag([1.0, -1.0 if mirrored else 1.0])
    return Lattice(lattice.cell @ (lattice.image_from_crystal @ change).T, lattice.cell)


def of_image(lattice: Lattice, matrix: FloatArray) -> Lattice:
    """The lattice after a linear change of the image."""
    return Lattice(lattice.rows @ matrix.T, lattice.cell)


def reciprocals_of(lattices: tuple[Lattice, ...]) -> FloatArray:
    return np.array([lattice.reciprocal for lattice in lattices])


SHEAR = np.array([[1.04, 0.03], [-0.02, 0.97]])


class TestTie:
    @quick
    @given(angles, angles, st.booleans(), st.booleans())
    def test_knows_the_twist_of_lattices_under_one_distortion(
        self, rotation: float, twist: float, mirrored: bool, flipped: bool
    ) -> None:
        """In the first crystal's frame, also where the image shows it mirrored and the second one is turned over."""
        first = make_lattice(RES2, rotation=rotation, mirrored=mirrored, distortion=SHEAR)
        pair = (first, turned(first, twist, flipped))
        tie = Tie.of(pair, 0.01)
        np.testing.assert_allclose(tie.strains(reciprocals_of(pair)), 0, atol=1e-9)  # rounding, here and below
        np.testing.assert_allclose(np.exp(1j * tie.twists(reciprocals_of(pair))), np.exp(1j * twist), atol=1e-9)
        np.testing.assert_allclose(tie.misfit(reciprocals_of(pair)), 0, atol=1e-6)

    @quick
    @given(angles, st.floats(0.9, 1.1), st.floats(-0.1, 0.1))
    def test_what_happens_to_the_image_happens_to_both(self, rotation: float, stretch: float, shear: float) -> None:
        first = make_lattice(MOS2)
        pair = (first, of_image(turned(first, 0.1), np.array([[1.01, 0.004], [0.0, 0.995]])))
        tie = Tie.of(pair, 0.01)
        matrix = rotation_matrix(rotation) @ np.array([[stretch, shear], [0.0, 1.0]])
        changed = reciprocals_of(tuple(of_image(lattice, matrix) for lattice in pair))
        np.testing.assert_allclose(tie.relative(changed), tie.relative(reciprocals_of(pair)), atol=1e-9)
        np.testing.assert_allclose(tie.misfit(changed), tie.misfit(reciprocals_of(pair)), atol=1e-6)

    def test_strain_is_that_of_the_second_crystal(self) -> None:
        first = make_lattice(MOS2, rotation=0.0)
        tie = Tie.of((first, first), 0.01)
        along_x = tie.strains(reciprocals_of((first, of_image(first, np.diag([1.002, 1.0])))))[0]
        # (F Fᵀ - 1) / 2 = ((1 + e)² - 1) / 2
        np.testing.assert_allclose(along_x, np.diag([0.002002, 0.0]), atol=1e-9)

    def test_misfit_counts_standard_deviations(self) -> None:
        """A strain of one sigma along an axis, or spread over both as shear, is one of misfit, however it lies."""
        first = make_lattice(MOS2)
        tie = Tie.of((first, first), 1e-4)
        for strain in (np.diag([1.0, 0.0]), np.diag([0.6, -0.8]), np.array([[0.0, 1.0], [1.0, 0.0]]) / np.sqrt(2)):
            pair = (first, of_image(first, np.eye(2) + 1e-4 * strain))
            # second order in the strain
            assert np.linalg.norm(tie.misfit(reciprocals_of(pair))) == pytest.approx(1, rel=1e-3)

    def test_a_reference_holds_lattices_in_place(self) -> None:
        first = make_lattice(MOS2)
        pair = (first, turned(first, np.pi - 0.001))  # where angles jump
        reference = reciprocals_of(pair)
        tie = replace(Tie.of(pair, 0.01), reference=reference, common=0.02, rotation=0.05)
        np.testing.assert_allclose(tie.misfit(reference), 0, atol=1e-9)
        further = reciprocals_of((first, turned(first, np.pi + 0.009)))
        assert np.linalg.norm(tie.misfit(further)) == pytest.approx(0.01 / 0.05)
        larger = reciprocals_of(tuple(of_image(lattice, 1.003 * np.eye(2)) for lattice in pair))
        assert np.linalg.norm(tie.misfit(larger)) == pytest.approx(np.sqrt(2) * 0.003 / 0.02, rel=0.01)  # 1/1.003
        assert np.linalg.norm(replace(tie, reference=None).misfit(larger)) < 1e-6

    def test_one_lattice_is_tied_to_nothing(self) -> None:
        lattice = make_lattice(RES2)
        assert Tie.of((lattice,), 0.01).misfit(reciprocals_of((lattice,))).size == 0

    def test_slope_of_the_twist(self) -> None:
        """One over the length of a reciprocal vector, across it; the rest of the change is strain."""
        first = make_lattice(MOS2)
        pair = (first, turned(first, 0.2))
        tie, at = Tie.of(pair, 0.01), reciprocals_of(pair)
        slope = tie.slope(at, tie.twists)
        assert slope.shape == (1, 8)
        turn = np.zeros_like(at)
        turn[1] = at[1] @ rotation_matrix(np.pi / 2).T  # d/d(angle) of the second lattice
        np.testing.assert_allclose(slope @ turn.ravel(), 1, rtol=1e-6)  # differences over 1e-6 of the lattice
        np.testing.assert_allclose(slope @ (at * [[[0.0]], [[1.0]]]).ravel(), 0, atol=1e-6)


def test_unfitted_is_worse_than_anything() -> None:
    start = Placement(np.zeros(3), 1.0, np.zeros((2, 2)), np.zeros((2, 2, 2)))
    nothing = unfitted(start)
    assert nothing.placement is start
    assert nothing.cost == np.inf


class TestDrawing:
    x, y = np.linspace(-20, 20, 7), np.linspace(15, -15, 5)
    g = np.array([[0.05, 0.01], [-0.02, 0.11], [0.0, 0.3]])

    def test_is_a_sum_of_cosines(self) -> None:
        rng = np.random.default_rng(2)
        amplitudes = rng.normal(size=(2, 3)) + 1j * rng.normal(size=(2, 3))
        images = draw(self.x, self.y, self.g, amplitudes)
        assert images.shape == (2, 5, 7)
        for image, own in zip(images, amplitudes, strict=True):
            for i, y in enumerate(self.y):
                for j, x in enumerate(self.x):
                    naive = sum(
                        2 * (a * np.exp(2j * np.pi * (g @ [x, y]))).real for a, g in zip(own, self.g, strict=True)
                    )
                    assert image[i, j] == pytest.approx(naive, abs=2e-6)  # float32, of sums of six

    def test_layers_add_up_to_the_whole(self) -> None:
        model, placement = two_layers()
        field = bare_field((12, 9))
        both = predict(model, field, placement)
        parts = [predict(model, field, placement, only=layer) for layer in (0, 1)]
        np.testing.assert_allclose(sum(parts), both, atol=1e-5 * np.abs(both).max())  # float32
        assert min(np.abs(part).max() for part in parts) > 0.2 * np.abs(both).max()

    def test_what_layers_do_together_belongs_to_none(self) -> None:
        model, placement = two_layers()
        pair = lattices_of(Stack.bilayer(MOS2, (0, 0), 0.1))
        crossed = model.with_cross_terms((pair[0], pair[1]), placement.microscope)
        field = bare_field((12, 9))
        for layer in (0, 1):
            one, other = (predict(m, field, placement, only=layer) for m in (crossed, model))
            np.testing.assert_allclose(one, other, atol=1e-5 * np.abs(other).max())  # float32, more summands
        whole = predict(model, field, placement)
        assert np.abs(predict(crossed, field, placement) - whole).max() > 1e-3 * np.abs(whole).max()

    def test_noise_weakens_what_is_seen(self) -> None:
        model, placement = two_layers()
        quiet, loud = (predict(model, bare_field((12, 9), variance=v), placement) for v in (1.0, 25.0))
        np.testing.assert_allclose(quiet, 5 * loud, rtol=1e-5, atol=1e-5 * np.abs(quiet).max())  # float32


@cache
def two_layers(limit: float = 0.8) -> tuple[WaveModel, Placement]:
    """Of different brightness, at general positions, under a microscope off the prior's mean."""
    stack = Stack.bilayer(MOS2, (0.7, 1.3), 0.1, WSE2)
    model = build((MOS2, WSE2), lattices_of(stack), limit)
    placement = true_placement(stack, model)
    microscope = model.prior.mean + 0.3 * model.prior.sigma
    return model, replace(placement, scale=2.0, microscope=microscope, positions=placement.positions + [0.13, -0.08])


def as_vector(placement: Placement) -> FloatArray:
    """[scale, positions, reciprocals, microscope], as the covariance has them."""
    return np.concatenate(
        [[placement.scale], placement.positions.ravel(), placement.reciprocals.ravel(), placement.microscope]
    )


def from_vector(vector: FloatArray, like: Placement) -> Placement:
    a, b = 1 + like.positions.size, 1 + like.positions.size + like.reciprocals.size
    positions, reciprocals = vector[1:a].reshape(like.positions.shape), vector[a:b].reshape(like.reciprocals.shape)
    return Placement(vector[b:], float(vector[0]), positions, reciprocals)


class TestNormalEquations:
    """Without iterations the fit tells misfit and curvature where it starts."""

    @staticmethod
    def noisy_field(seed: int = 3) -> Field:
        field = bare_field((13, 11), step=2.7)
        rng = np.random.default_rng(seed)
        weight = rng.uniform(0.5, 1.5, field.values.shape).astype(np.float32)
        return replace(field, values=rng.normal(0, 3, field.values.shape).astype(np.float32), weight=weight)

    @staticmethod
    def naive(model: WaveModel, field: Field, placement: Placement, tie: Tie) -> tuple[FloatArray, float, FloatArray]:
        """Covariance, chi² and residual, pixel by pixel, from differences of the predicted image."""

        def image(vector: FloatArray) -> FloatArray:
            found = from_vector(vector, placement)
            g = model.reciprocal(found.reciprocals)
            phase = np.einsum("wla,la->w", model.orders, found.positions)
            amplitude = found.scale * model.amplitudes(found.microscope)[0] * np.exp(-2j * np.pi * phase)
            values = np.empty(field.values.shape)
            for i, y in enumerate(field.y):
                for j, x in enumerate(field.x):
                    values[i, j] = 2 * np.sum(amplitude * field.response(g) * np.exp(2j * np.pi * g @ [x, y])).real
            return np.asarray(values * field.weight).ravel()

        x, y = (part.ravel() for part in np.meshgrid(field.x, field.y))
        columns = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1) * field.weight.ravel()[:, None]

        def without_background(values: FloatArray) -> FloatArray:
            return values - columns @ np.linalg.lstsq(columns, values, rcond=None)[0]

        at = as_vector(placement)
        # steps: the image changes by about 1e-4 of itself
        steps = np.concatenate([[1e-4], np.full(4, 1e-5), np.full(8, 1e-7), 1e-4 * model.prior.sigma])
        slopes = []
        for index, step in enumerate(steps):
            change = np.eye(len(at))[index] * step
            slopes.append(without_background(image(at + change) - image(at - change)) / (2 * step))
        residual = without_background((field.values * field.weight).ravel() - image(at))
        information = np.array(slopes) @ np.array(slopes).T
        inside = slice(5, 13)
        slope = tie.slope(placement.reciprocals, tie.misfit)
        information[inside, inside] += slope.T @ slope
        information[13:, 13:] += np.diag(model.prior.sigma**-2)
        return np.linalg.inv(information), float(residual @ residual), residual

    def test_are_those_of_the_slow_sums(self) -> None:
        model, placement = two_layers(0.5)
        field, tie = self.noisy_field(), Tie.of(lattices_of(Stack.bilayer(MOS2, (0, 0), 0.1, WSE2)), 0.01)
        fit = fit_joint(model, field, placement, tie, free_microscope=True, iterations=0)
        covariance, chi2, _ = self.naive(model, field, placement, tie)
        assert fit.placement is placement
        assert fit.chi2 == pytest.approx(chi2, rel=1e-4)  # float32 images
        sigma = np.sqrt(np.diag(covariance))
        # as far as columns in float32 determine what is nearly degenerate: the inverse of 26 unknowns of 143 samples
        np.testing.assert_allclose(
            fit.covariance / np.outer(sigma, sigma), covariance / np.outer(sigma, sigma), atol=0.02
        )
        off = (tie.misfit(placement.reciprocals), (placement.microscope - model.prior.mean) / model.prior.sigma)
        assert fit.prior_misfit == pytest.approx(sum(float(part @ part) for part in off))
        assert fit.cost == fit.chi2 + fit.prior_misfit

    def test_a_held_microscope_has_no_share(self) -> None:
        model, placement = two_layers(0.5)
        tie = Tie.of(lattices_of(Stack.bilayer(MOS2, (0, 0), 0.1, WSE2)), 0.01)
        free, held = (
            fit_joint(model, self.noisy_field(), placement, tie, free_microscope=free, iterations=0)
            for free in (True, False)
        )
        assert held.covariance.shape == (13, 13)
        assert (np.diag(free.covariance)[:13] > np.diag(held.covariance)).all()  # what is free makes the rest less sure
        assert held.prior_misfit < free.prior_misfit

    def test_a_background_is_projected_out(self) -> None:
        model, placement = two_layers()
        field, tie = self.noisy_field(), Tie.of(lattices_of(Stack.bilayer(MOS2, (0, 0), 0.1, WSE2)), 0.01)
        x, y = field.x / np.ptp(field.x), field.y[:, None] / np.ptp(field.y)
        background = 40 - 25 * x + 18 * y + 30 * x * y - 44 * x**2 + 20 * y**2
        lit = replace(field, values=(field.values + background).astype(np.float32))
        one, other = (
            fit_joint(model, f, placement, tie, free_microscope=True, iterations=3, tolerance=0.0) for f in (field, lit)
        )
        # float32: 40 has a last digit of 4e-6, and sums over 143 samples
        assert other.chi2 == pytest.approx(one.chi2, rel=1e-4)
        sigma = np.sqrt(np.diag(one.covariance))
        np.testing.assert_allclose(as_vector(other.placement) / sigma, as_vector(one.placement) / sigma, atol=0.01)
        assert len(one.background) == len(other.background) == BACKGROUND
        power = np.sum((background * field.weight) ** 2)
        assert np.sum((other.background - one.background) ** 2) == pytest.approx(power, rel=1e-3)
        # a wave of the field is no background
        assert np.linalg.norm(one.background) < 0.2 * np.linalg.norm(other.background)

    def test_the_covariance_is_cut_into_its_parts(self) -> None:
        covariance = np.diag(np.arange(13.0))
        placement = two_layers()[1]
        fit = JointFit(placement, 230.0, 119.0, 0.0, covariance, np.zeros(BACKGROUND))
        assert fit.chi2_reduced == pytest.approx(2.3)  # 119 samples, 13 parameters, 6 of the background
        np.testing.assert_allclose(np.diag(fit.position_covariance), 2.3 * np.arange(1, 5))
        np.testing.assert_allclose(np.diag(fit.lattice_covariance), 2.3 * np.arange(5, 13))


def off_by(placement: Placement, positions: float, lattice: float) -> Placement:
    """A start off the truth by so many fractions of a cell and by such a share of the reciprocal lattices."""
    rng = np.random.default_rng(8)
    change = np.eye(2) + lattice * rng.uniform(-1, 1, (len(placement.reciprocals), 2, 2))
    moved = placement.positions + positions * rng.uniform(-1, 1, placement.positions.shape)
    return replace(placement, positions=moved, reciprocals=placement.reciprocals @ change, scale=0.7 * placement.scale)


def deviations(fit: JointFit, truth: Placement) -> FloatArray:
    """Positions and reciprocals, fitted less true."""
    positions = fit.placement.positions - truth.positions
    return np.concatenate(
        [(positions - np.rint(positions)).ravel(), (fit.placement.reciprocals - truth.reciprocals).ravel()]
    )


class TestFit:
    @pytest.mark.parametrize(
        ("names", "twist"),
        [(("MoS2", "MoS2"), 9.0), (("MoS2", "MoS2"), 1.2), (("ReS2", "ReS2"), 4.0), (("MoS2", "WSe2"), 2.0)],
    )
    def test_finds_what_an_image_was_made_with(self, names: tuple[str, str], twist: float) -> None:
        """Also where the reflections of both layers merge: 1.2° in 4 nm are a third of a resolution element."""
        layers = (load_monolayer(names[0]), load_monolayer(names[1]))
        stack = Stack.bilayer(layers[0], (0.7, 1.3), np.radians(twist), layers[1])
        lattices = lattices_of(stack)
        model = build(layers, lattices)
        truth = true_placement(stack, model)
        field = recorded(clean_image(stack, 400), np.random.default_rng(5)).cut((0.0, 0.0), 330)
        start = replace(off_by(truth, 0.05, 0.002), microscope=model.prior.mean)
        tie = Tie.of(lattices, 0.01)
        fit = fit_joint(model, field, start, tie, free_microscope=True)
        assert abs(fit.chi2_reduced - 1) < MORE_NOISE
        assert 0.9 < fit.placement.scale / truth.scale < 1.1  # what a prior of the species' brightness leaves open
        inside = slice(1, 13)
        off, covariance = deviations(fit, truth), fit.covariance[inside, inside] * fit.chi2_reduced
        # 12 numbers of the normal distribution, chi² with 12 degrees of freedom: one in 1e5
        assert off @ np.linalg.solve(covariance, off) < stats.chi2.ppf(1 - 1e-5, 12)
        slope = tie.slope(fit.placement.reciprocals, tie.twists)
        sigma = float(np.sqrt(slope @ fit.lattice_covariance @ slope.T)[0, 0])
        assert abs(float(tie.twists(fit.placement.reciprocals)[0]) - np.radians(twist)) < 4 * sigma
        assert sigma < np.radians(0.1)

    def test_exact_data_are_fitted_exactly(self) -> None:
        model, truth = two_layers()
        field = bare_field((40, 40))
        field = replace(field, values=predict(model, field, truth))
        tie = Tie.of(lattices_of(Stack.bilayer(MOS2, (0, 0), 0.1, WSE2)), 1.0)  # so wide that it does not pull
        fit = fit_joint(model, field, off_by(truth, 0.04, 0.003), tie, free_microscope=False, tolerance=1e-9)
        # of a power of some 1e4; float32
        assert fit.chi2 < 1e-6 * float(np.sum(field.values**2))
        np.testing.assert_allclose(fit.placement.positions, truth.positions, atol=1e-4)
        np.testing.assert_allclose(fit.placement.reciprocals, truth.reciprocals, atol=1e-6)
        assert fit.placement.scale == pytest.approx(truth.scale, rel=1e-4)

    def test_a_fit_never_gets_worse(self) -> None:
        model, truth = two_layers()
        field = replace(TestNormalEquations.noisy_field(), values=np.zeros((13, 11), dtype=np.float32))
        tie = Tie.of(lattices_of(Stack.bilayer(MOS2, (0, 0), 0.1, WSE2)), 0.01)
        costs = [
            fit_joint(model, field, truth, tie, free_microscope=True, iterations=n, tolerance=0.0).cost
            for n in (0, 1, 2, 9)
        ]
        assert costs == sorted(costs, reverse=True)
        assert costs[-1] < 0.1 * costs[0]  # nothing is seen: the scale goes to 0

    def test_three_layers_on_two_lattices(self) -> None:
        stack = Stack.of([MOS2] * 3, [(0.7, 1.3), (-0.9, 0.4)], [0.0, 0.12])
        first, _, third = lattices_of(stack)
        model = WaveModel.build((MOS2,) * 3, (first, third), (0, 0, 1), build((MOS2,), (first,)).parts[0].optics, 1.3)
        whole = true_placement(stack, model)
        truth = replace(whole, reciprocals=whole.reciprocals[[0, 2]])
        field = recorded(clean_image(stack, 400), np.random.default_rng(6)).cut((0.0, 0.0), 330)
        fit = fit_joint(model, field, off_by(truth, 0.04, 0.002), Tie.of((first, third), 0.01), free_microscope=True)
        off, inside = deviations(fit, truth), slice(1, 15)
        assert off @ np.linalg.solve(fit.covariance[inside, inside], off) < stats.chi2.ppf(1 - 1e-5, 14)

    @pytest.mark.parametrize(
        ("material", "twist", "dose", "free", "side", "draws"),
        [
            ("MoS2", 8.0, DOSE, False, 20.0, 40),
            ("MoS2", 2.0, DOSE, False, 20.0, 40),
            ("MoS2", 8.0, 4 * DOSE, False, 20.0, 40),
            ("MoS2", 2.0, DOSE, True, 20.0, 16),
            ("ReS2", 4.0, DOSE, True, 40.0, 5),
        ],
    )
    def test_covariance_is_calibrated(
        self, material: str, twist: float, dose: float, free: bool, side: float, draws: int
    ) -> None:
        """Exposures of 2 or 4 nm: deviations over their covariance are chi² distributed.

        In 4 nm the least certain unknown, coma, which moves the layers, has 1e-16 of the information of the most
        certain one, the lattice: it is lost if the covariance is computed without bringing them to one scale.
        """
        layer = load_monolayer(material)
        stack = Stack.bilayer(layer, (0.7, 1.3), np.radians(twist))
        lattices = lattices_of(stack)
        model = build((layer, layer), lattices)
        truth = true_placement(stack, model, dose=dose)
        expected = clean_image(stack, round(side / PIXEL_SIZE) + 70, dose=dose)
        tie = Tie.of(lattices, 0.3)  # as good as free: two resolution elements and more
        rng = np.random.default_rng(9)
        total, reduced = [], []
        for _ in range(draws):
            field = recorded(expected, rng).cut((0.0, 0.0), side / PIXEL_SIZE)
            fit = fit_joint(model, field, truth, tie, free_microscope=free, tolerance=0.01)
            off = deviations(fit, truth)
            total.append(float(off @ np.linalg.solve(fit.covariance[1:13, 1:13] * fit.chi2_reduced, off)))
            reduced.append(fit.chi2_reduced)
        low, high = stats.chi2.ppf([1e-4, 1 - 1e-4], 12 * draws)  # 0.77 and 1.26 of the mean for 40
        assert low < sum(total) < high
        assert 1 - 5 * np.sqrt(2 / fit.samples / draws) < np.mean(reduced) < 1 + MORE_NOISE

    @settings(derandomize=True, deadline=None, max_examples=5)
    @given(angles, st.booleans())
    def test_turning_the_image_turns_the_lattices(self, turn: float, mirrored: bool) -> None:
        """Exact data on samples that are turned with the image would be the same; here the crystal alone turns."""
        stack = Stack.bilayer(MOS2, (0.7, 1.3), 0.1)
        lattices = lattices_of(stack, ROTATION + turn, mirrored)
        model = build((MOS2, MOS2), lattices, 0.8)
        truth = replace(two_layers()[1], microscope=model.prior.mean, reciprocals=reciprocals_of(lattices))
        field = bare_field((36, 36))
        field = replace(field, values=predict(model, field, truth))
        tie = Tie.of(lattices, 0.01)
        fit = fit_joint(model, field, off_by(truth, 0.03, 0.002), tie, free_microscope=False, tolerance=1e-6)
        assert float(tie.twists(fit.placement.reciprocals)[0]) == pytest.approx(0.1, abs=1e-5)  # float32
        np.testing.assert_allclose(fit.placement.reciprocals, reciprocals_of(lattices), atol=1e-6)
