"""Samples in files: shards that are made in order and can be made on, with a manifest that says what they are."""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from picostem.dataset.bank import Bank
from picostem.dataset.plan import Plan
from picostem.dataset.samples import Samples, concatenate, draw
from picostem.errors import FileError, OutputError, UsageError

Progress = Callable[[int, int], None]

FORMAT, MANIFEST = "picostem.dataset/1", "manifest.json"
SHARD = 8192  # samples; 5 MB for 75 harmonics


@dataclass(frozen=True)
class Shard:
    """One file: its name, how many samples it holds, their seed, and the hash of its bytes."""

    file: str
    count: int
    seed: tuple[int, int]
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a folder holds: the plan, the hash of the bank, the shards that are complete."""

    plan: Plan
    bank: str
    shards: tuple[Shard, ...]


def build(plan: Plan, bank: Bank, folder: Path, progress: Progress | None = None, shard: int = SHARD) -> Manifest:
    """Make the samples of a plan, or those that are still missing; a shard's samples depend on its number alone.

    Args:
        progress: called with the number of samples done and in all.
        shard: samples in a file.

    Raises:
        UsageError: the folder holds another plan's samples, or those of another bank.
        FileError: what is there is damaged. OutputError: the folder cannot be written.
    """
    manifest = Manifest(plan, bank_hash(bank), ())
    if (folder / MANIFEST).exists():
        there = read_manifest(folder)
        if (there.plan, there.bank) != (manifest.plan, manifest.bank) or any(
            one.count != shard for one in there.shards[:-1]
        ):
            raise UsageError(
                f"{folder} holds samples of another plan, bank or shard size: choose an empty folder, or take theirs"
            )
        for one in there.shards:
            _content(folder, one)
        manifest = there
    done = sum(one.count for one in manifest.shards)
    while done < plan.count:
        number = len(manifest.shards)
        size, seed = min(shard, plan.count - done), (plan.seed, number)
        content = _packed(draw(plan, bank, np.random.default_rng(seed), size))
        made = Shard(f"shard_{number:05d}.npz", size, seed, hashlib.sha256(content).hexdigest())
        _write(folder / made.file, content)
        manifest = Manifest(plan, manifest.bank, (*manifest.shards, made))
        _write(folder / MANIFEST, _document(manifest))
        done += size
        if progress is not None:
            progress(done, plan.count)
    return manifest


def read(folder: Path) -> Samples:
    """All samples of a folder, each shard's hash verified.

    Raises:
        FileError: missing, not complete, damaged, or changed since it was made.
    """
    manifest = read_manifest(folder)
    done = sum(one.count for one in manifest.shards)
    if done < manifest.plan.count:
        raise FileError(f"{folder} holds {done} of {manifest.plan.count} samples: build it to its end")
    return concatenate(list(shards(folder)))


def shards(folder: Path) -> Iterator[Samples]:
    """The samples of each shard that is there, in order, its hash verified; raises as `read` does."""
    for one in read_manifest(folder).shards:
        with np.load(io.BytesIO(_content(folder, one)), allow_pickle=False) as file:
            yield Samples(**{field.name: file[field.name] for field in fields(Samples)})


def read_manifest(folder: Path) -> Manifest:
    """What a folder says it holds.

    Raises:
        FileError: there is no manifest, or it is not one.
    """
    path = folder / MANIFEST
    try:
        document = json.loads(path.read_bytes())
        if document["format"] != FORMAT:
            raise FileError(f"{path} has format {document['format']}; expected {FORMAT}: make the samples anew")
        found = [Shard(**{**one, "seed": tuple(one["seed"])}) for one in document["shards"]]
        if any(Path(one.file).name != one.file for one in found):
            raise FileError(f"{path} names files of other folders: do not use it")
        return Manifest(Plan.from_dict(document["plan"]), str(document["bank"]), tuple(found))
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}; expected a folder of samples") from error
    except (ValueError, KeyError, TypeError) as error:
        raise FileError(f"{path} is damaged ({error}): make the samples anew") from error


def bank_hash(bank: Bank) -> str:
    """SHA-256 of the numbers of a bank."""
    found = hashlib.sha256(f"{bank.material} {bank.antiparallel}".encode())
    for values in (
        bank.cell,
        bank.hk,
        bank.pairs,
        bank.sites,
        bank.mean,
        bank.q,
        bank.kernels,
        bank.factors,
        bank.conditions,
    ):
        found.update(f"{values.shape} {values.dtype}".encode())
        found.update(np.ascontiguousarray(values).tobytes())
    return found.hexdigest()


def _packed(samples: Samples) -> bytes:
    stream = io.BytesIO()
    values: dict[str, Any] = {field.name: getattr(samples, field.name) for field in fields(samples)}
    np.savez(stream, **values)
    return stream.getvalue()


def _document(manifest: Manifest) -> bytes:
    listed = [{field.name: getattr(one, field.name) for field in fields(Shard)} for one in manifest.shards]
    document = {"format": FORMAT, "plan": manifest.plan.as_dict(), "bank": manifest.bank, "shards": listed}
    return (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()


def _content(folder: Path, shard: Shard) -> bytes:
    """The bytes of a shard.

    Raises:
        FileError: missing, or not those that the manifest knows.
    """
    path = folder / shard.file
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}; make the samples anew") from error
    if hashlib.sha256(content).hexdigest() != shard.sha256:
        raise FileError(f"{path} is not what the manifest says: it was changed or cut off; make the samples anew")
    return content


def _write(path: Path, content: bytes) -> None:
    """Write beside the path, then move: a reader never sees half a file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            beside.write_bytes(content)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}; choose another folder") from error
