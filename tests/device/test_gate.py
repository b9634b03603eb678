"""The run gate: what runs is what was verified, by the interpreter, for the hosts, accounts, times and numbers that were signed."""

from __future__ import annotations

import os
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from kit.inside import sign_inside
from kit.manifests import claimed
from kit.pki import NOW, Pki, p7s
from kit.trust import RULE, believed, codes, new_state, trust_bytes, trust_parts
from kit.xmldocs import TINY
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.artifact.sealed import SealedCopy, sealed_copy
from sealwright.device import gate
from sealwright.device.runs import count, started
from sealwright.device.script import FIRST_LINES
from sealwright.envelope.kinds import Construction
from sealwright.errors import MalformedTrust, OutputRefused, SealwrightError
from sealwright.trust.toml import Toml
from sealwright.trust.trustfile import parse_trust
from sealwright.trust.verdict import Outcome, Purpose
from sealwright.trust.verify import Request, Verifier

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
RELEASE = PKI.leaf()
SH: dict[str, Toml] = {"kind": "sh", "path": "/bin/sh"}
TRUST = believed(PKI, interpreter=[SH])
DAY = timedelta(days=1)


def script(folder: Path, text: str = "#!/bin/sh\necho hi\n", name: str = "a.sh") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    (folder / f"{name}.p7s").write_bytes(p7s(RELEASE, text.encode()))
    return path


def judged(path: Path, arguments: list[str] | None = None, trust: object = TRUST, **request: object) -> gate.Judged:
    with sealed_copy(str(path), 1 << 20) as copy:
        asked = Request(clock=NOW, purpose=Purpose.RUN, **request)  # type: ignore[arg-type]
        return gate.judge(copy, trust, asked, arguments or [])  # type: ignore[arg-type]


def said(path: Path, **how: object) -> list[str]:
    found = judged(path, **how)  # type: ignore[arg-type]
    assert (found.interpreter is None) == (found.verdict.outcome is not TRUSTED)
    return codes(found.verdict)


def test_a_signed_script_may_run_and_an_altered_one_not(tmp_path: Path) -> None:
    path = script(tmp_path)
    assert judged(path).interpreter == TRUST.trust.interpreters[0]
    path.write_text("echo ho\n")
    assert said(path) == ["SW-FILE-CHANGED"]
    (tmp_path / "a.sh.p7s").unlink()
    assert said(path) == ["SW-SIGNATURE-MISSING"]
    stranger = Pki.make("EVIL").leaf()
    (tmp_path / "a.sh.p7s").write_bytes(p7s(stranger, path.read_bytes()))
    assert judged(path).verdict.outcome is not TRUSTED


def test_what_is_judged_is_the_copy_whatever_becomes_of_the_path(tmp_path: Path) -> None:
    path = script(tmp_path)
    with sealed_copy(str(path), 1 << 20) as copy:
        path.unlink()
        path.mkdir()
        assert gate.judge(copy, TRUST, Request(clock=NOW, purpose=Purpose.RUN), []).verdict.outcome is TRUSTED
        assert Path(copy.name).read_text() == "#!/bin/sh\necho hi\n"


def test_the_copy_cannot_be_changed_by_its_owner() -> None:
    with SealedCopy("a.sh", b"echo hi\n") as copy:
        for change in (lambda: os.pwrite(copy.descriptor, b"X", 0), lambda: os.ftruncate(copy.descriptor, 0)):
            with pytest.raises(OSError):
                change()
        with pytest.raises(PermissionError):
            Path(copy.name).write_bytes(b"X")
        assert os.pread(copy.descriptor, 99, 0) == b"echo hi\n"


@pytest.mark.parametrize("mode", ["audit", "warn"])
def test_no_mode_lets_an_altered_script_run(tmp_path: Path, mode: str) -> None:
    rule = RULE | {"mode": mode, "owner": "eva", "reason": "a trial", "review": NOW + DAY}
    trust = believed(PKI, interpreter=[SH], rule=[rule])
    path = script(tmp_path)
    assert said(path, trust=trust) == []
    path.write_text("echo ho\n")
    assert said(path, trust=trust) == ["SW-FILE-CHANGED"]


