import json

import pytest

from twinloop.service.security import PERMISSIONS, Identity
from twinloop.service.security.audit import LONGEST_DETAIL, Audit

OPERATOR = Identity("tl_1", "Ada", "operator", PERMISSIONS["operator"])


def test_an_entry_says_who_did_what_to_what_and_what_came_of_it(memory):
    Audit(memory).record(OPERATOR, "approve", "decision/17", "done", comment="looks right", revision=4)
    assert memory.entries == [
        ("tl_1 Ada (operator)", "approve", "decision/17", "done", '{"comment": "looks right", "revision": 4}')
    ]


def test_the_server_acts_too(memory):
    Audit(memory).record(None, "roll back", "decision/17", "done")
    assert memory.entries[0][0] == "server"


def test_secrets_do_not_enter_the_log(memory):
    secret = "tl_0123456789ab_" + "A" * 43
    bold = Identity("tl_2", f"password=hunter2 {secret}", "admin", PERMISSIONS["admin"])
    Audit(memory).record(
        bold, "create", f"webhook/https://u:hunter2@x/{secret}", "done", secret=secret, url="?token=hunter2"
    )
    assert "A" * 20 not in repr(memory.entries) and "hunter2" not in repr(memory.entries)


def test_nobody_writes_lines_of_their_own(memory):
    forger = Identity("tl_3", "x\nserver\x1b[2K", "viewer", PERMISSIONS["viewer"])
    Audit(memory).record(forger, "read\r\nfake", "twin/\u2028x\x00", "done", note="a\nb\x1b")
    assert all(text.isprintable() for text in memory.entries[0])


def test_details_are_bounded_and_always_json(memory):
    Audit(memory).record(
        None, "a" * 999, "b", "c", huge=["x" * 1000] * 50, odd=object(), number=float("nan"), small=1e-400
    )
    actor, action, _, _, detail = memory.entries[0]
    assert len(detail) <= LONGEST_DETAIL and len(action) == 200 and actor == "server"
    assert json.loads(detail)


def test_what_cannot_be_recorded_is_not_done_in_silence(memory):
    memory.full = True
    with pytest.raises(OSError, match="space"):
        Audit(memory).record(OPERATOR, "approve", "decision/17", "done")
