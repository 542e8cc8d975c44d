from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("safetensors")

from picostem.errors import DataError, FileError, UsageError  # noqa: E402
from picostem.infer import predict  # noqa: E402
from picostem.infer.calibrate import Calibration  # noqa: E402
from picostem.infer.export import export_net, halved, load_network, onnx_of, save_network  # noqa: E402
from picostem.infer.folder import write_folder  # noqa: E402
from picostem.infer.mixture import Outputs  # noqa: E402
from picostem.infer.network import NetworkConfig, Perceptron  # noqa: E402
from picostem.infer.predict import StackingNet  # noqa: E402
from picostem.infer.torus import Torus  # noqa: E402
from picostem.net_folder import NETWORK  # noqa: E402
from tests.infer.made_samples import THREE, TWO, Made, card, draw, reads  # noqa: E402


def features(torus: Torus, made: Made) -> Any:
    return reads(torus)(made.amplitudes, made.noise, made.factors, made.conditions)


def network_of(torus: Torus, seed: int = 0) -> Perceptron:
    torch.manual_seed(seed)
    network = Perceptron(NetworkConfig(reads(torus).size, torus.interfaces, width=32, blocks=2))
    network.standardise(torch.from_numpy(features(torus, draw(np.random.default_rng(seed), 100, torus.interfaces + 1))))
    with torch.no_grad():
        network.leave.weight *= 100  # answers as decided as those of a trained one
    return network


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Perceptron, Path]:
    network = network_of(TWO).train()
    folder = tmp_path_factory.mktemp("nets") / "made"
    export_net(network, card(calibration=Calibration(2.25, 0.5, 700)), folder)
    return network, folder


def test_a_halved_file_says_nearly_the_same(exported: tuple[Perceptron, Path], tmp_path: Path) -> None:
    content = (exported[1] / "network.onnx").read_bytes()
    write_folder(tmp_path / "net", card(), halved(content))
    assert (tmp_path / "net" / "network.onnx").stat().st_size < 0.7 * len(content)  # a small network: its graph counts
    read = features(TWO, draw(np.random.default_rng(5), 40, 2))
    (slips, halves) = (
        StackingNet.load(folder, threads=1).session.run(["means"], {"features": read})[0]
        for folder in (exported[1], tmp_path / "net")
    )
    assert 0 < np.abs(slips - halves).max() < 0.05 * np.ptp(slips)  # 1/2048 of each weight, added up over three layers


def ask(folder: Path, count: int = 30, layers: int = 2) -> tuple[Any, Any]:
    made = draw(np.random.default_rng(5), count, layers)
    return made, StackingNet.load(folder, threads=1).predict(made.amplitudes, made.noise, made.factors, made.conditions)


@pytest.mark.parametrize("torus", [TWO, THREE], ids=["two", "three"])
def test_onnx_says_what_torch_says(tmp_path: Path, torus: Torus) -> None:
    network = network_of(torus)
    export_net(network, card(torus), tmp_path / "net")
    session = StackingNet.load(tmp_path / "net", threads=1).session
    for count in (1, 40):
        read = features(torus, draw(np.random.default_rng(5), count, torus.interfaces + 1))
        found = session.run(list(Outputs._fields), {"features": read})
        with torch.no_grad():
            expected = network(torch.from_numpy(read))
        for name, a, b in zip(Outputs._fields, found, expected, strict=True):
            if name == "means":
                a = b.numpy() + (a - b.numpy() + 0.5) % 1 - 0.5  # either side of the seam
            np.testing.assert_allclose(a, b.numpy(), rtol=1e-3, atol=1e-4)  # single precision, sums of some hundred


def test_what_is_predicted(exported: tuple[Perceptron, Path]) -> None:
    """The modes of the network, merged where they are alike, with the calibration of the card."""
    network, folder = exported
    made, found = ask(folder)
    with torch.no_grad():
        expected = Outputs(*(part.double().numpy() for part in network(torch.from_numpy(features(TWO, made)))))
    np.testing.assert_allclose(found.outlier, -expected.trust, rtol=1e-4, atol=1e-4)  # single precision, as above
    assert found.trusted.tolist() == (found.outlier <= 0.5).tolist()
    assert 0 < found.trusted.sum() < 30
    alone = np.flatnonzero((found.weights > 0).all(axis=1))
    assert 0 < len(alone) < 30
    best = np.argmax(expected.logits, axis=1)
    for row in alone:
        assert TWO.distance(found.slips[row], expected.means[row, best[row]]) < 1e-3  # as above
        factor = expected.factors[row, best[row]]
        np.testing.assert_allclose(found.covariance[row], 2.25 * np.linalg.inv(factor.T @ factor), rtol=1e-2)


