"""TLS 1.3 with client certificates on real sockets: who gets in, and that nothing outlives a revocation list."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from kit.pki import Pki, Signer
from kit.tls import client_certificate, pem_files, server_certificate
from sealwright.errors import KeyRefused, MalformedTrust, SealwrightError, Unreadable
from sealwright.pki.crl import Revoked, make_crl
from sealwright.pki.profiles import CODE_SIGNER, PERSON, TLS_CLIENT
from sealwright.service import tls as subject
from sealwright.service.tls import TlsDoor, TlsFiles

HOUR = timedelta(hours=1)


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class House:
    """A PKI with its lists in a folder, a server's certificate of another one, and a clock that a test may set ahead."""

    folder: Path
    pki: Pki
    ahead: timedelta = timedelta(0)
    number: int = 0
    revoked: list[Revoked] = field(default_factory=list)
    said: list[Any] = field(default_factory=list)

    @classmethod
    def make(cls, folder: Path) -> House:
        house = cls(folder, Pki.make("ACME", at=now() - 24 * HOUR))
        servers = Pki.make("Servers", at=now() - 24 * HOUR)
        pem_files(server_certificate(servers), folder, "server")
        (folder / "servers.pem").write_text(servers.root.pem)
        (folder / "clients.pem").write_text(house.pki.root.pem + house.pki.intermediate.pem)
        house.publish()
        return house

    @property
    def files(self) -> TlsFiles:
        at = {
            name: str(self.folder / name) for name in ("server.pem", "server.key", "clients.pem", "root.crl", "ca.crl")
        }
        return TlsFiles(at["server.pem"], at["server.key"], at["clients.pem"], (at["root.crl"], at["ca.crl"]))

    def clock(self) -> datetime:
        return now() + self.ahead

    def list(
        self,
        issuer: Signer,
        revoked: list[Revoked],
        *,
        begins: timedelta = -HOUR,
        lasts: timedelta = 25 * HOUR,
        number: int = 0,
    ) -> bytes:
        at = now() + begins
        return make_crl(
            issuer.certificate,
            issuer.key,
            number=number or self.number,
            this_update=at,
            next_update=at + lasts,
            revoked=revoked,
        )

    def publish(self, **how: Any) -> None:
        """Both lists as they are now, in their places by rename."""
        self.number += 1
        self.put("root.crl", self.list(self.pki.root, [], **how))
        self.put("ca.crl", self.list(self.pki.intermediate, self.revoked, **how))

    def put(self, name: str, data: bytes) -> None:
        (self.folder / f"{name}.new").write_bytes(data)
        os.replace(self.folder / f"{name}.new", self.folder / name)

    def revoke(self, *signers: Signer) -> None:
        self.revoked += [Revoked(one.x509.serial_number, now() - HOUR / 2) for one in signers]
        self.publish()

    def client(self, name: str, **how: Any) -> Signer:
        return client_certificate(self.pki, name, **how)

    def door(self) -> TlsDoor:
        return TlsDoor(self.files, self.clock, self.said.append)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House.make(tmp_path)


