"""Defects of a monolayer told by the blobs of a network's output layer alone, without a fit: the published way.

Blobs are described by what every channel of the network says of them and sorted by a Gaussian mixture (Ziatdinov et
al., arXiv 1801.05133). What each class of blobs is, a person says: here the truth of most of its blobs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from picostem.atoms.blobs import sort_blobs
from picostem.atoms.predict import AtomNet
from picostem.atoms.settings import FINDER, SITES
from picostem.bench.atoms_case import AtomCase, load_atom_cases
from picostem.bench.atoms_score import INNER, Calls, matched
from picostem.bench.table import Table
from picostem.errors import DataError
from picostem.image import Image


@dataclass(frozen=True, eq=False)
class InspectionReport:
    """What blobs say of the sites of all images, by the share of the full dose, and detections of the finder with their
    probabilities of being atoms, in all images."""

    network: str
    said: dict[float, Calls]
    found: dict[float, Calls]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "network": self.network,
            "doses": [
                {
                    "share": share,
                    "macro_f1": calls.macro_f1,
                    "f1": {name: calls.f1(name) for name in calls.classes},
                    "detections": len(self.found[share].true),
                    "detections_ece": self.found[share].ece,
                }
                for share, calls in self.said.items()
            ],
        }

    def tables(self) -> list[Table]:
        """For people."""
        names = next(iter(self.said.values())).classes
        rows = tuple(
            (f"1/{1 / share:.3g}", *(f"{calls.f1(name):.3f}" for name in names), f"{calls.macro_f1:.3f}")
            for share, calls in self.said.items()
        )
        sure = tuple(
            (f"1/{1 / share:.3g}", f"{len(one.true)}", f"{np.mean(one.true == one.called):.4f}", f"{one.ece:.4f}")
            for share, one in self.found.items()
        )
        return [
            Table("Species by the network's output alone, F1", ("dose", *names, "macro"), rows),
            Table("Detections of the finder and their probabilities", ("dose", "detections", "right", "ECE"), sure),
        ]


def measure(
    folder: Path, doses: Sequence[float], seed: int, progress: Callable[[str, int, int], None], weights: str = SITES
) -> InspectionReport:
    """Sort the blobs of all images of a folder whose crystal is known.

    Args:
        doses: shares of the full one. weights: a network with classes.

    Raises:
        FileError: the folder holds no cases. DataError: none of a known crystal, or a network that cannot be used.
    """
    net, finder, every = AtomNet.load(weights), AtomNet.load(FINDER), load_atom_cases(folder)
    cases = [case for case in every if case.crystal is not None and not Path(case.crystal).suffix]
    if not cases:
        raise DataError(f"{folder}: no images of a built-in material: make some with benchmarks/atoms_set.py")
    said, found = {}, {}
    for index, share in enumerate(doses):
        progress(f"inspection at 1/{1 / share:.3g}", index, len(doses))
        said[share] = Calls.joined([inspected(case, case.recorded(share, seed), net) for case in cases])
        found[share] = Calls.joined([detected(case, case.recorded(share, seed), finder) for case in every])
    return InspectionReport(net.card.name, said, found)


def detected(case: AtomCase, image: Image, net: AtomNet) -> Calls:
    """What a network finds in an image, with the probability that it is an atom, and whether it is."""
    output = net.look(image).detections()
    far = INNER / case.pixel - 0.5
    inner = np.all((output.place > far) & (output.place < np.array(image.data.shape) - 1 - far), axis=1)
    place = output.place[inner]
    right = np.full(len(place), "nothing")
    right[matched(place, case.place[case.species != ""], case.reach)[0]] = "atom"
    return Calls(right, np.full(len(place), "atom"), output.score[inner])


def inspected(case: AtomCase, image: Image, net: AtomNet) -> Calls:
    """What the blobs of an image say of its sites; a site without a blob is called empty."""
    blobs = net.look(image).blobs()
    classes = sort_blobs(blobs)
    i, j = matched(np.column_stack([blobs.row, blobs.col]), case.place, case.reach)
    truth = case.truth_class
    names = np.array([_commonest(truth[j[classes.label[i] == k]]) for k in range(len(classes.classes))])
    called = np.array([f"no {site}" for site in case.site], dtype="U32")
    called[j] = names[classes.label[i]]
    inner = case.inside(INNER)
    return Calls(truth[inner], called[inner], np.full(int(inner.sum()), np.nan))


def _commonest(names: np.ndarray[Any, np.dtype[np.str_]]) -> str:
    if not len(names):
        return "nothing"
    found, count = np.unique(names, return_counts=True)
    return str(found[count.argmax()])
