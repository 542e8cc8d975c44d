"""Results of many images in one place: tables to query, and what the slips in them say together."""

from __future__ import annotations

from picostem.catalog.store import Catalog

__all__ = ["Catalog"]
