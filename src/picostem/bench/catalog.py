"""`picostem bench catalog`: statistics of slips whose landscape and temperature are known, and the catalog's speed.

drawn: windows with realistic errors and exact truth. images: an image of its own for each slip, simulated, resolved,
put into a catalog and analysed. rows: made-up windows, as many as asked, to see how fast they go in and how fast
queries are.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picostem.bench.catalog_known import BETA, LAYER, WELLS, drawn, known_landscape, measured
from picostem.bench.table import Table
from picostem.catalog import Catalog
from picostem.catalog.density import Density
from picostem.catalog.occupancy import boltzmann_plot, fit_temperature
from picostem.catalog.peaks import find_peaks
from picostem.catalog.rows import WINDOWS, Entry, arrow_schema
from picostem.catalog.slips import Slips
from picostem.catalog.statistics import select
from picostem.errors import UsageError
from picostem.pipeline import resolve_with
from picostem.report.table import write_map
from picostem.resolve.settings import Settings
from picostem.simulate import AcquisitionSettings, Microscope, simulate_stack
from picostem.structure import SlipEquivalence, Stack

FloatArray = NDArray[np.float64]
Progress = Callable[[str, int, int], None]

IMAGES, WINDOWS_EACH = 150, 25
"""Of the published statistics of ReS2: 3750 windows of 2 nm."""

DRAWS = 10
SIDE, PIXEL_SIZE = 512, 0.12  # Å: 25 windows of 2 nm, 1 nm apart
MICROSCOPE = {"voltage_kV": 300.0, "semiangle_mrad": 21.3, "detector_mrad": (39.0, 200.0)}
ROWS_EACH = 3750
QUERIES = {
    "count, mean χ²": "SELECT count(*), avg(chi2) FROM windows",
    "median slip of each image": "SELECT image, median(slip_x_A), median(slip_y_A) FROM windows GROUP BY image",
    "windows near one slip": "SELECT count(*) FROM windows WHERE (slip_x_A - 1) ** 2 + (slip_y_A - 1) ** 2 < 0.01",
    "counts on a grid of 0.1 Å": "SELECT round(slip_x_A, 1), round(slip_y_A, 1), count(*) FROM windows GROUP BY ALL",
    "one image": "SELECT * FROM windows WHERE image = (SELECT min(image) FROM images)",
}


@dataclass(frozen=True)
class Asked:
    """How many images and windows of each there are to be, and where their catalog is kept, if it is."""

    images: int
    seed: int = 0
    keep: Path | None = None


def measure(case: str, asked: Asked, progress: Progress) -> tuple[dict[str, Any], Table]:
    """One case.

    Raises:
        UsageError: there is no such case.
    """
    if case == "drawn":
        return _drawn(asked, progress)
    if case not in ("images", "rows"):
        raise UsageError(f"--case is {case!r}; expected drawn, images or rows")
    with tempfile.TemporaryDirectory() as folder:
        catalog = Catalog(asked.keep or folder)
        return (_images if case == "images" else _rows)(catalog, asked, progress)


def _drawn(asked: Asked, progress: Progress) -> tuple[dict[str, Any], Table]:
    found = []
    for draw in range(DRAWS):
        progress("windows of their own", draw, DRAWS)
        for each in (1, WINDOWS_EACH):
            rng = np.random.default_rng([asked.seed, draw, each])
            true = np.repeat(drawn(asked.images * WINDOWS_EACH // each, rng), each, axis=0)
            image = np.arange(len(true)) // WINDOWS_EACH
            found.append({"slips_per_image": WINDOWS_EACH // each} | scored(measured(true, image, rng)))
    rows = []
    for number in (WINDOWS_EACH, 1):
        mine = [one for one in found if one["slips_per_image"] == number]
        rows.append((f"{number} slips an image, {DRAWS} draws", *_summary(mine)))
    return {"case": "drawn", "draws": found}, Table("Statistics of drawn windows", _HEAD, tuple(rows))


_HEAD = ("windows", "worst peak (Å)", "beta / true", "its error", "z rms", "slope / true", "seconds")


def scored(slips: Slips) -> dict[str, Any]:
    """How far statistics are from the known truth."""
    begun = time.perf_counter()
    peaks, _ = find_peaks(Density.of(slips))
    landscape = known_landscape()
    fit = fit_temperature(slips, landscape)
    plot = boltzmann_plot(slips, landscape, fit.beta)
    off = np.array([slips.equivalence.distance(WELLS, peak.slip) for peak in peaks]).min(axis=0)
    return {
        "windows": len(slips),
        "images": len(np.unique(slips.image)),
        "peaks": len(peaks),
        "peak_error_A": off.tolist(),
        "beta_over_true": fit.beta / BETA,
        "beta_sigma_over_true": fit.sigma / BETA,
        "slope_over_true": -plot.slope / BETA,
        "slope_sigma_over_true": plot.slope_sigma / BETA,
        "seconds": time.perf_counter() - begun,
    }


def _summary(found: list[dict[str, Any]]) -> tuple[str, ...]:
    def mean(name: str) -> str:
        values = [one[name] for one in found]
        return f"{np.mean(values):.3f}" + (f" ± {np.std(values):.3f}" if len(values) > 1 else "")

    z = [(one["beta_over_true"] - 1) / one["beta_sigma_over_true"] for one in found]
    worst = max(max(one["peak_error_A"]) for one in found)
    error = f"{np.mean([one['beta_sigma_over_true'] for one in found]):.3f}"
    return (
        f"{worst:.3f}",
        mean("beta_over_true"),
        error,
        f"{np.sqrt(np.mean(np.square(z))):.2f}",
        mean("slope_over_true"),
        f"{np.mean([one['seconds'] for one in found]):.1f}",
    )


def _images(catalog: Catalog, asked: Asked, progress: Progress) -> tuple[dict[str, Any], Table]:
    true = drawn(asked.images, np.random.default_rng([asked.seed, asked.images]))
    begun, spent = time.perf_counter(), 0.0
    off: list[float] = []
    with ProcessPoolExecutor(os.cpu_count()) as pool, tempfile.TemporaryDirectory() as folder:
        jobs = [(Path(folder) / f"{i}", slip, [asked.seed, i]) for i, slip in enumerate(true)]
        for done, (seconds, distance) in enumerate(pool.map(_resolved, jobs)):
            progress("images", done, asked.images)
            spent, off = spent + seconds, [*off, distance]
        wall = time.perf_counter() - begun
        begun = time.perf_counter()
        added = catalog.add([job[0] for job in jobs])
        adding = time.perf_counter() - begun
    chosen = select(catalog)
    found = scored(chosen.slips)
    found |= {
        "added": added.new,
        "image_error_A": float(np.median(off)),
        "worst_image_error_A": float(np.max(off)),
        "seconds_wall": wall,
        "seconds_resolving": spent,
        "seconds_adding": adding,
    }
    row = (f"{found['windows']} of {found['images']} images", *_summary([found]))
    title = (
        f"Statistics of simulated images; {wall:.0f} s simulating and resolving, "
        f"{spent:.0f} s of processors for the latter; {adding:.1f} s adding"
    )
    return {"case": "images", **found}, Table(title, _HEAD, (row,))


def _resolved(job: tuple[Path, FloatArray, list[int]]) -> tuple[float, float]:
    """Simulate and resolve one image; the processor's seconds for the latter, and the error of its slip, Å."""
    folder, slip, seed = job
    rng = np.random.default_rng(seed)
    microscope = Microscope.from_lab_units(
        **MICROSCOPE,  # type: ignore[arg-type]
        defocus_A=float(rng.uniform(-30, 30)),
        C12_A=float(rng.uniform(0, 15)),
        source_fwhm_A=0.6,
    )
    image, _ = simulate_stack(
        Stack.bilayer(LAYER, slip), microscope, AcquisitionSettings(), (SIDE, SIDE), PIXEL_SIZE, rng,
        rotation=float(rng.uniform(0, 2 * np.pi)), name=f"{folder.name}.tif",
    )  # fmt: skip
    begun = time.process_time()
    result = resolve_with(image, Settings(LAYER.name, **MICROSCOPE))  # type: ignore[arg-type]
    spent = time.process_time() - begun
    folder.mkdir()
    (folder / "result.json").write_text(json.dumps(result.as_dict()), "utf-8")
    if not result.maps:
        return spent, float("inf")
    write_map(result, folder / "map.parquet")
    return spent, float(SlipEquivalence(LAYER).distance(result.interfaces[0].slip, slip))


