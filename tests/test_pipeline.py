"""From an image to a result: known stackings, frames, hypotheses, boundaries, multislice truth and micrographs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data as photographs

from picostem.bench.score import score_slips
from picostem.errors import ImageError, UnknownMaterialError, UsageError
from picostem.files import read_image
from picostem.image import Acquisition, Image
from picostem.physics import DEGREE
from picostem.pipeline import resolve, resolve_with
from picostem.resolve.result import Result
from picostem.resolve.settings import Settings
from picostem.simulate import AcquisitionSettings, Microscope, simulate_periodic, simulate_stack
from picostem.structure import Monolayer, SlipEquivalence, Stack, image_from_crystal, load_monolayer
from picostem.structure.equivalence import trilayer_distance, twist_distance
from picostem.structure.lattice import shortest

from .resolve.made import (
    BOUNDARY,
    KNOWN,
    MICROSCOPE,
    MOS2,
    OTHER_SLIP,
    PIXEL_SIZE,
    RES2,
    ROTATION,
    SLIP,
    simulated,
    two_halves,
)

FloatArray = NDArray[np.float64]

SHARED = Path(__file__).parents[2] / "shared"
needs_bench = pytest.mark.skipif(not (SHARED / "bench").is_dir(), reason="the multislice bench is not here")
needs_micrographs = pytest.mark.skipif(not (SHARED / "data/bilayers").is_dir(), reason="the micrographs are not here")

EQUIVALENCE = SlipEquivalence(RES2)


@cache
def resolved() -> Result:
    """The simulated bilayer, pixel size unknown."""
    return resolve(simulated(), "ReS2", **KNOWN)


class TestKnownStacking:
    def test_slip_is_right_within_its_error(self) -> None:
        result = resolved()
        (interface,) = result.interfaces
        assert (result.verdict, result.reason) == ("slip", None)
        score = score_slips(interface.slip[None], interface.slip_covariance[None], SLIP, EQUIVALENCE)
        assert score.mahalanobis[0] < 13.8  # 99.9 % of two degrees of freedom
        assert score.error[0] < 0.02  # Å: 3 σ at this dose

    def test_its_error_is_at_least_the_bound(self) -> None:
        (interface,) = resolved().interfaces
        assert 0.002 < interface.slip_bound < interface.slip_sigma < 0.03
        assert interface.slip_spread == 0

    def test_slip_in_units_of_the_cell(self) -> None:
        (interface,) = resolved().interfaces
        np.testing.assert_allclose(interface.slip_frac @ RES2.cell, interface.slip, atol=1e-12)

    def test_equivalents_hold_the_truth_and_the_slip(self) -> None:
        (interface,) = resolved().interfaces
        near = np.linalg.norm(shortest(interface.equivalents - interface.slip, RES2.cell), axis=1)
        assert near.min() < 1e-9
        assert len(interface.equivalents) == EQUIVALENCE.count

    def test_lattice_orientation_and_pixel_size(self) -> None:
        result = resolved()
        first, second = result.layers
        assert not first.mirrored
        # two-fold symmetry of ReS2; 34 Å of lattice placed to 0.05 Å
        assert np.abs(np.sin(first.rotation - ROTATION)) < 2e-3
        assert result.pixel_size_lattice == pytest.approx(PIXEL_SIZE, rel=1e-3)
        assert result.image.pixel_size_source == "lattice"
        assert result.image.pixel_size == (result.pixel_size_lattice,) * 2
        np.testing.assert_allclose(second.position, result.interfaces[0].slip)
        frame = image_from_crystal(ROTATION, False)
        expected = RES2.cell @ frame.T
        sign = np.sign(np.sum(first.rows * expected))
        np.testing.assert_allclose(sign * first.rows, expected, atol=0.02)  # Å: 3e-3 of 6.5

    def test_layers_lie_where_the_model_was_drawn(self) -> None:
        """Both layers' lattice origins, image frame: one at (0, 0), one at the slip, in either order."""
        result = resolved()
        frame = image_from_crystal(ROTATION, False)
        expected = [np.zeros(2), frame @ SLIP]
        rows = result.layers[0].rows
        pairs = [[np.linalg.norm(shortest(layer.origin - e, rows)) for e in expected] for layer in result.layers]
        # atoms of the field's centre are placed to σ of slip and origin
        assert min(pairs[0][0] + pairs[1][1], pairs[0][1] + pairs[1][0]) < 0.03

    def test_microscope(self) -> None:
        m = resolved().microscope
        assert m is not None
        assert (m.voltage_eV, m.source, m.semiangle_sigma) == (300e3, "user", 0)
        # Å; a third of the depth of focus
        assert abs(m.defocus - MICROSCOPE.defocus) < 15
        assert m.source_fwhm == pytest.approx(MICROSCOPE.source_fwhm, abs=max(4 * m.source_fwhm_sigma, 0.02))
        assert abs(m.C12 * np.exp(2j * m.phi12) - MICROSCOPE.C12) < 5 * max(m.C12_sigma, 1.0)

    def test_quality(self) -> None:
        quality = resolved().quality
        assert quality is not None
        # 4 windows of 150 data: 6 %; strong peaks 3 resolution elements apart raise the noise level by up to 40 %
        assert 0.6 < quality.chi2_reduced < 1.15
        assert quality.explained > 0.99
        one, opposite = quality.alternatives
        assert one.delta_chi2 > 1000  # a second layer is there beyond any doubt
        assert np.isfinite(opposite.delta_chi2)

    def test_map(self) -> None:
        slip_map = resolved().map
        assert slip_map is not None
        assert slip_map.grid == (3, 3)
        assert (slip_map.status == "ok").all()
        assert not slip_map.fine.any()
        score = score_slips(slip_map.slip, slip_map.covariance, SLIP, EQUIVALENCE)
        assert (score.mahalanobis < 18.4).all()  # 99.99 % each
        assert score.mahalanobis.mean() < 2 * 2  # 9 overlapping windows, some 4 independent: 2 ± 1
        (domain,) = slip_map.domains
        assert domain.share == 1
        assert slip_map.boundaries == ()
        assert "9 windows of 2" in repr(slip_map)

    def test_image_of_the_model(self) -> None:
        again = resolved().simulated
        assert again is not None
        data = simulated().data
        assert again.shape == data.shape
        residual = data - again
        # means of windows, blended: those at the border count more than their pixels, 0.5 % of noise
        assert again.mean() == pytest.approx(data.mean(), rel=1e-2)
        # what is left is Poisson noise: its variance is the mean
        assert residual.var() == pytest.approx(data.mean(), rel=0.05)

    def test_seconds_add_up(self) -> None:
        seconds = dict(resolved().seconds)
        total = seconds.pop("total")
        assert sum(seconds.values()) == pytest.approx(total, abs=0.02)  # rounded to 0.1 ms, and the clock's own time

    def test_text(self) -> None:
        assert repr(resolved()).startswith("Result(slip: ReS2, D = (")


