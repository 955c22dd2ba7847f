"""Settings of a server, from a file: one TOML document whose every field is checked before anything starts."""

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twinloop.errors import DataError
from twinloop.service.acting import Chosen, Limits, Patience
from twinloop.service.intake import Bounds
from twinloop.service.keeping import KeepingSettings
from twinloop.service.live import Pace
from twinloop.service.live_platform import Settings
from twinloop.service.security import LimitSettings, OidcSettings, PrivacySettings, TlsSettings, WebhookSettings
from twinloop.service.watching import TelemetrySettings
from twinloop.simulator import VERSION_BPS

_MOST_FAULTS = 5


class Configuration(BaseModel):
    """What a server is and how it behaves; docs/live.md lists the fields with their defaults.

    Files named in it (`tls`, `oidc.jwks`, `broker_ca`) lie where the server is started, unless their paths are whole.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scenario: Annotated[str, Field(min_length=1)] = "three-sites"
    database: Annotated[str, Field(min_length=1)] = "twinloop.db"
    fsync: bool = False
    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65_535)] = 8080
    mode: Chosen = "advise"
    broker: str | None = None
    broker_ca: Path | None = None
    ladder_bps: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = VERSION_BPS
    pace: Pace = Pace()
    intake: Bounds = Bounds()
    keeping: KeepingSettings = KeepingSettings()
    plan_every_s: Annotated[float, Field(gt=0)] = 10.0
    limits: Limits = Limits()
    patience: Patience = Patience()
    webhooks: WebhookSettings = WebhookSettings()
    rates: LimitSettings = LimitSettings()
    privacy: PrivacySettings = PrivacySettings()
    tls: TlsSettings | None = None
    oidc: OidcSettings | None = None
    telemetry: TelemetrySettings | None = None

    @property
    def settings(self) -> Settings:
        """What of it the platform behaves by."""
        return Settings(
            mode=self.mode,
            pace=self.pace,
            bounds=self.intake,
            limits=self.limits,
            patience=self.patience,
            webhooks=self.webhooks,
            privacy=self.privacy,
            keeping=self.keeping,
            plan_every_s=self.plan_every_s,
            ladder_bps=self.ladder_bps,
        )


def configured(path: Path | None, **given: object) -> Configuration:
    """The configuration in a file, or the default, with the fields that are `given` and not None in place of its own.

    Raises DataError for a file that cannot be read, is no TOML, or has a field that is unknown or out of range.
    """
    source = "the command line" if path is None else str(path)
    fields = {} if path is None else _read(path)
    fields |= {name: value for name, value in given.items() if value is not None}
    try:
        return Configuration.model_validate(fields)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        told = [f"{'.'.join(map(str, fault['loc']))}: {_said(fault['msg'])}" for fault in faults[:_MOST_FAULTS]]
        more = f"; and {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else ""
        raise DataError(source, "; ".join(told) + more, "what docs/live.md lists") from None


def _read(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(path, f"it cannot be read: {error.strerror}", "a TOML file, as docs/live.md shows") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(path, f"it is no TOML: {error}", "a TOML file, as docs/live.md shows") from None


def _said(message: str) -> str:
    known = {"Extra inputs are not permitted": "there is no such field"}
    return known.get(message, message[:1].lower() + message[1:])
