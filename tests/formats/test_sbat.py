"""SBAT: the components of an EFI program, what it claims by them, and every reading on which two programs could differ."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from kit.efi import CODE, SECTIONS, program, tiny
from kit.inside import sign_inside
from kit.manifests import manifest_pair
from kit.pki import Pki, p7s
from kit.trust import RULE, believed, codes, judge
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import HashName
from sealwright.artifact.source import open_artifact
from sealwright.cli.main import main
from sealwright.errors import LimitExceeded, MalformedArtifact, SealwrightError, UsageError
from sealwright.formats.format import Component, Existing
from sealwright.formats.pe import Pe, read_components, read_layout
from sealwright.formats.sbat import product_of, read_sbat
from sealwright.trust.belief import Believed
from sealwright.trust.model import Denied
from sealwright.trust.verdict import Outcome, Purpose

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
RELEASE = PKI.leaf()
FIRST = "sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\n"
GRUB = "grub,5,Free Software Foundation,grub,2.06,https://www.gnu.org/software/grub/\n"
VENDOR = "grub.acme,2,Acme,grub2,2.06-13,https://acme.example/grub\n"
TEXT = (FIRST + GRUB + VENDOR).encode()
COMPONENTS = (Component("sbat", 1, "1"), Component("grub", 5, "2.06"), Component("grub.acme", 2, "2.06-13"))
CLAIMS = Claims("grub.acme", "2.06-13", 2)


def with_sbat(folder: Path, text: bytes = TEXT, name: str = "grub.efi") -> Path:
    path = folder / name
    path.write_bytes(program((b".text", CODE), (b".sbat", text.ljust(512, b"\0"))))
    return path


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    return sign_inside(with_sbat(tmp_path, name="plain.efi"), RELEASE, tmp_path / "grub.efi")


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        TEXT.rstrip(b"\n"),
        TEXT.replace(b"\n", b"\r\n"),
        TEXT.replace(b"\n", b"\n\n"),
        b"\xef\xbb\xbf" + TEXT,
        TEXT + bytes(300),
    ],
    ids=["lines", "no last line end", "DOS", "empty lines", "byte order mark", "filled up"],
)
def test_the_components_are_read_as_shim_reads_them(text: bytes) -> None:
    assert read_sbat(text, 0, "grub.efi") == COMPONENTS
    assert product_of(COMPONENTS) == CLAIMS


@pytest.mark.parametrize("text", [b"", bytes(512), FIRST.encode()])
def test_a_program_without_a_component_of_its_own_claims_nothing(text: bytes) -> None:
    assert not product_of(read_sbat(text, 0, "grub.efi"))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("grub,5,Free Software Foundation,grub,2.06", "5 columns"),
        ("grub,5,Free Software Foundation,grub,2.06,https://a,more", "7 columns"),
        ("grub", "1 columns"),
        ("grub,,Free Software Foundation,grub,2.06,https://a", "empty"),
        ("grub,5,Free Software Foundation,grub,2.06,", "empty"),
        ("grub ,5,Free Software Foundation,grub,2.06,https://a", "empty, too long or not printable"),
        ("gr\x07ub,5,Free Software Foundation,grub,2.06,https://a", "not printable"),
        (f"{'g' * 201},5,Free Software Foundation,grub,2.06,https://a", "too long"),
        *[
            (f"grub,{number},Free Software Foundation,grub,2.06,https://a", "the generation")
            for number in ("five", "-5", "+5", "05", "5x", "0x5", "65536", "65541", "5.0", "٥", "99999999999")
        ],
        ("sbat,2,SBAT Version,sbat,1,https://a", "there twice"),
        ("grub,5,Free\0Software,grub,2.06,https://a", "zero byte"),
    ],
)
def test_a_line_that_two_readers_could_take_differently_is_refused_with_its_offset(line: str, why: str) -> None:
    assert read_sbat((FIRST + GRUB).encode(), 1000, "grub.efi")
    at = 1000 + len(FIRST)
    with pytest.raises(MalformedArtifact, match=why) as caught:
        read_sbat((FIRST + line + "\n").encode(), 1000, "grub.efi")
    assert f"at byte {at}:" in str(caught.value) or why == "zero byte"


def test_text_that_is_not_utf8_and_too_many_components_are_refused() -> None:
    with pytest.raises(MalformedArtifact, match="not UTF-8"):
        read_sbat(TEXT.replace(b"Acme", b"\xe4cme"), 0, "grub.efi")
    lines = [f"part{number},1,Acme,part,1,https://a\n" for number in range(65)]
    assert len(read_sbat("".join(lines[:64]).encode(), 0, "grub.efi")) == 64
    with pytest.raises(LimitExceeded):
        read_sbat("".join(lines).encode(), 0, "grub.efi")


def second_header(at: int, value: int, form: str) -> bytes:
    data = bytearray(program((b".text", CODE), (b".sbat", TEXT)))
    struct.pack_into(form, data, SECTIONS + 40 + at, value)
    return bytes(data)


HOSTILE = {
    "two of them": (program((b".sbat", TEXT), (b".sbat", TEXT)), MalformedArtifact),
    "larger in memory": (second_header(8, len(TEXT) + 1, "<I"), MalformedArtifact),
    "relocated": (second_header(24, 16, "<I"), MalformedArtifact),
    "relocations": (second_header(32, 1, "<H"), MalformedArtifact),
    "too large": (program((b".text", CODE), (b".sbat", TEXT.ljust((1 << 16) + 1, b"\0"))), LimitExceeded),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_section_that_shim_would_refuse_or_pass_over_is_refused(tmp_path: Path, how: str) -> None:
    path, (data, error) = with_sbat(tmp_path), HOSTILE[how]
    with open_artifact(str(path)) as source:
        assert read_components(source, read_layout(source)) == COMPONENTS
    path.write_bytes(data)
    with open_artifact(str(path)) as source, pytest.raises(error):
        read_components(source, read_layout(source))
    with pytest.raises(SealwrightError):
        sign_inside(path, RELEASE, tmp_path / "signed.efi")


def test_a_section_by_another_name_claims_nothing(tmp_path: Path) -> None:
    path = tmp_path / "grub.efi"
    for name in (b".sbatx", b".SBAT", b"sbat", b"/4"):
        path.write_bytes(program((b".text", CODE), (name, TEXT)))
        with open_artifact(str(path)) as source:
            assert read_components(source, read_layout(source)) == ()


def test_a_signed_program_claims_its_last_component(signed: Path) -> None:
    assert judge(signed, believed(PKI)).claims == CLAIMS
    named = believed(PKI, rule=[RULE | {"products": ["grub.acme"], "minimum_generation": 2}])
    assert judge(signed, named).outcome is TRUSTED
    assert judge(signed, named, product="grub.acme").outcome is TRUSTED
    assert codes(judge(signed, named, product="drive")) == ["SW-PRODUCT-WRONG"]
    newer = believed(PKI, rule=[RULE | {"products": ["grub.acme"], "minimum_generation": 3}])
    assert codes(judge(signed, newer)) == ["SW-GENERATION-OLD"]


@pytest.mark.parametrize(("name", "generation"), [("sbat", 1), ("grub", 5), ("grub.acme", 2)])
def test_a154_every_component_must_reach_its_minimum_as_for_shim(signed: Path, name: str, generation: int) -> None:
    assert judge(signed, believed(PKI, minimum={name: generation, "else": 99})).outcome is TRUSTED
    older = judge(signed, believed(PKI, minimum={name: generation + 1}))
    assert (older.outcome, codes(older)) == (REJECTED, ["SW-GENERATION-OLD"])
    assert older.findings[0].subject == name
    running = judge(signed, believed(PKI, minimum={name: generation + 1}), purpose=Purpose.RUN)
    assert running.outcome is TRUSTED


@pytest.mark.parametrize(("name", "generation"), [("grub", 5), ("grub.acme", 2)])
def test_a154_every_component_may_be_denied(signed: Path, name: str, generation: int) -> None:
    assert judge(signed, believed(PKI, denied=[Denied("below", name, generation, "a hole")])).outcome is TRUSTED
    denied = believed(PKI, denied=[Denied("below", name, generation + 1, "a hole")])
    assert codes(judge(signed, denied)) == ["SW-DENIED-GENERATION"]
    assert judge(signed, denied, purpose=Purpose.RUN).outcome is REJECTED


def test_a154_a_signature_beside_does_not_make_an_old_component_new(tmp_path: Path, signed: Path) -> None:
    """Whoever signs the file signs its components with it, and shim does not ask who that was."""
    bare = with_sbat(tmp_path, name="bare.efi")
    (tmp_path / "bare.efi.p7s").write_bytes(p7s(RELEASE, bare.read_bytes()))
    manifest_pair(signed, RELEASE, Claims("gateway", "2.4", 7))
    minimums = believed(PKI, minimum={"grub": 6})
    denied = believed(PKI, denied=[Denied("below", "grub", 6, "a hole")])
    for path in (bare, signed):
        assert judge(path, believed(PKI)).outcome is TRUSTED
        assert codes(judge(path, minimums)) == ["SW-GENERATION-OLD"]
        assert codes(judge(path, denied)) == ["SW-DENIED-GENERATION"]


def test_the_product_of_a_manifest_beside_is_no_contradiction_to_what_it_is_made_of(
    tmp_path: Path, signed: Path
) -> None:
    gateway = Claims("gateway", "2.4", 7)
    manifest_pair(signed, RELEASE, gateway)
    assert judge(signed, believed(PKI)).claims == gateway
    named = believed(PKI, rule=[RULE | {"products": ["gateway"], "minimum_generation": 7}])
    assert judge(signed, named).outcome is TRUSTED
    # one that speaks of the component itself must say the same
    manifest_pair(signed, RELEASE, Claims("grub.acme", "2.06-13", 9))
    assert "SW-CLAIMS-DIFFER" in codes(judge(signed, believed(PKI)))
    # and the component's own signature answers for no product it does not name
    for beside in tmp_path.glob("grub.efi.manifest*"):
        beside.unlink()
    assert judge(signed, named).outcome is REJECTED


def test_a029_a_manifest_of_somebody_who_does_not_count_puts_no_rule_for_a_component_aside(
    tmp_path: Path, signed: Path
) -> None:
    """He may sign tools of his own; a program of others that is too old for them he cannot call something else."""
    other = Pki.make("Other")
    anchors = [
        {"name": name, "environment": "production", "certificate": pki.root.pem}
        for name, pki in (("root", PKI), ("other", other))
    ]
    tools = RULE | {"name": "tools", "products": ["tool"], "signer": [{"anchors": ["other"]}]}

    def trust(least: int) -> Believed:
        grub = RULE | {"name": "grub", "products": ["grub.acme"], "minimum_generation": least}
        return believed(PKI, anchor=anchors, rule=[grub, RULE, tools])

    assert judge(signed, trust(2)).outcome is TRUSTED
    assert codes(judge(signed, trust(3))) == ["SW-GENERATION-OLD"]
    manifest_pair(signed, RELEASE, Claims("gateway", "2.4", 7))
    assert judge(signed, trust(3)).outcome is TRUSTED
    manifest_pair(signed, other.leaf(), Claims("gateway", "2.4", 7))
    assert codes(judge(signed, trust(3))) == ["SW-CLAIMS-NOT-SIGNED"]


def test_what_is_asked_for_must_be_what_the_section_says(tmp_path: Path) -> None:
    plain = str(with_sbat(tmp_path))

    def prepared(claims: Claims, path: str = plain) -> Claims:
        return Pe().prepare(path, [HashName.SHA256], claims, Existing.REFUSE, None).claims

    for same in (Claims(), CLAIMS, Claims("grub.acme"), Claims(generation=2), Claims(version="2.06-13")):
        assert prepared(same) == CLAIMS
    for other in (Claims("grub"), Claims(version="2.06"), Claims(generation=5), Claims(generation=0)):
        with pytest.raises(UsageError, match="section says"):
            prepared(other)
    for none in (Claims(hardware=("rev-b",)), Claims(environment="production")):
        with pytest.raises(UsageError, match="section has no"):
            prepared(none)
    without = tmp_path / "plain.efi"
    without.write_bytes(tiny())
    assert prepared(Claims(), str(without)) == Claims()
    with pytest.raises(UsageError, match=r"no \.sbat section"):
        prepared(Claims(version="1"), str(without))


def test_the_command_signs_what_the_section_says_and_shows_the_components(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, plain, out = tmp_path / "home", with_sbat(tmp_path), tmp_path / "signed.efi"
    words = ["sign", str(plain), "--home", str(home), "--format", "pe", "--out", str(out), "--product"]
    assert main(["init", str(home)]) == 0
    assert main([*words, "grub.acme", "--generation", "3"]) == 1
    assert main([*words, "grub.acme", "--generation", "2"]) == 0
    assert main(["verify", str(out), "--trust", str(home / "trust.toml"), "--product", "grub.acme"]) == 0
    capsys.readouterr()
    assert main(["inspect", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "component grub 2.06, generation 5" in shown
    assert "component grub.acme 2.06-13, generation 2" in shown
