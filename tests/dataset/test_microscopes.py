"""Banks: the model of the fit taken apart by atoms gives what the model gives, and what simulated images show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from picostem.dataset.bank import load, save
from picostem.dataset.microscopes import Beam, _parameters, build
from picostem.dataset.stack import amplitudes, mean_intensity
from picostem.errors import FileError, OutputError, UsageError
from picostem.physics import SIGMA_PER_FWHM
from picostem.resolve.estimate import State, predict
from picostem.resolve.window import extract_harmonics
from picostem.simulate import AcquisitionSettings, simulate_stack
from picostem.structure import Monolayer, Stack

from .made import BEAM, MICROSCOPE, MOS2, RES2, Steady, bank_of, model_of, steady_bank, without_kernels

STACKS = {
    "1T, 2 layers": (RES2, RES2),
    "2H, 2 layers": (MOS2, MOS2),
    "2H, antiparallel": (MOS2, MOS2.turned()),
    "2H, 3 layers": (MOS2,) * 3,
}


@pytest.mark.parametrize("layers", STACKS.values(), ids=STACKS)
def test_a_bank_gives_the_harmonics_of_the_model(layers: tuple[Monolayer, ...]) -> None:
    bank = build(layers, 1, np.random.default_rng(3), BEAM)
    model = model_of(layers)
    parameters = _parameters(model, np.random.default_rng(3))
    slips = np.random.default_rng(4).random((20, len(layers) - 1, 2))
    state = State(parameters, np.full(20, model.unit / layers[0].area), np.zeros((20, 2)), slips)
    expected = predict(model.with_cross_terms(parameters), state)
    found = amplitudes(bank, 0, slips)
    np.testing.assert_array_equal(bank.hk, model.hk)
    # the kernels' weakest columns are left out: 0.5 % of the layers' amplitudes, root mean square over many slips
    layers_alone = np.linalg.norm(model.layer_factors(parameters)[0]) * model.unit / layers[0].area
    assert np.sqrt(np.mean(np.sum(np.abs(found - expected) ** 2, axis=1))) < 1.3 * 0.005 * layers_alone
    alone = amplitudes(without_kernels(bank), 0, slips)
    # single precision of sums over 12 atoms
    np.testing.assert_allclose(alone, predict(model, state), atol=3e-6 * np.abs(expected).max())


def test_columns_that_are_left_out_are_few() -> None:
    """ReS2 has 1171 columns; the kernels kept have most of their power in half of them."""
    assert 200 < len(bank_of("ReS2").q) < 900


@pytest.mark.parametrize("material", [RES2, MOS2], ids=["ReS2", "MoS2"])
def test_harmonics_are_those_of_simulated_images(material: Monolayer) -> None:
    """Amplitudes and means are fractions of the beam, as the linear simulation of independent layers has them."""
    bank = without_kernels(steady_bank(material.name))
    model = model_of((material, material))
    values = dict(zip(model.prior.names, _parameters(model, Steady()), strict=True))
    width = np.sqrt(values["variance"]) / SIGMA_PER_FWHM
    microscope = replace(MICROSCOPE, defocus=-values["C10"], source_fwhm=width)
    slip = np.array([0.21, 0.34])
    stack, perfect = Stack.bilayer(material, slip @ material.cell), AcquisitionSettings(dose=np.inf)
    rng = np.random.default_rng(0)
    image, _ = simulate_stack(stack, microscope, perfect, (160, 160), 0.2, rng, together=False)
    seen = extract_harmonics(image.data, 0.2 * material.reciprocal, bank.hk, 160, (np.array([0]), np.array([0])))
    found = amplitudes(bank, 0, slip[None, None])
    # the first layer's origin is at the image's centre; atoms on a pixel grid and single precision: 0.2 % together
    np.testing.assert_allclose(found, seen.amplitudes, atol=2e-3 * np.abs(found).max())
    whole = mean_intensity(bank, 0, np.ones((1, 2, len(material.symbols)), np.float32))
    np.testing.assert_allclose(whole, seen.mean, rtol=2e-3)


def test_parameters_are_the_prior_s_and_blur_is_positive() -> None:
    model, rng = model_of((MOS2, MOS2)), np.random.default_rng(0)
    drawn = np.array([_parameters(model, rng) for _ in range(500)])
    names = model.prior.names
    v, va, vb = (drawn[:, names.index(name)] for name in ("variance", "variance a", "variance b"))
    assert np.all(np.hypot(va, vb) < v) and v.min() >= 0.01 and v.max() <= 0.2
    others = [i for i, name in enumerate(names) if not name.startswith("variance")]
    deviation = (drawn[:, others] - model.prior.mean[others]) / model.prior.sigma[others]
    np.testing.assert_allclose(deviation.mean(axis=0), 0, atol=4.5 / np.sqrt(500))  # 4.5 standard errors
    np.testing.assert_allclose(deviation.std(axis=0), 1, atol=4.5 / np.sqrt(1000))


def test_factors_are_those_of_the_layers() -> None:
    """In another unit; a twin is another microscope."""
    bank = bank_of()
    alone, found = bank.sites.sum(axis=2), bank.factors
    assert found.shape[:2] == (3, 2)
    for one, other in zip(alone, found[:, 0, 0], strict=True):
        scale = np.vdot(other, one) / np.vdot(other, other)
        np.testing.assert_allclose(scale * other, one, atol=1e-5 * np.abs(one).max())  # single precision
    assert np.abs(found[:, 1, 0] - found[:, 0, 0]).max() > 0.01 * np.abs(found).max()


def test_free_microscopes_differ_within_what_microscopes_do() -> None:
    bank = build((MOS2, MOS2), 40, np.random.default_rng(1))
    voltage, semiangle, inner = bank.conditions.T
    assert set(np.rint(300 * voltage)) == {60, 80, 200, 300}
    assert 18 <= 25 * semiangle.min() < 22 and 31 < 25 * semiangle.max() <= 35
    assert 1.2 <= inner.min() < 1.4 and 2.4 < inner.max() <= 2.7


def test_a_given_microscope_is_that_of_all() -> None:
    expected = np.tile([200 / 300, 24 / 25, 40 / 24], (3, 1))
    np.testing.assert_allclose(bank_of().conditions, expected, rtol=1e-6)  # single precision


def test_a_seed_decides() -> None:
    one, other = (build((MOS2, MOS2), 2, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one.sites, other.sites)
    assert not np.array_equal(one.sites[0], one.sites[1])


def test_progress_tells_every_microscope() -> None:
    told: list[tuple[int, int]] = []
    build((MOS2, MOS2), 3, np.random.default_rng(0), BEAM, lambda *args: told.append(args))
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("layers", "count", "beam", "message"),
    [
        ((MOS2,), 1, BEAM, "two layers or more"),
        ((MOS2, RES2), 1, BEAM, "MoS2, ReS2"),
        ((MOS2, MOS2), 0, BEAM, "and 0"),
        ((MOS2, MOS2), 1, (200.0, 24.0, (20.0, 200.0)), "semiangle < inner"),
        ((MOS2, MOS2), 1, (0.0, 24.0, (40.0, 200.0)), "voltage"),
    ],
)
def test_requests_that_make_no_bank(layers: tuple[Monolayer, ...], count: int, beam: Beam, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(layers, count, np.random.default_rng(0), beam)


class TestFile:
    def test_gives_back_the_bank(self, tmp_path: Path) -> None:
        bank = bank_of(antiparallel=True)
        save(bank, tmp_path / "folder" / "bank.npz")
        again = load(tmp_path / "folder" / "bank.npz")
        assert (again.material, again.antiparallel) == ("MoS2", True)
        for name in ("cell", "hk", "pairs", "sites", "mean", "q", "kernels", "factors", "conditions"):
            np.testing.assert_array_equal(getattr(again, name), getattr(bank, name))
        np.testing.assert_array_equal(again.orientations.permutation, bank.orientations.permutation)
        assert [path.name for path in (tmp_path / "folder").iterdir()] == ["bank.npz"]

    def test_that_is_missing_damaged_or_another_s(self, tmp_path: Path) -> None:
        with pytest.raises(FileError, match="cannot read"):
            load(tmp_path / "none.npz")
        (tmp_path / "text.npz").write_text("no bank")
        with pytest.raises(FileError, match="damaged"):
            load(tmp_path / "text.npz")
        np.savez(tmp_path / "other.npz", values=np.ones(3))
        with pytest.raises(FileError, match=r"expected format picostem\.bank/2"):
            load(tmp_path / "other.npz")

    def test_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError, match="cannot write"):
            save(bank_of(), tmp_path / "file" / "bank.npz")
