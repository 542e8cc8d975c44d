"""Training of a network that finds atoms, on scenes that are drawn as it goes."""

from __future__ import annotations

import contextlib
import json
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import optimize
from scipy.spatial import cKDTree
from torch import Tensor, nn

from picostem.atoms.card import CARD, AtomCard
from picostem.atoms.examples import ONE_CLASS, Examples, varied
from picostem.atoms.network import AtomNetwork, AtomNetworkConfig, Maps, Said, loss_of
from picostem.atoms.predict import Detections, decode
from picostem.atoms.reading import PIXEL_A, Reading
from picostem.atoms.scene import Scene, draw_scene
from picostem.atoms.settings import AtomSettings, ScenePlan
from picostem.atoms.specimens import KINDS, VACANCY, chosen_planes
from picostem.errors import DataError, UsageError
from picostem.net_folder import write_folder
from picostem.onnx_file import traced
from picostem.training import Progress, device_of, has_bfloat16, run, warmed_up

FloatArray = NDArray[np.float64]

FORM = "picostem.atom-training/1"
NET = "net"
"""Folder of the network inside that of its training."""
REACH = 2.5
"""Pixels, half an Å, from an atom up to which a detection is of it."""
THRESHOLDS = tuple(round(0.1 + 0.05 * i, 2) for i in range(15))
FAINTEST = 0.1
"""Output from which detections are looked at to calibrate it."""
VIEWS = 4
"""Patches of a scene, which takes longer to draw than to learn from."""
AHEAD = 3
"""Batches that are drawn before they are needed."""
AXES = {0: "images", 2: "rows", 3: "columns"}


@dataclass(frozen=True, eq=False)
class Patch:
    """A patch of a scene as the network reads it, shape (side, side), and the truth in its pixels, as in `Scene`."""

    data: NDArray[np.float32]
    place: FloatArray
    kind: NDArray[np.int64]
    sure: NDArray[np.bool_]
    maps: Maps


def draw_views(settings: AtomSettings, plan: ScenePlan, seed: int, example: Scene | None = None) -> list[Patch]:
    """VIEWS patches of a random scene or example, mirrored or not, each with a pixel size that is roughly known."""
    rng = np.random.default_rng(seed)
    scene = draw_scene(rng, plan) if example is None else varied(example, rng, (settings.side + 1) * PIXEL_A)
    return [patch_of(mirrored(scene, rng), settings, rng) for _ in range(VIEWS)]


def mirrored(scene: Scene, rng: np.random.Generator) -> Scene:
    """A scene with its rows or columns reversed, both or none."""
    back = rng.random(2) < 0.5
    axes = tuple(int(axis) for axis in np.flatnonzero(back))
    place = np.where(back, np.array(scene.data.shape) - 1 - scene.place, scene.place)
    return replace(scene, data=np.flip(scene.data, axes), place=place)


def patch_of(scene: Scene, settings: AtomSettings, rng: np.random.Generator) -> Patch:
    """A random patch of a scene, resampled by a pixel size that is off by `settings.misjudged`.

    Raises:
        UsageError: the scene is smaller than the patch.
    """
    largest = min(scene.data.shape) / (settings.side + 1)  # one more, which binning may take away
    if largest * scene.pixel_size < PIXEL_A:
        size = min(scene.data.shape) * scene.pixel_size
        raise UsageError(f"a scene of {size:.1f} Å holds no patch of {settings.side} pixels: draw larger ones")
    step = PIXEL_A / scene.pixel_size * math.exp(settings.misjudged * rng.standard_normal())
    reading = Reading.resampled(scene.data, np.full(2, min(step, largest)))
    room = np.array(reading.data.shape) - settings.side
    corner = rng.integers(0, room + 1)
    data = reading.data[corner[0] : corner[0] + settings.side, corner[1] : corner[1] + settings.side]
    place = reading.place_from_image(scene.place) - corner
    inside = np.all((place > -0.5) & (place < settings.side - 0.5), axis=1)
    kind = scene.kind
    if settings.classes == 1:
        inside &= kind != VACANCY
        kind = np.zeros_like(kind)
    truth = place[inside], kind[inside], scene.sure[inside]
    shape = (settings.side, settings.side)
    return Patch(np.ascontiguousarray(data), *truth, Maps.of(*truth, shape, settings.classes))


