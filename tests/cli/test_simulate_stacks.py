"""`picostem simulate` for twists, three layers and layers of different materials."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from picostem.cli.pairs import joined, pairs
from picostem.cli.stacking import stack_of
from picostem.errors import UsageError
from picostem.files import read_image
from picostem.physics import DEGREE
from picostem.structure import load_monolayer
from tests.cli.conftest import Run

SMALL = ("--size", "48", "--pixel-size", "0.2", "--dose", "1e4")
RES2, MOS2, WSE2 = (load_monolayer(name) for name in ("ReS2", "MoS2", "WSe2"))


def made(picostem: Run, *arguments: str) -> dict[str, Any]:
    """The truth about the one image that is made."""
    ended = picostem("simulate", *arguments, *SMALL)
    assert ended.code == 0, ended.err
    (path,) = Path().glob("*.json")
    truth: dict[str, Any] = json.loads(path.read_text("utf-8"))
    assert read_image(path.with_suffix(".tif")).data.shape == (48, 48)
    assert truth["image"]["file"] == path.with_suffix(".tif").name
    return truth


class TestImages:
    def test_twisted_bilayer(self, picostem: Run) -> None:
        truth = made(picostem, "MoS2", "--twist", "14.1", "--mirrored", "--rotation", "20")
        assert (truth["task"], truth["material"], len(truth["layers"])) == ("twist", "MoS2", 2)
        assert truth["twist_deg"] == pytest.approx(14.1)
        assert truth["layers"][1]["rotation_deg"] == pytest.approx(20 - 14.1)  # mirrored: seen the other way round
        assert truth["layer2"]["rows_image_A"] == truth["layers"][1]["rows_image_A"]

    def test_heterobilayer(self, picostem: Run) -> None:
        truth = made(picostem, "mos2/WSe2", "--twist", "3", "--slip", "0.5", "-0.2")
        assert Path("MoS2-WSe2_simulated.tif").is_file()
        assert (truth["task"], truth["material"]) == ("twist", "MoS2/WSe2")
        assert list(truth["structures"]) == ["MoS2", "WSe2"]
        assert [layer["structure"] for layer in truth["layers"]] == ["MoS2", "WSe2"]
        assert truth["interfaces"][0]["slip_cart_A"] == [0.5, -0.2]
        lengths = [np.linalg.norm(layer["rows_image_A"], axis=1) for layer in truth["layers"]]
        # Rotating a cell keeps its lengths, to rounding.
        np.testing.assert_allclose(lengths, [np.linalg.norm(m.cell, axis=1) for m in (MOS2, WSE2)], atol=1e-9)

    def test_trilayer(self, picostem: Run) -> None:
        truth = made(picostem, "ReS2", "--slip", "1.5", "0.4", "--slip", "0.7", "-2.1")
        assert (truth["task"], len(truth["layers"])) == ("trilayer", 3)
        assert truth["trilayer"]["D12_cart_A"] == [1.5, 0.4]
        assert truth["trilayer"]["D23_cart_A"] == pytest.approx([0.7, -2.1])
        assert truth["layers"][2]["position_cart_A"] == pytest.approx([2.2, -1.7])

    def test_twisted_trilayer_of_three_materials(self, picostem: Run) -> None:
        truth = made(picostem, "MoS2/WSe2/WS2", "--twist", "3", "--twist", "-10", "--rotation", "15")
        assert (truth["task"], truth["material"]) == ("twisted trilayer", "MoS2/WSe2/WS2")
        assert truth["twists_deg"] == pytest.approx([3, -10])
        for layer, turn in zip(truth["layers"], (15, 18, 8), strict=True):
            a = layer["rows_image_A"][0]
            assert np.degrees(np.arctan2(a[1], a[0])) == pytest.approx(turn)
            assert layer["rotation_deg"] == pytest.approx(turn)
            assert layer["rows_apparent_A"] == pytest.approx(np.array(layer["rows_image_A"]))  # no drift

    def test_one_slip_holds_for_all_interfaces(self, picostem: Run) -> None:
        truth = made(picostem, "ReS2", "--layers", "4", "--slip", "1", "0.5")
        assert [entry["slip_cart_A"] for entry in truth["interfaces"]] == [pytest.approx([1, 0.5])] * 3

    def test_a_monolayer(self, picostem: Run) -> None:
        truth = made(picostem, "WSe2", "--layers", "1")
        assert (truth["task"], truth["negative"], truth["interfaces"]) == ("negative", "monolayer WSe2", [])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("MoS2/WSe3",), "layer 2 of 'MoS2/WSe3'"),
        (("MoS2/",), "before and after each slash"),
        (("MoS2/WSe2", "--layers", "3"), "2 materials for 3 layers"),
        (("MoS2/WSe2", "--twist", "1", "--twist", "2"), "2 layers have 1 interface:"),
        (("MoS2", "--twist", "1", "--twist", "2", "--layers", "2"), "--twist is given 2 times"),
        (("ReS2", "--slip", "1", "0", "--slip", "1", "0", "--layers", "5"), "5 layers have 4 interfaces"),
        (("ReS2", *("--slip", "1", "0") * 2, *("--twist", "1") * 3), "--slip is given 2 times, but 4 layers"),
        (("ReS2", "--slip", "1", "x"), "--slip is '1 x'; expected two numbers"),
        (("ReS2", "--slip-frac", "1"), "--slip-frac is '1'; expected two numbers"),
        (("ReS2", "--slip", "nan", "0"), "finite"),
        (("ReS2", "--slip"), "--slip is ''; expected two numbers"),
        (("ReS2", "--twist", "x"), "--twist"),
        (("ReS2", "--slip", "1", "2", "3"), "3"),
        (("MoS2", "--layers", "1", "--twist", "0"), "one layer has neither slip nor twist"),
    ],
)
def test_bad_combinations_give_one_clear_line(picostem: Run, arguments: tuple[str, ...], expected: str) -> None:
    ended = picostem("simulate", *arguments, *SMALL)
    assert ended.code == 2
    assert expected in ended.complaint
    assert list(Path().iterdir()) == []


class TestStackOf:
    def test_numbers_of_layers(self) -> None:
        one = [MOS2]
        assert len(stack_of(one, None, [], [], []).layers) == 2
        assert len(stack_of(one, None, [], [], [3.0]).layers) == 2
        assert len(stack_of(one, None, ["1 2"], [], [3.0, 4.0]).layers) == 3
        assert len(stack_of(one, 7, ["1 2"], [], [3.0]).layers) == 7
        assert len(stack_of([MOS2, WSE2, MOS2], None, [], [], []).layers) == 3

    def test_fractions_are_of_the_lower_layers_cell(self) -> None:
        stack = stack_of([RES2, MOS2, WSE2], None, [], ["0.5 0.25", "0 1"], [])
        np.testing.assert_allclose(stack.slips[0], 0.5 * RES2.cell[0] + 0.25 * RES2.cell[1], atol=1e-12)  # rounding
        np.testing.assert_allclose(stack.slips[1], MOS2.cell[1], atol=1e-12)

    def test_twists_add_up(self) -> None:
        stack = stack_of([MOS2], None, ["1 0"], [], [10.0, -4.0])
        assert [layer.twist / DEGREE for layer in stack.layers] == pytest.approx([0, 10, 6])
        np.testing.assert_allclose(
            stack.slips, [[1, 0], [1, 0]], atol=1e-12
        )  # rounding; each in its lower layer's frame


NUMBERS = st.lists(st.tuples(st.floats(-99, 99), st.floats(-99, 99)), max_size=4)


class TestPairs:
    @given(NUMBERS)
    def test_pairs_come_back_from_the_command_line(self, numbers: list[tuple[float, float]]) -> None:
        words = [word for x, y in numbers for word in ("--slip", str(x), str(y))]
        read = joined(["ReS2", *words, "--size", "40"])
        assert pairs("--slip", read[2:-2:2]) == numbers
        assert read[:1] + read[-2:] == ["ReS2", "--size", "40"]

    def test_other_words_stay(self) -> None:
        assert joined(["a", "--twist", "3", "4"]) == ["a", "--twist", "3", "4"]
        assert joined(["--slip", "1"]) == ["--slip", "1"]
        assert joined(["--slip", "1", "--size", "4"]) == ["--slip", "1", "--size", "4"]
        assert joined(["--slip"]) == ["--slip", ""]
        assert joined(["--slip", "1", "2", "--", "--slip", "1", "2"]) == ["--slip", "1 2", "--", "--slip", "1", "2"]

    @pytest.mark.parametrize("text", ["", "1", "1 2 3", "one 2", "1,2"])
    def test_what_is_no_pair_is_refused(self, text: str) -> None:
        with pytest.raises(UsageError, match="expected two numbers, as in --slip"):
            pairs("--slip", ["1 2", text])
