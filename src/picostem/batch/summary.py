"""All images of a batch on one page and in one table."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from picostem.batch.ledger import Job, Ledger
from picostem.batch.work import RESULTS
from picostem.physics import DEGREE
from picostem.report.page import TEMPLATE
from picostem.report.place import write_file
from picostem.report.quantities import degrees, fixed
from picostem.report.words import printable
from picostem.version import VERSION

TEXT, NUMBER, WHOLE = "string", "double", "int64"
COLUMNS = {
    "file": TEXT,
    "state": TEXT,
    "verdict": TEXT,
    "lower": WHOLE,
    "upper": WHOLE,
    "slip_x_A": NUMBER,
    "slip_y_A": NUMBER,
    "slip_sigma_A": NUMBER,
    "slip_bound_A": NUMBER,
    "twist_deg": NUMBER,
    "twist_sigma_deg": NUMBER,
    "twist_bound_deg": NUMBER,
    "chi2_reduced": NUMBER,
    "pixel_size_A": NUMBER,
    "windows": WHOLE,
    "seconds": NUMBER,
    "note": TEXT,
    "settings": WHOLE,
    "identity": TEXT,
    "folder": TEXT,
}
"""Of summary.csv and summary.parquet, a row for each interface of each image, with the types that Arrow names."""

_PAGE = files("picostem.batch") / "summary.html.j2"


def write_summary(ledger: Ledger, out: Path) -> None:
    """Write summary.html, summary.csv and summary.parquet of all that the ledger knows, each complete or not at all.

    Raises:
        OutputError: they cannot be written.
    """
    jobs = ledger.jobs()
    listed = [(path, jobs[job]) for path, job in ledger.files()]
    recipes = sorted({job.recipe for _, job in listed})
    rows = [row for path, job in listed for row in _rows(path, job, recipes)]
    write_file(out / "summary.csv", _csv(rows))
    write_file(out / "summary.parquet", _parquet(rows))
    write_file(out / "summary.html", _page(listed, recipes).encode("utf-8", "replace"))


def _rows(path: Path, job: Job, recipes: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a file: one for each interface that was resolved, one if there is none."""
    answer = job.answer or {}
    size = answer.get("pixel_size_A")
    whole = {
        "file": printable(str(path)),
        "state": job.state,
        "verdict": answer.get("verdict"),
        "chi2_reduced": answer.get("chi2_reduced"),
        "pixel_size_A": math.sqrt(math.prod(size)) if isinstance(size, list) else size,
        "windows": answer.get("windows"),
        "seconds": job.seconds,
        "note": _note(job),
        "settings": recipes.index(job.recipe) + 1,
        "identity": job.id,
        "folder": f"{RESULTS}/{job.folder}" if job.answer else None,
    }
    empty = dict.fromkeys(COLUMNS)
    return [{**empty, **whole, **interface} for interface in answer.get("interfaces") or [{}]]


def _note(job: Job) -> str | None:
    text = job.error or (job.answer or {}).get("reason")
    return printable(text) if text else None


def _csv(rows: Sequence[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _parquet(rows: Sequence[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema([(name, getattr(pa, "float64" if kind == NUMBER else kind)()) for name, kind in COLUMNS.items()])
    sink = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(list(rows), schema), sink)
    return sink.getvalue()


def _page(listed: Sequence[tuple[Path, Job]], recipes: Sequence[str]) -> str:
    from jinja2 import Environment, StrictUndefined

    # Everything that comes from outside is escaped by the template.
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    base = os.path.commonpath([path.parent for path, _ in listed]) if listed else ""
    images = [_image(os.path.relpath(path, base), job, recipes) for path, job in listed]
    return environment.from_string(_PAGE.read_text("utf-8")).render(
        # The look of the page of a result, which is in that page.
        style=TEMPLATE.read_text("utf-8").partition("<style>")[2].partition("</style>")[0],
        base=printable(base),
        tiles=_tiles([job for _, job in listed]),
        failed=[image for image in images if image["state"] == "failed"],
        images=[image for image in images if image["state"] != "failed"],
        recipes=[_recipe(recipe) for recipe in recipes],
        version=VERSION,
    )


def _image(name: str, job: Job, recipes: Sequence[str]) -> dict[str, Any]:
    answer = job.answer or {}
    link = f"{RESULTS}/{quote(job.folder)}/report.html" if job.answer else None
    return {
        "name": printable(name),
        "state": job.state,
        "link": link,
        "verdict": answer.get("verdict", job.state),
        "findings": _findings(answer),
        "chi2": _number(answer.get("chi2_reduced"), 2),
        "windows": answer.get("windows") or "",
        "seconds": _number(job.seconds, 1),
        "note": _note(job) or "",
        "settings": recipes.index(job.recipe) + 1,
    }


def told(answer: dict[str, Any]) -> str:
    """What came of an image, in a line."""
    return " ".join(filter(None, (answer["verdict"], "; ".join(_findings(answer)), answer["reason"])))


def _findings(answer: dict[str, Any]) -> list[str]:
    """The slips or twists of what was resolved; those that a monolayer could hide are not told."""
    return [_finding(one) for one in answer["interfaces"]] if answer.get("verdict") in ("slip", "twist") else []


def _finding(interface: dict[str, Any]) -> str:
    """`(0.620, 1.250) ± 0.006 Å`, or `4.200° ± 0.012°` for layers with lattices of their own."""
    x, y, sigma = (interface[name] for name in ("slip_x_A", "slip_y_A", "slip_sigma_A"))
    if x is None:
        return degrees(interface["twist_deg"] * DEGREE, (interface["twist_sigma_deg"] or 0.0) * DEGREE)
    return f"({fixed(x, 3)}, {fixed(y, 3)})" + (f" ± {sigma:.3f} Å" if sigma is not None else " Å")


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3 h 05 min`."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def _tiles(jobs: Sequence[Job]) -> list[tuple[str, str, str]]:
    """The numbers on top: name, value, remark; every job counts once."""
    alone = list({job.id: job for job in jobs}.values())
    states = Counter(job.state for job in alone)
    answers = [job.answer for job in alone if job.answer]
    tiles = [("Images", str(len(jobs)), f"{len(alone)} different")]
    tiles += [(f"{name[0].upper()}{name[1:]}", str(n), "verdict") for name, n in _verdicts(answers)]
    tiles += [("Failed", str(states["failed"]), "see below")] if states["failed"] else []
    waiting = states["waiting"] + states["running"]
    tiles += [("Not done", str(waiting), "run it again to go on")] if waiting else []
    interfaces = [one for answer in answers if answer["verdict"] == "slip" for one in answer["interfaces"]]
    sigmas = [one["slip_sigma_A"] for one in interfaces if one["slip_sigma_A"] is not None]
    tiles += [("Error of slips", f"{np.median(sigmas):.4f}", "Å, one σ, median")] if sigmas else []
    seconds = [job.seconds for job in alone if job.seconds is not None]
    tiles += [("Time", duration(sum(seconds)), "of one process")] if seconds else []
    return tiles


def _verdicts(answers: Sequence[dict[str, Any]]) -> list[tuple[str, int]]:
    return sorted(Counter(str(answer["verdict"]) for answer in answers).items())


def _recipe(recipe: str) -> list[tuple[str, str]]:
    tree = json.loads(recipe)
    asked = {**tree["settings"], **{name: tree[name] for name in ("dataset", "frame", "average", "version")}}
    return [(name, "not given" if value is None else printable(str(value))) for name, value in asked.items()]


def _number(value: float | None, places: int) -> str:
    return "" if value is None else f"{value:.{places}f}"
