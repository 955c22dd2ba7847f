"""Where a broker is and as whom it is asked. The password is in no text that this module makes."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from twinloop.errors import TwinloopError

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_EXAMPLE = "mqtt://USER:PASSWORD@HOST:PORT, or mqtts:// for TLS; in a password write %40 for @, %3A for :, %2F for /"


@dataclass(frozen=True)
class Broker:
    """An MQTT broker. Without `user` nobody signs in. `ca` is the authority to trust, None: those of the system."""

    host: str
    port: int = 1883
    user: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False
    ca: Path | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"

    def tls_context(self) -> ssl.SSLContext | None:
        """How the broker's certificate is checked; None without TLS. Raises TwinloopError for an unusable `ca`."""
        if not self.tls:
            return None
        try:
            return ssl.create_default_context(cafile=self.ca)
        except (OSError, ssl.SSLError) as error:
            why = error.strerror or "no certificate in PEM form"
            raise TwinloopError(f"--broker-ca {self.ca} cannot be used: {why}") from None


def broker_of(url: str, ca: Path | None = None) -> Broker:
    """The broker at `mqtt://` or `mqtts://`. Raises TwinloopError, which repeats nothing of the address, for others."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise TwinloopError(f"--broker is no address; give {_EXAMPLE}") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise TwinloopError(f"--broker is no address of a broker; give {_EXAMPLE}")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise TwinloopError(f"--broker has something behind its port; give {_EXAMPLE}")
    if ca is not None and parts.scheme != "mqtts":
        raise TwinloopError("--broker-ca is for mqtts://; give that, or leave --broker-ca out")
    if parts.password and not parts.username:
        raise TwinloopError(f"--broker has a password and no user; give {_EXAMPLE}")
    return Broker(
        host=parts.hostname,
        port=port or _PORTS[parts.scheme],
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        tls=parts.scheme == "mqtts",
        ca=ca,
    )
