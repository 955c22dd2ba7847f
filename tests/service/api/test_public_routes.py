"""What anybody may ask: the description, the page that shows it, health; counted, and with nothing from elsewhere."""

import re

import pytest

from twinloop.service.security import Limits, LimitSettings, Rate


@pytest.fixture
def hurried(new_stage):
    """A server on which an address without a credential may ask three times."""
    stage = new_stage()
    few = LimitSettings(unknown=Rate(per_s=0.01, burst=3))
    stage.guard._limits = Limits(few, stage.clock)
    return stage


@pytest.mark.parametrize(
    ("path", "status"),
    [("/readyz", 503), ("/openapi.json", 200), ("/docs", 200), ("/nothing", 404)],
)
def test_who_shows_nothing_may_ask_so_often(hurried, path, status):
    answers = [hurried.call("GET", path, None) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [status] * 3 + [429]
    assert answers[-1].headers["retry-after"] and answers[-1].json()["hint"]
    assert hurried.call("GET", "/healthz", None).status_code == 200


def test_the_page_of_the_description_needs_nothing_from_elsewhere(stage):
    page = stage.call("GET", "/docs", None)
    assert "http" not in page.text and "script-src 'self'" in page.headers["content-security-policy"]
    parts = re.findall(r'(?:src|href)="(docs/[^"]+)"', page.text)
    assert len(parts) == 2
    assert {stage.call("GET", f"/{part}", None).status_code for part in parts} == {200}
    assert stage.call("GET", "/docs/assets/../application.py", None).status_code == 404
