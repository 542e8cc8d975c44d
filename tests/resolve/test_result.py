"""The result and its JSON form: the documented keys, plain values, units as microscopists read them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from picostem.image import Image
from picostem.physics import DEGREE
from picostem.resolve.result import (
    SCHEMA,
    Alternative,
    Boundary,
    Domain,
    FittedMicroscope,
    Interface,
    Quality,
    ResolvedLayer,
    Result,
    SlipMap,
)
from picostem.resolve.serialise import MAP_FILE, plain
from picostem.resolve.settings import Settings

from .made import RES2, SLIP

COVARIANCE = np.array([[4e-5, 1e-5], [1e-5, 9e-5]])
IMAGE = Image(np.zeros((40, 50), np.float32), name="flake.dm4", path=Path("data/flake.dm4")).with_pixel_size(
    0.12, "file"
)


def full_result() -> Result:
    interface = Interface(
        1, 2, SLIP, SLIP @ np.linalg.inv(RES2.cell), COVARIANCE, 0.01, np.nan, np.array([SLIP, -SLIP])
    )
    layers = tuple(
        ResolvedLayer(RES2, np.pi / 6, True, RES2.cell, position, np.zeros(2)) for position in (np.zeros(2), SLIP)
    )
    microscope = FittedMicroscope(
        300e3, 0.0213, 0.001, "fitted", -12.0, 2.0, 6.0, 1.0, np.pi / 4, 90.0, 9.0, 0.0, 0.7, 0.1
    )
    quality = Quality("fit", 1.02, 0.98, (Alternative("one layer", np.inf, "no"),))
    two = np.zeros(2)
    domain = Domain(np.array([0, 1]), SLIP, COVARIANCE, two, 1.0)
    slip_map = SlipMap(
        row=two,
        col=two,
        position=np.zeros((2, 2)),
        slip=np.tile(SLIP, (2, 1)),
        covariance=np.tile(COVARIANCE, (2, 1, 1)),
        chi2=two,
        status=np.array(["ok", "edge"]),
        fine=np.array([False, False]),
        window=20.0,
        stride=10.0,
        grid=(1, 2),
        domains=(domain,),
        boundaries=(Boundary(np.array([[0.0, 1.0], [2.0, 3.0]]), (0, 0)),),
    )
    return Result(
        "slip",
        None,
        IMAGE,
        Settings("ReS2", detector_mrad=(39.0, 200.0)),
        "1.2.3",
        pixel_size_lattice=0.1201,
        layers=layers,
        interfaces=(interface,),
        microscope=microscope,
        quality=quality,
        maps=(slip_map,),
        seconds={"read": 0.1, "total": 2.0},
    )


TREE = full_result().as_dict()


@pytest.mark.parametrize(
    ("place", "documented", "further"),
    [
        (
            TREE,
            "schema version verdict reason image layers interfaces microscope fit map seconds",
            "settings",
        ),
        (TREE["image"], "path shape pixel_size_A pixel_size_source", "name pixel_size_lattice_A"),
        (TREE["layers"][1], "index structure rotation_deg mirrored rows_image_A position_cart_A", ""),
        (
            TREE["interfaces"][0],
            "lower upper slip_cart_A slip_frac slip_cov_A2 slip_bound_A twist_deg twist_sigma_deg equivalents",
            "slip_spread_A twist_bound_deg twist_spread_deg twist_alternatives_deg strain moire_A moire_period_A",
        ),
        (
            TREE["microscope"],
            "voltage_kV semiangle_mrad source defocus_A C12_A C12_deg C21_A C21_deg source_fwhm_A",
            "semiangle_sigma_mrad defocus_sigma_A C12_sigma_A C21_sigma_A source_fwhm_sigma_A",
        ),
        (TREE["fit"], "engine chi2_reduced explained alternatives", ""),
        (TREE["fit"]["alternatives"][0], "hypothesis delta_chi2 detail", ""),
        (TREE["map"], "file windows window_A stride_A", "interfaces"),
        (TREE["map"]["interfaces"][0], "lower upper domains boundaries", ""),
        (
            TREE["map"]["interfaces"][0]["domains"][0],
            "slip_cart_A slip_cov_A2 twist_deg twist_sigma_deg centre_A share windows",
            "",
        ),
    ],
)
def test_keys_are_those_of_the_schema(place: dict[str, object], documented: str, further: str) -> None:
    assert set(place) == set(documented.split()) | set(further.split())


def test_tree_is_plain_json() -> None:
    text = json.dumps(TREE, allow_nan=False)
    assert json.loads(text) == TREE
    assert TREE["schema"] == SCHEMA == "picostem.result/1"
    assert TREE["settings"]["detector_mrad"] == [39.0, 200.0]


def test_what_is_not_finite_is_null() -> None:
    assert TREE["interfaces"][0]["slip_spread_A"] is None
    assert TREE["fit"]["alternatives"][0]["delta_chi2"] is None


def test_units() -> None:
    m, layer = TREE["microscope"], TREE["layers"][0]
    assert (m["voltage_kV"], m["semiangle_mrad"], m["defocus_A"]) == pytest.approx((300, 21.3, -12))
    assert m["C12_deg"] == pytest.approx(45)
    assert layer["rotation_deg"] == pytest.approx(30)
    assert layer["mirrored"] is True
    assert TREE["image"]["shape"] == [40, 50]
    assert TREE["image"]["pixel_size_A"] == 0.12
    assert TREE["image"]["path"] == str(Path("data/flake.dm4"))
    assert TREE["map"]["file"] == MAP_FILE
    assert TREE["map"]["windows"] == 2
    assert [layer["index"] for layer in TREE["layers"]] == [1, 2]


def test_pixels_that_are_not_square_have_two_sizes() -> None:
    image = Image(np.zeros((40, 50), np.float32)).with_pixel_size((0.12, 0.13), "user")
    tree = Result("unresolved", "why", image, Settings("ReS2"), "1").as_dict()
    assert tree["image"]["pixel_size_A"] == [0.12, 0.13]


def test_an_unresolved_image_has_empty_places() -> None:
    bare = Result("unresolved", "No lattice.", Image(np.zeros((40, 50), np.float32)), Settings("ReS2"), "1")
    tree = bare.as_dict()
    assert (tree["layers"], tree["interfaces"]) == ([], [])
    assert [tree[key] for key in ("microscope", "fit", "map")] == [None] * 3
    assert tree["image"]["pixel_size_A"] is None
    assert tree["image"]["path"] is None
    assert tree["reason"] == "No lattice."
    assert repr(bare) == "Result(unresolved: No lattice.)"


def test_plain_knows_arrays_numbers_and_containers() -> None:
    value = {
        1: np.float32(0.5),
        "array": np.array([[1.0, np.nan], [np.inf, -2.0]]),
        "flags": (np.bool_(True), False, None),
        "whole": np.int64(7),
        "text": "as it is",
    }
    expected = {
        "1": 0.5,
        "array": [[1.0, None], [None, -2.0]],
        "flags": [True, False, None],
        "whole": 7,
        "text": "as it is",
    }
    assert plain(value) == expected
    assert type(plain(np.int64(7))) is int
    assert type(plain(np.bool_(True))) is bool


def test_interface_sigma_is_the_root_of_the_trace() -> None:
    assert full_result().interfaces[0].slip_sigma == pytest.approx(np.sqrt(13e-5))


def test_text_of_a_result() -> None:
    text = repr(full_result())
    assert text.startswith("Result(slip: ReS2, D = (1.200 ± 0.006, 1.900 ± 0.009) Å = ")
    assert text.endswith("SlipMap(2 windows of 2 nm, 1 ok, 1 domains))")


def twisted_result() -> Result:
    """As `full_result`, with a twist."""
    full = full_result()
    interface = replace(
        full.interfaces[0],
        twist=14.1 * DEGREE,
        twist_sigma=0.006 * DEGREE,
        twist_bound=0.004 * DEGREE,
        twist_alternatives=np.array([45.9 * DEGREE]),
        strain=np.array([[0.002, -0.0005], [-0.0005, -0.001]]),
        strain_sigma=0.0003,
        moire=np.array([[12.0, 5.0], [0.0, 14.0]]),
    )
    domain = replace(full.maps[0].domains[0], twist=14.2 * DEGREE, twist_sigma=0.01 * DEGREE)
    return replace(full, verdict="twist", interfaces=(interface,), maps=(replace(full.maps[0], domains=(domain,)),))


def test_twist_in_json() -> None:
    tree = twisted_result().as_dict()
    interface = tree["interfaces"][0]
    assert interface["twist_deg"] == pytest.approx(14.1)
    assert interface["twist_sigma_deg"] == pytest.approx(0.006)
    assert interface["twist_bound_deg"] == pytest.approx(0.004)
    assert interface["twist_alternatives_deg"] == pytest.approx([45.9])
    assert interface["strain"] == {"xx": 0.002, "yy": -0.001, "xy": -0.0005, "sigma": 0.0003}
    assert interface["moire_A"] == [[12.0, 5.0], [0.0, 14.0]]
    # The shortest of (12, 5), (0, 14), (12, -9).
    assert interface["moire_period_A"] == pytest.approx(13.0)
    domain = tree["map"]["interfaces"][0]["domains"][0]
    assert (domain["twist_deg"], domain["twist_sigma_deg"]) == pytest.approx((14.2, 0.01))
    assert json.loads(json.dumps(tree, allow_nan=False)) == tree


def test_layers_of_one_lattice_have_no_strain_or_moire() -> None:
    interface = TREE["interfaces"][0]
    assert [interface[key] for key in ("strain", "moire_A", "moire_period_A")] == [None] * 3
    assert interface["twist_alternatives_deg"] == []


def test_three_layers_in_json_and_in_text() -> None:
    full = full_result()
    second = replace(full.interfaces[0], lower=2, upper=3, slip=-SLIP, twist=np.pi / 3)
    maps = (full.maps[0], replace(full.maps[0], interface=2, domains=(), boundaries=()))
    three = replace(full, layers=(*full.layers, full.layers[1]), interfaces=(*full.interfaces, second), maps=maps)
    tree = three.as_dict()
    assert [(i["lower"], i["upper"], len(i["domains"])) for i in tree["map"]["interfaces"]] == [(1, 2, 1), (2, 3, 0)]
    assert len(tree["layers"]) == 3
    text = repr(three)
    assert "D = (1.200 ± 0.006, 1.900 ± 0.009) Å" in text
    assert "; twist = 60°, D = (-1.200 ± 0.006, -1.900 ± 0.009) Å" in text
    assert text.count("SlipMap(") == 2


def test_text_of_a_twist() -> None:
    text = repr(replace(twisted_result(), reason="so it is", maps=()))
    assert text == "Result(twist: ReS2, twist = 14.1000° ± 0.0060°: so it is)"
