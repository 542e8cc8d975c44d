from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from picostem.errors import DataError, UsageError  # noqa: E402
from picostem.infer.network import LIMIT, NetworkConfig, Perceptron  # noqa: E402

SMALL = NetworkConfig(features=7, interfaces=2, modes=3, width=16, blocks=2)


def network(seed: int = 0) -> Perceptron:
    torch.manual_seed(seed)
    return Perceptron(SMALL)


def test_shapes() -> None:
    made = network()(torch.randn(5, 7))
    assert [tuple(part.shape) for part in made] == [(5, 3), (5, 3, 2, 2), (5, 3, 4, 4), (5,)]
    assert made.means.abs().max() <= 0.5


def test_a_fresh_network_is_unsure() -> None:
    """Deviations of some 1 Å; first numbers of 0.5 change them by exp(3.35 * 0.28 * 0.5) = 1.6."""
    made = network()(torch.randn(100, 7))
    deviation = 1 / torch.diagonal(made.factors, dim1=-2, dim2=-1)
    assert deviation.min() > 0.9 / 1.6**2 and deviation.max() < 1.65


def test_scales_of_features_do_not_matter() -> None:
    x = torch.randn(200, 7, dtype=torch.float64)
    one, other = network().double(), network().double()
    scale, shift = torch.rand(7) + 0.5, torch.randn(7)
    one.standardise(x)
    other.standardise(x * scale + shift)
    # the scale is kept in single precision
    torch.testing.assert_close(other(x * scale + shift).means, one(x).means, atol=1e-6, rtol=0)
    standard = (x - one.centre) * one.gain
    torch.testing.assert_close(standard.std(dim=0), torch.ones(7, dtype=torch.float64), atol=1e-6, rtol=0)


def test_constant_features_are_ignored_and_wild_ones_cut_off() -> None:
    x = torch.randn(200, 7)
    x[:, 3] = 0.8
    made = network()
    made.standardise(x)
    moved = x.clone()
    moved[:, 3] = 0.9
    assert torch.equal(made(moved).logits, made(x).logits)
    wild, wilder = x.clone(), x.clone()
    wild[:, 0], wilder[:, 0] = 2 * LIMIT, 1e6
    assert torch.equal(made(wild).logits, made(wilder).logits)
    assert not torch.equal(made(wild).logits, made(x).logits)


def test_config() -> None:
    assert NetworkConfig.from_dict(SMALL.as_dict()) == SMALL
    with pytest.raises(DataError, match="sizes are .'blocks'"):
        NetworkConfig.from_dict({"features": 3})
    for wrong in (0, -1, 2.0, True):
        with pytest.raises(UsageError, match="whole and positive"):
            NetworkConfig(features=wrong)