def test_shapes_and_order(tmp_path: Path) -> None:
    export_net(network_of(THREE), card(THREE), tmp_path / "net")
    _, found = ask(tmp_path / "net", layers=3)
    assert len(found) == 30
    assert found.modes.shape == (30, 4, 2, 2) and found.covariances.shape == (30, 4, 4, 4)
    assert found.slips.shape == (30, 2, 2) and found.covariance.shape == (30, 4, 4)
    assert (np.diff(found.weights, axis=1) <= 0).all()
    np.testing.assert_allclose(found.weights.sum(axis=1), 1, atol=1e-6)  # single precision
    assert (np.linalg.eigvalsh(found.covariances) > 0).all()


def test_neither_batches_nor_places_matter(exported: tuple[Perceptron, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    _, folder = exported
    made, whole = ask(folder)
    monkeypatch.setattr(predict, "BATCH", 7)
    net = StackingNet.load(folder, threads=1)
    moved = made.amplitudes * np.exp(-2j * np.pi * net.invariants.hk @ [0.3, 0.9])
    parts = net.predict(moved, made.noise, made.factors, made.conditions)
    sure = whole.weights[:, 0] > whole.weights[:, 1] + 0.01
    # features agree to single precision; the network enlarges that by some tens
    assert net.torus.distance(parts.slips[sure], whole.slips[sure]).max() < 1e-3
    np.testing.assert_allclose(parts.outlier, whole.outlier, atol=1e-3)


def test_no_windows(exported: tuple[Perceptron, Path]) -> None:
    assert len(ask(exported[1], 0)[1]) == 0


def test_the_network_is_left_as_it_was(exported: tuple[Perceptron, Path], tmp_path: Path) -> None:
    network = exported[0]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    export_net(network, card(), tmp_path / "net")
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_weights_in_a_file(tmp_path: Path) -> None:
    network = network_of(TWO)
    save_network(network, tmp_path / "weights.safetensors")
    again = load_network(tmp_path / "weights.safetensors")
    assert again.config == network.config
    assert all(
        torch.equal(a, b) for a, b in zip(again.state_dict().values(), network.state_dict().values(), strict=True)
    )
    content = (tmp_path / "weights.safetensors").read_bytes()
    (tmp_path / "weights.safetensors").write_bytes(content.replace(b'\\"width\\"', b'\\"depth\\"'))
    with pytest.raises(DataError, match="train the network again"):
        load_network(tmp_path / "weights.safetensors")
    (tmp_path / "weights.safetensors").write_bytes(content.replace(b'\\"width\\": 32', b'\\"width\\": 0 '))
    with pytest.raises(DataError, match="damaged"):
        load_network(tmp_path / "weights.safetensors")


def test_bad_input(exported: tuple[Perceptron, Path], tmp_path: Path) -> None:
    network, folder = exported
    made = draw(np.random.default_rng(5), 3)
    net = StackingNet.load(folder, threads=1)
    with pytest.raises(UsageError, match=r"expected amplitudes \(k, 6\)"):
        net.predict(made.amplitudes[:, :4], made.noise, made.factors, made.conditions)
    with pytest.raises(UsageError, match="no network 'nowhere'"):
        StackingNet.load("nowhere")
    with pytest.raises(UsageError, match="got that of 50 and 2"):
        export_net(network, card(THREE), tmp_path / "net")
    write_folder(tmp_path / "net", card(), b"no network")
    with pytest.raises(FileError, match="no ONNX file"):
        StackingNet.load(tmp_path / "net")
    write_folder(tmp_path / "net", card(), (folder / NETWORK).read_bytes())
    StackingNet.load(tmp_path / "net")


def test_networks_that_do_not_belong_to_their_card(tmp_path: Path) -> None:
    """The hash is right, the network another one."""
    made = draw(np.random.default_rng(5), 3)
    torch.manual_seed(0)
    other = Perceptron(NetworkConfig(5, width=8, blocks=1))
    write_folder(tmp_path / "net", card(), onnx_of(other))
    with pytest.raises(DataError, match="cannot be run"):
        StackingNet.load(tmp_path / "net", threads=1).predict(
            made.amplitudes, made.noise, made.factors, made.conditions
        )
    broken = network_of(TWO)
    with torch.no_grad():
        broken.leave.bias[:] = torch.nan
    export_net(broken, card(), tmp_path / "net")
    with pytest.raises(DataError, match="gives no numbers"):
        StackingNet.load(tmp_path / "net", threads=1).predict(
            made.amplitudes, made.noise, made.factors, made.conditions
        )
