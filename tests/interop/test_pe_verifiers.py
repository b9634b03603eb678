"""PE programs before their real verifiers: what we sign they accept, what is altered they refuse, and what they sign we read."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kit.efi import CODE, PROGRAMS, osslsigncode, program, sbverify, tiny
from kit.inside import sign_inside, stripped
from kit.mutate import flips
from kit.openssl import run
from kit.pki import Pki, Signer
from kit.samples import Sample
from kit.trust import believed, codes, judge
from sealwright.artifact.source import open_artifact
from sealwright.cli.main import main
from sealwright.errors import MalformedArtifact
from sealwright.formats.format import Existing, Search
from sealwright.formats.pe import Pe
from sealwright.keys.file import KeyKind
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
RSA = Pki.make(kind=KeyKind.RSA3072)
EC = Pki.make()
VERIFIERS = (sbverify, osslsigncode)


def anchors(folder: Path, pki: Pki) -> Path:
    path = folder / "ca.pem"
    path.write_text(pki.root.pem)
    return path


def flipped(path: Path, at: int, out: Path) -> Path:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    out.write_bytes(bytes(data))
    return out


@pytest.mark.parametrize("pki", [RSA, EC], ids=["rsa3072", "p256"])
@pytest.mark.parametrize("sample", PROGRAMS, ids=lambda sample: sample.name)
def test_what_we_sign_both_verifiers_accept_and_what_is_altered_they_refuse(
    tmp_path: Path, sample: Sample, pki: Pki
) -> None:
    release = pki.leaf(kind=KeyKind.RSA3072) if pki is RSA else pki.leaf()
    plain = sample.copy_to(tmp_path)
    signed = sign_inside(plain, release, tmp_path / "signed.efi", tsa=pki.tsa())
    bad = tmp_path / "bad.efi"
    trusted, stranger = anchors(tmp_path, pki), tmp_path / "other.pem"
    stranger.write_text(Pki.make("EVIL").root.pem)
    assert judge(signed, believed(pki)).outcome is TRUSTED
    for verifier in VERIFIERS:
        accepted, words = verifier(signed, trusted)
        assert accepted, words
        assert not verifier(plain, trusted)[0]
    # sbverify takes every path whose issuer it does not find: it says nothing of who signed
    assert not osslsigncode(signed, stranger)[0]
    for at in (0x2000, signed.read_bytes().rindex(release.certificate[-64:]) - 400):
        flipped(signed, at, bad)
        assert judge(bad, believed(pki)).outcome is REJECTED
    flipped(signed, 0x2000, bad)
    for verifier in VERIFIERS:
        assert not verifier(bad, trusted)[0]
    assert not osslsigncode(stripped(signed, tmp_path / "bare.efi"), trusted)[0]


def test_an_altered_signature_value_is_refused_by_all(tmp_path: Path) -> None:
    plain, release = PROGRAMS[0].copy_to(tmp_path), EC.leaf()
    signed = sign_inside(plain, release, tmp_path / "signed.efi")
    with open_artifact(str(signed)) as source:
        (candidate,) = Pe().extract(str(signed), Search(source=source)).candidates
    assert candidate.envelope is not None
    value = candidate.envelope.signers[0].signature  # type: ignore[union-attr]
    bad = flipped(signed, signed.read_bytes().index(value) + len(value) - 1, tmp_path / "bad.efi")
    assert judge(signed, believed(EC)).outcome is TRUSTED
    assert codes(judge(bad, believed(EC))) == ["SW-SIGNATURE-INVALID"]
    for verifier in VERIFIERS:
        assert verifier(signed, anchors(tmp_path, EC))[0]
        assert not verifier(bad, anchors(tmp_path, EC))[0]


def test_the_command_signs_with_a_home_and_both_verifiers_accept(tmp_path: Path) -> None:
    home, signed = tmp_path / "home", tmp_path / "signed.efi"
    plain = PROGRAMS[0].copy_to(tmp_path)
    assert main(["init", str(home), "--algorithm", "rsa3072"]) == 0
    assert main(["sign", str(plain), "--home", str(home), "--format", "pe", "--out", str(signed)]) == 0
    assert main(["verify", str(signed), "--trust", str(home / "trust.toml")]) == 0
    assert sbverify(signed, home / "ca.pem")[0]
    # the format is found out where --out names a file, and a folder takes the program's own name
    (tmp_path / "out").mkdir()
    assert main(["sign", str(plain), "--home", str(home), "--out", str(tmp_path / "found.efi")]) == 0
    assert main(["sign", str(plain), "--home", str(home), "--format", "pe", "--out", str(tmp_path / "out")]) == 0
    assert sbverify(tmp_path / "found.efi", home / "ca.pem")[0]
    assert sbverify(tmp_path / "out" / plain.name, home / "ca.pem")[0]
    assert main(["sign", str(plain), "--home", str(home), "--format", "pe", "--out", str(plain)]) == 1
    assert main(["sign", str(plain), "--home", str(home), "--format", "pe"]) == 2


def key_and_certificate(folder: Path, signer: Signer, name: str) -> tuple[Path, Path]:
    key, certificate = folder / f"{name}.key", folder / f"{name}.crt"
    private = signer.key._private  # type: ignore[attr-defined]
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    loaded = [x509.load_der_x509_certificate(one) for one in (signer.certificate, *signer.chain)]
    certificate.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in loaded))
    return key, certificate


def test_what_sbsign_and_osslsigncode_sign_is_trusted_and_their_nested_signatures_are_found(tmp_path: Path) -> None:
    release, second = RSA.leaf(kind=KeyKind.RSA3072), RSA.leaf("second", kind=KeyKind.RSA3072)
    plain = PROGRAMS[0].copy_to(tmp_path)
    key, certificate = key_and_certificate(tmp_path, release, "one")
    other_key, other_certificate = key_and_certificate(tmp_path, second, "two")
    intermediate = tmp_path / "below.pem"
    intermediate.write_text(RSA.intermediate.pem)
    by_sbsign, by_ossl, nested = (tmp_path / name for name in ("sb.efi", "ossl.efi", "nested.efi"))
    trust = believed(RSA)
    assert run(
        ["sbsign", "--key", key, "--cert", certificate, "--addcert", intermediate, "--output", by_sbsign, plain]
    )[0]
    assert run(
        ["osslsigncode", "sign", "-key", key, "-certs", certificate, "-h", "sha256", "-in", plain, "-out", by_ossl]
    )[0]
    assert run(
        ["osslsigncode", "sign", "-nest", "-key", other_key, "-certs", other_certificate, "-h", "sha256",
         "-in", by_ossl, "-out", nested]
    )[0]  # fmt: skip
    assert [judge(one, trust).outcome for one in (by_sbsign, by_ossl, nested)] == [TRUSTED] * 3
    assert len(judge(nested, trust).signers) == 2
    added = sign_inside(by_sbsign, second, tmp_path / "added.efi", existing=Existing.ADD)
    assert len(judge(added, trust).signers) == 2
    assert sbverify(added, anchors(tmp_path, RSA))[0]
    for one in (by_sbsign, by_ossl, nested):
        assert judge(flipped(one, 0x2000, tmp_path / "bad.efi"), trust).outcome is REJECTED


@pytest.mark.parametrize("gap", [b"gap!" * 8, bytes(32)], ids=["text", "zeros"])
def test_no_two_verifiers_agree_on_a_gap_between_sections_so_it_is_refused(tmp_path: Path, gap: bytes) -> None:
    """sbverify leaves the gap out, as firmware, shim and pesign do, and hashes as many last bytes twice; osslsigncode hashes all."""
    release = RSA.leaf(kind=KeyKind.RSA3072)
    key, certificate = key_and_certificate(tmp_path, release, "one")
    intermediate, plain, bad = (tmp_path / name for name in ("below.pem", "plain.efi", "bad.efi"))
    intermediate.write_text(RSA.intermediate.pem)
    trusted, trust = anchors(tmp_path, RSA), believed(RSA)

    def signed(data: bytes) -> list[Path]:
        plain.write_bytes(data)
        made = [tmp_path / name for name in ("sb.efi", "ossl.efi")]
        for one in made:
            one.unlink(missing_ok=True)
        assert run(
            ["sbsign", "--key", key, "--cert", certificate, "--addcert", intermediate, "--output", made[0], plain]
        )[0]
        assert run(["osslsigncode", "sign", "-key", key, "-certs", certificate, "-in", plain, "-out", made[1]])[0]
        return made

    for one in signed(program((b".text", CODE), (b".data", bytes(range(64))))):
        assert sbverify(one, trusted)[0]
        assert osslsigncode(one, trusted)[0]
        assert judge(one, trust).outcome is TRUSTED
    by_sbsign, by_ossl = signed(program((b".text", CODE), (b".data", bytes(range(64))), gap=gap))
    assert (sbverify(by_sbsign, trusted)[0], osslsigncode(by_sbsign, trusted)[0]) == (True, False)
    assert (sbverify(by_ossl, trusted)[0], osslsigncode(by_ossl, trusted)[0]) == (False, True)
    flipped(by_sbsign, by_sbsign.read_bytes().index(CODE) + len(CODE), bad)
    assert sbverify(bad, trusted)[0]
    for one in (by_sbsign, by_ossl, bad):
        assert codes(judge(one, trust)) == ["SW-ARTIFACT-MALFORMED"]
    with pytest.raises(MalformedArtifact, match="leaves a gap"):
        sign_inside(plain, release, tmp_path / "ours.efi")


def test_what_we_accept_of_altered_programs_sbverify_and_osslsigncode_accept_too(tmp_path: Path) -> None:
    """*We accept, it refuses* is a defect; the reverse is listed in docs/formats/pe.md."""
    plain = tmp_path / "plain.efi"
    plain.write_bytes(tiny())
    signed = sign_inside(plain, EC.leaf(), tmp_path / "signed.efi")
    trust, trusted, bad = believed(EC), anchors(tmp_path, EC), tmp_path / "bad.efi"
    data = signed.read_bytes()
    assert all(verifier(signed, trusted)[0] for verifier in VERIFIERS)
    for at, changed in flips(data):
        bad.write_bytes(changed)
        if judge(bad, trust).outcome is TRUSTED:
            assert all(verifier(bad, trusted)[0] for verifier in VERIFIERS), f"byte {at}"
