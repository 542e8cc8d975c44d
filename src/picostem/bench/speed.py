"""`picostem bench speed`: seconds and memory on this machine, beside those of the plainest code for the same."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from picostem.bench.naive import direct_sum, fit_window
from picostem.bench.table import Table
from picostem.errors import DataError
from picostem.image import Image
from picostem.infer.engine import Engine, nets_for
from picostem.physics import DEGREE, NM
from picostem.pipeline import resolve_with
from picostem.resolve.lattice import power_spectrum
from picostem.resolve.orient import Setting, find_settings, settle
from picostem.resolve.settings import Settings
from picostem.resolve.windows import fit_grid
from picostem.simulate import AcquisitionSettings, Microscope, simulate_periodic, simulate_stack, write_simulation
from picostem.simulate.synthesis import pixel_axes
from picostem.structure import Stack, load_monolayer
from picostem.style.pool import simulate_pool
from picostem.style.transfer import Style

MATERIAL = "ReS2"
PIXEL_SIZE, WINDOW = 0.117, 20.0  # Å
TWISTED, TWIST = "WSe2", 8.0 * DEGREE
TWIST_STRIDE = 0.5  # nm
MICROSCOPE = {"voltage_kV": 300.0, "semiangle_mrad": 21.3, "detector_mrad": (39.0, 200.0)}
# What has been published for the same: windows per second of a network that reads slips off patches (TED-Gen), and
# seconds of the fastest linear simulation of 1024² pixels (Computem), and of styling them (TED-Gen, on a V100).
PUBLISHED_WINDOWS, PUBLISHED_IMAGE, PUBLISHED_STYLED = 15.6, 2.0, 1.0
STYLE = "ReS2-300kV"
STRIP = 8  # rows that the direct sum is timed on


@dataclass(frozen=True)
class Scale:
    """Sizes to measure at: sides of images in pixels, the grid of windows (rows, columns), how many naive ones, and
    the side of the field that the centres of a twist map's windows cover, Å."""

    map_side: int
    grid: tuple[int, int]
    naive_windows: int
    noise_free_side: int
    shell_side: int
    large_side: int
    twist_field: float


FULL = Scale(1024, (50, 75), 5, 1024, 512, 4096, 80.0)
QUICK = Scale(320, (4, 6), 1, 128, 320, 400, 20.0)


@dataclass(frozen=True)
class Figure:
    """One measurement; `target` and `beside` are words."""

    name: str
    value: float
    unit: str
    target: str
    beside: str = ""


def measure(scale: Scale) -> list[Figure]:
    """All figures."""
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder)
        images = [*_noise_free(scale), *_styled(scale)]
        return [*_windows(scale), *_twists(scale), *images, *_shell(scale, files), *_large(scale, files)]


def table(figures: list[Figure]) -> Table:
    """The figures with their targets."""
    rows = tuple((f.name, _shown(f.value), f.unit, f.target, f.beside) for f in figures)
    return Table("Speed and memory", ("what", "measured", "unit", "target", "beside"), rows)


