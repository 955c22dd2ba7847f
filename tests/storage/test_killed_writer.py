"""Acknowledged means durable: kill -9 at any moment, and every acknowledged event and a whole snapshot are there.

The write lock of what was killed is free at once.
"""

import random
import subprocess
import sys

from twinloop.storage import open_storage

SENDER = """
import os, sys
from collections import deque
from twinloop.storage import NewEvent, open_storage

storage = open_storage(sys.argv[1])
start = int(sys.argv[2])

def acknowledge(future, number):
    os.write(1, f"{number} {future.result()[0]}\\n".encode())

def save():
    slot = storage.events.last_id()
    storage.snapshots.save(slot, slot, 0.0, slot.to_bytes(4, "big") * 1_500_000)

waiting, number = deque(), start
while True:
    future = storage.events.append([NewEvent("a", number, 0.0, 1, bytes(2000))])
    future.add_done_callback(lambda done, number=number: acknowledge(done, number))
    waiting.append(future)
    number += 1
    if number % 300 == 0:
        save()
    if len(waiting) == 50:
        waiting.popleft().result()
"""
ROUNDS = 2


def killed_after(url, start, lines):
    """What a sender had acknowledged when it was killed: id by sequence."""
    command = [sys.executable, "-c", SENDER, url, str(start)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as sender:
        said = [sender.stdout.readline() for _ in range(lines)]
        sender.kill()
        rest, words = sender.communicate()
    said += rest.splitlines(keepends=True)
    assert len(said) >= lines and all(said), words
    return {int(number): int(own) for number, own in (line.split() for line in said if line.endswith("\n"))}


def test_nothing_that_was_acknowledged_is_lost_by_a_kill(url):
    acknowledged: dict[int, int] = {}
    moments = random.Random(5)
    for start in range(0, 100_000 * ROUNDS, 100_000):
        acknowledged |= killed_after(url, start, moments.randrange(1, 2000))
        with open_storage(url) as storage:
            kept = {event.sequence: event.id for event in storage.events.after(0, 10**6)}
            snapshot = storage.snapshots.latest()
        assert acknowledged.items() <= kept.items()
        if snapshot is not None:
            assert snapshot.blob == snapshot.slot.to_bytes(4, "big") * 1_500_000
            assert snapshot.event_id <= max(kept.values())
    assert acknowledged
