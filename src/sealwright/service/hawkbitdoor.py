"""Who asks by hawkBit's device interface: one device, by a token of its own or by the key of its TLS certificate.

    device = await door.enter(scope, "acme", "gw-17")        # NotFoundException for everybody else

1. `Authorization: TargetToken …`, or a certificate that TLS has judged (`tls.py`); never both. A gateway token says nothing of which device asks.
2. Another tenant, an unknown device, another's token, a retired device: one answer, as for what is not there (A121). The log has why.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from litestar.exceptions import NotFoundException

from sealwright.artifact.report import is_device
from sealwright.errors import UsageError
from sealwright.service.hawkbitregister import Known, Registered, find, is_known, token_known
from sealwright.service.hawkbittables import Proof
from sealwright.service.identity import authorization_of, certificate_of
from sealwright.service.server import Log, no_log
from sealwright.store.engine import Store
from sealwright.trust.certificate import spki_digest

_TOKEN = re.compile(rb"TargetToken +([^ ]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class DeviceDoor:
    """Of one tenant and one register."""

    store: Store
    tenant: str
    log: Log = no_log

    async def enter(self, scope: Mapping[str, Any], tenant: str, id_: str) -> Registered:
        """The device that asks; NotFoundException where that is not the one of the path."""
        shown = _shown(certificate_of(scope), authorization_of(scope))
        if isinstance(shown, str):
            raise self._refused(scope, shown)
        if tenant != self.tenant or not is_device(id_):
            raise self._refused(scope, "another tenant, or what is no id of a device")
        found = await asyncio.to_thread(self._found, id_)
        if found is None or not is_known(found, shown):
            why = "not entered" if found is None else "retired" if found.retired else f"another {shown.proof.value}"
            raise self._refused(scope, f"{id_}: {why}")
        return found

    def _found(self, id_: str) -> Registered | None:
        with self.store.read() as connection:
            return find(connection, id_)

    def _refused(self, scope: Mapping[str, Any], why: str) -> NotFoundException:
        client = str(scope["client"][0]) if scope.get("client") else "unix"
        self.log({"event": "unidentified", "client": client, "why": why})
        return NotFoundException()


def _shown(certificate: bytes | None, authorization: Sequence[bytes]) -> Known | str:
    """What was brought, or why it counts for nothing."""
    if (certificate is not None) + len(authorization) != 1:
        return "it brings no token and no certificate, or more than one of them"
    if certificate is not None:
        return Known(Proof.CERTIFICATE, spki_digest(x509.load_der_x509_certificate(certificate)))
    token = _TOKEN.fullmatch(authorization[0])
    if token is None:
        return "its Authorization is no TargetToken"
    try:
        return token_known(token[1])
    except UsageError as cause:
        return cause.what
