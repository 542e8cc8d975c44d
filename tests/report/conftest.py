"""One result of each verdict, made once."""

from __future__ import annotations

import pytest

from picostem.physics import DEGREE
from picostem.resolve.result import Result
from tests.report.made import make_poor_result, make_result
from tests.report.made_stacks import make_antiparallel, make_trilayer, make_twisted, make_twisted_trilayer


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


@pytest.fixture(scope="session")
def field_result() -> Result:
    """MoS2 at 14.1°, with a map of one twist."""
    return make_twisted((14.1,), pixels=300)


@pytest.fixture(scope="session")
def twist_domain_result() -> Result:
    """MoS2 at 4.2° and, on the right, at 6°."""
    return make_twisted((4.2, 6.0))


@pytest.fixture(scope="session")
def hetero_result() -> Result:
    """MoS2 under WSe2 at 2°."""
    return make_twisted((2.0,), ("MoS2", "WSe2"), pixels=400)


@pytest.fixture(scope="session")
def trilayer_result() -> Result:
    """Three layers of ReS2 with one lattice."""
    return make_trilayer()


@pytest.fixture(scope="session")
def antiparallel_result() -> Result:
    """MoS2 as in 2H crystals, with a slip."""
    return make_antiparallel()


@pytest.fixture(scope="session")
def twisted_trilayer_result() -> Result:
    """Two layers of MoS2 with one lattice under a third one at 4.2°."""
    return make_twisted_trilayer()


STACKS = ["field", "twist_domain", "hetero", "trilayer", "antiparallel", "twisted_trilayer"]


@pytest.fixture(params=["slip", "domain", "twist", "monolayer", "unresolved", *STACKS])
def any_result(request: pytest.FixtureRequest) -> Result:
    """Each of the results in turn."""
    result: Result = request.getfixturevalue(f"{request.param}_result")
    return result
