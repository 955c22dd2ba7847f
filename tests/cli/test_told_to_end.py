"""Ctrl-C at any moment of a start: one line, at once, and no word of a traceback."""

import signal
import time

import pytest
from cli.test_program import started
from servers import free_port


@pytest.mark.parametrize("after_s", [1.0, 2.5, 6.0])
@pytest.mark.parametrize("program", ["serve", "agent"])
def test_a_program_that_begins_can_be_ended(program, after_s, tmp_path):
    own = {
        "serve": ("--database", tmp_path / "twins.db", "--port", free_port()),
        "agent": ("--broker", f"mqtt://127.0.0.1:{free_port()}"),
    }
    with started(program, "three-sites", *own[program]) as process:
        time.sleep(after_s)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert "Traceback" not in err and "error" not in err, err
    assert (process.returncode, err.splitlines()[-1:]) == (130, ["ended before it began"]) or process.returncode == 0
