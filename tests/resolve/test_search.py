"""The coarse search against trying every slip and every origin."""

from __future__ import annotations

import numpy as np
import pytest

from picostem.resolve.estimate import State, predict
from picostem.resolve.search import APART, KEPT, MODEL_ERROR, SEEDS, SLIP_STEP, Coarse, coarse_search, placed, slip_grid
from picostem.structure import SlipEquivalence, load_monolayer

from .made import MOS2, RES2, make_model, make_state

MODEL = make_model(2)
RNG = np.random.default_rng(0)
STATE = make_state(MODEL, 4, RNG)
NOISE = RNG.uniform(0.5e-3, 1e-3, len(MODEL.hk))
AMPLITUDES = predict(MODEL, STATE) + np.sqrt(NOISE / 2) * (RNG.normal(size=(4, len(NOISE), 2)) @ (1, 1j))


@pytest.mark.parametrize("name", ["ReS2", "MoS2"])
def test_grid_covers_the_cell(name: str) -> None:
    cell = load_monolayer(name).cell
    slips = slip_grid(cell)
    assert len({tuple(s) for s in slips.tolist()}) == len(slips)
    points = np.random.default_rng(1).uniform(0, 1, (300, 2))
    off = (points[:, None] - slips + 0.5) % 1 - 0.5
    nearest = np.linalg.norm(off @ cell, axis=-1).min(axis=1)
    assert nearest.max() < SLIP_STEP  # half a diagonal of a rhombus of that side, at 120°, is less


def test_search_is_the_best_over_all_origins() -> None:
    slips = slip_grid(RES2.cell)[::40, None]
    search = coarse_search(MODEL, STATE.microscope, AMPLITUDES, NOISE, slips)
    value = MODEL.layer_factors(STATE.microscope)[0]
    size = 1 << int(2 * np.abs(MODEL.hk).max()).bit_length()  # the power of two that holds all reflections
    t = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij"), axis=-1).reshape(-1, 2) / size
    for w in range(2):
        weight = 1 / (NOISE + MODEL_ERROR * np.abs(AMPLITUDES[w]) ** 2)
        for m, slip in enumerate(slips):
            template = value[0] + value[1] * np.exp(-2j * np.pi * MODEL.hk @ slip[0])
            moved = template * np.exp(-2j * np.pi * t @ MODEL.hk.T)
            overlap = (moved.conj() @ (weight * AMPLITUDES[w])).real
            norm = np.sum(weight * np.abs(template) ** 2)
            best = overlap.max()
            explained = max(best, 0) ** 2 / norm / np.sum(weight * np.abs(AMPLITUDES[w]) ** 2)
            assert search.explained[w, m] == pytest.approx(explained, rel=1e-4)  # single precision transform
            assert search.scales[w, m] == pytest.approx(best / norm, rel=1e-4)
            np.testing.assert_allclose(search.origins[w, m], t[overlap.argmax()], atol=1e-9)


def test_truth_lies_next_to_the_best_slip() -> None:
    search = coarse_search(MODEL, STATE.microscope, AMPLITUDES, NOISE)
    found = search.slips[search.explained.argmax(axis=1), 0] @ RES2.cell
    fixed = SlipEquivalence(RES2, frame_fixed=True)
    assert (fixed.distance(found, STATE.slips[:, 0] @ RES2.cell) < 1.5 * SLIP_STEP).all()
    assert (search.explained >= 0).all()
    assert (search.explained <= 1 + 1e-5).all()  # single precision
    assert (search.explained.max(axis=1) > 0.5).all()  # half a step of slip and of origin leave that much


def test_given_slips_are_not_changed() -> None:
    search = coarse_search(MODEL, STATE.microscope, AMPLITUDES, NOISE, STATE.slips, zoom=4)
    np.testing.assert_array_equal(search.explained.argmax(axis=1), np.arange(4))
    np.testing.assert_array_equal(search.slips, STATE.slips)
    # origins on a grid of 1/128: the scale comes out to (2 pi |h| / 256)² / 2
    np.testing.assert_allclose(np.diag(search.scales), STATE.scale, rtol=0.05)