FRAMES: dict[str, tuple[Callable[[Any], Any], FloatArray]] = {
    "left to right": (np.fliplr, np.diag([-1.0, 1.0])),
    "by a quarter turn": (np.rot90, np.array([[0.0, -1.0], [1.0, 0.0]])),
    "rows for columns": (np.transpose, np.array([[0.0, -1.0], [-1.0, 0.0]])),
}
"""What is done to the pixels, and the same for vectors in the image frame (x right, y up)."""


@pytest.mark.parametrize("name", FRAMES)
def test_turned_images_give_turned_results(name: str) -> None:
    turn, matrix = FRAMES[name]
    before = resolved()
    image = replace(simulated(), data=np.ascontiguousarray(turn(simulated().data)))
    after = resolve(image, "ReS2", **KNOWN)
    assert after.layers[0].mirrored == (before.layers[0].mirrored != (np.linalg.det(matrix) < 0))
    # the same electrons: only the grid of windows and the fit's path differ
    assert EQUIVALENCE.distance(after.interfaces[0].slip, before.interfaces[0].slip) < 2e-3
    # in the image frame, where the crystal's own symmetry plays no part: the slip's vector turns with the pixels
    old, new = (
        image_from_crystal(r.layers[0].rotation, r.layers[0].mirrored) @ r.interfaces[0].slip for r in (before, after)
    )
    rows = after.layers[0].rows
    off = [np.linalg.norm(shortest(new - sign * matrix @ old, rows)) for sign in (1, -1)]
    assert min(off) < 5e-3  # and the lattice's rotation, to 1e-3 of 2 Å


