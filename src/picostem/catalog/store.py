"""A catalog in a folder: Parquet files that are only ever added, and DuckDB to ask them.

    catalog.json                                schema picostem.catalog/1
    images/KEY.parquet                          one row; written last: where it is, all of the result is there
    windows/material=NAME/KEY.parquet
    defects/material=NAME/KEY.parquet
    attached/NAME.parquet                       tables of the user's, with the columns that join them

KEY identifies a result by its content, and each file appears complete or not at all. So any number of runs may add at
once, and adding a result twice changes nothing. `pack` puts many small files into a large one, for speed; the keys in
it are those of its images, and a single file with such a key is not read.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from picostem.catalog.rows import SCHEMA, TABLES, Entry, empty, read_entry
from picostem.errors import DataError, FileError, OutputError, PicostemError, UsageError
from picostem.report.place import staged, write_file

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

PACK = "pack-"
"""Packed files begin with this, which is no hexadecimal digit."""

GROUP = 122_880
"""Rows that are read or skipped together: what DuckDB shares out between processors."""

ROWS = 100_000
"""Written at once to a CSV file."""


@dataclass(frozen=True)
class Added:
    """How many results were new and how many there already, and why others could not be used, by folder."""

    new: int
    known: int
    refused: dict[str, PicostemError]


class Catalog:
    """The catalog in a folder, which need not be there yet.

    Raises:
        DataError: the folder is a catalog of another version.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            try:
                schema = json.loads((self.folder / "catalog.json").read_text("utf-8"))["schema"]
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"{self.folder}/catalog.json is damaged ({error}): write {SCHEMA!r} there") from error
            if schema != SCHEMA:
                raise DataError(f"{self.folder} is a catalog of schema {schema!r}; this version reads {SCHEMA}")

    def add(self, folders: Iterable[str | Path], session: str | None = None) -> Added:
        """Add results by the folders that `picostem resolve` and `picostem atoms` left.

        Args:
            session: at the microscope, kept with each row; None takes the name of the folder that the image lay in.

        Raises:
            OutputError: the catalog cannot be written to.
        """
        known, new, old = self.keys(), 0, 0
        refused: dict[str, PicostemError] = {}
        for folder in map(Path, folders):
            try:
                entry = read_entry(folder, session)
            except OutputError:
                raise
            except PicostemError as error:
                refused[str(folder)] = error
                continue
            if entry.key in known:
                old += 1
                continue
            self.write(entry)
            known.add(entry.key)
            new += 1
        return Added(new, old, refused)

    def write(self, entry: Entry) -> None:
        """Put the rows of one result in their places, the image last.

        Raises:
            OutputError: the catalog cannot be written to.
        """
        self._begin()
        for name in sorted(entry.tables, key=lambda name: name == "images"):
            place = self._place(name, entry.material) / f"{entry.key}.parquet"
            _write(entry.tables[name], place)

    def keys(self) -> set[str]:
        """Of all results that are there."""
        packed, _ = self._packs()
        return {path.stem for path in self._files("images") if not path.stem.startswith(PACK)} | packed

    def names(self) -> list[str]:
        """The tables that a query can name."""
        return [*TABLES, *sorted(path.stem for path in self._files("attached"))]

    def query(self, sql: str) -> pa.Table:
        """What SQL (DuckDB's) says of the tables `windows`, `images`, `defects` and those attached.

        The answer is an Arrow table: `.to_pandas()`, `.to_pydict()`, `polars.from_arrow(...)` are the next step. A
        query reads and writes nothing outside the catalog.

        Raises:
            UsageError: the query is wrong; the message is DuckDB's. Or DuckDB is not installed.
            FileError: there is no catalog in the folder.
        """
        try:
            with self.connection() as connection:
                return ask(connection, sql)
        except _duckdb().IOException:  # another run packed the files away
            with self.connection() as connection:
                return ask(connection, sql)

    def arrays(self, sql: str) -> dict[str, NDArray[Any]]:
        """`query`, each column as an array; a null number is NaN."""
        table = self.query(sql)
        return {name: np.asarray(table[name].to_numpy(zero_copy_only=False)) for name in table.column_names}

    @contextlib.contextmanager
    def connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """DuckDB with the tables as views, and no other access to files. Raises as `query`."""
        if not (self.folder / "catalog.json").is_file():
            raise FileError(f"{self.folder} is no catalog: make one with `picostem catalog add {self.folder} RESULT`")
        connection = _duckdb().connect()
        try:
            complete = self._complete()
            for name in TABLES:
                _view(connection, name, sorted(path for path in self._files(name) if path.stem in complete))
            for path in self._files("attached"):
                connection.execute(f'CREATE VIEW "{path.stem}" AS SELECT * FROM read_parquet({_text(path)})')
            connection.execute(f"SET allowed_directories = [{_text(self.folder.resolve())}]")
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            yield connection
        finally:
            connection.close()

    def export(self, path: str | Path, sql: str) -> None:
        """Write what a query says as CSV, piece by piece. Raises as `query`; OutputError: it cannot be written."""
        from pyarrow import csv

        target = Path(path).expanduser()
        with self.connection() as connection, staged(target.parent, (target.name,)) as part:
            reader = asked(connection, sql).to_arrow_reader(ROWS)
            with csv.CSVWriter(part / target.name, reader.schema) as writer:
                for batch in reader:
                    writer.write_batch(batch)

    def attach(self, table: str | Path, on: Sequence[str], name: str | None = None) -> str:
        """Keep a table of the user's (CSV, a row for each image) to be joined; one of the same name is replaced.

        Args:
            on: the columns that it shares with `images`, such as file.
            name: in queries; None takes the file's.

        Returns:
            the name.

        Raises:
            UsageError: the name is taken or no word, or a column is not in both tables.
            FileError: it cannot be read.
        """
        import pyarrow as pa
        from pyarrow import csv

        path = Path(table).expanduser()
        known = path.stem if name is None else name
        if not known.isidentifier() or known in TABLES:
            raise UsageError(
                f"a table cannot be named {known!r}: choose a word other than {', '.join(TABLES)} (--name)"
            )
        try:
            found = csv.read_csv(path)
        except (OSError, pa.ArrowException) as error:
            raise FileError(f"{path} cannot be read as CSV ({error})") from error
        for column in on:
            if column not in found.column_names or column not in TABLES["images"]:
                raise UsageError(
                    f"--on {column}: expected a column that both {path.name} ({', '.join(found.column_names)}) and the "
                    f"catalog's images ({', '.join(TABLES['images'])}) have"
                )
        self._begin()
        _write(
            found.replace_schema_metadata({"picostem.on": json.dumps(list(on))}),
            self._place("attached") / f"{known}.parquet",
        )
        return known

    def joined_on(self, name: str) -> list[str]:
        """The columns that join an attached table to `images`.

        Raises:
            UsageError: there is no such table.
        """
        from pyarrow import parquet

        path = self.folder / "attached" / f"{name}.parquet"
        if path not in self._files("attached"):
            attached = ", ".join(self.names()[len(TABLES) :]) or "none"
            raise UsageError(f"no table {name!r} is attached (there is {attached}): picostem catalog attach")
        return list(json.loads(parquet.read_metadata(path).metadata[b"picostem.on"]))

    def pack(self) -> int:
        """Put the rows of all single files into one file for each table and material; returns how many results.

        Queries give the same before, during and after it, and wherever it is interrupted.

        Raises:
            OutputError: another run is packing, or the catalog cannot be written to.
        """
        import fcntl

        self._begin()
        with (self.folder / "pack.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise OutputError(f"{self.folder} is being packed by another run: wait for it") from error
            packed, _ = self._packs()
            singles = [path for path in self._files("images") if not path.stem.startswith(PACK)]
            keys = sorted(path.stem for path in singles if path.stem not in packed)
            if len(keys) > 1:
                self._pack(keys)
            self._remove({path.stem for path in singles})
        return len(keys) if len(keys) > 1 else 0

    def _pack(self, keys: list[str]) -> None:
        name = PACK + hashlib.sha256("".join(keys).encode()).hexdigest()[:32]
        chosen = set(keys)
        for table in sorted(TABLES, key=lambda table: table == "images"):
            places: dict[Path, list[Path]] = {}
            for path in self._files(table):
                if path.stem in chosen:
                    places.setdefault(path.parent, []).append(path)
            for place, paths in places.items():
                _merge(sorted(paths), place / f"{name}.parquet")

    def _remove(self, keys: set[str]) -> None:
        packed, _ = self._packs()
        for table in TABLES:
            for path in self._files(table):
                if path.stem in keys & packed:
                    path.unlink(missing_ok=True)

    def _packs(self) -> tuple[set[str], set[str]]:
        """Keys of the results in packed files, and the names of these files."""
        from pyarrow import parquet

        paths = [path for path in self._files("images") if path.stem.startswith(PACK)]
        found = [parquet.ParquetFile(path).read(["image"])["image"].to_pylist() for path in paths]
        return {key for keys in found for key in keys}, {path.stem for path in paths}

    def _complete(self) -> set[str]:
        """Names of the files to read: packed ones, and single ones of results that are in none of these."""
        packed, names = self._packs()
        return {path.stem for path in self._files("images")} - packed | names

    def _files(self, table: str) -> list[Path]:
        return list((self.folder / table).rglob("[!.]*.parquet"))

    def _place(self, table: str, material: str = "") -> Path:
        part = f"material={quote(material, safe='')}" if table in ("windows", "defects") else ""
        return self.folder / table / part

    def _begin(self) -> None:
        if not (self.folder / "catalog.json").is_file():
            _make(self.folder)
            write_file(self.folder / "catalog.json", json.dumps({"schema": SCHEMA}).encode() + b"\n")


def ask(connection: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    """One query's answer. Raises UsageError with DuckDB's words if it is wrong."""
    with _explained():
        return asked(connection, sql).to_arrow_table()


def asked(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.DuckDBPyRelation:
    """A query that is understood, not answered yet. Raises as `ask`."""
    with _explained():
        found = connection.sql(sql)
    if found is None:
        raise UsageError(f"{sql!r} asks for nothing: expected a SELECT")
    return found


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    module = _duckdb()
    try:
        yield
    except module.IOException:
        raise
    except module.Error as error:
        raise UsageError(f"the query cannot be answered: {error}") from error


def _view(connection: duckdb.DuckDBPyConnection, name: str, files: list[Path]) -> None:
    if not files:
        connection.register(name, empty(name))
        return
    hive = "" if name == "images" else ", hive_partitioning = true, hive_types = {'material': VARCHAR}"
    paths = ", ".join(_text(path.resolve()) for path in files)
    connection.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet([{paths}]{hive})")


def _text(path: Path) -> str:
    """A path as DuckDB's SQL has it."""
    return "'" + str(path).replace("'", "''") + "'"


def _duckdb() -> Any:
    try:
        import duckdb
    except ImportError as error:
        raise UsageError("queries need DuckDB: pip install 'picostem[catalog]'") from error
    return duckdb


def _write(table: pa.Table, path: Path) -> None:
    from pyarrow import parquet

    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd")
    _make(path.parent)
    write_file(path, buffer.getvalue())


def _merge(paths: list[Path], target: Path) -> None:
    """Row groups of many files, a million rows and more each, in one."""
    import pyarrow as pa
    from pyarrow import parquet

    part = target.with_name(f".{target.name}")
    schema = parquet.read_schema(paths[0])
    with parquet.ParquetWriter(part, schema, compression="zstd") as writer:
        waiting: list[pa.Table] = []
        for path in paths:
            waiting.append(parquet.ParquetFile(path).read())
            if sum(map(len, waiting)) > 1_000_000 or path is paths[-1]:
                writer.write_table(pa.concat_tables(waiting), row_group_size=GROUP)
                waiting = []
    part.replace(target)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {folder}: {error.strerror}; choose another place") from error
