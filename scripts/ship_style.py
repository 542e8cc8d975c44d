"""Put a trained style among those that come with the program, its figures and the command that makes it on its card.

picostem bench style --weights trained/style --experiment IMAGE... --json figures.json
python scripts/ship_style.py trained/style figures.json --command "picostem style train ..."
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from picostem.style.card import model_card
from picostem.style.weights import ATTRIBUTE, CARD, GENERATOR, SHIPPED, read_card

LIMITS = """
## Limits

- It has seen bilayers of one material, from one microscope: other materials are styled, too, but nobody has looked.
- It adds the noise, blur, brightness and slow background of its images, and nothing that they do not show: no
  contamination beyond theirs, no scan distortion that differs from line to line.
- A drawn style (without `--like` or `--exemplar`) lies between those of its images.
"""


def figures(report: dict[str, Any]) -> dict[str, Any]:
    """What the card quotes: the structure that is kept, and the likeness to each image."""
    kept = report["structure"]["styled"]
    found: dict[str, Any] = {
        "slips resolved again": f"{kept['slips'] - kept['not_found']} of {kept['slips']}",
        "slip error, median": f"{kept['median_error_A']:.4f} Å (bound {kept['median_bound_A']:.4f} Å)",
        "slip error, 95 %": f"{kept['error_95_A']:.4f} Å",
        "columns invented, lost": f"{kept['invented']}, {kept['lost']} of {kept['columns']}",
    }
    for one in report["likeness"]:
        styled = (
            one["scores"]["styled"]["likeness"] if "likeness" in one["scores"]["styled"] else one["scores"]["styled"]
        )
        label = one["image"] + (f", style from {one['style_from']}" if one["held_out"] else "")
        found[f"D_KL, {label}"] = round(styled["d_kl"], 4)
        found[f"ΔR_a, {label}"] = round(styled["delta_ra"], 4)
        found[f"spectrum, {label}"] = round(styled["spectrum"], 3)
        for name, gain in one["spectrum_gain"].items():
            found[f"{name}/spectrum, {label}"] = round(gain, 1)
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("style", type=Path)
    parser.add_argument("report", type=Path)
    parser.add_argument("--command", required=True)
    arguments = parser.parse_args()
    card = read_card(arguments.style)
    report = json.loads(arguments.report.read_text("utf-8"))
    card = replace(card, training=dict(card.training) | {"command": arguments.command}, figures=figures(report))
    folder = SHIPPED / card.name
    folder.mkdir(parents=True, exist_ok=True)
    for name in (GENERATOR, ATTRIBUTE):
        shutil.copyfile(arguments.style / name, folder / name)
    (folder / CARD).write_text(json.dumps(card.as_dict(), indent=1, ensure_ascii=False) + "\n", "utf-8")
    (folder / "README.md").write_text(model_card(card) + LIMITS, "utf-8")
    print(folder)


if __name__ == "__main__":
    main()
