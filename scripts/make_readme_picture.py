"""Draw the README's pictures, docs/images/NAME.png, from example images.

python scripts/make_readme_picture.py
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from PIL import Image

import picostem
from picostem.report import plot

ROOT = Path(__file__).parents[1]
WIDTH = 1400
PICTURES = {"ReS2_bilayer": "ReS2", "MoS2_twisted": "MoS2"}  # image: material


def main() -> None:
    """All pictures."""
    for name, material in PICTURES.items():
        draw(name, material)


def draw(name: str, material: str) -> None:
    """Resolve, draw, shrink to WIDTH pixels and the 256 colours that cover the range best."""
    result = picostem.resolve(ROOT / "examples" / "images" / f"{name}.tif", material)
    stream = BytesIO()
    plot(result).savefig(stream, format="png")
    large = Image.open(stream).convert("RGB")
    small = large.resize((WIDTH, round(large.height * WIDTH / large.width)), Image.Resampling.LANCZOS)
    path = ROOT / "docs" / "images" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    small.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
