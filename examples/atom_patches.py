"""Patches around the atoms of an image, whichever way they are turned, by the autoencoder for diffraction patterns.

    python examples/atom_patches.py [IMAGE] [FIGURE]

takes the monolayer of WS2 beside this file, or IMAGE, and writes atom_patches.png, or FIGURE. It needs the extra
`train`, and takes about a minute. Seeded.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from picostem.atoms.survey import Survey, survey
from picostem.files import read_image
from picostem.stem4d.harmonics import angular_harmonics
from picostem.stem4d.model import RVAE, Encoded
from picostem.stem4d.scan import Scan4D
from picostem.stem4d.settings import RVAESettings

AROUND = 1.6  # distances to the nearest atom from the middle of a patch to its sides
SYMMETRY = 3  # of a site of a 2H dichalcogenide
SHOWN = 5  # templates along each latent


def main(image: Path, figure: str) -> None:
    """Find the atoms, learn their surroundings, and print what the latents say of the classes."""
    found = survey([read_image(image)])
    patches, chosen = cut(found)
    harmonics = angular_harmonics(Scan4D.of(patches[None], name="patches"), rings=10, orders=9)
    model = RVAE.build(harmonics, RVAESettings(latent=2, symmetry=SYMMETRY, likelihood="gaussian"), device="cpu")
    told = model.train(harmonics).encode(harmonics)
    species = found.table.species[chosen]
    words = "; ".join(model.alarms(told).warnings) or "latents and angle are used"
    print(f"{len(patches)} patches of {patches.shape[1]} pixels; {words}")
    for name in sorted(set(species.tolist())):
        mine = species == name
        middle, angle = (
            told.mean[mine].mean(axis=0),
            np.angle(np.exp(1j * SYMMETRY * told.angle[mine]).mean()) / SYMMETRY,
        )
        print(f"{name}: {mine.sum()} atoms, latents {middle.round(2).tolist()}, turned by {np.rad2deg(angle):.1f}°")
    draw(found, chosen, told, model).savefig(figure, dpi=130)
    print(f"wrote {figure}")


def cut(found: Survey) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Standardised patches, shape (n, side, side), and which atoms they are around: those whose patch is inside."""
    from scipy import ndimage
    from scipy.spatial import cKDTree

    place = np.column_stack([found.table.row, found.table.col])
    half = int(np.ceil(AROUND * np.median(cKDTree(place).query(place, 2)[0][:, 1])))
    data = found.image.data.astype(np.float64)
    data = (data - data.mean()) / data.std()
    inside = np.all((place >= half) & (place <= np.array(data.shape) - 1 - half), axis=1)
    grid = np.mgrid[-half : half + 1, -half : half + 1]
    at = place[inside].T[:, :, None, None] + grid[:, None]
    patches = ndimage.map_coordinates(data, at, order=3, mode="nearest")
    return patches.astype(np.float32), np.flatnonzero(inside)


def draw(found: Survey, chosen: NDArray[np.intp], told: Encoded, model: RVAE) -> Figure:
    """Latents and orientation of every atom over the image, and templates along each latent."""
    figure = Figure(figsize=(15, 8), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(3, 2))
    row, col = found.table.row[chosen], found.table.col[chosen]
    maps = [("latent 0", told.mean[:, 0], "viridis"), ("latent 1", told.mean[:, 1], "viridis")]
    maps.append(("orientation, °", np.rad2deg(told.angle), "hsv"))
    for ax, (title, values, colours) in zip(above.subplots(1, 3), maps, strict=True):
        ax.imshow(found.image.data, cmap="gray")
        dots = ax.scatter(col, row, c=values, s=14, cmap=colours)
        figure.colorbar(dots, ax=ax, shrink=0.7)
        ax.set_title(title)
        ax.set_axis_off()
    for k, line in enumerate(below.subplots(2, SHOWN)):
        along = np.zeros((SHOWN, 2))
        along[:, k] = np.quantile(told.mean[:, k], np.linspace(0.02, 0.98, SHOWN))
        for ax, template, value in zip(line, model.draw(along), along[:, k], strict=True):
            ax.imshow(template, cmap="gray")
            ax.set_title(f"latent {k} = {value:.2f}", fontsize=8)
            ax.set_axis_off()
    return figure


if __name__ == "__main__":
    given = sys.argv[1:]
    beside = Path(__file__).parent / "atoms" / "WS2_monolayer.tif"
    main(Path(given[0]) if given else beside, given[1] if len(given) > 1 else "atom_patches.png")