async def whoami(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the certificate that the application sees, after a second where it is asked slowly."""
    if scope["query_string"] == b"slowly":
        await asyncio.sleep(1)
    chain = [ssl.PEM_cert_to_DER_cert(one) for one in scope["extensions"]["tls"]["client_cert_chain"]]
    body = json.dumps([x509.load_der_x509_certificate(one).subject.rfc4514_string() for one in chain]).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def serving(door: TlsDoor, loop: str = "asyncio", app: Any = whoami) -> Iterator[int]:
    """The port."""
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        lifespan="off",
        log_level="critical",
        access_log=False,
        timeout_graceful_shutdown=1,
        loop=loop,
        http=door.protocol(HttpToolsProtocol),
        ssl_context_factory=lambda *_: door.context,
    )
    server = uvicorn.Server(config)

    async def run() -> None:
        async with door:
            await server.serve()

    def go() -> None:
        if loop == "uvloop":
            import uvloop

            uvloop.run(run())
        else:
            asyncio.run(run())

    thread = threading.Thread(target=go, daemon=True)
    thread.start()
    try:
        until = time.monotonic() + 20
        while not server.started:
            assert time.monotonic() < until
            assert thread.is_alive()
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


class Line:
    """A client's connection."""

    def __init__(self, house: House, port: int, who: Signer | None = None, *, chain: bool = True) -> None:
        self.context = ssl.create_default_context(cafile=str(house.folder / "servers.pem"))
        if who is not None:
            shown = who if chain else Signer(who.certificate, (), who.key)
            self.context.load_cert_chain(*pem_files(shown, house.folder, f"client-{id(who)}"))
        self.port = port
        self.connection = http.client.HTTPSConnection("localhost", port, context=self.context, timeout=10)

    def ask(self, path: str = "/") -> list[str] | None:
        """Who the application thinks it is; None where the connection was cut or not made."""
        try:
            self.connection.request("GET", path)
            answer = self.connection.getresponse()
            assert answer.status == 200
            return list(json.loads(answer.read()))
        except (OSError, http.client.HTTPException):
            self.connection.close()
            return None


def common(said: list[str] | None) -> str:
    """ "" for nobody."""
    assert said is not None
    return said[0] if said else ""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_application_sees_the_certificate_that_tls_judged(house: House, loop: str) -> None:
    eva = house.client("eva")
    with serving(house.door(), loop) as port:
        line = Line(house, port, eva)
        assert "CN=eva" in common(line.ask())
        assert "CN=eva" in common(line.ask()), "also for the second request of a connection"
        assert Line(house, port).ask() == [], "who shows none is nobody, and may bring a token"
        assert line.connection.sock.version() == "TLSv1.3"


def test_nothing_in_a_request_becomes_a_certificate(house: House) -> None:
    with serving(house.door()) as port:
        line = Line(house, port)
        forged = {"X-Client-Cert": house.client("eva").pem.replace("\n", " "), "X-SSL-Client-Verify": "SUCCESS"}
        line.connection.request("GET", "/", headers=forged)
        assert json.loads(line.connection.getresponse().read()) == []


def test_only_certificates_for_clients_of_the_authorities_get_in(house: House) -> None:
    other = Pki.make("Other", at=now() - 24 * HOUR)
    ended = house.pki.leaf("eva", profile=TLS_CLIENT, days=1, at=now() - 24.5 * HOUR)
    strangers = {
        "of another authority": client_certificate(other, "eva"),
        "of another authority with our name": client_certificate(Pki.make("ACME", at=now() - 24 * HOUR), "eva"),
        "for servers": server_certificate(house.pki),
        "for approvals": house.client("eva", profile=PERSON),
        "for code": house.client("eva", profile=CODE_SIGNER),
        "ended": ended,
        "the authority itself": Signer(house.pki.intermediate.certificate, (), house.pki.intermediate.key),
    }
    with serving(house.door()) as port:
        assert "CN=eva" in common(Line(house, port, house.client("eva")).ask())
        for what, who in strangers.items():
            assert Line(house, port, who).ask() is None, what
        assert "CN=eva" in common(Line(house, port, house.client("eva"), chain=False).ask()), (
            "the authorities are known"
        )


def test_older_versions_of_tls_are_not_spoken(house: House) -> None:
    with serving(house.door()) as port:
        old = Line(house, port)
        old.context.maximum_version = ssl.TLSVersion.TLSv1_2
        assert old.ask() is None
        assert Line(house, port).ask() == []


def test_no_session_is_resumed(house: House) -> None:
    eva = house.client("eva")
    with serving(house.door()) as port:
        line = Line(house, port, eva)
        for _ in range(2):  # also by the context that the name callback chose
            with (
                socket.create_connection(("127.0.0.1", port), 10) as raw,
                line.context.wrap_socket(raw, server_hostname="localhost") as client,
            ):
                client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                data = b""
                while block := client.recv(4096):
                    data += block
                assert b"CN=eva" in data
                assert client.session is None or not client.session.has_ticket
                assert not client.session_reused


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_who_is_revoked_gets_in_no_more_and_is_cut_where_connected(house: House, loop: str) -> None:
    eva, bob = house.client("eva"), house.client("bob")
    door = house.door()
    with serving(door, loop) as port:
        old, token_only = Line(house, port, eva), Line(house, port)
        assert "CN=eva" in common(old.ask())
        assert token_only.ask() == []
        house.revoke(eva)
        assert old.ask() is None, "the connection that was there before"
        assert Line(house, port, eva).ask() is None
        assert "CN=bob" in common(Line(house, port, bob).ask())
        assert token_only.ask() == [], "who showed no certificate is not concerned"
    assert [one["event"] for one in house.said] == ["tls-files"]


def test_a_revoked_intermediate_takes_its_certificates_with_it(house: House) -> None:
    eva = house.client("eva")
    with serving(house.door()) as port:
        line = Line(house, port, eva)
        assert "CN=eva" in common(line.ask())
        house.number += 1
        gone = [Revoked(house.pki.intermediate.x509.serial_number, now() - HOUR)]
        house.put("root.crl", house.list(house.pki.root, gone))
        assert line.ask() is None
        assert Line(house, port, eva).ask() is None


def test_who_is_connected_and_says_nothing_is_cut_too(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "WATCH_S", 0.1)
    eva = house.client("eva")
    with serving(house.door()) as port:
        line = Line(house, port, eva)
        assert "CN=eva" in common(line.ask())
        house.revoke(eva)
        line.connection.sock.settimeout(5)
        with suppress(ssl.SSLError, ConnectionError):
            assert line.connection.sock.recv(1) == b""


def test_a_request_that_was_begun_is_answered_and_the_connection_then_closed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "WATCH_S", 0.1)
    eva = house.client("eva")
    with serving(house.door()) as port:
        line = Line(house, port, eva)
        line.connection.request("GET", "/?slowly")
        time.sleep(0.3)
        house.revoke(eva)
        answer = line.connection.getresponse()
        assert "CN=eva" in json.loads(answer.read())[0]
        assert line.ask() is None


