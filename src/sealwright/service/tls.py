"""TLS 1.3 of the signing service: OpenSSL judges who connects, lists say whose certificate no longer counts, nothing outlives a list.

    door = TlsDoor(TlsFiles("server.pem", "server.key", "clients.pem", ("root.crl", "clients.crl")), clock, log)
    Config(app, http=door.protocol(HttpToolsProtocol), ssl_context_factory=lambda *_: door.context)

1. A client shows a certificate or none. One that it shows is judged in the handshake: a path to `client_authorities`, the purpose
   clientAuth, and a list of every authority on the path (RFC 5280 section 6.3). A missing or ended list refuses them all.
2. There is no resumption: no session tickets, no cache. Each connection shows its certificate anew.
3. Files are looked at for every handshake and request, and every `WATCH_S`. Where one is another one, new connections get the new files, and those
   that were judged by the old ones end with their present request; so they do when a list ends, or a certificate of the client's path. A
   file that is not usable, or a list older than the one in use, is not taken: the old ones serve on until they end.
4. The application finds the certificate where ASGI's TLS extension has it: `scope["extensions"]["tls"]["client_cert_chain"]`. Nothing
   that a client sends in a request gets there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import stat
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from weakref import WeakSet

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sealwright.artifact.source import read_file
from sealwright.envelope.certified import UNREADABLE
from sealwright.errors import KeyRefused, MalformedTrust, SealwrightError, Unreadable
from sealwright.service.crlsource import crl_der
from sealwright.service.server import Log, no_log
from sealwright.trust.certificate import display_name, is_authority, load_certificate, spki_digest
from sealwright.trust.revocation import MAX_CRL_BYTES, CrlTable

MAX_AUTHORITIES_BYTES = 1 << 20
WATCH_S = 5.0
TLS_1_3 = 0x0304
_BEFORE = datetime.min.replace(tzinfo=UTC)
_CLIENTS = "Correct the service's files for client certificates."
Seen = tuple[tuple[int, int, int], ...]
Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """certificate, key: of the server, PEM, the chain behind it; client_authorities: roots and intermediates, PEM, "" where nobody has a
    certificate; revocation_lists: a file for each of those authorities, DER or PEM.
    """

    certificate: str
    key: str
    client_authorities: str = ""
    revocation_lists: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(
            path for path in (self.certificate, self.key, self.client_authorities, *self.revocation_lists) if path
        )


@dataclass(frozen=True, slots=True)
class _Loaded:
    """ends: the server's certificate; until: when the first list ends, None without client certificates; newest: number and time of each
    authority's list, by its key; authorities: of the clients."""

    context: ssl.SSLContext
    ends: datetime
    until: datetime | None
    newest: Mapping[bytes, tuple[int, datetime]]
    authorities: tuple[x509.Certificate, ...] = ()


class TlsDoor:
    """context: for the listening socket. Used as a context manager it also watches its files when nobody connects."""

    def __init__(self, files: TlsFiles, clock: Clock, log: Log = no_log) -> None:
        self._files = files
        self._clock = clock
        self._log = log
        self._connections: WeakSet[HttpToolsProtocol] = WeakSet()
        self._watcher: asyncio.Task[None] | None = None
        self._seen = _seen(files)
        self._loaded = _load(files, clock(), {})
        self.context = self._loaded.context
        self.context.sni_callback = self._newest

    async def __aenter__(self) -> TlsDoor:
        self._watcher = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, cause: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher

    def refresh(self) -> None:
        """Point 3."""
        seen = _seen(self._files)
        if seen == self._seen and not self._ended():
            return
        if seen != self._seen:
            self._seen = seen
            try:
                self._loaded = _load(self._files, self._clock(), self._loaded.newest)
                self._log({"event": "tls-files", "until": str(self._loaded.until or "")})
            except SealwrightError as cause:
                self._log({"event": "tls-files-refused", "why": str(cause)[:500]})
                return
        for one in list(self._connections):
            one.shutdown()

    @property
    def ends(self) -> Mapping[str, datetime]:
        """When what lets people in ends, by what it is."""
        until = self._loaded.until
        return {"server certificate": self._loaded.ends, **({} if until is None else {"revocation list": until})}

    def holds(self, context: ssl.SSLContext | None, until: datetime) -> bool:
        """Whether a certificate that was judged by a context, and ends then, still counts."""
        return context is self._loaded.context and not self._ended() and self._clock() <= until

    def end_of(self, der: bytes) -> datetime:
        """When a client's certificate ends, or an authority's above it; one that cannot be read has ended."""
        try:
            return _end_of_path(x509.load_der_x509_certificate(der), self._loaded.authorities)
        except UNREADABLE:
            return _BEFORE

    def protocol(self, base: type[HttpToolsProtocol]) -> type[HttpToolsProtocol]:
        """uvicorn's protocol, or ours over it, that tells the application who connected."""
        door = self

        class WithCertificate(base):  # type: ignore[valid-type, misc]
            _peer: bytes | None = None
            _pem = ""
            _judged_by: ssl.SSLContext | None = None
            _until = _BEFORE

            def connection_made(self, transport: asyncio.Transport) -> None:
                tls = transport.get_extra_info("ssl_object")
                self._peer = tls.getpeercert(binary_form=True) if tls is not None else None
                self._judged_by = tls.context if tls is not None else None
                if self._peer is not None:
                    self._until = door.end_of(self._peer)
                    self._pem = ssl.DER_cert_to_PEM_cert(self._peer)
                    door._connections.add(self)
                super().connection_made(transport)

            def data_received(self, data: bytes) -> None:
                idle = self.cycle is None or self.cycle.response_complete
                if self._peer is not None and idle:
                    door.refresh()
                    if not door.holds(self._judged_by, self._until):
                        self.transport.close()
                        return
                super().data_received(data)

            def on_message_begin(self) -> None:
                super().on_message_begin()
                shown = self._pem if door.holds(self._judged_by, self._until) else ""
                chain = (shown,) if shown else ()
                self.scope["extensions"] = {
                    **self.scope.get("extensions", {}),
                    "tls": {
                        "server_cert": None,
                        "client_cert_chain": chain,
                        "client_cert_name": None,
                        "client_cert_error": None,
                        "tls_version": TLS_1_3,
                        "cipher_suite": None,
                    },
                }

        return WithCertificate

    def _newest(self, connection: ssl.SSLObject | ssl.SSLSocket, _: str | None, __: ssl.SSLContext) -> None:
        """For every handshake, whatever name it asks for."""
        self.refresh()
        connection.context = self._loaded.context

    def _ended(self) -> bool:
        return self._loaded.until is not None and self._clock() > self._loaded.until

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            self.refresh()


