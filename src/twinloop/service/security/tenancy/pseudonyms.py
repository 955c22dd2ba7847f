"""Names of users that tell nobody who they are: keyed hashes, another key for every tenant."""

import base64
import hmac
import json
import secrets
import threading
from collections.abc import Sequence

from twinloop.service.security.ports import RecordsPort

COLLECTION = "keys"
KEY = "pseudonyms"


class Pseudonyms:
    """Pseudonyms of users by tenant: HMAC-SHA256, cut to 128 bits, under a key made at first use and kept in `records`.

    They last as long as the key. Two tenants cannot join what they see: their pseudonyms have nothing in common.
    Whoever reads `records` can undo them, and reads the names there anyway.
    """

    def __init__(self, records: RecordsPort) -> None:
        kept = records.get(COLLECTION, KEY)
        secret = secrets.token_hex(32) if kept is None else json.loads(kept.body)
        if kept is None:
            records.put(COLLECTION, KEY, json.dumps(secret), expected_revision=0)
        self._key = bytes.fromhex(secret)
        self._known: dict[str, dict[str, str]] = {}
        self._lock = threading.Lock()

    def of(self, tenant: str, users: Sequence[str]) -> tuple[str, ...]:
        """Pseudonyms of users for a tenant, in their order."""
        with self._lock:
            before = self._known.get(tenant, {})
            key = hmac.digest(self._key, tenant.encode(), "sha256")
            # Those who are gone are forgotten here and hashed anew should they come back.
            present = {user: before.get(user) or _pseudonym(key, user) for user in users}
            self._known[tenant] = present
            return tuple(present[user] for user in users)


def _pseudonym(key: bytes, user: str) -> str:
    short = hmac.digest(key, user.encode(errors="surrogatepass"), "sha256")[:16]
    return "user-" + base64.b32encode(short).decode().rstrip("=").lower()
