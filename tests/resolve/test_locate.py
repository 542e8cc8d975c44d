"""Where two layers lie, against images drawn for every pair of positions and against the truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from picostem.resolve.field import Field
from picostem.resolve.joint import Placement, predict
from picostem.resolve.locate import APART, LEAST_NORM, STEP, explained_alone, locate, locate_alone
from picostem.resolve.waves import WaveModel
from picostem.structure import Monolayer, Stack, load_monolayer

from .made import MOS2, RES2
from .made_twisted import bare_field, build, clean_image, lattices_of, recorded, true_placement

FloatArray = NDArray[np.float64]

WSE2 = load_monolayer("WSe2")
ROUGH = 0.8


def apart(one: FloatArray, other: FloatArray, cell: FloatArray) -> float:
    """Distance of two positions (fractions) modulo the lattice, Å."""
    difference = (one - other + 0.5) % 1 - 0.5
    steps = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), axis=-1).reshape(-1, 2)
    return float(np.linalg.norm((difference + steps) @ cell, axis=1).min())


def grid(cell: FloatArray) -> FloatArray:
    """Positions no further than STEP apart along each cell vector."""
    a, b = (np.arange(n) / n for n in np.ceil(np.linalg.norm(cell, axis=1) / STEP))
    return np.array([(one, other) for one in a for other in b])


def made(
    twist: float, layers: tuple[Monolayer, Monolayer] = (MOS2, MOS2), side: float = 330.0, seed: int | None = 5
) -> tuple[WaveModel, Field, Placement]:
    """A model, the field of an image and the truth."""
    stack = Stack.bilayer(layers[0], (0.7, 1.3), np.radians(twist), layers[1])
    model = build(layers, lattices_of(stack), ROUGH)
    rng = None if seed is None else np.random.default_rng(seed)
    return model, recorded(clean_image(stack, 400), rng).cut((0.0, 0.0), side), true_placement(stack, model)


@pytest.mark.parametrize(
    ("twist", "layers"), [(8.0, (MOS2, MOS2)), (1.0, (MOS2, MOS2)), (5.0, (MOS2, WSE2)), (1.0, (MOS2, WSE2))]
)
def test_true_positions_are_found(twist: float, layers: tuple[Monolayer, Monolayer]) -> None:
    """In 4 nm, also where the spots of both layers merge (at 1° they are a quarter of a resolution element apart)."""
    model, field, truth = made(twist, layers)
    best = locate(model, field, truth.microscope, truth.reciprocals, 1)[0]
    assert 0.4 < best.explained < 0.7  # half of the power is noise
    for found, true, layer in zip(best.positions, truth.positions, layers, strict=True):
        # the nearest point of the grid is at most half a long diagonal of its cells away, the image a little beyond
        assert apart(found, true, layer.cell) < STEP
    assert 0.5 < best.scale / truth.scale < 1.1  # half a step off turns waves of 0.6 1/Å by up to 1.2 rad


def test_positions_are_right_with_the_mean_microscope() -> None:
    """As they are looked for: defocus and blur not known yet."""
    model, field, truth = made(3.0)
    found = locate(model, field, model.prior.mean, truth.reciprocals, 2)
    assert any(
        all(apart(one, true, MOS2.cell) < 1.5 * STEP for one, true in zip(f.positions, truth.positions, strict=True))
        for f in found
    )


class TestOracle:
    """Every pair of positions of a grid, with its images drawn and compared sample by sample."""

    @staticmethod
    def scores(
        model: WaveModel, field: Field, truth: Placement
    ) -> tuple[FloatArray, FloatArray, tuple[FloatArray, FloatArray]]:
        """Drop of the misfit and scale of all pairs, and the grids."""
        grids = (grid(model.parts[0].cell), grid(model.parts[1].cell))
        images = []
        for layer, own in enumerate(grids):
            places = [np.array([one, one]) for one in own]
            drawn = [
                predict(model, field, replace(truth, scale=1.0, positions=place), only=layer).ravel()
                for place in places
            ]
            images.append(np.array(drawn, dtype=np.float64))
        data = field.values.astype(np.float64).ravel()
        score = np.zeros((len(grids[0]), len(grids[1])))
        scale = np.zeros_like(score)
        for i, one in enumerate(images[0]):
            for j, other in enumerate(images[1]):
                both = one + other
                scale[i, j] = max(float(data @ both), 0.0) / float(both @ both)
                score[i, j] = scale[i, j] ** 2 * float(both @ both)
        return score / float(data @ data), scale, grids

    @pytest.mark.parametrize("twist", [7.0, 1.0])
    def test_the_best_pair_and_what_it_explains(self, twist: float) -> None:
        model, field, truth = made(twist)
        field = replace(field, weight=np.ones_like(field.weight))
        score, scale, grids = self.scores(model, field, truth)
        best = locate(model, field, truth.microscope, truth.reciprocals, 1)[0]
        i, j = (int(np.argmin(np.abs(g - p).sum(axis=1))) for g, p in zip(grids, best.positions, strict=True))
        np.testing.assert_allclose([grids[0][i], grids[1][j]], best.positions, atol=1e-9)
        # a layer's power is taken to be that of its waves alone: their products over the field are some per cent
        assert score[i, j] > 0.99 * score.max()
        assert best.explained == pytest.approx(score[i, j], rel=0.03)
        assert best.scale == pytest.approx(scale[i, j], rel=0.03)

    def test_one_layer_alone(self) -> None:
        _, field, truth = made(7.0)
        field = replace(field, weight=np.ones_like(field.weight))
        one = build((MOS2,), lattices_of(Stack.of([MOS2])), ROUGH)
        reciprocals = truth.reciprocals[:1]
        shares = []
        for place in grid(MOS2.cell):
            placement = Placement(one.prior.mean, 1.0, place[None], reciprocals)
            image = predict(one, field, placement).astype(np.float64)
            overlap = max(float(np.sum(image * field.values)), 0.0)
            shares.append(overlap**2 / float(np.sum(image**2)) / float(np.sum(field.values.astype(np.float64) ** 2)))
        found = explained_alone(one, field, one.prior.mean, reciprocals)
        assert found == pytest.approx(max(shares), rel=0.03)  # as above
        there = locate_alone(one, field, one.prior.mean, reciprocals)
        np.testing.assert_allclose(there, grid(MOS2.cell)[int(np.argmax(shares))], atol=1e-9)
        assert apart(there, truth.positions[0], MOS2.cell) < STEP

    def test_weights_count_by_their_squares(self) -> None:
        """Half of the field of no weight is as good as not there."""
        model, field, truth = made(7.0, seed=None)
        left = replace(field, weight=np.where(field.x < 0, 1.0, 1e-6) * np.ones_like(field.weight))
        spoilt = np.where(field.x < 0, field.values, np.random.default_rng(1).normal(0, 50, field.values.shape))
        one, other = (
            locate(model, replace(left, values=v.astype(np.float32)), truth.microscope, truth.reciprocals, 1)[0]
            for v in (field.values, spoilt)
        )
        np.testing.assert_array_equal(one.positions, other.positions)
        assert other.explained == pytest.approx(one.explained, rel=1e-3)


class TestAlternatives:
    def test_come_best_first_and_lie_apart(self) -> None:
        model, field, truth = made(1.0)
        found = locate(model, field, truth.microscope, truth.reciprocals, 5)
        shares = [one.explained for one in found]
        assert 1 < len(found) <= 5
        assert shares == sorted(shares, reverse=True)
        for k, one in enumerate(found):
            for other in found[:k]:
                off = np.abs((one.positions - other.positions + 0.5) % 1 - 0.5)
                assert off.max() >= APART

    def test_of_equal_layers_are_their_exchange(self) -> None:
        """At a small twist the layers may change places: the next best, but for the turn over the field."""
        model, field, truth = made(0.3)
        best, second = locate(model, field, truth.microscope, truth.reciprocals, 2)
        for found, true in zip(second.positions, best.positions[::-1], strict=True):
            assert apart(found, true, MOS2.cell) < 2 * STEP
        assert second.explained < best.explained < 1.2 * second.explained

    def test_more_are_not_made_up(self) -> None:
        model, field, truth = made(7.0, side=150.0)
        # with positions a quarter of a cell apart there are 4^4 maxima at most
        assert len(locate(model, field, truth.microscope, truth.reciprocals, 400)) <= 256


def test_layers_that_cancel_are_not_believed() -> None:
    """Layers half a period apart nearly erase each other's strongest waves: any field would fit at a great scale."""
    model, _, truth = made(0.0)
    field = bare_field((60, 60))
    noise = np.random.default_rng(2).normal(0, 1, field.values.shape).astype(np.float32)
    best = locate(model, replace(field, values=noise), truth.microscope, truth.reciprocals, 1)[0]
    images = [predict(model, field, replace(truth, scale=1.0, positions=best.positions), only=k) for k in (0, 1)]
    power = sum(float(np.sum(image.astype(np.float64) ** 2)) for image in images)
    assert best.scale**2 * LEAST_NORM * power <= 1.1 * float(np.sum(noise.astype(np.float64) ** 2))
    # two numbers a grid of 64² pairs can choose for, and four waves: far from what a lattice explains
    assert best.explained < 0.02


def test_nothing_is_explained_where_nothing_is_seen() -> None:
    model, field, truth = made(7.0)
    one = build((RES2,), lattices_of(Stack.of([RES2])), ROUGH)
    dark = replace(field, values=np.random.default_rng(4).normal(0, 1, field.values.shape).astype(np.float32))
    lattice = lattices_of(Stack.of([RES2]))[0].reciprocal[None]
    assert explained_alone(one, dark, one.prior.mean, lattice) < 0.01  # a few of 10 000 samples
    assert locate(model, dark, truth.microscope, truth.reciprocals, 1)[0].explained < 0.01
