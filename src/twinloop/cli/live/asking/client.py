"""What the commands that ask a server share: how it is addressed, who asks, and what is said when it refuses."""

import json
import math
import os
import ssl
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from twinloop.errors import TwinloopError

if TYPE_CHECKING:
    import httpx

ServerOption = Annotated[
    str,
    typer.Option(
        "--server",
        envvar="TWINLOOP_SERVER",
        help="Address of the server. For https: SSL_CERT_FILE may name an authority of your own.",
        rich_help_panel="Server",
    ),
]
TokenOption = Annotated[
    str,
    typer.Option(
        "--token",
        envvar="TWINLOOP_TOKEN",
        help="Who asks. In a command line others may read it: better in the variable, or in a file.",
        show_default=False,
        rich_help_panel="Server",
    ),
]
TokenFileOption = Annotated[
    Path | None,
    typer.Option("--token-file", help="Read the token from there, whatever else is given.", rich_help_panel="Server"),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print what the server answered, for programs.", rich_help_panel="Server")
]
SERVER = "http://127.0.0.1:8080"
PATIENCE_S = 70.0
WIDE = 200
"""Characters in a line that goes to a file or another program."""
_READS = {"Accept": "application/json"}


class AnsweredError(TwinloopError):
    """The server refused: HTTP `status`, and its whole answer."""

    def __init__(self, text: str, status: int, answer: Mapping[str, Any]) -> None:
        super().__init__(text)
        self.status = status
        self.answer = answer


class ApiClient:
    """A server, asked in the name of a token. Raises TwinloopError, in one line, for whatever goes wrong."""

    def __init__(self, server: str, token: str, token_file: Path | None) -> None:
        import httpx

        self.server = server.rstrip("/")
        headers = {"Authorization": f"Bearer {secret_of(token, token_file)}", **_READS}
        try:
            verified = ssl.create_default_context() if self.server.startswith("https:") else True
            self._client = httpx.Client(
                base_url=self.server, headers=headers, timeout=PATIENCE_S, trust_env=False, verify=verified
            )
        except (httpx.InvalidURL, UnicodeError, ValueError) as error:
            self._unusable(error)
        if self._client.base_url.scheme not in ("http", "https"):
            self._unusable("it begins with neither http:// nor https://")

    def ask(
        self, method: str, path: str, *, query: Mapping[str, Any] | None = None, body: object = None
    ) -> dict[str, Any]:
        """What a route answers. Arguments of the query that are None are left out."""
        answer = self._sent(method, path, query, {} if body is None else _content(body))
        try:
            return answer.json()
        except ValueError:
            raise TwinloopError(f"{self.server}{path} answers in no JSON; is a twinloop server there?") from None

    def text(self, path: str, accept: str, query: Mapping[str, Any] | None = None) -> Iterator[bytes]:
        """What a route answers, as it comes, in the form that is asked for."""
        with self._streamed(path, accept, query) as answer:
            yield from answer.iter_bytes()

    def events(self, path: str, query: Mapping[str, Any], after: str = "") -> Iterator[tuple[str, str, str]]:
        """Server-sent events: id, name, data. Ends where the server ends them or the line breaks."""
        import httpx

        headers = {"Last-Event-ID": after} if after else {}
        with self._streamed(path, "text/event-stream", query, headers) as answer:
            try:
                yield from _events(answer.iter_lines())
            except httpx.TransportError:
                return

    def close(self) -> None:
        """Hangs up."""
        self._client.close()

    def _sent(
        self, method: str, path: str, query: Mapping[str, Any] | None, content: Mapping[str, Any]
    ) -> "httpx.Response":
        import httpx

        try:
            answer = self._client.request(method, path, params=_given(query), **content)
        except httpx.TransportError as error:
            self._silent(error)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            self._unusable(error)
        if answer.status_code >= 400:
            self._refused(answer)
        return answer

    def _streamed(
        self, path: str, accept: str, query: Mapping[str, Any] | None, headers: Mapping[str, str] | None = None
    ) -> Any:
        import httpx

        @contextmanager
        def opened() -> "Generator[httpx.Response]":
            asked = {"Accept": accept, **(headers or {})}
            try:
                with self._client.stream("GET", path, params=_given(query), headers=asked) as answer:
                    if answer.status_code >= 400:
                        answer.read()
                        self._refused(answer)
                    yield answer
            except httpx.TransportError as error:
                self._silent(error)

        return opened()

    def _refused(self, answer: "httpx.Response") -> NoReturn:
        """The problem of an answer, in one line."""
        try:
            told = answer.json()
        except ValueError:
            told = {}
        if not isinstance(told, dict) or not told.get("detail"):
            raise AnsweredError(f"{self.server} answers HTTP {answer.status_code}", answer.status_code, {})
        parts = [str(told[name]) for name in ("detail", "hint") if told.get(name)]
        if answer.status_code == 401:
            parts.append("give a token: --token-file, or TWINLOOP_TOKEN")
        raise AnsweredError("; ".join(parts), answer.status_code, told)

    def _silent(self, error: Exception) -> NoReturn:
        raise TwinloopError(
            f"{self.server} does not answer ({error}); is twinloop serve running there? --server names another"
        ) from None

    def _unusable(self, why: object) -> NoReturn:
        raise TwinloopError(
            f"--server {self.server!r} is no address ({why}); give for example http://127.0.0.1:8080"
        ) from None


