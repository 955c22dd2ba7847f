"""Storage against two dictionaries, through random orders of calls and of closing and opening again."""

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from twinloop.storage import Conflict, NewEvent, open_storage

SOURCES = st.sampled_from(["a", "b"])
SEQUENCES = st.integers(0, 12)
KEYS = st.sampled_from(["k", "K", "ü"])


class Machine(RuleBasedStateMachine):
    """`events` by id and `records` by key are what storage must hold."""

    @initialize()
    def start(self):
        self.folder = tempfile.TemporaryDirectory(prefix="twinloop-")
        self.path = str(Path(self.folder.name) / "twins.db")
        self.storage = open_storage(self.path)
        self.events: dict[int, NewEvent] = {}
        self.records: dict[str, tuple[int, str]] = {}
        self.clock_s = 0.0

    @rule(keys=st.lists(st.tuples(SOURCES, SEQUENCES), max_size=6), split=st.booleans())
    def append(self, keys, split):
        self.clock_s += 1.0
        events = [NewEvent(source, number, self.clock_s, 1, bytes(number)) for source, number in keys]
        groups = [[event] for event in events] if split else [events]
        ids = [own for future in [self.storage.events.append(group) for group in groups] for own in future.result()]
        for event, own in zip(events, ids, strict=True):
            known = {(kept.source, kept.sequence) for kept in self.events.values()}
            assert (own is None) == ((event.source, event.sequence) in known)
            if own is not None:
                assert own > max(self.events, default=0)
                self.events[own] = event

    @rule(share=st.floats(0.0, 1.0), age_s=st.integers(0, 5))
    def prune(self, share, age_s):
        newest = max(self.events, default=0)
        upto, before_s = int(share * newest), self.clock_s - age_s
        gone = [
            own for own, event in self.events.items() if own <= upto and own != newest and event.received_s < before_s
        ]
        assert self.storage.events.prune(upto, before_s) == len(gone)
        for own in gone:
            del self.events[own]

    @rule(key=KEYS, body=st.text(max_size=3).filter(str.isprintable), behind=st.sampled_from([None, 0, 0, 1]))
    def put(self, key, body, behind):
        revision = self.records.get(key, (0, ""))[0]
        expected = None if behind is None else revision - behind
        try:
            record = self.storage.records.put("c", key, body, updated_s=0.0, expected_revision=expected).result()
        except Conflict:
            assert behind
        else:
            assert not behind
            self.records[key] = (record.revision, body)
            assert record.revision == revision + 1

    @rule(key=KEYS)
    def delete(self, key):
        assert self.storage.records.delete("c", key).result() == (self.records.pop(key, None) is not None)

    @rule()
    def reopen(self):
        self.storage.close()
        self.storage = open_storage(self.path)

    @invariant()
    def holds_what_it_was_given(self):
        if not hasattr(self, "storage"):
            return
        kept = {
            event.id: NewEvent(*[getattr(event, name) for name in NewEvent._fields])
            for event in self.storage.events.after(0, 1000)
        }
        assert kept == self.events
        totals = self.storage.events.totals()
        assert totals.events == len(kept)
        assert totals.payload_bytes == sum(len(event.payload) for event in kept.values())
        records = self.storage.records.by_key("c")
        assert {record.key: (record.revision, record.body) for record in records} == self.records
        assert [record.key for record in records] == sorted(self.records)

    def teardown(self):
        if hasattr(self, "storage"):
            self.storage.close()
            self.folder.cleanup()


TestStorageAgainstDictionaries = Machine.TestCase
TestStorageAgainstDictionaries.settings = settings(max_examples=8, stateful_step_count=25, deadline=None)
