"""The commands as a person or a script meets them: what they print, what they write, how they exit."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sealwright.cli.main import COMMANDS, main
from sealwright.signing.issued import read_register

PROGRAM = (sys.executable, "-m", "sealwright")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def made_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A development home, made once for this module; tests take a copy."""
    home = tmp_path_factory.mktemp("made") / "home"
    assert main(["init", str(home), "--organisation", "ACME"]) == 0
    return home


@pytest.fixture
def home(made_home: Path, tmp_path: Path) -> Path:
    """A home of this test's own."""
    shutil.copytree(made_home, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """A file to sign."""
    path = tmp_path / "drive.bin"
    path.write_bytes(b"firmware of a drive" * 1000)
    return path


def altered(path: Path) -> None:
    """Change one byte."""
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)


def openssl_accepts(path: Path, home: Path) -> bool:
    """What `openssl cms -verify` says of a bare signature, with the documented command."""
    command = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", f"{path}.p7s", "-content", str(path),
               "-CAfile", str(home / "ca.pem"), "-purpose", "any", "-out", os.devnull]  # fmt: skip
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_signed_file_may_be_installed_and_an_altered_one_not_and_openssl_agrees(
    run: Run, home: Path, drive: Path
) -> None:
    code, out, _ = run("sign", drive, "--home", home)
    assert code == 0
    assert f"{drive} -> {drive}.p7s" in out
    code, out, _ = run("verify", drive, "--trust", home / "trust.toml")
    assert (code, out.splitlines()[0]) == (0, "INSTALL: allowed")
    assert "Date proved" in out
    assert openssl_accepts(drive, home)
    altered(drive)
    code, out, _ = run("verify", drive, "--trust", home / "trust.toml")
    assert (code, out.splitlines()[0]) == (1, "DO NOT INSTALL: the file was changed")
    assert not openssl_accepts(drive, home)


def test_an_unsigned_file_is_refused_and_says_so(run: Run, home: Path, drive: Path) -> None:
    code, out, _ = run("verify", drive, "--trust", home / "trust.toml")
    assert (code, out.splitlines()[0]) == (1, "DO NOT INSTALL: the file is not signed")


