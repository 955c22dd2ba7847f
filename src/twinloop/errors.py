"""One exception tree; everything a person can cause is a `TwinloopError`, printed as one line with exit status 2.

TwinloopError
├── ScenarioError      a scenario that cannot be used: unknown name or field, impossible value
├── DataError          a data file that is missing, empty, truncated or wrong; names file, line and column
├── FormatError        a message or payload that cannot be read; names offset or line, field, and what is allowed
├── ModelError         a file of a trained model that is missing, damaged, or of another kind of model
├── OutputError        a run directory that cannot be written, is in use, or does not hold what is asked of it
├── ResourceError      the machine is too small for what was asked
├── StorageError       a database that cannot be opened, read or written, or a backup that cannot be used
└── MissingExtraError  an optional part is not installed
"""

from pathlib import Path


class TwinloopError(Exception):
    """Base of all errors that twinloop raises for a person to read."""


class ScenarioError(TwinloopError):
    """A scenario is unknown or cannot be used."""


class OutputError(TwinloopError):
    """A run directory cannot be used as asked."""


class ResourceError(TwinloopError):
    """The machine is too small for what was asked."""


class DataError(TwinloopError):
    """A data file is missing, empty, truncated or not what was expected.

    `path` names the file; `line` and `column` are 1-based, None where the fault has no place.
    """

    def __init__(
        self, path: Path | str, problem: str, expected: str = "", *, line: int | None = None, column: int | None = None
    ) -> None:
        self.path = Path(path)
        self.problem = problem
        self.expected = expected
        self.line = line
        self.column = column
        place = str(path)
        if line is not None:
            place += f", line {line}"
        if column is not None:
            place += f", column {column}"
        super().__init__(f"{place}: {problem}" + (f"; expected {expected}" if expected else ""))


class FormatError(TwinloopError):
    """A message, a line or a stored payload cannot be read: broken, of an unknown type, above a limit."""


class ModelError(TwinloopError):
    """A file of a trained model is missing, damaged, or belongs to another kind of model."""

    def __init__(self, path: Path | str, problem: str, expected: str) -> None:
        self.path = Path(path)
        super().__init__(f"{path}: {problem}; expected {expected}")


class StorageError(TwinloopError):
    """A database cannot be opened, read or written as asked, or a backup cannot be used."""


class MissingExtraError(TwinloopError):
    """An optional part is not installed. `extra` is the pip extra that brings it."""

    def __init__(self, what: str, extra: str) -> None:
        self.extra = extra
        super().__init__(f"{what} needs an optional part: pip install 'twinloop[{extra}]'")
