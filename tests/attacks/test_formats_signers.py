"""Signatures inside files: forged values and structures, signers that are not meant, and values made for another format.

Where a format reads CMS of others, what it reads is forged by a key that is trusted: it is refused for the rule, not for the value.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.efi import tiny
from kit.forge import attribute, forge, signer_info
from kit.inside import sign_inside
from kit.pki import Pki, Signer, p7s
from kit.signedfiles import BOARD, BOOT, MAKERS, MODULES, RELEASE, RSA, TRUST, format_of
from kit.trust import codes, judge
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import HashName
from sealwright.artifact.output import Output, write_batch
from sealwright.artifact.source import open_artifact
from sealwright.envelope import asn1 as types
from sealwright.envelope.asn1 import OID, der
from sealwright.errors import SealwrightError
from sealwright.formats.embedded import embedded_format
from sealwright.formats.format import Existing, Sealed
from sealwright.formats.jar import statement_of
from sealwright.formats.pe import certificate_entries
from sealwright.formats.pe import read_layout as pe_layout
from sealwright.formats.powershell import read_layout as script_layout
from sealwright.formats.rauc import read_bundle
from sealwright.formats.swupdate import read_update
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
DETACHED = ("rauc", "swupdate", "jar")
HINTS = [types.CONTENT_HINTS]
SHA1 = bytes.fromhex("300906052b0e03021a0500")
EVIL = Pki.make("EVIL").leaf()
EMPTY = bytes.fromhex("3006020100020100")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    names = (*DETACHED, "pe", "powershell", "kmod")
    return {name: MAKERS[name](tmp_path_factory.mktemp(name)) for name in names}


def content(name: str, path: Path) -> bytes:
    """What the signature of a sample is over."""
    with open_artifact(str(path)) as source:
        if name == "swupdate":
            return read_update(source).text
        if name == "rauc":
            return source.read_at(0, read_bundle(source).payload_end)
    prepared = embedded_format("jar").prepare(str(path), (HashName.SHA256,), Claims(), Existing.REPLACE, None)
    return statement_of(prepared.content or b"", HashName.SHA256, str(path))


def carrying(name: str, path: Path, envelope: bytes, folder: Path) -> Path:
    """The sample with other bytes in place of its signature, put there as the format does it."""
    form, out = embedded_format(format_of(name)), folder / f"carrying{path.suffix}"
    prepared = form.prepare(str(path), (HashName.SHA256,), Claims(), Existing.REPLACE, None)
    signer = RELEASE if name in DETACHED else RSA
    parts = form.attach(prepared, Sealed(envelope, b"", signer.certificate, signer.signing.algorithm))
    out.unlink(missing_ok=True)
    write_batch([Output(str(out), parts)])
    return out


def forged(**how: object) -> Callable[[bytes], bytes]:
    return lambda data: forge(RELEASE, data, **({"drop": HINTS} | how))  # type: ignore[arg-type]


def by(signer: Signer) -> Callable[[bytes], bytes]:
    return lambda data: forge(signer, data, drop=HINTS)


def of_two(data: bytes) -> bytes:
    return forge(RELEASE, data, drop=HINTS, infos=sorted(signer_info(one, data, drop=HINTS) for one in (RELEASE, EVIL)))


FORGED: dict[str, Callable[[bytes], bytes]] = {
    "a001 zero": forged(value=EMPTY),
    "a003 long length": forged(value=b"\x30\x81\x06\x02\x01\x01\x02\x01\x01"),
    "a003 trailing byte": forged(value=bytes.fromhex("300602010102010100")),
    "a019 sha-1": forged(digest_identifier=SHA1),
    "a027 made for a file": lambda data: forge(RELEASE, data),
    "a035 no message-digest": forged(drop=[*HINTS, types.MESSAGE_DIGEST]),
    "a035 no content-type": forged(drop=[*HINTS, types.CONTENT_TYPE]),
    "a035 message-digest twice": forged(add=[attribute(types.MESSAGE_DIGEST, der(0x04, bytes(32)))]),
    "a035 no signed attributes": forged(signed=False),
    "a038 nobody": forged(infos=[]),
    "a038 no value": forged(value=b""),
    "a039 a stranger too": of_two,
    "a040 another content inside": forged(content=b"another content"),
    "a042 a root of its own": by(EVIL),
    "a054 a byte behind it": lambda data: forge(RELEASE, data, drop=HINTS) + b"\0",
    "a054 pem": lambda data: b"-----BEGIN CMS-----\n" + forge(RELEASE, data, drop=HINTS),
    "a052 nested": lambda _: nested(10_000),
    "a052 length": lambda _: bytes.fromhex("3084ffffffff") + bytes(50),
    "a052 never closed": lambda _: b"\x30\x80" * 5000,
}  # fmt: skip


def nested(depth: int) -> bytes:
    found = b""
    for _ in range(depth):
        found = der(0x30, found)
    return found


@pytest.mark.parametrize("case", FORGED)
@pytest.mark.parametrize("name", DETACHED)
def test_forged_cms_is_refused_inside_as_it_is_beside(
    samples: dict[str, Path], tmp_path: Path, name: str, case: str
) -> None:
    path = samples[name]
    data = content(name, path)
    good = carrying(name, path, forge(RELEASE, data, drop=HINTS), tmp_path)
    assert judge(good, TRUST).outcome is TRUSTED, judge(good, TRUST).findings
    if name == "jar" and case.startswith("a039"):
        bad = carrying(name, path, of_two(data), tmp_path)
        assert [one.accepted for one in judge(bad, TRUST).signers].count(True) == 1
        return
    started = time.process_time()
    bad = carrying(name, path, FORGED[case](data), tmp_path)
    verdict = judge(bad, TRUST)
    assert verdict.outcome is REJECTED
    assert time.process_time() - started < 1
    assert all(finding.next_step for finding in verdict.findings if finding.severity == "reject")


@pytest.mark.parametrize("name", DETACHED)
def test_a005_a_signature_that_is_rewritten_is_of_the_same_artifact(
    samples: dict[str, Path], tmp_path: Path, name: str
) -> None:
    path = samples[name]
    first = judge(path, TRUST)
    assert first.outcome is TRUSTED
    again = judge(carrying(name, path, forge(RELEASE, content(name, path), drop=HINTS), tmp_path), TRUST)
    assert (again.outcome, again.artifact) == (TRUSTED, first.artifact)


@pytest.mark.parametrize("name", DETACHED)
def test_a041_what_is_hidden_in_unsigned_attributes_is_told(
    samples: dict[str, Path], tmp_path: Path, name: str
) -> None:
    path = samples[name]
    hidden = attribute(OID("1.2.3.4"), der(0x04, b"payload"))
    bad = carrying(name, path, forge(RELEASE, content(name, path), drop=HINTS, unsigned=[hidden]), tmp_path)
    verdict = judge(bad, TRUST)
    assert verdict.outcome is TRUSTED
    assert "SW-SIGNATURE-ATTRIBUTE-IGNORED" in [finding.code for finding in verdict.findings]


def test_a041_a_nested_signature_over_another_program_counts_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.efi").write_bytes(tiny())
    (tmp_path / "b.efi").write_bytes(tiny(b"\x90" + bytes(63)))
    first = sign_inside(tmp_path / "a.efi", RSA, tmp_path / "a-signed.efi")
    second = sign_inside(tmp_path / "b.efi", RSA, tmp_path / "b-signed.efi")
    both = sign_inside(first, RSA, tmp_path / "both.efi", existing=Existing.ADD)
    assert judge(both, TRUST).outcome is TRUSTED
    with open_artifact(str(second)) as source:
        (other,) = certificate_entries(source, pe_layout(source))
    bad = carrying("pe", first, other, tmp_path)
    assert codes(judge(bad, TRUST)) == ["SW-FILE-CHANGED"]


def test_a027_authenticode_of_a_script_is_none_of_a_program_and_the_reverse(
    samples: dict[str, Path], tmp_path: Path
) -> None:
    with open_artifact(str(samples["powershell"])) as source:
        of_script = script_layout(source).signature
    with open_artifact(str(samples["pe"])) as source:
        (of_program,) = certificate_entries(source, pe_layout(source))
    assert judge(carrying("pe", samples["pe"], of_program, tmp_path), TRUST).outcome is TRUSTED
    assert judge(carrying("powershell", samples["powershell"], of_script, tmp_path), TRUST).outcome is TRUSTED
    for name, envelope in (("pe", of_script), ("powershell", of_program)):
        verdict = judge(carrying(name, samples[name], envelope, tmp_path), TRUST)
        assert verdict.outcome is REJECTED
        assert "another kind of file" in verdict.findings[0].sentence


KINDS = {"mcuboot": BOOT, "kmod": MODULES, "fit": BOARD, "jar": RELEASE}


@pytest.mark.parametrize("name", KINDS)
def test_a027_a_key_signs_by_the_construction_it_is_enrolled_for(tmp_path: Path, name: str) -> None:
    plain = {"mcuboot": "fw.bin", "kmod": "plain.ko", "fit": "fit/image.fit", "jar": "plain.jar"}[name]
    assert judge(MAKERS[name](tmp_path), TRUST).outcome is TRUSTED
    for other, signer in KINDS.items():
        if other == name:
            continue
        out = tmp_path / f"by-{other}{Path(plain).suffix}"
        claims = Claims(version="1.0.0") if name == "mcuboot" else Claims()
        try:
            sign_inside(tmp_path / plain, signer, out, name, claims=claims)
        except SealwrightError:
            continue
        assert judge(out, TRUST).outcome is REJECTED


@pytest.mark.parametrize("name", ["pe", "kmod", "jar", "swupdate", "powershell"])
def test_signatures_inside_and_beside_are_judged_each_alone(
    samples: dict[str, Path], tmp_path: Path, name: str
) -> None:
    """One that holds suffices, whatever lies beside it; the other is told. None that holds is a refusal."""
    good = samples[name].read_bytes()
    path, beside = tmp_path / f"file{samples[name].suffix}", tmp_path / f"file{samples[name].suffix}.p7s"
    path.write_bytes(good)
    for inside_holds in (True, False):
        data = good if inside_holds else changed_signature(name, samples[name], tmp_path)
        path.write_bytes(data)
        for beside_holds in (True, False):
            beside.write_bytes(p7s(RELEASE, data if beside_holds else b"another file"))
            verdict = judge(path, TRUST)
            assert (verdict.outcome is TRUSTED) is (inside_holds or beside_holds)
            if inside_holds is not beside_holds:
                assert "SW-SIGNATURE-IGNORED" in [finding.code for finding in verdict.findings]
            if beside_holds and not inside_holds:
                assert verdict.format == "detached"


def changed_signature(name: str, path: Path, folder: Path) -> bytes:
    """The sample with a signature by somebody else."""
    if name in DETACHED:
        return carrying(name, path, forge(EVIL, content(name, path), drop=HINTS), folder).read_bytes()
    data = bytearray(path.read_bytes())
    data[-60 if name != "pe" else -20] ^= 1
    return bytes(data)


def test_a039_a_second_signer_of_an_archive_is_covered_by_itself_alone(
    samples: dict[str, Path], tmp_path: Path
) -> None:
    """Anybody may put in a statement of their own: it counts for nothing, and is not said to be covered by the first one."""
    both = sign_inside(samples["jar"], EVIL, tmp_path / "both.jar", "jar", existing=Existing.ADD)
    verdict = judge(both, TRUST)
    assert verdict.outcome is TRUSTED
    assert [one.accepted for one in verdict.signers].count(True) == 1
    data = both.read_bytes()
    hashed = b"".join(data[part.start : part.end] for part in verdict.coverage.ranges if part.extent.value == "hashed")
    assert hashed.count(b"Signature-Version") == 1
    assert data.count(b"Signature-Version") == 2
