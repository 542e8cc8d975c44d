"""Draw the README's picture, docs/images/ReS2_bilayer.png, from the example image.

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


def main() -> None:
    """Resolve, draw, shrink to WIDTH pixels and the 256 colours that cover the range best."""
    result = picostem.resolve(ROOT / "examples" / "images" / "ReS2_bilayer.tif", "ReS2")
    stream = BytesIO()
    plot(result).savefig(stream, format="png")
    large = Image.open(stream).convert("RGB")
    small = large.resize((WIDTH, round(large.height * WIDTH / large.width)), Image.Resampling.LANCZOS)
    path = ROOT / "docs" / "images" / "ReS2_bilayer.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    small.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
