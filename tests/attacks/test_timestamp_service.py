"""A timestamp authority on the network, attacked: queries that must not be granted, and clients that mean no good (A096, A097)."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.serialization import Encoding

from kit.openssl import run
from kit.pki import NOW, Pki
from kit.serving import NO_SOURCE, QUERY, Served, memory_kib, tsa_home
from sealwright.artifact.digest import Digest, HashName
from sealwright.envelope import asn1 as types
from sealwright.envelope.asn1 import OID, der, tlv
from sealwright.envelope.tsp import (
    MAX_NONCE_BITS,
    Failure,
    TimestampRequest,
    failure_of,
    read_request,
    read_response,
    read_token,
    rejection_bytes,
    timestamp_request,
)
from sealwright.errors import BadSignature, SealwrightError, TimestampUnavailable
from sealwright.log.journal import EntryType, read_journal
from sealwright.pki.authority import Issuer, Subject, issue
from sealwright.pki.profiles import CODE_SIGNER, TIMESTAMP_AUTHORITY
from sealwright.signing.home import open_home

VALUE = b"a signature value"
IMPRINT = Digest.of(VALUE)
GOOD = timestamp_request(IMPRINT, 7)
SHA1 = bytes.fromhex("300906052b0e03021a0500")
MD5 = bytes.fromhex("300c06082a864886f70d02050500")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served("tsa", tsa_home(tmp_path_factory.mktemp("tsa") / "home"), *NO_SOURCE) as one:
        yield one
        assert read_token(read_response(one.stamp(GOOD), IMPRINT, 7, "tsa"), "t").nonce == 7, "it lives after all that"
        assert "failed" not in one.log.read_text()


def request(**other: object) -> bytes:
    """A request that differs from the good one."""
    imprint = types.MessageImprint(algorithm=tlv(bytes.fromhex("300b0609608648016503040201")), digest=IMPRINT.value)
    return asn1.encode_der(types.TimeStampRequest(**{"version": 1, "imprint": imprint, "nonce": 7, **other}))  # type: ignore[arg-type]


def read(data: bytes) -> TimestampRequest | Failure:
    """A request as it is read, or which failure it is."""
    try:
        return read_request(data)
    except SealwrightError as cause:
        return failure_of(cause)


def imprint(algorithm: bytes, size: int) -> types.MessageImprint:
    return types.MessageImprint(algorithm=tlv(algorithm), digest=bytes(size))


def extension(*, critical: bool) -> list[types.TLV]:
    value = types.Extension(type=OID("1.2.3.4"), critical=critical, value=b"\x05\x00")
    return [tlv(asn1.encode_der(value))]


REFUSED = {
    "SHA-1 imprint": (request(imprint=imprint(SHA1, 20)), Failure.BAD_ALG),
    "MD5 imprint": (request(imprint=imprint(MD5, 16)), Failure.BAD_ALG),
    "SHA-256 imprint of 20 octets": (request(imprint=imprint(bytes.fromhex("300b0609608648016503040201"), 20)), Failure.BAD_DATA_FORMAT),
    "version 2": (request(version=2), Failure.BAD_REQUEST),
    "another policy": (request(policy=OID("1.2.3.4")), Failure.UNACCEPTED_POLICY),
    "a critical extension": (request(extensions=extension(critical=True)), Failure.UNACCEPTED_EXTENSION),
    "an extension that is not critical": (request(extensions=extension(critical=False)), Failure.UNACCEPTED_EXTENSION),
    "a nonce beyond all measure": (request(nonce=2**MAX_NONCE_BITS), Failure.BAD_REQUEST),
    "a nonce of a thousand octets": (request(nonce=2**8000), Failure.BAD_REQUEST),
    "nothing": (b"", Failure.BAD_DATA_FORMAT),
    "an octet behind it": (GOOD + b"\0", Failure.BAD_DATA_FORMAT),
    "BER of no definite length": (b"\x30\x80" + GOOD[2:] + b"\0\0", Failure.BAD_DATA_FORMAT),
    "nested a thousand times": (b"\x30\x80" * 1000, Failure.BAD_DATA_FORMAT),
    "a length beyond the end": (b"\x30\x84\x7f\xff\xff\xff" + GOOD[2:], Failure.BAD_DATA_FORMAT),
    "one octet short": (GOOD[:-1], Failure.BAD_DATA_FORMAT),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_a_query_that_must_not_be_granted_gets_its_failure_and_no_token(
    served: Served, tmp_path: Path, what: str
) -> None:
    query, failure = REFUSED[what]
    read_response(served.stamp(request(certificate_wanted=True)), IMPRINT, 7, "tsa")
    lines = served.health()[1]["journal_lines"]
    answer = served.stamp(query)
    (tmp_path / "r").write_bytes(answer)
    said = run(["openssl", "ts", "-reply", "-in", tmp_path / "r", "-text"])[1]
    assert "Status: Rejected." in said
    assert "TST info:\nNot included." in said
    bits = rejection_bytes("", failure)[-8:].rpartition(b"\x03")[2]
    assert answer.endswith(bits), said
    with pytest.raises(TimestampUnavailable):
        read_response(answer, IMPRINT, 7, "tsa")
    assert served.health()[1]["journal_lines"] == lines, "what was refused uses neither key nor journal"


@pytest.mark.parametrize("nonce", [0, -1, 127, 128, 2**63, 2**64, 2 ** (MAX_NONCE_BITS) - 1, -(2**511)])
def test_a_nonce_comes_back_as_it_was(served: Served, nonce: int) -> None:
    answer = served.stamp(request(nonce=nonce, certificate_wanted=True))
    assert read_token(read_response(answer, IMPRINT, nonce, "tsa"), "t").nonce == nonce
    with pytest.raises(BadSignature):
        read_response(answer, IMPRINT, nonce + 1, "tsa")


def test_every_octet_of_a_query_altered_gets_an_answer_and_never_a_token_for_what_was_not_asked(served: Served) -> None:
    """Over HTTP each flip and each cut; what is granted is what the altered query says."""
    for number in range(len(GOOD)):
        for altered in (GOOD[:number], GOOD[:number] + bytes([GOOD[number] ^ 1 << number % 8]) + GOOD[number + 1 :]):
            answer = served.stamp(altered)
            asked = read(altered)
            if isinstance(asked, Failure):
                with pytest.raises(SealwrightError):
                    read_response(answer, IMPRINT, 7, "tsa")
            elif asked.policy is None and asked.certificate_wanted:
                read_response(answer, asked.imprint, asked.nonce, "tsa")


def test_random_queries_are_refused_with_an_error_of_ours() -> None:
    rng = random.Random(5)
    for _ in range(20_000):
        data = bytearray(GOOD)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        assert read(bytes(data)) is not Failure.SYSTEM_FAILURE


@pytest.mark.parametrize("what", ["another purpose beside", "not critical", "for code signing"])
def test_a_certificate_that_is_not_for_timestamps_alone_serves_nobody(tmp_path: Path, what: str) -> None:
    """A096 from the other side: nobody would believe its tokens."""
    home = tsa_home(tmp_path / "home")
    with Served("tsa", home, *NO_SOURCE) as served:
        served.stamp(GOOD)
    pki = Pki.make()
    profile = {
        "another purpose beside": replace(TIMESTAMP_AUTHORITY, purposes=(*TIMESTAMP_AUTHORITY.purposes, *CODE_SIGNER.purposes)),
        "not critical": replace(TIMESTAMP_AUTHORITY, critical_purposes=False),
        "for code signing": CODE_SIGNER,
    }[what]  # fmt: skip
    enrolled = next(key for key in open_home(str(home)).keys if key.purpose == "timestamp")
    issuer = Issuer(pki.intermediate.key, pki.intermediate.certificate)
    made = issue(profile, Subject("x", "y"), enrolled.public_key, issuer, NOW, enrolled.provenance)
    pem = x509.load_der_x509_certificate(made).public_bytes(Encoding.PEM)
    (home / "certificates" / "timestamp.pem").write_bytes(pem)
    refused = Served("tsa", home, *NO_SOURCE)
    assert refused.stop() == 1
    assert "not for timestamps alone" in refused.log.read_text()


def test_a_key_enrolled_for_something_else_is_refused(served: Served) -> None:
    refused = Served("tsa", served.home, *NO_SOURCE, "--key", "release")
    assert refused.stop() == 2
    assert "not for timestamp" in refused.log.read_text()


def test_a_crowd_of_slow_clients_does_not_keep_others_from_their_tokens(served: Served) -> None:
    crowd = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(300)]
    try:
        for line in crowd:
            line.sendall(b"POST / HTTP/1.1\r\nContent-Type: " + QUERY.encode() + b"\r\nContent-Length: 60\r\n\r\n30")
        started = time.monotonic()
        for _ in range(20):
            read_response(served.stamp(GOOD), IMPRINT, 7, "tsa")
        assert time.monotonic() - started < 5
    finally:
        for line in crowd:
            line.close()


def test_clients_that_leave_before_their_token_comes_cost_nothing(served: Served) -> None:
    head = f"POST / HTTP/1.1\r\nContent-Type: {QUERY}\r\nContent-Length: {len(GOOD)}\r\n\r\n".encode()
    before = memory_kib(served.process.pid)
    for _ in range(300):
        with socket.create_connection(("127.0.0.1", served.port)) as line:
            line.sendall(head + GOOD)
    read_response(served.stamp(GOOD), IMPRINT, 7, "tsa")
    assert memory_kib(served.process.pid) - before < 16 * 1024


def test_a_pipeline_of_queries_gets_each_its_own_token_in_order(served: Served) -> None:
    queries = [timestamp_request(Digest.of(b"%d" % number, HashName.SHA384), number) for number in range(30)]
    data = b"".join(
        f"POST / HTTP/1.1\r\nContent-Type: {QUERY}\r\nContent-Length: {len(one)}\r\n\r\n".encode() + one
        for one in queries
    )
    with socket.create_connection(("127.0.0.1", served.port)) as line, line.makefile("rb") as back:
        line.sendall(data)
        for number in range(30):
            length = 0
            while (head := back.readline()) != b"\r\n":
                if head.lower().startswith(b"content-length:"):
                    length = int(head.partition(b":")[2])
            answer = back.read(length)
            read_response(answer, Digest.of(b"%d" % number, HashName.SHA384), number, "tsa")


def test_a_hundred_at_once_get_distinct_serials_and_share_lines_of_the_journal(served: Served) -> None:
    answers: list[bytes] = []

    def client(seed: int) -> None:
        for number in range(10):
            digest = Digest.of(b"%d %d" % (seed, number))
            answers.append(read_response(served.stamp(timestamp_request(digest, seed)), digest, seed, "tsa"))

    clients = [threading.Thread(target=client, args=(seed,)) for seed in range(20)]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    assert len({read_token(answer, "t").serial for answer in answers}) == 200
    entries = [entry for entry in read_journal(str(served.home / "timestamps")) if entry.type is EntryType.INTENT]
    assert max(len(entry.fields["serials"]) for entry in entries) > 1  # type: ignore[arg-type]


def test_a_status_of_rejection_never_comes_with_a_token(served: Served) -> None:
    """A097: an old token behind a rejection is no token."""
    granted = served.stamp(GOOD)
    token = read_response(granted, IMPRINT, 7, "tsa")
    forged = der(0x30, der(0x30, b"\x02\x01\x02") + token)
    with pytest.raises(TimestampUnavailable):
        read_response(forged, IMPRINT, 7, "tsa")