def finite(value: float | None) -> float | None:
    """A number of an option, for typer's `callback`; nan and inf are refused."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no finite number; give one such as 2e6 or 0.5")
    return value


def printed(answer: object) -> None:
    """Prints an answer for programs."""
    typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], nothing: str) -> None:
    """Prints rows for people, or that there are none. Columns that begin with `#` hold numbers; the last one may be
    broken into lines.
    """
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDE
    if not rows:
        console.print(nothing)
        return
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        justify: Literal["right", "left"] = "right" if name.startswith("#") else "left"
        shown.add_column(plain(name.removeprefix("#")), justify=justify, overflow="fold", no_wrap=name != columns[-1])
    for row in rows:
        shown.add_row(*(plain(cell) for cell in row))
    console.print(shown)


def plain(cell: object) -> str:
    """A value in a table: numbers short, what comes from others without any markup."""
    from rich.markup import escape

    if cell is None or cell == "":
        return "-"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:.3g}"
    return escape("".join(c if c.isprintable() else " " for c in str(cell)))


def moment(time_s: float | None) -> str:
    """A time (epoch seconds) for people, in local time."""
    from datetime import datetime

    return "-" if time_s is None else f"{datetime.fromtimestamp(time_s).astimezone():%Y-%m-%d %H:%M:%S}"


def secret_of(token: str, token_file: Path | None) -> str:
    """The token that is given, or in the file. Raises TwinloopError where there is none, or none that can be one."""
    if token_file is not None:
        try:
            token = token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise TwinloopError(f"--token-file {token_file} cannot be read: {error}") from None
    if not token:
        raise TwinloopError("a token is needed: --token-file, --token, or TWINLOOP_TOKEN; an admin makes one")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise TwinloopError("the token holds odd characters; give it as it was printed, and nothing besides")
    return token


def _content(body: object) -> dict[str, Any]:
    """A body as JSON. Raises TwinloopError for what JSON cannot hold."""
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (ValueError, RecursionError) as error:
        raise TwinloopError(
            f"what is asked for cannot be written as JSON ({error}); give finite numbers and text in Unicode"
        ) from None
    return {"content": text, "headers": {"Content-Type": "application/json"}}


def _given(query: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (query or {}).items() if value is not None}


def _events(lines: Iterator[str]) -> Iterator[tuple[str, str, str]]:
    event: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            event[name] = value.removeprefix(" ")
        else:
            if event.get("event") and event.get("data"):
                yield event.get("id", ""), event["event"], event["data"]
            event = {}
