"""The network for twists: what a turn of the patch may change, and its loss beside plain sums."""

from __future__ import annotations

import numpy as np
import pytest

from picostem.infer.patch_density import Density

torch = pytest.importorskip("torch")

from picostem.infer.patch_twist import TwistNetwork, TwistNetworkConfig, _around, _even, density_loss  # noqa: E402

CONFIG = TwistNetworkConfig(5, 120, 8)


def network() -> TwistNetwork:
    torch.manual_seed(0)
    return TwistNetwork(CONFIG)


def test_a_turn_changes_nothing() -> None:
    read = torch.randn(3, 5, 120)
    with torch.no_grad():
        one, other = network()(read), network()(torch.roll(read, 17, dims=2))
    torch.testing.assert_close(one, other, atol=1e-4, rtol=0)  # single precision, through sums of 120
    with torch.no_grad():
        assert (network()(torch.randn(3, 5, 120)) - one).abs().max() > 1e-2


def test_how_alike_two_angles_are() -> None:
    """The products with matrices beside the sum over angles."""
    made = network()
    u, v = torch.randn(2, 1, 16, 120)
    both = (u @ made.cosine) * (v @ made.cosine) + (u @ made.sine) * (v @ made.sine)
    shifted = torch.stack([(torch.roll(v, -t, 2) + torch.roll(v, t, 2)) / 2 for t in range(61)], dim=-1)
    torch.testing.assert_close(both @ made.back, (u[..., None] * shifted).sum(dim=2), atol=1e-3, rtol=1e-3)


def test_what_is_beyond_the_ends() -> None:
    assert _around(5, 2).tolist() == [3, 4, 0, 1, 2, 3, 4, 0, 1]
    assert _even(5, 2).tolist() == [2, 1, 0, 1, 2, 3, 4, 3, 2]


def test_the_numbers_are_a_density() -> None:
    with torch.no_grad():
        said = network()(torch.randn(4, 5, 120))
    assert said.shape == (4, network().outputs) == (4, 3 * 61)
    density = Density.of(said.numpy())
    assert density.weights.sum(axis=1) == pytest.approx(1)
    assert np.abs(density.means - np.arange(61) / 120).max() <= 1.5 / 120 + 1e-6
    assert density.sigmas.min() > 0 and density.sigmas.max() < 0.05


def test_the_loss_is_minus_ln_of_the_density() -> None:
    said = torch.tensor([[np.log(0.25), np.log(0.75), 0.01, 0.3, np.log(0.02), np.log(0.05)]])
    places = np.linspace(0, 0.5, 20001)

    def loss(twist: float) -> float:
        return float(density_loss(said, torch.tensor([[twist]])))

    def gaussian(x: float, mean: float, sigma: float) -> float:
        return float(np.exp(-(((x - mean) / sigma) ** 2) / 2) / (sigma * np.sqrt(2 * np.pi)))

    modes = ((0.25, 0.01, 0.02), (0.75, 0.3, 0.05))
    expected = sum(w * (gaussian(0.02, m, s) + gaussian(-0.02, m, s) + gaussian(0.98, m, s)) for w, m, s in modes)
    assert loss(0.02) == pytest.approx(-np.log(expected), abs=1e-5)
    each = [np.exp(-loss(float(twist))) for twist in places[::100]]
    assert np.trapezoid(each, places[::100]) == pytest.approx(1, abs=1e-3)


def test_every_parameter_has_a_gradient() -> None:
    made = network()
    torch.autograd.backward(density_loss(made(torch.randn(8, 5, 120)), torch.full((8, 1), 0.2)))
    assert [name for name, p in made.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
