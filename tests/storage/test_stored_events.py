"""Events: each once, in the order of their commits, for both database systems."""

from concurrent.futures import ThreadPoolExecutor

from twinloop.storage import Event, EventTotals, NewEvent, Source, open_storage


def test_events_come_back_as_they_were_given_in_their_order(storage):
    given = [NewEvent("north", 7, 1.5, 2, b"\x00\xff"), NewEvent("south ü", 2**62, -0.25, 0, b"")]
    ids = storage.events.append(given).result()
    assert storage.events.after(0, 10) == [Event(number, *event) for number, event in zip(ids, given, strict=True)]
    assert storage.events.after(ids[0], 10) == [Event(ids[1], *given[1])]
    assert storage.events.after(0, 1) == [Event(ids[0], *given[0])]
    assert storage.events.last_id() == ids[1]


def test_an_event_is_kept_once(storage, batch):
    first = storage.events.append(batch("north", 0, 3)).result()
    doubled = [*batch("north", 2, 2), *batch("north", 3, 1), *batch("south", 3, 1)]
    ids = storage.events.append(doubled).result()
    assert [number is None for number in ids] == [True, False, True, False]
    assert len(storage.events.after(0, 100)) == 5
    assert min(number for number in ids if number) > max(first)


def test_the_first_of_two_events_with_one_key_wins(storage):
    storage.events.append([NewEvent("a", 1, 0.0, 1, b"first"), NewEvent("a", 1, 0.0, 1, b"second")]).result()
    storage.events.append([NewEvent("a", 1, 0.0, 1, b"third")]).result()
    assert [event.payload for event in storage.events.after(0, 10)] == [b"first"]


def test_nothing_to_append_is_no_fault(storage):
    assert storage.events.append([]).result() == []
    assert storage.events.last_id() == 0
    assert storage.events.sources() == []
    assert storage.events.totals() == EventTotals(0, 0)


def test_sources_say_what_came_from_whom(storage, batch):
    storage.events.append([*batch("south", 5, 2, size=8), *batch("north", 0, 1, size=4)]).result()
    storage.events.append([*batch("south", 1, 1, size=8), *batch("south", 5, 1, size=8)]).result()
    assert storage.events.sources() == [Source("north", 0, 1, 1, 4, 1000.0), Source("south", 6, 3, 3, 24, 1001.0)]
    assert storage.events.totals() == EventTotals(4, 28)


def test_readers_never_see_an_id_appear_below_one_they_saw(storage, batch):
    def send(source):
        return [storage.events.append(batch(source, n, 2)) for n in range(0, 60, 2)]

    seen: list[int] = []
    with ThreadPoolExecutor(4) as senders:
        sent = [senders.submit(send, source) for source in "abcd"]
        while len(seen) < 4 * 60:
            seen += [event.id for event in storage.events.after(seen[-1] if seen else 0, 50)]
    ids = [number for future in sent for group in future.result() for number in group.result()]
    assert seen == sorted(ids)


def test_pruning_takes_the_oldest_and_leaves_the_newest(storage, batch):
    ids = storage.events.append([*batch("north", 0, 6), *batch("south", 0, 2)]).result()
    assert storage.events.prune(ids[4], received_before_s=1003.0) == 3
    assert [event.id for event in storage.events.after(0, 10)] == ids[3:]
    assert storage.events.prune(ids[4], received_before_s=1e9) == 2
    assert storage.events.prune(10**9, received_before_s=1e9) == 2
    assert [event.id for event in storage.events.after(0, 10)] == [storage.events.last_id()] == [ids[-1]]
    assert [(source.received, source.kept) for source in storage.events.sources()] == [(6, 0), (2, 1)]


def test_pruning_by_size_stops_when_it_fits(storage, batch):
    ids = storage.events.append(batch("north", 0, 10, size=100)).result()
    assert storage.events.prune_to(ids[-1], most_bytes=450) == 6
    assert storage.events.totals() == EventTotals(4, 400)
    assert storage.events.prune_to(ids[-1], most_bytes=450) == 0


def test_ids_go_on_after_all_was_pruned_and_the_database_was_reopened(url, batch):
    with open_storage(url) as storage:
        highest = max(storage.events.append(batch("north", 0, 5)).result())
        storage.events.prune(highest, received_before_s=1e9)
    with open_storage(url) as storage:
        assert storage.events.last_id() == highest
        assert min(storage.events.append(batch("north", 5, 5)).result()) > highest


def test_sources_of_which_nothing_is_left_are_forgotten(storage, batch):
    storage.events.append([*batch("gone", 0, 1), *batch("quiet", 100, 1), *batch("here", 0, 1)]).result()
    storage.events.prune(storage.events.last_id(), received_before_s=1e9)
    assert storage.events.prune_sources(received_before_s=1050.0) == 1
    assert [source.source for source in storage.events.sources()] == ["here", "quiet"]
