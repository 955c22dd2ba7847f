"""Reports of made-up runs, each written once for all tests."""

from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pytest
from synthetic_run import Shape, write_compare, write_partial, write_run

from twinloop.reporting import write_comparison, write_report


@dataclass(frozen=True)
class Page:
    """A written page: its file, its text as written, and the words that a reader sees."""

    path: Path
    text: str
    words: str

    @property
    def directory(self) -> Path:
        return self.path.parent


class Reader(HTMLParser):
    """Collects the words outside of styles and drawings."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = 0
        self.words: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.hidden += tag in ("style", "svg")

    def handle_endtag(self, tag):
        self.hidden -= tag in ("style", "svg")

    def handle_data(self, data):
        if not self.hidden:
            self.words.append(data)


def opened(path: Path) -> Page:
    text = path.read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(text)
    return Page(path, text, " ".join(" ".join(reader.words).split()))


@pytest.fixture(scope="session")
def campus(tmp_path_factory) -> Page:
    return opened(write_report(write_run(tmp_path_factory.mktemp("runs") / "campus")))


@pytest.fixture(scope="session")
def partial(tmp_path_factory) -> Page:
    return opened(write_report(write_partial(tmp_path_factory.mktemp("runs") / "partial")))


@pytest.fixture(scope="session")
def lonely(tmp_path_factory) -> Page:
    shape = Shape(users=1, slots=60, experience=False, swipes=False, refused_only=True, retention=False)
    return opened(write_report(write_run(tmp_path_factory.mktemp("runs") / "lonely", shape)))


@pytest.fixture(scope="session")
def compared(tmp_path_factory) -> Page:
    return opened(write_comparison(write_compare(tmp_path_factory.mktemp("runs") / "compared")))


@pytest.fixture(scope="session")
def felt_compared(tmp_path_factory) -> Page:
    return opened(write_comparison(write_compare(tmp_path_factory.mktemp("runs") / "felt", experience=True)))


@pytest.fixture(scope="session")
def run_dir(campus) -> Path:
    """A finished run of 60 users in 5 minutes."""
    return campus.directory