def test_a002_a_shell_does_not_run_what_stands_in_a_comment_of_signed_xml(tmp_path: Path) -> None:
    """The document is still what was signed, and its name says what reads it."""
    document, signer = tmp_path / "plain.xml", PKI.leaf(construction=Construction.XMLDSIG)
    document.write_bytes(TINY)
    data = b"<!--\necho run\n-->\n" + sign_inside(document, signer, tmp_path / "a.xml", "xmldsig").read_bytes()
    assert said(script(tmp_path, data.decode())) == ["SW-PART-UNSIGNED"], (
        "signed inside and beside: the first is judged"
    )
    (tmp_path / "a.sh.p7s").unlink()
    with sealed_copy(str(tmp_path / "a.sh"), 1 << 20) as copy:
        request = Request(clock=NOW, purpose=Purpose.RUN)
        assert Verifier(TRUST, request).verify_opened(copy.artifact).outcome is TRUSTED
        assert codes(gate.judge(copy, TRUST, request, []).verdict) == ["SW-PART-UNSIGNED"]
    assert judged(script(tmp_path, "#!/bin/sh\necho run\n")).verdict.outcome is TRUSTED


def test_a_powershell_text_may_run_signed_inside_beside_or_both(tmp_path: Path) -> None:
    trust = believed(PKI, interpreter=[{"kind": "powershell", "path": "/bin/cat", "arguments": ["{script}"]}])
    plain = script(tmp_path, "# sealwright-run: kind = powershell\r\n'hi'\r\n", "plain.ps1")
    assert judged(plain, trust=trust).verdict.outcome is TRUSTED
    inside = sign_inside(plain, RELEASE, tmp_path / "a.ps1", "powershell")
    assert judged(inside, trust=trust).verdict.outcome is TRUSTED
    both = script(tmp_path, inside.read_bytes().decode(), "a.ps1")
    assert judged(both, trust=trust).verdict.outcome is TRUSTED


def test_an_editor_s_line_ends_are_told_as_such(tmp_path: Path) -> None:
    path = script(tmp_path, "#!/bin/sh\necho ho\n")
    assert said(path) == []
    path.write_bytes(b"#!/bin/sh\r\necho ho\r\n")
    assert said(path) == ["SW-RUN-LINE-ENDS", "SW-FILE-CHANGED"]
    path.write_bytes(b"#!/bin/sh\r\necho hO\r\n")
    assert said(path) == ["SW-FILE-CHANGED"]


def test_the_trust_file_says_what_runs_it(tmp_path: Path) -> None:
    path = script(tmp_path, "#!/bin/bash\necho hi\n")
    assert said(path, trust=believed(PKI, interpreter=[SH, {"kind": "bash", "path": "/bin/bash"}])) == []
    assert said(path) == ["SW-RUN-INTERPRETER-MISSING"]
    assert said(script(tmp_path, "#!/usr/bin/perl\n")) == ["SW-RUN-INTERPRETER-OTHER"]
    assert said(script(tmp_path, "#!/bin/sh\necho \u202e\n")) == ["SW-RUN-TEXT"]


def test_a_text_that_was_renamed_is_no_script(tmp_path: Path) -> None:
    """A156: a signature beside a file covers no name, and every text of a release engineer is a shell script to a shell."""
    notes = "Fixed in 2.4:\nrm -rf old logs\n"
    assert said(script(tmp_path, notes, "notes.txt")) == ["SW-RUN-KIND"]
    path = script(tmp_path, notes, "notes.sh")
    assert said(path) == ["SW-RUN-KIND-UNSIGNED"]
    verdict = judged(path).verdict
    assert "Write `#!/bin/sh` as its first line" in verdict.findings[0].next_step


CAT: dict[str, Toml] = {"path": "/bin/cat", "arguments": ["{script}"]}
EVERY = believed(PKI, interpreter=[CAT | {"kind": kind} for kind in FIRST_LINES])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.sh", "echo hi\n"),
        ("a.bash", "echo hi\n"),
        ("a.py", "print()\n"),
        ("a.ps1", "Get-Date\n"),
        ("a.js", "console.log(1)\n"),
        ("site.yml", "- hosts: all\n"),
        ("q.sql", "select 1;\n"),
    ],
)
def test_the_line_that_the_refusal_names_lets_it_run(tmp_path: Path, name: str, text: str) -> None:
    path = script(tmp_path, text, name)
    assert said(path, trust=EVERY) == ["SW-RUN-KIND-UNSIGNED"]
    named = judged(path, trust=EVERY).verdict.findings[0].wanted
    assert said(script(tmp_path, f"{named}\n{text}", name), trust=EVERY) == []


