"""Settings of all tests: what Hypothesis draws is derived from the test itself, so that a run can be repeated."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("picostem", derandomize=True, deadline=None)
settings.load_profile("picostem")
