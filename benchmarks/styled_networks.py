"""Train two networks on the same simulated pictures, with plain noise and in a learned style, side by side.

    python benchmarks/styled_networks.py FOLDER CURVE_SET IMAGE... [--style ReS2-300kV] [--pictures 1200] [--steps 1500]

Pictures of bilayers of ReS2 with any slip, under microscopes that differ in defocus and source size. One network reads
windows of 2 nm of them with counted electrons, 3 × 10³ to 10⁵ per Å²; the other one the same windows of the same
pictures in the style. All else is alike: how harmonics and noise are read off, network, training, calibration on
pictures that the training has not. Both are then asked about what neither has seen: noise-free multislice images whose
electrons are counted (`benchmarks/curve_set.py CURVE_SET`, see `picostem bench curves`), and micrographs, against the
fit. Half an hour or so on one core; what is done is kept. Needs the extra "train".
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picostem.bench import curves, engines
from picostem.bench.curves_spoil import Cause
from picostem.bench.table import Table, number, percent
from picostem.infer.calibrate import calibrate
from picostem.infer.card import NetCard
from picostem.infer.export import export_net
from picostem.infer.features import Invariants
from picostem.infer.folder import rewrite_card
from picostem.infer.learn import limits
from picostem.infer.predict import StackingNet
from picostem.infer.torus import Torus
from picostem.infer.train import train
from picostem.infer.training_settings import TrainingSettings
from picostem.physics import KV, MRAD
from picostem.resolve.evidence import HARMONIC_LIMIT
from picostem.resolve.lattice import power_spectrum
from picostem.resolve.model import Optics, StackModel
from picostem.resolve.settings import Settings
from picostem.resolve.window import extract_harmonics, window_starts
from picostem.simulate import Microscope
from picostem.structure import load_monolayer
from picostem.structure.lattice import reflections
from picostem.style.pool import simulate_pool
from picostem.style.transfer import Style

FloatArray = NDArray[np.float64]

MATERIAL, KILOVOLT, SEMIANGLE, DETECTOR = "ReS2", 300.0, 21.3, (39.0, 200.0)
EXTENT, WINDOW, STRIDE = 44.0, 20.0, 12.0  # Å
EACH = 60  # pictures under one microscope
DEFOCUS, SOURCE = (-10.0, 45.0), (0.5, 0.9)  # Å; the published micrographs' are within
FIT_ERROR = 3.0  # Å, of the fitted defocus
DOSE = (3e3, 1e5)  # e/Å²
HELD = 0.2  # of the microscopes, for calibration
ARMS = ("plain", "styled")
STEPS: dict[Cause, tuple[float, ...]] = {"none": (0.0,), "noise": (20.0, 10.0, 7.0), "hole": (0.25,)}


@dataclass(frozen=True, eq=False)
class Windows:
    """Samples as `picostem.infer.samples.Samples` has them."""

    amplitudes: NDArray[np.complex64]
    noise: NDArray[np.float32]
    slips: FloatArray
    factors: NDArray[np.complex64]
    conditions: NDArray[np.float32]
    outlier: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.noise)

    def take(self, index: Any) -> Windows:
        """The chosen ones."""
        return Windows(**{field.name: getattr(self, field.name)[index] for field in fields(self)})


def model_of(hk: NDArray[np.int64]) -> StackModel:
    """Of two layers under the microscope."""
    inner, outer = DETECTOR
    optics = Optics(KILOVOLT * KV, SEMIANGLE * MRAD, 0.0, inner * MRAD, outer * MRAD, "user")
    return StackModel.build((load_monolayer(MATERIAL),) * 2, hk, np.eye(2), optics)


def factors_of(model: StackModel, defocus: float, source_fwhm: float) -> NDArray[np.complex128]:
    """How each layer alone would look, shape (2, n)."""
    values = dict(zip(model.prior.names, model.prior.mean, strict=True))
    values |= {"C10": -defocus, "variance": (source_fwhm / 2.3548) ** 2}
    return model.layer_factors(np.array(list(values.values())))[0]


def pictures(count: int, style: Style, hk: NDArray[np.int64], folder: Path) -> dict[str, Windows]:
    """Windows of both arms, microscope after microscope; kept in the folder."""
    kept = folder / f"windows_{count}.npz"
    if not kept.exists():
        parts: dict[str, list[Windows]] = {arm: [] for arm in ARMS}
        model, rng = model_of(hk), np.random.default_rng(20261122)
        for scope in range(count // EACH):
            defocus, source = rng.uniform(*DEFOCUS), rng.uniform(*SOURCE)
            microscope = Microscope.from_lab_units(
                voltage_kV=KILOVOLT,
                semiangle_mrad=SEMIANGLE,
                detector_mrad=DETECTOR,
                defocus_A=defocus,
                source_fwhm_A=source,
            )
            pool = simulate_pool(
                MATERIAL, EACH, pixel_size=style.pixel_size, extent=EXTENT, seed=scope, microscope=microscope
            )
            factors = factors_of(model, defocus + rng.normal(0, FIT_ERROR), source)
            for one in pool:
                clean = one.image.data
                electrons = np.exp(rng.uniform(*np.log(DOSE))) * style.pixel_size**2
                plain = rng.poisson(np.maximum(clean, 0) * electrons).astype(np.float32)
                seen = {"plain": plain, "styled": style.apply(one.picture, style.sample(rng), rng)}
                for arm, data in seen.items():
                    parts[arm].append(windows_of(data, one.truth, style.pixel_size, hk, factors))
            print(f"microscope {scope + 1} of {count // EACH}", flush=True)
        joined = {
            f"{arm}.{field.name}": np.concatenate([getattr(part, field.name) for part in parts[arm]])
            for arm in ARMS
            for field in fields(Windows)
        }
        np.savez(kept, allow_pickle=False, **joined)
    with np.load(kept) as file:
        return {arm: Windows(**{field.name: file[f"{arm}.{field.name}"] for field in fields(Windows)}) for arm in ARMS}


def windows_of(
    data: NDArray[np.float32],
    truth: dict[str, Any],
    pixel_size: float,
    hk: NDArray[np.int64],
    factors: NDArray[np.complex128],
) -> Windows:
    """All windows of an image, their harmonics and noise read off as `resolve` does, at the true lattice."""
    reciprocal = np.linalg.inv(np.array(truth["layers"][0]["rows_image_A"])).T * pixel_size
    side = round(WINDOW / pixel_size)
    starts = window_starts(len(data), side, round(STRIDE / pixel_size))
    data = data - np.float32(data.mean(dtype=np.float64))
    amplitudes = extract_harmonics(data, reciprocal, hk, side, (starts, starts)).amplitudes
    noise = np.sqrt(power_spectrum(data).noise_at(hk @ reciprocal).mean()) / side
    count = len(amplitudes)
    conditions = (KILOVOLT / 300, SEMIANGLE / 25, DETECTOR[0] / SEMIANGLE)
    return Windows(
        amplitudes.astype(np.complex64),
        np.full(count, noise, np.float32),
        np.tile(np.array(truth["layers"][1]["position_frac"]) % 1.0, (count, 1, 1)),
        np.tile(factors.astype(np.complex64), (count, 1, 1)),
        np.tile(np.array(conditions, np.float32), (count, 1)),
        np.zeros(count, np.bool_),
    )


def network(arm: str, samples: Windows, hk: NDArray[np.int64], steps: int, folder: Path) -> Path:
    """Train and calibrate one; returns its folder."""
    out = folder / arm
    if (out / "net" / "net.json").exists():
        return out / "net"
    layer = load_monolayer(MATERIAL)
    torus, invariants = Torus.of((layer, layer)), Invariants.lowest(hk, layer.cell)
    cut = round((1 - HELD) * len(samples))
    own, held = samples.take(slice(0, cut)), samples.take(slice(cut, None))
    settings = TrainingSettings(steps=steps, batch=256, warm_up=100, averaged=0.995, width=256, blocks=2)
    found = train(
        lambda rng, count: own.take(rng.integers(cut, size=count)),
        invariants,
        torus,
        settings,
        out,
        seed=0,
        data={"arm": arm, "windows": cut},
        threads=1,
    )
    card = NetCard.of(
        arm,
        MATERIAL,
        False,
        WINDOW,
        torus,
        invariants,
        limits=limits(own),
        training={"settings": settings.as_dict(), "seed": 0, "licence": "", "arm": arm},
    )
    export_net(found, card, out / "net")
    net, rng = StackingNet.load(out / "net", threads=1), np.random.default_rng(1)
    said = net.predict(held.amplitudes, held.noise, held.factors, held.conditions)
    rewrite_card(out / "net", replace(net.card, calibration=calibrate(said, held.slips, held.outlier, rng)))
    return out / "net"


def compared(nets: dict[str, Path], held: dict[str, Windows], curve_set: Path, images: list[Path]) -> list[Table]:
    """Both networks on both arms' own windows, on multislice and on micrographs."""
    own, multislice, micrographs = [], [], []
    known = {"voltage_kV": KILOVOLT, "semiangle_mrad": SEMIANGLE, "detector_mrad": DETECTOR}
    for arm, folder in nets.items():
        net = StackingNet.load(folder, threads=1)
        errors = []
        for samples in held.values():
            said = net.predict(samples.amplitudes, samples.noise, samples.factors, samples.conditions)
            errors.append(float(np.mean(net.torus.distance(said.slips, samples.slips))))
        own.append((arm, *(number(error, 4) for error in errors)))
        for point in curves.measure(curve_set, ("net",), str(folder), steps=STEPS).points:
            if point.found is not None:
                error = np.array(point.found.errors)
                what = f"{point.step.cause} {point.step.amount:g}"
                shown = (number(float(error.mean()), 4), number(float(np.quantile(error, 0.95)), 4))
                multislice.append((arm, what, *shown, percent(point.found.inside_95)))
        for one in engines.measure(images, Settings(MATERIAL, **known), str(folder)):  # type: ignore[arg-type]
            if one.engine == "net":
                apart = None if one.apart_windows is None else one.apart_windows[0]
                micrographs.append((arm, one.image, number(one.apart, 4), number(apart, 4), percent(one.untrusted)))
    return [
        Table("Mean error Å on windows of pictures not trained on", ("trained on", *ARMS), tuple(own)),
        Table("Multislice", ("trained on", "suffers", "mean Å", "95 %", "in 95 %"), tuple(multislice)),
        Table("Micrographs", ("trained on", "image", "from the fit", "windows", "untrusted"), tuple(micrographs)),
    ]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("curve_set", type=Path)
    parser.add_argument("images", type=Path, nargs="*")
    parser.add_argument("--style", default="ReS2-300kV")
    parser.add_argument("--pictures", type=int, default=1200)
    parser.add_argument("--steps", type=int, default=1500)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    layer = load_monolayer(MATERIAL)
    hk = reflections(np.asarray(np.linalg.inv(layer.cell).T, dtype=np.float64), HARMONIC_LIMIT)
    windows = pictures(arguments.pictures, Style.load(arguments.style, threads=1), hk, arguments.folder)
    nets = {arm: network(arm, windows[arm], hk, arguments.steps, arguments.folder) for arm in ARMS}
    held = {arm: one.take(slice(round((1 - HELD) * len(one)), None)) for arm, one in windows.items()}
    tables = compared(nets, held, arguments.curve_set, arguments.images)
    (arguments.folder / "tables.json").write_text(json.dumps([[t.title, t.head, t.rows] for t in tables]), "utf-8")
    print("\n\n".join(table.markdown() for table in tables))


if __name__ == "__main__":
    main()
