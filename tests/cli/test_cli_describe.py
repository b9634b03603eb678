"""`inspect` on anything at all: a description, or one of our typed errors, never another exception."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cryptography_vectors
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kit.mutate import flips, truncations
from kit.pki import NOW, Pki, p7s, token
from kit.trust import trust_bytes, trust_parts
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import HashName
from sealwright.cli.describe import Description, describe
from sealwright.errors import SealwrightError
from sealwright.formats.manifest import ManifestFormat
from sealwright.pki.request import certificate_request

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # cryptography's remarks on odd certificates
PKI = Pki.make()
SIGNER = PKI.leaf("release")


def _manifest() -> bytes:
    content = ManifestFormat().prepare(__file__, [HashName.SHA256], Claims("line 3", "2.4", 7, ("cpu-1",))).content
    assert content is not None
    return content


SAMPLES: dict[str, Callable[[], bytes]] = {
    "CMS signature": lambda: p7s(SIGNER, b"firmware", at=NOW),
    "timestamp (RFC 3161)": lambda: token(PKI.tsa(), b"signature value"),
    "certificate": lambda: SIGNER.certificate,
    "1 certificate in PEM": lambda: SIGNER.pem.encode(),
    "revocation list": PKI.crl,
    "certificate request": lambda: certificate_request(SIGNER.key, "CN=Release 2026"),
    "manifest": _manifest,
    "trust file": lambda: trust_bytes(trust_parts(PKI)),
}


@pytest.mark.parametrize("kind", SAMPLES)
def test_each_kind_is_recognised_by_its_content(kind: str) -> None:
    described = describe(SAMPLES[kind](), "sample")
    assert described is not None
    assert described.kind == kind
    assert described.facts or described.parts


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_damaged_sample_is_described_or_refused_with_a_typed_error(kind: str) -> None:
    sample = SAMPLES[kind]()
    step = max(1, len(sample) // 400)
    for data in (*(data for _, data in flips(sample, step=step)), *truncations(sample, step=step * 4)):
        _describe(data)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(st.binary(max_size=400), st.binary(max_size=400).map(lambda rest: b"\x30" + rest)))
def test_arbitrary_bytes_are_described_or_refused_with_a_typed_error(data: bytes) -> None:
    _describe(data)


@pytest.mark.parametrize(
    "head", [b"# sealwright manifest 1", b"# sealwright trust 1\n", b"-----BEGIN CERTIFICATE-----", b"# sealwright x\n"]
)
def test_a_known_beginning_followed_by_nonsense_is_no_crash(head: bytes) -> None:
    for rest in (b"", b"\n", b"\xff" * 100, b"\x00", b"\n" * 1000):
        _describe(head + rest)


def test_a_certificate_with_a_name_of_a_kind_nobody_reads_is_described_all_the_same() -> None:
    vectors = Path(cryptography_vectors.__file__).parent / "x509"
    odd = 0
    for path in sorted(vectors.rglob("*")):
        if path.is_file() and (described := _describe(path.read_bytes())) is not None:
            odd += described.kind == "certificate that cannot be read"
    assert odd


def test_a_private_key_inside_pem_is_never_shown() -> None:
    described = describe(b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n", "key.pem")
    assert described is not None
    assert described.kind == "private key"
    assert "c2VjcmV0" not in str(described)


def _describe(data: bytes) -> Description | None:
    try:
        described = describe(data, "sample")
    except SealwrightError:
        return None
    assert described is None or described.kind
    return described