def test_a_known_pixel_size_changes_nothing_but_its_source() -> None:
    image = simulated().with_pixel_size(PIXEL_SIZE, "file")
    result = resolve(image, "ReS2", **KNOWN)
    assert result.image.pixel_size_source == "file"
    assert EQUIVALENCE.distance(result.interfaces[0].slip, resolved().interfaces[0].slip) < 2e-3
    told = resolve(simulated(), "ReS2", pixel_size_A=PIXEL_SIZE, **KNOWN)
    assert told.image.pixel_size == (PIXEL_SIZE, PIXEL_SIZE)
    assert told.image.pixel_size_source == "user"


def test_an_unknown_microscope_is_found() -> None:
    bare = replace(simulated(), acquisition=Acquisition())
    result = resolve(bare, "ReS2")
    assert result.verdict == "slip"
    assert result.microscope is not None
    assert result.microscope.source == "fitted"
    # its detector and semiangle are only guessed: 0.01 Å of the model's own error more
    assert EQUIVALENCE.distance(result.interfaces[0].slip, SLIP) < 0.03


def test_an_array_is_an_image() -> None:
    result = resolve(simulated().data, "ReS2", layers="2", **KNOWN)
    assert result.verdict == "slip"
    np.testing.assert_allclose(result.interfaces[0].slip, resolved().interfaces[0].slip, atol=1e-9)


def test_brightness_and_contrast_do_not_matter() -> None:
    image = replace(simulated(), data=(3000 + 41.5 * simulated().data).astype(np.float32))
    result = resolve(image, "ReS2", **KNOWN)
    # float32 of larger numbers: 1e-4 of the noise
    assert EQUIVALENCE.distance(result.interfaces[0].slip, resolved().interfaces[0].slip) < 1e-3


def test_progress_is_told() -> None:
    said: list[tuple[str, int, int]] = []
    resolve_with(simulated(), Settings("ReS2", **KNOWN), lambda *step: said.append(step))  # type: ignore[arg-type]
    names = list(dict.fromkeys(name for name, _, _ in said))
    assert names.index("lattice and microscope") < names.index("hypotheses") < names.index("windows")
    counted = [(done, total) for name, done, total in said if name == "windows" and total]
    assert counted == sorted(counted)
    assert counted[-1] == (9, 9)
    assert all(done == total == 0 for name, done, total in said if name != "windows")


