"""What a result looks like: the figure, the page, and the files that `picostem resolve` leaves behind.

Importing this is cheap: matplotlib, jinja2 and pyarrow are loaded by the function that needs them.
"""

from __future__ import annotations

from picostem.report.figure import plot
from picostem.report.save import save_result, write_json

__all__ = ["plot", "save_result", "write_json"]
