"""twinloop backup, twinloop restore: everything that a server keeps, in one file."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

_Database = Annotated[
    str, typer.Option(envvar="TWINLOOP_DATABASE", help="SQLite file, or postgresql://USER:PASSWORD@HOST:PORT/NAME.")
]


def backup(
    file: Annotated[Path, typer.Argument(help="Where to write it; must not be there yet.")],
    database: _Database = "twinloop.db",
) -> None:
    """Write everything that a server keeps to one file, also while the server runs.

    The file fits SQLite and PostgreSQL alike: restore it into either.
    """
    from twinloop.errors import OutputError
    from twinloop.storage import open_storage

    if file.exists():
        raise OutputError(f"{file} is there already; give another name")
    _require_database(database)
    part = file.with_name(file.name + ".part")
    try:
        with open_storage(database, read_only=True) as storage, part.open("xb") as stream:
            counts = storage.dump(stream)
        part.rename(file)
    except OSError as error:
        raise OutputError(f"{file} cannot be written: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)
    _tell(f"{file}: ", counts)


def restore(
    file: Annotated[Path, typer.Argument(help="A file that twinloop backup wrote.")],
    database: _Database = "twinloop.db",
) -> None:
    """Fill an empty database from a backup; a damaged file is refused before anything is written."""
    from twinloop.errors import DataError
    from twinloop.storage import check_backup, open_storage

    try:
        with file.open("rb") as stream:
            check_backup(stream)
            with open_storage(database) as storage:
                counts = storage.load(stream)
    except OSError as error:
        raise DataError(file, f"it cannot be read: {error.strerror}") from None
    _tell(f"{database} filled: ", counts)


def _require_database(url: str) -> None:
    from twinloop.errors import DataError

    path = url.removeprefix("sqlite:///")
    if "://" not in path and not Path(path).is_file():
        raise DataError(path, "there is no such database", "the --database that a server keeps")


def _tell(begin: str, counts: dict[str, int]) -> None:
    said = ", ".join(f"{count} {table.replace('_', ' ')}" for table, count in counts.items() if count)
    Console(highlight=False).print(begin + (said or "nothing was kept"), soft_wrap=True)
