"""The sign-in: a token is pasted, the API says whose it is, and the server remembers it for this browser."""

from collections.abc import Awaitable, Callable

from nicegui import ui
from nicegui.events import GenericEventArguments

from twinloop.service.dashboard.asking import UNANSWERED, Answer
from twinloop.service.dashboard.widgets import ThemeSwitch, heading, plain_button, shade

_WHY = {
    "ended": "You were signed out: the token expired or was revoked. Sign in with another one.",
    "out": "You are signed out.",
    "new": "",
}
_GIVEN = "() => emit(document.getElementById('token').value)"
_AGAIN = "document.getElementById('token').select()"
_FORBIDDEN, _UNKNOWN, _OFTEN = 403, 401, 429


def show_sign_in(sign_in: Callable[[str], Awaitable[Answer]], onward: str, why: str) -> None:
    """Asks for a token and goes on to the page `onward`."""
    ui.page_title("Sign in · twinloop")
    with ui.element("main").classes("tl-sign-in"), ui.element("section"):
        with ui.element("div").classes("tl-title"):
            heading("twinloop", 1)
            ui.element("span").classes("tl-gap")
            ThemeSwitch()
        ui.label("Twins of a running network. Paste a token to see them.").classes("tl-lead")
        notice = ui.label(_WHY.get(why, "")).classes("tl-notice").props("role=alert")
        notice.set_visibility(bool(notice.text))
        token = ui.input("Token", password=True, password_toggle_button=True)
        token.props("outlined autofocus autocomplete=off spellcheck=false for=token").classes("tl-token")
        with ui.element("div").classes("tl-actions"):
            button = plain_button("Sign in").classes("primary")

        async def go(event: GenericEventArguments) -> None:
            text = str(event.args or "").strip()
            answer = await sign_in(text) if text else Answer(_UNKNOWN, detail="no token was given")
            if answer.ok:
                ui.navigate.to(onward)
                return
            ui.run_javascript(_AGAIN)
            notice.set_text(_refusal(answer))
            shade(notice, "bad")
            notice.set_visibility(True)

        token.on("keydown.enter", go, js_handler=_GIVEN)
        button.on("click", go, js_handler=_GIVEN)
        ui.label(
            "The first start of a server prints an admin token once; an admin makes more of them. The token stays in "
            "the server's memory and is forgotten when you sign out, or after twelve hours."
        ).classes("tl-note")


def _refusal(answer: Answer) -> str:
    if answer.status == _FORBIDDEN:
        return (
            "The token is good, but not for this dashboard: it may not read slices. Reporters' tokens cannot sign in."
        )
    if answer.status == _UNKNOWN:
        return f"Not accepted: {answer.detail}. Check that it was copied whole, or ask an admin for a new one."
    if answer.status == _OFTEN:
        return f"Too many failed attempts from your address. Wait {max(answer.retry_s, 1):.0f} s and try again."
    if answer.status == UNANSWERED:
        return f"The server did not answer: {answer.detail}."
    return f"The server refused: {answer.detail}. {answer.hint}"
