"""Networks for patches in folders, and what they say of patches and images, without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picostem.dataset.patch_plan import PatchPlan
from picostem.errors import DataError, OutputError, UsageError
from picostem.image import Image
from picostem.infer.folder import PATCH_CARD
from picostem.infer.patch_card import PatchCard
from picostem.infer.patch_labels import Labels
from picostem.infer.patch_predict import PatchNet
from picostem.net_folder import NETWORK
from tests.infer.made_patches import LABELS, PLAN, SIDE, draw

CARD_OF = PatchCard.of("made", PLAN, LABELS, training={"seed": 0})


class Gratings:
    """Stands for a session: Da is 0.1 where a grating along x is the stronger one, and 0.3 where one along y is."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def run(self, names: list[str], feed: dict[str, Any]) -> list[np.ndarray]:
        patches = feed["patches"][:, 0]
        self.asked.append(len(patches))
        wave = np.exp(2j * np.pi * np.arange(SIDE) / 8)
        along = np.abs(patches.mean(axis=1) @ wave) > np.abs(patches.mean(axis=2) @ wave)
        slips = np.stack([np.where(along, 0.1, 0.3), np.full(len(along), 0.2)], axis=1)
        return [LABELS.targets(slips)]


def halves(side: int = 256) -> Image:
    """A grating along x on the left, one along y on the right of x = 6.4 Å; 0.4 Å per pixel."""
    x = np.arange(side)
    wave = np.cos(2 * np.pi * x / 8)
    left = x[None] < side / 2 + 16
    return Image(np.where(left, wave[None], wave[:, None]).astype(np.float32), (0.4, 0.4), "user", "halves")


def gratings() -> tuple[PatchNet, Gratings]:
    session = Gratings()
    return PatchNet(CARD_OF, session, LABELS), session


def test_coarse_then_fine() -> None:
    net, session = gratings()
    steps: list[tuple[int, int]] = []
    found = net.map(halves(), rotation=0.0, coarse_A=8.0, fine_A=1.0, progress=lambda a, b: steps.append((a, b)))
    coarse, fine = found.centres[~found.fine], found.centres[found.fine]
    assert len(found.centres) == len(found.labels) == len(found.sure) == sum(session.asked)
    assert steps[-1] == (len(fine), len(fine))
    # a window that shows more of the left than of the right says left: the boundary is where its centre is
    for places, labels, within in (
        (coarse, found.labels[~found.fine], 8.0),
        (fine, found.labels[found.fine], 1.0),
    ):
        left = np.isclose(labels[:, 0], 0.1)
        assert 6.4 - within <= places[left, 0].max() <= 6.4 + within
        assert 6.4 - within <= places[~left, 0].min() <= 6.4 + within
    assert len(coarse) == 12**2
    assert np.abs(fine[:, 0] - 6.4).max() < 3 * 8.0  # only there
    assert len(fine) < 0.4 * 90**2


def test_no_fine_windows_where_nothing_changes() -> None:
    net, _ = gratings()
    image = Image(np.tile(halves().data[:, :1], (1, 256)), (0.4, 0.4), "user", "one")
    assert not net.map(image, rotation=0.0).fine.any()
    assert not net.map(halves(), rotation=0.0, fine_A=None).fine.any()
    assert not net.map(halves(), rotation=0.0, change=1.0).fine.any()


def test_few_patches_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    net, session = gratings()
    whole = net.map(halves(), rotation=0.0, fine_A=None)
    monkeypatch.setattr("picostem.infer.patch_predict.PIXELS", 5 * SIDE**2)
    session.asked.clear()
    found = net.map(halves(), rotation=0.0, fine_A=None)
    assert max(session.asked) == 5
    np.testing.assert_array_equal(found.labels, whole.labels)


def test_no_patches() -> None:
    labels, sure = gratings()[0].predict(np.empty((0, SIDE, SIDE)))
    assert labels.shape == (0, 2) and sure.shape == (0,)


