"""A ceremony with everything in it, and its record: every line that is altered is refused where the home is at hand."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kit.ceremonies import Run, begin_to_run, begun, come, forge_signatures, planned
from kit.openssl import cms_verify
from kit.openssl import run as program
from kit.tokens import PIN, another_token, tpm
from sealwright.artifact.digest import Digest
from sealwright.cli.main import main
from sealwright.errors import MalformedTrust
from sealwright.keys.key import Provenance
from sealwright.signing.ceremonyhost import this_host
from sealwright.signing.ceremonyplan import parse_plan, read_plan
from sealwright.signing.home import open_home
from sealwright.signing.transcript import parse_transcript

COMMAND = [sys.executable, "-m", "sealwright", "ca", "ceremony"]
EVERYBODY = ("eva", "jan", "wim")


def full_plan(run: Run, homes: dict[str, Path], path: Path, *more: str) -> Path:
    """Two intermediates, a witness, a root of the past, and every step."""
    return planned(
        run,
        homes,
        path,
        f"--witness=wim={homes['wim']}/certificates/officer.pem",
        f"--cross-sign=old={homes['mallory']}/ca.pem",
        "--intermediate=ACME configuration CA",
        "--step=timestamp",
        "--step=ocsp",
        "--accept-single-copy=boards of a trial",
        *more,
    )


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, homes: dict[str, Path]) -> Path:
    """The ceremony, held and signed by both officers and the witness."""
    folder = tmp_path_factory.mktemp("full")

    def call(*words: str | Path) -> str:
        if words[0] == "begin":
            done = subprocess.run([*COMMAND, *map(str, words)], capture_output=True, text=True, check=True)
            return done.stdout
        assert main(["ca", "ceremony", *map(str, words)]) == 0
        return ""

    plan = full_plan(call, homes, folder / "plan.txt")
    call(*begin_to_run(call, homes, plan, *EVERYBODY), "--yes")
    for person in EVERYBODY:
        call("sign", folder / "ca/ceremony/transcript.txt", "--home", homes[person], "--person", person)
    return folder


@pytest.fixture
def mine(full: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    shutil.copytree(full, tmp_path / "full")
    return tmp_path / "full"


def checked(run: Run, folder: Path, code: int = 0) -> str:
    record = folder / "ca/ceremony/transcript.txt"
    return run("check", record, "--plan", folder / "plan.txt", "--home", folder / "ca", code=code)


def test_witnesses_attend_sign_and_are_not_officers(
    full: Path, tmp_path: Path, homes: dict[str, Path], run: Run
) -> None:
    record = parse_transcript((full / "ca/ceremony/transcript.txt").read_bytes(), "transcript")
    assert {(one.person, one.role) for one in record.present} == {
        ("eva", "officer"),
        ("jan", "officer"),
        ("wim", "witness"),
    }
    assert "signed by eva, jan, wim" in checked(run, full)
    plan = full_plan(run, homes, tmp_path / "plan.txt")
    assert "1 witness must attend, and here is none of them" in run(*begin_to_run(run, homes, plan), "--yes", code=1)
    said = run(*begin_to_run(run, homes, plan, "eva", "wim"), "--yes", code=1)
    assert "2 officers must attend, and here is eva" in said
    run(*begin_to_run(run, homes, plan, *EVERYBODY), "--yes")
    transcript = tmp_path / "ca/ceremony/transcript.txt"
    for person in ("eva", "jan"):
        run("sign", transcript, "--home", homes[person], "--person", person)
    assert "1 witnesses of the plan must sign it, signed has none of them" in checked(run, tmp_path, code=1)
    run("sign", transcript, "--home", homes["wim"], "--person", "wim")
    assert "holds" in checked(run, tmp_path)
    signature = transcript.with_name("transcript.txt.wim.p7s")
    assert cms_verify(signature, transcript, homes["wim"] / "certificates/officer.pem")[0]
    assert not cms_verify(signature, transcript, homes["eva"] / "certificates/officer.pem")[0]


def test_every_intermediate_is_certified_listed_and_verifies_with_openssl(full: Path) -> None:
    ca = full / "ca"
    record = parse_transcript((ca / "ceremony/transcript.txt").read_bytes(), "transcript")
    steps = ["root", "intermediate", "intermediate-2", "timestamp", "ocsp", "device-key"]
    assert [one.step for one in record.made] == steps
    assert [one.authority for one in record.lists] == steps[:3]
    strict: list[str | Path] = ["openssl", "verify", "-x509_strict", "-CAfile", ca / "ca.pem"]
    for name in ("intermediate", "intermediate-2"):
        assert program([*strict, ca / f"certificates/{name}.pem"])[0]
        crl: list[str | Path] = ["openssl", "crl", "-inform", "DER", "-in", ca / f"trust.d/{name}.crl", "-noout"]
        assert "verify OK" in program([*crl, "-CAfile", ca / f"certificates/{name}.pem"])[1]
    for name in ("timestamp", "ocsp", "device"):
        leaf = ca / f"certificates/{name}.pem"
        assert program([*strict, "-untrusted", ca / "certificates/intermediate-2.pem", leaf])[0]
        assert not program([*strict, "-untrusted", ca / "certificates/intermediate.pem", "-untrusted", ca / "ca.pem",
                            "-partial_chain", "-no-CAfile", leaf])[0]  # fmt: skip


def test_the_root_vouches_for_the_root_of_the_past(
    mine: Path, homes: dict[str, Path], run: Run, tmp_path: Path
) -> None:
    ca, old = mine / "ca", homes["mallory"]
    crossed = ca / "ceremony/cross-sign.old.pem"
    record = parse_transcript((ca / "ceremony/transcript.txt").read_bytes(), "transcript")
    (told,) = record.crossed
    assert told.root == "old"
    assert x509.load_pem_x509_certificate(crossed.read_bytes()).serial_number == told.serial
    assert (
        Digest.of(x509.load_pem_x509_certificate(crossed.read_bytes()).public_bytes(Encoding.DER)) == told.certificate
    )
    below: list[str | Path] = ["-untrusted", old / "certificates/intermediate.pem", old / "certificates/release.pem"]
    verify: list[str | Path] = ["openssl", "verify", "-purpose", "any", "-CAfile", ca / "ca.pem"]
    assert program([*verify, "-untrusted", crossed, *below])[0]
    assert not program([*verify, *below])[0]
    assert "not in the transcript" not in checked(run, mine)
    run("enrol", "backup", "--home", ca, "--name", "backup", of=("key",))
    assert "ceremony" not in run("backup", "--home", ca, "--out", tmp_path / "ca.tar", of=("home",))


def altered(name: str, value: str) -> str:
    """Another value of the same kind."""
    if re.fullmatch("[0-9]+", value):
        return str(int(value) + 1)
    if value in ("true", "false"):
        return {"true": "false", "false": "true"}[value]
    if re.fullmatch(r"\d{4}-.*Z", value):
        return value.replace(value[:4], str(int(value[:4]) + 1), 1)
    if value.startswith("["):
        return value.replace('"', '"x', 1)
    if re.fullmatch(r'"(sha256:)?[0-9a-f]{16,}"', value):
        return value[:-2] + ("0" if value[-2] != "0" else "1") + '"'
    return value[:-1] + 'x"'


def test_each_line_of_the_record_that_is_altered_is_refused_even_where_the_officers_signed_it(
    mine: Path, homes: dict[str, Path], run: Run
) -> None:
    record = mine / "ca/ceremony/transcript.txt"
    lines = record.read_text().splitlines()
    forge_signatures(record, homes, *EVERYBODY)
    assert "holds" in checked(run, mine)
    tried = 0
    for number, line in enumerate(lines):
        name, equals, value = line.partition(" = ")
        if line.startswith("[[") or not line:
            continue
        other = f"{name} = {altered(name, value)}" if equals else line + " "
        assert other != line
        record.write_text("\n".join([*lines[:number], other, *lines[number + 1 :]]) + "\n")
        forge_signatures(record, homes, *EVERYBODY)
        said = run("check", record, "--plan", mine / "plan.txt", "--home", mine / "ca", code=None)
        assert "holds," not in said, line
        assert "sealwright: " in said, line
        tried += 1
    assert tried > 90
    record.write_text("\n".join(lines) + "\n")
    forge_signatures(record, homes, *EVERYBODY)
    assert "holds" in checked(run, mine)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('provenance = "development"', 'provenance = "hardware-attested"', "the provenance of its key is development"),
        ('version = "0', 'version = "9', "version of the program is"),
        ("# sealwright transcript 1", "# sealwright transcript 2", "the first line is not"),
        ('register = "sha256:', 'register = "sha256:', "register is sha256:"),
        ("\ntime = 20", "\ntime = 21", "signed"),
        ('algorithm = "ECDSA', 'algorithm = "DSA', "steps are not the plan's"),
        ('construction = "x509"', 'construction = "cms-attributes"', "its key root is"),
        ('location = "', 'location = "safe ', "digest of the transcript is"),
        ('name = "', 'name = "other-', "digest of the transcript is"),
        ('crl = "sha256:', 'crl = "sha256:', "does not have the revocation list"),
        ("\nuntil = 20", "\nuntil = 21", "the certificate of step 1 (root) is another one"),
        ('root = "old"', 'root = "new"', "the roots that it vouches for"),
        ('role = "witness"', 'role = "officer"', "not enough officers"),
    ],
)
def test_what_is_altered_in_the_record_is_named(
    mine: Path, homes: dict[str, Path], run: Run, old: str, new: str, why: str
) -> None:
    record = mine / "ca/ceremony/transcript.txt"
    text = record.read_text()
    assert "holds" in checked(run, mine)
    assert old in text
    if old == new:  # a digest: its first digit
        at = text.index(old) + len(old)
        text = text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :]
    else:
        text = text.replace(old, new, 1)
    record.write_text(text)
    forge_signatures(record, homes, *EVERYBODY)
    assert why in checked(run, mine, code=1)


def test_a_register_that_no_ceremony_opened_or_that_another_one_did_is_not_of_the_record(
    mine: Path, homes: dict[str, Path], run: Run
) -> None:
    """The register with its first entry of another nonce: every line after it has another hash, and the record another register."""
    journal = mine / "ca/register/journal.jsonl"
    lines = journal.read_text().splitlines()
    assert "holds" in checked(run, mine)
    nonce = parse_transcript((mine / "ca/ceremony/transcript.txt").read_bytes(), "").nonce
    for first in (lines[0].replace(nonce, "0" * 64), None):
        fields = [json.loads(line) for line in ([first] if first else []) + lines[1:]]
        chained(journal, fields if first else [one for one in fields if one["type"] != "transcript"])
        said = checked(run, mine, code=1)
        assert "nonce is 000000" in said if first else "no ceremony opened its register" in said


def chained(journal: Path, entries: list[dict[str, object]]) -> None:
    """A journal of these entries, its chain computed anew."""
    from hashlib import sha256

    from sealwright.log.canonical import canonical_json

    previous, text = "0" * 64, b""
    for number, entry in enumerate(entries):
        line = canonical_json({**entry, "seq": number, "previous": previous})  # type: ignore[dict-item]
        previous, text = sha256(line).hexdigest(), text + line + b"\n"
    journal.write_bytes(text)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('person = "wim"', 'person = "eva"', "a witness is no officer"),
        ('person = "wim"', 'person = "EVA"', "differ in more than capitals"),
        ('person = "jan"', 'person = "Eva"', "differ in more than capitals"),
        ('intermediates = ["ACME CA", ', 'intermediates = ["ACME root", ', "other names than the root's"),
        ('intermediates = ["ACME CA", ', "intermediates = [", "in this order"),
        ('"cross-sign", ', "", "cross-sign where there is"),
        ('"intermediate-2", ', "", "in this order"),
        ('name = "old"', 'name = "../old"', "named like file names"),
        ("BEGIN CERTIFICATE", "BEGIN CERTIFICAT", "one certificate in PEM"),
    ],
)
def test_a_plan_of_everything_is_read_strictly(full: Path, old: str, new: str, why: str) -> None:
    text = (full / "plan.txt").read_text()
    assert parse_plan(text.encode(), "plan.txt").others[0].name == "old"
    assert old in text
    with pytest.raises(MalformedTrust, match=re.escape(why)):
        parse_plan(text.replace(old, new).encode(), "plan.txt")


def test_the_machine_is_shown_before_the_first_step_and_recorded(full: Path, tmp_path: Path) -> None:
    record = parse_transcript((full / "ca/ceremony/transcript.txt").read_bytes(), "transcript")
    assert record.host == this_host()
    kernel = subprocess.run(["uname", "-r"], capture_output=True, text=True, check=True).stdout.strip()
    assert kernel in record.host.system
    for name, flags in (("lo", "0x9"), ("eth0", "0x1003"), ("wlan0", "0x1002"), ("odd", "what")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "flags").write_text(flags + "\n")
    (tmp_path / "bonding_masters").write_text("")
    host = this_host(str(tmp_path))
    assert host.interfaces == ("eth0", "odd")
    assert not host.offline
    (tmp_path / "none").mkdir()
    assert this_host(str(tmp_path / "none")).offline


def test_a_rehearsal_runs_as_it_is_printed(tmp_path: Path, run: Run) -> None:
    shown = run("plan", tmp_path / "plan.txt", "--example")
    lines = [
        line.strip().removeprefix("sealwright ca ceremony ") for line in shown.splitlines() if line.startswith("  ")
    ]
    assert len(lines) == 9
    nonce = ""
    for line in lines:
        words = line.replace("NONCE", nonce).split()
        more = ["--yes"] if words[0] == "run" else []
        said = run(*words, *more)
        if words[0] == "begin":
            (nonce,) = re.findall(r"^nonce ([0-9a-f]{64})$", said, re.MULTILINE)
    assert "holds, signed by eva, jan, wim" in said
    plan = read_plan(str(tmp_path / "plan.txt"))
    assert [one.step for one in parse_transcript((tmp_path / "ca/ceremony/transcript.txt").read_bytes(), "").made] == [
        step for _, step in plan.making
    ]
    assert "it is there already" in run("plan", tmp_path / "plan.txt", "--example", code=2)
    assert "--title" in run("plan", tmp_path / "other.txt", code=2)


def test_a_ceremony_in_a_tpm(tmp_path: Path, homes: dict[str, Path], run: Run) -> None:
    tpm()
    plan = planned(
        run, homes, tmp_path / "plan.txt", "--token", "tpm:", "--step", "timestamp", "--intermediate", "second"
    )
    run(*begin_to_run(run, homes, plan), "--yes")
    record = parse_transcript((tmp_path / "ca/ceremony/transcript.txt").read_bytes(), "transcript")
    assert {one.provenance for one in record.made} == {Provenance.HARDWARE_CLAIMED}
    assert all(str(tmp_path / "ca/keys") in one.location for one in record.made), (
        "where they are, not where they were made"
    )
    for person in ("eva", "jan"):
        run("sign", tmp_path / "ca/ceremony/transcript.txt", "--home", homes[person], "--person", person)
    assert "holds" in checked(run, tmp_path)
    assert program(["openssl", "verify", "-x509_strict", "-CAfile", tmp_path / "ca/ca.pem", "-untrusted",
                    tmp_path / "ca/certificates/intermediate-2.pem", tmp_path / "ca/certificates/timestamp.pem"])[0]  # fmt: skip
    assert main(["ca", "crl", "--home", str(tmp_path / "ca"), "--authority", "root"]) == 0
    assert open_home(str(tmp_path / "ca")).keys[0].uri == "tpm:keys/root.tss"


def test_only_the_nonce_of_this_ceremony_is_attended_by_a_witness(
    tmp_path: Path, homes: dict[str, Path], run: Run
) -> None:
    plan = full_plan(run, homes, tmp_path / "plan.txt")
    one, other = begun(run, plan), begun(run, plan)
    files = [*come(run, homes, plan, one, "eva", "jan"), *come(run, homes, plan, other, "wim")]
    start = ("run", plan, "--home", tmp_path / "ca", "--yes", "--nonce", one, "--attendance")
    assert "no attendance of this plan and nonce" in run(*start, *files, code=1)
    run(*start, *files[:2], *come(run, homes, plan, one, "wim"))


def test_a_ceremony_in_a_token_whose_provenance_was_made_better_afterwards(
    tmp_path: Path, homes: dict[str, Path], run: Run
) -> None:
    token, pin = another_token(), tmp_path / "pin"
    pin.write_text(PIN)
    pin.chmod(0o600)
    more = ("--token", token, "--step", "ocsp", "--intermediate", "second")
    plan = planned(run, homes, tmp_path / "plan.txt", *more)
    run(*begin_to_run(run, homes, plan), "--pin-file", pin, "--yes")
    transcript = tmp_path / "ca/ceremony/transcript.txt"
    record = parse_transcript(transcript.read_bytes(), "transcript")
    assert [one.step for one in record.made] == ["root", "intermediate", "intermediate-2", "ocsp"]
    assert {one.provenance for one in record.made} == {Provenance.HARDWARE_CLAIMED}
    for person in ("eva", "jan"):
        run("sign", transcript, "--home", homes[person], "--person", person)
    assert "holds" in checked(run, tmp_path)
    text = transcript.read_text()
    for old, new, why in (
        ("hardware-claimed", "hardware-attested", "the provenance of its key is hardware-claimed"),
        ("CKA_NEVER_EXTRACTABLE: true", "CKA_NEVER_EXTRACTABLE: yes", "digest of the transcript is"),
    ):
        assert old in text
        transcript.write_text(text.replace(old, new, 1))
        forge_signatures(transcript, homes, "eva", "jan")
        assert why in checked(run, tmp_path, code=1)
    for key in ("root", "intermediate-2"):
        assert main(["ca", "crl", "--home", str(tmp_path / "ca"), "--authority", key, "--pin-file", str(pin)]) == 0
