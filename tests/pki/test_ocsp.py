"""What an OCSP responder says, in which words, and what it refuses to read: its decisions without sockets."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.ocsp import OCSPCertStatus, OCSPResponseStatus
from cryptography.x509.oid import ExtendedKeyUsageOID

from kit.ocsp import (
    DIGESTS,
    NONCE,
    OcspWorld,
    certificate_id,
    extension,
    ocsp_request,
    responder_certificate,
    sha,
    single,
)
from kit.pki import DAY, HOUR, NOW, Pki, soft_key
from sealwright.envelope.asn1 import der
from sealwright.envelope.ocsp import MAX_CERTIFICATES, MAX_REQUEST_BYTES, ResponseStatus
from sealwright.errors import JournalError, KeyRefused, KeyUnavailable
from sealwright.keys.key import KeyKind
from sealwright.pki.ocsp import MAX_KEPT_ANSWERS, UNKNOWN, Responder, Served
from sealwright.pki.ocspsigner import authority_itself, delegated

MALFORMED, UNAUTHORIZED = ResponseStatus.MALFORMED_REQUEST, ResponseStatus.UNAUTHORIZED
LATER, INTERNAL = ResponseStatus.TRY_LATER, ResponseStatus.INTERNAL_ERROR
FINE = ResponseStatus.SUCCESSFUL
MINUTE = timedelta(minutes=1)
Reason = x509.ReasonFlags


@pytest.fixture(scope="module")
def world() -> OcspWorld:
    return OcspWorld.make()


def test_good_revoked_and_held_are_said_with_reason_and_dates(world: OcspWorld) -> None:
    responder = world.responder()
    good, lost, held = (
        single(responder.respond(world.request(who), NOW).body) for who in (world.good, world.lost, world.held)
    )
    assert (good.certificate_status, good.revocation_reason) == (OCSPCertStatus.GOOD, None)
    assert (lost.certificate_status, lost.revocation_reason) == (OCSPCertStatus.REVOKED, Reason.key_compromise)
    assert (held.certificate_status, held.revocation_reason) == (OCSPCertStatus.REVOKED, Reason.certificate_hold)
    assert lost.revocation_time_utc == NOW - DAY
    assert (good.this_update_utc, good.next_update_utc) == (NOW, NOW + DAY)


def test_the_invalidity_date_and_how_far_back_we_know_are_in_the_answer(world: OcspWorld) -> None:
    answer = ocsp.load_der_ocsp_response(world.responder().respond(world.request(world.lost), NOW).body)
    found = {one.oid.dotted_string: one.value for one in answer.single_extensions}
    assert found["2.5.29.24"].invalidity_date_utc == NOW - 5 * DAY  # type: ignore[attr-defined]
    assert asn1.decode_der(asn1.GeneralizedTime, found["1.3.6.1.5.5.7.48.1.6"].value).as_datetime() == NOW - 30 * DAY  # type: ignore[attr-defined]


def test_a_serial_that_nobody_issued_is_revoked_and_the_answer_says_that_it_says_so(world: OcspWorld) -> None:
    answer = ocsp.load_der_ocsp_response(world.responder().respond(world.request(4711), NOW).body)
    assert (answer.certificate_status, answer.revocation_reason) == (OCSPCertStatus.REVOKED, Reason.certificate_hold)
    assert answer.revocation_time_utc is not None
    assert answer.revocation_time_utc.timestamp() == 0
    assert "1.3.6.1.5.5.7.48.1.9" in {one.oid.dotted_string for one in answer.extensions}
    known = ocsp.load_der_ocsp_response(world.responder().respond(world.request(world.lost), NOW).body)
    assert not list(known.extensions)


def test_where_not_all_that_was_issued_is_known_another_serial_is_unknown(world: OcspWorld) -> None:
    partly = replace(world, table=replace(world.table, others=UNKNOWN))
    answer = ocsp.load_der_ocsp_response(partly.responder().respond(partly.request(4711), NOW).body)
    assert answer.certificate_status is OCSPCertStatus.UNKNOWN
    assert not list(answer.extensions)
    assert not list(answer.single_extensions)


@pytest.mark.parametrize("hashed", ["sha1", "sha256"])
def test_both_digests_name_the_authority_and_others_name_nobody(world: OcspWorld, hashed: str) -> None:
    responder = world.responder()
    assert responder.respond(world.request(world.good, hashed=hashed), NOW).status is FINE
    assert responder.respond(world.request(world.good, hashed="sha384"), NOW).status is UNAUTHORIZED


def test_a_request_as_cryptography_writes_it_gets_its_certificate_id_back(world: OcspWorld) -> None:
    for hashed in (hashes.SHA1(), hashes.SHA256()):  # noqa: S303
        asked = ocsp.OCSPRequestBuilder().add_certificate(world.good.x509, world.pki.intermediate.x509, hashed).build()
        said = ocsp.load_der_ocsp_response(world.responder().respond(asked.public_bytes(Encoding.DER), NOW).body)
        assert (said.serial_number, said.issuer_key_hash, said.issuer_name_hash) == (
            asked.serial_number, asked.issuer_key_hash, asked.issuer_name_hash,
        )  # fmt: skip
        assert (
            said.responder_key_hash
            == x509.SubjectKeyIdentifier.from_public_key(world.signer.key.info.public_key).key_identifier
        )


def test_several_certificates_of_one_authority_are_answered_together_in_order(world: OcspWorld) -> None:
    answer = world.responder().respond(world.request(world.lost, world.good, 4711, world.good), NOW)
    said = list(ocsp.load_der_ocsp_response(answer.body).responses)
    wanted = [world.lost.x509.serial_number, world.good.x509.serial_number, 4711, world.good.x509.serial_number]
    assert [one.serial_number for one in said] == wanted
    assert [one.certificate_status.name for one in said] == ["REVOKED", "GOOD", "REVOKED", "GOOD"]
    assert answer.fresh is None


@pytest.mark.parametrize("octets", [1, 16, 32, 128])
def test_the_nonce_comes_back_and_such_an_answer_is_not_for_caches(world: OcspWorld, octets: int) -> None:
    responder, nonce = world.responder(), os.urandom(octets)
    answer = responder.respond(world.request(world.good, nonce=nonce), NOW)
    read = ocsp.load_der_ocsp_response(answer.body)
    assert read.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce
    assert answer.fresh is None
    assert responder.respond(world.request(world.good, nonce=nonce), NOW).body != answer.body
    assert responder.respond(world.request(world.good), NOW).fresh is not None


def test_an_answer_without_nonce_is_signed_once_and_given_out_until_half_of_its_time_is_over(world: OcspWorld) -> None:
    responder = world.responder()
    first = responder.respond(world.request(world.good), NOW)
    assert responder.respond(world.request(world.good), NOW + 12 * HOUR - MINUTE).body == first.body
    later = responder.respond(world.request(world.good), NOW + 12 * HOUR)
    assert single(later.body).this_update_utc == NOW + 12 * HOUR
    assert responder.respond(world.request(world.good), NOW).body != later.body, "a clock set back gets no time to come"


def test_a_revocation_is_said_at_once_though_an_older_answer_was_kept() -> None:
    world = OcspWorld.make()
    responder = world.responder()
    assert single(responder.respond(world.request(world.good), NOW).body).certificate_status is OCSPCertStatus.GOOD
    world.table.revoke(world.good, NOW + MINUTE, Reason.superseded)
    after = single(responder.respond(world.request(world.good), NOW + MINUTE).body)
    assert after.certificate_status is OCSPCertStatus.REVOKED
    world.table.revoke(world.good, NOW + MINUTE, Reason.key_compromise)
    again = single(responder.respond(world.request(world.good), NOW + MINUTE).body)
    assert again.revocation_reason is Reason.key_compromise


def test_what_is_kept_is_bounded_and_junk_serials_are_not_kept_at_all(world: OcspWorld) -> None:
    responder = world.responder()
    for serial in range(50):
        assert responder.respond(world.request(10_000 + serial), NOW).fresh is None
    assert len(responder._kept) == 0
    assert responder.respond(world.request(world.good), NOW).fresh is not None
    assert len(responder._kept) == 1 <= MAX_KEPT_ANSWERS


def test_no_answer_outlives_its_responder_or_what_it_was_made_from() -> None:
    world = OcspWorld.make()
    late = NOW + 88 * DAY + 23 * HOUR
    assert single(world.responder().respond(world.request(world.good), late).body).next_update_utc == NOW + 89 * DAY
    assert world.responder().respond(world.request(world.good), NOW + 89 * DAY).status is INTERNAL
    world.table.until, world.table.since = NOW + HOUR, NOW - HOUR
    said = single(world.responder().respond(world.request(world.good), NOW).body)
    assert (said.this_update_utc, said.next_update_utc) == (NOW - HOUR, NOW + HOUR)
    ended = world.responder().respond(world.request(world.good), NOW + HOUR)
    assert (ended.status, ended.fresh) == (LATER, None)
    kept = world.responder()
    kept.respond(world.request(world.good), NOW)
    assert kept.respond(world.request(world.good), NOW + HOUR).status is LATER


def test_two_authorities_in_one_responder_are_each_answered_for_by_their_own() -> None:
    one, other, foreign = OcspWorld.make("ACME"), OcspWorld.make("Umbrella"), OcspWorld.make("Foreign")
    responder = Responder([one.served, other.served])
    for world in (one, other):
        read = ocsp.load_der_ocsp_response(responder.respond(world.request(world.good), NOW).body)
        assert read.certificates[0].issuer == world.pki.intermediate.x509.subject
    assert responder.respond(foreign.request(foreign.good), NOW).status is UNAUTHORIZED
    mixed = ocsp_request([one.certificate_id(one.good), other.certificate_id(other.good)])
    assert responder.respond(mixed, NOW).status is UNAUTHORIZED


def test_the_issuer_is_known_by_name_and_key_together(world: OcspWorld) -> None:
    same_name = OcspWorld.make()
    name, key = world.pki.intermediate.x509.subject.public_bytes(), b"\x04" + b"1" * 64
    assert same_name.pki.intermediate.x509.subject == world.pki.intermediate.x509.subject
    assert world.responder().respond(world.request(world.good), NOW).status is FINE
    assert world.responder().respond(same_name.request(same_name.good), NOW).status is UNAUTHORIZED
    wrong = certificate_id(DIGESTS["sha1"], sha(name, "sha1"), sha(key, "sha1"), 1)
    assert world.responder().respond(ocsp_request([wrong]), NOW).status is UNAUTHORIZED


def _wrapped(*ids: bytes, extra: bytes = b"", version: bytes = b"", signature: bytes = b"") -> bytes:
    return der(0x30, der(0x30, version + der(0x30, b"".join(der(0x30, one) for one in ids)) + extra) + signature)


def test_what_clients_write_in_odd_but_harmless_ways_is_answered(world: OcspWorld) -> None:
    own = world.certificate_id(world.good)
    absent = own.replace(bytes.fromhex("300906052b0e03021a0500"), bytes.fromhex("300706052b0e03021a"))
    absent = der(0x30, absent[2:])
    name = der(0xA1, der(0xA4, world.good.x509.subject.public_bytes()))
    odd = {
        "parameters of the digest left out": _wrapped(absent),
        "version written out": _wrapped(own, version=bytes.fromhex("a003020100")),
        "a requestor's name": der(0x30, der(0x30, name + der(0x30, der(0x30, own)))),
        "a signature, which is not looked at": _wrapped(own, signature=der(0xA0, der(0x30, b"\x05\x00"))),
        "critical FALSE written out": ocsp_request([own], [extension(NONCE, der(4, b"1" * 32), b"\x01\x01\x00")]),
        "a critical nonce": ocsp_request([own], [extension(NONCE, der(4, b"1" * 32), b"\x01\x01\xff")]),
        "an unknown extension that is not critical": ocsp_request([own], [extension("1.2.3.4", b"\x05\x00")]),
        "the same beside the certificate": ocsp_request([own], (), [extension("1.2.3.4", b"\x05\x00")]),
    }
    for what, request in odd.items():
        answer = world.responder().respond(request, NOW)
        assert answer.status is FINE, f"{what}: {answer.why}"
        assert single(answer.body).certificate_status is OCSPCertStatus.GOOD


def test_what_is_no_request_is_malformed_request_and_costs_nothing(world: OcspWorld) -> None:
    own, good = world.certificate_id(world.good), world.request(world.good)
    nonce = extension(NONCE, der(4, b"1" * 32))
    bad = {
        "nothing": b"",
        "garbage": os.urandom(100),
        "cut off": good[:-1],
        "trailing byte": good + b"\x00",
        "no certificate": ocsp_request([]),
        "indefinite length": b"\x30\x80" + good[2:] + b"\x00\x00",
        "a length of 4 GiB": b"\x30\x84\xff\xff\xff\xff" + good[2:],
        "nested a thousand deep": _deep(1000),
        "version 2": _wrapped(own, version=bytes.fromhex("a003020101")),
        "a certificate in place of a request": world.good.certificate,
        "an unknown critical extension": ocsp_request([own], [extension("1.2.3.4", b"\x05\x00", b"\x01\x01\xff")]),
        "the same beside the certificate": ocsp_request([own], (), [extension("1.2.3.4", b"", b"\x01\x01\xff")]),
        "two nonces": ocsp_request([own], [nonce, nonce]),
        "an empty nonce": ocsp_request([own], [extension(NONCE, der(4, b""))]),
        "a nonce of 129 octets": ocsp_request([own], [extension(NONCE, der(4, b"1" * 129))]),
        "a bare nonce": ocsp_request([own], [extension(NONCE, b"1" * 32)]),
        "17 extensions": ocsp_request([own], [extension(f"1.2.3.{number}", b"") for number in range(17)]),
        "a serial of 21 octets": world.request(1 << 160),
        "a serial of 8,000 octets": world.request(1 << 64_000),
        f"{MAX_CERTIFICATES + 1} certificates": ocsp_request([own] * (MAX_CERTIFICATES + 1)),
        "10,000 certificates": ocsp_request([own] * 10_000),
        "too many bytes": _wrapped(own, extra=der(0xA2, der(0x30, extension("1.2.3.4", bytes(MAX_REQUEST_BYTES))))),
    }  # fmt: skip
    responder = world.responder()
    for what, request in bad.items():
        answer = responder.respond(request, NOW)
        assert answer.status is MALFORMED, what
        assert ocsp.load_der_ocsp_response(answer.body).response_status is OCSPResponseStatus.MALFORMED_REQUEST
        assert answer.why
    assert responder.respond(good, NOW).status is FINE
    assert responder.respond(ocsp_request([own] * MAX_CERTIFICATES), NOW).status is FINE


def _deep(levels: int) -> bytes:
    data = b""
    for _ in range(levels):
        data = der(0x30, data)
    return data


@pytest.mark.parametrize("serial", [0, -1, -(1 << 150), (1 << 160) - 1])
def test_serials_that_no_authority_of_ours_gives_are_answered_as_never_issued(world: OcspWorld, serial: int) -> None:
    said = single(world.responder().respond(world.request(serial), NOW).body)
    assert said.certificate_status is OCSPCertStatus.REVOKED


def test_every_single_byte_of_a_request_may_be_wrong_without_harm(world: OcspWorld) -> None:
    responder, good = world.responder(), world.request(world.good, nonce=b"1" * 32)
    for at in range(len(good)):
        for value in (0, 0x30, 0x7F, 0x80, 0xFF, good[at] ^ 1):
            answer = responder.respond(good[:at] + bytes((value,)) + good[at + 1 :], NOW)
            assert answer.status in (FINE, MALFORMED, UNAUTHORIZED)


def test_a_key_or_source_that_fails_makes_an_error_and_not_an_answer(world: OcspWorld) -> None:
    class Gone:
        info = world.signer.key.info

        def __init__(self, cause: Exception) -> None:
            self.cause = cause

        def sign(self, batch: object) -> list[bytes]:
            raise self.cause

        def close(self) -> None: ...

    class Unreadable:
        def refresh(self, now: object) -> None:
            raise JournalError("register", "it is damaged", "Restore it.")

    words = ("token", "it is gone", "Plug it in.")
    for cause, status in ((KeyUnavailable(*words), LATER), (KeyRefused(*words), INTERNAL)):
        signer = replace(world.signer, key=Gone(cause))
        answer = Responder([replace(world.served, signer=signer)]).respond(world.request(world.good), NOW)
        assert (answer.status, len(answer.body)) == (status, 5)
        assert "it is gone" in answer.why
    broken = Responder([replace(world.served, source=Unreadable())])  # type: ignore[arg-type]
    assert broken.respond(world.request(world.good), NOW).status is LATER


@pytest.mark.parametrize(
    "kind", [KeyKind.P384, KeyKind.RSA3072, KeyKind.RSA3072_PSS, KeyKind.ED25519, KeyKind.ML_DSA_65]
)
def test_responders_with_keys_of_each_kind_sign_what_their_public_key_verifies(kind: KeyKind) -> None:
    world = OcspWorld.make(kind=kind)
    answer = world.responder().respond(world.request(world.good), NOW)
    read = ocsp.load_der_ocsp_response(answer.body)
    key = world.signer.key.info
    assert read.signature_algorithm_oid.dotted_string in {
        KeyKind.P384: "1.2.840.10045.4.3.3", KeyKind.RSA3072: "1.2.840.113549.1.1.11",
        KeyKind.RSA3072_PSS: "1.2.840.113549.1.1.10", KeyKind.ED25519: "1.3.101.112",
        KeyKind.ML_DSA_65: "2.16.840.1.101.3.4.3.18",
    }[kind]  # fmt: skip
    from sealwright.envelope.algorithms import check_signature

    check_signature(key.public_key, key.algorithm, read.signature, read.tbs_response_bytes, subject="answer")


def test_only_a_certificate_that_clients_would_believe_may_answer(world: OcspWorld) -> None:
    pki, key = world.pki, soft_key()
    issuer = pki.intermediate.certificate
    assert delegated(issuer, responder_certificate(pki, key), key, NOW).certificates
    wrong = {
        "of another authority": (Pki.make().intermediate.certificate, responder_certificate(pki, key), key),
        "of the root above": (pki.root.certificate, responder_certificate(pki, key), key),
        "not for OCSP": (
            issuer, responder_certificate(pki, key, purposes=[ExtendedKeyUsageOID.SERVER_AUTH]), key,
        ),
        "without a purpose": (issuer, responder_certificate(pki, key, purposes=[]), key),
        "for any purpose": (
            issuer, responder_certificate(pki, key, purposes=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), key,
        ),
        "another key": (issuer, responder_certificate(pki, key), soft_key()),
        "may not sign": (issuer, responder_certificate(pki, key, signs=False), key),
        "ended": (issuer, responder_certificate(pki, key, days=1, at=NOW - DAY), key),
        "to come": (issuer, responder_certificate(pki, key, at=NOW + DAY), key),
    }  # fmt: skip
    for what, (above, certificate, own) in wrong.items():
        with pytest.raises(KeyRefused):
            pytest.fail(f"{what}: {delegated(above, certificate, own, NOW)}")


def test_the_authority_answers_with_its_own_key_only_where_that_is_asked_for_by_name(world: OcspWorld) -> None:
    above = world.pki.intermediate
    with pytest.raises(KeyRefused):
        delegated(above.certificate, above.certificate, above.key, NOW)
    signer = authority_itself(above.certificate, above.key, NOW)
    answer = Responder([Served(above.certificate, world.table, signer)]).respond(world.request(world.good), NOW)
    assert list(ocsp.load_der_ocsp_response(answer.body).certificates) == []