def test_oblong_pixels() -> None:
    """Rows half as far again apart as columns: the slip is the same, and the result lies on the image's own pixels."""
    clean = simulate_periodic(Stack.bilayer(RES2, SLIP), MICROSCOPE, (800, 800), PIXEL_SIZE / 2, rotation=ROTATION)
    size = (1.5 * PIXEL_SIZE, PIXEL_SIZE)
    data = np.random.default_rng(1).poisson(clean[::3, ::2] * 2.6e4 * size[0] * size[1]).astype(np.float32)
    result = resolve(Image(data).with_pixel_size(size, "file"), "ReS2", **KNOWN)
    assert result.verdict == "slip"
    assert EQUIVALENCE.distance(result.interfaces[0].slip, SLIP) < 0.02  # Å: 3 σ
    assert result.image.data is data
    assert result.image.pixel_size == size
    assert result.simulated is not None
    assert result.simulated.shape == data.shape
    residual = data - result.simulated
    # Poisson noise, and what the spline leaves of the fitted waves: a few per cent
    assert residual.var() == pytest.approx(data.mean(), rel=0.1)
    slip_map = result.map
    assert slip_map is not None
    x, y = (slip_map.col - (data.shape[1] - 1) / 2) * size[1], ((data.shape[0] - 1) / 2 - slip_map.row) * size[0]
    # the pixel size by the lattice is right to 1e-3 of 20 Å; resampling rounds to whole pixels
    np.testing.assert_allclose(slip_map.position, np.stack([x, y], axis=1), atol=0.1)


def test_layers_that_scatter_independently() -> None:
    """At 60 kV what layers do together is 8 % of the strongest harmonic; it is not in a linear model's image."""
    slip = np.array([0.5, 0.25])
    lab = {"voltage_kV": 60.0, "semiangle_mrad": 31.5, "detector_mrad": (49.5, 150.0)}
    image, _ = simulate_stack(
        Stack.bilayer(MOS2, slip),
        Microscope.from_lab_units(**lab, source_fwhm_A=0.7),
        AcquisitionSettings(dose=1e6),
        (336, 336),
        PIXEL_SIZE,
        np.random.default_rng(8),
        together=False,
    )
    alone, together = (
        resolve(image.data, "MoS2", layers="2", scattering=scattering, pixel_size_A=PIXEL_SIZE, **lab)
        for scattering in ("independent", "full")
    )
    (found,) = alone.interfaces
    assert SlipEquivalence(MOS2).distance(found.slip, slip) < 3 * found.slip_bound
    assert alone.quality is not None and together.quality is not None
    assert together.quality.chi2_reduced > 1.3 * alone.quality.chi2_reduced


class TestHypotheses:
    rng = np.random.default_rng(8)

    def unresolved(self, data: NDArray[Any], material: str = "ReS2", **options: Any) -> str:
        result = resolve(data.astype(np.float32), material, **{**KNOWN, **options})
        assert result.verdict == "unresolved"
        assert result.reason
        assert result.interfaces == result.layers == ()
        assert result.map is None
        assert "unresolved: " in repr(result)
        return result.reason

    def test_noise(self) -> None:
        assert "No crystal lattice was found" in self.unresolved(self.rng.poisson(20, (300, 300)))

    def test_constant_slope(self) -> None:
        y, x = np.mgrid[:300, :300]
        ramp = 0.3 * x + 0.1 * y + 5 + self.rng.normal(0, 1, (300, 300))
        assert "No crystal lattice was found" in self.unresolved(ramp, pixel_size_A=0.12)

    @pytest.mark.parametrize("photograph", ["camera", "brick", "coins", "text"])
    def test_photograph(self, photograph: str) -> None:
        assert self.unresolved(getattr(photographs, photograph)())

    def test_too_few_electrons(self) -> None:
        assert self.unresolved(simulated(dose=30.0).data)

    @pytest.mark.parametrize("material", ["MoS2", "graphene", "1T'-MoTe2"])
    def test_another_material(self, material: str) -> None:
        self.unresolved(simulated().data, material, pixel_size_A=PIXEL_SIZE)

    def test_simpler_crystal_than_asked_for(self) -> None:
        image = simulated((0.5, 0.9), material="MoS2")
        reason = self.unresolved(image.data, "ReS2", pixel_size_A=PIXEL_SIZE)
        assert "ReS2" in reason

    def test_second_lattice(self) -> None:
        image, _ = simulate_stack(
            Stack.bilayer(MOS2, (0.4, 0.2), twist=np.radians(14)),
            MICROSCOPE,
            AcquisitionSettings(),
            (336, 336),
            PIXEL_SIZE,
            np.random.default_rng(3),
        )
        found = resolve(image.data, "MoS2", **KNOWN)
        assert found.verdict == "twist"
        assert twist_distance(found.interfaces[0].twist, 14 * DEGREE, MOS2) < 0.1 * DEGREE  # 5 sigma
        assert "lies off one lattice of MoS2" in self.unresolved(image.data, "MoS2", layers="1")

    def test_monolayer(self) -> None:
        image = simulated(None)
        result = resolve(image, "ReS2", **KNOWN)
        assert result.verdict == "monolayer"
        assert result.reason is not None
        assert "One layer explains the image" in result.reason
        assert len(result.layers) == 1
        assert result.map is None
        assert len(result.interfaces) == 1  # of the second layer that may hide behind it
        assert np.linalg.norm(result.interfaces[0].slip) < 0.5
        (second,) = result.quality.alternatives  # type: ignore[union-attr]
        assert second.delta_chi2 <= 0

    def test_number_of_layers_can_be_told(self) -> None:
        alone = resolve(simulated(), "ReS2", layers="1", **KNOWN)
        assert (alone.verdict, alone.reason) == ("monolayer", "One layer was asked for.")
        pair = resolve(simulated(None), "ReS2", layers="2", **KNOWN)
        assert pair.verdict == "slip"
        # a monolayer is two layers that eclipse each other
        assert np.linalg.norm(pair.interfaces[0].slip) < 0.5


