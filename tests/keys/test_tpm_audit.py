"""A TPM that audits its signatures (swtpm), the journal of them, and what shows whoever used it past that journal (A133)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kit.auditedtpm import Machine, audited_machine, begin
from sealwright.artifact.digest import Digest
from sealwright.envelope.algorithms import key_digest
from sealwright.envelope.tobesigned import Kind, ToBeSigned
from sealwright.errors import KeyRefused, KeyUnavailable, MalformedEnvelope, OutputRefused
from sealwright.keys.auditjournal import AuditJournal, name_journal, new_journal
from sealwright.keys.auditlines import AttestedLine, MadeLine, UseLine, read_line, read_lines
from sealwright.keys.key import KeyKind
from sealwright.keys.tpm import create_tpm_key, open_tpm_key
from sealwright.keys.tpmwire import read_public_area
from sealwright.log.commandaudit import check_command_audit


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with audited_machine(tmp_path) as made:
        yield made


def test_every_signature_of_an_audited_key_is_attested_by_its_tpm(machine: Machine) -> None:
    for count in (1, 3, 2):
        machine.sign(count)
    audited = machine.audited()
    assert (audited.uses, audited.findings) == ({machine.key: 6}, [])
    line = [one for one in read_lines(str(machine.journal)) if isinstance(one, AttestedLine)][-1]
    public = read_public_area(line.attestation_key).key
    assert audited.attestation_key == key_digest(public)
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for name, data in (("ak.pem", pem), ("attest", line.attest), ("sig", line.signature)):
        (machine.folder / name).write_bytes(data)
    assert "Verified OK" in machine.tool(
        "openssl", "dgst", "-sha256", "-verify", "ak.pem", "-signature", "sig", "attest"
    )


@pytest.mark.parametrize("kind", [KeyKind.P384, KeyKind.RSA3072])
def test_several_keys_of_a_tpm_share_its_journal(machine: Machine, kind: KeyKind) -> None:
    create_tpm_key(str(machine.folder / "second.tss"), kind)
    assert machine.tool("tpm2_pcrreset", "16") == ""
    create_tpm_key(str(machine.folder / "bound.tss"), KeyKind.P256, "sha256:16")
    for name in ("second.tss", "bound.tss"):
        begin(machine, name, AuditJournal(str(machine.journal)))
    for name, count in (("second.tss", 2), ("release.tss", 1), ("bound.tss", 3), ("second.tss", 1)):
        machine.sign(count, f"tpm:{machine.folder / name}")
    audited = machine.audited()
    assert (sorted(audited.uses.values()), audited.findings) == ([1, 3, 3], [])


@dataclass(frozen=True)
class Past:
    """Something that is done past the journal. least: how many uses are told at least."""

    what: str
    do: Callable[[Machine], None]
    least: int = 1


def drop_by_other_algorithm(machine: Machine) -> None:
    machine.intruder_signs()
    for algorithm in ("sha384", "sha256"):
        machine.tool("tpm2_setcommandauditstatus", "-g", algorithm)


def switch_off_and_on(machine: Machine) -> None:
    machine.tool("tpm2_setcommandauditstatus", "-c", "TPM2_CC_Sign")
    machine.intruder_signs(5)
    machine.tool("tpm2_setcommandauditstatus", "TPM2_CC_Sign")


def between_attestations(machine: Machine) -> None:
    for _ in range(3):
        machine.intruder_signs()
        machine.intruder_has_it_attested()


def before_a_reset(machine: Machine) -> None:
    machine.intruder_signs(2)
    machine.reset()


PAST = [
    Past("a signature by tpm2_sign", Machine.intruder_signs),
    Past("several, each attested to somebody else", between_attestations, 3),
    Past("a signature, and the digest dropped by another algorithm", drop_by_other_algorithm),
    Past("the audit switched off, five signatures, and on again", switch_off_and_on),
    Past("two signatures before the power goes, while nothing of ours was open", before_a_reset),
]


@pytest.mark.parametrize("past", PAST, ids=lambda past: past.what)
@pytest.mark.parametrize("after", [0, 2])
def test_a_use_past_the_journal_is_told_by_the_next_attestation(machine: Machine, past: Past, after: int) -> None:
    machine.sign(2)
    machine.attest()
    assert machine.codes() == []
    past.do(machine)
    if after:
        machine.sign(after)
    machine.attest()
    found = machine.audited()
    assert {one.code for one in found.findings} == {"SW-AUDIT-TPM-PAST"}
    assert int(found.findings[0].found) >= past.least
    assert found.uses == {machine.key: 2 + after}
    machine.sign(1)
    assert machine.codes() == ["SW-AUDIT-TPM-PAST"]  # once: what is after it counts again


def test_a_use_while_signatures_are_open_is_told(machine: Machine) -> None:
    open_line = take_last_attestation_away(machine, machine.sign)
    machine.attest()
    assert machine.codes() == []
    take_last_attestation_away(machine, machine.sign)
    machine.intruder_signs()
    machine.attest()
    assert machine.codes() == ["SW-AUDIT-TPM-PAST"]
    assert open_line


def take_last_attestation_away(machine: Machine, sign: Callable[[int], None]) -> str:
    """Signatures that nothing attested yet, as while a service runs: its key is not closed."""
    key = open_tpm_key(machine.uri)
    algorithm = key.info.algorithm
    key.sign([ToBeSigned(Kind.DIGEST, Digest.of(b"open").value, algorithm)])
    tpm = key._connected()
    tpm.flush(key._handle)
    tpm.close()  # as a process that is killed
    return machine.journal.read_text().splitlines()[-1]


def test_a_reset_before_uses_were_attested_is_told_as_that(machine: Machine) -> None:
    machine.sign(1)
    machine.reset()
    machine.sign(1)
    assert machine.codes() == []  # what was attested is not lost
    take_last_attestation_away(machine, machine.sign)
    machine.reset()
    machine.sign(2)
    assert machine.codes() == ["SW-AUDIT-TPM-RESET"]
    assert machine.audited().uses == {machine.key: 5}


def test_a_service_that_was_killed_before_it_attested_loses_nothing(machine: Machine) -> None:
    take_last_attestation_away(machine, machine.sign)
    machine.sign(2)
    assert (machine.codes(), machine.audited().uses) == ([], {machine.key: 3})


@pytest.mark.parametrize(("executed", "code"), [(False, []), (True, ["SW-AUDIT-TPM-BROKEN-OFF"])])
def test_a_command_that_was_broken_off_is_proved_undone_or_told(
    machine: Machine, executed: bool, code: list[str]
) -> None:
    machine.sign(1)
    with AuditJournal(str(machine.journal)).turn() as turn:
        use = next(one for one in read_lines(str(machine.journal)) if isinstance(one, UseLine))
        turn.add(UseLine(use.name, Digest.of(b"past the log").value))
    with machine.journal.open("a") as journal:
        journal.write("made 17641584")  # and the line that the kill cut off
    if executed:
        machine.intruder_signs()
    machine.sign(2)
    assert machine.codes() == code
    assert machine.audited().uses == {machine.key: 3}


def test_an_old_copy_of_the_journal_answers_no_new_challenge(machine: Machine) -> None:
    machine.sign(1)
    old = machine.journal.read_bytes()
    machine.intruder_signs()
    machine.attest(b"challenge of today")
    new = machine.journal.read_bytes()
    machine.journal.write_bytes(old)
    assert machine.codes() == []
    assert machine.codes(b"challenge of today") == ["SW-AUDIT-TPM-STALE"]
    machine.journal.write_bytes(new)
    assert machine.codes(b"challenge of today") == ["SW-AUDIT-TPM-PAST"]


def test_an_intruder_who_writes_his_use_into_the_journal_is_counted(machine: Machine) -> None:
    machine.sign(1)
    journal = (machine.folder / "release.tss.audit").read_bytes()
    machine.sign(1)  # a signature like any other, by somebody who has key and journal
    assert (machine.codes(), machine.audited().uses) == ([], {machine.key: 2})
    assert journal == b"tpm.audit\n"


def forged(machine: Machine, change: Callable[[list[str]], list[str]]) -> None:
    lines = machine.journal.read_text().splitlines(keepends=True)
    machine.journal.write_text("".join(change(lines)))


def without_one_use(lines: list[str]) -> list[str]:
    at = next(number for number, one in enumerate(lines) if one.startswith("use"))
    return lines[:at] + lines[at + 2 :]


def with_another_digest(lines: list[str]) -> list[str]:
    at = next(number for number, one in enumerate(lines) if one.startswith("use"))
    use = read_line(lines[at])
    assert isinstance(use, UseLine)
    return [*lines[:at], str(UseLine(use.name, Digest.of(b"else").value)), *lines[at + 1 :]]


def with_altered_attestation(lines: list[str]) -> list[str]:
    last = read_line(lines[-1])
    assert isinstance(last, AttestedLine)
    attest = last.attest[:-1] + bytes([last.attest[-1] ^ 1])
    return [*lines[:-1], str(AttestedLine(last.time, last.nonce, attest, last.signature, last.attestation_key))]


def with_one_replayed(lines: list[str]) -> list[str]:
    first = next(one for one in lines if one.startswith("attested"))
    return [*lines, first]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (without_one_use, ["SW-AUDIT-TPM-PAST"]),
        (with_another_digest, ["SW-AUDIT-TPM-PAST"]),
        (with_altered_attestation, ["SW-AUDIT-TPM-FALSE", "SW-AUDIT-TPM-WAITING"]),
        (with_one_replayed, ["SW-AUDIT-TPM-PAST"]),
        (lambda lines: lines[:-1], ["SW-AUDIT-TPM-WAITING"]),
    ],
)
def test_a_journal_that_somebody_wrote_into_does_not_fit(
    machine: Machine, change: Callable[[list[str]], list[str]], code: list[str]
) -> None:
    machine.sign(2)
    assert machine.codes() == []
    forged(machine, change)
    assert machine.codes() == code


def test_a_tpm_that_audits_for_somebody_else_or_not_any_more_is_told(machine: Machine) -> None:
    machine.sign(1)
    machine.tool("tpm2_setcommandauditstatus", "-c", "TPM2_CC_Sign")
    machine.sign(1)
    assert machine.codes() == ["SW-AUDIT-TPM-OFF", "SW-AUDIT-TPM-PAST"]
    create_tpm_key(str(machine.folder / "second.tss"), KeyKind.P256)
    machine.tool("tpm2_setcommandauditstatus", "TPM2_CC_Quote")
    with pytest.raises(KeyRefused, match="somebody else"):
        begin(machine, "second.tss", AuditJournal(str(machine.journal)))
    machine.tool("tpm2_setcommandauditstatus", "-c", "TPM2_CC_Quote")
    begin(machine, "second.tss", AuditJournal(str(machine.journal)))


def test_nothing_is_signed_where_it_cannot_be_written_down(machine: Machine) -> None:
    machine.sign(1)
    whole = machine.journal.read_bytes()
    for spoil in (machine.journal.unlink, lambda: machine.journal.write_bytes(b"")):
        spoil()
        with pytest.raises(KeyUnavailable):
            machine.sign(1)
    (machine.folder / "release.tss.audit").write_text("\n")
    with pytest.raises(KeyUnavailable, match="names no journal"):
        machine.sign(1)
    name = machine.folder / "release.tss.audit"
    name.unlink()
    machine.journal.write_bytes(whole)
    with pytest.raises(OutputRefused):
        new_journal(str(machine.journal))
    name_journal(str(machine.folder / "release.tss"), AuditJournal(str(machine.journal)))
    machine.sign(1)
    assert machine.codes() == []


def test_a_tpm_that_does_not_attest_says_so_and_its_key_does_not_open(machine: Machine) -> None:
    machine.sign(1)
    machine.tool("tpm2_changeauth", "-c", "endorsement", "secret")
    machine.sign(1)  # what was open before is attested; this is not
    assert machine.codes() == ["SW-AUDIT-TPM-WAITING"]
    with pytest.raises(KeyUnavailable, match="does not attest its uses"):
        machine.sign(1)
    machine.tool("tpm2_changeauth", "-c", "endorsement", "-p", "secret")
    machine.sign(1)
    assert (machine.codes(), machine.audited().uses) == ([], {machine.key: 3})


def test_a_file_that_is_no_journal_is_never_cut(machine: Machine) -> None:
    other = machine.folder / "notes.txt"
    other.write_text("one line\nand half of anoth")
    create_tpm_key(str(machine.folder / "second.tss"), KeyKind.P256)
    with pytest.raises(KeyUnavailable, match="does not begin as one"):
        begin(machine, "second.tss", AuditJournal(str(other)))
    assert other.read_text().endswith("anoth")


def test_what_was_found_before_a_time_is_not_told_again(machine: Machine) -> None:
    machine.intruder_signs()
    machine.sign(2)
    path, later = str(machine.journal), datetime.now(UTC) + timedelta(seconds=2)
    assert [one.code for one in check_command_audit(path, read_lines(path)).findings] == ["SW-AUDIT-TPM-PAST"]
    since = check_command_audit(path, read_lines(path), since=later)
    until = check_command_audit(path, read_lines(path), until=later - timedelta(days=1))
    assert (since.findings, until.findings, since.uses, until.uses) == ([], [], {}, {})


@pytest.mark.parametrize(
    "text",
    [
        "", "nonsense\n", "# sealwright tpm audit 2\n", "# sealwright tpm audit 1\n", "# sealwright tpm audit 1\nuse 00 00\n",
        "# sealwright tpm audit 1\nkey 00\n", "# sealwright tpm audit 1\nmade 1764158400 00\n",
        "# sealwright tpm audit 1\nmade 999999999999 00\n",
        "# sealwright tpm audit 1\nkey " + "00" * 8192 + "\n", "# sealwright tpm audit 1\nattested x y z\n",
        "# sealwright tpm audit 1\nattested 1764158400 00 00 00 00\n",
    ],
)  # fmt: skip
def test_what_is_no_journal_is_a_typed_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tpm.audit"
    path.write_text(text)
    with pytest.raises(MalformedEnvelope):
        check_command_audit(str(path), read_lines(str(path)))


def test_every_line_is_read_in_one_spelling_only() -> None:
    line = MadeLine(datetime(2026, 11, 26, 12, tzinfo=UTC), b"\xab\xcd")
    assert read_line(str(line)) == line
    for other in (str(line).upper(), str(line)[:-1], str(line).replace(" ", "  "), str(line).replace("abcd", "ab cd")):
        with pytest.raises(ValueError, match=r"."):
            read_line(other)


def test_the_commands_begin_and_attest(machine: Machine) -> None:
    second = machine.folder / "second.tss"
    create_tpm_key(str(second), KeyKind.P256)

    def command(*words: object) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "sealwright", "key", *map(str, words)], capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    assert "are not written down" in command("attest-uses", f"tpm:{second}")[1]
    assert command("begin-audit", f"tpm:{second}", "--journal", machine.journal)[0] == 0
    assert command("attest-uses", f"tpm:{second}", "--nonce", "5eed")[0] == 0
    assert machine.codes(bytes.fromhex("5eed")) == []
    assert "written down already" in command("begin-audit", f"tpm:{second}", "--journal", machine.journal)[1]
    code, said = command("begin-audit", "file:release.key", "--journal", machine.journal)
    assert (code, "counts no uses" in said) == (1, True)
    assert os.path.basename(second) in os.listdir(machine.folder)
