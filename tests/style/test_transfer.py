from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from picostem.errors import DataError, ImageError, UsageError
from picostem.image import Image
from picostem.style.picture import BRIGHT, prepare
from picostem.style.tiles import spans
from picostem.style.transfer import Attribute, Style
from tests.style.made_style import card, convolutions, helper, model, picture, write_style


@pytest.fixture
def style(tmp_path: Path) -> Style:
    return Style.load(write_style(tmp_path / "style"), threads=1)


def rng(seed: int = 3) -> np.random.Generator:
    return np.random.default_rng(seed)


class TestAttributes:
    def test_of_an_image(self, style: Style) -> None:
        """The encoder gives (m, 2 m), m the mean grey."""
        seen = replace(picture(), black=10.0, white=30.0)
        attribute = style.attribute_of(seen)
        m = seen.data.mean(dtype=float)
        assert attribute.vector == pytest.approx((m, 2 * m), rel=1e-5)  # single precision
        assert (attribute.name, attribute.black, attribute.white) == ("picture", 10.0, 30.0)

    def test_of_a_large_image_in_parts(self, style: Style, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("picostem.style.transfer.TILE", 40)
        seen = picture(96, 120)
        assert style.attribute_of(seen).vector[0] == pytest.approx(seen.data.mean(dtype=float), rel=1e-5)

    def test_of_another_pixel_size(self, style: Style) -> None:
        """What the encoder sees is resampled, its mean stays."""
        fine = picture(240, 240, pixel_size=0.05)
        # The mean over a field that is a pixel larger, of structures of some ten pixels.
        assert style.attribute_of(fine).vector[0] == pytest.approx(fine.data.mean(dtype=float), abs=5e-3)

    def test_at_the_styles_own_pixel_size(self, tmp_path: Path) -> None:
        """An encoder whose numbers are the rows that it sees, and twice as many, tells what it was given."""
        nodes = [
            helper.make_node("Shape", ["image"], ["rows"], start=2, end=3),
            helper.make_node("Cast", ["rows"], ["floating"], to=1),
            helper.make_node("Reshape", ["floating", "square"], ["one"]),
            helper.make_node("MatMul", ["one", "factors"], ["mean"]),
            helper.make_node("Neg", ["mean"], ["log_variance"]),
        ]
        weights = {"factors": np.array([[1, 2]], np.float32), "square": np.array([1, 1])}
        folder = write_style(tmp_path / "style")
        rows = model(nodes, ["image"], ["mean", "log_variance"], weights)
        (folder / "attribute.onnx").write_bytes(rows.SerializeToString())
        style = Style.load(folder, threads=1)
        for pixel_size in (0.06, 0.1, 0.12, 0.24):
            seen = style.attribute_of(picture(96, 96, pixel_size)).vector[0]
            assert seen == pytest.approx(96 * pixel_size / 0.12, abs=4)  # whole multiples of four

    def test_of_an_exemplar(self, style: Style) -> None:
        assert style.exemplar("first") == Attribute("first", (0.25, 0.5), 100.0, 300.0)
        assert style.exemplar("second") == Attribute("second", (-0.5, 0.0), 0.0, 1.0)

    def test_sampled_between_exemplars(self, style: Style) -> None:
        first, second = np.array(style.exemplar("first").vector), np.array(style.exemplar("second").vector)
        drawn = [style.sample(rng(seed)) for seed in range(200)]
        shares = np.array([(one.black / 100, (one.white - 1) / 299) for one in drawn])
        np.testing.assert_allclose(shares[:, 0], shares[:, 1], atol=1e-9)
        mixed = shares[:, :1] * first + (1 - shares[:, :1]) * second
        np.testing.assert_allclose([one.vector for one in drawn], mixed, atol=1e-9)
        assert 0 <= shares.min() < 0.1
        assert 0.9 < shares.max() <= 1

    def test_sampled_from_the_prior_alone(self, style: Style) -> None:
        vectors = np.array([style.sample(rng(seed), prior=1).vector for seed in range(400)])
        # The standard error of a mean of 400 is 0.05, of a deviation 0.035: four of each.
        np.testing.assert_allclose(vectors.mean(axis=0), 0, atol=0.2)
        np.testing.assert_allclose(vectors.std(axis=0), 1, atol=0.14)

    def test_sampled_partly_from_the_prior(self, style: Style) -> None:
        one, between, normal = (style.sample(rng(), prior) for prior in (0.5, 0, 1))
        expected = np.sqrt(0.5) * (np.array(between.vector) + np.array(normal.vector))
        np.testing.assert_allclose(one.vector, expected, rtol=1e-12)  # rounding
        assert (one.black, one.white) == (between.black, between.white)
        assert style.sample(rng(), prior=0.5) == one

    def test_without_exemplars_it_is_the_prior(self, style: Style) -> None:
        bare = replace(style, card=replace(style.card, exemplars=()))
        assert bare.sample(rng()).vector == style.sample(rng(), prior=1).vector

    @pytest.mark.parametrize("prior", [-0.1, 1.1, float("nan")])
    def test_a_share_is_from_0_to_1(self, style: Style, prior: float) -> None:
        with pytest.raises(UsageError, match="expected a share"):
            style.sample(rng(), prior)


class TestApply:
    """The simple style: image = content + a0 + a1 noise."""

    def test_known_answer_in_grey_values(self, style: Style) -> None:
        content = picture(45, 62)
        styled = style.apply(content, Attribute("x", (0.25, 0.0), 100.0, 300.0), rng())
        assert (styled.shape, styled.dtype) == ((45, 62), np.float32)
        np.testing.assert_allclose(styled, 100 + 200 * (content.data + 0.25), rtol=1e-6)  # single precision

    def test_noise_is_white_and_from_the_seed(self, style: Style) -> None:
        content, attribute = picture(100, 100), Attribute("x", (0.0, 1.0))
        noise = style.apply(content, attribute, rng()) - content.data
        assert noise.std() == pytest.approx(1, abs=0.03)  # 10,000 values: 0.7 %
        assert abs(np.mean(noise[1:] * noise[:-1])) < 0.04  # four standard errors
        np.testing.assert_array_equal(style.apply(content, attribute, rng()), style.apply(content, attribute, rng()))
        assert np.abs(style.apply(content, attribute, rng(4)) - content.data - noise).max() > 1

    def test_other_pixel_sizes_come_back_on_their_own_grid(self, style: Style) -> None:
        for pixel_size in (0.05, 0.16, 0.3):
            content = picture(101, 64, pixel_size)
            styled = style.apply(content, Attribute("x", (0.5, 0.0)), rng())
            inner = (slice(8, -8), slice(8, -8))
            # Structures of some ten pixels, damped by a few per cent where they go through the coarser grid.
            np.testing.assert_allclose(styled[inner], content.data[inner] + 0.5, atol=0.08)

    def test_noise_has_the_networks_grain(self, style: Style) -> None:
        """At half the network's pixel size, neighbours share their noise; white noise would not."""
        content = picture(200, 200, 0.05)
        noise = style.apply(content, Attribute("x", (0.0, 1.0)), rng()) - content.data
        near, far = (np.mean(noise[:, n:] * noise[:, :-n]) / noise.var() for n in (1, 6))
        assert near > 0.5
        assert abs(far) < 0.15

    def test_pixel_sizes(self, style: Style) -> None:
        given = (0.05, 0.1, 0.12, 0.15, 0.15005, 0.3)
        assert [style.pixel_size_for(size) for size in given] == [0.12, 0.1, 0.12, 0.15, 0.15005, 0.12]

    def test_an_attribute_of_another_style(self, style: Style) -> None:
        with pytest.raises(UsageError, match="has 3 numbers, style 'made' takes 2"):
            style.apply(picture(), Attribute("x", (1.0, 2.0, 3.0)), rng())

    def test_values_that_are_not_finite(self, style: Style) -> None:
        with pytest.raises(DataError, match="NaN or infinite"):
            style.apply(picture(), Attribute("x", (float("nan"), 0.0)), rng())

    def test_content_by_its_mean_or_its_range(self, tmp_path: Path) -> None:
        """The same image in other units is the same content; by its mean, not by its range, brighter atoms are too."""
        data = 2.0 + picture(64, 64).data
        styled = {}
        for greys in ("mean", "range"):
            style = Style.load(write_style(tmp_path / greys, of=card(greys=greys)), threads=1)
            images = [Image(factor * data).with_pixel_size(0.12, "user") for factor in (1, 700)]
            styled[greys] = [style.apply(prepare(image), Attribute("x", (0.0, 0.0)), rng()) for image in images]
            np.testing.assert_allclose(styled[greys][1], styled[greys][0], atol=1e-6)  # single precision
        np.testing.assert_allclose(styled["mean"][0], data / (BRIGHT * data.mean()), rtol=1e-5)
        np.testing.assert_allclose(styled["range"][0], data - 2, atol=1e-6)

    def test_greys_without_a_mean(self, tmp_path: Path) -> None:
        style = Style.load(write_style(tmp_path / "style", of=card(greys="mean")), threads=1)
        with pytest.raises(ImageError, match="count electrons"):
            style.apply(replace(picture(), black=-2.0, white=0.0), Attribute("x", (0.0, 0.0)), rng())

    def test_a_network_without_noise_or_attribute(self, tmp_path: Path) -> None:
        generator = model([helper.make_node("Neg", ["content"], ["image"])], ["content"], ["image"])
        bare = card(attribute_size=0, takes_noise=False, exemplars=())
        folder = write_style(tmp_path / "bare", generator, bare)
        (folder / "attribute.onnx").unlink()
        style, content = Style.load(folder, threads=1), picture()
        attribute = style.attribute_of(content)
        assert attribute.vector == () == style.sample(rng()).vector
        np.testing.assert_array_equal(style.apply(content, attribute, rng()), -content.data)

    def test_a_network_that_changes_the_shape(self, tmp_path: Path) -> None:
        cut = {"starts": [0], "ends": [8], "axes": [2]}
        weights = {name: np.array(value) for name, value in cut.items()}
        nodes = [helper.make_node("Slice", ["content", *cut], ["image"])]
        only = card(attribute_size=0, takes_noise=False, exemplars=())
        style = Style.load(
            write_style(tmp_path / "cut", model(nodes, ["content"], ["image"], weights), only), threads=1
        )
        with pytest.raises(DataError, match=r"made \(1, 1, 8, 64\) of \(48, 64\) pixels"):
            style.apply(picture(), style.sample(rng()), rng())


class TestTiles:
    def test_tiles_agree_with_the_whole_image(self, tmp_path: Path) -> None:
        """Convolutions at two scales, whose zeros beyond a tile's border must not show; rounding leaves 1e-6."""
        style = Style.load(write_style(tmp_path / "deep", convolutions()), threads=1)
        content = picture(333, 290)
        whole = style.apply(content, style.exemplar("second"), rng())
        tiled = style.apply(content, style.exemplar("second"), rng(), tile=96)
        np.testing.assert_allclose(tiled, whole, atol=1e-4)
        assert len(spans(336, 96, 8)) > 3


def test_a_negative_number_of_threads(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="threads is -1"):
        Style.load(write_style(tmp_path / "style"), threads=-1)
