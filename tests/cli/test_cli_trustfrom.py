"""A maker taken into a trust file from a file that they shipped: shown, confirmed, the narrowest rule, and nobody else by it."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kit.archives import signed_by_jarsigner, zipped
from kit.boards import FIRMWARE, imgtool
from kit.certs import Made, made
from kit.efi import GRUB_OF_DEBIAN, SHIM, tiny
from kit.inside import sign_inside
from kit.manifests import claimed
from kit.openssl import run as program
from kit.pki import DAY, Pki, Signer, p7s
from kit.trust import trust_bytes, trust_parts
from kit.updates import archive, bundle, updater
from sealwright.artifact.claims import Claims
from sealwright.cli.main import main
from sealwright.envelope.kinds import Construction
from sealwright.formats.format import Extent, Search
from sealwright.formats.registry import find
from sealwright.keys.key import KeyKind
from sealwright.log.journal import EntryType, read_journal
from sealwright.pki.profiles import CODE_SIGNING, UPDATE_PACKAGE_SIGNING
from sealwright.trust.model import Mode, TrustFile
from sealwright.trust.trustfile import parse_trust

Run = Callable[..., tuple[int, str, str]]
CLOCK = datetime.now(UTC).replace(microsecond=0)
# an authority that certifies many makers, and one that only calls itself so
PUBLIC, EVIL = (Pki.make("Many", at=CLOCK - 40 * DAY, kind=KeyKind.RSA3072) for _ in range(2))
ACME, BOLT, IMPOSTOR = (
    pki.leaf(name, at=CLOCK - 10 * DAY, kind=KeyKind.RSA3072)
    for pki, name in ((PUBLIC, "acme"), (PUBLIC, "bolt"), (EVIL, "acme"))
)
TSA = PUBLIC.tsa(at=CLOCK - 10 * DAY)
CONFIRMED = ("--confirmed", "call with ACME support, 26 Nov")


@pytest.fixture
def trust(tmp_path: Path) -> Path:
    """A trial trust file that knows one other maker."""
    dates = {"issued": CLOCK - 5 * DAY, "expires": CLOCK + 300 * DAY}
    folder = tmp_path / "trust"
    folder.mkdir(mode=0o700)
    text = trust_bytes(trust_parts(Pki.make("Other", at=CLOCK - 40 * DAY), stage="trial", authority=None, **dates))
    path = folder / "trust.toml"
    path.write_bytes(text.replace(b"\n[[rule]]", b"\n# a remark of the officers\n[[rule]]"))
    return path


def said_by(path: Path) -> TrustFile:
    return parse_trust(path.read_bytes(), "trust.toml")


def detached(path: Path, signer: Signer = ACME, data: bytes = b"firmware\n" * 99, **how: object) -> Path:
    path.write_bytes(data)
    Path(f"{path}.p7s").write_bytes(p7s(signer, data, **{"at": CLOCK} | how))  # type: ignore[arg-type]
    return path


def altered(path: Path) -> Path:
    """The same with one signed byte changed, what lies beside it taken along."""
    bad = path.with_name(f"altered-{path.name}")
    hashed = [one for one in find(str(path), Search()).candidates[0].coverage.ranges if one.extent is Extent.HASHED]
    largest = max(hashed, key=lambda one: one.end - one.start)
    data = bytearray(path.read_bytes())
    data[(largest.start + largest.end) // 2] ^= 1
    bad.write_bytes(data)
    for one in path.parent.glob(f"{path.name}.*"):
        shutil.copy(one, f"{bad}{one.name.removeprefix(path.name)}")
    return bad


def openssl_cms(path: Path, signer: Signer) -> Path:
    """A file that openssl signed, as makers do by hand."""
    path.write_bytes(b"a maker's firmware\n" * 50)
    key, certificate, above = (path.with_suffix(end) for end in (".key", ".crt", ".above"))
    key.write_bytes(signer.key._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))  # type: ignore[union-attr]
    certificate.write_text(signer.pem)
    above.write_text(PUBLIC.intermediate.pem)
    done, words = program(
        ["openssl", "cms", "-sign", "-cades", "-binary", "-in", path, "-signer", certificate, "-inkey", key, "-certfile", above,
         "-outform", "DER", "-out", f"{path}.p7s"]
    )  # fmt: skip
    assert done, words
    return path


def osslsigncode_pe(path: Path, signer: Signer) -> Path:
    """A program that osslsigncode signed."""
    plain, key, bundle_ = (path.with_suffix(end) for end in (".plain", ".key", ".crt"))
    plain.write_bytes(tiny())
    key.write_bytes(signer.key._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))  # type: ignore[union-attr]
    bundle_.write_text(signer.pem + PUBLIC.intermediate.pem)
    done, words = program(
        ["osslsigncode", "sign", "-certs", bundle_, "-key", key, "-h", "sha256", "-in", plain, "-out", path]
    )
    assert done, words
    return path


def rauc_bundle(path: Path, signer: Signer) -> Path:
    """A bundle that rauc signed."""
    folder = path.with_suffix(".d")
    folder.mkdir()
    return Path(shutil.copy(bundle(folder, signer, "verity"), path))


def jar(path: Path, signer: Signer) -> Path:
    """An archive that jarsigner signed."""
    return signed_by_jarsigner(zipped(path), signer)


def powershell(path: Path, signer: Signer) -> Path:
    """A script, signed as Windows reads it."""
    plain = path.with_suffix(".ps1")
    plain.write_bytes(b"\xef\xbb\xbfGet-Date\r\nGet-Item 'C:\\plant'\r\n")
    return sign_inside(plain, signer, path.with_name(f"signed-{path.stem}.ps1"), "powershell")


def swupdate(path: Path, signer: Signer) -> Path:
    """An archive for SWUpdate."""
    folder = path.with_suffix(".d")
    folder.mkdir()
    return sign_inside(archive(folder), signer, path, "swupdate")


SHIPPED: dict[str, Callable[[Path, Signer], Path]] = {
    "cms by openssl": openssl_cms,
    "pe by osslsigncode": osslsigncode_pe,
    "rauc by rauc": rauc_bundle,
    "jar by jarsigner": jar,
    "powershell": powershell,
    "swupdate": swupdate,
}


def three(form: str) -> tuple[Signer, Signer, Signer]:
    """The maker, another one of the same authority, and a look-alike; rauc wants its own purpose."""
    if form.startswith("rauc"):
        return updater(PUBLIC), PUBLIC.leaf("bolt", at=CLOCK - 10 * DAY, profile=_updates()), updater(EVIL)
    return ACME, BOLT, IMPOSTOR


def _updates():  # type: ignore[no-untyped-def]
    from dataclasses import replace

    from sealwright.pki.profiles import CODE_SIGNER

    return replace(CODE_SIGNER, purposes=(CODE_SIGNING, UPDATE_PACKAGE_SIGNING, "1.3.6.1.5.5.7.3.4"))


@pytest.mark.parametrize("form", SHIPPED)
def test_what_a_maker_shipped_is_accepted_by_the_new_rule_and_nothing_else_is(
    form: str, tmp_path: Path, trust: Path, run: Run
) -> None:
    acme, bolt, impostor = three(form)
    suffix = form.split()[0]
    theirs = [
        SHIPPED[form](tmp_path / f"{name}.{suffix}", one) for name, one in (("a", acme), ("b", bolt), ("c", impostor))
    ]
    for path in theirs:
        assert run("verify", path, "--trust", trust)[0] == 1
    code, out, err = run("trust", "add", trust, "--from", theirs[0], *CONFIRMED)
    assert code == 0, out + err
    codes = [run("verify", path, "--trust", trust)[0] for path in (*theirs, altered(theirs[0]))]
    assert codes == [0, 1, 1, 1]
    rule = said_by(trust).rules[-1]
    assert rule.mode is Mode.AUDIT
    assert rule.owner
    assert rule.reason
    assert rule.review is not None
    assert rule.signers[0].subjects == (acme.x509.subject.rfc4514_string(),)
    assert len(rule.formats) == 1
    assert run("trust", "add", trust, "--from", theirs[0])[1].endswith(f"is accepted by the rule {rule.name}.\n")


@pytest.mark.parametrize("sample", [SHIM, GRUB_OF_DEBIAN], ids=lambda sample: sample.name)
def test_a_real_boot_loader_is_taken_in_with_its_product(sample: object, tmp_path: Path, trust: Path, run: Run) -> None:
    path = sample.copy_to(tmp_path)  # type: ignore[attr-defined]
    code, out, err = run("trust", "add", trust, "--from", path, *CONFIRMED)
    assert code == 0, out + err
    rule = said_by(trust).rules[-1]
    assert rule.formats == ("pe",)
    assert rule.products
    assert run("verify", path, "--trust", trust)[0] == 0
    assert run("verify", altered(path), "--trust", trust)[0] == 1
    other = next(one for one in (SHIM, GRUB_OF_DEBIAN) if one is not sample).copy_to(tmp_path)
    assert run("verify", other, "--trust", trust)[0] == 1


def test_a_signature_of_mcuboot_needs_its_certificate_handed_in(tmp_path: Path, trust: Path, run: Run) -> None:
    signer, other = (
        PUBLIC.leaf(name, at=CLOCK - DAY, construction=Construction.MCUBOOT) for name in ("boot", "bolt boot")
    )
    images = []
    for one, name in ((signer, "a"), (other, "b")):
        key, plain, image = (tmp_path / f"{name}{end}" for end in (".pem", ".bin", ".img"))
        key.write_bytes(one.key._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))  # type: ignore[union-attr]
        plain.write_bytes(FIRMWARE)
        done, words = imgtool(
            "sign", "-k", key, "--header-size", "0x200", "--pad-header", "-S", "0x60000", "-v", "1.2.3", plain, image
        )
        assert done, words
        images.append(image)
        (tmp_path / f"{name}.crt").write_text(one.pem)
    before = trust.read_bytes()
    code, out, err = run("trust", "add", trust, "--from", images[0], *CONFIRMED)
    assert code == 1
    assert "--signer FILE" in err
    (tmp_path / "ca.pem").write_text(PUBLIC.intermediate.pem)
    assert trust.read_bytes() == before
    handed = ("--signer", tmp_path / "a.crt", "--anchor", tmp_path / "ca.pem")
    code, out, err = run("trust", "add", trust, "--from", images[0], *handed, *CONFIRMED)
    assert code == 0, out + err
    assert [run("verify", path, "--trust", trust)[0] for path in (*images, altered(images[0]))] == [0, 1, 1]


def test_a_bare_public_key_as_imgtool_gives_it_is_taken_in_for_a_year(tmp_path: Path, trust: Path, run: Run) -> None:
    images = []
    for name, kind in (("a", "ecdsa-p256"), ("b", "ecdsa-p256")):
        key, plain, image, public = (tmp_path / f"{name}{end}" for end in (".pem", ".bin", ".img", ".pub"))
        plain.write_bytes(FIRMWARE)
        for arguments in (
            ("keygen", "-t", kind, "-k", key),
            ("getpub", "-k", key, "-e", "pem", "-o", public),
            ("sign", "-k", key, "--header-size", "0x200", "--pad-header", "-S", "0x60000", "-v", "1.2.3", plain, image),
        ):
            done, words = imgtool(*arguments)
            assert done, words
        images.append(image)
    code, _, err = run("trust", "add", trust, "--from", images[0], "--signer", tmp_path / "b.pub", *CONFIRMED)
    assert code == 1, err
    handed = ("--signer", tmp_path / "a.pub")
    code, out, err = run("trust", "add", trust, "--from", images[0], *handed, *CONFIRMED)
    assert code == 0, out + err
    done, words = program(
        ["openssl", "pkey", "-pubin", "-in", tmp_path / "a.pub", "-outform", "DER", "-out", tmp_path / "a.der"]
    )
    assert done, words
    assert hashlib.sha256((tmp_path / "a.der").read_bytes()).hexdigest() in out
    assert [run("verify", path, "--trust", trust)[0] for path in (*images, altered(images[0]))] == [0, 1, 1]
    assert "Nothing to change" in run("trust", "add", trust, "--from", images[0], *handed, *CONFIRMED)[1]


def test_the_next_certificate_of_a_pinned_signer_is_one_more_pin_and_a_weaker_key_is_said(
    tmp_path: Path, trust: Path, run: Run
) -> None:
    dates = {"before": CLOCK - DAY, "after": CLOCK + 900 * DAY}
    root = made("maker root", ca=True, **dates)
    strong, weak = (
        made("maker", root, purposes=[CODE_SIGNING], key=key, **dates)
        for key in (ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP256R1()))
    )
    paths = []
    for name, leaf in (("old.bin", strong), ("new.bin", weak)):
        paths.append(tmp_path / name)
        paths[-1].write_bytes(name.encode())
        _openssl_signed(paths[-1], leaf, made("nobody of theirs", ca=True), tmp_path)
    assert run("trust", "add", trust, "--from", paths[0], *CONFIRMED)[0] == 0
    (signer,) = said_by(trust).rules[-1].signers
    assert len(signer.certificates) == 1
    assert signer.pins_until is not None
    assert run("verify", paths[1], "--trust", trust)[0] == 1
    code, out, err = run("trust", "add", trust, "--from", paths[1], *CONFIRMED)
    assert code == 0, out + err
    assert "otherwise than before, a WEAKER key: P-384 -> P-256" in out
    assert "weaker than the one before" in out
    assert "impostor" in out
    assert [run("verify", path, "--trust", trust)[0] for path in paths] == [0, 0]
    assert len(said_by(trust).rules[-1].signers[0].certificates) == 2


def test_nothing_is_added_until_somebody_says_who_confirmed_it(tmp_path: Path, trust: Path, run: Run) -> None:
    path, before = detached(tmp_path / "drive.bin", tsa=TSA), trust.read_bytes()
    code, out, err = run("trust", "add", trust, "--from", path)
    assert code == 2
    assert "no second channel confirmed the fingerprint" in err
    code, out, _ = run("trust", "add", trust, "--from", path, "--dry-run")
    assert code == 0
    assert "+# Fingerprint confirmed by: NOT CONFIRMED YET" in out
    assert "+[[anchor]]" in out
    assert trust.read_bytes() == before
    code, _, err = run("trust", "add", trust, "--from", path, "--confirmed", " ")
    assert code == 2
    assert trust.read_bytes() == before
    assert run("trust", "add", trust, "--from", path, *CONFIRMED)[0] == 0
    after = trust.read_text()
    assert "# Fingerprint confirmed by: call with ACME support, 26 Nov\n" in after
    assert "# a remark of the officers\n[[rule]]" in after
    rest = iter(after.splitlines())
    assert all(line in rest for line in before.decode().splitlines())


class Terminal(io.StringIO):
    """Somebody at a terminal."""

    def isatty(self) -> bool:
        return True


def test_at_a_terminal_it_asks_and_an_empty_answer_adds_nothing(
    tmp_path: Path, trust: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, before = detached(tmp_path / "drive.bin"), trust.read_bytes()
    for answer in ("", "\n", "  \n", "\x1b[2J\n"):
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        code, _, err = run("trust", "add", trust, "--from", path)
        assert code == 2
        assert "confirmed the fingerprint" in err
        assert "\x1b" not in err
        assert trust.read_bytes() == before
    monkeypatch.setattr("sys.stdin", Terminal("data sheet of the maker\n"))
    assert run("trust", "add", trust, "--from", path)[0] == 0
    assert "# Fingerprint confirmed by: data sheet of the maker\n" in trust.read_text()


def test_a_trust_file_that_changed_while_somebody_was_asked_stays_as_it_is(
    tmp_path: Path, trust: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, changed = detached(tmp_path / "drive.bin"), trust.read_bytes() + b"\n# an officer was here\n"

    class Slow(Terminal):
        def readline(self, size: int | None = -1, /) -> str:
            trust.write_bytes(changed)
            return "data sheet\n"

    monkeypatch.setattr("sys.stdin", Slow())
    code, _, err = run("trust", "add", trust, "--from", path)
    assert code == 2
    assert "changed while you were asked" in err
    assert trust.read_bytes() == changed


def test_what_cannot_be_decided_yet_is_added_and_said(tmp_path: Path, trust: Path, run: Run) -> None:
    path, ca = detached(tmp_path / "drive.bin"), tmp_path / "ca.pem"
    ca.write_text(PUBLIC.intermediate.pem)
    assert run("trust", "add", trust, "--from", path, *CONFIRMED, "--dry-run")[1].count("trusted by rule") == 1
    assert run("trust", "add", trust, "anchor", ca, "--name", "many", "--environment", "production", "--public")[0] == 0
    assert run("trust", "add", trust, "crl-issuer", ca)[0] == 0
    code, out, err = run("trust", "add", trust, "--from", path, *CONFIRMED)
    assert code == 0, out + err
    assert "undecided by rule many detached" in out
    assert "revo" in out.lower()
    assert run("verify", path, "--trust", trust)[0] == 3


def test_programs_get_one_object_and_are_never_asked(
    tmp_path: Path, trust: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = detached(tmp_path / "drive.bin", tsa=TSA)
    monkeypatch.setattr("sys.stdin", Terminal("somebody\n"))
    assert run("trust", "add", trust, "--from", path, "--json")[0] == 2
    code, out, _ = run("trust", "add", trust, "--from", path, "--json", *CONFIRMED)
    assert code == 0
    (told,) = (json.loads(line) for line in out.splitlines())
    assert (told["written"], told["outcome"], told["confirmed"]) == (True, "trusted", CONFIRMED[1])
    assert told["rule"] == said_by(trust).rules[-1].name
    assert any(line == "+[[rule]]" for line in told["text"])
    (told,) = (json.loads(line) for line in run("trust", "add", trust, "--from", path, "--json")[1].splitlines())
    assert (told["written"], told["text"]) == (False, [])


def test_several_samples_tell_what_changed_between_them_and_two_makers_are_not_mixed(
    tmp_path: Path, trust: Path, run: Run
) -> None:
    other = Pki.make("Clock", at=CLOCK - 40 * DAY).tsa(at=CLOCK - 10 * DAY)
    weaker = PUBLIC.leaf("acme", at=CLOCK - 10 * DAY, kind=KeyKind.P256)
    strong = PUBLIC.leaf("acme", at=CLOCK - 10 * DAY, kind=KeyKind.P384)
    old = detached(tmp_path / "old.bin", strong, tsa=TSA, at=CLOCK - 3 * DAY)
    new = detached(tmp_path / "new.bin", weaker, b"newer", tsa=other)
    code, out, err = run("trust", "add", trust, "--from", new, "--from", old, *CONFIRMED)
    assert code == 0, out + err
    assert "a WEAKER key: P-384 -> P-256" in out
    assert "timestamp authority: CN=timestamps,O=ACME" in out
    assert len(said_by(trust).authorities) == 2
    assert [run("verify", path, "--trust", trust)[0] for path in (old, new)] == [0, 0]
    code, _, err = run(
        "trust", "add", trust, "--from", new, "--from", detached(tmp_path / "evil.bin", IMPOSTOR), *CONFIRMED
    )
    assert code == 1
    assert "does not end where" in err


def test_it_shows_who_signed_with_fingerprints_that_openssl_shows_too(tmp_path: Path, trust: Path, run: Run) -> None:
    path = claimed(tmp_path, ACME, Claims(product="VX-200", version="2.1"))
    _, out, _ = run("trust", "add", trust, "--from", path, "--dry-run")
    for text in ("CN=acme,O=ACME", "CN=Many CA", "VX-200 2.1", "no timestamp", "format", "products = "):
        assert text in out, text
    (tmp_path / "leaf.pem").write_text(ACME.pem)
    _, words = program(["openssl", "x509", "-in", tmp_path / "leaf.pem", "-noout", "-fingerprint", "-sha256"])
    digits = words.strip().rpartition("=")[2].replace(":", "").lower()
    assert digits in out.replace(" ", "")
    _, out, _ = run("trust", "add", trust, "--from", path, "--dry-run", "--json")
    (one,) = json.loads(out)["samples"]
    assert one["chain"][0]["sha256"] == digits
    assert one["product"] == "VX-200"


def test_another_product_of_a_known_maker_is_one_more_name_in_their_rule(tmp_path: Path, trust: Path, run: Run) -> None:
    folders = [tmp_path / name for name in ("one", "two", "three")]
    for folder in folders:
        folder.mkdir()
    one, two = (
        claimed(folder, ACME, Claims(product=product, version="1"))
        for folder, product in zip(folders, ("VX-200", "VX-300"), strict=False)
    )
    assert run("trust", "add", trust, "--from", one, *CONFIRMED)[0] == 0
    assert run("verify", two, "--trust", trust)[0] == 1
    count = len(said_by(trust).rules)
    code, out, err = run("trust", "add", trust, "--from", two, *CONFIRMED)
    assert code == 0, out + err
    assert "speaks of VX-300 too" in out
    assert len(said_by(trust).rules) == count
    other = claimed(folders[2], BOLT, Claims(product="VX-300", version="1"))
    assert [run("verify", path, "--trust", trust)[0] for path in (one, two, other)] == [0, 0, 1]


def test_a_new_authority_of_a_known_subject_is_called_what_an_impostor_looks_like(
    tmp_path: Path, trust: Path, run: Run
) -> None:
    old, new = detached(tmp_path / "old.bin"), detached(tmp_path / "new.bin", IMPOSTOR, b"newer")
    assert run("trust", "add", trust, "--from", old, *CONFIRMED)[0] == 0
    assert run("verify", new, "--trust", trust)[0] == 1
    code, out, _ = run("trust", "add", trust, "--from", new, "--dry-run")
    assert code == 0
    assert "impostor" in out
    assert "otherwise than before, issuer" in out
    assert run("verify", new, "--trust", trust)[0] == 1
    assert run("trust", "add", trust, "--from", new, *CONFIRMED)[0] == 0
    assert [run("verify", path, "--trust", trust)[0] for path in (old, new)] == [0, 0]


def test_a_new_signer_of_the_same_authority_is_one_more_subject(tmp_path: Path, trust: Path, run: Run) -> None:
    old, new = detached(tmp_path / "old.bin"), detached(tmp_path / "new.bin", BOLT, b"newer")
    assert run("trust", "add", trust, "--from", old, *CONFIRMED)[0] == 0
    code, out, err = run("trust", "add", trust, "--from", new, *CONFIRMED)
    assert code == 0, out + err
    assert "otherwise than before, signer: CN=acme,O=ACME -> CN=bolt,O=ACME" in out
    assert "LOOK  another signer joins rule" in out
    assert [run("verify", path, "--trust", trust)[0] for path in (old, new)] == [0, 0]


def test_a_new_timestamp_authority_is_named_and_added(tmp_path: Path, trust: Path, run: Run) -> None:
    old = detached(tmp_path / "old.bin", tsa=TSA)
    assert run("trust", "add", trust, "--from", old, *CONFIRMED)[0] == 0
    other = Pki.make("Clock", at=CLOCK - 40 * DAY)
    new = detached(tmp_path / "new.bin", data=b"newer", tsa=other.tsa(at=CLOCK - 10 * DAY))
    assert run("verify", new, "--trust", trust)[0] == 1
    code, out, err = run("trust", "add", trust, "--from", new, *CONFIRMED)
    assert code == 0, out + err
    assert "otherwise than before, timestamp authority" in out
    assert [run("verify", path, "--trust", trust)[0] for path in (old, new)] == [0, 0]


def test_a_certificate_that_ends_before_the_next_release_is_said(tmp_path: Path, trust: Path, run: Run) -> None:
    short = PUBLIC.leaf("short", at=CLOCK - 300 * DAY, days=340)
    paths = [
        detached(tmp_path / f"{number}.bin", short, bytes([number]), tsa=TSA, at=CLOCK - ago * DAY)
        for number, ago in enumerate((9, 7, 5), 1)
    ]
    code, out, err = run("trust", "add", trust, "--from", paths[2], "--dry-run")
    assert (code, "assumed a year after the last" in out) == (0, True), out + err
    several = [argument for path in paths for argument in ("--from", path)]
    code, out, err = run("trust", "add", trust, *several, "--dry-run")
    assert code == 0, out + err
    assert "before the next release" not in out  # every two days, and it lasts for forty
    _, out, _ = run(
        "trust",
        "add",
        trust,
        "--from",
        detached(tmp_path / "long.bin", PUBLIC.leaf("long", at=CLOCK - DAY, days=700)),
        "--dry-run",
    )
    assert "before the next release" not in out


def test_it_stands_in_the_journal_with_a_digest_of_the_words_alone(tmp_path: Path, trust: Path, run: Run) -> None:
    home, path = tmp_path / "home", detached(tmp_path / "drive.bin")
    assert main(["init", str(home)]) == 0
    code, out, err = run("trust", "add", trust, "--from", path, *CONFIRMED, "--home", home)
    assert code == 0, out + err
    (entry,) = (one for one in read_journal(str(home / "journal")) if one.type is EntryType.ADOPTED)
    assert entry.fields["text"] == str(said_by(trust).digest)
    assert entry.fields["trust"] == "plant-7"
    assert "ACME support" not in str(entry.fields)
    kept = home / "private" / f"{str(entry.fields['confirmed']).removeprefix('sha256:')}.json"
    assert "call with ACME support" in kept.read_text()


@pytest.mark.parametrize("spoil", ["unsigned", "altered content", "altered signature", "weak", "unreadable"])
def test_nothing_is_taken_in_from_a_sample_whose_signature_is_worth_nothing(
    spoil: str, tmp_path: Path, trust: Path, run: Run
) -> None:
    path, before = detached(tmp_path / "drive.bin"), trust.read_bytes()
    assert run("trust", "add", trust, "--from", path, "--dry-run")[0] == 0
    beside = Path(f"{path}.p7s")
    if spoil == "unsigned":
        beside.unlink()
    elif spoil == "altered content":
        path.write_bytes(b"x" + path.read_bytes()[1:])
    elif spoil == "altered signature":
        data = bytearray(beside.read_bytes())
        data[-9] ^= 1
        beside.write_bytes(data)
    elif spoil == "weak":
        key, certificate = tmp_path / "w.key", tmp_path / "w.crt"
        program(
            [
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:1024",
                "-nodes",
                "-subj",
                "/CN=weak",
                "-keyout",
                key,
                "-out",
                certificate,
            ]
        )
        program(
            [
                "openssl",
                "cms",
                "-sign",
                "-binary",
                "-in",
                path,
                "-signer",
                certificate,
                "-inkey",
                key,
                "-outform",
                "DER",
                "-out",
                beside,
            ]
        )
    else:
        beside.write_bytes(beside.read_bytes()[:200])
    code, _, err = run("trust", "add", trust, "--from", path, *CONFIRMED)
    assert code == 1
    assert "Next: " in err or "Ask" in err or "Fetch" in err or "Do not install" in err
    assert trust.read_bytes() == before


def test_a_maker_that_the_file_denies_is_not_taken_in(tmp_path: Path, trust: Path, run: Run) -> None:
    path = detached(tmp_path / "drive.bin")
    assert run("trust", "add", trust, "deny", "key", ACME.key_digest, "--reason", "stolen")[0] == 0
    before = trust.read_bytes()
    code, _, err = run("trust", "add", trust, "--from", path, *CONFIRMED)
    assert code == 1
    assert "stolen" in err
    assert trust.read_bytes() == before


HOSTILE = "acme\"\n[[deny]]\nkey = \"x\"\n\x1b[2J\u202e'''"


def test_names_out_of_certificates_reach_neither_screen_nor_toml_raw(tmp_path: Path, trust: Path, run: Run) -> None:
    name = tmp_path / "dri\nstage = 've\x1b[2J.bin"
    name.write_bytes(b"firmware")
    root = made(HOSTILE, ca=True, before=CLOCK - DAY, after=CLOCK + 900 * DAY)
    leaf = made(HOSTILE + "leaf", root, purposes=[CODE_SIGNING], before=CLOCK - DAY, after=CLOCK + 900 * DAY)
    _openssl_signed(name, leaf, root, tmp_path)
    code, out, err = run("trust", "add", trust, "--from", name, "--confirmed", "a call")
    assert code == 0, out + err
    trusted = said_by(trust)
    assert trusted.denied == ()
    assert trusted.rules[-1].signers[0].certificates
    for text in (out, err, trust.read_text()):
        assert not {"\x1b", "\u202e"} & set(text)
    assert "\n[[deny]]" not in trust.read_text()
    assert run("verify", name, "--trust", trust)[0] == 0
    code, _, err = run("trust", "add", trust, "--from", name, "--confirmed", "a call\n[[deny]]")
    assert code in (0, 2)
    assert "\n[[deny]]" not in trust.read_text()


def _openssl_signed(path: Path, leaf: Made, above: Made, folder: Path) -> None:
    key, certificate, chain = folder / "h.key", folder / "h.crt", folder / "h.above"
    key.write_bytes(leaf.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    certificate.write_bytes(leaf.pem)
    chain.write_bytes(above.pem)
    done, words = program(
        ["openssl", "cms", "-sign", "-cades", "-binary", "-in", path, "-signer", certificate, "-inkey", key, "-certfile", chain,
         "-outform", "DER", "-out", f"{path}.p7s"]
    )  # fmt: skip
    assert done, words


def test_production_wants_to_know_where_the_makers_key_lives(tmp_path: Path, trust: Path, run: Run) -> None:
    root = made("maker root", ca=True, before=CLOCK - DAY, after=CLOCK + 900 * DAY)
    leaf = made("maker", root, purposes=[CODE_SIGNING], before=CLOCK - DAY, after=CLOCK + 900 * DAY)
    path = tmp_path / "drive.bin"
    path.write_bytes(b"firmware")
    _openssl_signed(path, leaf, root, tmp_path)
    how = ("--from", path, *CONFIRMED, "--environment", "production")
    code, _, err = run("trust", "add", trust, *how)
    assert code == 2
    assert "--provenance" in err
    assert run("trust", "add", trust, *how, "--provenance", "hardware-claimed")[0] == 0
    assert run("verify", path, "--trust", trust)[0] == 0
    assert said_by(trust).evidence[0].review is not None


def test_a_kind_and_a_sample_at_once_or_neither_is_a_usage_error(tmp_path: Path, trust: Path, run: Run) -> None:
    assert run("trust", "add", trust)[0] == 2
    assert run("trust", "add", trust, "--from", "x", "minimum", "VX-200", "7")[0] == 2
    before = trust.read_bytes()
    for option in (["--dry-run"], ["--confirmed", "x"], ["--home", "x"], ["--public"], ["--owner", "x"]):
        code, _, err = run("trust", "add", trust, *option, "minimum", "VX-200", "7")
        assert (code, "goes with --from SAMPLE alone" in err) == (2, True)
    assert trust.read_bytes() == before
    for place in ((trust, "--json", "minimum", "VX-200", "6"), (trust, "minimum", "VX-200", "6", "--json")):
        assert json.loads(run("trust", "add", *place)[1])["path"] == str(trust)
    assert run("trust", "add", trust, "minimum", "VX-200", "7")[0] == 0


def test_a_signed_version_is_not_touched(tmp_path: Path, run: Run) -> None:
    home, path = tmp_path / "home", detached(tmp_path / "drive.bin")
    assert main(["init", str(home)]) == 0
    code, _, err = run("trust", "add", home / "trust.toml", "--from", path, *CONFIRMED)
    assert code == 2
    assert "trust new --next" in err


def test_the_release_interval_is_the_middle_gap_between_timestamps(tmp_path: Path) -> None:
    from sealwright.plant.sample import Handed, forecast, read_sample

    times = [CLOCK - ago * DAY for ago in (9, 6, 2)]
    samples = [
        read_sample(str(detached(tmp_path / f"{number}.bin", data=bytes([number]), tsa=TSA, at=time)), Handed(), CLOCK)
        for number, time in enumerate(times)
    ]
    found = forecast(samples, CLOCK)
    assert (found.every, found.seen) == (3 * DAY, 2)
    assert found.due == CLOCK + timedelta(days=1)
    assert forecast(samples[:1], CLOCK).seen == 0
