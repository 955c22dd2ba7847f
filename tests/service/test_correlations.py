"""Lines of a log that belong together say so, and the caller is told by what."""

import asyncio
import logging

import pytest

from twinloop.service.correlation import Correlated, CorrelationFilter, correlation

TRACE = "0af7651916cd43dd8448eb211c80319c"


def answered(headers: list[tuple[bytes, bytes]]) -> tuple[str, str]:
    """The correlation that work is done under, and the one that is told."""
    seen, sent = [], []

    async def application(scope, receive, send):
        record = logging.makeLogRecord({"msg": "at work"})
        CorrelationFilter().filter(record)
        seen.append(record.correlation)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})

    async def send(message):
        sent.append(message)

    asyncio.run(Correlated(application)({"type": "http", "headers": headers}, None, send))
    told = dict(sent[0]["headers"])
    assert told[b"a"] == b"b"
    return seen[0], told[b"x-correlation-id"].decode()


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        (b"x-correlation-id", b"order-17.retry", "order-17.retry"),
        (b"traceparent", f"00-{TRACE}-b7ad6b7169203331-01".encode(), TRACE),
    ],
)
def test_a_callers_own_number_is_kept(name, value, wanted):
    assert answered([(name, value)]) == (wanted, wanted)
    assert correlation.get() == ""


@pytest.mark.parametrize("value", [b"", b"short", b"a" * 65, b'x"\n{injected}', "ü-ü-ü-ü-ü".encode()])
def test_what_cannot_be_a_number_is_replaced(value):
    seen, told = answered([(b"x-correlation-id", value)])
    assert seen == told and told.encode() != value and told.isalnum()
    assert answered([])[0] != answered([])[0]