def _load(files: TlsFiles, now: datetime, newest: Mapping[bytes, tuple[int, datetime]]) -> _Loaded:
    """A context of what the files hold now; MalformedTrust, KeyRefused, Unreadable or another of ours saying which is not usable."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    server_ends = _load_server(context, files)
    if not files.client_authorities:
        return _Loaded(context, server_ends, None, {})
    authorities = _authorities(files.client_authorities)
    lists = [_read_list(path, authorities, now) for path in files.revocation_lists]
    found = {table.issuer_key.value: (table.number, table.this_update) for _, table in lists}
    for one in authorities:
        key, name = spki_digest(one).value, display_name(one.subject)
        if key not in found:
            raise MalformedTrust(files.client_authorities, f"there is no revocation list of {name}", _CLIENTS)
        if key in newest and found[key] < newest[key]:
            raise MalformedTrust(
                files.client_authorities, f"the list {found[key][0]} of {name} is older than that in use", _CLIENTS
            )
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    context.load_verify_locations(cadata="".join(_pem(one) for one in authorities))
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as taken:  # OpenSSL takes lists from a file alone
        taken.write("".join(pem for pem, _ in lists))
        taken.flush()
        context.load_verify_locations(cafile=taken.name)
    ends = [table.next_update for _, table in lists if table.next_update is not None]
    return _Loaded(context, server_ends, min(ends), {**newest, **found}, tuple(authorities))


def _load_server(context: ssl.SSLContext, files: TlsFiles) -> datetime:
    """Take the server's certificate and key; when the certificate ends."""
    try:
        status = os.stat(files.key)
        if os.name == "posix" and status.st_mode & stat.S_IRWXO:
            raise KeyRefused(files.key, "everybody can read it", f"Take that right away: chmod o-rwx {files.key}")
        context.load_cert_chain(files.certificate, files.key, password=lambda: "")
        return x509.load_pem_x509_certificate(read_file(files.certificate, MAX_AUTHORITIES_BYTES)).not_valid_after_utc
    except (OSError, ValueError) as cause:  # ssl.SSLError is an OSError; an empty password is none for OpenSSL
        raise Unreadable(
            files.certificate, f"it is no usable certificate and key of a server ({cause})"[:200], "Check both."
        ) from cause


def _authorities(path: str) -> list[x509.Certificate]:
    try:
        listed = x509.load_pem_x509_certificates(read_file(path, MAX_AUTHORITIES_BYTES))
        found = [load_certificate(one.public_bytes(Encoding.DER), path) for one in listed]
    except UNREADABLE as cause:
        raise MalformedTrust(path, "it holds no certificates in PEM", _CLIENTS) from cause
    for one in found:
        if not is_authority(one):
            raise MalformedTrust(path, f"{display_name(one.subject)} is no authority's certificate", _CLIENTS)
    return found


def _read_list(path: str, authorities: list[x509.Certificate], now: datetime) -> tuple[str, CrlTable]:
    der = crl_der(read_file(path, MAX_CRL_BYTES), path)
    try:
        table = CrlTable.load(der, authorities)
    except SealwrightError as cause:
        raise type(cause)(path, cause.what, cause.next_step) from cause
    if table.next_update is None or table.this_update > now or table.points:
        raise MalformedTrust(
            path, "it is from the future, for a part only, or does not say until when it counts", _CLIENTS
        )
    return x509.load_der_x509_crl(der).public_bytes(Encoding.PEM).decode(), table


def _end_of_path(leaf: x509.Certificate, authorities: Sequence[x509.Certificate]) -> datetime:
    """The first end of a path that was judged already. Of certificates of one authority that which ends last counts: the path may lead there."""
    until, at, left = leaf.not_valid_after_utc, leaf, list(authorities)
    while above := [one for one in left if _may_be_above(one, at)]:
        at = max(above, key=lambda one: one.not_valid_after_utc)
        until = min(until, at.not_valid_after_utc)
        left = [one for one in left if one not in above]
    return until


def _may_be_above(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    """By name, and by key where both name one, as OpenSSL finds it: an authority's successor has its name."""
    if authority.subject != certificate.issuer:
        return False
    try:
        wanted = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        found = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return True
    return wanted is None or wanted == found


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _seen(files: TlsFiles) -> Seen:
    found = []
    for path in files.paths:
        try:
            status = os.stat(path)
            found.append((status.st_ino, status.st_size, status.st_mtime_ns))
        except OSError:
            found.append((0, 0, 0))
    return tuple(found)
