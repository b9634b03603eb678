"""What `openssl ocsp` makes of our answers, over HTTP and from files; a linter reads them too; a SoftHSM key signs them."""

from __future__ import annotations

import base64
import http.client
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from kit.asgi import ocsp_app, serving
from kit.ocsp import OcspWorld, responder_certificate
from kit.openssl import run
from kit.pki import DAY, HOUR, Signer, soft_key
from kit.tokens import TOKEN, softhsm
from sealwright.keys.backends import create_key, open_key
from sealwright.keys.key import KeyKind
from sealwright.pki.ocsp import UNKNOWN, Responder, Served
from sealwright.pki.ocspsigner import OcspSigner, authority_itself, delegated
from sealwright.service.published import Publications

NOW = datetime.now(UTC).replace(microsecond=0)  # openssl judges an answer's times by the real clock


@pytest.fixture(scope="module")
def world() -> OcspWorld:
    return OcspWorld.make(at=NOW)


def app(*worlds: OcspWorld) -> Any:
    return ocsp_app(Responder([one.served for one in worlds]), Publications(dict, {}), lambda: datetime.now(UTC), print)


def openssl(folder: Path, world: OcspWorld, who: Signer | int, *options: str | Path) -> tuple[bool, str]:
    """`openssl ocsp` about one certificate or serial; accepted where it verified the answer and found its times right."""
    (folder / "ca.pem").write_text(world.pki.root.pem)
    (folder / "issuer.pem").write_text(world.pki.intermediate.pem)
    digest = [one for one in options if one == "-sha256"]
    options = tuple(one for one in options if one != "-sha256")
    asked: list[str | Path] = ["-serial", str(who)]
    if isinstance(who, Signer):
        (folder / "who.pem").write_text(who.pem)
        asked = ["-cert", folder / "who.pem"]
    done, words = run(
        ["openssl", "ocsp", *digest, "-issuer", folder / "issuer.pem", *asked, "-CAfile", folder / "ca.pem",
         "-verify_other", folder / "issuer.pem", *options]
    )  # fmt: skip
    fine = done and "Response verify OK" in words and "WARNING" not in words and "rror" not in words
    return fine, words


def by_file(folder: Path, world: OcspWorld, who: Signer | int, answer: bytes) -> tuple[bool, str]:
    """An answer from a file (-respin)."""
    (folder / "answer.der").write_bytes(answer)
    return openssl(folder, world, who, "-respin", folder / "answer.der", "-no_nonce")


def test_openssl_as_client_sees_good_revoked_held_never_issued_and_unknown(tmp_path: Path) -> None:
    world = OcspWorld.make(at=NOW)
    partly = OcspWorld.make("Partly", at=NOW)
    partly.table.others = UNKNOWN
    cases: list[tuple[OcspWorld, Signer | int, str]] = [
        (world, world.good, ": good"),
        (world, world.lost, "Reason: keyCompromise"),
        (world, world.held, "Reason: certificateHold"),
        (world, 4711, "Revocation Time: Jan  1 00:00:00 1970 GMT"),
        (partly, partly.good, ": good"),
        (partly, 4711, ": unknown"),
    ]
    with serving(app(world, partly)) as port:
        for used, who, wanted in cases:
            for options in ((), ("-no_nonce",), ("-sha256",)):
                fine, words = openssl(tmp_path, used, who, *options, "-url", f"http://127.0.0.1:{port}/ocsp")
                assert fine, words
                assert wanted in words
                assert "no nonce" not in words.lower()


def test_openssl_refuses_what_a_responder_of_another_authority_says(tmp_path: Path) -> None:
    world, other = OcspWorld.make(at=NOW), OcspWorld.make("Other", at=NOW)
    with serving(app(world)) as port:
        assert openssl(tmp_path, world, world.good, "-url", f"http://127.0.0.1:{port}")[0]
        fine, words = openssl(tmp_path, other, other.good, "-url", f"http://127.0.0.1:{port}")
        assert not fine
        assert "unauthorized" in words


