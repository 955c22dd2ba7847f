"""Serving by TLS: settings to an `ssl.SSLContext`, with every fault of the files told before a port is opened."""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from pydantic import BaseModel, ConfigDict

from twinloop.service.security.errors import SecuritySettingsError


class TlsSettings(BaseModel):
    """Files in PEM: `certificate` with its chain, the server's first; `key`, not encrypted; `client_ca`, if callers
    must show a certificate of it. TLS older than `minimum_version` is not spoken.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    certificate: Path
    key: Path
    minimum_version: Literal["1.2", "1.3"] = "1.2"
    client_ca: Path | None = None


def tls_context(settings: TlsSettings, now: Callable[[], float]) -> ssl.SSLContext:
    """The context of a server. Raises SecuritySettingsError for a file that is missing, unreadable or no PEM, a key
    that is not the certificate's or is encrypted, and a certificate that is not valid now.
    """
    certificate = _certificates(settings.certificate, "certificate")[0]
    _require_valid(certificate, settings.certificate, now())
    _require_key(settings.key, certificate, settings.certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if settings.minimum_version == "1.3" else ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        context.load_cert_chain(settings.certificate, settings.key)
        if settings.client_ca is not None:
            _certificates(settings.client_ca, "client_ca")
            context.load_verify_locations(settings.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (ssl.SSLError, OSError) as error:
        raise SecuritySettingsError(f"TLS cannot be set up with {settings.certificate}: {error}") from None
    return context


def certificate_expires_s(settings: TlsSettings) -> float:
    """When the server's certificate ends, epoch seconds. Raises SecuritySettingsError."""
    return _certificates(settings.certificate, "certificate")[0].not_valid_after_utc.timestamp()


def _read(path: Path, field: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SecuritySettingsError(f"tls.{field} {path} cannot be read: {error.strerror}") from None


def _certificates(path: Path, field: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(path, field))
    except ValueError:
        raise SecuritySettingsError(f"tls.{field} {path} holds no certificate; expected PEM") from None


def _require_valid(certificate: x509.Certificate, path: Path, now_s: float) -> None:
    moment = datetime.fromtimestamp(now_s, UTC)
    if moment > certificate.not_valid_after_utc:
        raise SecuritySettingsError(f"tls.certificate {path} expired on {certificate.not_valid_after_utc:%Y-%m-%d}")
    if moment < certificate.not_valid_before_utc:
        raise SecuritySettingsError(f"tls.certificate {path} begins on {certificate.not_valid_before_utc:%Y-%m-%d}")


def _require_key(path: Path, certificate: x509.Certificate, certificate_path: Path) -> None:
    try:
        key = load_pem_private_key(_read(path, "key"), password=None)
    except TypeError:
        raise SecuritySettingsError(f"tls.key {path} is encrypted; expected a key without a password") from None
    except ValueError:
        raise SecuritySettingsError(f"tls.key {path} holds no private key; expected PEM") from None
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        raise SecuritySettingsError(f"tls.key {path} is not the key of {certificate_path}")