THREE = np.array([SLIP, [-2.1, 0.6]])
"""Slips of layer 2 over 1 and of 3 over 2, Å."""


def stacked(layers: list[Monolayer], slips: FloatArray, seed: int = 5) -> Image:
    """Simulated by the linear model, without pixel size."""
    image, _ = simulate_stack(
        Stack.of(layers, list(slips)),
        MICROSCOPE,
        AcquisitionSettings(),
        (336, 336),
        PIXEL_SIZE,
        np.random.default_rng(seed),
        rotation=ROTATION,
    )
    return replace(image, pixel_size=None, pixel_size_source=None)


def positions(slips: FloatArray) -> FloatArray:
    return np.concatenate([np.zeros((1, 2)), np.cumsum(slips, axis=0)])


@pytest.fixture(scope="module", name="three")
def resolved_trilayer() -> Result:
    return resolve(stacked([RES2] * 3, THREE), "ReS2", **KNOWN)


class TestThreeLayers:
    def test_positions(self, three: Result) -> None:
        assert (three.verdict, len(three.layers)) == ("slip", 3)
        found = np.array([layer.position for layer in three.layers])
        # 3 σ of slips, and what the interference that the linear image lacks moves
        assert trilayer_distance(found, positions(THREE), RES2).max < 0.03
        np.testing.assert_allclose(found, positions(np.array([i.slip for i in three.interfaces])), atol=1e-9)

    def test_each_interface_has_a_map(self, three: Result) -> None:
        assert [m.interface for m in three.maps] == [1, 2]
        for slip_map, interface in zip(three.maps, three.interfaces, strict=True):
            assert (slip_map.status == "ok").all()
            assert np.linalg.norm(slip_map.slip - interface.slip, axis=1).max() < 0.1  # Å: 4 σ of a window
            assert len(slip_map.domains) == 1
        np.testing.assert_array_equal(three.maps[0].position, three.maps[1].position)

    def test_other_readings_are_told(self, three: Result) -> None:
        assert three.quality is not None
        cost = {a.hypothesis: a.delta_chi2 for a in three.quality.alternatives}
        assert cost["one layer"] > cost["two parallel layers"] > 1000
        orders = [name for name in cost if "in the order" in name]
        assert len(orders) == 5

    def test_image_of_the_model(self, three: Result) -> None:
        assert three.simulated is not None
        residual = three.image.data - three.simulated
        assert residual.var() == pytest.approx(three.image.data.mean(), rel=0.05)  # Poisson noise

    def test_two_layers_can_be_asked_for_but_do_not_describe_it(self) -> None:
        result = resolve(stacked([RES2] * 3, THREE), "ReS2", layers="2", **KNOWN)
        assert result.verdict == "unresolved"
        assert result.reason is not None
        assert "or more layers" in result.reason

    def test_where_the_stacking_changes(self) -> None:
        """Left half one stacking, right half another, on one lattice."""
        others = np.array([SLIP, [1.5, 1.0]])
        image, other = stacked([RES2] * 3, THREE), stacked([RES2] * 3, others, seed=6)
        left = np.arange(336) < 168
        both = replace(image, data=np.where(left, image.data, other.data))
        result = resolve(both, "ReS2", stride_nm=0.5, **KNOWN)
        assert len(result.layers) == 3
        first, second = (m.domains for m in result.maps)
        assert len(first) == len(second) == 2
        for a, b in zip(first, second, strict=True):
            truth = THREE if a.centre[0] < 0 else others
            assert trilayer_distance(positions(np.array([a.slip, b.slip])), positions(truth), RES2).max < 0.05
        assert result.maps[0].boundaries


