"""OCSP, revocation lists and authorities' certificates over HTTP: both methods, every caching header, hostile paths and bodies."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from hashlib import sha1
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.x509.ocsp import OCSPCertStatus, OCSPResponseStatus, load_der_ocsp_response

from kit.asgi import Said, ask, ocsp_app, serving
from kit.ocsp import OcspWorld, ocsp_request, single
from kit.pki import DAY, HOUR, NOW
from sealwright.envelope.ocsp import MAX_REQUEST_BYTES
from sealwright.errors import KeyUnavailable
from sealwright.pki.ocsp import Responder
from sealwright.service.ocsp import MAX_PATH_BYTES, OcspResource
from sealwright.service.published import Publications
from sealwright.service.server import Answer, Request

TYPE = {"Content-Type": "application/ocsp-request"}
Reason = x509.ReasonFlags


@dataclass
class Place:
    """A responder on a port, with a clock that the test moves."""

    world: OcspWorld
    lists: dict[str, str]
    now: datetime = NOW
    notes: list[str] = field(default_factory=list)
    port: int = 0

    def post(self, request: bytes, headers: dict[str, str] | None = None) -> Said:
        """As RFC 6960 appendix A.1 says."""
        return ask(self.port, "POST", "/ocsp", request, TYPE | (headers or {}))

    def get(self, request: bytes, headers: dict[str, str] | None = None, method: str = "GET") -> Said:
        """The request in the path, as RFC 5019 section 5 says."""
        return ask(self.port, method, "/ocsp/" + quote(base64.b64encode(request), safe=""), None, headers)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(OcspWorld.make(), {"acme": str(tmp_path / "acme.crl")})
    found.world.pki.revoke(found.world.lost, NOW - DAY, Reason.key_compromise)
    (tmp_path / "acme.crl").write_bytes(found.world.pki.crl(NOW - HOUR, number=5))
    (tmp_path / "secret").write_text("secret")
    offered = Publications(lambda: found.lists, {"acme": found.world.pki.intermediate.certificate})
    app = ocsp_app(found.world.responder(), offered, lambda: found.now, found.notes.append)
    with serving(app) as found.port:
        yield found


def test_get_and_post_give_the_same_answer(place: Place) -> None:
    for who, status in ((place.world.good, OCSPCertStatus.GOOD), (place.world.lost, OCSPCertStatus.REVOKED)):
        request = place.world.request(who)
        posted, got = place.post(request), place.get(request)
        assert posted.body == got.body
        assert single(got.body).certificate_status is status
        for said in (posted, got):
            assert (said.status, said.headers["content-type"]) == (200, "application/ocsp-response")
            assert said.headers["content-length"] == str(len(said.body))
    root = ask(place.port, "POST", "/", place.world.request(place.world.good), TYPE)
    assert single(root.body).certificate_status is OCSPCertStatus.GOOD


def test_base64_with_and_without_percent_signs_and_without_a_folder_is_read(place: Place) -> None:
    for serial in range(1, 400):  # among these are requests whose base64 has slashes and pluses
        plain = base64.b64encode(place.world.request(serial)).decode()
        if "/" in plain and "+" in plain:
            break
    for path in (f"/ocsp/{plain}", f"/{plain}", "/ocsp/" + quote(plain, safe=""), "/" + quote(plain, safe="+")):
        assert single(ask(place.port, "GET", path).body).serial_number == serial


def test_the_caching_headers_are_those_of_rfc_5019_section_6_2(place: Place) -> None:
    said = place.get(place.world.request(place.world.good))
    read = single(said.body)
    assert parsedate_to_datetime(said.headers["last-modified"]) == read.this_update_utc == NOW
    assert parsedate_to_datetime(said.headers["expires"]) == read.next_update_utc == NOW + DAY
    assert said.headers["etag"] == f'"{sha1(said.body, usedforsecurity=False).hexdigest()}"'
    assert said.headers["cache-control"] == "max-age=3600, public, no-transform, must-revalidate"
    assert "date" in said.headers
    place.now = NOW + DAY - HOUR  # signed anew: half of its time is over
    assert single(place.get(place.world.request(place.world.good)).body).this_update_utc == place.now


def test_the_age_never_reaches_beyond_the_next_update(place: Place) -> None:
    place.world.table.until = NOW + timedelta(minutes=10)
    said = place.get(place.world.request(place.world.good))
    assert said.headers["cache-control"].startswith("max-age=600,")


def test_what_must_not_be_cached_says_so_and_nothing_else(place: Place) -> None:
    world = place.world
    answers = {
        "nonce": place.get(world.request(world.good, nonce=b"1" * 32)),
        "never issued": place.get(world.request(4711)),
        "several": place.post(world.request(world.good, world.lost)),
        "malformed": place.post(b"garbage"),
        "of nobody": place.get(OcspWorld.make("Other").request(world.good)),
    }
    for what, said in answers.items():
        assert said.headers["cache-control"] == "no-store", what
        assert not {"etag", "expires", "last-modified"} & set(said.headers), what
        assert said.status == 200


def test_a_client_that_has_the_answer_is_told_so(place: Place) -> None:
    request = place.world.request(place.world.good)
    first = place.get(request)
    for headers in (
        {"If-None-Match": first.headers["etag"]},
        {"If-None-Match": f'"other", W/{first.headers["etag"]}'},
        {"If-Modified-Since": first.headers["last-modified"]},
    ):
        said = place.get(request, headers)
        assert (said.status, said.body, said.headers["etag"]) == (304, b"", first.headers["etag"])
    for headers in ({"If-None-Match": '"other"'}, {"If-Modified-Since": "yesterday"}, {"If-None-Match": ""}):
        assert place.get(request, headers).body == first.body
    assert place.post(request, {"If-None-Match": first.headers["etag"]}).status == 200


def test_head_has_the_headers_of_get_and_no_body(place: Place) -> None:
    request = place.world.request(place.world.good)
    got, head = place.get(request), place.get(request, method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert {k: v for k, v in head.headers.items() if k != "date"} == {
        k: v for k, v in got.headers.items() if k != "date"
    }
    assert ask(place.port, "HEAD", "/crl/acme.crl").headers["content-length"] != "0"


def test_a_revocation_shows_in_the_next_answer(place: Place) -> None:
    request = place.world.request(place.world.good)
    before = place.get(request)
    place.world.table.revoke(place.world.good, NOW, Reason.superseded)
    after = place.get(request, {"If-None-Match": before.headers["etag"]})
    assert (after.status, single(after.body).certificate_status) == (200, OCSPCertStatus.REVOKED)


def test_what_is_no_request_is_malformed_request(place: Place) -> None:
    good = place.world.request(place.world.good)
    for said in (
        place.post(b""),
        place.post(good[:-3]),
        place.post(ocsp_request([])),
        ask(place.port, "GET", "/ocsp/"),
        ask(place.port, "GET", "/ocsp/not base64!".replace(" ", "%20")),
        ask(place.port, "GET", "/ocsp/" + "%00" * 100),
        ask(place.port, "GET", "/ocsp/" + base64.b64encode(good).decode() + "=A"),
        ask(place.port, "GET", "/ocsp/../../etc/passwd"),
        ask(place.port, "GET", "/MDAwMDAw"),
    ):
        assert load_der_ocsp_response(said.body).response_status is OCSPResponseStatus.MALFORMED_REQUEST
    assert place.notes == [], "what strangers send fills no log"


def test_bombs_are_turned_away_before_they_are_read(place: Place) -> None:
    assert place.post(bytes(MAX_REQUEST_BYTES + 1)).status == 413
    assert ask(place.port, "GET", "/ocsp/" + "A" * (MAX_PATH_BYTES + 4)).status == 414
    assert ask(place.port, "GET", "/ocsp/" + "%41" * 700).status == 414
    ten_thousand = ocsp_request([place.world.certificate_id(place.world.good)] * 10_000)
    with contextlib.suppress(ConnectionError):  # it may be turned away while it still sends
        assert place.post(ten_thousand).status == 413
    with socket.create_connection(("127.0.0.1", place.port), timeout=20) as client:  # an endless body
        client.sendall(b"POST /ocsp HTTP/1.1\r\nHost: x\r\nContent-Type: application/ocsp-request\r\n")
        client.sendall(b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            client.sendall(b"2000\r\n" + bytes(0x2000) + b"\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 413")
    assert place.post(place.world.request(place.world.good)).status == 200


def test_a_body_promised_and_not_sent_holds_nobody_else_up(place: Place) -> None:
    with socket.create_connection(("127.0.0.1", place.port), timeout=20) as client:
        client.sendall(
            b"POST /ocsp HTTP/1.1\r\nHost: x\r\nContent-Type: application/ocsp-request\r\nContent-Length: 90\r\n\r\nM"
        )
        assert place.post(place.world.request(place.world.good)).status == 200


def test_other_methods_types_and_places_are_refused(place: Place) -> None:
    good = place.world.request(place.world.good)
    put = ask(place.port, "PUT", "/ocsp", good, TYPE)
    assert (put.status, put.headers["allow"]) == (405, "GET, POST")
    assert ask(place.port, "POST", "/ocsp", good, {"Content-Type": "application/json"}).status == 415
    assert ask(place.port, "POST", "/ocsp", good).status == 415
    assert ask(place.port, "POST", "/ocsp", good, {"Content-Type": "Application/OCSP-Request; charset=x"}).status == 200
    assert ask(place.port, "POST", "/crl/acme.crl", good, TYPE).status == 405
    for path in ("/", "/index.html", "/crl", "/ca", "/favicon.ico", "/ocspx"):
        assert ask(place.port, "GET", path).status == 404


def test_the_newest_list_is_served_with_its_own_times(place: Place) -> None:
    said = ask(place.port, "GET", "/crl/acme.crl")
    assert (said.status, said.headers["content-type"]) == (200, "application/pkix-crl")
    assert x509.load_der_x509_crl(said.body).get_revoked_certificate_by_serial_number(
        place.world.lost.x509.serial_number
    )
    assert parsedate_to_datetime(said.headers["last-modified"]) == NOW - HOUR
    assert parsedate_to_datetime(said.headers["expires"]) == NOW - HOUR + 30 * DAY
    assert said.headers["cache-control"] == "max-age=3600, public, no-transform, must-revalidate"
    assert ask(place.port, "GET", "/crl/acme.crl", None, {"If-None-Match": said.headers["etag"]}).status == 304
    Path(place.lists["acme"]).write_bytes(place.world.pki.crl(NOW, number=6))
    newer = ask(place.port, "GET", "/crl/acme.crl", None, {"If-None-Match": said.headers["etag"]})
    assert parsedate_to_datetime(newer.headers["last-modified"]) == NOW
    place.now = NOW + 31 * DAY
    assert ask(place.port, "GET", "/crl/acme.crl").headers["cache-control"] == "no-cache, no-transform"


def test_the_authoritys_certificate_is_served(place: Place) -> None:
    said = ask(place.port, "GET", "/ca/acme.cer")
    assert (said.body, said.headers["content-type"]) == (
        place.world.pki.intermediate.certificate,
        "application/pkix-cert",
    )
    assert "etag" in said.headers


def test_names_lead_to_no_other_file(place: Place) -> None:
    folder = Path(place.lists["acme"]).parent
    assert ask(place.port, "GET", "/crl/acme.crl").status == 200
    for name in (
        "../secret", "..%2fsecret", "%2e%2e/secret", "acme.crl/../../secret", "/etc/passwd", str(folder / "acme"),
        "acme%00", "acme%00.crl", "ACME", "", ".", "..", "a" * 65, "acme%0d%0aX: y", "\N{LATIN SMALL LETTER A WITH RING ABOVE}",
    ):  # fmt: skip
        for kind in ("crl", "ca"):
            end = "crl" if kind == "crl" else "cer"
            said = ask(place.port, "GET", f"/{kind}/{quote(name, safe='%/.')}.{end}")
            assert said.status == 404, name
            assert b"secret" not in said.body


def test_a_damaged_list_is_not_served_and_the_operator_is_told(place: Place) -> None:
    Path(place.lists["acme"]).write_bytes(b"not a list")
    assert ask(place.port, "GET", "/crl/acme.crl").status == 503
    assert "acme.crl" in place.notes[0]
    Path(place.lists["acme"]).unlink()
    assert ask(place.port, "GET", "/crl/acme.crl").status == 404


def test_many_at_once_each_get_their_own_answer(place: Place) -> None:
    def one(number: int) -> bool:
        nonce = number.to_bytes(16, "big")
        who = place.world.lost if number % 2 else place.world.good
        said = load_der_ocsp_response(place.post(place.world.request(who, nonce=nonce)).body)
        own = said.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce
        return own and said.serial_number == who.x509.serial_number

    with ThreadPoolExecutor(16) as crowd:
        assert all(crowd.map(one, range(200)))


def test_when_the_token_is_gone_the_answer_is_try_later_and_the_operator_is_told() -> None:
    world = OcspWorld.make()
    notes: list[str] = []

    class Pulled:
        info = world.signer.key.info
        gone = True

        def sign(self, batch: object) -> list[bytes]:
            if self.gone:
                raise KeyUnavailable("token line-1", "it is gone", "Plug it in.")
            return world.signer.key.sign(batch)  # type: ignore[arg-type]

        def close(self) -> None: ...

    key = Pulled()
    served = replace(world.served, signer=replace(world.signer, key=key))
    app = ocsp_app(Responder([served]), Publications(dict, {}), lambda: NOW, notes.append)
    with serving(app) as port:
        said = ask(port, "POST", "/ocsp", world.request(world.good), TYPE)
        assert load_der_ocsp_response(said.body).response_status is OCSPResponseStatus.TRY_LATER
        assert "token line-1" in notes[0]
        key.gone = False
        said = ask(port, "POST", "/ocsp", world.request(world.good), TYPE)
        assert single(said.body).certificate_status is OCSPCertStatus.GOOD


def test_more_than_can_be_signed_is_told_to_come_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sealwright.service.ocsp.MAX_WAITING", 4)
    world = OcspWorld.make()
    release = threading.Event()

    class Slow:
        info = world.signer.key.info

        def sign(self, batch: object) -> list[bytes]:
            release.wait(20)
            return world.signer.key.sign(batch)  # type: ignore[arg-type]

        def close(self) -> None: ...

    served = replace(world.served, signer=replace(world.signer, key=Slow()))
    resource = OcspResource(Responder([served]), lambda: NOW, lambda _: None)
    body = world.request(world.good, nonce=b"1" * 16)
    request = Request("POST", "/ocsp", b"", b"", (), body, "application/ocsp-request", "test")

    async def crowd() -> list[Answer]:
        first = asyncio.create_task(resource.answer(request))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(resource.answer(request)) for _ in range(10)]
        await asyncio.sleep(0.05)
        release.set()
        return [await first, *await asyncio.gather(*others)]

    statuses = [load_der_ocsp_response(answer.body).response_status for answer in asyncio.run(crowd())]
    assert statuses.count(OCSPResponseStatus.TRY_LATER) == 6
    assert statuses.count(OCSPResponseStatus.SUCCESSFUL) == 5


def test_before_its_certificate_ends_the_operator_is_told_once_a_day_and_a_key_that_must_not_answer_does_not() -> None:
    notes: list[str] = []
    world, why = OcspWorld.make(), [""]
    served = [replace(one, standing=lambda _: why[0]) for one in world.responder().served]
    end = served[0].signer.not_after
    place = Place(world, {}, now=end - 30 * DAY, notes=notes)
    with serving(ocsp_app(Responder(served), Publications(dict, {}), lambda: place.now, notes.append)) as place.port:
        request = world.request(world.good)
        assert single(place.post(request).body).certificate_status is OCSPCertStatus.GOOD
        assert notes == []
        for hours in range(0, 50, 10):
            place.now = end - 10 * DAY + hours * HOUR
            place.post(request)
        assert [note.startswith("the responder's certificate ends on") for note in notes] == [True, True]
        why[0] = "its certificate was revoked"
        assert load_der_ocsp_response(place.post(request).body).response_status is OCSPResponseStatus.INTERNAL_ERROR
        assert "its certificate was revoked" in notes[-1]
