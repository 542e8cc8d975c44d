"""Twisted stacks from an image to a result: atoms, maps, files, what cannot be decided and what is no twist."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet
from skimage import data as photographs

from picostem.errors import UsageError
from picostem.files import read_image
from picostem.pipeline import resolve, resolve_with
from picostem.report import save_result
from picostem.resolve.result import Result
from picostem.resolve.settings import Settings
from picostem.simulate import simulate_periodic
from picostem.structure import RelaxedMoire, SlipEquivalence, canonical_twist, image_from_crystal, twist_distance
from picostem.structure.lattice import shortest
from picostem.structure.moire import moire_vectors
from picostem.structure.stack import rotation_matrix

from .resolve.made import KNOWN, MICROSCOPE, MOS2, PIXEL_SIZE, ROTATION, simulated
from .resolve.made_bilayers import SHIFT, WSE2, Made, imaged, resolved

MICROGRAPHS = Path(__file__).parents[2] / "shared" / "data" / "bilayers"

TWISTED = Made(MOS2, 3.0, WSE2, side=336)
"""40 Å of MoS2 and WSe2, which cannot be exchanged; pixel size unknown."""
TWIST = np.radians(TWISTED.twist)
FRAME = image_from_crystal(ROTATION, False)


@pytest.fixture(scope="module", name="hetero")
def resolved_heterobilayer() -> Result:
    return resolved(TWISTED, "MoS2/WSe2")


class TestHeterobilayer:
    def test_twist(self, hetero: Result) -> None:
        (interface,) = hetero.interfaces
        assert (hetero.verdict, hetero.reason) == ("twist", None)
        assert twist_distance(interface.twist, TWIST, MOS2, WSE2) < 3 * interface.twist_sigma
        assert 0 < interface.twist_bound < interface.twist_sigma < np.radians(0.05)
        assert hetero.image.pixel_size_source == "lattice"
        assert hetero.pixel_size_lattice == pytest.approx(PIXEL_SIZE, rel=1e-3)  # 40 Å of lattice placed to 0.04 Å
        assert repr(hetero).startswith("Result(twist: MoS2/WSe2, twist = ")

    def test_layers_lie_on_the_true_atoms(self, hetero: Result) -> None:
        for found, true in zip(hetero.layers, TWISTED.stack.layers, strict=True):
            assert found.monolayer == true.monolayer
            steps = found.rows @ np.linalg.inv(true.cell @ FRAME.T)
            np.testing.assert_allclose(steps, np.rint(steps), atol=3e-3)  # 40 Å of lattice placed to 0.04 Å
            # one metal atom a cell, at its origin, which every symmetry of the layer leaves in place
            assert np.linalg.norm(shortest(found.origin - FRAME @ true.position, found.rows)) < 0.05
            # the chalcogen's place tells the hand and the setting
            chalcogen = image_from_crystal(found.rotation, found.mirrored) @ found.monolayer.positions[1, :2]
            expected = FRAME @ true.positions[1, :2]
            assert np.linalg.norm(shortest(found.origin + chalcogen - expected, found.rows)) < 0.1

    def test_slip_and_map(self, hetero: Result) -> None:
        assert hetero.map is not None
        assert (hetero.map.status == "ok").all()
        first = hetero.layers[0]
        places = np.vstack([hetero.map.position, [[0.0, 0.0]]])
        slips = np.vstack([hetero.map.slip, hetero.interfaces[0].slip[None]])
        # in the image, where the crystal's symmetry plays no part
        seen = slips @ image_from_crystal(first.rotation, first.mirrored).T
        true = RelaxedMoire(MOS2, WSE2, TWIST, SHIFT).registry(places @ FRAME) @ MOS2.cell @ FRAME.T
        assert np.linalg.norm(shortest(seen - true, first.rows), axis=1).max() < 0.06  # Å: 4 σ, and that of the frame

    def test_twists_of_the_map(self, hetero: Result) -> None:
        assert hetero.map is not None
        assert hetero.map.twist is not None
        assert hetero.map.twist_sigma is not None
        off = np.abs(hetero.map.twist - hetero.interfaces[0].twist)
        assert (off < 4 * hetero.map.twist_sigma).all()
        (domain,) = hetero.map.domains
        assert domain.share == 1

    def test_moire(self, hetero: Result) -> None:
        (interface,) = hetero.interfaces
        true = moire_vectors(MOS2.cell, WSE2.cell @ rotation_matrix(TWIST).T)
        assert interface.moire is not None
        assert true is not None
        # 3e-4 of a lattice vector, magnified 15 times: four standard deviations
        np.testing.assert_allclose(np.linalg.norm(interface.moire, axis=1), np.linalg.norm(true, axis=1), rtol=0.02)

    def test_alternatives(self, hetero: Result) -> None:
        assert hetero.quality is not None
        assert hetero.quality.engine == "fit"
        assert hetero.quality.explained > 0.98
        names = [a.hypothesis for a in hetero.quality.alternatives]
        assert names[0].startswith("twist ")
        assert "beam" in names[-1]
        assert all(a.delta_chi2 >= 0 for a in hetero.quality.alternatives)

    def test_image_of_the_model(self, hetero: Result) -> None:
        assert hetero.simulated is not None
        clean = simulate_periodic(TWISTED.stack, MICROSCOPE, (336, 336), PIXEL_SIZE, rotation=ROTATION)
        assert np.corrcoef(hetero.simulated.ravel(), clean.ravel())[0, 1] > 0.98
        residual = hetero.image.data - hetero.simulated
        assert residual.var() == pytest.approx(hetero.image.data.mean(), rel=0.05)  # Poisson noise

    def test_json(self, hetero: Result) -> None:
        told = json.loads(json.dumps(hetero.as_dict(), allow_nan=False))
        (interface,) = told["interfaces"]
        assert told["verdict"] == "twist"
        assert [layer["structure"] for layer in told["layers"]] == ["MoS2", "WSe2"]
        assert np.radians(interface["twist_deg"]) == pytest.approx(hetero.interfaces[0].twist)
        assert interface["strain"]["sigma"] == hetero.interfaces[0].strain_sigma
        np.testing.assert_array_equal(interface["moire_A"], hetero.interfaces[0].moire)
        assert told["map"]["windows"] == len(hetero.map or ())
        assert told["settings"]["material"] == "MoS2/WSe2"

    def test_files(self, hetero: Result, tmp_path: Path) -> None:
        folder = save_result(hetero, tmp_path / "out")
        written = {path.name for path in folder.iterdir()}
        assert {"result.json", "map.parquet", "figure.png", "simulated.tif", "report.html"} <= written
        told = json.loads((folder / "result.json").read_text("utf-8"))
        assert told["interfaces"][0]["twist_deg"] == pytest.approx(np.degrees(hetero.interfaces[0].twist))
        np.testing.assert_allclose(read_image(folder / "simulated.tif").data, hetero.simulated, rtol=1e-6)
        table = parquet.read_table(folder / "map.parquet").to_pydict()
        assert hetero.map is not None
        np.testing.assert_allclose(np.radians(table["twist_deg"]), hetero.map.twist, rtol=1e-6)


class TestOtherTwists:
    def test_small_one_that_looks_like_one_lattice(self) -> None:
        result = resolved(Made(MOS2, 2.0), "MoS2")
        (interface,) = result.interfaces
        assert result.verdict == "twist"
        assert twist_distance(interface.twist, np.radians(2.0), MOS2) < 3 * interface.twist_sigma
        assert result.quality is not None
        cost = {a.hypothesis: a.delta_chi2 for a in result.quality.alternatives}
        assert cost["2 layers on one lattice"] > 1000

    def test_one_that_the_image_cannot_decide(self) -> None:
        """At a fifth of the dose the sulphur beside WSe2 is too faint to tell 3° from 57°."""
        result = resolved(Made(MOS2, 3.0, WSE2, dose=5e3), "MoS2/WSe2")
        (interface,) = result.interfaces
        possible = np.array([interface.twist, *interface.twist_alternatives])
        assert len(possible) >= 2
        assert twist_distance(possible, TWIST, MOS2, WSE2).min() < 3 * interface.twist_sigma
        assert twist_distance(possible, np.radians(57.0), MOS2, WSE2).min() < np.radians(0.3)
        assert result.quality is not None
        assert "undecided" in {a.detail for a in result.quality.alternatives}

    def test_progress_is_told(self) -> None:
        said: list[tuple[str, int, int]] = []
        settings = Settings("MoS2", **KNOWN)
        result = resolve_with(imaged(Made(MOS2, 14.0)), settings, lambda *step: said.append(step))
        assert result.verdict == "twist"
        assert result.map is not None
        counted = [(done, total) for name, done, total in said if name == "windows" and total]
        assert counted == sorted(counted)
        assert counted[-1] == (len(result.map), len(result.map))
        assert {"read", "twist", "map", "simulated image", "total"} <= set(result.seconds)

    @pytest.mark.slow
    def test_vacuum_beside_the_layers(self) -> None:
        """The right of an image of 58 Å is empty."""
        image = imaged(Made(MOS2, 14.0, side=480))
        empty = np.random.default_rng(3).poisson(0.02 * image.data.mean(), image.data.shape)
        data = np.where(np.arange(480) > 340, empty, image.data).astype(np.float32)
        result = resolve(replace(image, data=data), "MoS2", stride_nm=0.6, **KNOWN)
        (interface,) = result.interfaces
        assert result.verdict == "twist"
        assert twist_distance(interface.twist, np.radians(14.0), MOS2) < 4 * interface.twist_sigma
        assert result.map is not None
        x = result.map.position[:, 0]
        # windows of 20 Å beside an edge that lies 12 Å to the right of the centre
        assert set(result.map.status[x < 0]) == {"ok"}
        assert "ok" not in set(result.map.status[x > 18])


class TestNoTwist:
    @pytest.mark.parametrize("side", [168, 336], ids=["2 nm", "4 nm"])
    def test_aligned_layers(self, side: int) -> None:
        result = resolve(simulated((0.9, 1.4), side=side, material="MoS2"), "MoS2", **KNOWN)
        assert result.verdict == "slip"
        assert result.interfaces[0].twist == 0
        # Å: the linear image lacks interference
        assert SlipEquivalence(MOS2).distance(result.interfaces[0].slip, np.array([0.9, 1.4])) < 0.05

    @pytest.mark.parametrize("side", [168, 336], ids=["2 nm", "4 nm"])
    def test_monolayer(self, side: int) -> None:
        result = resolve(simulated(None, side=side, material="MoS2"), "MoS2", **KNOWN)
        assert result.verdict == "monolayer"

    @pytest.mark.parametrize("material", ["MoS2", "MoS2/WSe2"])
    def test_photograph(self, material: str) -> None:
        result = resolve(photographs.camera().astype(np.float32), material, **KNOWN)
        assert result.verdict == "unresolved"
        assert result.reason

    @pytest.mark.parametrize("material", ["MoS2", "MoS2/WSe2", "graphene"])
    def test_another_material(self, material: str) -> None:
        result = resolve(simulated(), material, pixel_size_A=PIXEL_SIZE, **KNOWN)
        assert result.verdict == "unresolved"
        assert result.reason
        assert result.maps == result.interfaces == ()

    @pytest.mark.parametrize(
        ("material", "layers"), [("MoS2/WSe2", "3"), ("MoS2/WSe2", "1"), ("MoS2/WSe2/MoS2", "auto")]
    )
    def test_materials_that_do_not_go_with_the_layers(self, material: str, layers: str) -> None:
        with pytest.raises(UsageError, match=f"{material} with --layers {layers}: expected one material, or two"):
            resolve(simulated(), material, layers=layers, **KNOWN)


@pytest.mark.skipif(not MICROGRAPHS.is_dir(), reason="the micrographs are not here")
@pytest.mark.slow
def test_micrograph() -> None:
    result = resolve(read_image(MICROGRAPHS / "MoS2_twisted.png"), "MoS2")
    assert result.verdict == "twist"
    assert result.quality is not None
    assert result.quality.explained >= 0.9
    # its spots lie 20° apart, to what they show by eye: 20° or 40°
    twist = float(np.degrees(canonical_twist(result.interfaces[0].twist, MOS2)))
    assert min(abs(twist - 20.0), abs(twist - 40.0)) < 0.5