def test_a_folder_is_verified_by_its_manifest_and_each_difference_is_named(
    run: Run, home: Path, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    (project / "blocks").mkdir(parents=True)
    for name in ("main.st", "blocks/motor.st", "blocks/valve.st"):
        (project / name).write_text(f"PROGRAM {name}\n")
    claims = ("--product", "line 3", "--version", "2.4", "--generation", "7")
    assert run("sign", project, "--home", home, *claims)[0] == 0
    checked = subprocess.run(["sha256sum", "-c", "--quiet", "../project.manifest"], cwd=project, check=False)
    assert checked.returncode == 0
    code, out, _ = run("verify", project, "--trust", home / "trust.toml")
    assert (code, out.splitlines()[0]) == (0, "INSTALL: allowed")
    assert "product line 3, version 2.4, generation 7" in out
    (project / "blocks/motor.st").write_text("PROGRAM other\n")
    (project / "blocks/valve.st").unlink()
    (project / "new.st").write_text("PROGRAM new\n")
    code, out, _ = run("verify", project, "--trust", home / "trust.toml")
    assert code == 1
    assert out.startswith("DO NOT INSTALL: ")
    assert all(name in out for name in ("blocks/motor.st", "blocks/valve.st", "new.st"))


def test_several_paths_get_a_block_each_and_one_summary_and_the_worst_exit_code(
    run: Run, home: Path, drive: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.bin"
    other.write_bytes(b"other")
    assert run("sign", drive, other, "--home", home)[0] == 0
    code, out, _ = run("verify", drive, other, "--trust", home / "trust.toml")
    assert code == 0
    assert out.count("INSTALL: allowed") == 2
    assert out.splitlines()[-1] == "2 paths: 2 allowed."
    altered_copy = other.read_bytes() + b"!"
    other.write_bytes(altered_copy)
    code, out, _ = run("verify", drive, other, "--trust", home / "trust.toml")
    assert code == 1
    assert out.splitlines()[-1] == "2 paths: 1 allowed, 1 refused."


def test_json_is_one_object_a_path(run: Run, home: Path, drive: Path, tmp_path: Path) -> None:
    unsigned = tmp_path / "unsigned.bin"
    unsigned.write_bytes(b"x")
    _, out, _ = run("sign", drive, "--home", home, "--json")
    signed = json.loads(out)
    assert (signed["outcome"], signed["outputs"]) == ("signed", [f"{drive}.p7s"])
    code, out, _ = run("verify", drive, unsigned, "--trust", home / "trust.toml", "--json")
    first, second = (json.loads(line) for line in out.splitlines())
    assert code == 1
    assert (first["path"], first["outcome"], first["exit_code"]) == (str(drive), "trusted", 0)
    assert (second["path"], second["outcome"], second["exit_code"]) == (str(unsigned), "rejected", 1)
    assert second["findings"][0]["code"] == "SW-SIGNATURE-MISSING"


def test_quiet_prints_only_what_is_not_allowed(run: Run, home: Path, drive: Path) -> None:
    run("sign", drive, "--home", home)
    assert run("verify", drive, "--trust", home / "trust.toml", "--quiet") == (0, "", "")
    altered(drive)
    code, out, _ = run("verify", drive, "--trust", home / "trust.toml", "--quiet")
    assert (code, out) == (1, f"{drive}: DO NOT INSTALL: the file was changed\n")


def test_recursive_checks_each_file_by_its_own_signature(run: Run, home: Path, tmp_path: Path) -> None:
    delivery = tmp_path / "delivery"
    delivery.mkdir()
    for name in "abc":
        (delivery / name).write_text(name)
    assert run("sign", delivery, "--home", home, "--recursive")[0] == 0
    code, out, _ = run("verify", delivery, "--recursive", "--trust", home / "trust.toml")
    assert (code, out.splitlines()[-1]) == (0, "3 paths: 3 allowed.")
    (delivery / "d").write_text("d")
    code, out, _ = run("verify", delivery, "--recursive", "--trust", home / "trust.toml")
    assert (code, out.splitlines()[-1]) == (1, "4 paths: 3 allowed, 1 refused.")


def test_a_named_signature_is_used_and_a_copy_elsewhere_written_with_out(
    run: Run, home: Path, drive: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    assert run("sign", drive, "--home", home, "--out", tmp_path / "out")[0] == 0
    signature = tmp_path / "out/drive.bin.p7s"
    assert run("verify", drive, "--trust", home / "trust.toml")[0] == 1
    assert run("verify", drive, "--signature", signature, "--trust", home / "trust.toml")[0] == 0
    assert run("verify", drive, "--signature", tmp_path / "none.p7s", "--trust", home / "trust.toml")[0] == 2


def test_signing_again_wants_replace_and_leaves_the_first_signature(run: Run, home: Path, drive: Path) -> None:
    assert run("sign", drive, "--home", home)[0] == 0
    first = Path(f"{drive}.p7s").read_bytes()
    code, _, err = run("sign", drive, "--home", home)
    assert code == 1
    assert "--replace" in err
    assert Path(f"{drive}.p7s").read_bytes() == first
    assert run("sign", drive, "--home", home, "--replace")[0] == 0
    assert run("verify", drive, "--trust", home / "trust.toml")[0] == 0


def test_one_path_that_cannot_be_signed_does_not_keep_the_others(run: Run, home: Path, drive: Path) -> None:
    missing = drive.parent / "missing.bin"
    code, out, err = run("sign", missing, drive, "--home", home)
    assert code == 1
    assert f"not signed {missing}" in err
    assert f"signed {drive}" in out
    assert run("verify", drive, "--trust", home / "trust.toml")[0] == 0


def test_at_judges_hypothetically_and_says_so(run: Run, home: Path, drive: Path) -> None:
    run("sign", drive, "--home", home, "--timestamp", "none")
    code, out, _ = run("verify", drive, "--trust", home / "trust.toml")
    assert code == 0
    code, out, _ = run("verify", drive, "--trust", home / "trust.toml", "--at", "2056-01-01T00:00:00Z")
    assert code in (1, 3)
    assert "hypothetical" in out.splitlines()[0]
    code, out, _ = run("verify", drive, "--trust", home / "trust.toml", "--at", "2056-01-01T00:00:00Z", "--json")
    assert json.loads(out)["hypothetical"] is True


def test_a_trust_file_that_others_can_write_needs_its_fingerprint(run: Run, home: Path, drive: Path) -> None:
    run("sign", drive, "--home", home)
    assert run("verify", drive, "--trust", home / "trust.toml")[0] == 0
    home.chmod(0o777)
    code, out, _ = run("verify", drive, "--trust", home / "trust.toml")
    assert (code, out.splitlines()[0]) == (1, "DO NOT INSTALL: the trust file is not believed here")
    assert "--trust-fingerprint" in out
    code, out, _ = run("verify", drive, "--trust", home / "trust.toml", "--json")
    value = json.loads(out)
    assert (code, value["path"], value["outcome"]) == (1, str(drive), "rejected")
    assert value["findings"][0]["code"] == "SW-TRUST-NOT-BELIEVED"
    _, card, _ = run("trust", "show", home / "trust.toml", "--card")
    words = " ".join(line.strip() for line in card.split("in words:\n")[1].splitlines())
    assert run("verify", drive, "--trust", home / "trust.toml", "--trust-fingerprint", words)[0] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["verify"],
        ["verify", "x"],
        ["verify", "x", "--trust", "t", "--purpose", "play"],
        ["verify", "x", "--trust", "t", "--at", "yesterday"],
        ["verify", "x", "--trust", "t", "--at", "2026-01-01T00:00:00"],
        ["verify", "x", "y", "--trust", "t", "--signature", "s"],
        ["verify", "x", "--trus", "t"],
        ["sign", "x"],
        ["sign", "x", "--home", "h", "--generation", "seven"],
        ["unknown"],
        ["key"],
        ["trust", "show"],
        ["completion", "fish"],
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(run: Run, arguments: list[str]) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err
    assert "Traceback" not in err


@pytest.mark.parametrize("evil", ["no\x1b[2Jhome", "no\nhome", "no\u202ehome"])
def test_a049_hostile_arguments_are_shown_escaped(run: Run, evil: str) -> None:
    code, _, err = run("sign", "x", "--home", evil)
    assert code == 2
    assert all(c == "\n" or c.isprintable() for c in err)
    assert len(err.splitlines()) == 1
    code, _, err = run("verify", "x", f"--{evil}", "--trust", "t")
    assert code == 2
    assert all(c == "\n" or c.isprintable() for c in err)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_each_command_explains_itself_with_examples(run: Run, command: str) -> None:
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"sealwright {command}" in out.split("examples:")[1]


@pytest.mark.parametrize("words", ["key enrol", "trust sign", "layout check", "secure-boot list", "secure-boot sign"])
def test_each_action_shows_its_own_examples(run: Run, words: str) -> None:
    code, out, _ = run(*words.split(), "--help")
    assert code == 0
    examples = re.split("formats|exit codes", out.split("examples:")[1])[0].strip().splitlines()
    assert all(line.strip().startswith(f"sealwright {words} ") for line in examples)


def test_version_of_the_program_and_of_the_artifact_are_two_things(run: Run, home: Path, drive: Path) -> None:
    code, out, _ = run("--version")
    assert code == 0
    assert out.startswith("sealwright ")
    assert run("sign", drive, "--home", home, "--product", "p", "--version", "1.0", "--generation", "1")[0] == 0
    assert "version 1.0" in run("verify", drive, "--trust", home / "trust.toml")[1]


def test_inspect_shows_and_does_not_judge(run: Run, home: Path, drive: Path) -> None:
    run("sign", drive, "--home", home, "--product", "p", "--version", "1", "--generation", "3")
    manifest = f"{drive}.manifest"
    code, out, _ = run("inspect", f"{manifest}.p7s", manifest, home / "trust.toml", home / "ca.pem", drive)
    assert code == 0
    assert "Only shown, not judged" in out
    for expected in ("CMS signature", "timestamp (RFC 3161)", "manifest", "trust file", "DEVELOPMENT ONLY", "file"):
        assert expected in out
    code, out, _ = run("inspect", manifest, "--json")
    value = json.loads(out)
    assert (value["judged"], value["kind"]) == (False, "manifest")
    assert {"name": "generation", "value": "3"} in value["facts"]


def test_inspect_never_shows_a_private_key(run: Run, home: Path) -> None:
    path = home / "keys/release.pem"
    code, out, _ = run("inspect", path)
    assert code == 0
    assert "private key" in out
    assert not any(line in out for line in path.read_text().splitlines())


def test_inspect_of_garbage_is_an_error_and_the_next_path_is_still_shown(run: Run, tmp_path: Path, home: Path) -> None:
    bad = tmp_path / "bad.manifest"
    bad.write_bytes(b"# sealwright manifest 1 sha256\nnonsense\n")
    code, out, err = run("inspect", bad, home / "ca.pem")
    assert code == 1
    assert "bad.manifest" in err
    assert "certificate" in out


@pytest.mark.parametrize("content", [b"0123456789 begins like DER", b"\x30\x82\x00\x04abcd", b"# some text", b""])
def test_inspect_of_any_other_file_shows_its_size_and_digest(run: Run, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.bin"
    path.write_bytes(content)
    code, out, _ = run("inspect", path)
    assert code == 0
    assert f"{len(content)} bytes" in out
    assert "sha256:" in out


def test_trust_check_says_whether_a_verifier_would_use_it(run: Run, home: Path) -> None:
    trust = home / "trust.toml"
    code, out, _ = run("trust", "check", trust)
    assert (code, out.splitlines()[0]) == (0, f"{trust}: can be used")
    trust.write_bytes(trust.read_bytes().replace(b"signing home", b"signing hole", 1))
    code, out, _ = run("trust", "check", trust)
    assert (code, out.splitlines()[0]) == (1, f"{trust}: DO NOT USE")
    assert "signed by nobody" in out
    assert run("trust", "sign", trust, "--home", home, "--person", "officer")[0] == 0
    code, out, _ = run("trust", "check", trust, "--json")
    assert (code, json.loads(out)["usable"]) == (0, True)


def test_a_first_trust_file_is_installed_by_its_fingerprint_only(run: Run, home: Path, tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    digest = run("trust", "show", home / "trust.toml", "--json")[1]
    fingerprint = json.loads(digest)["digest"]
    wrong = "sha256:" + "00" * 32
    code, _, err = run("trust", "install", home / "trust.toml", "--to", installed)
    assert code == 2
    assert "fingerprint" in err
    assert fingerprint.removeprefix("sha256:") not in err
    code, _, _ = run("trust", "install", home / "trust.toml", "--to", installed, "--trust-fingerprint", wrong)
    assert code == 1
    assert not (installed / "trust.toml").exists()
    code, out, _ = run("trust", "install", home / "trust.toml", "--to", installed, "--trust-fingerprint", fingerprint)
    assert code == 0
    assert "installed version 1" in out
    assert (installed / "trust.toml").read_bytes() == (home / "trust.toml").read_bytes()


def test_keys_are_listed_shown_and_requested(run: Run, home: Path, tmp_path: Path) -> None:
    code, out, _ = run("key", "list", "--home", home)
    assert code == 0
    assert "release: artifact, ECDSA with SHA-256, development, file:keys/release.pem" in out
    assert "key sha256:" in run("key", "show", "release", "--home", home)[1]
    code, out, _ = run("key", "create", f"file:{tmp_path / 'new.pem'}", "--algorithm", "p384", "--json")
    assert (code, json.loads(out)["provenance"]) == (0, "development")
    assert (tmp_path / "new.pem").stat().st_mode & 0o777 == 0o600
    code, out, _ = run("key", "csr", f"file:{tmp_path / 'new.pem'}", "--subject", "CN=Release 2026,O=ACME")
    checked = subprocess.run(["openssl", "req", "-verify", "-noout", "-subject"], input=out.encode(),
                             capture_output=True, check=True)  # fmt: skip
    assert b"Release 2026" in checked.stdout


def test_a_key_certified_by_another_pki_is_enrolled_and_signs(run: Run, home: Path, tmp_path: Path) -> None:
    key, request, certificate = (tmp_path / name for name in ("own.pem", "own.csr", "own-cert.pem"))
    run("key", "create", f"file:{key}")
    request.write_text(run("key", "csr", f"file:{key}", "--subject", "CN=Own PKI release")[1])
    root, root_key = tmp_path / "root.pem", tmp_path / "root.key"
    openssl = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
               "/CN=own root", "-days", "30", "-keyout", str(root_key), "-out", str(root)]  # fmt: skip
    subprocess.run(openssl, check=True, capture_output=True)
    extensions = tmp_path / "ext.cnf"
    extensions.write_text("keyUsage=critical,digitalSignature\nextendedKeyUsage=codeSigning\n")
    issue = ["openssl", "x509", "-req", "-in", str(request), "-CA", str(root), "-CAkey", str(root_key), "-days", "20",
             "-extfile", str(extensions), "-out", str(certificate)]  # fmt: skip
    subprocess.run(issue, check=True, capture_output=True)
    enrol = ("key", "import-certificate", certificate, "--home", home, "--name", "own", "--key")
    code, _, err = run(*enrol, f"file:{home / 'keys/release.pem'}")
    assert code == 1
    assert "not the one" in err
    assert run(*enrol, f"file:{key}")[0] == 0
    assert "own: artifact" in run("key", "list", "--home", home)[1]
    code, _, err = run(*enrol, f"file:{key}")
    assert code == 2
    drive = tmp_path / "drive.bin"
    drive.write_bytes(b"x")
    code, out, _ = run("sign", drive, "--home", home, "--key", "own")
    assert code == 0
    assert "CN=Own PKI release" in out
    verify = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", f"{drive}.p7s", "-content", str(drive),
              "-CAfile", str(root), "-purpose", "any", "-out", os.devnull]  # fmt: skip
    assert subprocess.run(verify, capture_output=True, check=False).returncode == 0
    assert run("verify", drive, "--trust", home / "trust.toml")[0] == 1


def test_doctor_names_each_thing_and_what_to_fix(run: Run, home: Path) -> None:
    code, out, _ = run("doctor", "--home", home)
    assert code == 0
    for name in ("cryptography", "openssl", "clock", "TPM", "journal", "key release", "trust file"):
        assert name in out
    (home / "keys/release.pem").chmod(0o644)
    code, out, _ = run("doctor", "--home", home)
    assert code == 1
    assert "chmod 600" in out
    code, out, _ = run("doctor", "--home", home, "--json")
    wrong = [json.loads(line) for line in out.splitlines() if json.loads(line)["standing"] == "wrong"]
    assert [check["check"] for check in wrong] == ["key release"]


def test_a_home_is_not_made_over_something(run: Run, home: Path) -> None:
    code, _, err = run("init", home)
    assert code == 2
    assert "something is there already" in err


def test_a_missing_home_says_how_to_make_one(run: Run, drive: Path, tmp_path: Path) -> None:
    code, _, err = run("sign", drive, "--home", tmp_path / "nowhere")
    assert code == 2
    assert "sealwright init" in err


def test_a_reader_that_goes_away_is_not_an_error_with_a_traceback(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(400):
        (folder / f"{number}.bin").write_bytes(b"x")
    command = [*PROGRAM, "verify", str(folder), "--recursive", "--trust", str(home / "trust.toml")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(100)
        process.stdout.close()
        said = process.stderr.read()
        process.wait(60)
    assert process.returncode not in (0, 2)
    assert b"Traceback" not in said


def test_a_full_output_is_an_error_and_never_allowed(home: Path, drive: Path) -> None:
    with open("/dev/full", "wb") as full:
        command = [*PROGRAM, "verify", str(drive), "--trust", str(home / "trust.toml")]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"No space left" in done.stderr


def test_the_environment_adds_no_trust_a108(run: Run, home: Path, drive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("sign", drive, "--home", home)
    monkeypatch.setenv("SSL_CERT_FILE", str(home / "ca.pem"))
    monkeypatch.setenv("SEALWRIGHT_TRUST", str(home / "trust.toml"))
    monkeypatch.chdir(home)
    assert run("verify", drive, "--trust", home / "trust.toml")[0] == 0
    assert run("verify", drive)[0] == 2


def test_an_output_that_exists_is_refused_and_replace_is_named_where_there_is_such_an_option(
    run: Run, home: Path, tmp_path: Path
) -> None:
    key, there, artifact = tmp_path / "line.key", tmp_path / "there.md", tmp_path / "drive.bin"
    artifact.write_bytes(b"firmware")
    assert run("key", "create", f"file:{key}", "--algorithm", "p256")[0] == 0
    (tmp_path / "line.csr").write_text(run("key", "csr", f"file:{key}", "--subject", "CN=line")[1])
    assert run("sign", artifact, "--home", home)[0] == 0
    issue = (
        "cert",
        "issue",
        tmp_path / "line.csr",
        "--home",
        home,
        "--profile",
        "code-signer",
        "--provenance",
        "development",
    )
    assert run(*issue, "--out", tmp_path / "line.pem")[0] == 0
    for words, option in (
        (("sign", artifact, "--home", home), True),
        (("key", "report", "--home", home, "--offline", "--out", there), True),
        (("ca", "csr", f"file:{key}", "--subject", "CN=a", "--out", there), False),
        (("cert", "renew", "line", "--home", home, "--out", there), False),
    ):
        there.write_text("mine")
        before = len(read_register(f"{home}/register").issued)
        code, _, err = run(*words)
        assert code == 1, words
        assert "it is already there" in err, words
        assert ("use --replace" in err) is option, words
        assert ("name another file" in err) is not option, words
        assert there.read_text() == "mine"
        assert len(read_register(f"{home}/register").issued) == before, "nothing is issued that could not be handed out"
        shown = run(*words[: 1 if words[0] == "sign" else 2], "--help")[1]
        assert ("--replace" in shown) is option


@pytest.mark.parametrize("words", ["trust status --to etc", "key list --home home --all", "verify a --trust b --what"])
def test_what_an_action_does_not_know_is_complained_of_by_that_action(run: Run, words: str) -> None:
    code, _, err = run(*words.split())
    action = " ".join(words.split()[: 1 if words.startswith("verify") else 2])
    assert (code, f"sealwright {action}: it does not know --" in err) == (2, True), err
