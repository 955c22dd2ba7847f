"""A file is followed while it grows, through rotation and truncation; waiting is the test's own."""

from twinloop.network.formats import follow


def followed(path, *steps, **options):
    """Lines that are seen when each of `steps` happens once there is nothing new; then the following ends."""
    waiting = iter(steps)

    def wait():
        step = next(waiting, None)
        if step is not None:
            step()
        return step is not None

    return list(follow(path, wait, **options))


def append(path, data):
    def step():
        with path.open("ab") as file:
            file.write(data)

    return step


def test_only_what_is_new_is_given_unless_the_start_is_asked_for(tmp_path):
    path = tmp_path / "access.log"
    path.write_bytes(b"old\n")
    assert followed(path, append(path, b"new\r\nmore\n")) == ["new", "more"]
    assert followed(path, from_start=True) == ["old", "new", "more"]


def test_a_line_is_given_when_it_is_whole(tmp_path):
    path = tmp_path / "access.log"
    path.write_bytes(b"")
    seen = []

    def look():
        assert seen == []

    steps = iter([append(path, b"be"), look, append(path, b"gun\n")])

    def wait():
        step = next(steps, None)
        if step is not None:
            step()
        return step is not None

    for line in follow(path, wait):
        seen.append(line)
    assert seen == ["begun"]


def test_a_file_may_come_later(tmp_path):
    path = tmp_path / "access.log"
    assert followed(path, lambda: None, append(path, b"first\n")) == ["first"]


def test_a_rotated_file_is_read_to_its_end_first(tmp_path):
    path, old = tmp_path / "access.log", tmp_path / "access.log.1"
    path.write_bytes(b"")

    def rotate():
        path.rename(old)
        append(old, b"two\nthree")()
        path.write_bytes(b"four\n")

    assert followed(path, append(path, b"one\n"), rotate, append(path, b"five\n")) == [
        "one",
        "two",
        "three",
        "four",
        "five",
    ]


def test_a_renamed_file_is_read_until_another_takes_its_place(tmp_path):
    path, old = tmp_path / "access.log", tmp_path / "access.log.1"
    path.write_bytes(b"")
    steps = (lambda: path.rename(old), append(old, b"late\n"), lambda: path.write_bytes(b"next\n"))
    assert followed(path, *steps) == ["late", "next"]


def test_a_truncated_file_is_read_from_its_start(tmp_path):
    path = tmp_path / "access.log"
    path.write_bytes(b"a long line that is gone\n")
    assert followed(path, lambda: path.write_bytes(b""), append(path, b"new\n")) == ["new"]
    assert followed(path, append(path, b"half"), lambda: path.write_bytes(b"n\n")) == ["n"]


def test_lines_beyond_all_measure_are_dropped(tmp_path):
    path = tmp_path / "access.log"
    path.write_bytes(b"x" * (2**20 + 1) + b"\nshort\n" + b"y" * 3_000_000 + b"\nlast\n\xff\n")
    assert followed(path, from_start=True) == ["short", "last", "\ufffd"]
