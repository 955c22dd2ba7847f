"""Who is bound to a site reports its own cells and servers, and users wherever they are."""

import pytest
from service.conftest import Clock
from twin_stage import QUIET, Stage

from twinloop.service.live_platform import Platform
from twinloop.storage import open_storage

ROWS = [
    {"kind": "cell", "id": "west-macro", "values": {"load": 0.5}},
    {"kind": "cell", "id": "east-macro", "values": {"load": 0.5}},
    {"kind": "server", "id": "east-edge", "values": {"utilisation": 0.5}},
    {"kind": "user", "id": "ann", "slice": "premium", "values": {"buffer_s": 1.0}},
]


@pytest.fixture(scope="module")
def stage(three_sites, tmp_path_factory):
    clock = Clock()
    storage = open_storage(str(tmp_path_factory.mktemp("owned") / "twins.db"))
    made = Stage(Platform(three_sites, storage, clock, QUIET), clock)
    for name, sources in (("west", ["west"]), ("both", ["west", "east"]), ("probe", ["probe"]), ("free", [])):
        made.secrets[name] = made.token("reporter", sources=sources)
    yield made
    made.close()


def sent(stage, who: str, source: str) -> list[str]:
    """Ids that are refused."""
    stage.sequence = getattr(stage, "sequence", 0) + 1
    answer = stage.call("POST", "/reports", who, json={"source": source, "sequence": stage.sequence, "rows": ROWS})
    assert answer.status_code == 200, answer.text
    return [reason["id"] for reason in answer.json().get("reasons", ())]


def test_the_token_of_a_site_reports_no_other_sites_cells_and_servers(stage):
    assert sent(stage, "west", "west") == ["east-macro", "east-edge"]
    assert sent(stage, "west", "west:probe") == ["east-macro", "east-edge"]
    stage.platform.storage.check().result()
    told = stage.known("/ingest/errors", "west", source="west")["refused"]
    assert {(one["index"], one["reason"]) for one in told} == {
        (
            1,
            "cell 'east-macro' belongs to site east, and this was sent for site west; have east report it, "
            "with a token or topic of its own",
        ),
        (
            2,
            "server 'east-edge' belongs to site east, and this was sent for site west; have east report it, "
            "with a token or topic of its own",
        ),
    }


def test_a_token_of_two_sites_speaks_for_one_at_a_time(stage):
    assert sent(stage, "both", "west") == ["east-macro", "east-edge"]
    assert sent(stage, "both", "east") == ["west-macro"]


def test_who_is_bound_to_no_site_reports_everything(stage):
    assert sent(stage, "probe", "probe") == []
    assert sent(stage, "free", "west") == []
    assert sent(stage, "admin", "west") == []