class TestAntiparallelLayers:
    @pytest.mark.parametrize("slip", [(0.9, 1.4), (-0.2, 0.4)])
    def test_slip_of_a_twist_of_60_degrees(self, slip: tuple[float, float]) -> None:
        result = resolve(stacked([MOS2, MOS2.turned()], np.array([slip])), "MoS2", **KNOWN)
        (interface,) = result.interfaces
        assert result.verdict == "slip"
        assert interface.twist == pytest.approx(np.pi / 3)
        equivalence = SlipEquivalence(MOS2, twist=np.pi / 3)
        assert equivalence.distance(interface.slip, np.array(slip)) < 0.05  # Å: the linear image lacks interference
        assert result.map is not None
        assert equivalence.distance(result.map.slip, interface.slip).max() < 0.1
        assert result.quality is not None
        assert {a.hypothesis: a.delta_chi2 for a in result.quality.alternatives}["two parallel layers"] > 100

    def test_layers_are_where_the_atoms_are(self) -> None:
        """Origins of both layers, up to the image of the stack in which the other one is layer 1."""
        slip = np.array([0.9, 1.4])
        result = resolve(stacked([MOS2, MOS2.turned()], slip[None]), "MoS2", **KNOWN)
        metals = [np.zeros(2), image_from_crystal(ROTATION, False) @ slip]
        rows = result.layers[0].rows
        # the metal is at the origin of the built-in layer
        gaps = [[np.linalg.norm(shortest(x.origin - m, rows)) for m in metals] for x in result.layers]
        assert min(gaps[0][0] + gaps[1][1], gaps[0][1] + gaps[1][0]) < 0.1

    def test_parallel_layers_stay_parallel(self) -> None:
        result = resolve(stacked([MOS2, MOS2], np.array([[0.9, 1.4]])), "MoS2", **KNOWN)
        assert result.interfaces[0].twist == 0


class TestBadInput:
    def test_unknown_option(self) -> None:
        with pytest.raises(UsageError, match="unknown option colour; expected material, pixel_size_A"):
            resolve(simulated(), "ReS2", colour="red")

    def test_unknown_material(self) -> None:
        with pytest.raises(UnknownMaterialError, match="ReS2"):
            resolve(simulated(), "ReS3")

    @pytest.mark.parametrize(
        ("data", "said"),
        [
            (np.full((100, 100), np.nan), "NaN"),
            (np.ones((100, 100)), "all pixels are 1"),
            (np.random.default_rng(0).normal(size=(20, 100)), "at least 32"),
            (np.zeros((4, 100, 100)), "two dimensions"),
        ],
    )
    def test_image_that_shows_nothing(self, data: FloatArray, said: str) -> None:
        with pytest.raises(ImageError, match=said):
            resolve(data, "ReS2")

    def test_detector_inside_the_beam(self) -> None:
        with pytest.raises(UsageError, match="annular dark field"):
            resolve(simulated(), "ReS2", voltage_kV=300, semiangle_mrad=21, detector_mrad=(10, 100))


