"""twinloop backup and restore: what was kept comes back, and what is no backup leaves nothing behind."""

import pytest

from twinloop.storage import LogLine, open_storage


@pytest.fixture
def backed_up(twinloop, tmp_path):
    with open_storage(str(tmp_path / "kept.db")) as storage:
        storage.log.add([LogLine(1.0, "admin", "PUT", "/kill", "200")]).result()
        lines = storage.log.newest()
    status, out, _ = twinloop("backup", "b.tlb", "--database", "kept.db")
    assert status == 0 and out.startswith("b.tlb: 1 ")
    return lines


def test_what_was_kept_comes_back_and_nothing_is_written_over(twinloop, tmp_path, backed_up):
    status, out, _ = twinloop("restore", "b.tlb", "--database", "again.db")
    assert status == 0 and out.startswith("again.db filled: 1 ")
    with open_storage(str(tmp_path / "again.db"), read_only=True) as storage:
        assert storage.log.newest() == backed_up
    status, _, err = twinloop("restore", "b.tlb", "--database", "again.db")
    assert status == 2 and "not empty" in err
    status, _, err = twinloop("backup", "b.tlb", "--database", "kept.db")
    assert status == 2 and "is there already" in err


@pytest.mark.parametrize("damage", ["cut", "changed", "none of ours", "missing"])
def test_what_is_no_backup_leaves_no_database(twinloop, tmp_path, backed_up, damage):
    path = tmp_path / "b.tlb"
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        changed = content[:-40] + bytes([content[-40] ^ 1]) + content[-39:]
        path.write_bytes({"cut": content[:-5], "changed": changed, "none of ours": b"# no backup\n"}[damage])
    status, out, err = twinloop("restore", "b.tlb", "--database", "again.db")
    assert (status, out) == (2, "") and err.startswith("error: ") and err.count("\n") == 1
    assert not list(tmp_path.glob("again.db*"))