def test_a_manifest_names_the_file_and_so_its_kind(tmp_path: Path) -> None:
    path = claimed(tmp_path, RELEASE, Claims(product="line 3"), "q.sql", b"select 1;\n")
    assert said(path, trust=EVERY) == []
    for ending in ("", ".manifest", ".manifest.p7s"):
        (tmp_path / f"q.sh{ending}").write_bytes((tmp_path / f"q.sql{ending}").read_bytes())
    assert said(tmp_path / "q.sh", trust=EVERY) == ["SW-MANIFEST-NAME"]


def test_a_manifest_that_does_not_count_names_nothing(tmp_path: Path) -> None:
    notes = b"Fixed in 2.4: rm -rf old logs\n"
    stranger = Pki.make("EVIL").leaf()
    for number, (signer, named) in enumerate(((stranger, notes), (RELEASE, b"an older script of that name\n"))):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        path = claimed(folder, signer, Claims(), "notes.sh", named)
        path.write_bytes(notes)
        (folder / "notes.sh.p7s").write_bytes(p7s(RELEASE, notes))
        assert said(path, trust=EVERY) == ["SW-RUN-KIND-UNSIGNED"]
    path = claimed(tmp_path, RELEASE, Claims(), "notes.sh", notes)
    assert said(path, trust=EVERY) == []


def test_a_declared_kind_holds_under_every_name(tmp_path: Path) -> None:
    text = "-- sealwright-run: kind = sql\nselect 1;\n"
    for name, found in (
        ("q.sql", []),
        ("q", []),
        ("q.sh", ["SW-RUN-KIND-UNSIGNED"]),
        ("q.yml", ["SW-RUN-KIND-UNSIGNED"]),
    ):
        assert said(script(tmp_path, text, name), trust=EVERY) == found, name
    playbook = "---\n# sealwright-run: kind = ansible\n- hosts: all\n"
    for name, found in (("p.yml", []), ("p.sh", ["SW-RUN-DECLARATION"]), ("p.py", ["SW-RUN-DECLARATION"])):
        assert said(script(tmp_path, playbook, name), trust=EVERY) == found, name


def test_a_powershell_signature_says_that_it_is_powershell(tmp_path: Path) -> None:
    plain = tmp_path / "plain.ps1"
    plain.write_bytes(b"Get-Date\r\n")
    path = sign_inside(plain, RELEASE, tmp_path / "a.ps1", "powershell")
    assert said(path, trust=EVERY) == []
    for name in ("a.sh", "a.py", "a.yml"):
        (tmp_path / name).write_bytes(path.read_bytes())
        assert said(tmp_path / name, trust=EVERY) == ["SW-SIGNATURE-MISSING"]


def test_arguments_go_to_scripts_alone(tmp_path: Path) -> None:
    path = script(tmp_path, "-- sealwright-run: kind = sql\nselect 1;\n", "q.sql")
    trust = believed(PKI, interpreter=[{"kind": "sql", "path": "/bin/cat", "arguments": ["--", "{script}"]}])
    assert said(path, trust=trust) == []
    assert said(path, trust=trust, arguments=["-c", "drop table x"]) == ["SW-RUN-ARGUMENTS"]


def test_an_interpreter_that_others_can_change_runs_nothing(tmp_path: Path) -> None:
    path = script(tmp_path)
    assert said(path) == []
    here = tmp_path / "sh"
    here.write_bytes(Path("/bin/true").read_bytes())
    here.chmod(0o777)
    (tmp_path / "link").symlink_to("/bin/sh")
    for program, digest in (
        (str(here), None),
        ("/bin/no-such-shell", None),
        ("/bin/sh", str(Digest.of(b"another"))),
        ("/etc/passwd", None),
    ):
        other: dict[str, Toml] = {"kind": "sh", "path": program} | ({"digest": digest} if digest else {})
        assert said(path, trust=believed(PKI, interpreter=[other])) == ["SW-RUN-INTERPRETER-UNSAFE"], program
    tmp_path.chmod(0o777)
    linked = believed(PKI, interpreter=[{"kind": "sh", "path": str(tmp_path / "link")}])
    assert said(path, trust=linked) == ["SW-RUN-INTERPRETER-UNSAFE"]
    tmp_path.chmod(stat.S_IRWXU)
    own = believed(PKI, interpreter=[SH | {"digest": str(Digest.of(Path("/bin/sh").read_bytes()))}])
    assert said(path, trust=own) == []


