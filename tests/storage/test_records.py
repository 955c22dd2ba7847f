"""Records: documents with revisions, for both database systems."""

import pytest

from twinloop.storage import Conflict, Record


def put(storage, key, updated_s=1.0, collection="decisions", **rest):
    return storage.records.put(collection, key, f'{{"key": "{key}"}}', updated_s=updated_s, **rest).result()


def test_a_document_comes_back_and_its_revision_counts_changes(storage):
    first = storage.records.put("slices", "a", '{"ü": 1}', updated_s=2.5, state="active", tenant="t1").result()
    assert first == Record("slices", "a", "active", "t1", 1, 2.5, '{"ü": 1}')
    assert storage.records.get("slices", "a") == first
    second = storage.records.put("slices", "a", "{}", updated_s=3.0).result()
    assert storage.records.get("slices", "a") == second == Record("slices", "a", "", "", 2, 3.0, "{}")
    assert storage.records.get("slices", "b") is None
    assert storage.records.get("tokens", "a") is None


def test_a_change_of_a_document_that_has_moved_on_is_refused(storage):
    put(storage, "a", expected_revision=0)
    put(storage, "a", expected_revision=1)
    with pytest.raises(Conflict, match="decisions/a is at revision 2, not at 1"):
        put(storage, "a", expected_revision=1, state="lost")
    with pytest.raises(Conflict, match="revision 2, not at 0"):
        put(storage, "a", expected_revision=0)
    with pytest.raises(Conflict, match="decisions/b does not exist"):
        put(storage, "b", expected_revision=1)
    with pytest.raises(Conflict, match="revision 2, not at 7"):
        storage.records.delete("decisions", "a", expected_revision=7).result()
    assert storage.records.get("decisions", "a").revision == 2
    assert storage.records.get("decisions", "b") is None


def test_a_document_is_deleted_once(storage):
    put(storage, "a")
    assert storage.records.delete("decisions", "a", expected_revision=1).result()
    assert not storage.records.delete("decisions", "a").result()
    assert storage.records.get("decisions", "a") is None
    assert put(storage, "a").revision == 1


def test_documents_are_listed_by_key_in_pages(storage):
    for key in ("b", "Z", "a", "ä", "aa"):
        put(storage, key)
    put(storage, "c", collection="tokens")
    first = storage.records.by_key("decisions", limit=3)
    rest = storage.records.by_key("decisions", after=first[-1].key)
    assert [record.key for record in first + rest] == ["Z", "a", "aa", "b", "ä"]


def test_documents_are_listed_by_change_in_pages(storage):
    for key, updated_s in (("a", 1.0), ("b", 3.0), ("c", 2.0), ("d", 2.0)):
        put(storage, key, updated_s)
    put(storage, "a", 4.0)
    keys, before = [], None
    while page := storage.records.newest("decisions", before=before, limit=2):
        keys += [record.key for record in page]
        before = (page[-1].updated_s, page[-1].key)
    assert keys == ["a", "b", "d", "c"]


def test_lists_are_filtered_by_state_and_tenant(storage):
    for key, state, tenant in (("a", "open", "t1"), ("b", "open", "t2"), ("c", "done", "t1")):
        put(storage, key, state=state, tenant=tenant)
    assert [record.key for record in storage.records.by_key("decisions", state="open")] == ["a", "b"]
    assert [record.key for record in storage.records.by_key("decisions", state="open", tenant="t2")] == ["b"]
    assert [record.key for record in storage.records.newest("decisions", tenant="t1")] == ["c", "a"]
    assert storage.records.newest("decisions", state="") == []
