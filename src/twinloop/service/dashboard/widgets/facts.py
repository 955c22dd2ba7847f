"""Panels with what is wrong said in them, facts by name, states as pills, and buttons that say why they cannot."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

from nicegui import ui
from nicegui.element import Element

from twinloop.service.dashboard.asking import UNANSWERED, Answer

Tone = str
"""One of `TONES`, "" for none."""
TONES = frozenset({"good", "warn", "bad", "info", "quiet"})
FORBIDDEN, ABSENT, OFTEN, NOT_YET = 403, 404, 429, 503


def shade(element: Element, tone: Tone) -> None:
    """Gives an element a tone in place of the one it has."""
    element.classes(remove=" ".join(TONES - {tone}))
    element.classes(add=tone)


def heading(text: str, level: Literal[1, 2, 3] = 2) -> Element:
    """A heading."""
    element = ui.element(f"h{level}").classes(f"tl-h{level}")
    with element:
        ui.label(text)
    return element


def pill(text: str, tone: Tone = "") -> ui.label:
    """A state in a word or two."""
    return ui.label(text).classes(f"tl-pill {tone}")


def plain_button(text: str, act: Callable[[], object] | None = None) -> ui.button:
    """A button."""
    return ui.button(text, on_click=act, color=None).props("no-caps unelevated").classes("tl-button")


class Panel:
    """A card with a title. `settle` says in it what is wrong; what was shown before stays, marked as old."""

    def __init__(self, title: str, note: str = "") -> None:
        self.card = ui.element("section").classes("tl-panel")
        with self.card:
            with ui.element("div").classes("tl-panel-head"):
                self.title = heading(title)
                self.tools = ui.element("div").classes("tl-tools")
            if note:
                ui.label(note).classes("tl-note")
            self._notice = ui.label("Asking the server …").classes("tl-notice quiet").props('role="status"')
            self.body = ui.element("div").classes("tl-panel-body")
        self.body.set_visibility(False)

    def __enter__(self) -> "Panel":
        """What is made inside stands in the body."""
        self.body.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.body.__exit__(*error)

    def settle(self, answer: Answer) -> bool:
        """Shows the body where there is an answer, else why there is none. True where there is one."""
        if answer.ok:
            self.tell("")
            self.body.set_visibility(True)
            self.body.classes(remove="tl-old")
            return True
        text, tone = reason(answer)
        self.tell(text, tone)
        self.body.classes(add="tl-old")
        return False

    def tell(self, text: str, tone: Tone = "quiet") -> None:
        """A word on the whole panel; "" for none."""
        if self._notice.text != text:
            self._notice.set_text(text)
            shade(self._notice, tone)
        self._notice.set_visibility(bool(text))


def reason(answer: Answer) -> tuple[str, Tone]:
    """Why there is no answer, in words, and its tone."""
    more = f" {answer.hint[:1].upper()}{answer.hint[1:]}." if answer.hint else ""
    told = f"{answer.detail[:1].upper()}{answer.detail[1:]}.{more}"
    if answer.status == FORBIDDEN:
        return f"Not for your token: {answer.detail}.{more}", "quiet"
    if answer.status == ABSENT and answer.detail == "Not Found":
        return "This server does not offer this.", "quiet"
    if answer.status in (ABSENT, OFTEN, NOT_YET):
        return told, "quiet" if answer.status == ABSENT else "warn"
    if answer.status == UNANSWERED:
        return f"{told} What is shown is old.", "bad"
    return told, "bad"


def _fact(name: str) -> tuple[Element, ui.label]:
    with ui.element("div") as place:
        with ui.element("dt"):
            ui.label(name)
        with ui.element("dd"):
            return place, ui.label("…")


class Facts(Element):
    """Facts by name, changed where they differ."""

    def __init__(self, names: Mapping[str, str]) -> None:
        super().__init__("dl")
        self.classes("tl-facts")
        self._facts: dict[str, tuple[Element, ui.label]] = {}
        with self:
            for key, name in names.items():
                self._facts[key] = _fact(name)

    def add(self, name: str, value: Element) -> Element:
        """One more fact, whose value keeps itself; gives what holds both."""
        with self, ui.element("div") as fact:
            with ui.element("dt"):
                ui.label(name)
            with ui.element("dd") as place:
                value.move(place)
        return fact

    def say(self, key: str, text: str, tone: Tone = "") -> None:
        """Sets a fact; one without text is not shown."""
        place, value = self._facts[key]
        value.set_text(text)
        shade(value, tone)
        place.set_visibility(bool(text))


class Guarded(ui.button):
    """A button that is off, with the reason beside it, where the token lacks the permission. A `silent` one stands
    beside another that says so.
    """

    def __init__(
        self, text: str, act: Callable[[], object], why_not: str, *, tone: Tone = "", silent: bool = False
    ) -> None:
        super().__init__(text, on_click=act, color=None)
        self.props("no-caps unelevated").classes(f"tl-button {tone}")
        self._why_not = why_not
        self._silent = silent
        self._note = ui.label(why_not).classes("tl-why-not")
        self.allow("")

    def allow(self, unless: str) -> None:
        """Switches the button off for a reason, on where there is none; a lacking permission counts first."""
        why = self._why_not or unless
        self.set_enabled(not why)
        self.props["aria-description"] = why
        self._note.set_text(why)
        self._note.set_visibility(bool(why) and self.visible and not self._silent)

    def display(self, visible: bool) -> None:
        """Shows the button with its reason, or neither."""
        self.set_visibility(visible)
        self._note.set_visibility(visible and bool(self._note.text) and not self._silent)


def tell(answer: Answer, done: str, *, caution: bool = False) -> None:
    """Says for some seconds what became of something that was sent."""
    if answer.ok:
        ui.notify(done, type="warning" if caution else "positive")
    else:
        ui.notify(f"Not done: {answer.detail}. {answer.hint}", type="negative", timeout=8000)


def confirmed(
    title: str, text: str, act: Callable[[str], Awaitable[None]], *, verb: str, tone: Tone, comment: bool = False
) -> None:
    """Asks whether it is meant, with room for a comment, and acts only then: in the page, for the dialog is gone."""
    client = ui.context.client
    with ui.dialog() as dialog, ui.element("div").classes("tl-dialog"):
        dialog.props["aria-label"] = title
        heading(title)
        ui.label(text).classes("tl-note")
        given = ui.textarea("Comment, kept with the decision").props("outlined autogrow maxlength=2000")
        given.set_visibility(comment)

        async def go() -> None:
            dialog.close()
            with client:
                await act(str(given.value or ""))

        with ui.element("div").classes("tl-actions"):
            plain_button("Cancel", dialog.close).props("autofocus")
            plain_button(verb, go).classes(tone)
    dialog.on("hide", dialog.delete)
    dialog.open()