def declaring(folder: Path, *lines: str) -> Path:
    return script(folder, "#!/bin/sh\n" + "".join(f"# sealwright-run: {line}\n" for line in lines) + "echo hi\n")


def test_declared_hosts_accounts_and_windows_are_kept(tmp_path: Path) -> None:
    host = os.uname().nodename
    window = f"not-after = {NOW + DAY:%Y-%m-%dT%H:%M:%SZ}"
    assert said(declaring(tmp_path, f"hosts = other, {host.upper()}", "accounts = root", window)) == []
    assert said(declaring(tmp_path, "hosts = other")) == ["SW-RUN-HOST"]
    assert said(declaring(tmp_path, "accounts = nobody")) == ["SW-RUN-ACCOUNT"]
    assert said(declaring(tmp_path, f"not-after = {NOW:%Y-%m-%dT%H:%M:%SZ}")) == ["SW-RUN-WINDOW"]
    assert said(declaring(tmp_path, "window = always")) == ["SW-RUN-DECLARATION"]


def test_starts_are_counted_where_a_number_is_declared(tmp_path: Path) -> None:
    path, state = declaring(tmp_path, "runs = 2"), new_state(tmp_path)
    assert said(path) == ["SW-RUN-COUNT"]  # without a folder nobody counts
    for _ in range(2):
        found = judged(path, state=state)
        assert codes(found.verdict) == []
        with sealed_copy(str(path), 1 << 20) as copy:
            assert gate.counted(found, copy, state)
    assert said(path, state=state) == ["SW-RUN-COUNT"]
    with sealed_copy(str(path), 1 << 20) as copy:
        assert not gate.counted(found, copy, state)


def test_a_count_that_cannot_be_kept_starts_nothing(tmp_path: Path) -> None:
    digest = Digest.of(b"a")
    assert count(str(tmp_path), digest, 1, NOW)
    assert not count(str(tmp_path), digest, 1, NOW)
    assert started(str(tmp_path), digest) == 1
    (tmp_path / "runs" / digest.value.hex()).write_bytes(b"2026-11-0")  # cut off by a full disk
    assert count(str(tmp_path), digest, 2, NOW)
    assert started(str(tmp_path), digest) == 2
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputRefused, match="cannot be counted"):
        count(str(tmp_path / "file"), digest, 1, NOW)
    (tmp_path / "runs" / digest.value.hex()).unlink()
    (tmp_path / "runs" / digest.value.hex()).symlink_to("/dev/null")
    with pytest.raises(OutputRefused, match="cannot be counted"):
        count(str(tmp_path), digest, 1, NOW)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"path": "sh"}, "`path` must be an absolute path"),
        ({"path": "/bin/../bin/sh"}, "`path` must be an absolute path"),
        ({"folder": "tmp"}, "`folder` must be an absolute path"),
        ({"kind": "perl"}, "`kind` must be one of"),
        ({"kind": "sql"}, "`arguments` must be given"),
        ({"arguments": ["{file}"]}, "without braces"),
        ({"arguments": ["-c{script}"]}, "without braces"),
        ({"arguments": ["{arguments}", "{script}"]}, "last one"),
        ({"arguments": ["-s", "{arguments}"]}, "in front of"),
        ({"environment": ["LD_PRELOAD"]}, "LD_PRELOAD could"),
        ({"environment": ["PYTHONPATH"]}, "PYTHONPATH could"),
        ({"environment": ["BASH_ENV"]}, "BASH_ENV could"),
        ({"environment": ["ENV"]}, "ENV could"),
        ({"environment": ["PATH"]}, "PATH could"),
        ({"environment": ["NODE_OPTIONS"]}, "NODE_OPTIONS could"),
        ({"environment": ["OPENSSL_CONF"]}, "OPENSSL_CONF could"),
        ({"environment": ["XDG_DATA_HOME"]}, "XDG_DATA_HOME could"),
        ({"environment": ["lower"]}, "lower could"),
        ({"shell": "yes"}, "unknown key `shell`"),
    ],
)
def test_interpreters_that_could_run_something_else_are_refused(change: dict[str, Toml], why: str) -> None:
    good = SH | {"environment": ["TZ", "LC_ALL"], "folder": "/srv"}
    assert parse_trust(trust_bytes(trust_parts(PKI, interpreter=[good])), "t").interpreters[0].folder == "/srv"
    with pytest.raises(MalformedTrust, match=why):
        parse_trust(trust_bytes(trust_parts(PKI, interpreter=[good | change])), "t")
    with pytest.raises(SealwrightError, match="used twice"):
        parse_trust(trust_bytes(trust_parts(PKI, interpreter=[good, SH])), "t")


