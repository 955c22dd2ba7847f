"""What security refuses, each with its HTTP status, so that the API maps the whole tree in one place.

Refused
├── InvalidInput      422  a request to create or change something that cannot be
├── AuthError         401  nobody known asks; `WWW-Authenticate` says how to ask
├── Forbidden         403  somebody known asks for what is not theirs
├── TooManyRequests   429  too often; `Retry-After` says when
├── BudgetSpent       429  the day's privacy budget does not cover the answer
└── TargetRefused     422  a webhook target that must not be called

SecuritySettingsError       a certificate, key set or other setting that cannot be used; ends the start of the server
"""

import math
from collections.abc import Mapping

from twinloop.errors import TwinloopError


class SecuritySettingsError(TwinloopError):
    """A setting of security cannot be used."""


class Refused(TwinloopError):  # noqa: N818 - what happened, in the words of the API
    """A request is refused: `status`, `detail` (what), `hint` (what to do), `headers` of the answer."""

    status = 403

    def __init__(self, detail: str, hint: str = "", headers: Mapping[str, str] | None = None) -> None:
        self.detail = detail
        self.hint = hint
        self.headers = dict(headers or {})
        super().__init__(f"{detail}; {hint}" if hint else detail)


class InvalidInput(Refused):
    """What is to be created or changed cannot be so."""

    status = 422


class AuthError(Refused):
    """No credential, or none that holds. `error` is the code of RFC 6750, empty where no credential came."""

    status = 401

    def __init__(self, detail: str, error: str = "", hint: str = "") -> None:
        said = f', error="{error}", error_description="{detail}"' if error else ""
        super().__init__(detail, hint, {"WWW-Authenticate": f'Bearer realm="twinloop"{said}'})


class Forbidden(Refused):
    """The caller is known and may not do this."""


class TooManyRequests(Refused):
    """The caller has to wait `retry_after_s` seconds."""

    status = 429

    def __init__(self, detail: str, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        wait_s = math.ceil(retry_after_s)
        super().__init__(detail, f"wait {wait_s} s", {"Retry-After": str(wait_s)})


class BudgetSpent(Refused):
    """An answer would cost more than the `left` of today's privacy budget, which renews at `renews_s` (epoch)."""

    status = 429

    def __init__(self, asked: float, left: float, renews_s: float, wait_s: float) -> None:
        self.left = left
        self.renews_s = renews_s
        super().__init__(
            f"the answer costs epsilon {asked:g} and {left:g} of today's privacy budget is left",
            f"ask for at most epsilon {left:g}, or again in {math.ceil(wait_s)} s",
            {"Retry-After": str(math.ceil(wait_s))},
        )


class TargetRefused(Refused):
    """A webhook may not be sent there."""

    status = 422
