"""Files are put in place completely or not at all, whatever goes wrong and whenever."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import NoReturn

import pytest

from picostem.errors import OutputError
from picostem.report.place import staged, write_file

OWNED = ("a", "b", "done")
"""Names of a made-up program's files, the last one last."""


def write(folder: Path, *names: str, text: str = "new") -> None:
    with staged(folder, OWNED) as part:
        for name in names:
            (part / name).write_text(text)


def content(folder: Path) -> dict[str, str]:
    """All files below a folder, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A folder with the files of an earlier run and one of somebody else's."""
    folder = tmp_path / "out"
    write(folder, "a", "b", "done", text="old")
    (folder / "notes.txt").write_text("mine")
    return folder


def test_a_new_folder_appears_with_its_parents(tmp_path: Path) -> None:
    write(tmp_path / "x" / "y", "a", "done")
    assert content(tmp_path) == {"x/y/a": "new", "x/y/done": "new"}


def test_a_new_folder_can_be_read_by_whom_the_user_allows(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    write(tmp_path / "out", "a")
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_files_are_replaced_stale_ones_removed_and_foreign_ones_kept(earlier: Path) -> None:
    write(earlier, "a", "done")
    assert content(earlier) == {"a": "new", "done": "new", "notes.txt": "mine"}


@pytest.mark.parametrize("problem", [KeyboardInterrupt(), ValueError("bug"), OSError(errno.ENOSPC, "No space left")])
def test_a_failure_while_writing_changes_nothing(earlier: Path, problem: BaseException) -> None:
    before = content(earlier)

    def fail() -> None:
        with staged(earlier, OWNED) as part:
            (part / "a").write_text("new")
            raise problem

    with pytest.raises(OutputError if isinstance(problem, OSError) else type(problem)):
        fail()
    assert content(earlier) == before
    assert sorted(os.listdir(earlier)) == ["a", "b", "done", "notes.txt"]


@pytest.mark.parametrize(
    # Three old files are moved away before the new ones come.
    ("new", "moves"),
    [(new, moves) for new in (("a", "b", "done"), ("b", "done"), ("a",)) for moves in range(3 + len(new))],
)
def test_a_failure_while_files_are_exchanged_puts_them_back(
    earlier: Path, monkeypatch: pytest.MonkeyPatch, new: tuple[str, ...], moves: int
) -> None:
    before, replace = content(earlier), os.replace
    done: list[Path] = []

    def interrupted(source: Path, target: Path) -> None:
        if len(done) == moves:
            done.append(target)
            raise KeyboardInterrupt
        done.append(target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(earlier, *new)
    assert content(earlier) == before


def test_the_last_file_is_missing_while_files_are_exchanged(earlier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, seen = os.replace, []

    def watched(source: Path, target: Path) -> None:
        replace(source, target)
        seen.append((earlier / "done").exists())

    monkeypatch.setattr(os, "replace", watched)
    write(earlier, "a", "b", "done")
    assert seen == [False] * 5 + [True]


def test_a_failure_leaves_no_new_folder(tmp_path: Path) -> None:
    def fail() -> None:
        with staged(tmp_path / "x" / "y" / "out", OWNED) as part:
            (part / "a").write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert os.listdir(tmp_path) == []


def test_a_file_in_the_folders_place(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="is a file"):
        write(tmp_path / "out", "a")
    with pytest.raises(OutputError, match="out' is a file"):
        write(tmp_path / "out" / "below", "a")
    assert content(tmp_path) == {"out": "mine"}


def test_a_folder_in_a_files_place(earlier: Path) -> None:
    (earlier / "a").unlink()
    (earlier / "a").mkdir()
    (earlier / "a" / "mine").write_text("precious")
    before = content(earlier)
    with pytest.raises(OutputError, match="has a folder 'a'"):
        write(earlier, "a", "b")
    assert content(earlier) == before


def test_messages_are_one_line_without_control_characters(tmp_path: Path) -> None:
    blocker = tmp_path / "two\nlines\x1b"
    blocker.write_text("")
    for path in (blocker, blocker / "below"):
        with pytest.raises(OutputError) as caught:
            write(path, "a")
        assert str(caught.value).isprintable()


def test_write_file_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_file(tmp_path / "r.json", b"1")
    write_file(tmp_path / "r.json", b"2")
    assert content(tmp_path) == {"r.json": "2"}


def test_write_file_follows_links(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_file(tmp_path / "link", b"1")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "1"


def test_write_file_keeps_the_old_one_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "r.json"
    write_file(target, b"old")

    def fail(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        write_file(target, b"new")
    assert content(tmp_path) == {"r.json": "old"}


def test_write_file_says_why_it_cannot(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a folder"):
        write_file(tmp_path, b"1")
    with pytest.raises(OutputError, match="No such file or directory"):
        write_file(tmp_path / "missing" / "r.json", b"1")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_devices_are_written_to_and_stay_devices() -> None:
    write_file(Path("/dev/null"), b"1")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(OutputError, match="No space left on device"):
        write_file(Path("/dev/full"), b"1")