def _rows(catalog: Catalog, asked: Asked, progress: Progress) -> tuple[dict[str, Any], Table]:
    rng, before = np.random.default_rng(asked.seed), len(catalog.keys())
    begun, making = time.perf_counter(), 0.0
    for i in range(asked.images):
        progress("rows", i, asked.images)
        start = time.perf_counter()
        entry = _made_up(rng, before + i)
        making += time.perf_counter() - start
        catalog.write(entry)
    adding = time.perf_counter() - begun - making
    begun = time.perf_counter()
    packed = catalog.pack()
    packing = time.perf_counter() - begun
    size = sum(path.stat().st_size for path in catalog.folder.rglob("*.parquet"))
    windows = catalog.query("SELECT count(*) AS n FROM windows")["n"][0].as_py()
    figures = {
        "images": before + asked.images,
        "windows": windows,
        "added_images_per_s": asked.images / adding,
        "added_windows_per_s": asked.images * ROWS_EACH / adding,
        "packed": packed,
        "seconds_packing": packing,
        "bytes_per_window": size / windows,
        "gigabytes": size / 1e9,
    }
    times = {}
    for name, sql in QUERIES.items():
        start = time.perf_counter()
        catalog.query(sql)
        times[name] = time.perf_counter() - start
    rows = [(name, f"{value:.4g}") for name, value in figures.items()]
    rows += [(f"query: {name} (s)", f"{value:.2f}") for name, value in times.items()]
    table = Table("A catalog of made-up windows", ("what", "measured"), tuple(rows))
    return {"case": "rows", **figures, "seconds_of_queries": times}, table


