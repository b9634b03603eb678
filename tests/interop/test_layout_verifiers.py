"""Makers' headers before OpenSSL: the bytes are cut out by the maker's numbers, without a line of ours, and both must agree."""

from __future__ import annotations

import hashlib
import struct
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kit.boards import public_key
from kit.layouts import (
    DRIVE,
    METER,
    PAYLOAD,
    PLC,
    drive_image,
    meter_image,
    plc_image,
    sign_layout,
    trusting,
)
from kit.mutate import flips
from kit.openssl import run
from kit.pki import Pki, Signer
from kit.trust import judge
from sealwright.artifact.claims import Claims
from sealwright.envelope.kinds import Construction
from sealwright.keys.key import KeyKind
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
LAYOUT_LINE = "# sealwright layout 1\n"
PSS = ("-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest")


class Case(NamedTuple):
    """A key, what the layout says of its signatures, and how many bytes they have."""

    kind: str
    scheme: str
    digest: str
    encoding: str
    size: int


CASES = [
    Case("p256", "ecdsa", "sha256", "raw-be", 64),
    Case("p256", "ecdsa", "sha256", "raw-le", 64),
    Case("p256", "ecdsa", "sha256", "der", 72),
    Case("p384", "ecdsa", "sha384", "raw-be", 96),
    Case("p384", "ecdsa", "sha384", "der", 128),
    Case("p521", "ecdsa", "sha512", "raw-le", 132),
    Case("p521", "ecdsa", "sha512", "der", 139),
    Case("rsa3072", "rsa-pkcs1", "sha256", "raw-be", 384),
    Case("rsa3072", "rsa-pkcs1", "sha256", "raw-le", 384),
    Case("rsa3072-pss", "rsa-pss", "sha256", "raw-be", 384),
    Case("rsa4096", "rsa-pkcs1", "sha256", "raw-be", 512),
    Case("rsa4096-pss", "rsa-pss", "sha256", "raw-le", 512),
]


@cache
def keys(kind: str) -> tuple[Signer, Signer]:
    """The plant's key of a kind and a stranger's, made where a test asks for them: RSA takes its time."""
    own, other = (PKI.leaf(name, kind=KeyKind(kind), construction=Construction.LAYOUT) for name in ("own", "other"))
    return own, other


def text_of(case: Case) -> str:
    return f"""# sealwright layout 1
name = "maker"
digest = "{case.digest}"
[[magic]]
at = 0
text = "MAKER-FW"
[[part]]
from = 0
to = 32
is = "hashed"
[[part]]
from = 32
to = {32 + case.size}
is = "signature"
[[part]]
from = {32 + case.size}
to = "end"
is = "hashed"
[signature]
scheme = "{case.scheme}"
encoding = "{case.encoding}"
[generation]
at = 8
number = "u32-be"
"""


def openssl(folder: Path, key: Path, case: Case, signed: bytes, place: bytes) -> bool:
    """`openssl dgst -verify` over bytes cut out elsewhere. place: as it stands in the file."""
    value = place
    if case.encoding == "raw-le":
        half = len(place) // 2
        value = place[:half][::-1] + place[half:][::-1] if case.scheme == "ecdsa" else place[::-1]
    if case.scheme == "ecdsa" and case.encoding != "der":
        half = len(value) // 2
        value = encode_dss_signature(int.from_bytes(value[:half], "big"), int.from_bytes(value[half:], "big"))
    if case.encoding == "der":
        size = value[1] + 2 if value[1] < 0x80 else value[2] + 3
        value = place[:size]
    (folder / "value").write_bytes(value)
    (folder / "signed").write_bytes(signed)
    padding = PSS if case.scheme == "rsa-pss" else ()
    return run(
        ["openssl", "dgst", f"-{case.digest}", *padding, "-verify", key, "-signature", folder / "value", folder / "signed"]
    )[0]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[" ".join((one.kind, one.encoding)) for one in CASES])
