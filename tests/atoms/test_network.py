"""The network that finds atoms: what it is to say, what it reads, how it is asked, and what is made of its maps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from picostem.atoms.card import CARD, AtomCard
from picostem.atoms.predict import AtomNet, decode, in_tiles
from picostem.atoms.reading import PIXEL_A, Reading
from picostem.errors import DataError, ImageError, UsageError
from picostem.image import Image
from picostem.net_folder import NETWORK

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from picostem.atoms.network import AtomNetwork, AtomNetworkConfig, Maps, Said, loss_of  # noqa: E402
from picostem.atoms.train import export_atom_net  # noqa: E402

PLACE = np.array([[10.3, 12.0], [10.3, 16.0], [20.0, 8.6], [25.2, 25.2]])
KIND = np.array([0, 1, 0, 0])
SURE = np.array([True, True, True, False])


def maps(classes: int = 1) -> Maps:
    return Maps.of(PLACE, KIND, SURE, (32, 40), classes)


def network(seed: int = 0, classes: int = 1, width: int = 4) -> AtomNetwork:
    """A network whose every weight matters."""
    torch.manual_seed(seed)
    made = AtomNetwork(AtomNetworkConfig(classes, width, 2))
    with torch.no_grad():
        for values in made.parameters():
            values.add_(0.05 * torch.randn_like(values))
    return made.eval()


class TestMaps:
    def test_what_they_say_is_decoded_to_the_atoms(self) -> None:
        """Two of them are 4 pixels, 0.8 Å, apart."""
        found = decode(maps().heat, maps().offset, 0.5)
        assert np.array(sorted(map(tuple, found.place))) == pytest.approx(PLACE[SURE], abs=1e-5)

    def test_classes(self) -> None:
        found = decode(maps(2).heat, maps(2).offset, 0.5)
        order = np.lexsort((found.place[:, 1], found.place[:, 0]))
        assert found.kind[order].tolist() == [0, 1, 0]

    def test_unsure_atoms_do_not_count(self) -> None:
        assert maps().counted[25, 25] == 0
        assert maps().counted[10, 12] == 1
        beside = Maps.of(np.array([[9.0, 9.0], [9.0, 10.0]]), KIND[:2], np.array([True, False]), (32, 32), 1)
        assert beside.counted[9, 9] == 1 and beside.counted[9, 10] == 0

    def test_offsets_lead_to_the_nearest(self) -> None:
        one = Maps.of(np.array([[9.0, 9.0], [9.0, 11.0]]), KIND[:2], SURE[:2], (32, 32), 1)
        assert one.offset[:, 9, 9].tolist() == [0, 0] and one.offset[:, 9, 11].tolist() == [0, 0]
        assert one.near[9, 13] == 0 and one.near[9, 12] == 1

    def test_no_atoms(self) -> None:
        empty = Maps.of(np.empty((0, 2)), KIND[:0], SURE[:0], (16, 16), 1)
        assert empty.heat.sum() == empty.near.sum() == 0 and empty.counted.all()


class TestLoss:
    def wanted(self) -> Any:
        one = maps()
        return tuple(torch.from_numpy(each)[None] for each in (one.heat, one.offset, one.near, one.counted))

    def test_is_that_of_the_formula(self) -> None:
        """The same by a loop over pixels."""
        rng = np.random.default_rng(0)
        logits, offset = rng.normal(-1, 1, (1, 1, 32, 40)), rng.normal(0, 1, (1, 2, 32, 40))
        one, total, away = maps(), 0.0, 0.0
        for row, column in np.ndindex(32, 40):
            p, h = 1 / (1 + np.exp(-logits[0, 0, row, column])), float(one.heat[0, row, column])
            each = -((1 - p) ** 2) * np.log(p) if h == 1 else -((1 - h) ** 4) * p**2 * np.log(1 - p)
            total += each * one.counted[row, column]
            if one.near[row, column]:
                away += np.abs(offset[0, :, row, column] - one.offset[:, row, column]).mean() / one.near.sum()
        found = loss_of(torch.from_numpy(logits), torch.from_numpy(offset), self.wanted())
        assert [float(each) for each in found] == pytest.approx([total / 3, away], rel=1e-5)

    def test_none_for_what_is_wanted(self) -> None:
        one = maps()
        sure = torch.from_numpy(np.where(one.heat == 1, 20.0, -20.0))[None]
        found = loss_of(sure, torch.from_numpy(one.offset)[None], self.wanted())
        assert [float(each) for each in found] == pytest.approx([0, 0], abs=1e-6)


class TestNetwork:
    def test_small_enough(self) -> None:
        assert sum(values.numel() for values in AtomNetwork(AtomNetworkConfig()).parameters()) < 1.5e6

    def test_says_the_same_wherever_an_image_lies(self) -> None:
        image = torch.randn(1, 1, 128, 128)
        with torch.no_grad():
            here, there = network()(image), network()(torch.roll(image, (8, 4), (2, 3)))
        for one, other in zip(here, there, strict=True):
            inner = np.s_[:, :, 56:72, 56:72]  # the border reaches no further
            assert torch.allclose(torch.roll(one, (8, 4), (2, 3))[inner], other[inner], atol=1e-5)

    def test_rare_before_training(self) -> None:
        logits, offset = AtomNetwork(AtomNetworkConfig(2, 4, 1))(torch.zeros(1, 1, 32, 32))
        assert logits.shape == (1, 2, 32, 32) and offset.shape == (1, 2, 32, 32)
        assert torch.sigmoid(logits).max() < 0.1

    def test_refusal(self) -> None:
        with pytest.raises(UsageError, match="positive"):
            AtomNetworkConfig(blocks=0)


class TestReading:
    @pytest.mark.parametrize("pixel_size", [0.05, 0.13, 0.2, 0.31])
    def test_peaks_stay_where_they_are(self, pixel_size: float) -> None:
        rows, columns = np.mgrid[:200, :230]
        width = 0.5 / pixel_size
        data = np.exp(-((rows - 90.3) ** 2 + (columns - 120.8) ** 2) / (2 * width**2)).astype(np.float32)
        reading = Reading.of(Image(data).with_pixel_size(pixel_size, "user"))
        assert reading.data.shape == pytest.approx(np.array(data.shape) * pixel_size / PIXEL_A, abs=1.01)
        light = reading.data - reading.data.min()
        centre = np.array([ndimage.center_of_mass(light)])
        assert reading.image_from_place(centre)[0] == pytest.approx([90.3, 120.8], abs=0.02 / pixel_size)
        assert reading.place_from_image(reading.image_from_place(centre)) == pytest.approx(centre)
        assert (reading.data.mean(), reading.data.std()) == pytest.approx((0, 1), abs=1e-4)

    def test_oblong_pixels_become_square(self) -> None:
        data = np.random.default_rng(0).random((100, 80), dtype=np.float32)
        reading = Reading.of(Image(data).with_pixel_size((0.2, 0.4), "user"))
        assert reading.data.shape == (100, 160)

    def test_no_noise_is_thrown_away_where_pixels_are_fine(self) -> None:
        """Of 16 pixels, the mean has a quarter of the noise; of 3.2, at most what bins of one and a filter leave."""
        rng = np.random.default_rng(0)
        data = rng.standard_normal((256, 256)).astype(np.float32)
        for step, most in ((4.0, 0.26), (1.8, 0.7)):
            data[:8] = 30  # a bright stripe, by which grey levels are standardised
            reading = Reading.resampled(data, np.full(2, step))
            bright = reading.data[0].mean() - reading.data[20:].mean()
            assert reading.data[20:].std() / bright * 30 < most

    def test_scale_of_an_uncalibrated_image(self) -> None:
        rng = np.random.default_rng(0)
        rows, columns = np.mgrid[:256, :256]
        counts = 2 + 40 * np.exp(-(((rows % 32) - 16) ** 2 + ((columns % 32) - 16) ** 2) / (2 * 4.0**2))
        step = Reading.of(Image(rng.poisson(counts).astype(np.float32))).step
        assert 32 / step[0] == pytest.approx(2.6 / PIXEL_A, rel=0.05)  # by its planes

    def test_scale_of_an_uncalibrated_image_without_a_lattice(self) -> None:
        rng = np.random.default_rng(0)
        counts = np.zeros((256, 256))
        counts[tuple(rng.integers(10, 246, (2, 150)))] = 40 * 2 * np.pi * 4.0**2
        image = rng.poisson(2 + ndimage.gaussian_filter(counts, 4.0)).astype(np.float32)
        assert 4.0 / Reading.of(Image(image)).step[0] == pytest.approx(0.3 / PIXEL_A, rel=0.4)  # by its peaks


class TestTiles:
    def test_make_the_whole(self) -> None:
        """Of what reaches no further than half of the overlap, whatever lies in the rest of it."""
        data = np.random.default_rng(0).standard_normal((150, 101)).astype(np.float32)

        def said(tile: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            assert tile.shape[0] % 4 == tile.shape[1] % 4 == 0
            return tile[None] ** 2, np.stack([tile, -tile])

        heat, offset = in_tiles(said, data, 1, tile=64, overlap=16)
        assert heat[0] == pytest.approx(data**2, rel=1e-5)
        assert offset[1] == pytest.approx(-data, rel=1e-5)

    @pytest.mark.parametrize("shape", [(33, 35), (64, 64), (65, 200)])
    def test_any_size(self, shape: tuple[int, int]) -> None:
        def said(tile: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return np.ones((1, *tile.shape)), np.zeros((2, *tile.shape))

        heat, offset = in_tiles(said, np.zeros(shape, dtype=np.float32), 1, tile=64, overlap=16)
        assert heat.shape == (1, *shape) and offset.shape == (2, *shape)
        assert np.allclose(heat, 1)


class TestDecode:
    def test_maxima_that_lead_to_one_place_are_one(self) -> None:
        heat, offset = np.zeros((1, 20, 20)), np.zeros((2, 20, 20))
        heat[0, 5, 5], heat[0, 5, 7] = 0.9, 0.8
        offset[1, 5, 5], offset[1, 5, 7] = 0.9, -0.9
        found = decode(heat, offset, 0.5)
        assert found.score.tolist() == [0.9]
        assert found.place.tolist() == [[5.0, 5.9]]

    def test_nothing(self) -> None:
        assert len(decode(np.zeros((1, 20, 20)), np.zeros((2, 20, 20)), 0.5)) == 0

    def test_wild_offsets_are_held_back(self) -> None:
        heat, offset = np.zeros((1, 20, 20)), np.full((2, 20, 20), 9.0)
        heat[0, 5, 5] = 1
        assert decode(heat, offset, 0.5).place.tolist() == [[6.5, 6.5]]


class TestFolder:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        export_atom_net(network(), AtomCard("made", ("atom",), 0.3), tmp_path / "net")
        return tmp_path / "net"

    def test_says_what_the_network_says(self, folder: Path) -> None:
        net = AtomNet.load(folder, threads=1)
        data = np.random.default_rng(0).standard_normal((44, 64)).astype(np.float32)
        with torch.no_grad():
            heat, offset = Said(network())(torch.from_numpy(data)[None, None])
        found = net._said(data)
        assert found[0] == pytest.approx(heat[0].numpy(), abs=1e-5)
        assert found[1] == pytest.approx(offset[0].numpy(), abs=1e-5)

    def test_detections_are_inside_and_in_order(self, folder: Path) -> None:
        data = np.random.default_rng(0).random((90, 70), dtype=np.float32)
        image = Image(data).with_pixel_size(0.1, "user")
        found = AtomNet.load(folder, threads=1).look(image).detections(1e-4)
        assert len(found) > 3
        assert np.all((found.place > -0.5) & (found.place < (89.5, 69.5)))
        assert np.all(np.diff(found.place[:, 0]) >= 0)

    def test_probabilities_are_calibrated_and_vacancies_no_atoms(self, folder: Path) -> None:
        net = AtomNet.load(folder, threads=1)
        image = Image(np.random.default_rng(0).random((90, 70), dtype=np.float32)).with_pixel_size(0.1, "user")
        output = net.look(image)
        card = replace(net.card, calibration=(2.0, 1.0), threshold=1e-4)
        odds = [
            np.log(p / (1 - p)) for p in (one.detections(1e-4).score for one in (output, replace(output, card=card)))
        ]
        assert odds[1] == pytest.approx(2 * odds[0] + 1)
        assert len(replace(output, card=card).atoms()) == len(odds[0])
        assert not len(replace(output, card=replace(card, classes=("vacancy",))).atoms())

    def test_refusals(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(ImageError, match="all pixels are 1"):
            AtomNet.load(folder).look(Image(np.ones((64, 64), dtype=np.float32)))
        with pytest.raises(UsageError, match="expected a card of 1 classes"):
            export_atom_net(network(), AtomCard("two", ("a", "b"), 0.5), tmp_path / "two")
        for values in ((1.5,), (0.5, (1.0,))):
            with pytest.raises(DataError, match="threshold between 0 and 1"):
                AtomCard("made", ("atom",), *values)  # type: ignore[arg-type]
        card = json.loads((folder / CARD).read_text("utf-8"))
        (folder / CARD).write_text(json.dumps(card | {"pixel_A": 0.1}))
        with pytest.raises(DataError, match="train it again"):
            AtomNet.load(folder)
        (folder / CARD).write_text(json.dumps(card | {"threshold": "high"}))
        with pytest.raises(DataError, match="the card is damaged"):
            AtomNet.load(folder)
        (folder / CARD).write_text(json.dumps(card))
        (folder / NETWORK).write_bytes(b"x")
        with pytest.raises(DataError, match="is not the file that"):
            AtomNet.load(folder)

    def test_a_network_that_is_not_its_cards(self, folder: Path) -> None:
        net = AtomNet.load(folder)
        other = replace(net, card=replace(net.card, classes=("a", "b")))
        with pytest.raises(DataError, match="does not give what its card says"):
            other._said(np.zeros((32, 32), dtype=np.float32))
        with pytest.raises(DataError, match="cannot be run"):
            net._said(np.zeros((4, 30, 32), dtype=np.float32))