def test_cards_come_back() -> None:
    for task in ("slip", "antiparallel", "trilayer", "twist"):
        plan = PatchPlan("MoS2", task)
        card = PatchCard.of("made", plan, Labels.of(plan.stack(), task, "plain"))
        again = PatchCard.from_dict(json.loads(json.dumps(card.as_dict())), "here")
        assert again == card
        np.testing.assert_array_equal(again.labels.maps, card.labels.maps)
        assert again.extent_A == pytest.approx(plan.extent_A)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "picostem.stacking-net/1"}, "expected a network's card of format 'picostem.patch-net/1'"),
        ({"colour": 1}, r"unknown \['colour'\]"),
        ({"side": 3.5}, "side should be int"),
        ({"side": 0}, "patches of positive size"),
        ({"pixel_A": "0.3"}, "pixel_A should be"),
        ({"task": "twist"}, "task 'twist' has no labels of 2"),
        ({"form": "round"}, "card is damaged"),
        ({"maps": [[[1.0, 0.0], [0.0]]]}, "card is damaged"),
        ({"unit": [["a"]]}, "unit should be"),
    ],
)
def test_bad_cards(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        PatchCard.from_dict(CARD_OF.as_dict() | change, "here")


def test_bad_input() -> None:
    net, _ = gratings()
    with pytest.raises(UsageError, match="takes patches of 32 × 32 pixels of 0.4 Å.*do not stretch"):
        net.predict(np.zeros((2, 16, 16)))
    with pytest.raises(UsageError, match="fine stride is 9 Å; expected above 0 to the coarse one, 8 Å"):
        net.map(halves(), rotation=0.0, coarse_A=8.0, fine_A=9.0)
    broken = PatchNet(CARD_OF, type("Session", (), {"run": lambda *_: [np.full((2, 4), np.nan)]})(), LABELS)
    with pytest.raises(DataError, match="gives no labels: train it again"):
        broken.predict(np.zeros((2, SIDE, SIDE)))
    with pytest.raises(DataError, match="cannot be read"):
        PatchNet.load("nowhere")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from picostem.infer.export import export_patch_net
    from picostem.infer.patch_network import PatchNetwork, PatchNetworkConfig

    torch.manual_seed(0)
    network = PatchNetwork(PatchNetworkConfig(LABELS.size, 0.0625))
    network.train()(torch.randn(16, 1, SIDE, SIDE))  # means and variances that are not 0 and 1
    folder = tmp_path_factory.mktemp("nets") / "made"
    card = export_patch_net(network, CARD_OF, folder)
    return network, card, folder


def test_the_file_says_what_torch_says(made: Any) -> None:
    import torch

    from picostem.infer.patch_input import standardised

    network, card, folder = made
    net = PatchNet.load(folder, threads=1)
    assert net.card == card and len(card.sha256) == 64
    patches = draw(np.random.default_rng(1), 7).patches
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(standardised(patches))).numpy()
    # single precision in another order, through 53 layers
    np.testing.assert_allclose(net._said(patches), expected, atol=1e-4 * np.abs(expected).max())
    found, sure = net.predict(patches)
    labels, _ = LABELS.decoded(expected)
    assert LABELS.distance(found, labels).max() < 1e-2
    assert ((sure >= 0) & (sure <= 1)).all()


def test_folders_are_replaced_but_not_other_things(made: Any, tmp_path: Path) -> None:
    from picostem.infer.export import export_patch_net

    network, card, folder = made
    assert export_patch_net(network, CARD_OF, folder) == card
    assert sorted(path.name for path in folder.iterdir()) == [NETWORK, PATCH_CARD]
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds something else"):
        export_patch_net(network, CARD_OF, tmp_path)
    plain = Labels.of(PLAN.stack(), "slip", "plain")
    with pytest.raises(UsageError, match="card of a network of 6 outputs, got 2"):
        export_patch_net(network, PatchCard.of("made", PLAN, plain), tmp_path / "new")


def test_another_network_is_refused(made: Any, tmp_path: Path) -> None:
    folder = made[2]
    for name in (NETWORK, PATCH_CARD):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / NETWORK).write_bytes((folder / NETWORK).read_bytes() + b"\0")
    with pytest.raises(DataError, match="not the file that patch.json belongs to"):
        PatchNet.load(tmp_path)
    (tmp_path / PATCH_CARD).write_text("{")
    with pytest.raises(DataError, match="no JSON"):
        PatchNet.load(tmp_path)
