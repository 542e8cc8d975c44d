"""Settings: what is refused, and which microscopes follow from what user and file say."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from picostem.errors import UsageError
from picostem.image import Acquisition
from picostem.physics import KV, MRAD
from picostem.resolve.settings import USUAL_OPTICS, Settings

NOTHING = Acquisition()
FILE = Acquisition(voltage_eV=80e3, semiangle=0.03, detector_inner=0.06, detector_outer=0.2)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("pixel_size_A", 0.0, "--pixel-size is 0"),
        ("pixel_size_A", -0.1, "0.005 to 1"),
        ("pixel_size_A", math.nan, "--pixel-size is nan"),
        ("voltage_kV", 300_000.0, "15 to 400 (kV)"),
        ("voltage_kV", 1.0, "--voltage is 1"),
        ("semiangle_mrad", 0.02, "3 to 80 (mrad)"),
        ("semiangle_mrad", math.inf, "--semiangle is inf"),
        ("window_nm", 0.1, "--window is 0.1"),
        ("window_nm", 80.0, "0.8 to 50 (nm)"),
        ("stride_nm", 0.0, "--stride is 0"),
        ("layers", "4", "auto, 1, 2 or 3"),
        ("layers", 2, "--layers is 2"),
        ("scattering", "linear", "full or independent"),
        ("engine", "network", "--engine is 'network'; expected fit, net or hybrid"),
        ("net", "ReS2", "--net ReS2 is not asked by --engine fit"),
    ],
)
def test_numbers_out_of_range_are_refused_by_name(option: str, value: Any, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        Settings(material="ReS2", **{option: value})
    assert said in str(caught.value)


def test_lengths_are_in_angstrom_inside() -> None:
    settings = Settings("ReS2", window_nm=2.5, stride_nm=0.5)
    assert (settings.window, settings.stride) == (25.0, 5.0)


def test_settings_are_plain() -> None:
    settings = Settings("ReS2", detector_mrad=(39.0, 200.0))
    assert Settings(**settings.as_dict()) == settings  # type: ignore[arg-type]
    assert json.loads(json.dumps(settings.as_dict()))["detector_mrad"] == [39.0, 200.0]


class TestOptics:
    def test_a_known_microscope_is_the_only_one(self) -> None:
        (optics,) = Settings("ReS2", voltage_kV=300, semiangle_mrad=21.3, detector_mrad=(39, 200)).optics(NOTHING)
        assert (optics.voltage_eV, optics.source, optics.semiangle_sigma) == (300 * KV, "user", 0)
        assert (optics.semiangle, optics.inner, optics.outer) == pytest.approx((21.3 * MRAD, 39 * MRAD, 200 * MRAD))
        assert optics.detector_known

    def test_of_the_file(self) -> None:
        (optics,) = Settings("ReS2").optics(FILE)
        assert (optics.voltage_eV, optics.semiangle, optics.source) == (80e3, 0.03, "file")
        assert (optics.inner, optics.outer) == (0.06, 0.2)
        assert optics.detector_known

    def test_the_user_overrules_the_file(self) -> None:
        (optics,) = Settings("ReS2", voltage_kV=200, detector_mrad=(50, 180)).optics(FILE)
        assert (optics.voltage_eV, optics.semiangle, optics.source) == (200 * KV, 0.03, "user")
        assert optics.inner == pytest.approx(0.05)

    def test_an_unknown_microscope_may_be_any_usual_one(self) -> None:
        found = Settings("ReS2").optics(NOTHING)
        assert [o.voltage_eV for o in found] == [kilovolt * KV for kilovolt, _ in USUAL_OPTICS]
        assert all(o.source == "fitted" and o.semiangle_sigma > 0 and not o.detector_known for o in found)
        assert all(o.semiangle < o.inner < o.outer for o in found)

    def test_with_its_voltage_known_only_the_semiangle_is_free(self) -> None:
        (optics,) = Settings("ReS2", voltage_kV=80).optics(NOTHING)
        assert (optics.voltage_eV, optics.source) == (80 * KV, "fitted")
        assert optics.semiangle_sigma > 0

    def test_with_its_semiangle_known_the_voltage_is_tried(self) -> None:
        found = Settings("ReS2", semiangle_mrad=25).optics(NOTHING)
        assert len(found) == len(USUAL_OPTICS)
        assert all(o.semiangle == 25 * MRAD and o.semiangle_sigma == 0 for o in found)

    @pytest.mark.parametrize("detector", [(20.0, 200.0), (80.0, 60.0)])
    def test_bright_field_is_refused(self, detector: tuple[float, float]) -> None:
        with pytest.raises(UsageError, match="annular dark field"):
            Settings("ReS2", voltage_kV=300, semiangle_mrad=21.3, detector_mrad=detector).optics(NOTHING)

    def test_a_files_impossible_detector_is_moved_out_of_the_beam(self) -> None:
        (optics,) = Settings("ReS2").optics(Acquisition(300e3, 0.03, 0.01, None))
        assert optics.semiangle < optics.inner < optics.outer
