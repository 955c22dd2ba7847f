"""The frame around every page: where one is, whether twins are alive, what must not be overlooked."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from nicegui import ui

from twinloop.service.dashboard.asking import Answer
from twinloop.service.dashboard.visits import Visit
from twinloop.service.dashboard.widgets import Pulse, ThemeSwitch, heading, pill, shade
from twinloop.service.dashboard.words import MODES, number

FORBIDDEN = 403
WAITING = "/decisions?state=waiting&limit=100"
SLOW_S = 3.0
_UNFOLD = """(event) => {
    const open = document.getElementById("pages").classList.toggle("open");
    event.currentTarget.setAttribute("aria-expanded", open);
}"""


@dataclass(frozen=True)
class Place:
    """A page in the navigation."""

    path: str
    name: str
    icon: str
    permission: str


PLACES = (
    Place("/", "Map", "map", "read_twins"),
    Place("/twins/user", "Twins", "people", "read_twins"),
    Place("/slices", "Slices", "layers", "read_slices"),
    Place("/decisions", "Decisions", "gavel", "read_decisions"),
    Place("/collection", "Collection", "sensors", "read_ingest"),
    Place("/health", "Health", "monitor_heart", "metrics"),
)


@contextmanager
def framed(visit: Visit, here: str, title: str, lead: str = "") -> Generator[None]:
    """The frame; what is made inside stands in the page's main part. `here` is the path of one of `PLACES`."""
    ui.page_title(f"{title} · twinloop")
    main = ui.element("main").classes("tl-main").props("tabindex=-1")
    _top(visit)
    _navigation(visit, here)
    ui.skip_link(target=main)
    with main:
        heading(title, 1)
        if lead:
            ui.label(lead).classes("tl-lead")
        yield


def _top(visit: Visit) -> None:
    caller = visit.caller
    with ui.header(wrap=False).classes("tl-top"):
        menu = _button("menu", "Pages").classes("tl-menu").on("click", js_handler=_UNFOLD)
        menu.props["aria-expanded"], menu.props["aria-controls"] = "false", "pages"
        ui.link("twinloop", "/").classes("tl-brand")
        pulse = Pulse()
        mode = pill("").classes("tl-mode")
        mode.set_visibility(False)
        ui.element("span").classes("tl-gap")
        ui.label(f"{caller.name} · {caller.role}").classes("tl-who")
        ThemeSwitch()
        _button("logout", "Sign out").on("click", visit.sign_out)
    banner = ui.label("").classes("tl-banner").props("role=alert")
    banner.set_visibility(False)
    banner.move(target_index=0)

    def beat(answer: Answer) -> None:
        pulse.set_visibility(answer.status != FORBIDDEN)
        if answer.status == FORBIDDEN:
            return
        text, tone = _alarm(answer)
        banner.set_text(text)
        shade(banner, tone)
        banner.set_visibility(bool(text))
        if not answer.ok:
            return
        slot = answer.get("slot")
        if slot is None or slot < 0:
            pulse.say("no slot yet")
        else:
            pulse.beat(slot, answer.body["now_s"])
        words, tone = MODES.get(answer.body["mode"], (answer.body["mode"], ""))
        mode.set_text(answer.body["mode"])
        mode.props["title"] = words
        shade(mode, tone)
        mode.set_visibility(True)

    visit.watch("/system", beat)


def _alarm(answer: Answer) -> tuple[str, str]:
    """What everybody must see, whatever the page."""
    if not answer.ok:
        return f"The server does not tell how it is: {answer.detail}. What is shown may be old.", "bad"
    if answer.get("mode") == "halted":
        return "The kill switch is on: nothing is sent to the network; sites keep what they do.", "bad"
    if answer.get("held"):
        return f"Nothing new is decided: {answer.get('held')}. The standing decision goes on.", "warn"
    return "", ""


def _button(icon: str, label: str) -> ui.element:
    with ui.element("button").classes("tl-icon") as button:
        ui.icon(icon).props("aria-hidden=true")
    button.props["type"], button.props["aria-label"], button.props["title"] = "button", label, label
    return button


def _navigation(visit: Visit, here: str) -> None:
    navigation = ui.element("nav").classes("tl-nav").props('id=pages aria-label="Pages"')
    navigation.move(target_index=0)
    with navigation:
        for place in PLACES:
            _link(visit, place, here)


def _link(visit: Visit, place: Place, here: str) -> None:
    with ui.link(target=place.path) as link:
        ui.icon(place.icon).props("aria-hidden=true")
        ui.label(place.name)
        if place.name == "Decisions" and not visit.caller.why_not(place.permission):
            _count(visit)
    if place.path == here:
        link.props["aria-current"] = "page"
    if place.permission not in visit.caller.permissions:
        link.classes("tl-locked")
        link.props["title"] = link.props["aria-description"] = visit.caller.why_not(place.permission)


def _count(visit: Visit) -> None:
    count = ui.label("").classes("tl-count")
    count.set_visibility(False)

    def show(answer: Answer) -> None:
        waiting = len(answer.get("decisions", ()))
        count.set_text(number(waiting))
        count.props["aria-label"] = f"{waiting} waiting for a person"
        count.set_visibility(waiting > 0)

    visit.watch(WAITING, show, SLOW_S)
