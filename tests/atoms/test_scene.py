"""Random scenes: what is said of them is what they show."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from scipy import ndimage
from scipy.spatial import cKDTree

from picostem.atoms import scene as scenes
from picostem.atoms.scene import Scene, draw_scene
from picostem.atoms.settings import AtomSettings, ScenePlan
from picostem.atoms.specimens import (
    ADATOM,
    DEPLETED,
    DOPANT,
    SINGLE,
    STACK,
    VACANCY,
    Plane,
    Specimen,
    built_in_planes,
    chosen_planes,
    joined,
    projected,
    random_plane,
    tiled,
    with_adatoms,
    with_dopants,
    with_vacancies,
)
from picostem.errors import FileError, UsageError
from picostem.simulate.acquisition import AcquisitionSettings
from picostem.simulate.gridding import PointSpectrum
from picostem.simulate.microscope import Microscope
from picostem.simulate.transfer import probe_transfer

MICROSCOPE = Microscope.from_lab_units(
    voltage_kV=80, semiangle_mrad=25, detector_mrad=(80, 200), defocus_A=30, C12_A=8, phi12_deg=20, source_fwhm_A=0.6
)
SQUARE = Plane(np.diag([3.0, 3.0]), np.zeros((1, 2)), np.array([42]))
HALF = np.array([20.0, 20.0])


def made(
    place: list[tuple[float, float]], numbers: list[int], *, counts: float = 1000.0, gone: tuple[int, ...] = ()
) -> Scene:
    """The scene of given atoms, 128² pixels of 0.2 Å, without distortion."""
    specimen = Specimen.perfect(np.array(place), np.array(numbers))
    specimen = replace(specimen, gone=np.isin(np.arange(len(place)), gone))
    rng = np.random.default_rng(0)
    settings = AcquisitionSettings(dose=counts)
    field = scenes._Field.of((128, 128), 0.2, settings, scenes._cutoff(MICROSCOPE))
    return scenes._recorded(scenes._columns(specimen, rng), field, MICROSCOPE, 0.45, rng)


class TestSpecimens:
    def test_silicon_dumbbells(self) -> None:
        plane = projected(bulk("Si", "diamond", a=5.431, cubic=True), (1, 1, 0))
        place = tiled(plane, 0.3, np.zeros(2), HALF).place
        inner = place[np.all(np.abs(place) < 10, axis=1)]
        distance = np.array(cKDTree(place).query(inner, k=12)[0])
        nearest = distance[distance > 0.01].min()
        assert nearest == pytest.approx(5.431 / 4, abs=1e-6)

    @pytest.mark.parametrize("zone", [(0, 0, 1), (1, 0, 1), (1, 1, 1)])
    def test_projection_keeps_the_density(self, zone: tuple[int, int, int]) -> None:
        """Atoms per area are those per volume times the period along the axis."""
        crystal = bulk("GaAs", "zincblende", a=5.653, cubic=True)
        plane = projected(crystal, zone)
        period = np.linalg.norm(np.asarray(zone) @ crystal.cell.array)
        area = abs(np.linalg.det(plane.cell))
        assert len(plane.sites) / area == pytest.approx(len(crystal) / crystal.cell.volume * period)

    def test_built_in_planes_have_bonds(self) -> None:
        planes = built_in_planes()
        assert len(planes) > 50
        assert all(0.3 < plane.bond < 6 for plane in planes)
        assert any(plane.bond == pytest.approx(1.42, abs=0.01) for plane in planes)  # graphene

    def test_random_planes_have_no_overlaps(self) -> None:
        rng = np.random.default_rng(0)
        assert all(random_plane(rng).bond > 1.1 for _ in range(20))

    def test_files(self, tmp_path: Path) -> None:
        bulk("Cu", "fcc", a=3.6, cubic=True).write(tmp_path / "Cu.cif")
        planes = chosen_planes((str(tmp_path / "Cu.cif"),))
        assert planes[0].numbers.tolist() == [29] * 4
        (layer,) = chosen_planes(("ws2",))
        assert sorted(layer.numbers.tolist()) == [16, 16, 74]
        with pytest.raises(FileError, match="cannot read"):
            chosen_planes((str(tmp_path / "none.cif"),))

    def test_grains_do_not_overlap(self) -> None:
        rng = np.random.default_rng(0)
        grains = joined(tiled(SQUARE, 0, np.zeros(2), HALF), tiled(SQUARE, 0.4, np.zeros(2), HALF), HALF, rng)
        assert cKDTree(grains.place).query(grains.place, k=2)[0][:, 1].min() > 1.1
        assert len(grains.place) > 120  # of 177 in a field without a boundary

    def test_defects(self) -> None:
        rng = np.random.default_rng(0)
        perfect = tiled(SQUARE, 0, np.zeros(2), 5 * HALF)
        share = with_vacancies(perfect, 0.06, rng).gone.mean()
        assert 0.05 < share < 0.11  # a third of them take a neighbour along
        doped = with_dopants(perfect, 0.06, rng)
        assert np.array_equal(doped.kind == DOPANT, doped.numbers != 42)
        more = with_adatoms(perfect, 5 * HALF, rng)
        assert np.sum(more.kind == ADATOM) == len(more.place) - len(perfect.place) > 0


class TestTruth:
    def test_one_atom_is_where_it_is_said_to_be(self) -> None:
        scene = made([(3.0, 5.0)], [74])
        row, column = 63.5 - 5.0 / 0.2, 63.5 + 3.0 / 0.2
        assert scene.place == pytest.approx(np.array([[row, column]]))
        smooth = ndimage.gaussian_filter(scene.data, 2)
        assert np.unravel_index(smooth.argmax(), smooth.shape) == pytest.approx((row, column), abs=1.0)

    def test_atoms_of_a_column_are_one(self) -> None:
        scene = made([(0, 0), (0.2, 0), (5, 0)], [42, 42, 42])
        assert scene.kind.tolist() == [STACK, SINGLE]
        assert scene.strength[0] / scene.strength[1] == pytest.approx(2)
        scene = made([(0, 0), (0.2, 0), (5, 0)], [42, 42, 42], gone=(1,))
        assert sorted(scene.kind.tolist()) == [SINGLE, DEPLETED]
        assert scene.strength[0] == pytest.approx(scene.strength[1])

    def test_sites_without_atoms_are_vacancies(self) -> None:
        scene, perfect = (made([(0, 0), (5, 0)], [42, 42], gone=gone) for gone in ((1,), ()))
        assert scene.kind.tolist() == [SINGLE, VACANCY]
        assert scene.place == pytest.approx(perfect.place)
        row, column = np.rint(scene.place[1]).astype(int)
        at = np.s_[row - 1 : row + 2, column - 1 : column + 2]
        assert scene.data[at].mean() < 0.6 * perfect.data[at].mean()

    def test_what_an_image_cannot_show_is_unsure(self) -> None:
        assert made([(0, 0), (0.6, 0)], [42, 42]).sure.tolist() == [False, False]  # of peaks 0.45 Å wide
        assert made([(0, 0), (0.8, 0)], [42, 42]).sure.tolist() == [True, True]
        faint = made([(0, 0), (5, 0), (-5, 0), (0, 5), (0, 9)], [42, 42, 42, 42, 6], counts=200)
        assert faint.sure.sum() == 4

    def test_places_are_those_of_peaks_in_distorted_scans_too(self) -> None:
        rng = np.random.default_rng(5)
        errors: list[float] = []
        for _ in range(12):
            scene = draw_scene(rng, ScenePlan(counts=(3000, 3000), pixel_A=(0.12, 0.2)), (192, 192))
            smooth = ndimage.gaussian_filter(scene.data, scene.sigma / 2)
            top = np.argwhere(smooth == ndimage.maximum_filter(smooth, size=5))
            place = scene.place[scene.sure & np.all((scene.place > 8) & (scene.place < 183), axis=1)]
            errors += (cKDTree(top).query(place)[0] * scene.pixel_size).tolist() if len(place) else []
        assert len(errors) > 300
        assert np.median(errors) < 0.2  # Å: jitter, the pixel grid, and coma, which moves peaks

    def test_scenes_repeat(self) -> None:
        one, same, other = (draw_scene(np.random.default_rng(seed), ScenePlan(), (64, 64)) for seed in (1, 1, 2))
        assert np.array_equal(one.data, same.data) and np.array_equal(one.place, same.place)
        assert not np.array_equal(one.data, other.data)

    def test_all_kinds_come_up(self) -> None:
        rng = np.random.default_rng(0)
        kinds = np.concatenate([draw_scene(rng, ScenePlan(), (128, 128)).kind for _ in range(25)])
        assert set(kinds) == {SINGLE, STACK, DEPLETED, VACANCY, DOPANT, ADATOM}


def test_transfer_is_that_of_the_simulation() -> None:
    grid = PointSpectrum((150, 150), 0.2, MICROSCOPE.cutoff)
    found = scenes._transfer(grid, MICROSCOPE)
    exact = probe_transfer(grid.gx, grid.gy, MICROSCOPE.wavelength, MICROSCOPE.semiangle, MICROSCOPE.aberrations_at(0))
    exact *= np.exp(-2 * np.pi**2 * (MICROSCOPE.source_sigma**2 + 0.1**2) * grid.g**2)
    assert np.abs(found - exact).max() < 0.02  # the aperture has an edge of one pixel


def test_quick() -> None:
    rng = np.random.default_rng(0)
    draw_scene(rng, ScenePlan(), (256, 256))
    start = time.process_time()
    for _ in range(10):
        draw_scene(rng, ScenePlan(), (256, 256))
    assert time.process_time() - start < 1.5  # 0.25 s on a quiet machine


def test_refusals() -> None:
    for wrong in ({"pixel_A": (0.3, 0.1)}, {"counts": (0.0, 1.0)}, {"extent_A": 0.0}, {"share": 2.0}):
        with pytest.raises(UsageError, match="expected"):
            ScenePlan(**wrong)
    for other in ({"steps": 0}, {"side": 30}, {"learning_rate": 0.0}, {"misjudged": -1.0}):
        with pytest.raises(UsageError, match="expected"):
            AtomSettings(**other)