def test_a_list_that_ends_lets_nobody_in_until_there_is_a_new_one(house: House) -> None:
    eva = house.client("eva")
    house.publish(begins=-2 * HOUR, lasts=2 * HOUR + timedelta(seconds=4))
    door = house.door()
    with serving(door) as port:
        line = Line(house, port, eva)
        assert "CN=eva" in common(line.ask())
        time.sleep(4.5)
        assert line.ask() is None
        assert Line(house, port, eva).ask() is None, "OpenSSL itself says that the list has ended"
        assert Line(house, port).ask() == [], "tokens go on"
        house.publish()
        assert "CN=eva" in common(Line(house, port, eva).ask())


def test_our_own_clock_ends_a_list_too(house: House) -> None:
    door = house.door()
    with serving(door) as port:
        eva = house.client("eva")
        line = Line(house, port, eva)
        assert "CN=eva" in common(line.ask())
        house.ahead = 30 * HOUR
        assert line.ask() is None
        assert Line(house, port, eva).ask() in (None, [])


def test_who_is_connected_is_cut_when_their_certificate_ends(house: House) -> None:
    eva, bob = house.client("eva"), house.client("bob")
    end = max(one.x509.not_valid_after_utc for one in (eva, bob))
    house.publish(lasts=end - now() + 48 * HOUR)
    with serving(house.door()) as port:
        line, other = Line(house, port, eva), Line(house, port, bob)
        house.ahead = end - now() - HOUR
        assert "CN=eva" in common(line.ask())
        assert "CN=bob" in common(other.ask())
        house.ahead += 2 * HOUR
        assert line.ask() is None
        assert other.ask() is None
        assert Line(house, port, eva).ask() in (None, []), "by our own clock, whatever OpenSSL's says"
        assert Line(house, port).ask() == []


def ending(signer: Signer, issuer: Signer, end: datetime) -> x509.Certificate:
    """An authority's certificate as it is, but for its end."""
    like, private = signer.x509, issuer.key._private
    assert private is not None
    builder = x509.CertificateBuilder(like.issuer, like.subject, like.public_key(), like.serial_number)  # type: ignore[arg-type]
    builder = builder.not_valid_before(like.not_valid_before_utc).not_valid_after(end)
    for one in like.extensions:
        builder = builder.add_extension(one.value, one.critical)
    return builder.sign(private, like.signature_hash_algorithm)  # type: ignore[arg-type]


def test_who_is_connected_is_cut_when_the_authority_above_them_ends(house: House) -> None:
    eva = house.client("eva")
    end = (now() + 48 * HOUR).replace(microsecond=0)
    assert end < eva.x509.not_valid_after_utc
    above = ending(house.pki.intermediate, house.pki.root, end)
    house.put("clients.pem", house.pki.root.pem.encode() + above.public_bytes(Encoding.PEM))
    house.publish(lasts=200 * HOUR)
    with serving(house.door()) as port:
        line = Line(house, port, eva)
        house.ahead = end - now() - HOUR
        assert "CN=eva" in common(line.ask())
        house.ahead += 2 * HOUR
        assert line.ask() is None


def test_the_end_of_an_authority_is_not_that_of_its_successor_of_the_same_name(house: House) -> None:
    eva, end = house.client("eva"), (now() + 48 * HOUR).replace(microsecond=0)
    above, after = ending(house.pki.intermediate, house.pki.root, end), Pki.make("ACME", at=now() - 24 * HOUR)
    assert above.subject == after.intermediate.x509.subject
    pem = house.pki.root.pem.encode() + above.public_bytes(Encoding.PEM)
    house.put("clients.pem", pem)
    assert house.door().end_of(eva.certificate) == end
    house.put("clients.pem", pem + after.root.pem.encode() + after.intermediate.pem.encode())
    for name, issuer in (("root-after.crl", after.root), ("ca-after.crl", after.intermediate)):
        house.put(name, house.list(issuer, []))
    lists = (*house.files.revocation_lists, *(str(house.folder / f"{name}-after.crl") for name in ("root", "ca")))
    door = TlsDoor(replace(house.files, revocation_lists=lists), house.clock)
    assert door.end_of(eva.certificate) == end
    bob = client_certificate(after, "bob")
    assert door.end_of(bob.certificate) == bob.x509.not_valid_after_utc > end


