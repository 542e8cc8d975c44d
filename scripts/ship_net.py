"""Put a trained network among those that come with the program, what it reaches on multislice images on its card.

picostem bench stack IMAGES --engine net --net trained/net --json stack.json
picostem bench outliers IMAGES --net trained/net --json outliers.json
python scripts/ship_net.py trained/net NAME --stack stack.json --outliers outliers.json --command "picostem train ..."
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from picostem.infer.card import NetCard
from picostem.infer.folder import NETWORK, SHIPPED, read_card, write_folder

LIMITS = """
## Limits

- It reads windows of the size above, of layers on one lattice that the fit of the image has found, with the microscope
  that the fit has.
- It was trained with the physical model of picostem, whose multiple scattering is approximate.
- A window that is like nothing it has seen is `untrusted`, as far as it can be told apart: the figures say how far.
"""


def figures(card: NetCard, stack: dict[str, Any] | None, outliers: dict[str, Any] | None) -> dict[str, Any]:
    """What was measured in training, and on images of another simulator."""
    found = dict(card.figures)
    if stack is not None:
        (kind,) = (name for name in stack["totals"] if name in ("slip", "trilayer"))
        found["multislice"] = stack["totals"][kind]
    if outliers is not None:
        found["outliers, multislice"] = outliers["totals"]
    return found


def model_card(card: NetCard) -> str:
    """The card as text."""
    training = card.training
    lines = [
        f"# {card.name}",
        "",
        f"Slips of {card.layers} {'antiparallel' if card.antiparallel else 'parallel'} layers of {card.material} in "
        f"windows of {card.window_A / 10:g} nm, by `picostem resolve --engine net` or `hybrid`.",
        "",
        "## Training",
        "",
        f"- Data: drawn by picostem's physical model as it goes, {training['microscopes']} microscopes, no images.",
        f"- Command: `{training['command']}`",
        f"- Seed: {training['seed']}",
        f"- Licence: {training['licence'] or 'that of picostem'}",
        "",
        "## Figures",
        "",
        "| on | figure | value |",
        "|---|---|---|",
    ]
    for what, values in card.figures.items():
        for key, value in values.items():
            if isinstance(value, int | float):
                lines.append(f"| {what} | {key.replace('_', ' ')} | {value:.4g} |")
    return "\n".join(lines) + "\n" + LIMITS


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("net", type=Path)
    parser.add_argument("name")
    parser.add_argument("--stack", type=Path)
    parser.add_argument("--outliers", type=Path)
    parser.add_argument("--command", required=True)
    arguments = parser.parse_args()
    stack, outliers = (
        json.loads(path.read_text("utf-8")) if path else None for path in (arguments.stack, arguments.outliers)
    )
    card = read_card(arguments.net)
    card = replace(
        card,
        name=arguments.name,
        training=dict(card.training) | {"command": arguments.command},
        figures=figures(card, stack, outliers),
    )
    folder = SHIPPED / arguments.name
    shutil.rmtree(folder, ignore_errors=True)
    card = write_folder(folder, card, (arguments.net / NETWORK).read_bytes())
    (folder / "README.md").write_text(model_card(card), "utf-8")
    print(folder)


if __name__ == "__main__":
    main()
