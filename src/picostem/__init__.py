"""picostem: atomic structure at van der Waals interfaces from one electron-microscope image, with error bars."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from picostem.version import VERSION as __version__

if TYPE_CHECKING:
    from picostem.files import from_array, from_hyperspy, list_datasets, read_image, read_images
    from picostem.image import Image
    from picostem.pipeline import resolve
    from picostem.resolve.result import Result
    from picostem.resolve.settings import Settings
    from picostem.structure import Monolayer, Stack, load_materials, load_monolayer, material_names

_HOMES = {
    "Image": "picostem.image",
    "Monolayer": "picostem.structure",
    "Result": "picostem.resolve.result",
    "Settings": "picostem.resolve.settings",
    "Stack": "picostem.structure",
    "from_array": "picostem.files",
    "from_hyperspy": "picostem.files",
    "list_datasets": "picostem.files",
    "load_materials": "picostem.structure",
    "load_monolayer": "picostem.structure",
    "material_names": "picostem.structure",
    "read_image": "picostem.files",
    "read_images": "picostem.files",
    "resolve": "picostem.pipeline",
}

__all__ = [
    "Image",
    "Monolayer",
    "Result",
    "Settings",
    "Stack",
    "__version__",
    "from_array",
    "from_hyperspy",
    "list_datasets",
    "load_materials",
    "load_monolayer",
    "material_names",
    "read_image",
    "read_images",
    "resolve",
]


def __getattr__(name: str) -> Any:
    """Import public names when they are first used, so that `import picostem` and `picostem --help` are instant."""
    if name not in _HOMES:
        raise AttributeError(f"module 'picostem' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


class _Package(ModuleType):
    """This package. `picostem.resolve` stays the function when the subpackage of that name is imported."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
