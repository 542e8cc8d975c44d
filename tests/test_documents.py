"""The documents run: their Python examples, their links, and the commands that others take from them."""

from __future__ import annotations

import re
import runpy
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from picostem.cli import run

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])

if not DOCUMENTS:
    pytest.skip("not run from the repository", allow_module_level=True)


def examples(language: str) -> list[Any]:
    found = [
        (path, code)
        for path in DOCUMENTS
        for code in re.findall(rf"```{language}\n(.*?)```", path.read_text("utf-8"), re.S)
    ]
    return [pytest.param(code, id=f"{path.name} {i}") for i, (path, code) in enumerate(found)]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the example images, where examples may write."""
    for kind in ("images", "atoms"):
        shutil.copytree(ROOT / "examples" / kind, tmp_path / "examples" / kind)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("code", examples("python"))
def test_python_examples_run(code: str) -> None:
    exec(compile(code, "example", "exec"), {"__name__": "example"})


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", path.read_text("utf-8")):
        assert target.startswith("https://") or (path.parent / target).exists(), target


def test_shell_examples_name_commands_and_options_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    texts = "".join((ROOT / name).read_text("utf-8") for name in ("README.md", "docs/style.md", "docs/networks.md"))
    blocks = "".join(re.findall(r"```sh\n(.*?)```", texts, re.S))
    commands = re.findall(r"^(?:\.venv/bin/)?picostem (.*?)(?: +#.*)?$", blocks, re.M)
    assert len(commands) > 5
    for command in commands:
        words = str(command).split()
        assert run([*words[: 2 if words[0] in ("bench", "style", "train") else 1], "--help"]) == 0
        known = capsys.readouterr().out
        assert all(option in known for option in re.findall(r"--[a-z-]+", command)), command


def test_main_job_is_the_command_of_the_readme(elsewhere: Path) -> None:
    command = runpy.run_path(str(ROOT / "scripts" / "readme_command.py"))["command"]
    lines = command("main job", (ROOT / "README.md").read_text("utf-8")).splitlines()
    assert lines[-1].startswith(".venv/bin/picostem ")
    assert run(lines[-1].split()[1:]) == 0
    assert (elsewhere / "ReS2_bilayer" / "report.html").stat().st_size > 1000


def test_commands_for_continuous_integration_are_there_once() -> None:
    command = runpy.run_path(str(ROOT / "scripts" / "readme_command.py"))["command"]
    readme = (ROOT / "README.md").read_text("utf-8")
    assert "pytest" in command("tests", readme)
    with pytest.raises(SystemExit, match="found 0"):
        command("nothing", readme)


def test_scripts_can_be_run() -> None:
    for path in (ROOT / ".ci" / "run", ROOT / "scripts" / "check"):
        assert path.stat().st_mode & stat.S_IXUSR


def test_picture_and_example_images_are_small() -> None:
    assert (ROOT / "docs" / "images" / "ReS2_bilayer.png").stat().st_size < 400e3
    images = list((ROOT / "examples" / "images").glob("*.tif"))
    assert len(images) >= 3
    assert all(path.stat().st_size < 1e6 and path.with_suffix(".json").is_file() for path in images)


def test_the_version_is_the_same_everywhere() -> None:
    from picostem import __version__

    assert f"version: {__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")
