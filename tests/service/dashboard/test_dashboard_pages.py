"""The dashboard as people see it, in a browser without a window."""

import pytest
from twin_stage import Future

from twinloop.service.security import Pseudonyms, Sight, Tenancy

PAGES = {
    "/ui/": ("The network now", "Cells", "Servers", "4 people on the map"),
    "/ui/twins/user": ("Users", "ann", "bob", "1 to 4 of 4"),
    "/ui/twins/user/ann": ("User ann", "Course", "Emulated:", "Desired"),
    "/ui/slices": ("Promised, reserved, used", "admitted", "Where it is reserved", "Orders of slices"),
    "/ui/decisions": ("All decisions", "Nothing was decided yet."),
    "/ui/collection": ("Sites", "Sources", "Nothing was refused."),
    "/ui/health": (
        "The loop",
        "Mode and kill switch",
        "Time of a slot",
        "Sites and receipts",
        "Lines to other systems",
        "Rows coming in",
    ),
    "/ui/nowhere": ("No such page", "Health"),
}
WHERE = "document.querySelector('.tl-map circle').style.transform"


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_every_page_shows_what_the_server_knows_and_complains_of_nothing(person, shop, width, dark):
    tab = person(width=width, dark=dark)
    for page, words in PAGES.items():
        tab.open(shop.at + page)
        tab.sees(*words)
        complaints = [said for said in tab.complaints if page != "/ui/nowhere"]
        assert complaints == [], page
        assert tab.run("document.documentElement.scrollWidth <= window.innerWidth"), f"{page} is wider than the screen"
        at_home = (shop.at, shop.at.replace("http", "ws"), "data:")
        assert not [url for url in tab.asked if not url.startswith(at_home)], page
        paper = tab.run("getComputedStyle(document.body).backgroundColor")
        assert (max(int(part) for part in paper[4:-1].split(",")) < 60) == dark


def test_people_move_every_second_and_the_page_does_not_grow(person, shop):
    tab = person()
    tab.awaits("document.querySelectorAll('.tl-map circle').length === 4")
    shop.walk(shop.platform.runner.slot + 1)
    before = tab.run(WHERE)
    size = tab.run("document.querySelectorAll('*').length")
    for _ in range(2):
        shop.walk(shop.platform.runner.slot + 1)
        tab.awaits(f"{WHERE} !== '{before}'")
        before = tab.run(WHERE)
    assert abs(tab.run("document.querySelectorAll('*').length") - size) <= 2
    assert tab.complaints == []


def test_arrow_keys_go_from_person_to_person_and_enter_opens_the_twin(person, shop):
    tab = person()
    tab.awaits("document.querySelectorAll('.tl-map circle').length === 4")
    tab.run("document.querySelector('.tl-map-frame').focus()")
    tab.key("ArrowRight")
    tab.awaits("document.querySelectorAll('circle.picked').length === 1")
    tab.sees("Open the twin")
    tab.key("Enter")
    tab.sees("Course")
    assert "/ui/twins/user/" in tab.run("location.href")


def test_whoever_comes_by_keyboard_reaches_the_content_first(person, shop):
    tab = person()
    tab.open(f"{shop.at}/ui/slices")
    tab.sees("Promised, reserved, used")
    tab.key("Tab")
    assert tab.run("document.activeElement.innerText") == "Skip to main content"
    tab.key("Enter")
    tab.awaits("document.activeElement.tagName === 'MAIN'")


def test_an_operator_approves_a_decision_with_a_comment(person, shop):
    name = shop.decide()
    tab = person("operator")
    tab.open(f"{shop.at}/ui/decisions")
    tab.sees(name, "waiting", "approved: the twins expect", "What would change")
    tab.press("Approve …")
    tab.sees("Approve this decision?")
    tab.type("textarea", "as agreed")
    tab.press("Approve")
    tab.sees("sent, not yet confirmed", "as agreed")
    kept = shop.known(f"/decisions/{name}")
    assert (kept["state"], kept["by"], kept["comment"]) == ("adopted", "a operator", "as agreed")
    assert tab.complaints == []


def test_a_viewer_sees_the_decision_and_why_the_buttons_are_off(person, shop):
    name = shop.decide()
    tab = person("viewer")
    tab.open(f"{shop.at}/ui/decisions?id={name}")
    tab.sees(name, "Your token (viewer) may not do this: it lacks the permission decide.")
    assert tab.run("[...document.querySelectorAll('main button')].every(button => button.disabled)")
    tab.open(f"{shop.at}/ui/health")
    tab.sees("it lacks the permission kill", "it lacks the permission mode")


def test_the_kill_switch_asks_first_and_is_seen_everywhere(person, shop):
    tab = person("operator")
    tab.open(f"{shop.at}/ui/health")
    tab.press("Kill switch …")
    tab.sees("Stop everything new?")
    assert shop.known("/mode")["mode"] == "advise"
    tab.press("Stop everything new")
    tab.sees("The kill switch is on", "Release the kill switch …")
    assert shop.known("/mode")["mode"] == "halted"
    tab.press("Release the kill switch …")
    tab.press("Release the kill switch")
    tab.sees("advise: a person decides")
    assert shop.known("/mode")["mode"] == "advise"


def test_a_tenant_sees_its_own_and_is_told_what_is_not_for_its_token(person, shop):
    tab = person("acme")
    tab.open(f"{shop.at}/ui/health")
    tab.sees("Not for your token: metrics is not among the permissions of a tenant")
    tab.open(f"{shop.at}/ui/slices")
    tab.sees("premium", "Not for your token: what other slices hold is not yours to see.")
    assert "standard" not in tab.text()
    tab.open(f"{shop.at}/ui/twins/user")
    tab.sees("1 to 2 of 2")
    assert not {"ann", "bob", "cy", "dee"} & set(tab.text().split())