def test_who_is_connected_is_cut_when_the_authority_above_them_is_revoked(house: House) -> None:
    eva = house.client("eva")
    with serving(house.door()) as port:
        line = Line(house, port, eva)
        assert "CN=eva" in common(line.ask())
        house.number += 1
        serial = house.pki.intermediate.x509.serial_number
        house.put("root.crl", house.list(house.pki.root, [Revoked(serial, now() - HOUR / 2)]))
        assert line.ask() is None
        assert Line(house, port, eva).ask() in (None, [])


@pytest.mark.parametrize(
    "bad",
    [
        lambda house: house.put("ca.crl", b"no list"),
        lambda house: house.put("ca.crl", (house.folder / "ca.crl").read_bytes()[:-1]),
        lambda house: house.put("ca.crl", house.list(house.pki.intermediate, [], number=1, begins=-2 * HOUR)),
        lambda house: house.put("ca.crl", house.list(Pki.make("ACME").intermediate, [], number=9)),
        lambda house: house.put("ca.crl", house.list(house.pki.intermediate, [], number=9, begins=HOUR)),
        lambda house: house.put("ca.crl", house.list(house.pki.root, [], number=9)),
        lambda house: (house.folder / "ca.crl").unlink(),
        lambda house: house.put("clients.pem", b""),
        lambda house: house.put("clients.pem", house.client("eva").pem.encode()),
        lambda house: house.put("server.pem", b"no certificate"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_usable_is_not_taken_and_the_old_one_counts(house: House, bad: Any) -> None:
    eva, bob = house.client("eva"), house.client("bob")
    house.revoke(bob)
    with serving(house.door()) as port:
        line = Line(house, port, eva)
        assert "CN=eva" in common(line.ask())
        bad(house)
        assert "CN=eva" in common(Line(house, port, eva).ask())
        assert "CN=eva" in common(line.ask()), "nothing new is known of it"
        assert Line(house, port, bob).ask() is None
        assert {one["event"] for one in house.said} == {"tls-files-refused"}
        assert len(house.said) == 1, "said once"


def test_a_new_server_certificate_is_taken_without_a_restart(house: House) -> None:
    with serving(house.door()) as port:
        before = ssl.get_server_certificate(("localhost", port))
        servers = Pki.make("Servers", at=now() - 24 * HOUR)
        pem_files(server_certificate(servers), house.folder, "server")
        house.put("servers.pem", servers.root.pem.encode())
        assert Line(house, port).ask() == []
        assert ssl.get_server_certificate(("localhost", port)) != before


def test_a_door_does_not_open_with_files_that_are_not_usable(house: House) -> None:
    house.door()
    files = house.files
    with pytest.raises(MalformedTrust, match="there is no revocation list of"):
        TlsDoor(TlsFiles(files.certificate, files.key, files.client_authorities, files.revocation_lists[:1]), now)
    with pytest.raises(Unreadable):
        TlsDoor(TlsFiles(files.certificate, str(house.folder / "missing.key")), now)
    with pytest.raises(Unreadable):
        TlsDoor(TlsFiles(files.certificate, pem_files(house.client("x"), house.folder, "x")[1]), now)
    (house.folder / "server.key").chmod(0o644)
    with pytest.raises(KeyRefused, match="everybody can read it"):
        house.door()


def test_a_list_cannot_bring_an_authority_along(house: House) -> None:
    """OpenSSL would read certificates out of the file of a list."""
    other = Pki.make("Other", at=now() - 24 * HOUR)
    pem = x509.load_der_x509_crl((house.folder / "ca.crl").read_bytes())
    house.put("ca.crl", pem.public_bytes(Encoding.PEM) + other.root.pem.encode() + other.intermediate.pem.encode())
    try:
        door = house.door()
    except SealwrightError:
        return
    with serving(door) as port:
        assert Line(house, port, client_certificate(other, "eva")).ask() is None


def test_without_client_authorities_nobody_has_a_certificate(house: House) -> None:
    with serving(TlsDoor(TlsFiles(house.files.certificate, house.files.key), now)) as port:
        assert Line(house, port, house.client("eva")).ask() == []
