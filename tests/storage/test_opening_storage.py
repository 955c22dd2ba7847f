"""Opening: addresses, faults in one line without a password, one writer, tables of every age."""

import os
import sqlite3
import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, text

from twinloop.errors import MissingExtraError, StorageError
from twinloop.storage import NewEvent, open_storage
from twinloop.storage.backends import postgresql
from twinloop.storage.schema import METADATA, VERSION_TABLE

SECRET = "s3cret"


def refusal(address, **options):
    """The one line with which an address is refused."""
    with pytest.raises(StorageError) as refused:
        open_storage(address, **options).close()
    words = str(refused.value)
    assert "\n" not in words
    assert SECRET not in words
    return words


@pytest.mark.parametrize("written", ["{}", "sqlite:///{}", "sqlite+pysqlite:///{}"])
def test_a_file_is_named_by_its_path_or_url(tmp_path, written):
    path = tmp_path / "deep" / "er" / "twins.db"
    with open_storage(written.format(path)) as storage:
        assert storage.place == str(path)
        storage.settings.put("name", "value").result()
    with open_storage(str(path)) as storage:
        assert storage.settings.get("name") == "value"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("", "needs a file"),
        ("sqlite://", "needs a file"),
        (":memory:", "needs a file"),
        (f"mysql://anna:{SECRET}@localhost/twins", "databases of mysql are not supported; give a file, sqlite:///FILE"),
        (f"postgresql://anna:{SECRET}@localhost:port/twins", "cannot be read; give"),
        (f"postgresql://anna:x@{SECRET}@localhost/twins", "more than one @"),
        ("http:///:x::/", "databases of http"),
    ],
)
def test_an_address_that_cannot_be_used_says_what_can(address, words):
    assert words in refusal(address)


def test_a_file_that_cannot_be_a_database_is_left_alone(tmp_path):
    note = tmp_path / "note.txt"
    note.write_text("no database " * 100)
    assert "file is not a database" in refusal(str(note))
    assert note.read_text().startswith("no database")
    assert "is a folder" in refusal(str(tmp_path))
    assert "cannot be made (File exists)" in refusal(str(note / "twins.db"))
    assert "there is no database" in refusal(str(tmp_path / "new.db"), read_only=True)
    assert not (tmp_path / "new.db").exists()


@pytest.mark.skipif(os.getuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_that_may_not_be_written_is_named(tmp_path):
    tmp_path.chmod(0o500)
    assert "cannot be written" in refusal(str(tmp_path / "twins.db"))
    assert "cannot be made (Permission denied)" in refusal(str(tmp_path / "deep" / "twins.db"))


def test_tables_of_something_else_are_left_alone(tmp_path):
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE bookmarks (address TEXT)")
    other.close()
    assert "holds the tables of something else (bookmarks)" in refusal(str(path))


def test_a_shared_postgresql_database_is_used_unless_names_collide(bare_postgres_database):
    url = bare_postgres_database()
    with create_engine(url.replace("postgresql:", "postgresql+psycopg:")).connect() as other:
        other.execute(text("CREATE TABLE bookmarks (address TEXT)"))
        other.commit()
        open_storage(url).close()
        other.execute(text(f"DROP TABLE {VERSION_TABLE}"))
        other.commit()
        other.connection.invalidate()
    assert "holds the tables of something else (events, frames, log_lines)" in refusal(url)


def test_postgresql_says_in_one_line_why_it_cannot_be_used(postgres):
    postgres.execute("CREATE ROLE guarded LOGIN PASSWORD 'right'")
    wrong = postgres.url("postgres", f"guarded:{SECRET}")
    assert "password authentication failed" in refusal(wrong)
    assert 'database "missing" does not exist' in refusal(postgres.url("missing"))
    nobody = postgres.url("postgres").replace(str(postgres.port), "1").replace("postgres@", f"postgres:{SECRET}@")
    assert refusal(f"{nobody}?password={SECRET}").startswith("postgresql://postgres@127.0.0.1:1/postgres: ")


def test_postgresql_without_its_driver_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtraError, match=r"twinloop\[postgres\]"):
        open_storage("postgresql://localhost/twins")


def test_a_second_writer_is_refused_by_the_name_of_the_first(url, monkeypatch):
    monkeypatch.setattr(postgresql, "PATIENCE_S", 0.0)
    with open_storage(url) as first:
        assert f"process {os.getpid()}" in refusal(url)
        assert first.events.append([NewEvent("a", 1, 0.0, 1, b"")]).result() == [first.events.last_id()]
    open_storage(url).close()


def test_readers_open_beside_the_writer_and_change_nothing(url):
    with open_storage(url) as storage, open_storage(url, read_only=True) as reader:
        ids = storage.events.append([NewEvent("a", 1, 0.0, 1, b"")]).result()
        assert reader.events.last_id() == ids[0]
        with pytest.raises(StorageError, match="open for reading only"):
            reader.events.append([NewEvent("a", 2, 0.0, 1, b"")])
        with pytest.raises(StorageError), reader._database.reading() as connection:
            connection.execute(text("DELETE FROM events"))
        assert storage.check().result() is None
    assert reader.waiting == 0


def test_the_tables_that_migrations_make_are_those_of_the_code(url):
    open_storage(url).close()
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        options = {"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), METADATA) == []
    engine.dispose()


def test_tables_of_a_newer_version_are_left_alone(tmp_path):
    url = str(tmp_path / "twins.db")
    open_storage(url).close()
    with sqlite3.connect(url) as other:
        other.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    other.close()
    assert "written by a newer twinloop (tables 9999, this one knows up to 0001)" in refusal(url)
    assert "has the tables 9999" in refusal(url, read_only=True)


def test_a_database_that_was_never_opened_for_writing_has_nothing_to_read(bare_postgres_database):
    assert "has the tables of nothing yet" in refusal(bare_postgres_database(), read_only=True)


def test_texts_that_cannot_be_kept_whole_are_refused_with_their_database(postgres):
    postgres.execute("CREATE DATABASE ascii ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    assert "encoding SQL_ASCII" in refusal(postgres.url("ascii"))


def test_a_closed_storage_says_so(url):
    storage = open_storage(url)
    storage.close()
    storage.close()
    with pytest.raises(StorageError, match="is closed"):
        storage.check().result()
