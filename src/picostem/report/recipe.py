"""How to make a result again: the command line and the Python that do it."""

from __future__ import annotations

import shlex
from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from picostem.resolve.result import Result


def command_line(result: Result) -> str | None:
    """The command, quoted for a shell; None for an image that came from no file."""
    if result.image.path is None:
        return None
    path = str(result.image.path)
    # A name that begins with a minus sign would be taken for an option.
    words = ["picostem", "resolve", f"./{path}" if path.startswith("-") else path]
    words += ["--material", result.settings.material]
    for name, value in _changed(result):
        # The unit that ends a field's name is left out: --window, --pixel-size.
        option = name.rsplit("_", 1)[0] if "_" in name else name
        values = value if isinstance(value, tuple) else (value,)
        words += ["--" + option.replace("_", "-")]
        words += [f"{one:g}" if isinstance(one, float) else str(one) for one in values]
    return shlex.join(words)


def python_code(result: Result) -> str:
    """A script that resolves the image with the same settings; without a file, `image` is the array or `Image`."""
    image = "image" if result.image.path is None else repr(str(result.image.path))
    arguments = [image, repr(result.settings.material), *(f"{name}={value!r}" for name, value in _changed(result))]
    lines = ["import picostem", "", f"result = picostem.resolve({', '.join(arguments)})", "print(result)"]
    return "\n".join(lines)


def _changed(result: Result) -> list[tuple[str, Any]]:
    """Settings other than the material that are not at their default."""
    settings = result.settings
    given = [(f.name, getattr(settings, f.name), f.default) for f in fields(settings) if f.name != "material"]
    return [(name, value) for name, value, default in given if value != default]