def test_an_order_is_checked_and_the_answer_stands_in_the_dialog(person, shop):
    tab = person()
    tab.open(f"{shop.at}/ui/slices")
    tab.sees("Promised, reserved, used", "premium")
    tab.press("Order …")
    tab.sees("Order a slice")
    assert tab.run("document.querySelector('[aria-label=\"Rate of every user, Mbit/s\"]').value") != ""
    tab.press("Check")
    tab.sees("No slot has been lived yet; try again in 2 s.")
    tab.press("Close")
    tab.awaits("!document.body.innerText.includes('Order a slice')")
    assert tab.complaints == []


def test_refused_rows_are_answerable(person, shop):
    row = {"kind": "user", "id": "ann", "values": {"buffer_s": -5}}
    body = {"source": "west", "sequence": 7, "rows": [row]}
    assert shop.call("POST", "/reports", json=body).json()["refused"] == 1
    tab = person(width=390)
    tab.open(f"{shop.at}/ui/collection")
    tab.sees("buffer_s is -5 s; allowed are 0 to 60 s", '"id":"ann"')
    assert tab.run("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_twin_that_is_not_there_is_said_to_be_gone(person, shop):
    tab = person()
    tab.open(f"{shop.at}/ui/twins/user/nobody")
    tab.sees("There is no user 'nobody'", "All users")
    tab.awaits("![...document.querySelectorAll('h2')].some(one => one.innerText === 'Course' && one.offsetParent)")


def test_a_wrong_token_is_refused_in_words_and_never_stands_in_an_address(chromium, shop):
    tab = chromium.person()
    tab.open(f"{shop.at}/ui/health")
    tab.sees("Paste a token")
    assert tab.run("location.pathname + location.search") == "/ui/sign-in?next=/health"
    tab.type("#token", "tl_wrong")
    tab.key("Enter")
    tab.sees("Not accepted: the token is not known")
    tab.type("#token", "tl_\u00e9")
    tab.key("Enter")
    tab.sees("Not accepted: the token holds characters that no token has")
    tab.type("#token", shop.secrets["viewer"])
    tab.key("Enter")
    tab.sees("Mode and kill switch")
    assert not [url for url in tab.asked if "tl_" in url]
    assert "tl_" not in tab.run("JSON.stringify([document.cookie, {...localStorage}, {...sessionStorage}])")
    tab.close()


def test_an_open_page_ends_with_its_token(person, shop):
    shop.secrets["guest"] = shop.token("viewer")
    tab = person("guest")
    token = shop.secrets["guest"].split("_")[1]
    assert shop.call("DELETE", f"/tokens/{token}").status_code == 200
    tab.sees("You were signed out: the token expired or was revoked.")
    tab.open(f"{shop.at}/ui/")
    tab.sees("Paste a token")


def test_who_signs_out_leaves_no_page_open(chromium, person, shop):
    shop.secrets["leaver"] = shop.token("operator")
    tab = person("leaver")
    other = chromium.tab(tab.jar)
    other.open(f"{shop.at}/ui/health")
    other.sees("Mode and kill switch")
    tab.open(f"{shop.at}/ui/")
    tab.press("Sign out")
    tab.sees("Paste a token")
    other.sees("Paste a token")
    other.close()


def test_before_the_first_slot_the_pages_say_what_they_wait_for(person, shop):
    tab = person()
    platform, sight = shop.platform, shop.platform.sight
    tenancy = Tenancy(platform.grants, Pseudonyms(platform.records))
    platform.sight = Sight(tenancy, platform.keeper, Future(platform))
    try:
        tab.open(f"{shop.at}/ui/")
        tab.sees("No slot has been lived yet. Ask again in a few seconds.")
    finally:
        platform.sight = sight
    tab.sees("4 people on the map")


def test_colours_are_chosen_and_remembered(person, shop):
    tab = person()
    tab.press("Colours: as the system. Change.")
    tab.press("Colours: light. Change.")
    tab.awaits("document.documentElement.dataset.theme === 'dark'")
    tab.open(f"{shop.at}/ui/slices")
    tab.sees("Promised, reserved, used")
    assert tab.run("document.documentElement.dataset.theme") == "dark"
    assert tab.run("document.body.classList.contains('body--dark')")


def test_a_site_of_which_nothing_is_reported_is_named(person, shop):
    dispatcher, now = shop.platform.dispatcher, shop.clock()
    (site,) = dispatcher.sites
    dispatcher.mirrored({site: now - 60.0}, {site: 10.0}, withhold=True)
    tab = person()
    tab.open(f"{shop.at}/ui/health")
    tab.sees(f"Silent: {site}. What the twins know of their cells and servers is old.")
    metrics = shop.get("/metrics").text
    assert f'twinloop_site_report_age_seconds{{site="{site}"}} 60.0' in metrics
    (told,) = shop.known("/system")["sites"]
    assert (told["silent"], told["reported_s"]) == (True, now - 60.0)
    dispatcher.mirrored({site: now}, {site: 10.0}, withhold=True)
    tab.awaits("!document.body.innerText.includes('Silent:')")
    assert tab.complaints == []


def test_the_description_of_the_api_is_a_page_of_its_own(person, shop):
    tab = person()
    tab.open(f"{shop.at}/docs")
    tab.sees("/twins/{kind}/{name}", "/slices/check", "Authorize")
    assert tab.complaints == [] and not [url for url in tab.asked if not url.startswith((shop.at, "data:"))]