def test_a_signature_that_is_written_anew_starts_no_new_count(tmp_path: Path) -> None:
    """A005: the same signed text in other bytes. The signature block of a PowerShell script is covered by nothing."""
    plain, state = tmp_path / "plain.ps1", new_state(tmp_path)
    plain.write_bytes(b"\xef\xbb\xbf# sealwright-run: runs = 1\r\nGet-Date\r\n")
    path = sign_inside(plain, RELEASE, tmp_path / "a.ps1", "powershell")
    trust = believed(PKI, interpreter=[{"kind": "powershell", "path": "/bin/cat", "arguments": ["{script}"]}])
    found = judged(path, trust=trust, state=state)
    assert codes(found.verdict) == []
    with sealed_copy(str(path), 1 << 20) as copy:
        assert gate.counted(found, copy, state)
    assert said(path, trust=trust, state=state) == ["SW-RUN-COUNT"]
    text = path.read_bytes().decode()
    again = tmp_path / "again.ps1"
    again.write_bytes(text.encode("utf-16-le"))  # the mark is in the text
    assert again.read_bytes() != path.read_bytes()
    assert said(again, trust=trust) == [
        "SW-RUN-COUNT"
    ]  # trusted, as PowerShell does, and counted by nobody without a folder
    assert said(again, trust=trust, state=state) == ["SW-RUN-COUNT"]
    assert f"it was started {1} times" in str(judged(again, trust=trust, state=state).verdict.findings[0].sentence)


def test_what_is_read_from_standard_input_is_utf_8(tmp_path: Path) -> None:
    plain = tmp_path / "plain.ps1"
    plain.write_bytes(b"\xef\xbb\xbfGet-Date\r\n")
    path = sign_inside(plain, RELEASE, tmp_path / "a.ps1", "powershell")
    trust = believed(PKI, interpreter=[{"kind": "powershell", "path": "/bin/cat"}])
    assert said(path, trust=trust) == []
    path.write_bytes(path.read_bytes().decode().encode("utf-16-le"))
    assert said(path, trust=trust) == ["SW-RUN-TEXT"]


def test_an_account_without_an_entry_has_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = declaring(tmp_path, "accounts = root")
    assert said(path) == []
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    assert said(path) == ["SW-RUN-ACCOUNT"]
    plain = judged(script(tmp_path)).interpreter
    assert plain is not None
    assert gate.environment(plain) | {"PATH": ""} == {
        "PATH": "", "HOME": "/", "USER": "#4000000", "LOGNAME": "#4000000", "LANG": "C.UTF-8"
    }  # fmt: skip


def test_the_program_that_was_judged_is_the_one_that_runs(tmp_path: Path) -> None:
    """A150: a link on the way, in a folder of somebody else, may lead elsewhere a moment later."""
    (tmp_path / "step").symlink_to("/bin")
    outer = Path("/opt") / f"sealwright-{os.getpid()}"
    outer.symlink_to(tmp_path / "step")
    try:
        trust = believed(PKI, interpreter=[{"kind": "sh", "path": f"{outer}/sh"}])
        found = judged(script(tmp_path), trust=trust)
        assert found.interpreter is not None
        assert found.program == os.path.realpath("/bin/sh")
    finally:
        outer.unlink()