def test_an_answer_got_by_http_get_satisfies_openssl(tmp_path: Path, world: OcspWorld) -> None:
    with serving(app(world)) as port:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        with closing(client):
            client.request("GET", "/ocsp/" + quote(base64.b64encode(world.request(world.lost)), safe=""))
            body = client.getresponse().read()
    fine, words = by_file(tmp_path, world, world.lost, body)
    assert fine, words
    assert ": revoked" in words


def test_openssl_refuses_an_answer_to_another_request(tmp_path: Path, world: OcspWorld) -> None:
    (tmp_path / "answer.der").write_bytes(
        world.responder().respond(world.request(world.good, nonce=b"1" * 32), NOW).body
    )
    for nonce, accepted in ((b"1" * 32, True), (b"2" * 32, False)):
        (tmp_path / "request.der").write_bytes(world.request(world.good, nonce=nonce))
        (tmp_path / "issuer.pem").write_text(world.pki.intermediate.pem)
        (tmp_path / "ca.pem").write_text(world.pki.root.pem)
        done, words = run(
            ["openssl", "ocsp", "-reqin", tmp_path / "request.der", "-respin", tmp_path / "answer.der",
             "-CAfile", tmp_path / "ca.pem", "-verify_other", tmp_path / "issuer.pem"]
        )  # fmt: skip
        assert (done and "Nonce Verify error" not in words) is accepted, words
    assert "Nonce Verify error" in words


def test_openssl_refuses_altered_answers_and_accepts_their_twin(tmp_path: Path, world: OcspWorld) -> None:
    answer = world.responder().respond(world.request(world.lost), NOW).body
    read = ocsp.load_der_ocsp_response(answer)
    assert by_file(tmp_path, world, world.lost, answer)[0]
    said, signature = answer.index(read.tbs_response_bytes), answer.index(read.signature)
    places = {
        "first byte of what is said": said + 20,
        "the reason": answer.index(bytes.fromhex("0a0101"), said) + 2,
        "the last byte of what is said": said + len(read.tbs_response_bytes) - 1,
        "the signature": signature + 10,
        "its last byte": signature + len(read.signature) - 1,
    }
    for what, at in places.items():
        fine, words = by_file(tmp_path, world, world.lost, answer[:at] + bytes((answer[at] ^ 1,)) + answer[at + 1 :])
        assert not fine, f"{what}: {words}"


def test_openssl_refuses_a_responder_it_has_no_reason_to_believe(tmp_path: Path, world: OcspWorld) -> None:
    pki, key, request = world.pki, soft_key(), world.request(world.good)
    good = responder_certificate(pki, key, at=NOW - DAY)

    def signed_as(certificate: bytes, own: object = key) -> bytes:
        real = delegated(pki.intermediate.certificate, good, key, NOW)
        signer = OcspSigner(own, (certificate,), real.not_before, real.not_after, real.key_hash)  # type: ignore[arg-type]
        return Responder([replace(world.served, signer=signer)]).respond(request, NOW).body

    wrong = {
        "not for OCSP": responder_certificate(pki, key, at=NOW - DAY, purposes=[ExtendedKeyUsageOID.CODE_SIGNING]),
        "ended": responder_certificate(pki, key, at=NOW - 3 * DAY, days=2),
        "of another authority": responder_certificate(OcspWorld.make("Other", at=NOW).pki, key, at=NOW - DAY),
    }
    assert by_file(tmp_path, world, world.good, signed_as(good))[0]
    for what, certificate in wrong.items():
        fine, words = by_file(tmp_path, world, world.good, signed_as(certificate))
        assert not fine, f"{what}: {words}"
    fine, words = by_file(tmp_path, world, world.good, signed_as(good, soft_key()))
    assert not fine, words