def _shown(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def as_dict(figures: list[Figure]) -> dict[str, Any]:
    """For JSON."""
    return {"figures": [{"name": f.name, "value": f.value, "unit": f.unit, "target": f.target} for f in figures]}


def example(side: int, seed: int = 1) -> tuple[Image, dict[str, Any]]:
    """A simulated image of a bilayer at the usual dose, side × side pixels, with its truth."""
    stack = Stack.bilayer(load_monolayer(MATERIAL), (1.45, -2.8))
    microscope = Microscope.from_lab_units(**MICROSCOPE, defocus_A=8.0, C12_A=6.0, source_fwhm_A=0.6)  # type: ignore[arg-type]
    rng = np.random.default_rng(seed)
    return simulate_stack(stack, microscope, AcquisitionSettings(), (side, side), PIXEL_SIZE, rng, rotation=0.4)


def prepare(image: Image) -> tuple[NDArray[np.float32], Setting]:
    """The image without its mean, and the setting that the map starts from."""
    data = image.data - np.float32(image.data.mean(dtype=np.float64))
    layer = load_monolayer(MATERIAL)
    optics = Settings(MATERIAL).optics(image.acquisition)
    candidates = find_settings(data, power_spectrum(data), (layer, layer), PIXEL_SIZE, WINDOW, optics)
    if not candidates:
        raise DataError("the simulated image was not recognised: nothing to measure")
    return data, settle(candidates)


def _windows(scale: Scale) -> Iterator[Figure]:
    data, setting = prepare(example(scale.map_side)[0])
    starts = [np.rint(np.linspace(0, scale.map_side - setting.window, n)).astype(np.int64) for n in scale.grid]
    slips = setting.fit.state.slips[:1]
    count = scale.grid[0] * scale.grid[1]
    corners = [(int(starts[0][i]), int(starts[1][i])) for i in range(scale.naive_windows)]
    with threadpool_limits(1, user_api="blas"):  # as `resolve` does
        fast = _seconds(lambda: fit_grid(data, setting, slips, (starts[0], starts[1]))) / count
        engine = Engine.choose(nets_for(load_monolayer(MATERIAL)), setting, alone=True)
        told = _seconds(lambda: fit_grid(data, setting, slips, (starts[0], starts[1]), proposer=engine))
        slow = _seconds(lambda: [fit_window(data, setting, c, slips[0, 0]) for c in corners]) / len(corners)
    beside = f"plain least squares {1 / slow:.3g}/s, {slow / fast:.0f} times slower"
    yield Figure(
        f"map, {count} windows of 2 nm", 1 / fast, "windows/s", f"> 375 (published {PUBLISHED_WINDOWS})", beside
    )
    beside = "harmonics, the network, and what the model leaves with its slips"
    yield Figure(f"the same by the network, {count} windows", told, "s", "< 20 (published 240)", beside)


def _twists(scale: Scale) -> Iterator[Figure]:
    image, _ = twisted_example(scale.twist_field + WINDOW)
    settings = Settings(TWISTED, window_nm=WINDOW / NM, stride_nm=TWIST_STRIDE)
    start = time.perf_counter()
    result = resolve_with(image, settings)  # all of it: lattices, microscope and choice too
    seconds = time.perf_counter() - start
    side = scale.twist_field / NM
    windows = 0 if result.map is None else len(result.map)
    name = f"twist map, {side:g} x {side:g} nm at {TWIST_STRIDE:g} nm"
    beside = f"{windows} windows, verdict {result.verdict}, the map alone {result.seconds.get('map', 0.0):.1f} s"
    yield Figure(name, seconds, "s", "< 10", beside)


def twisted_example(side: float) -> tuple[Image, dict[str, Any]]:
    """A simulated image of a twisted bilayer at the usual dose, side × side Å, with its truth."""
    layer = load_monolayer(TWISTED)
    stack = Stack.bilayer(layer, (0.4, 1.1), TWIST)
    microscope = Microscope.from_lab_units(**MICROSCOPE, defocus_A=8.0, C12_A=6.0, source_fwhm_A=0.6)  # type: ignore[arg-type]
    pixels = round(side / PIXEL_SIZE)
    rng = np.random.default_rng(2)
    return simulate_stack(stack, microscope, AcquisitionSettings(), (pixels, pixels), PIXEL_SIZE, rng, rotation=0.4)


def _noise_free(scale: Scale) -> Iterator[Figure]:
    side = scale.noise_free_side
    stack = Stack.bilayer(load_monolayer(MATERIAL), (1.45, -2.8))
    microscope = Microscope.from_lab_units(**MICROSCOPE, source_fwhm_A=0.6)  # type: ignore[arg-type]
    x, y = pixel_axes((side, side), PIXEL_SIZE)
    fast = _seconds(lambda: simulate_periodic(stack, microscope, (side, side), PIXEL_SIZE))
    slow = _seconds(lambda: direct_sum(stack, microscope, x, y[:STRIP])) * side / STRIP
    beside = f"direct sum {slow:.3g} s (from {STRIP} rows), {slow / fast:.0f} times slower"
    yield Figure(f"noise-free image, {side}²", fast, "s", f"< 0.03 (published {PUBLISHED_IMAGE:g})", beside)


def _styled(scale: Scale) -> Iterator[Figure]:
    style, side, rng = Style.load(STYLE), scale.noise_free_side, np.random.default_rng(3)
    (simulation,) = simulate_pool(MATERIAL, 1, pixel_size=style.pixel_size, extent=side * style.pixel_size, seed=3)
    attribute = style.exemplar(style.card.exemplars[0].name)
    first, again = (_seconds(lambda: style.apply(simulation.picture, attribute, rng)) for _ in range(2))
    name, target = f"styled image, {side}²", f"< 0.5 (published {PUBLISHED_STYLED:g}, on a V100)"
    yield Figure(name, again, "s", target, f"the first one {first:.2g} s")


def _shell(scale: Scale, folder: Path) -> Iterator[Figure]:
    yield Figure("picostem --help", _seconds(lambda: _picostem("--help")), "s", "< 0.4")
    side = scale.shell_side
    path, _ = write_simulation(folder, "shell", *example(side))
    arguments = ("resolve", str(path), "--material", MATERIAL, "--out", str(folder / "out"))
    seconds = _seconds(lambda: _picostem(*arguments))
    yield Figure(f"picostem resolve, {side}², all files", seconds, "s", "< 4")


def _large(scale: Scale, folder: Path) -> Iterator[Figure]:
    side = scale.large_side
    path, _ = write_simulation(folder, "large", *example(side))
    took = json.loads(_python("-m", "picostem.bench.peak", str(path), MATERIAL))
    beside = f"{took['windows']} windows, verdict {took['verdict']}"
    yield Figure(f"image of {side}² mapped", took["seconds"], "s", "", beside)
    if took["bytes"] is not None:
        yield Figure(f"image of {side}² mapped, memory", took["bytes"] / 2**30, "GiB", "< 2")


def _picostem(*arguments: str) -> str:
    return _python("-m", "picostem", *arguments)


def _python(*arguments: str) -> str:
    """Standard output of Python run with these arguments."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise DataError(f"{' '.join(arguments)} failed: {done.stderr.strip()}")
    return done.stdout


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
