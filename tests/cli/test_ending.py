"""How the command line ends when something breaks: full disks, closed pipes, interrupts, unforeseen errors."""

from __future__ import annotations

import errno
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.cli.conftest import FILES, RES2, Run

PICOSTEM = (sys.executable, "-m", "picostem")


def raising(error: BaseException) -> Any:
    def fail(*_: Any, **__: Any) -> NoReturn:
        raise error

    return fail


@pytest.mark.usefixtures("instant")
class TestWriting:
    @pytest.mark.parametrize("folder", ["new", "old"])
    @pytest.mark.parametrize(
        ("error", "code", "said"),
        [
            (OSError(errno.ENOSPC, "No space left on device"), 1, "No space left on device"),
            (KeyboardInterrupt(), 130, "interrupted"),
            (MemoryError(), 1, "not enough memory"),
        ],
        ids=["full disk", "interrupt", "memory"],
    )
    def test_nothing_half_written(
        self,
        picostem: Run,
        image_file: Path,
        monkeypatch: pytest.MonkeyPatch,
        error: BaseException,
        code: int,
        said: str,
        folder: str,
    ) -> None:
        Path("old").mkdir()
        Path("old/result.json").write_text("before")
        # The page is written last, when all other files are there.
        monkeypatch.setattr("picostem.report.page.render_page", raising(error))
        ended = picostem("resolve", image_file, *RES2, "--out", folder)
        assert ended.code == code
        assert said in ended.complaint
        assert [p.name for p in Path().iterdir()] == ["old"]
        assert [p.name for p in Path("old").iterdir()] == ["result.json"]
        assert Path("old/result.json").read_text() == "before"

    def test_interrupt_while_files_are_put_in_place(
        self, picostem: Run, image_file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Path("old").mkdir()
        for name in FILES:
            Path("old", name).write_text("before")
        moved: list[str] = []
        replace = os.replace

        def interrupted_once(source: Any, target: Any) -> None:
            moved.append(str(target))
            if len(moved) == 10:
                raise KeyboardInterrupt
            replace(source, target)

        monkeypatch.setattr(os, "replace", interrupted_once)
        ended = picostem("resolve", image_file, *RES2, "--out", "old")
        assert ended.code == 130
        assert len(moved) > 10
        assert sorted(p.name for p in Path("old").iterdir()) == sorted(FILES)
        assert {Path("old", name).read_text() for name in FILES} == {"before"}

    def test_interrupt_keeps_the_files_of_images_that_are_done(
        self, picostem: Run, image_file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from picostem.report import save_result

        def second_time(result: Any, folder: Path) -> Path:
            if folder.name == "other.picostem":
                raise KeyboardInterrupt
            return save_result(result, folder)

        monkeypatch.setattr("picostem.report.save_result", second_time)
        Path("other.tif").write_bytes(image_file.read_bytes())
        ended = picostem("resolve", image_file, "other.tif", *RES2, "--json", "all.json", "--out", "all")
        assert ended.code == 130
        assert [p.name for p in Path("all").iterdir()] == ["bilayer.picostem"]
        assert not Path("all.json").exists()

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
    def test_full_device(self, picostem: Run, image_file: Path) -> None:
        ended = picostem("resolve", image_file, *RES2, "--json", "/dev/full")
        assert ended.code == 1
        assert "No space left on device" in ended.err.splitlines()[-1]


def test_interrupt_while_computing(picostem: Run, image_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picostem.pipeline.power_spectrum", raising(KeyboardInterrupt()))
    ended = picostem("resolve", image_file, *RES2)
    assert ended.code == 130
    assert "interrupted" in ended.complaint
    assert list(Path().iterdir()) == []


def test_out_of_memory(picostem: Run, image_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picostem.pipeline.power_spectrum", raising(MemoryError()))
    ended = picostem("resolve", image_file, *RES2)
    assert ended.code == 1
    assert "not enough memory" in ended.complaint


def test_an_unforeseen_error_is_one_line(picostem: Run, image_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picostem.pipeline.power_spectrum", raising(ZeroDivisionError("by\nzero")))
    ended = picostem("resolve", image_file, *RES2)
    assert ended.code == 1
    assert ended.err.count("\n") == 1
    assert "ZeroDivisionError: by zero" in ended.err
    monkeypatch.setenv("PICOSTEM_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        picostem("resolve", image_file, *RES2)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_standard_output_that_is_full() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*PICOSTEM, "materials"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "picostem: cannot write to standard output: No space left on device\n"


def test_standard_output_that_is_closed() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*PICOSTEM, "materials"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.returncode == 1
    assert done.stderr == ""


def test_help_loads_nothing_heavy() -> None:
    """What makes `picostem --help` fast is what it does not import; a clock would measure other programs, too."""
    program = (
        "import sys; from picostem.cli import run; code = run(['--help']); "
        "heavy = {'numpy', 'scipy', 'matplotlib', 'rich', 'ase', 'pyarrow'} & set(sys.modules); "
        "sys.exit(code or (str(heavy) if heavy else 0))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "resolve" in done.stdout


def test_progress_bar_only_on_a_terminal(image_file: Path, tmp_path: Path) -> None:
    controller, terminal = pty.openpty()
    command = [*PICOSTEM, "resolve", str(image_file), *RES2, "--json", str(tmp_path / "result.json")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=terminal) as running:
        os.close(terminal)
        seen = b""
        try:  # read as it goes: a terminal holds a few kB, and a slow run draws its bar more often
            while chunk := os.read(controller, 65536):
                seen += chunk
        except OSError:  # Linux: the other end is closed and all is read
            pass
    os.close(controller)
    assert running.returncode == 0
    assert json.loads((tmp_path / "result.json").read_text("utf-8"))["verdict"] == "slip"
    assert "bilayer.tif: lattice and microscope" in seen.decode()


def test_version_of_the_module_and_of_no_command(picostem: Run) -> None:
    from picostem import __version__

    assert picostem("--version").out == f"picostem {__version__}\n"
    assert "Usage: picostem" in picostem().out