def test_openssl_refuses_an_answer_about_another_certificate_or_another_time(tmp_path: Path, world: OcspWorld) -> None:
    def about(who: Signer, at: datetime, lifetime: timedelta = HOUR) -> bytes:
        return world.responder(lifetime=lifetime).respond(world.request(who), at).body

    assert by_file(tmp_path, world, world.good, about(world.good, NOW))[0]
    for what, answer in {
        "another certificate": about(world.lost, NOW),
        "ended": about(world.good, NOW - 2 * HOUR),
        "to come": about(world.good, NOW + 2 * HOUR),
    }.items():
        fine, words = by_file(tmp_path, world, world.good, answer)
        assert not fine, f"{what}: {words}"


@pytest.mark.parametrize("kind", [KeyKind.P384, KeyKind.RSA3072, KeyKind.RSA3072_PSS, KeyKind.ED25519])
def test_openssl_verifies_answers_of_each_kind_of_key(tmp_path: Path, kind: KeyKind) -> None:
    world = OcspWorld.make(kind=kind, at=NOW)
    fine, words = by_file(tmp_path, world, world.good, world.responder().respond(world.request(world.good), NOW).body)
    assert fine, words


def test_openssl_accepts_an_authority_that_answers_itself(tmp_path: Path, world: OcspWorld) -> None:
    above = world.pki.intermediate
    served = Served(above.certificate, world.table, authority_itself(above.certificate, above.key, NOW))
    fine, words = by_file(tmp_path, world, world.good, Responder([served]).respond(world.request(world.good), NOW).body)
    assert fine, words


def test_a_key_in_a_token_answers(tmp_path: Path, world: OcspWorld) -> None:
    pin = softhsm()
    info = create_key(f"{TOKEN};object=ocsp", KeyKind.P256, pin)
    with closing(open_key(info.uri, pin)) as key:
        certificate = responder_certificate(world.pki, key, at=NOW - DAY)
        signer = delegated(world.pki.intermediate.certificate, certificate, key, NOW)
        with serving(app(replace(world, signer=signer))) as port:
            for who, wanted in ((world.good, ": good"), (world.lost, ": revoked")):
                fine, words = openssl(tmp_path, world, who, "-url", f"http://127.0.0.1:{port}")
                assert fine, words
                assert wanted in words


def test_the_linter_finds_nothing_in_our_answers_and_something_in_its_twin(tmp_path: Path, world: OcspWorld) -> None:
    linter = Path(pytest.__file__).parents[4] / "bin" / "lint_ocsp_response"
    partly = replace(world, table=replace(world.table, others=UNKNOWN))
    answers = {
        "good": world.responder().respond(world.request(world.good), NOW).body,
        "nonce": world.responder().respond(world.request(world.good, nonce=b"1" * 32), NOW).body,
        "revoked": world.responder().respond(world.request(world.lost, hashed="sha256"), NOW).body,
        "held": world.responder().respond(world.request(world.held), NOW).body,
        "never issued": world.responder().respond(world.request(4711), NOW).body,
        "several": world.responder().respond(world.request(world.good, world.lost, 4711), NOW).body,
        "unknown": partly.responder().respond(partly.request(4711), NOW).body,
        "malformed": world.responder().respond(b"", NOW).body,
    }
    for what, answer in answers.items():
        (tmp_path / what).write_bytes(answer)
        done, words = run([linter, "lint", "-s", "INFO", tmp_path / what])
        assert (done, words.strip()) == (True, ""), f"{what}: {words}"
    odd = world.responder(lifetime=HOUR).respond(world.request(world.good), NOW).body
    later = odd.index(f"{NOW + HOUR:%Y%m%d%H%M%SZ}".encode())
    (tmp_path / "odd").write_bytes(odd[:later] + f"{NOW - HOUR:%Y%m%d%H%M%SZ}".encode() + odd[later + 15 :])
    assert "ocsp_negative_validity_period" in run([linter, "lint", "-s", "INFO", tmp_path / "odd"])[1]