Draw = Callable[[np.random.Generator, int], list[Patch]]


@contextlib.contextmanager
def drawing(settings: AtomSettings, plan: ScenePlan, workers: int, examples: Examples | None = None) -> Iterator[Draw]:
    """A function that draws patches, by so many processes beside this one; what it draws is the same for any number."""
    one, part = partial(draw_views, settings, plan), partial(_part_of, examples, plan.extent_A)
    if workers == 0:
        yield lambda rng, count: _flat((one(seed, part(seed)) for seed in _seeds(rng, count)), count)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting: deque[tuple[list[int], list[Future[list[Patch]]]]] = deque()

        def draw(rng: np.random.Generator, count: int) -> list[Patch]:
            coming = deepcopy(rng)
            for seeds, _ in waiting:  # those that are drawn already must be those that this generator asks for
                if seeds != _seeds(coming, count):
                    waiting.clear()
                    coming = deepcopy(rng)
                    break
            while len(waiting) <= AHEAD:
                seeds = _seeds(coming, count)
                waiting.append((seeds, [pool.submit(one, seed, part(seed)) for seed in seeds]))
            _seeds(rng, count)
            return _flat((future.result() for future in waiting.popleft()[1]), count)

        yield draw


def _part_of(examples: Examples | None, extent_A: float, seed: int) -> Scene | None:
    """What a seed shows of an example, larger than a scene by as much as a turn takes; None for a drawn scene."""
    rng = np.random.default_rng([seed, 1])  # what draws a scene from the same seed has random numbers of its own
    if examples is None or rng.random() >= examples.share:
        return None
    return examples.draw(rng, math.sqrt(2) * extent_A)


