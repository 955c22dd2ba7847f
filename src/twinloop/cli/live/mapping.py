"""What the columns of somebody else's table mean, as a file says: shared by the commands that read tables."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from twinloop.network.formats import ColumnMap

MappingOption = Annotated[
    Path | None,
    typer.Option("--mapping", help="JSON file that says what the columns of a table are (docs/formats.md)."),
]


def mapping_of(path: Path | None) -> "ColumnMap | None":
    """The mapping in a file, None without one. Raises DataError."""
    if path is None:
        return None
    import msgspec

    from twinloop.errors import DataError
    from twinloop.network.formats import ColumnMap

    try:
        return msgspec.json.decode(path.read_bytes(), type=ColumnMap)
    except OSError as error:
        raise DataError(path, f"it cannot be read: {error.strerror}", "a mapping as in docs/formats.md") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise DataError(path, f"it is no mapping: {error}", "one as in docs/formats.md") from None
