"""Put a trained network among those that come with the program, what it reaches on multislice images on its card.

Its matrices are kept in half precision, which halves the file.

picostem bench stack IMAGES --engine net --net trained/net --json stack.json
picostem bench outliers IMAGES --net trained/net --json outliers.json
python scripts/ship_net.py trained/net NAME --stack stack.json --outliers outliers.json --command "picostem train ..."

The same for a network for patches:

picostem bench patches IMAGES --net trained/net --json patches.json
python scripts/ship_net.py trained/net NAME --patches patches.json --command "picostem train ..."
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from picostem.infer.card import NetCard
from picostem.infer.export import halved
from picostem.infer.folder import SHIPPED, is_patch_net, read_card, read_patch_card, write_folder
from picostem.infer.patch_card import PatchCard
from picostem.net_folder import NETWORK

LIMITS = """
## Limits

- It reads windows of the size above, of layers on one lattice that the fit of the image has found, with the microscope
  that the fit has.
- It was trained with the physical model of picostem, whose multiple scattering is approximate.
- A window that is like nothing it has seen is `untrusted`, as far as it can be told apart: the figures say how far.
"""


PATCH_LIMITS = """
## Limits

- It reads patches of the size above, whole ones, of an image whose pixel size is known to 2 %.
- It was trained with the physical model of picostem, whose multiple scattering is approximate.
"""


def figures(
    card: NetCard | PatchCard,
    stack: dict[str, Any] | None,
    outliers: dict[str, Any] | None,
    patches: dict[str, Any] | None,
) -> dict[str, Any]:
    """What was measured in training, and on images of another simulator."""
    found = dict(card.figures)
    if patches is not None:
        found["multislice"] = {"images": len(patches["images"])} | patches["totals"]
    if stack is not None:
        (kind,) = (name for name in stack["totals"] if name in ("slip", "trilayer"))
        found["multislice"] = stack["totals"][kind]
    if outliers is not None:
        found["outliers, multislice"] = outliers["totals"]
    return found


def purpose(card: NetCard | PatchCard) -> str:
    """What the network is for, in a sentence."""
    asked = "by `picostem resolve --engine net` or `hybrid`"
    if isinstance(card, NetCard):
        kind = "antiparallel" if card.antiparallel else "parallel"
        return (
            f"Slips of {card.layers} {kind} layers of {card.material} in windows of {card.window_A / 10:g} nm, {asked}."
        )
    patches = f"patches of {card.side} pixels of {card.pixel_A:g} Å, {card.extent_A / 10:.2g} nm"
    if card.task == "twist":
        return f"Twists of two layers of {card.material} in {patches}, {asked}."
    return f"Slips of layers of {card.material}, task `{card.task}`, in {patches}, by `PatchNet` from Python."


def model_card(card: NetCard | PatchCard) -> str:
    """The card as text."""
    training = card.training
    source = str(training["plan"].get("source", ""))
    shown = f"in the style `{source.removeprefix('styled:')}`" if source.startswith("styled:") else "no images"
    lines = [
        f"# {card.name}",
        "",
        purpose(card),
        "",
        "## Training",
        "",
        f"- Data: drawn by picostem's physical model as it goes, {training['microscopes']} microscopes, {shown}.",
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
    return "\n".join(lines) + "\n" + (LIMITS if isinstance(card, NetCard) else PATCH_LIMITS)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("net", type=Path)
    parser.add_argument("name")
    parser.add_argument("--stack", type=Path)
    parser.add_argument("--outliers", type=Path)
    parser.add_argument("--patches", type=Path)
    parser.add_argument("--command", required=True)
    arguments = parser.parse_args()
    measured = [
        json.loads(path.read_text("utf-8")) if path else None
        for path in (arguments.stack, arguments.outliers, arguments.patches)
    ]
    card = read_patch_card(arguments.net) if is_patch_net(arguments.net) else read_card(arguments.net)
    card = replace(
        card,
        name=arguments.name,
        training=dict(card.training) | {"command": arguments.command},
        figures=figures(card, *measured),
    )
    folder = SHIPPED / arguments.name
    shutil.rmtree(folder, ignore_errors=True)
    card = write_folder(folder, card, halved((arguments.net / NETWORK).read_bytes()))
    (folder / "README.md").write_text(model_card(card), "utf-8")
    print(folder)


if __name__ == "__main__":
    main()
