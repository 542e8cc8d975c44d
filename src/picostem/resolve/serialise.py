"""The JSON form of a result, schema `picostem.result/1`: Å, degrees, mrad and kV, as microscopists read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from picostem.physics import DEGREE, KV, MRAD
from picostem.structure.lattice import reduced

if TYPE_CHECKING:
    from picostem.resolve.result import Domain, FittedMicroscope, Interface, ResolvedLayer, Result

MAP_FILE = "map.parquet"


def result_dict(result: Result) -> dict[str, Any]:
    """Plain numbers, strings, lists and dicts only; NaN and infinity become None."""
    image = result.image
    size = image.pixel_size
    quality = result.quality
    tree = {
        "schema": "picostem.result/1",
        "version": result.version,
        "verdict": result.verdict,
        "reason": result.reason,
        "image": {
            "path": str(image.path) if image.path else None,
            "name": image.name,
            "shape": list(image.data.shape),
            "pixel_size_A": None if size is None else (size[0] if size[0] == size[1] else list(size)),
            "pixel_size_source": image.pixel_size_source,
            "pixel_size_lattice_A": result.pixel_size_lattice,
        },
        "layers": [_layer(i + 1, layer) for i, layer in enumerate(result.layers)],
        "interfaces": [_interface(interface) for interface in result.interfaces],
        "microscope": _microscope(result.microscope) if result.microscope else None,
        "fit": None
        if quality is None
        else {
            "engine": quality.engine,
            "chi2_reduced": quality.chi2_reduced,
            "explained": quality.explained,
            "alternatives": [
                {"hypothesis": a.hypothesis, "delta_chi2": a.delta_chi2, "detail": a.detail}
                for a in quality.alternatives
            ],
        },
        "map": _map(result) if result.maps else None,
        "settings": result.settings.as_dict(),
        "seconds": result.seconds,
    }
    return plain(tree)  # type: ignore[no-any-return]


def plain(value: Any) -> Any:
    """NumPy values and paths as JSON knows them; numbers that are not finite as None."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def _layer(index: int, layer: ResolvedLayer) -> dict[str, Any]:
    return {
        "index": index,
        "structure": layer.monolayer.name,
        "rotation_deg": layer.rotation / DEGREE,
        "mirrored": layer.mirrored,
        "rows_image_A": layer.rows,
        "position_cart_A": layer.position,
    }


def _interface(interface: Interface) -> dict[str, Any]:
    return {
        "lower": interface.lower,
        "upper": interface.upper,
        "slip_cart_A": interface.slip,
        "slip_frac": interface.slip_frac,
        "slip_cov_A2": interface.slip_covariance,
        "slip_bound_A": interface.slip_bound,
        "slip_spread_A": interface.slip_spread,
        "twist_deg": interface.twist / DEGREE,
        "twist_sigma_deg": interface.twist_sigma / DEGREE,
        "twist_bound_deg": interface.twist_bound / DEGREE,
        "twist_spread_deg": interface.twist_spread / DEGREE,
        "twist_alternatives_deg": interface.twist_alternatives / DEGREE,
        "strain": _strain(interface),
        "moire_A": interface.moire,
        "moire_period_A": None if interface.moire is None else np.linalg.norm(reduced(interface.moire), axis=1).min(),
        "equivalents": interface.equivalents,
    }


def _microscope(m: FittedMicroscope) -> dict[str, Any]:
    return {
        "voltage_kV": m.voltage_eV / KV,
        "semiangle_mrad": m.semiangle / MRAD,
        "semiangle_sigma_mrad": m.semiangle_sigma / MRAD,
        "source": m.source,
        "defocus_A": m.defocus,
        "defocus_sigma_A": m.defocus_sigma,
        "C12_A": m.C12,
        "C12_sigma_A": m.C12_sigma,
        "C12_deg": m.phi12 / DEGREE,
        "C21_A": m.C21,
        "C21_sigma_A": m.C21_sigma,
        "C21_deg": m.phi21 / DEGREE,
        "source_fwhm_A": m.source_fwhm,
        "source_fwhm_sigma_A": m.source_fwhm_sigma,
    }


def _strain(interface: Interface) -> dict[str, float] | None:
    if interface.strain is None:
        return None
    (xx, xy), (_, yy) = interface.strain.tolist()
    return {"xx": xx, "yy": yy, "xy": xy, "sigma": interface.strain_sigma}


def _map(result: Result) -> dict[str, Any]:
    """What all interfaces have in common, and the domains of each; the windows are those of `MAP_FILE`."""
    first = result.maps[0]
    return {
        "file": MAP_FILE,
        "windows": len(first),
        "window_A": first.window,
        "stride_A": first.stride,
        "interfaces": [
            {
                "lower": interface.lower,
                "upper": interface.upper,
                "domains": [_domain(domain) for domain in one.domains],
                "boundaries": [{"points_A": b.points, "domains": list(b.domains)} for b in one.boundaries],
            }
            for interface, one in zip(result.interfaces, result.maps, strict=True)
        ],
    }


def _domain(domain: Domain) -> dict[str, Any]:
    return {
        "slip_cart_A": domain.slip,
        "slip_cov_A2": domain.slip_covariance,
        "twist_deg": domain.twist / DEGREE,
        "twist_sigma_deg": domain.twist_sigma / DEGREE,
        "centre_A": domain.centre,
        "share": domain.share,
        "windows": len(domain.windows),
    }
