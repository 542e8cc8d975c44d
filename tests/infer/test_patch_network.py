"""The network for patches: ResNet-50 as published, of any width; and what it reads."""

from __future__ import annotations

import numpy as np
import pytest

from picostem.errors import DataError, UsageError
from picostem.infer.patch_input import standardised

torch = pytest.importorskip("torch")

from picostem.infer.patch_network import PatchNetwork, PatchNetworkConfig  # noqa: E402

RESNET_50 = 23_508_032
"""Parameters of the published network without its last layer, with three channels in."""


def test_it_is_resnet_50() -> None:
    network = PatchNetwork(PatchNetworkConfig(2))
    head = sum(p.numel() for p in network.head.parameters())
    body = sum(p.numel() for p in network.parameters()) - head
    assert body == RESNET_50 - 2 * 64 * 7 * 7
    assert head == (2048 + 1) * 1000 + (1000 + 1) * 512 + (512 + 1) * 2
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 49 + 4  # and four shortcuts
    assert network.blocks(network.enter(torch.zeros(2, 1, 64, 64))).shape == (2, 2048, 2, 2)


@pytest.mark.parametrize("outputs", [1, 2, 4])
def test_outputs_and_width(outputs: int) -> None:
    network = PatchNetwork(PatchNetworkConfig(outputs, 0.125))
    assert network(torch.zeros(3, 1, 32, 32)).shape == (3, outputs)
    assert sum(p.numel() for p in network.parameters()) < RESNET_50 / 50


def test_every_parameter_has_a_gradient() -> None:
    network = PatchNetwork(PatchNetworkConfig(2, 0.0625))
    network(torch.randn(8, 1, 32, 32)).sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_config_comes_back() -> None:
    config = PatchNetworkConfig(4, 0.5)
    assert PatchNetworkConfig.from_dict(config.as_dict()) == config
    with pytest.raises(DataError, match="train the network again"):
        PatchNetworkConfig.from_dict({"outputs": 1})
    for wrong in ({"outputs": 0}, {"outputs": 2, "width": 0.0}, {"outputs": True}):
        with pytest.raises(UsageError, match="one output or more"):
            PatchNetworkConfig(**wrong)


def test_standardised() -> None:
    rng = np.random.default_rng(0)
    patches = rng.random((3, 16, 16)).astype(np.float32)
    patches[1] = 7.0
    found = standardised(patches)
    assert found.shape == (3, 1, 16, 16) and found.dtype == np.float32
    assert found[[0, 2]].std(axis=(2, 3)) == pytest.approx(1, abs=1e-6)
    assert found.mean(axis=(2, 3)) == pytest.approx(0, abs=1e-6)
    assert not found[1].any()
    # unit and origin of the grey values do not matter, but for their rounding, 6e-8 of 1000 over a spread of 80
    np.testing.assert_allclose(standardised(300 * patches[[0]] + 1000), found[[0]], atol=1e-5)
    np.testing.assert_array_equal(standardised(np.empty((0, 16, 16))), np.empty((0, 1, 16, 16)))
    with pytest.raises(UsageError, match="shape"):
        standardised(np.zeros((3, 16, 8)))
    patches[0, 0, 0] = np.nan
    with pytest.raises(DataError, match="NaN or infinite"):
        standardised(patches)
