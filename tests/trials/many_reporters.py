"""Very many reporters at once, each with a line of its own and a batch when its time has come, answered or not."""

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field

import msgspec

ROWS = 5_000
NAMES = ["buffer_s", "rate_bps", "quality", "delay_s"]
PATIENCE_S = 15.0


@dataclass
class Tally:
    """What became of batches: by status, 0 where no answer came in time; `acknowledged` by source."""

    offered: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    impatient: int = 0
    acknowledged: dict[str, list[int]] = field(default_factory=dict)
    waits_s: list[float] = field(default_factory=list)

    @property
    def kept(self) -> int:
        """Batches acknowledged."""
        return sum(len(batches) for batches in self.acknowledged.values())


@dataclass
class Reporters:
    """`number` of them, each with a batch every `every_s` for `lasts_s`; without it each as it is answered."""

    port: int
    token: str
    number: int
    lasts_s: float
    every_s: float = 0.0
    name: str = "many"
    tally: Tally = field(default_factory=Tally)

    async def run(self) -> Tally:
        """All of them, to their end."""
        self._until = time.monotonic() + self.lasts_s
        ids = [f"many{row % 60}" for row in range(ROWS)]
        column = {"kind": "user", "attributes": NAMES, "ids": ids, "slices": ["standard"] * ROWS}
        column |= {"time_s": None, "values": [[1.0, 1e6, 0.5, 0.1]] * ROWS}
        self._column = msgspec.Raw(msgspec.msgpack.encode([column]))
        await asyncio.gather(*(self._report(number) for number in range(self.number)))
        return self.tally

    async def _report(self, number: int) -> None:
        source, sequence, line = f"{self.name}{number}", 0, None
        due = time.monotonic() + random.random() * self.every_s
        while due < self._until:
            await asyncio.sleep(max(due - time.monotonic(), 0.0))
            sequence += 1
            self.tally.offered += 1
            begun = time.monotonic()
            try:
                line = line or await asyncio.open_connection("127.0.0.1", self.port)
                status = await asyncio.wait_for(self._send(line, source, sequence), PATIENCE_S)
            except (OSError, TimeoutError, EOFError):
                status = 0
            self._count(source, sequence, status, time.monotonic() - begun)
            if status in (0, 503, 429) and line is not None:
                line[1].close()
                line = None
            missed = 0 if self.every_s == 0 else int((time.monotonic() - due) / self.every_s)
            self.tally.offered += missed
            self.tally.statuses[0] += missed
            due = time.monotonic() if self.every_s == 0 else due + (missed + 1) * self.every_s
        if line is not None:
            line[1].close()

    def _count(self, source: str, sequence: int, status: int, took_s: float) -> None:
        self.tally.statuses[status] += 1
        self.tally.waits_s.append(took_s)
        if status == 200:
            self.tally.acknowledged.setdefault(source, []).append(sequence)

    async def _send(self, line: tuple[asyncio.StreamReader, asyncio.StreamWriter], source: str, sequence: int) -> int:
        reader, writer = line
        body = msgspec.msgpack.encode({"source": source, "sequence": sequence, "columns": self._column})
        head = f"POST /reports HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self.token}\r\n"
        head += f"Content-Type: application/msgpack\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        told = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        fields = dict(part.split(": ", 1) for part in told.split("\r\n")[1:] if ": " in part)
        await reader.readexactly(int(fields.get("content-length", "0")))
        status = int(told.split(" ", 2)[1])
        self.tally.impatient += status != 200 and "retry-after" not in fields
        return status
