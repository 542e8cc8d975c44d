"""Put a trained network among those that come with the program, what it reaches on multislice images on its card.

Its matrices are kept in half precision, which halves the file.

picostem bench stack IMAGES --engine net --net trained/net --json stack.json
picostem bench outliers IMAGES --net trained/net --json outliers.json
python scripts/ship_net.py trained/net NAME --stack stack.json --outliers outliers.json --command "picostem train ..."

The same for a network for patches:

picostem bench patches IMAGES --net trained/net --json patches.json
python scripts/ship_net.py trained/net NAME --patches patches.json --command "picostem train ..."

And for one that finds atoms:

picostem bench atoms IMAGES --weights trained/net --json atoms.json
python scripts/ship_net.py trained/net NAME --atoms atoms.json --command "picostem train atoms ..."

For one with classes, `--case inspection` measures the network that is there by its name: put it there, measure, and
again.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from picostem.atoms.card import CARD as ATOM_CARD
from picostem.atoms.card import AtomCard
from picostem.atoms.predict import SHIPPED as SHIPPED_ATOMS
from picostem.infer.card import NetCard
from picostem.infer.export import halved
from picostem.infer.folder import SHIPPED, is_patch_net, read_card, read_patch_card, write_folder
from picostem.infer.patch_card import PatchCard
from picostem.net_folder import NETWORK
from picostem.net_folder import write_folder as write_files

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


ATOM_LIMITS = """
## Limits

- It reads pixels of 0.2 Å: columns nearer to each other than 0.6 Å or so are one, and peaks wider than 0.8 Å unknown.
- It was trained with linear images; how many electrons the median column has is 20 to 4000.
- Single atoms on a grainy support are mostly overlooked: `picostem atoms` then starts from the peaks that stand out.
"""


CLASS_LIMITS = """\
- The highest channel is not the class: rare classes stay below common ones. What all channels say, sorted by a mixture,
  tells the classes apart (`blobs.csv`).
- It cannot know which sublattice is the metal but by its brightness: of crystals whose pairs outshine the metal (MoSe2,
  MoTe2) the two are exchanged.
"""


def atom_figures(card: AtomCard, measured: dict[str, Any] | None) -> dict[str, Any]:
    """What was measured in training, and on each image of another simulator over all doses."""
    found = dict(card.figures)
    for dose in measured.get("inspection", {}).get("doses", ()) if measured else ():
        found[f"classes by its output, multislice WS2, 1/{1 / dose['share']:.3g} of the dose"] = {
            "macro_f1": dose["macro_f1"]
        }
    for one in measured.get("images", {}).get("images", ()) if measured else ():
        if one["sure_share"] > 0:
            figure = found.setdefault(f"multislice, {one['image']}", {"least_f1": 1.0})
            figure["least_f1"] = min(figure["least_f1"], one["f1"])
    return found


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


def purpose(card: NetCard | PatchCard | AtomCard) -> str:
    """What the network is for, in a sentence."""
    if isinstance(card, AtomCard):
        crystals = ", ".join(card.training["plan"]["crystals"]) or "any crystal"
        return f"Where atoms are in images of {crystals}, by `picostem atoms`; classes: {', '.join(card.classes)}."
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


def data(card: NetCard | PatchCard | AtomCard) -> str:
    """What the network was trained with."""
    training = card.training
    if isinstance(card, AtomCard):
        crystals = ", ".join(training["plan"]["crystals"]) or "any crystal, and none"
        return f"scenes of {crystals}, drawn by picostem's linear images as it goes, no images"
    source = str(training["plan"].get("source", ""))
    shown = f"in the style `{source.removeprefix('styled:')}`" if source.startswith("styled:") else "no images"
    return f"drawn by picostem's physical model as it goes, {training['microscopes']} microscopes, {shown}"


def model_card(card: NetCard | PatchCard | AtomCard) -> str:
    """The card as text."""
    training = card.training
    lines = [
        f"# {card.name}",
        "",
        purpose(card),
        "",
        "## Training",
        "",
        f"- Data: {data(card)}.",
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
    limits = {NetCard: LIMITS, PatchCard: PATCH_LIMITS, AtomCard: ATOM_LIMITS}[type(card)]
    if isinstance(card, AtomCard) and len(card.classes) > 1:
        limits += CLASS_LIMITS
    return "\n".join(lines) + "\n" + limits


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("net", type=Path)
    parser.add_argument("name")
    parser.add_argument("--stack", type=Path)
    parser.add_argument("--outliers", type=Path)
    parser.add_argument("--patches", type=Path)
    parser.add_argument("--atoms", type=Path)
    parser.add_argument("--command", required=True)
    arguments = parser.parse_args()
    measured = [
        json.loads(path.read_text("utf-8")) if path else None
        for path in (arguments.stack, arguments.outliers, arguments.patches, arguments.atoms)
    ]
    command = {"command": arguments.command}
    if (arguments.net / ATOM_CARD).is_file():
        one = AtomCard.read(arguments.net)
        found = atom_figures(one, measured[3])
        one = replace(one, name=arguments.name, training=dict(one.training) | command, figures=found)
        folder = SHIPPED_ATOMS / arguments.name
        shutil.rmtree(folder, ignore_errors=True)
        one = write_files(folder, ATOM_CARD, one, halved((arguments.net / NETWORK).read_bytes()))
        (folder / "README.md").write_text(model_card(one), "utf-8")
        print(folder)
        return
    card = read_patch_card(arguments.net) if is_patch_net(arguments.net) else read_card(arguments.net)
    card = replace(
        card,
        name=arguments.name,
        training=dict(card.training) | command,
        figures=figures(card, *measured[:3]),
    )
    folder = SHIPPED / arguments.name
    shutil.rmtree(folder, ignore_errors=True)
    card = write_folder(folder, card, halved((arguments.net / NETWORK).read_bytes()))
    (folder / "README.md").write_text(model_card(card), "utf-8")
    print(folder)


if __name__ == "__main__":
    main()
