"""Which hypothesis holds, on fits whose numbers are set by hand; on images, see tests/test_pipeline.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from picostem.resolve.combine import CommonSlip
from picostem.resolve.estimate import Fit
from picostem.resolve.lattice import Spectrum, power_spectrum
from picostem.resolve.orient import Setting, fit_setting
from picostem.resolve.select import (
    LEAST_POWER,
    LEAST_TWIST,
    TURNED_GAIN,
    VARIES,
    clearly_turned,
    described,
    judge_fit,
    judge_lattice,
    judge_layers,
    judge_species,
    judge_twist,
    may_be_turned,
    nearly_described,
    two_lattices,
    unequal_layers,
)
from picostem.resolve.twisted import Reading, Twisted, lattice_power
from picostem.structure import Stack

from .made import MOS2, OPTICS, PIXEL_SIZE, RES2, centred, fitted, make_lattice, plane_waves, simulated
from .made_bilayers import SHIFT, WSE2, Made, fitted_from_truth, imaged, known
from .made_twisted import clean_image, recorded


def spectrum_of_fitted() -> Spectrum:
    return power_spectrum(fitted()[0])


def with_fit(setting: Setting, **changes: Any) -> Setting:
    return replace(setting, fit=replace(setting.fit, **changes))


def with_parameter(setting: Setting, name: str, value: float) -> Setting:
    microscope = setting.fit.state.microscope.copy()
    microscope[setting.model.prior.names.index(name)] = value
    return with_fit(setting, state=replace(setting.fit.state, microscope=microscope))


class TestLattice:
    spectrum = spectrum_of_fitted()
    setting = fitted()[1]

    def reason(self, setting: Setting, spectrum: Spectrum | None = None) -> str | None:
        return judge_lattice([setting], spectrum or self.spectrum, RES2, None)

    def test_the_right_one_passes(self) -> None:
        assert self.reason(self.setting) is None

    def test_none_at_all(self) -> None:
        said = judge_lattice([], self.spectrum, RES2, None)
        assert said is not None
        assert said.startswith("No crystal lattice was found")
        assert said.endswith("the lattice of ReS2.")
        told = judge_lattice([], self.spectrum, RES2, (0.031, 0.031))
        assert told is not None
        assert told.endswith("or the pixel size of 0.031 Å is wrong.")

    def test_no_better_than_nothing(self) -> None:
        observation = self.setting.evidence.observation
        null = np.sum(observation.whiten(observation.amplitudes[:, None]) ** 2, axis=(1, 2))
        said = self.reason(with_fit(self.setting, chi2=null - 5.0))
        assert said is not None
        assert "stands out of the noise" in said

    def test_peaks_off_the_lattice(self) -> None:
        data = fitted()[0]
        other = plane_waves(data.shape, np.array([[0.0411, 0.0353]]), np.array([2.0 + 0j]))
        said = self.reason(self.setting, power_spectrum(data + other.astype(np.float32)))
        assert said is not None
        assert "lies off one lattice of ReS2" in said

    def test_reflections_of_a_smaller_cell(self) -> None:
        """Only those with even h and k are there: the cell is twice as short both ways."""
        evidence = self.setting.evidence
        even = (evidence.harmonics.hk % 2 == 0).all(axis=1)
        weak = np.sqrt(evidence.noise_power) * 0.1
        amplitudes = np.where(even, evidence.harmonics.amplitudes, weak)
        changed = replace(evidence, harmonics=replace(evidence.harmonics, amplitudes=amplitudes))
        said = self.reason(replace(self.setting, evidence=changed))
        assert said is not None
        assert "a cell 4 times smaller than that of ReS2" in said
        lone = np.where(np.arange(len(even)) == 0, evidence.harmonics.amplitudes, weak)
        changed = replace(evidence, harmonics=replace(evidence.harmonics, amplitudes=lone))
        said = self.reason(replace(self.setting, evidence=changed))
        assert said is not None
        assert said.startswith("Fewer than two reflections")


class TestDescription:
    setting = fitted()[1]

    def test_the_right_one_passes(self) -> None:
        assert described(self.setting)

    def test_a_poor_fit(self) -> None:
        poor = with_fit(self.setting, chi2=self.setting.fit.chi2 * 30)
        assert not described(poor)
        said = judge_fit(poor, RES2)
        assert said is not None
        assert said.startswith("Two layers of ReS2 explain only")
        assert "more layers" in said
        moved = replace(self.setting.fit.state, slips=self.setting.fit.state.slips + 0.2)
        said = judge_fit(with_fit(self.setting, state=moved), RES2)
        assert said is not None
        assert "of the Bragg power" in said

    def test_layers_of_another_brightness(self) -> None:
        assert not unequal_layers(self.setting)
        assert unequal_layers(with_parameter(self.setting, "log brightness 2", -0.9))


class TestSpecies:
    setting = fitted()[1]

    def test_the_right_ones_pass(self) -> None:
        assert judge_species(self.setting, RES2) is None

    @pytest.mark.parametrize(("weight", "factor"), [(1.7, "5.5"), (-1.7, "0.18")])
    def test_atoms_of_another_element(self, weight: float, factor: str) -> None:
        said = judge_species(with_parameter(self.setting, "log weight S", weight), RES2)
        assert said is not None
        assert f"S is {factor} times as bright" in said

    def test_brightness_that_is_not_known_is_not_held_against_them(self) -> None:
        setting = with_parameter(self.setting, "log weight S", 1.7)
        unsure = with_fit(setting, microscope_covariance=setting.fit.microscope_covariance + np.eye(10))
        assert judge_species(unsure, RES2) is None

    def test_atoms_sharper_than_the_probe(self) -> None:
        said = judge_species(with_parameter(self.setting, "variance", -0.06), RES2)
        assert said is not None
        assert "sharper than this probe" in said


class TestLayers:
    two = fitted()[1]

    def one(self, **changes: Any) -> Setting:
        """A fit of one layer that explains as much as the two do, but for what is changed."""
        return with_fit(self.two, **changes)

    def test_a_second_layer_that_gains_nothing_is_not_there(self) -> None:
        judgement = judge_layers(self.one(chi2=self.two.fit.chi2 + 2.0), self.two)
        assert judgement.verdict == "monolayer"
        assert judgement.reason is not None
        assert "--layers 2" in judgement.reason
        assert judgement.monolayer_cost == pytest.approx(2.0 * len(self.two.fit.chi2))

    def test_one_that_gains_much_is(self) -> None:
        judgement = judge_layers(self.one(chi2=self.two.fit.chi2 + 500.0), self.two)
        assert (judgement.verdict, judgement.reason) == ("slip", None)

    def test_a_second_layer_that_strains_the_microscope_is_not(self) -> None:
        strained = with_fit(self.two, prior_misfit=self.two.fit.prior_misfit + 100)
        assert judge_layers(self.one(chi2=self.two.fit.chi2 + 500.0), strained).verdict == "monolayer"

    def test_nor_is_one_of_another_brightness(self) -> None:
        unequal = with_parameter(self.two, "log brightness 2", -0.9)
        assert judge_layers(self.one(chi2=self.two.fit.chi2 + 500.0), unequal).verdict == "monolayer"

    def test_one_that_explains_too_little_is_two(self) -> None:
        moved = replace(self.two.fit.state, slips=self.two.fit.state.slips + 0.3)
        poor = self.one(state=moved)
        assert judge_layers(poor, self.two).verdict == "slip"

    def test_images_of_both(self) -> None:
        data, two = fitted()
        one = fit_setting(data, power_spectrum(data), two.lattice, (RES2,), 20.0, OPTICS)
        judged = judge_layers(one, two)
        assert judged.verdict == "slip"
        assert judged.monolayer_cost is not None
        assert judged.monolayer_cost > 1000
        alone = centred(simulated(None, material="MoS2"))
        spectrum, lattice = power_spectrum(alone), make_lattice(MOS2, PIXEL_SIZE)
        fits = [fit_setting(alone, spectrum, lattice, (MOS2,) * n, 20.0, OPTICS) for n in (1, 2)]
        assert judge_layers(*fits).verdict == "monolayer"
        assert isinstance(fits[0].fit, Fit)


def read_as(twisted: Twisted, **changes: Any) -> Twisted:
    """The same with another fit of its best reading."""
    return replace(twisted, best=replace(twisted.best, fit=replace(twisted.best.fit, **changes)))


def microscope_with(twisted: Twisted, name: str, value: float) -> Twisted:
    place = twisted.best.fit.placement
    microscope = place.microscope.copy()
    microscope[twisted.best.model.prior.names.index(name)] = value
    return read_as(twisted, placement=replace(place, microscope=microscope))


def aligned_layers(degrees: float, second: float) -> Reading:
    """Layers a small angle apart, fitted as they are made but for the angle that the fit starts at."""
    field = recorded(clean_image(Stack.bilayer(MOS2, SHIFT, np.radians(degrees)), 420), np.random.default_rng(5))
    return fitted_from_truth(Stack.bilayer(MOS2, SHIFT, np.radians(second)), field)


class TestTwist:
    twisted = known(MOS2, 14.0)

    def test_the_right_one_passes(self) -> None:
        assert judge_twist(self.twisted) is None
        assert judge_twist(known(MOS2, 3.0, WSE2)) is None
        assert judge_twist(known(MOS2, 58.5)) is None

    def test_nothing_found(self) -> None:
        said = judge_twist(None)
        assert said is not None
        assert said.startswith("No lattices of these materials were found")

    def test_too_weak(self) -> None:
        place = self.twisted.best.fit.placement
        share = 0.5 * LEAST_POWER / lattice_power(self.twisted.field, self.twisted.best)
        faint = replace(place, scale=place.scale * np.sqrt(share))
        said = judge_twist(read_as(self.twisted, placement=faint))
        assert said is not None
        assert said.startswith("No lattices of MoS2 stand out of the noise")

    def test_too_much_is_left(self) -> None:
        """As much as is explained, in an image too small for its twist to be seen to vary."""
        small = known(MOS2, 14.0, side=280)
        fit = small.best.fit
        power = lattice_power(small.field, small.best) * fit.chi2_reduced
        said = judge_twist(read_as(small, chi2=fit.chi2 + power))
        assert said is not None
        assert said.startswith("2 layers of MoS2 with lattices of their own explain only")
        assert "another material, or more layers" in said

    def test_windows_may_explain_what_one_twist_does_not(self) -> None:
        """A poor fit of all of the image, whose windows fit well by themselves."""
        fit = self.twisted.best.fit
        poor = read_as(self.twisted, chi2=fit.chi2 + lattice_power(self.twisted.field, self.twisted.best))
        assert poor.explained < 0.6
        assert judge_twist(poor) is None

    def test_residual_that_may_be_noise(self) -> None:
        """Noise a tenth above what was expected is no reason to refuse faint layers."""
        faint_place = replace(self.twisted.best.fit.placement, scale=self.twisted.best.fit.placement.scale / 4)
        faint = read_as(self.twisted, placement=faint_place, chi2=1.1 * self.twisted.best.fit.samples)
        assert faint.explained < 0.95
        assert judge_twist(faint) is None

    def test_layers_of_another_brightness(self) -> None:
        for value in (-0.9, 0.9):
            assert judge_twist(microscope_with(self.twisted, "log brightness 2", value)) is not None
        assert judge_twist(microscope_with(self.twisted, "log brightness 2", 0.3)) is None

    def test_two_materials_are_named(self) -> None:
        said = judge_twist(microscope_with(known(MOS2, 3.0, WSE2), "log brightness 2", 0.9))
        assert said is not None
        assert said.startswith("The layers of MoS2 and WSe2 that explain most of the image differ in brightness")

    def test_two_materials_may_differ_more(self) -> None:
        assert judge_twist(microscope_with(known(MOS2, 3.0, WSE2), "log brightness 2", 0.6)) is None
        assert judge_twist(microscope_with(self.twisted, "log brightness 2", 0.6)) is not None

    def test_like_layers_on_one_lattice_are_no_twist(self) -> None:
        reading = aligned_layers(0.0, 0.02)
        said = judge_twist(replace(self.twisted, best=reading))
        assert said is not None
        assert "lie on one lattice" in said
        # 60° is a symmetry of the lattice, if not of the layers
        assert "lie on one lattice" in (judge_twist(replace(self.twisted, best=aligned_layers(60.0, 60.02))) or "")

    def test_unlike_layers_may_be_aligned(self) -> None:
        assert judge_twist(known(MOS2, 0.0, WSE2)) is None


class TestWhetherToLookForATwist:
    setting = fitted()[1]

    def common(self, spread: float) -> CommonSlip:
        return CommonSlip(
            fit=self.setting.fit,
            slip=np.zeros((1, 2)),
            covariance=np.eye(2),
            bound=np.zeros(1),
            spread=np.array([spread]),
            other_orders={},
            origin=np.zeros(2),
        )

    def test_where_the_slip_changes(self) -> None:
        side = 10 * self.setting.window
        assert not may_be_turned(self.common(0.9 * VARIES), self.setting, (side, side))
        assert may_be_turned(self.common(1.1 * VARIES), self.setting, (side, side))

    def test_where_it_could_not_be_seen_to(self) -> None:
        small, large = round(1.8 * self.setting.window), 10 * self.setting.window
        assert may_be_turned(self.common(0.0), self.setting, (small, large))
        assert may_be_turned(self.common(0.0), self.setting, (large, small))

    @pytest.mark.parametrize(
        ("degrees", "aligned", "clear"),
        [(14.0, 2 * TURNED_GAIN, True), (14.0, 0.5 * TURNED_GAIN, False), (2.0, 2 * TURNED_GAIN, True)],
    )
    def test_clearly_turned(self, degrees: float, aligned: float, clear: bool) -> None:
        assert clearly_turned(known(MOS2, degrees), aligned) == clear

    def test_a_twist_of_nothing_is_none(self) -> None:
        none = replace(known(MOS2, 14.0), best=aligned_layers(0.0, 0.02))
        assert abs(none.best.twist) < LEAST_TWIST
        assert not clearly_turned(none, 1e6)

    def test_one_that_is_not_sure_is_none(self) -> None:
        """Five standard deviations: the same fit with errors of a fourteenth of a turn."""
        fit = known(MOS2, 14.0).best.fit
        factor = (np.radians(14.0) / 4 / known(MOS2, 14.0).best.twist_sigma) ** 2
        assert not clearly_turned(read_as(known(MOS2, 14.0), covariance=fit.covariance * factor), 1e6)

    def test_nearly_described(self) -> None:
        assert nearly_described(self.setting)
        moved = replace(self.setting.fit.state, slips=self.setting.fit.state.slips + 0.4)
        assert not nearly_described(with_fit(self.setting, state=moved))

    def test_peaks_of_a_second_lattice(self) -> None:
        image = imaged(Made(MOS2, 14.0))
        data = centred(image)
        spectrum = power_spectrum(data)
        one = fit_setting(data, spectrum, make_lattice(MOS2), (MOS2,), 20.0, OPTICS)
        assert two_lattices([one], spectrum)
        assert not two_lattices([], spectrum)
        assert not two_lattices([self.setting], spectrum_of_fitted())
