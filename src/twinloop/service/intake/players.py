"""What players say of themselves (CMCD) becomes reports of one source, numbered on from where the last start ended."""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

import msgspec

from twinloop.errors import FormatError
from twinloop.network.formats import Batch, Cmcd, CmcdFollower, Row, cmcd_of_headers, cmcd_of_json, parse_cmcd
from twinloop.service.intake.pipeline import BusyError, Intake
from twinloop.storage import RefusedRow, Storage

MOST_WAITING = 10_000
"""Requests of players that may wait for the batch before theirs."""

MOST_BYTES = 65_536
"""Of the body of one request."""

_MOST_REPORTS = 100
_BYTES_A_ROW = 128
_TEXT_CHARACTERS = 2_000
_LIST = re.compile(r"=\(([^()]*)\)")
_raw_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


def reports_of(query: str, headers: Sequence[tuple[str, str]], media_type: str, body: bytes) -> list[Cmcd]:
    """What a request of a player says: in its body (an object or a list of objects as JSON, or lines of keys), else in
    its query or headers. Raises FormatError where it says nothing, or nothing that can be read.
    """
    if len(body) > MOST_BYTES:
        raise FormatError(f"the body has {len(body):,} bytes; at most {MOST_BYTES:,} are read")
    if body.strip():
        return _of_body(media_type, body)
    for argument in query.split("&"):
        if argument.startswith("CMCD="):
            return [parse_cmcd(_first_version(_decoded(argument.removeprefix("CMCD="))))]
    found = cmcd_of_headers({name: _first_version(value) for name, value in headers})
    if found is None:
        raise FormatError("there is no CMCD; send it as ?CMCD=..., in headers like CMCD-Request, or as a body")
    return [found]


@dataclass
class _Waiting:
    rows: list[Row]
    reasons: "asyncio.Future[list[str]]" = field(init=False)

    def __post_init__(self) -> None:
        self.reasons = asyncio.get_running_loop().create_future()


class Players:
    """Gathers rows of players into batches: while one is on its way to the disk, the next fills.

    `source` is sent as, `sequence` the number of the first batch. The rest is as for `CmcdFollower`.
    """

    def __init__(
        self,
        intake: Intake,
        storage: Storage,
        clock: Callable[[], float],
        source: str,
        sequence: int,
        ladder_bps: Sequence[float],
    ) -> None:
        self.source = source
        self._intake = intake
        self._storage = storage
        self._clock = clock
        self._sequence = sequence
        self._follower = CmcdFollower(ladder_bps=ladder_bps)
        self._waiting: list[_Waiting] = []
        self._sending: asyncio.Task[None] | None = None

    async def take(self, client: str, said: Sequence[Cmcd], in_slice: str | None, group: str | None) -> list[str]:
        """Takes in what the player at the address `client` says; returns, once it is durable, why rows were refused.

        What tells nothing of a user (audio, manifests) is passed over. Raises BusyError, or StorageError where it was
        not kept.
        """
        if len(self._waiting) >= MOST_WAITING:
            raise BusyError("players report faster than can be kept", 1.0)
        self._intake.admit(_BYTES_A_ROW * len(said))
        rows: list[Row] = []
        for one in said:
            row = self._follower.take(self._clock(), client, one)
            if row is not None:
                rows.append(msgspec.structs.replace(row, slice=in_slice, group=group))
        if not rows:
            return []
        waiting = _Waiting(rows)
        self._waiting.append(waiting)
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())
        return await waiting.reasons

    async def refuse(self, text: str, reason: str) -> None:
        """Keeps what could not be read, and why, where others look for it."""
        row = text.replace("\0", " ")[:_TEXT_CHARACTERS]
        await asyncio.wrap_future(
            self._storage.refusals.add([RefusedRow(self._clock(), self.source, None, 0, reason, row)])
        )

    async def _send(self) -> None:
        while self._waiting:
            together, self._waiting = self._waiting, []
            rows = [row for one in together for row in one.rows]
            # Counted on even where it fails: a number that may have been kept must not be given twice.
            number, self._sequence = self._sequence, self._sequence + 1
            try:
                ack = await self._intake.submit(Batch(self.source, number, rows), _BYTES_A_ROW * len(rows))
            except Exception as error:
                for one in together:
                    _settle(one.reasons, error)
                continue
            why = {refusal.id: refusal.reason for refusal in ack.refused}
            for one in together:
                _settle(one.reasons, [why[row.id] for row in one.rows if row.id in why])


def _settle(reasons: "asyncio.Future[list[str]]", outcome: list[str] | Exception) -> None:
    """Tells whoever still waits."""
    if reasons.done():
        return
    if isinstance(outcome, Exception):
        reasons.set_exception(outcome)
    else:
        reasons.set_result(outcome)


def _of_body(media_type: str, body: bytes) -> list[Cmcd]:
    if media_type.partition(";")[0].strip().lower() == "application/json" or body.lstrip()[:1] in (b"{", b"["):
        try:
            parts = [bytes(raw) for raw in _raw_list(body)] if body.lstrip()[:1] == b"[" else [body]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise FormatError(f"CMCD as JSON: {str(error)[:300]}") from None
        found = [cmcd_of_json(part) for part in parts[: _MOST_REPORTS + 1]]
    else:
        lines = _utf8(body).splitlines()
        found = [parse_cmcd(_first_version(line)) for line in lines[: _MOST_REPORTS + 1] if line.strip()]
    if len(found) > _MOST_REPORTS:
        raise FormatError(f"the body has more than {_MOST_REPORTS} reports; send it in parts")
    return found


def _decoded(argument: str) -> str:
    try:
        return unquote(argument, errors="strict")
    except UnicodeDecodeError:
        raise FormatError("CMCD of the query is not UTF-8 when its escapes are resolved") from None


def _utf8(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"the body is not UTF-8 ({error.reason}, byte {error.start})") from None


def _first_version(text: str) -> str:
    """Keys of CMCD version 2 as those of version 1: of values by type, `bl=(1200;v 800;a)`, that of the video."""
    return _LIST.sub(lambda match: f"={_of_video(match[1].split())}", text)


def _of_video(items: list[str]) -> str:
    video = [item for item in items if item.endswith((";v", ";av"))]
    return (video or items or [""])[0].partition(";")[0]
