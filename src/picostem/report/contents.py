"""Which files a result is saved as, and what each holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from picostem.resolve.result import Result

FILES = {
    "map.parquet": "slip and twist of every window with their errors, for pandas, polars, DuckDB",
    "figure.png": "the figure above",
    "stack.cif": "the resolved model, one periodic cell",
    "stack.xyz": "the resolved model, a piece of some nm in layer 1's crystal frame",
    "simulated.tif": "the model imaged again on the image's pixels, 32 bit, calibrated",
    "report.html": "this page",
    "result.json": "the result in numbers, schema picostem.result/1",
}
"""What a run may write, the last one last."""


def written_files(result: Result) -> tuple[str, ...]:
    """Names of the files that a result is saved as."""
    absent = set()
    if not result.maps:
        absent.add("map.parquet")
    if not result.layers:
        absent |= {"stack.cif", "stack.xyz"}
    if result.simulated is None:
        absent.add("simulated.tif")
    return tuple(name for name in FILES if name not in absent)
