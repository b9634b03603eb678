"""What Microsoft and Debian signed is trusted under their own authorities, which virt-firmware carries, and under nobody else's.

UEFI CA 2011 ended in June 2026 and firmware goes on believing it: two rules, one that judges dates and one `as the device`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kit.efi import FALLBACK, GRUB_OF_DEBIAN, SHIM, UPDATER, osslsigncode, sbverify
from kit.kernel import MODULE, build_certificate
from kit.openssl import run
from kit.pki import DAY, NOW, Pki
from kit.samples import Sample
from kit.trust import believed, codes, judge
from sealwright.artifact.source import open_artifact
from sealwright.envelope.algorithms import key_digest
from sealwright.formats.format import Search
from sealwright.formats.kmod import MARK
from sealwright.formats.pe import Pe
from sealwright.trust.belief import Believed
from sealwright.trust.model import Denied
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
AUTHORITIES = {"uefi-2011": "ms-uefi-2011.pem", "uefi-2023": "ms-uefi-2023.pem", "debian": "debian-2016.pem"}
PKI = Pki.make()
PLAIN = {"formats": ["pe"], "environment": "production"}
DEVICE = PLAIN | {"expiry": "as the device"}


def pem_of(name: str) -> Path:
    """The certificate of an authority, as virt-firmware carries it."""
    carried = Sample("certs", "virt.firmware", "__init__.py").source.parent / "certs"
    (found,) = carried.rglob(AUTHORITIES[name])
    return found


def authority(name: str) -> x509.Certificate:
    """The same, loaded."""
    return x509.load_pem_x509_certificate(pem_of(name).read_bytes())


def signer_below(path: Path, name: str) -> x509.Certificate:
    """Who signed a program under an authority."""
    (found,) = (one for one in signers(path) if one.issuer == authority(name).subject)
    return found


def signers(path: Path) -> list[x509.Certificate]:
    """Who signed a program, of those that are no authority."""
    with open_artifact(str(path)) as source:
        found = Pe().extract(str(path), Search(source=source))
    envelopes = [one.envelope for one in found.candidates if one.envelope is not None]
    loaded = [x509.load_der_x509_certificate(envelope.signers[0].certificate) for envelope in envelopes]  # type: ignore[union-attr]
    assert len(loaded) == len(found.candidates)
    return loaded


def trusting(path: Path, names: list[str], rule: dict[str, object], **changes: object) -> Believed:
    """A trust file with these authorities as anchors, which says that the signers' keys live in hardware."""
    anchors = [{"name": name, "environment": "production", "certificate": pem_of(name).read_text()} for name in names]
    named = rule | {"name": "boot", "signer": [{"anchors": names, "purposes": ["codeSigning"]}]}
    keys = dict.fromkeys(str(key_digest(one.public_key())) for one in signers(path))  # type: ignore[arg-type]
    evidence = [{"key": key, "provenance": "hardware-claimed"} for key in keys]
    begin = min(one.not_valid_before_utc for one in signers(path))
    dates = {"issued": begin, "expires": begin + 8000 * DAY}
    return believed(PKI, anchor=anchors, rule=[named], evidence=evidence, **dates, **changes)  # type: ignore[arg-type]


REAL = [
    (SHIM, "uefi-2011", "shim"),
    (SHIM, "uefi-2023", "shim"),
    (FALLBACK, "debian", "shim"),
    (GRUB_OF_DEBIAN, "debian", "grub"),
    (UPDATER, "debian", "fwupd-efi"),
]


@pytest.mark.parametrize(("sample", "name", "product"), REAL, ids=[f"{one[0].name} {one[1]}" for one in REAL])
def test_what_distributions_ship_is_trusted_under_its_own_authority_and_no_other(
    tmp_path: Path, sample: Sample, name: str, product: str
) -> None:
    path = sample.copy_to(tmp_path)
    trust, at = trusting(path, [name], PLAIN), signer_below(path, name).not_valid_before_utc + DAY
    verdict = judge(path, trust, at)
    assert verdict.outcome is TRUSTED, verdict.findings
    assert verdict.claims.product is not None
    assert verdict.claims.product.startswith(product + ".debian")
    assert sbverify(path, pem_of(name))[0]
    strangers = [
        other for other in AUTHORITIES if authority(other).subject not in {one.issuer for one in signers(path)}
    ]
    assert "SW-CERT-NO-PATH" in codes(judge(path, trusting(path, strangers, PLAIN), at))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert "SW-FILE-CHANGED" in codes(judge(path, trust, at))
    assert not sbverify(path, pem_of(name))[0]