@pytest.fixture(scope="module")
def halves() -> Result:
    return resolve(two_halves(), "ReS2", **KNOWN)


class TestTwoStackings:
    def test_both_are_found(self, halves: Result) -> None:
        assert halves.verdict == "slip"
        assert halves.map is not None
        first, second = halves.map.domains
        slips = np.array([first.slip, second.slip])
        distances = EQUIVALENCE.distance(slips[:, None], np.array([SLIP, OTHER_SLIP]))
        assert sorted(distances.argmin(axis=1)) == [0, 1]
        assert distances.min(axis=1).max() < 0.02  # Å; as one slip of a whole image
        assert first.share >= second.share
        assert first.share + second.share == pytest.approx(1)

    def test_boundary_lies_where_the_slip_changes(self, halves: Result) -> None:
        assert halves.map is not None
        (boundary,) = halves.map.boundaries
        assert sorted(boundary.domains) == [0, 1]
        off = boundary.points[:, 0] - BOUNDARY
        assert np.sqrt(np.mean(off**2)) < 3  # Å; windows of 20 Å, found where they are half and half
        assert np.ptp(boundary.points[:, 1]) > 10  # Å; a line along the field of 34 Å, less a window

    def test_domains_are_on_their_sides(self, halves: Result) -> None:
        assert halves.map is not None
        for domain in halves.map.domains:
            left = EQUIVALENCE.distance(domain.slip, SLIP) < 0.1
            assert (domain.centre[0] < BOUNDARY) == left

    def test_fine_windows_lie_between(self, halves: Result) -> None:
        slip_map = halves.map
        assert slip_map is not None
        assert slip_map.fine.any()
        rows, cols = slip_map.grid
        assert not slip_map.fine[: rows * cols].any()
        assert slip_map.fine[rows * cols :].all()
        assert np.abs(slip_map.position[slip_map.fine, 0] - BOUNDARY).max() < 25  # Å; a window and the coarse stride

    def test_slips_are_the_equivalents_nearest_to_the_result(self, halves: Result) -> None:
        slip_map, slip = halves.map, halves.interfaces[0].slip
        assert slip_map is not None
        fixed = SlipEquivalence(RES2, frame_fixed=True)
        distance = np.linalg.norm(slip_map.slip - slip, axis=1)
        np.testing.assert_allclose(distance, fixed.distance(slip_map.slip, slip), atol=1e-6)


def truth_of(name: str) -> dict[str, Any]:
    return json.loads((SHARED / "bench" / f"{name}.json").read_text("utf-8"))  # type: ignore[no-any-return]


def resolve_case(name: str, **options: Any) -> tuple[Result, dict[str, Any], SlipEquivalence]:
    truth = truth_of(name)
    m, material = truth["microscope"], truth["layers"][0]["structure"]
    optics = {
        "voltage_kV": m["kV"],
        "semiangle_mrad": m["semiangle_mrad"],
        "detector_mrad": tuple(m["detector_mrad"]),
    }
    result = resolve(read_image(SHARED / "bench" / f"{name}.tif"), material, **optics, **options)
    return result, truth, SlipEquivalence(load_monolayer(material))


