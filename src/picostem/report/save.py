"""The files that a result leaves behind, all of them or none."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from picostem.errors import OutputError
from picostem.report.contents import FILES, written_files
from picostem.report.place import staged, write_file

if TYPE_CHECKING:
    from picostem.resolve.result import Result


def save_result(result: Result, folder: str | Path) -> Path:
    """Write all files of a result into a folder, which is made if there is none; returns the folder.

    The files of an earlier run are replaced, and those that do not apply to this result removed; anything else in the
    folder is left alone. An interrupt or error leaves the folder as it was.

    Raises:
        OutputError: the folder is a file, cannot be written to, or the disk is full.
    """
    folder = Path(folder).expanduser()
    with staged(folder, tuple(FILES)) as part:
        _write_data(result, part)
        _write_pictures(result, part)
    return folder


def write_json(result: Result, target: str | Path) -> None:
    """Write result.json alone; `-` is standard output.

    Raises:
        OutputError: the file cannot be written, or standard output was closed.
    """
    if str(target) != "-":
        write_file(Path(target).expanduser(), _json_bytes(result))
        return
    try:
        # Plain ASCII, because a terminal or pipe may have any encoding.
        sys.stdout.write(json.dumps(result.as_dict(), indent=2, allow_nan=False) + "\n")
        sys.stdout.flush()
    except OSError as error:
        raise OutputError(f"cannot write to standard output: {error.strerror}") from error


def _json_bytes(result: Result) -> bytes:
    text = json.dumps(result.as_dict(), indent=2, ensure_ascii=False, allow_nan=False)
    # Half characters, which a path can hold, become \udc80, which is JSON's own way to write them.
    return (text + "\n").encode("utf-8", "backslashreplace")


def _write_data(result: Result, folder: Path) -> None:
    names = written_files(result)
    if "map.parquet" in names:
        from picostem.report.table import write_map

        write_map(result, folder / "map.parquet")
    if "stack.cif" in names:
        _write_stack(result, folder)
    if "simulated.tif" in names:
        _write_simulated(result, folder / "simulated.tif")
    (folder / "result.json").write_bytes(_json_bytes(result))


def _write_stack(result: Result, folder: Path) -> None:
    """The resolved model: a cell, with what it is in a comment, and a piece."""
    from picostem.report.stacking import cell_model, crystal_piece, resolved_stack
    from picostem.structure import write_structure

    stack = resolved_stack(result.layers)
    cell, path = cell_model(stack), folder / "stack.cif"
    try:
        write_structure(cell.atoms, path)
        write_structure(crystal_piece(stack), folder / "stack.xyz")
    except OutputError as error:
        # Its message names a folder that the user never sees.
        raise error.__cause__ or error from None
    # CIF is plain ASCII.
    comment = f"# picostem: {cell.note}".replace("°", " deg").encode("ascii", "replace")
    path.write_bytes(comment + b"\n" + path.read_bytes())


def _write_pictures(result: Result, folder: Path) -> None:
    from picostem.report.figure import draw_picture, png_bytes, webp_bytes
    from picostem.report.page import render_page

    picture, headline = draw_picture(result)
    with ThreadPoolExecutor(1) as beside:  # the encoders let go of the interpreter
        png = beside.submit(png_bytes, picture)
        page = render_page(result, webp_bytes(picture, headline))
        (folder / "figure.png").write_bytes(png.result())
    (folder / "report.html").write_text(page, "utf-8", "replace")


def _write_simulated(result: Result, path: Path) -> None:
    """The simulated image, float32, with its pixel size in nm as ImageJ keeps it."""
    import tifffile

    from picostem.physics import NM

    size = result.image.pixel_size
    per_nm = None if size is None else (NM / size[1], NM / size[0])
    tifffile.imwrite(path, result.simulated, imagej=True, resolution=per_nm, metadata={"unit": "nm", "axes": "YX"})
