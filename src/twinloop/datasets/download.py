"""Fetching of data sets: file by file, verified by SHA-256, and going on where it stopped."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from twinloop.datasets.catalogue import DataSet, RemoteFile, sha256_of
from twinloop.errors import DataError


@dataclass(frozen=True)
class Fetched:
    """What `get` did: files fetched now, and files that were there already with the right hash."""

    fetched: tuple[Path, ...]
    kept: tuple[Path, ...]


def get(data_set: DataSet, data: Path, progress: Callable[[RemoteFile], None] = lambda remote: None) -> Fetched:
    """Fetch the files of `data_set` into its folder below `data`.

    A file that is there with the right SHA-256 is kept, so a second call goes on where an interrupted one stopped; one
    with another hash is fetched anew. A file gets its name only after its hash was verified. `progress` is told each
    file before its transfer.

    Raises DataError when no hash of the set is known (saying where to get it by hand), when a transfer fails, or when
    what arrived has another hash; files fetched before stay.
    """
    if not data_set.files:
        raise DataError(data_set.name, f"not fetched, for no SHA-256 of it is known. {data_set.where}")
    fetched: list[Path] = []
    kept: list[Path] = []
    for remote in data_set.files:
        target = data / data_set.name / remote.path
        if target.is_file() and sha256_of(target) == remote.sha256:
            kept.append(target)
            continue
        progress(remote)
        _fetch(remote, target)
        fetched.append(target)
    return Fetched(tuple(fetched), tuple(kept))


def _fetch(remote: RemoteFile, target: Path) -> None:
    import pooch
    import requests

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        pooch.retrieve(
            remote.url,
            known_hash=f"sha256:{remote.sha256}",
            fname=target.name,
            path=target.parent,
        )
    except ValueError:
        expected = f"SHA-256 {remote.sha256[:12]}..., the file changed at its source or was damaged on the way"
        raise DataError(target, f"what came from {remote.url} has another hash", expected) from None
    except requests.RequestException as fault:
        reason = type(fault).__name__
        expected = "a whole file; run the same command again to go on"
        raise DataError(target, f"the transfer from {remote.url} failed ({reason})", expected) from None
    except OSError as fault:
        raise DataError(target, f"cannot be written ({fault.strerror or fault})", "a writable folder") from None
    finally:
        logger.setLevel(level)
