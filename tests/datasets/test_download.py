"""Fetching, against a file server on loopback that can break off or send the wrong bytes."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from twinloop.datasets import DataSet, RemoteFile, find_set, get
from twinloop.errors import DataError

CONTENT = {"/a.csv": b"a,b\n1,2\n" * 2000, "/sub/b.csv": b"c\n3\n" * 3000}


@dataclass
class Server:
    """What is asked for, and the paths at which the transfer breaks off half way or other bytes come."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            body = CONTENT.get(self.path)
            if body is None:
                self.send_error(404)
                return
            if self.path in state.changed:
                body = body[::-1]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if self.path in state.broken else body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        state.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        http.shutdown()
        thread.join()


def set_at(server: Server, paths: tuple[str, ...] = tuple(CONTENT)) -> DataSet:
    files = tuple(
        RemoteFile(path.lstrip("/"), server.url + path, hashlib.sha256(CONTENT.get(path, b"")).hexdigest())
        for path in paths
    )
    return replace(find_set("oboe"), name="sample", files=files)


def test_files_are_fetched_laid_out_and_kept_on_the_next_call(server: Server, tmp_path: Path) -> None:
    told: list[str] = []
    first = get(set_at(server), tmp_path, lambda remote: told.append(remote.path))
    assert [path.relative_to(tmp_path).as_posix() for path in first.fetched] == ["sample/a.csv", "sample/sub/b.csv"]
    assert (tmp_path / "sample/sub/b.csv").read_bytes() == CONTENT["/sub/b.csv"]
    assert told == ["a.csv", "sub/b.csv"]
    server.asked.clear()
    second = get(set_at(server), tmp_path)
    assert not second.fetched and len(second.kept) == 2 and not server.asked


def test_a_wrong_hash_is_refused_and_leaves_no_file(server: Server, tmp_path: Path) -> None:
    server.changed.add("/sub/b.csv")
    with pytest.raises(DataError, match=r"b\.csv: .*another hash.*SHA-256"):
        get(set_at(server), tmp_path)
    assert sorted(path.name for path in (tmp_path / "sample").rglob("*") if path.is_file()) == ["a.csv"]


def test_after_an_interruption_the_next_call_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.broken.add("/sub/b.csv")
    with pytest.raises(DataError, match=r"sub/b\.csv: the transfer .* failed"):
        get(set_at(server), tmp_path)
    assert [path.name for path in (tmp_path / "sample").rglob("*") if path.is_file()] == ["a.csv"]
    server.broken.clear()
    server.asked.clear()
    resumed = get(set_at(server), tmp_path)
    assert server.asked == ["/sub/b.csv"]
    assert [path.name for path in resumed.fetched] == ["b.csv"] and [path.name for path in resumed.kept] == ["a.csv"]
    assert (tmp_path / "sample/sub/b.csv").read_bytes() == CONTENT["/sub/b.csv"]


def test_a_damaged_file_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    get(set_at(server), tmp_path)
    (tmp_path / "sample/a.csv").write_bytes(b"half")
    again = get(set_at(server), tmp_path)
    assert [path.name for path in again.fetched] == ["a.csv"]
    assert (tmp_path / "sample/a.csv").read_bytes() == CONTENT["/a.csv"]


def test_a_file_that_is_gone_at_its_source_is_named(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.csv.*HTTPError"):
        get(set_at(server, ("/gone.csv",)), tmp_path)


def test_a_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    nowhere = RemoteFile("a.csv", "http://127.0.0.1:9/a.csv", "0" * 64)
    with pytest.raises(DataError, match=r"transfer from http://127\.0\.0\.1:9/a\.csv failed"):
        get(replace(find_set("oboe"), files=(nowhere,)), tmp_path)


def test_a_folder_that_cannot_be_written_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "sample").write_text("a file in the way")
    with pytest.raises(DataError, match=r"cannot be written"):
        get(set_at(server), tmp_path)


def test_a_set_without_known_hash_says_where_it_is_and_how_to_lay_it_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"(?s)kaist_walks.*CRAWDAD.*KAIST_30sec_NNN"):
        get(find_set("kaist_walks"), tmp_path)
    assert not list(tmp_path.iterdir())