def test_one_layer_has_no_slip() -> None:
    model = make_model(1, MOS2)
    state = make_state(model, 2, np.random.default_rng(2))
    search = coarse_search(model, state.microscope, predict(model, state), np.full(len(model.hk), 1e-4), zoom=4)
    assert search.explained.shape == (2, 1)
    off = (search.origins[:, 0] - state.origin + 0.5) % 1 - 0.5
    assert np.abs(off).max() < 0.6 / 32  # half a step of the grid of at least 1/32
    start = search.state(state.microscope, np.zeros(2, dtype=int))
    assert start.slips.shape == (2, 0, 2)


def test_places_of_known_slips_are_those_of_the_search() -> None:
    search = coarse_search(MODEL, STATE.microscope, AMPLITUDES, NOISE, STATE.slips)
    found = placed(MODEL, STATE.microscope, AMPLITUDES, NOISE, STATE.slips)
    expected = search.state(STATE.microscope, np.arange(4))
    np.testing.assert_array_equal(found.slips, STATE.slips)
    np.testing.assert_array_equal(found.origin, expected.origin)
    np.testing.assert_allclose(found.scale, expected.scale, rtol=1e-5)  # correlations in single precision


def coarse() -> Coarse:
    slips = np.array([[0.0, 0.0], [0.02, 0.0], [0.5, 0.5], [0.97, 0.0], [0.3, 0.1]])
    explained = np.array([[0.9, 0.95, 0.7, 0.8, 0.1], [0.9, 0.8, 0.9, 0.9, 0.1]])
    return Coarse(slips[:, None], explained, np.arange(20.0).reshape(2, 5, 2), np.arange(10.0).reshape(2, 5))


def test_best_common_slips_lie_apart_on_the_torus() -> None:
    assert coarse().best_common(1) == [0]  # 1.8 of 2, before 1.75
    assert coarse().best_common(3) == [0, 2, 4]  # 0.97 and 0.02 are neighbours of 0
    assert coarse().best_common(2, apart=0.01) == [0, 1]
    assert len(coarse().best_common(9)) == 3


def test_state_of_a_choice() -> None:
    state = coarse().state(np.zeros(3), np.array([2, 4]))
    assert isinstance(state, State)
    np.testing.assert_array_equal(state.slips, [[[0.5, 0.5]], [[0.3, 0.1]]])
    np.testing.assert_array_equal(state.origin, [[4, 5], [18, 19]])
    np.testing.assert_array_equal(state.scale, [2, 9])


class TestThreeLayers:
    model = make_model(3)
    stackings = model.stackings

    def search(self, seed: int, share: float = 0.01) -> tuple[Coarse, State]:
        """Search in windows of one stacking, with noise of a share of the mean power."""
        state = make_state(self.model, 4, np.random.default_rng(seed), spread=0.0)
        clean = predict(self.model, state)
        noise = np.full(len(self.model.hk), share * np.mean(np.abs(clean) ** 2))
        draws = np.random.default_rng(seed + 100).normal(size=(*clean.shape, 2)) @ (1, 1j)
        amplitudes = clean + np.sqrt(noise / 2) * draws
        return coarse_search(self.model, state.microscope, amplitudes, noise), state

    @pytest.mark.parametrize("seed", range(4))
    def test_the_best_stacking_lies_next_to_the_truth(self, seed: int) -> None:
        search, state = self.search(seed)
        best = search.slips[search.best_common(1)[0]]
        # places on a grid of 1/32 of the cell for one layer, 1/16 and the slip's own for the others
        assert self.stackings.distance(best @ RES2.cell, state.slips[0] @ RES2.cell) < 2 * SLIP_STEP

    def test_like_stackings_are_proposed_once(self) -> None:
        search, _ = self.search(9)
        slips = search.slips @ RES2.cell
        apart = self.stackings.distance(slips[:, None], slips[None])[np.triu_indices(len(slips), 1)]
        assert apart.min() > APART
        assert 3 < len(slips) <= SEEDS * KEPT

    def test_templates_are_the_model(self) -> None:
        state = make_state(self.model, 2, np.random.default_rng(3))
        known = coarse_search(
            self.model, state.microscope, predict(self.model, state), np.ones(len(self.model.hk)), state.slips, zoom=8
        )
        # the origin is found to 1/128 of the cell: a phase of up to 2 pi 7 / 256 in the highest harmonics
        np.testing.assert_allclose(np.diag(known.explained), 1, atol=0.05)
        np.testing.assert_allclose(np.diag(known.scales), state.scale, rtol=0.05)
