"""A tenant who is signed in walks the pages and reads nothing of anybody else: neither shown, nor hidden in a page."""

import json

import pytest
from service.dashboard.chromium import Chromium, Tab
from service.dashboard.on_a_socket import OnASocket
from tenant_worlds import SLICE, TENANT, World

from twinloop.service.dashboard.words import number

PAGES = (
    "/ui/",
    "/ui/twins/user",
    "/ui/twins/cell",
    "/ui/twins/server",
    "/ui/twins/slice",
    f"/ui/twins/slice/{SLICE}",
    "/ui/slices",
    "/ui/decisions",
    "/ui/collection",
    "/ui/health",
    "/ui/nowhere",
)
OWN = """[...document.querySelectorAll('main a[href*="/twins/user/"]')].map(one => one.pathname)"""


@pytest.fixture(scope="module")
def world(worlds) -> World:
    return worlds[0]


@pytest.fixture(scope="module")
def at(world):
    served = OnASocket(world.app)
    yield served.at
    served.close()


@pytest.fixture(scope="module")
def chromium():
    browser = Chromium()
    yield browser
    browser.close()


@pytest.fixture
def come(chromium, world, at):
    """Whoever has a token, signed in, in a browser without cookies of others."""
    tabs: list[Tab] = []

    def sign_in(who: str) -> Tab:
        tab = chromium.person()
        tabs.append(tab)
        tab.size(1280)
        tab.open(f"{at}/ui/sign-in")
        tab.sees("Paste a token")
        tab.type("#token", world.secrets[who])
        tab.press("Sign in")
        tab.sees("The network now")
        return tab

    yield sign_in
    for tab in tabs:
        tab.close()


def canaries(world: World) -> list[str]:
    """Others' names and numbers, also as pages write numbers."""
    written = number(world.others.number)
    return [*world.others.canaries, written, f"{number(world.others.number / 1e3)} k"]


def read(tab: Tab, address: str) -> str:
    """All that a page shows, holds and was sent, once it has heard of everything that it looks at."""
    tab.open(address)
    tab.awaits("document.querySelector('main h1') && !document.querySelector('main [aria-busy=true]')")
    heard = -1
    while heard != (heard := len(tab.received)):
        tab.run("new Promise(done => setTimeout(done, 400))")
    return "\n".join((tab.text(), tab.run("document.documentElement.outerHTML"), tab.received))


def test_no_page_of_a_tenant_holds_anything_of_others(come, world, at):
    tab = come(TENANT)
    pages, walked = [at + page for page in PAGES], 0
    while pages:
        address = pages.pop()
        told = read(tab, address)
        found = [one for one in canaries(world) if one in told]
        assert not found, f"{address} lets {found} be read"
        walked += 1
        if address == f"{at}/ui/twins/user":
            own = set(tab.run(OWN))
            assert len(own) == 2, "its two people, under pseudonyms"
            pages += [at + path for path in own]
    assert walked == len(PAGES) + 2


@pytest.mark.parametrize("kind", ["user", "slice"])
def test_asking_for_others_by_name_is_answered_as_for_nobody(come, world, at, kind):
    tab = come(TENANT)
    theirs = world.others.users[0][0] if kind == "user" else world.others.slices[0][0]
    for name in (theirs, "nobody-qx"):
        told = read(tab, f"{at}/ui/twins/{kind}/{name}")
        assert f"There is no {kind} '{name}'" in told
        assert not [one for one in canaries(world) if one in told and one != name]


def test_the_same_walk_finds_others_where_they_may_be_seen(come, world, at):
    """What a tenant does not read is there to be read: an admin does."""
    tab = come("admin")
    told = "".join(read(tab, at + page) for page in PAGES)
    unread = [one for one in (*world.others.canaries, number(world.others.number)) if one not in told]
    assert not [one for one in unread if not one.startswith("7771")], json.dumps(unread)