def test_openssl_accepts_what_we_sign_and_refuses_what_is_altered(tmp_path: Path, case: Case) -> None:
    own, other = keys(case.kind)
    plain = tmp_path / "plain"
    plain.write_bytes(b"MAKER-FW" + bytes(24 + case.size) + PAYLOAD)
    path = sign_layout(plain, own, tmp_path / "image", text_of(case), claims=Claims(generation=5))
    data, end = path.read_bytes(), 32 + case.size
    assert data[:12] == b"MAKER-FW\0\0\0\5"
    key, stranger = public_key(own, tmp_path), public_key(other, tmp_path)
    signed, place = data[:32] + data[end:], data[32:end]
    trust = trusting(PKI, text_of(case), known=(own,))
    assert openssl(tmp_path, key, case, signed, place)
    assert judge(path, trust).outcome is TRUSTED
    for at in (11, end, len(data) - 1, 34 + 8, end - 1):
        bad = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        path.write_bytes(bad)
        accepted = openssl(tmp_path, key, case, bad[:32] + bad[end:], bad[32:end])
        assert judge(path, trust).outcome is REJECTED, at
        # what follows a DER value in its place is empty for us, and cut off before OpenSSL sees it
        assert accepted is (case.encoding == "der" and at == end - 1 and place[-1] == 0), at
    path.write_bytes(data)
    assert not openssl(tmp_path, stranger, case, signed, place)
    assert judge(path, trusting(PKI, text_of(case), known=(other,))).outcome is REJECTED


def private_pem(signer: Signer, folder: Path) -> Path:
    path = folder / "private.pem"
    path.write_bytes(signer.key._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))  # type: ignore[union-attr]
    return path


def sign_with_openssl(folder: Path, key: Path, digest: str, signed: bytes, *options: str) -> bytes:
    (folder / "signed").write_bytes(signed)
    accepted, words = run(
        ["openssl", "dgst", f"-{digest}", *options, "-sign", key, "-out", folder / "value", folder / "signed"]
    )
    assert accepted, words
    return (folder / "value").read_bytes()


