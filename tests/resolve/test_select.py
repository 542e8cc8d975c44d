"""Which hypothesis holds, on fits whose numbers are set by hand; on images, see tests/test_pipeline.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from picostem.resolve.estimate import Fit
from picostem.resolve.lattice import Spectrum, power_spectrum
from picostem.resolve.orient import Setting, fit_setting
from picostem.resolve.select import described, judge_fit, judge_lattice, judge_layers, judge_species, unequal_layers

from .made import MOS2, OPTICS, PIXEL_SIZE, RES2, centred, fitted, make_lattice, plane_waves, simulated


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
