"""Windows of twist domains, scored by hand on a truth made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from picostem.bench.domains import DOMAINS, DomainAnswer, score
from picostem.image import Image
from picostem.physics import DEGREE
from picostem.resolve.result import Result
from picostem.simulate import Microscope, simulate_periodic
from picostem.simulate.domains import TwistDomains
from picostem.simulate.truth import Placement
from picostem.structure import Stack, load_monolayer
from tests.bench.made import case, interface, layer, result, slip_map

WSE2 = load_monolayer("WSe2")
PIXEL_SIZE = 0.15
DRIFT = {"drift_matrix_specimen_from_scan": [[1.0, 0.0], [0.0, 1.0]]}
DOMAINS_OF = TwistDomains(WSE2, WSE2, (20.0 * DEGREE, 24.0 * DEGREE), 200.0)
TILED = {key: value for key, value in DOMAINS_OF.truth(Placement()).items() if key != "task"}
TRUTH = case("twist domains", ("WSe2", "WSe2"), (22.0,), acquisition=DRIFT, **TILED)
FIRST, SECOND, BOUNDARY = (80.0, 40.0), (150.0, 120.0), (100.0, 5.0)
"""In the middle of a triangle that stands on a side, of one that stands on a corner, and 5 Å from the side between."""


@pytest.fixture(scope="module")
def image() -> Image:
    """A field of 40 nm would be needed for both domains; all windows look at the middle of this one of 20°."""
    microscope = Microscope.from_lab_units(voltage_kV=80, semiangle_mrad=30, detector_mrad=(50, 200), source_fwhm_A=0.6)
    stack = Stack.bilayer(WSE2, (0.3, 0.5), 20 * DEGREE)
    data = simulate_periodic(stack, microscope, (600, 600), PIXEL_SIZE)
    return Image(data).with_pixel_size(PIXEL_SIZE, "user")


def found(image: Image, positions: Any, twists_deg: Any, **changes: Any) -> Result:
    count = len(positions)
    middle = np.full(count, (image.data.shape[0] - 1) / 2)
    one = slip_map(
        np.zeros((count, 2)),
        positions,
        **{"row": middle, "col": middle, "window": 60.0, "twist": np.array(twists_deg) * DEGREE} | changes,
        twist_sigma=np.full(count, 0.05 * DEGREE),
    )
    layers = (layer("WSe2"), layer("WSe2", 52.0))
    return result("twist", layers, (interface(22.0, 0.05),), maps=(one,), image=image)


def test_windows_are_compared_with_their_own_domain(image: Image) -> None:
    scored = score(found(image, [FIRST, SECOND, BOUNDARY], [20.03, -24.2, 0.0]), TRUTH)
    assert scored is not None
    assert scored.count == 2  # the third one is 5 Å from a boundary
    assert scored.close == pytest.approx(0.5)
    assert scored.error == pytest.approx((0.03 + 0.2) / 2)
    assert scored.sigma == pytest.approx(0.05)
    assert (scored.inside_68, scored.inside_95) == (0.5, 0.5)


def test_spots_are_read_in_the_same_windows(image: Image) -> None:
    scored = score(found(image, [FIRST, SECOND], [20.0, 24.0]), TRUTH)
    assert scored is not None
    # Windows of 6 nm tell 20° by their spots; the second one looks at 20° too and should be 24°.
    assert scored.spots_close == pytest.approx(0.5)
    small = score(found(image, [FIRST], [20.0], window=8.0), TRUTH)
    assert small is not None
    assert small.spots_close == 0.0  # spots of 0.8 nm are 20° wide


def test_windows_that_are_not_resolved_count_as_missed(image: Image) -> None:
    scored = score(found(image, [FIRST, FIRST], [20.0, 20.0], status=np.array(["ok", "unresolved"])), TRUTH)
    assert scored is not None
    assert (scored.count, scored.close, scored.inside_95) == (2, 0.5, 1.0)
    none = score(found(image, [FIRST], [20.0], status=np.array(["vacuum"])), TRUTH)
    assert none is not None
    assert (none.close, none.error, none.inside_68) == (0.0, None, None)


def test_nothing_to_score(image: Image) -> None:
    assert score(result("twist"), TRUTH) is None
    assert score(found(image, [FIRST], [20.0], twist=None), TRUTH) is None
    assert score(found(image, [BOUNDARY], [20.0]), TRUTH) is None
    assert score(found(image, [FIRST], [20.0], fine=np.ones(1, dtype=bool)), TRUTH) is None


def test_totals_weigh_windows_equally() -> None:
    answers = [
        ("a", DomainAnswer(30, 0.9, 0.1, 0.02, 0.03, 0.7, 0.9)),
        ("b", DomainAnswer(10, 0.5, 0.0, None, None, None, None)),
    ]
    totals = DOMAINS.totals(answers)
    assert totals["windows"] == 40
    assert totals["windows_within_0.1_deg"] == pytest.approx((30 * 0.9 + 10 * 0.5) / 40)
    assert totals["spots_within_0.1_deg"] == pytest.approx(0.075)
    assert totals["mean_inside_95"] == pytest.approx(0.9)
    assert DOMAINS.totals([])["windows_within_0.1_deg"] is None
    (table,) = DOMAINS.tables(answers)
    assert table.rows[0] == ("a", "30", "90 %", "10 %", "0.020", "0.030", "70 %", "90 %")
    assert table.rows[1][4:] == ("–",) * 4
