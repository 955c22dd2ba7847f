"""twinloop demo live, as a person starts it, in a folder that an earlier one kept."""

import itertools
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from servers import free_port

from twinloop.service.records import Records
from twinloop.service.security import Tokens
from twinloop.storage import open_storage

PATIENCE_S = 300
PLACE = {"JAX_PLATFORMS": "cpu", "TWINLOOP_CACHE": str(Path(__file__).parents[2] / ".cache" / "trials")}


@pytest.fixture
def kept(tmp_path):
    """What an earlier demo leaves behind: a database, and the token of its first start."""
    folder = tmp_path / "kept"
    folder.mkdir()
    with open_storage(str(folder / "twinloop.db")) as storage:
        _, secret = Tokens(Records(storage, time.time), time.time).first_run()
    (folder / "admin-token").write_text(secret + "\n", encoding="utf-8")
    return folder


def test_a_demo_goes_on_in_the_folder_that_it_kept_and_ends_with_all_that_it_started(kept):
    options = ["--keep", str(kept), "--no-browser", "--port", str(free_port())]
    command = [sys.executable, "-m", "twinloop", "demo", "live", *options]
    with subprocess.Popen(command, env={**os.environ, **PLACE}, stderr=subprocess.PIPE, text=True) as demo:
        giving_up = threading.Timer(PATIENCE_S, demo.kill)
        giving_up.start()
        told = "".join(itertools.takewhile(lambda line: "sign in with" not in line, demo.stderr))
        demo.terminate()
        assert demo.wait(PATIENCE_S) == 0, told
        giving_up.cancel()
    assert "people are moving" in told
    with open_storage(str(kept / "twinloop.db")) as storage:
        assert {one.source for one in storage.events.sources()} <= {"west", "centre", "east"}
        assert storage.events.last_id() > 0


def test_a_database_without_its_token_is_one_line(kept, twinloop):
    (kept / "admin-token").unlink()
    status, _, err = twinloop("demo", "live", "--keep", kept, "--no-browser")
    assert status == 2
    assert err == f"error: {kept} holds a database, but not the admin-token that goes with it; give another --keep\n"