def _seeds(rng: np.random.Generator, count: int) -> list[int]:
    """Of the scenes for so many patches."""
    return [int(seed) for seed in rng.integers(2**63, size=-(-count // VIEWS))]


def _flat(views: Iterable[list[Patch]], count: int) -> list[Patch]:
    return list(chain.from_iterable(views))[:count]


@dataclass
class AtomLearning:
    """What a training changes as it goes, and what it is measured with.

    Attributes:
        network: that learns. rng: for batches. validation: patches that none of the batches has. step: how many steps
            have been made.
    """

    settings: AtomSettings
    network: AtomNetwork
    optimiser: torch.optim.Optimizer
    rng: np.random.Generator
    validation: list[Patch]
    device: torch.device
    step: int = 0

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The network, as its checkpoint names it."""
        return {"network": self.network}


def start(draw: Draw, settings: AtomSettings, seed: int, device: str) -> AtomLearning:
    """A training before its first step; every random number in it follows from the seed.

    Raises:
        UsageError: a device that is not there.
    """
    place = device_of(device)
    weights, validation, batches = np.random.SeedSequence(seed).spawn(3)
    patches = draw(np.random.default_rng(validation), settings.validation)
    with torch.random.fork_rng(devices=[]):  # initial weights come from torch's global generator only
        torch.manual_seed(int(weights.generate_state(1)[0]))
        network = AtomNetwork(AtomNetworkConfig(settings.classes, settings.width, settings.blocks)).to(place)
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    return AtomLearning(settings, network, optimiser, np.random.default_rng(batches), patches, place)


def learn_atoms(
    settings: AtomSettings,
    plan: ScenePlan,
    folder: Path,
    *,
    name: str,
    seed: int = 0,
    licence: str = "",
    device: str = "auto",
    threads: int | None = None,
    workers: int = 0,
    progress: Progress | None = None,
    resume: bool = True,
    examples: Examples | None = None,
) -> AtomCard:
    """Train a network, choose its threshold, and write it into `folder`/net; a training that was stopped goes on.

    The folder keeps its state and its losses, see `picostem.training.run`.

    Args:
        name, licence: of the network, for its card.
        device: "auto" takes a graphics processor where there is one. threads: of the processor; None leaves them.
        workers: processes that draw scenes beside the training.
        progress, resume: as in `picostem.training.run`.
        examples: to learn from, alone or beside drawn scenes, and to be measured with, see `Examples.parted`.

    Returns:
        the network's card, with its figures on the validation patches.

    Raises:
        UsageError: a device that is not there, a checkpoint of another training, a number of classes that there is not,
            or an example smaller than a patch.
        FileError, StructureError: a structure file cannot be used.
        DataError: a damaged checkpoint, or losses that are not finite.
        OutputError: the folder cannot be written.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    chosen_planes(plan.crystals)  # what is wrong with them is said now
    classes = _classes(settings, examples)
    identity = json.loads(json.dumps({"settings": settings.as_dict(), "plan": asdict(plan), "seed": seed}))
    seen, unseen = examples, examples
    if examples is not None:
        identity["examples"] = {"sha256": examples.sha256, "share": examples.share}
        seen, unseen = examples.parted()
        unseen = replace(unseen, share=1.0)
    with drawing(settings, plan, 0, unseen) as draw:
        learning = start(draw, settings, seed, device)
    with drawing(settings, plan, workers, seen) as draw:
        run(
            learning,
            settings,
            draw,
            one_step,
            validate,
            folder,
            identity=identity,
            form=FORM,
            progress=progress,
            resume=resume,
        )
    figures = {at: scores_of(learning, at) for at in THRESHOLDS}
    best = max(figures, key=lambda at: figures[at]["f1"])
    sure = calibration_of(learning)
    training = {**identity, "licence": licence}
    measured = "scenes" if examples is None else "examples"
    card = AtomCard(name, classes, best, sure, training=training, figures={measured: figures[best]})
    return export_atom_net(learning.network, card, folder / NET)


def _classes(settings: AtomSettings, examples: Examples | None) -> tuple[str, ...]:
    """Their names; raises UsageError where there are not so many, or an example holds no patch."""
    if examples is not None and examples.side < settings.side:
        raise UsageError(f"the smallest example holds patches of {examples.side} pixels, not {settings.side}: drop it")
    told = KINDS if examples is None else examples.classes
    if settings.classes not in (1, len(told)):
        raise UsageError(f"expected 1 class of atoms or {len(told)} ({', '.join(told)}), got {settings.classes}")
    return told if settings.classes > 1 else ONE_CLASS


def export_atom_net(network: AtomNetwork, card: AtomCard, folder: Path) -> AtomCard:
    """Write a trained network and its card, all or nothing; a network for atoms that is there is replaced.

    The ONNX file takes `image` (b, 1, rows, columns) to `heat` and `offset`, for sides that are multiples of 4.

    Returns:
        the card, with the hash of the network.

    Raises:
        UsageError: the card is of another network.
        OutputError: the folder is a file, holds other things than a network, or cannot be written.
    """
    if network.config.classes != len(card.classes):
        raise UsageError(f"expected a card of {network.config.classes} classes, got {len(card.classes)}")
    content = traced(Said(network), torch.randn(2, 1, 32, 40), "image", ["heat", "offset"], AXES)
    return write_folder(folder, CARD, card, content)


def one_step(learning: AtomLearning, patches: list[Patch]) -> dict[str, float]:
    """Train on some patches once; returns the losses, unweighted.

    Raises:
        DataError: losses that are not finite.
    """
    settings = learning.settings
    for group in learning.optimiser.param_groups:
        group["lr"] = settings.learning_rate * warmed_up(learning.step, settings.steps, settings.warm_up)
    learning.network.train()
    with torch.autocast(learning.device.type, dtype=torch.bfloat16, enabled=has_bfloat16(learning.device)):
        logits, offset = learning.network(_images(learning, patches))
    of_heat, of_offset = loss_of(logits.float(), offset.float(), _wanted(learning, patches))
    loss = of_heat + settings.offset_weight * of_offset
    learning.step += 1
    if not math.isfinite(float(loss.detach())):
        raise DataError(f"the training diverged at step {learning.step}: take another seed or a lower rate")
    learning.optimiser.zero_grad()
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(learning.network.parameters(), settings.clip)
    learning.optimiser.step()
    return {"loss": float(of_heat.detach()), "offset_loss": float(of_offset.detach())}


def validate(learning: AtomLearning) -> dict[str, float]:
    """How well atoms of the validation patches are found, at an even threshold."""
    return {f"validation_{name}": value for name, value in scores_of(learning, 0.35).items()}


@torch.no_grad()
def scores_of(learning: AtomLearning, threshold: float) -> dict[str, float]:
    """Recall, precision, F1 and rms error, Å, of atoms found in the validation patches."""
    counts, squares = np.zeros(3), 0.0
    for patch, found in _detected(learning, threshold):
        counted, error = compared(found, patch)
        counts += counted
        squares += error
    hits, missed, false = counts.tolist()
    return {
        "recall": hits / max(hits + missed, 1),
        "precision": hits / max(hits + false, 1),
        "f1": 2 * hits / max(2 * hits + missed + false, 1),
        "rms_A": PIXEL_A * math.sqrt(squares / max(hits, 1)),
    }


@torch.no_grad()
def calibration_of(learning: AtomLearning) -> tuple[float, float]:
    """Slope and offset of the log odds of being right in those of the output, by logistic regression on the validation
    patches (Platt, Advances in Large Margin Classifiers (2000) 61); detections of unsure atoms are left out."""
    output, right = [], []
    for patch, found in _detected(learning, FAINTEST):
        hit, counted = _hits(found, patch)
        output.append(found.score[counted])
        right.append(hit[counted])
    p, true = np.clip(np.concatenate(output), 1e-6, 1 - 1e-6), np.concatenate(right)
    if true.all() or not true.any():
        return 1.0, 0.0
    odds = np.log(p / (1 - p))

    def loss(line: FloatArray) -> float:
        return float(np.logaddexp(0, np.where(true, -1, 1) * (line[0] * odds + line[1])).sum())

    slope, offset = optimize.minimize(loss, [1.0, 0.0]).x.tolist()
    return slope, offset


def _detected(learning: AtomLearning, threshold: float) -> Iterator[tuple[Patch, Detections]]:
    """What is found in each of the validation patches."""
    learning.network.eval()
    for first in range(0, len(learning.validation), learning.settings.batch):
        patches = learning.validation[first : first + learning.settings.batch]
        logits, offset = learning.network(_images(learning, patches))
        said = zip(patches, torch.sigmoid(logits).cpu().numpy(), offset.cpu().numpy(), strict=True)
        yield from ((patch, decode(heat, away, threshold)) for patch, heat, away in said)


def compared(found: Detections, patch: Patch) -> tuple[tuple[int, int, int], float]:
    """How many sure atoms were found, were missed, and detections of nothing; the sum of squared distances, pixels².

    One of the wrong class is both a miss and a detection of nothing. Pairs are those that are each other's nearest
    within REACH. What is paired with an unsure atom counts neither way.
    """
    hit, counted = _hits(found, patch)
    away = cKDTree(patch.place).query(found.place[hit])[0] if hit.any() else np.zeros(0)
    false = int(np.sum(~hit & counted))
    return (int(hit.sum()), int(patch.sure.sum() - hit.sum()), false), float(np.sum(away**2))


def _hits(found: Detections, patch: Patch) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Detections that are sure atoms, and those that count: hits, and those that are not beside an unsure atom."""
    if not len(found) or not len(patch.place):
        return np.zeros(len(found), dtype=bool), np.ones(len(found), dtype=bool)
    distance, atom = cKDTree(patch.place).query(found.place)
    back = cKDTree(found.place).query(patch.place)[1]
    paired = (distance <= REACH) & (back[atom] == np.arange(len(found)))
    hit = paired & patch.sure[atom] & (found.kind == patch.kind[atom])
    unsure = cKDTree(patch.place[~patch.sure]) if not patch.sure.all() else None
    beside = unsure.query(found.place)[0] <= REACH if unsure is not None else np.zeros(len(found), dtype=bool)
    return hit, hit | ~beside


def _images(learning: AtomLearning, patches: list[Patch]) -> Tensor:
    return torch.from_numpy(np.stack([patch.data for patch in patches])[:, None]).to(learning.device)


def _wanted(learning: AtomLearning, patches: list[Patch]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The fields of the patches' maps, as the loss takes them."""

    def field(name: str) -> Tensor:
        return torch.from_numpy(np.stack([getattr(patch.maps, name) for patch in patches])).to(learning.device)

    return field("heat"), field("offset"), field("near"), field("counted")