def _made_up(rng: np.random.Generator, index: int) -> Entry:
    """An image of ROWS_EACH windows."""
    import pyarrow as pa

    key = hashlib.sha256(f"{index} {rng.integers(2**62)}".encode()).hexdigest()
    fixed = {"image": key, "file": f"{index}.dm4", "session": f"day {index // 100}", "status": "ok", "engine": "fit",
             "interface": 1, "voltage_kV": 300.0, "twist_deg": 0.0, "twist_sigma_deg": 0.0}  # fmt: skip
    schema = arrow_schema("windows")
    columns = [
        pa.repeat(pa.scalar(fixed[name], schema.field(name).type), ROWS_EACH)
        if name in fixed
        else pa.array(rng.standard_normal(ROWS_EACH, dtype=np.float32))
        for name in WINDOWS
    ]
    image = {"image": key, "kind": "resolve", "material": LAYER.name, "file": fixed["file"], "windows": ROWS_EACH}
    images = arrow_schema("images")
    row = pa.Table.from_pylist([{name: image.get(name) for name in images.names}], images)
    return Entry(key, LAYER.name, {"windows": pa.table(columns, schema=schema), "images": row})


def run(cases: list[str], asked: Asked, begin: Progress) -> tuple[dict[str, Any], list[Table]]:
    """All cases, as a document and as tables."""
    found = [measure(case, asked, begin) for case in cases]
    return {"cases": [document for document, _ in found]}, [table for _, table in found]