@pytest.mark.parametrize("case", CASES, ids=[" ".join((one.kind, one.encoding)) for one in CASES])
def test_we_trust_what_openssl_signs(tmp_path: Path, case: Case) -> None:
    own, other = keys(case.kind)
    head, options = b"MAKER-FW\0\0\0\7" + bytes(20), PSS if case.scheme == "rsa-pss" else ()
    value = sign_with_openssl(tmp_path, private_pem(own, tmp_path), case.digest, head + PAYLOAD, *options)
    if case.scheme == "ecdsa" and case.encoding != "der":
        order = "big" if case.encoding == "raw-be" else "little"
        value = b"".join(one.to_bytes(case.size // 2, order) for one in decode_dss_signature(value))  # type: ignore[arg-type]
    elif case.encoding == "raw-le":
        value = value[::-1]
    path = tmp_path / "image"
    path.write_bytes(head + value.ljust(case.size, b"\0") + PAYLOAD)
    verdict = judge(path, trusting(PKI, text_of(case), known=(own,)))
    assert (verdict.outcome, verdict.claims.generation) == (TRUSTED, 7)
    assert judge(path, trusting(PKI, text_of(case), known=(other,))).outcome is REJECTED


@pytest.mark.parametrize("digest", ["sha384", "sha512"])
def test_rsa_with_a_longer_digest_is_read_as_others_sign_it(tmp_path: Path, digest: str) -> None:
    old = keys("rsa3072")[0]
    case = Case("rsa3072", "rsa-pkcs1", digest, "raw-be", 384)
    head = b"MAKER-FW\0\0\0\7" + bytes(20)
    value = sign_with_openssl(tmp_path, private_pem(old, tmp_path), digest, head + PAYLOAD)
    path = tmp_path / "image"
    path.write_bytes(head + value + PAYLOAD)
    trust = trusting(PKI, text_of(case), known=(old,))
    assert judge(path, trust).outcome is TRUSTED
    path.write_bytes(head + value + PAYLOAD[:-1] + b"?")
    assert judge(path, trust).outcome is REJECTED


def test_pkeyutl_agrees_on_the_digest_of_a_drive(tmp_path: Path) -> None:
    """Header of 128 bytes, r and s at 64; cut out with dd."""
    own, other = keys("p256")
    (tmp_path / "plain").write_bytes(drive_image())
    path = sign_layout(
        tmp_path / "plain", own, tmp_path / "image", DRIVE, claims=Claims(version="2.1.900", generation=7)
    )
    cut = ("head", 0, 64), ("sig", 64, 64), ("rest", 128, len(PAYLOAD))
    for name, skip, count in cut:
        assert run(["dd", f"if={path}", f"of={tmp_path / name}", "bs=1", f"skip={skip}", f"count={count}"])[0]
    digest = hashlib.sha256((tmp_path / "head").read_bytes() + (tmp_path / "rest").read_bytes()).digest()
    raw = (tmp_path / "sig").read_bytes()
    value = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    (tmp_path / "der").write_bytes(value)
    altered = hashlib.sha256(b"other").digest()
    for key, over, good in ((own, digest, True), (other, digest, False), (own, altered, False)):
        (tmp_path / "digest").write_bytes(over)
        verify = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public_key(key, tmp_path)]
        assert run([*verify, "-in", tmp_path / "digest", "-sigfile", tmp_path / "der"])[0] is good


def _drive(data: bytes) -> tuple[bytes, bytes]:
    return data[:64] + data[128:], data[64:128]


def _plc(data: bytes) -> tuple[bytes, bytes]:
    return data[:-416], data[-384:]


def _meter(data: bytes) -> tuple[bytes, bytes]:
    return data[:96] + b"\xff" * 80 + data[176:256], data[96:176]


@pytest.mark.parametrize("which", ["drive", "plc", "meter"])
def test_nothing_that_openssl_refuses_is_accepted_here(tmp_path: Path, which: str) -> None:
    """Every byte flipped; what OpenSSL accepts and we refuse is listed with its reason in docs/formats/layout.md."""
    text, image, own, cut, case = {
        "drive": (DRIVE, drive_image(PAYLOAD[:32]), keys("p256")[0], _drive, CASES[0]),
        "plc": (PLC, plc_image(PAYLOAD[:32]), keys("rsa3072")[0], _plc, CASES[7]),
        "meter": (METER, meter_image(PAYLOAD[:32], flash=320), keys("p256")[0], _meter, CASES[2]),
    }[which]
    (tmp_path / "plain").write_bytes(image)
    path = sign_layout(tmp_path / "plain", own, tmp_path / "image", text)
    data, key, trust = path.read_bytes(), public_key(own, tmp_path), trusting(PKI, text, known=(own,))
    assert openssl(tmp_path, key, case, *cut(data))
    size = data[97] + 2
    told_apart = {
        "drive": [],
        "plc": list(range(len(data) - 416, len(data) - 384)),  # the stored digest, which OpenSSL is not shown
        "meter": [*range(96 + size, 176), *range(256, 304)],  # behind the value; payload and fill, by their own rules
    }[which]
    lenient = []
    for at, bad in flips(data):
        path.write_bytes(bad)
        ours = judge(path, trust).outcome is TRUSTED
        if ours or at % 8 == 0 or at in told_apart:
            accepted = openssl(tmp_path, key, case, *cut(bad))
            assert accepted or not ours, at
            if accepted and not ours:
                lenient.append(at)
    assert lenient == told_apart


def test_the_example_of_the_documentation_is_signed_and_checked(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "formats" / "layout.md").read_text()
    text = LAYOUT_LINE + page.split(f"```toml\n{LAYOUT_LINE}", 1)[1].split("```", 1)[0]
    own = keys("p256")[0]
    head = struct.pack("<4sHHIBBHI12s", b"ACME", 2, 0, len(PAYLOAD), 2, 1, 900, 7, b"VX-200")
    (tmp_path / "plain").write_bytes(head + bytes(64) + PAYLOAD)
    path = sign_layout(tmp_path / "plain", own, tmp_path / "image", text)
    data = path.read_bytes()
    assert openssl(tmp_path, public_key(own, tmp_path), CASES[0], data[:32] + data[96:], data[32:96])
    verdict = judge(path, trusting(PKI, text, known=(own,)))
    assert (verdict.outcome, verdict.claims) == (TRUSTED, Claims("VX-200", "2.1.900", 7))