@needs_bench
class TestMultislice:
    """Images of an independent simulator, with the microscope's panel known."""

    # Å: five standard deviations of noise and model error together would be 0.035; 0.010 is what the fit reaches
    @pytest.mark.parametrize(
        ("name", "limit"),
        [("dev_S1_00", 0.010), ("dev_S1_01", 0.010), ("dev_S1_02", 0.010), ("dev_S5_00", 0.010), ("dev_S3_00", 0.03)],
    )
    def test_slip(self, name: str, limit: float) -> None:
        result, truth, equivalence = resolve_case(name)
        (interface,) = result.interfaces
        true = np.array(truth["slip"]["D_cart_A"])
        assert result.verdict == "slip"
        assert equivalence.distance(interface.slip, true) < limit
        score = score_slips(interface.slip[None], interface.slip_covariance[None], true, equivalence)
        assert score.mahalanobis[0] < 9.2  # 99 %

    def test_nearly_eclipsed_layers(self) -> None:
        result, truth, equivalence = resolve_case("dev_S1_03", layers="2")
        (interface,) = result.interfaces
        true = np.array(truth["slip"]["D_cart_A"])
        score = score_slips(interface.slip[None], interface.slip_covariance[None], true, equivalence)
        assert score.mahalanobis[0] < 5.99  # 95 % of two degrees of freedom
        assert score.error[0] < 0.2

    def test_boundary(self) -> None:
        result, truth, equivalence = resolve_case("dev_I1_00")
        assert result.map is not None
        slips = np.array([d.slip for d in result.map.domains])
        for key in ("D_cart_A", "D2_cart_A"):
            assert equivalence.distance(slips, np.array(truth["slip"][key])).min() < 0.02
        line = truth["boundary"]
        angle = np.radians(line["normal_angle_deg"])
        points = np.concatenate([b.points for b in result.map.boundaries])
        off = (points - line["point_image_A"]) @ (np.cos(angle), np.sin(angle))
        assert np.sqrt(np.mean(off**2)) < 3  # Å: a seventh of a window; the truth itself crosses over within 2.5 Å

    def test_trilayer(self) -> None:
        result, truth, _ = resolve_case("dev_L3_00")
        found = np.array([layer.position for layer in result.layers])
        true = np.array([layer["position_cart_A"] for layer in truth["layers"]])
        assert trilayer_distance(found, true, RES2).max < 0.03  # Å; 0.008 is what the fit reaches

    def test_monolayer(self) -> None:
        result, _, _ = resolve_case("dev_M0_00")
        assert result.verdict == "monolayer"

    @pytest.mark.parametrize("name", ["dev_T1_00", "dev_T1_01", "dev_T1_02"])
    def test_twist(self, name: str) -> None:
        result, truth, _ = resolve_case(name)
        layers = result.layers[0].monolayer, result.layers[1].monolayer
        off = twist_distance(result.interfaces[0].twist, truth["twist_deg"] * DEGREE, *layers)
        assert off < 0.02 * DEGREE  # twice the Cramér-Rao bound of these images
        assert len(result.interfaces[0].twist_alternatives) == 0


@needs_micrographs
@pytest.mark.slow
@pytest.mark.parametrize("name", ["A", "B", "style", "large_field"])
def test_micrograph_without_pixel_size(name: str) -> None:
    image: Image = read_image(SHARED / f"data/bilayers/ReS2_bilayer_{name}.png")
    result = resolve(image, "ReS2")
    assert result.verdict == "slip"
    assert result.quality is not None
    assert result.quality.explained >= 0.95
    # from the spacings of their spots, to 10 %: PROVENANCE.md beside the images
    expected = {"A": 0.044, "B": 0.060, "style": 0.038, "large_field": 0.077}
    assert result.pixel_size_lattice == pytest.approx(expected[name], rel=0.1)


@needs_micrographs
@pytest.mark.slow
def test_micrograph_of_three_layers() -> None:
    image: Image = read_image(SHARED / "data/bilayers/ReS2_trilayer.png")
    result = resolve(image, "ReS2")
    assert (result.verdict, len(result.layers)) == ("slip", 3)
    assert result.quality is not None
    assert result.quality.explained >= 0.95
    assert result.pixel_size_lattice == pytest.approx(0.045, rel=0.1)  # from its spots: PROVENANCE.md beside the image