@pytest.mark.parametrize("sample", [FALLBACK, GRUB_OF_DEBIAN, UPDATER], ids=lambda sample: sample.name)
def test_osslsigncode_agrees_about_debians_programs(tmp_path: Path, sample: Sample) -> None:
    path = sample.copy_to(tmp_path)
    assert judge(path, trusting(path, ["debian"], PLAIN)).outcome is TRUSTED
    accepted, words = osslsigncode(path, pem_of("debian"))
    assert accepted, words
    assert not osslsigncode(path, pem_of("uefi-2023"))[0]


@pytest.mark.parametrize("name", ["uefi-2011", "uefi-2023"])
def test_shims_signers_end_and_count_on_as_firmware_lets_them(tmp_path: Path, name: str) -> None:
    path = SHIM.copy_to(tmp_path)
    signer = signer_below(path, name)
    end, after = signer.not_valid_after_utc, signer.not_valid_after_utc + DAY
    assert judge(path, trusting(path, [name], PLAIN), end).outcome is TRUSTED
    assert codes(judge(path, trusting(path, [name], PLAIN), after))[0] == "SW-CERT-EXPIRED"
    verdict = judge(path, trusting(path, [name], DEVICE), after)
    assert verdict.outcome is TRUSTED
    assert "SW-CERT-EXPIRY-IGNORED" in {finding.code for finding in verdict.findings}
    stolen = [Denied("key", str(key_digest(signer.public_key())), 0, "stolen")]  # type: ignore[arg-type]
    assert "SW-DENIED-SIGNER" in codes(judge(path, trusting(path, [name], DEVICE, denied=stolen), after))


def test_both_of_shims_signatures_are_accepted(tmp_path: Path) -> None:
    """Microsoft's publisher under UEFI CA 2011 has a certificate without key usage."""
    path = SHIM.copy_to(tmp_path)
    verdict = judge(path, trusting(path, ["uefi-2011", "uefi-2023"], DEVICE))
    assert {(seen.anchor, seen.accepted) for seen in verdict.signers} == {("uefi-2011", True), ("uefi-2023", True)}


def test_a_hole_in_grub_is_closed_by_one_line_as_sbat_level_does(tmp_path: Path) -> None:
    path = GRUB_OF_DEBIAN.copy_to(tmp_path)
    with open_artifact(str(path)) as source:
        components = Pe().extract(str(path), Search(source=source)).components
    assert {"sbat", "grub", "grub.debian"} <= {one.name for one in components}
    for one in components:
        assert judge(path, trusting(path, ["debian"], PLAIN, minimum={one.name: one.generation})).outcome is TRUSTED
        newer = trusting(path, ["debian"], PLAIN, minimum={one.name: one.generation + 1})
        assert codes(judge(path, newer)) == ["SW-GENERATION-OLD"]


def test_a_module_of_a_debian_kernel_is_trusted_under_the_key_of_its_build(tmp_path: Path) -> None:
    """The key signs the modules of one build; its certificate is nobody's and can only be pinned, as the kernel pins it."""
    path, kernel = Path(shutil.copyfile(MODULE, tmp_path / "crc7.ko")), build_certificate()
    pem, at = kernel.public_bytes(Encoding.PEM).decode(), max(NOW, kernel.not_valid_before_utc + DAY)
    key = str(key_digest(kernel.public_key()))  # type: ignore[arg-type]
    signer = {"anchors": ["kernel"], "keys": [key], "pins_until": at + 300 * DAY, "purposes": ["any"]}
    trust = believed(
        PKI,
        issued=at - DAY,
        expires=at + 300 * DAY,
        anchor=[{"name": "kernel", "environment": "test", "certificate": pem}],
        certificate=[{"certificate": pem}],
        rule=[{"name": "modules", "formats": ["kmod"], "environment": "test", "signer": [signer]}],
    )
    assert judge(path, trust, at).outcome is TRUSTED
    module, cms = path.read_bytes().removesuffix(MARK), tmp_path / "cms"
    size = int.from_bytes(module[-4:], "big")
    cms.write_bytes(module[-12 - size : -12])
    body, certificate = tmp_path / "body", tmp_path / "kernel.pem"
    certificate.write_bytes(kernel.public_bytes(Encoding.PEM))
    check = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", cms, "-content", body, "-certfile", certificate,
             "-noverify", "-nointern", "-out", "/dev/null"]  # fmt: skip
    for content, accepted in ((module[: -12 - size], True), (b"\x7f" + module[1 : -12 - size] + b"\0", False)):
        body.write_bytes(content)
        assert run(check)[0] is accepted
    altered = bytearray(path.read_bytes())
    altered[0x100] ^= 1
    path.write_bytes(altered)
    assert codes(judge(path, trust, at)) == ["SW-SIGNATURE-INVALID"]
    shutil.copyfile(MODULE, path)
    assert judge(path, believed(PKI, issued=at - DAY, expires=at + 300 * DAY), at).outcome is REJECTED
