"""Settings of a server from a file: what is in it holds, what cannot be is one line that names the field."""

import re
from pathlib import Path

import pytest

from twinloop.errors import DataError
from twinloop.service.configuration import Configuration, configured

WHOLE = """
scenario = "campus"
mode = "act"
[pace]
deadline_s = 0.5
[intake]
waiting_events = 10
[keeping]
tiers = [{step_s = 1.0, keep_s = 60.0}, {step_s = 5.0, keep_s = 600.0}]
[limits]
largest_change = 0.5
[patience]
retries = 3
[privacy]
epsilon_a_day = 1.0
[oidc]
issuer = "https://id.example"
audience = ["twinloop"]
jwks = "keys.json"
roles = {netops = "operator"}
"""


def test_what_a_file_says_holds_unless_an_option_says_otherwise(tmp_path):
    (tmp_path / "s.toml").write_text(WHOLE)
    found = configured(tmp_path / "s.toml", mode="advise", port=None)
    assert (found.scenario, found.mode, found.port) == ("campus", "advise", 8080)
    settings = found.settings
    assert settings.pace.deadline_s == 0.5 and settings.bounds.waiting_events == 10
    assert [tier.keep_s for tier in settings.keeping.tiers] == [60.0, 600.0]
    assert settings.limits.largest_change == 0.5 and settings.patience.retries == 3
    assert settings.privacy.epsilon_a_day == 1.0
    assert found.oidc is not None and found.oidc.roles == {"netops": "operator"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("porz = 1", "porz: there is no such field"),
        ("port = 99999", "port: input should be less than or equal to 65535"),
        ("[pace]\ndeadline_s = 2", "pace.deadline_s: input should be less than or equal to 1"),
        ("[pace]\ndedline_s = 0.5", "pace.dedline_s: there is no such field"),
        ("[keeping]\ntiers = [{step_s=5, keep_s=60},{step_s=1, keep_s=90}]", "tiers must go from fine to coarse"),
        ("mode = 'halted'", "mode: input should be"),
        ("[telemetry]\nendpoint = 'collector'", "telemetry.endpoint"),
        ("[oidc]\nissuer='x'\naudience=['y']\nroles={}\njwks='http://far.example/k'", "must be a file or an https"),
        ("port = ", "it is no TOML"),
        ("\x00", "it is no TOML"),
    ],
)
def test_what_cannot_be_is_one_line_that_names_the_field(tmp_path, text, said):
    path = tmp_path / "s.toml"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        configured(path)
    assert said in str(caught.value) and "s.toml" in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_no_text_is_told(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        configured(tmp_path / "none.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="no TOML"):
        configured(tmp_path / "b.toml")


def test_the_documented_file_holds_every_field_with_its_default(tmp_path):
    (block,) = re.findall(r"```toml\n(.*?)```", Path("docs/live.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "s.toml").write_text(block)
    assert configured(tmp_path / "s.toml") == configured(None)
    told = set(re.findall(r"^#? ?\[?(\w+)", block, re.MULTILINE)) | {"broker_ca"}
    assert set(Configuration.model_fields) - told == {"ladder_bps"}
