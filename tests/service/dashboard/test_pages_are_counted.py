"""What of the dashboard anybody may ask, as a client without a browser finds it."""

import re

import httpx
import pytest

from twinloop.service.security import Limits, LimitSettings, Rate


@pytest.fixture
def client(shop, monkeypatch):
    """Somebody elsewhere, of whom three requests are taken."""
    few = LimitSettings(unknown=Rate(per_s=0.01, burst=3))
    monkeypatch.setattr(shop.guard, "_limits", Limits(few, shop.clock))
    with httpx.Client(base_url=shop.at, headers={"X-Forwarded-For": "192.0.2.7"}) as made:
        yield made


def test_pages_are_counted(client):
    answers = [client.get("/ui/sign-in") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[-1].headers["retry-after"] and answers[-1].json()["hint"]


def test_parts_of_pages_are_counted_until_they_were_found(client):
    found = re.search(r'(/ui/_nicegui/[^"]+\.css)', client.get("/ui/sign-in").text)
    assert found is not None
    assert {client.get(found[1]).status_code for _ in range(40)} == {200}
    absent = [client.get(f"/ui/_nicegui/9.9.9/{number}").status_code for number in range(40)]
    assert absent[-1] == 429 and client.get(found[1]).status_code == 200


def test_new_lines_of_pages_are_counted(client):
    shaken = "/ui/_nicegui_ws/socket.io/?EIO=4&transport=polling"
    assert [client.get(shaken).status_code for _ in range(4)] == [200, 200, 200, 429]


@pytest.mark.parametrize(("scheme", "secure"), [("http", False), ("https", True)])
def test_the_cookie_of_a_page_that_came_encrypted_stays_so(client, scheme, secure):
    cookie = client.get("/ui/sign-in", headers={"X-Forwarded-Proto": scheme}).headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie and ("secure" in cookie) is secure
