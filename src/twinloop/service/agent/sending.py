"""Files of reports to a server, batch by batch under names made of their content, so that a repetition does no harm."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import msgspec

from twinloop.errors import DataError
from twinloop.network.formats import (
    MAX_BODY_BYTES,
    PRIVATE_NETWORKS,
    Batch,
    ColumnMap,
    Refusal,
    encode,
    read_file,
)
from twinloop.service.agent.link import LinkError, client_of, detail_of

MOST_TRIES = 8
"""How often one batch is sent to a server that does not take it now, ever later, before this gives up."""

_LONGEST_WAIT_S = 30.0
_LATER = (429, 502, 503, 504)
_WHOLE = (400, 413, 415, 422)
_CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class Outcome:
    """What became of one batch of a file: rows accepted and refused, with reasons; or that it was there before."""

    accepted: int = 0
    refused: int = 0
    duplicate: bool = False
    reasons: tuple[str, ...] = ()


class FileSender:
    """Sends files to one server. `source` stands before the mark of each file's content, `file` if it is empty.

    `pause` waits so many seconds before a batch is tried again.
    """

    def __init__(self, server: str, token: str, source: str = "", pause: Callable[[float], None] = time.sleep) -> None:
        self._client = client_of(server, token)
        self._source = source or "file"
        self._pause = pause

    def send(
        self,
        path: Path,
        mapping: ColumnMap | None = None,
        users: Sequence[str] = PRIVATE_NETWORKS,
        in_slice: str | None = None,
    ) -> Iterator[Outcome]:
        """Sends a file, and tells of every batch once the server has it. `mapping` and `users` are as for `read_file`;
        users who name no slice are in `in_slice`. What a file is read by is part of its mark.

        Raises DataError for a file that cannot be read or has no rows, LinkError where the server refuses, or does not
        answer any more.
        """
        source = f"{self._source}:{_mark_of(path, mapping, tuple(users), in_slice)}"
        empty = True
        for read in read_file(path, source=source, mapping=mapping, users=users):
            batch = _in_slice(read, in_slice)
            rows = len(batch.rows) + sum(len(block.ids) for block in batch.columns)
            empty = empty and not rows and not batch.refused and not batch.receipts
            local = tuple(_told_here(path, refusal) for refusal in batch.refused)
            outcome = self._post(path, batch, rows) if rows or batch.receipts else Outcome()
            yield Outcome(
                outcome.accepted, outcome.refused + len(local), outcome.duplicate, (*local, *outcome.reasons)
            )  # fmt: skip
        if empty:
            raise DataError(path, "the file has no rows", "at least one")

    def close(self) -> None:
        """Hangs up."""
        self._client.close()

    def _post(self, path: Path, batch: Batch, rows: int) -> Outcome:
        body, why = encode(batch), ""
        if len(body) > MAX_BODY_BYTES:
            return Outcome(refused=rows, reasons=(f"{path.name}: a batch has more than {MAX_BODY_BYTES:,} bytes",))
        for attempt in range(MOST_TRIES):
            answer, why = self._try(body)
            if answer is not None and answer.status_code not in _LATER:
                return self._understood(path, batch, rows, answer)
            if attempt + 1 < MOST_TRIES:
                self._pause(_wait_s(answer, attempt))
        raise LinkError(
            f"{self._client.base_url} does not take {path.name} any more ({why}); what was acknowledged stays, the "
            "same command goes on"
        )

    def _try(self, body: bytes) -> tuple[httpx.Response | None, str]:
        headers = {"Content-Type": "application/msgpack"}
        try:
            answer = self._client.post("/reports", content=body, headers=headers)
        except httpx.TransportError as error:
            return None, str(error) or type(error).__name__
        except httpx.HTTPError as error:
            raise LinkError(f"{self._client.base_url}: {error}") from None
        return answer, "" if answer.status_code == 200 else detail_of(answer)

    def _understood(self, path: Path, batch: Batch, rows: int, answer: httpx.Response) -> Outcome:
        if answer.status_code in _WHOLE:
            return Outcome(refused=rows, reasons=(f"{path.name}: {detail_of(answer)}",))
        try:
            told: dict[str, Any] = answer.json() if answer.status_code == 200 else {}
            reasons = tuple(_told_there(path, batch, one) for one in told.get("reasons", ()))
            return Outcome(told["accepted"], told["refused"], told["duplicate"], reasons)
        except (ValueError, KeyError, TypeError):
            raise LinkError(f"{self._client.base_url} answers: {detail_of(answer)}") from None


def _in_slice(batch: Batch, name: str | None) -> Batch:
    """A batch whose users are in a slice where they name none."""
    if name is None:
        return batch
    rows = [
        msgspec.structs.replace(row, slice=name) if row.kind == "user" and row.slice is None else row
        for row in batch.rows
    ]
    columns = [
        msgspec.structs.replace(block, slices=[one or name for one in block.slices or [None] * len(block.ids)])
        if block.kind == "user"
        else block
        for block in batch.columns
    ]
    return replace(batch, rows=rows, columns=columns)


def _mark_of(path: Path, *read_by: object) -> str:
    """A print of a file's whole content, and of what it is read by."""
    digest = hashlib.blake2b(repr(read_by).encode(), digest_size=8)
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise DataError(path, error.strerror or str(error), "a file that can be read") from None
    return digest.hexdigest()


def _wait_s(answer: httpx.Response | None, attempt: int) -> float:
    """How long to wait: as long as the server asks for, else twice as long as before."""
    asked = "" if answer is None else answer.headers.get("Retry-After", "")
    return min(float(asked) if asked.isdecimal() else 2.0**attempt, _LONGEST_WAIT_S)


def _told_here(path: Path, refusal: Refusal) -> str:
    placed = refusal.reason if refusal.reason.startswith("line ") else f"line {refusal.index}: {refusal.reason}"
    return f"{path.name}, {placed}"


def _told_there(path: Path, batch: Batch, reason: dict[str, Any]) -> str:
    index = int(reason["index"])
    place = f"row {index}" if batch.places is None else f"line {batch.places[index]}"
    return f"{path.name}, {place}, {reason['id']}: {reason['reason']}"
