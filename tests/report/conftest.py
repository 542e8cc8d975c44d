"""One result of each verdict, made once."""

from __future__ import annotations

import pytest

from picostem.physics import DEGREE
from picostem.resolve.result import Result
from tests.report.made import make_poor_result, make_result


@pytest.fixture(scope="session")
def slip_result() -> Result:
    """One stacking all over the image."""
    return make_result()


@pytest.fixture(scope="session")
def domain_result() -> Result:
    """Two stackings and the line between them."""
    return make_result(domains=2)


@pytest.fixture(scope="session")
def twist_result() -> Result:
    """Two layers of MoS2 at 4.2°."""
    return make_result(("MoS2", "MoS2"), twist=4.2 * DEGREE)


@pytest.fixture(scope="session")
def monolayer_result() -> Result:
    """One layer: no interface, no map, no simulated image."""
    return make_poor_result("monolayer")


@pytest.fixture(scope="session")
def unresolved_result() -> Result:
    """Nothing but noise, without a pixel size."""
    return make_poor_result()


@pytest.fixture(params=["slip", "domain", "twist", "monolayer", "unresolved"])
def any_result(request: pytest.FixtureRequest) -> Result:
    """Each of the results in turn."""
    result: Result = request.getfixturevalue(f"{request.param}_result")
    return result
