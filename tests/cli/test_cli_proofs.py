"""`renew-proofs` as an archive's keeper and cron meet it: what it says, what it writes, how it exits."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from kit.openssl import run as openssl
from kit.pki import DAY, NOW, Pki
from kit.trust import signed_file, trust_parts, write_trust
from sealwright.artifact.digest import HashName
from sealwright.cli import renewproofs
from sealwright.cli.main import main
from sealwright.log.journal import EntryType, read_journal
from sealwright.pki.timestamp import ANSWER_TYPE, LocalAuthority
from sealwright.signing.proofs import Action, Renewed

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home, and a folder with a signed file, a signed tree and a file that nobody signed; made once."""
    folder = tmp_path_factory.mktemp("made")
    assert main(["init", str(folder / "home"), "--organisation", "ACME"]) == 0
    releases = folder / "releases"
    (releases / "project").mkdir(parents=True)
    (releases / "drive.bin").write_bytes(b"firmware" * 100)
    (releases / "notes.txt").write_bytes(b"unsigned")
    (releases / "project" / "a.txt").write_bytes(b"a")
    for name in ("drive.bin", "project"):
        assert main(["sign", str(releases / name), "--home", str(folder / "home")]) == 0
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """A copy of this test's own."""
    shutil.copytree(made, tmp_path / "place")
    return tmp_path / "place"


def test_status_says_what_ages_when_and_its_exit_code_is_for_cron(run: Run, place: Path) -> None:
    code, out, _ = run("renew-proofs", place / "releases", "--status", "--home", place / "home")
    assert code == 0
    assert out.count("lasts until") == 2
    assert "notes.txt" not in out
    code, out, _ = run("renew-proofs", place / "releases", "--status", "--home", place / "home", "--within", "20y")
    assert code == 1
    assert out.count("DUE by") == 2
    assert "first record" in out
    assert not list(place.rglob("*.ers"))


def test_what_is_due_is_renewed_and_then_is_due_no_more(run: Run, place: Path) -> None:
    folder, home = place / "releases", place / "home"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    code, out, _ = run("renew-proofs", folder, "--home", home)
    assert (code, list(place.rglob("*.ers"))) == (0, [])
    code, out, _ = run("renew-proofs", folder, "--home", home, "--all")
    assert code == 0, out
    assert {path.name for path in folder.rglob("*.ers")} == {"drive.bin.ers", "project.manifest.ers"}
    assert "verified before" in out
    assert before == {path: path.read_bytes() for path in before}
    code, out, _ = run("verify", folder / "drive.bin", folder / "project", "--trust", home / "trust.toml", "--details")
    assert code == 0
    assert out.count("The evidence record") == 2
    code, out, _ = run("renew-proofs", folder, "--home", home, "--all", "--digest", "sha512", "--json")
    answers = [json.loads(line) for line in out.splitlines()]
    assert {one["action"] for one in answers} == {"hash-tree renewal"}
    assert {one["links"] for one in answers} == {2}
    code, out, _ = run("verify", folder, "--recursive", "--trust", home / "trust.toml")
    assert "drive.bin.ers" not in out


def test_inspect_shows_each_link_and_where_its_timestamp_lies(run: Run, place: Path, tmp_path: Path) -> None:
    folder, home = place / "releases", place / "home"
    for digest in ("sha256", "sha512"):
        run("renew-proofs", folder / "drive.bin", "--home", home, "--all", "--digest", digest)
    code, out, _ = run("inspect", folder / "drive.bin.ers")
    assert code == 0
    assert "evidence record (RFC 4998)" in out
    assert out.count("archive timestamp 1 of chain") == 2
    code, out, _ = run("inspect", folder / "drive.bin.ers", "--json")
    part = json.loads(out)["parts"][1]
    facts = {fact["name"]: fact["value"] for fact in part["facts"]}
    words = facts["content"].split()
    size, at = int(words[4]), int(words[-1])
    token = tmp_path / "token.der"
    token.write_bytes((folder / "drive.bin.ers").read_bytes()[at : at + size])
    imprint = next(fact["value"] for fact in part["parts"][0]["facts"] if fact["name"] == "over").rpartition(":")[2]
    anchors = next(home.rglob("*root*.pem"))
    command = ["openssl", "ts", "-verify", "-token_in", "-in", token, "-CAfile", anchors, "-digest"]
    ok, said = openssl([*command, imprint])
    assert ok, said
    code, out, _ = run("inspect", folder / "drive.bin")
    assert "drive.bin.ers" in out


USAGE = [
    (("drive.bin",), "nothing says which authorities count"),
    (("drive.bin", "--trust", "trust.toml"), "nothing says who makes the timestamp"),
    (("nothing.bin", "--home", "home"), "there is nothing of that name"),
    (("drive.bin", "--home", "home", "--within", "soon"), "no time ahead"),
    (("drive.bin", "--home", "home", "--within", "9999y"), "no time ahead"),
    (("drive.bin", "--home", "home", "--all", "--within", "1y"), "not allowed with"),
    (("drive.bin", "--home", "home", "--digest", "sha1"), "invalid choice"),
]


@pytest.mark.parametrize(("arguments", "why"), USAGE)
def test_what_cannot_be_meant_is_refused(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], why: str
) -> None:
    monkeypatch.chdir(place)
    shutil.copy(place / "releases" / "drive.bin", place / "drive.bin")
    code, _, err = run("renew-proofs", *arguments)
    assert code == 2
    assert why in err


def test_one_file_that_is_not_trusted_holds_up_no_other(run: Run, place: Path) -> None:
    folder, home = place / "releases", place / "home"
    (folder / "drive.bin").write_bytes(b"altered")
    code, out, _ = run("renew-proofs", folder, "--home", home, "--all")
    assert code == 1
    assert "NOT RENEWED" in out
    assert [path.name for path in folder.rglob("*.ers")] == ["project.manifest.ers"]


def test_a_record_that_is_a_link_or_garbage_is_left_alone(run: Run, place: Path) -> None:
    folder, home = place / "releases", place / "home"
    (folder / "drive.bin.ers").symlink_to("elsewhere.ers")
    (folder / "project.manifest.ers").write_bytes(b"garbage")
    code, out, err = run("renew-proofs", folder, "--home", home, "--all")
    assert code == 1
    assert "project: NOT RENEWED" in out + err
    assert "drive.bin: NOT RENEWED" in out + err
    assert (folder / "drive.bin.ers").is_symlink()
    assert (folder / "project.manifest.ers").read_bytes() == b"garbage"
    assert not (folder / "elsewhere.ers").exists()


def test_the_manifest_of_a_file_is_named_by_the_file(run: Run, place: Path) -> None:
    folder, home = place / "releases", place / "home"
    run("sign", folder / "notes.txt", "--home", home, "--product", "notes")
    (folder / "notes.txt.manifest.ers").write_bytes(b"0")
    code, out, _ = run("verify", folder / "notes.txt.manifest", "--trust", home / "trust.toml")
    assert code == 0, out
    code, out, _ = run("renew-proofs", folder / "notes.txt.manifest", "--home", home, "--all")
    assert code == 1
    assert "name that one" in out


@pytest.fixture
def answering() -> Iterator[Callable[[Callable[[bytes], bytes]], str]]:
    """Start an authority on this machine; its URL."""
    servers = []

    def start(answer: Callable[[bytes], bytes]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                data = answer(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Type", ANSWER_TYPE)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                return

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_an_authority_on_the_network_is_asked_once_and_checked(
    run: Run, tmp_path: Path, answering: Callable[[Callable[[bytes], bytes]], str]
) -> None:
    now = datetime.now(UTC)
    pki, asked = Pki.make(at=now - 30 * DAY), []
    trust = write_trust(tmp_path, trust_parts(pki, issued=now - DAY, expires=now + 99 * DAY, stage="trial"))
    paths = [
        signed_file(tmp_path, pki.leaf("release", at=now - DAY), b"%d" % number, f"part-{number}.bin", at=now)
        for number in range(3)
    ]
    tsa, stranger = pki.tsa(at=now - DAY), Pki.make("other", at=now - DAY).tsa(at=now - DAY)

    def by(who):  # type: ignore[no-untyped-def]
        authority = LocalAuthority(who.certificate, who.chain, who.key, lambda: datetime.now(UTC))
        return lambda request: (asked.append(request), authority.respond(request))[1]

    refused = answering(lambda request: b"0\x00")
    wanted = ("renew-proofs", *paths, "--trust", trust, "--all", "--timestamp")
    assert run(*wanted, refused)[0] == 1
    code, _, err = run(*wanted, answering(by(stranger)))
    assert code == 1
    assert err.count("would prove nothing") == 3
    assert not list(tmp_path.glob("*.ers"))
    asked.clear()
    code, out, _ = run(*wanted, answering(by(tsa)))
    assert code == 0, out
    assert len(asked) == 1
    assert len(list(tmp_path.glob("*.ers"))) == 3


def test_a_folder_that_cannot_be_written_is_named_and_the_others_are_renewed(run: Run, place: Path) -> None:
    if (
        os.geteuid() == 0
    ):  # root writes everywhere: a file where the record's temporary file would be is not possible either
        (place / "releases" / "drive.bin.ers").mkdir()
    else:
        (place / "releases" / "drive.bin").parent.chmod(0o500)
    other = place / "other"
    other.mkdir()
    for name in ("drive.bin", "drive.bin.p7s"):
        shutil.copy(place / "releases" / name, other / name)
    code, out, err = run("renew-proofs", place / "releases" / "drive.bin", other, "--home", place / "home", "--all")
    assert code == 1
    assert "NOT RENEWED" in out + err
    assert (other / "drive.bin.ers").is_file()


def test_no_record_is_written_into_a_signed_folder(run: Run, place: Path) -> None:
    """There it would be a file that the folder's manifest does not list, and the folder would be refused."""
    folder, home = place / "releases", place / "home"
    inner = folder / "project" / "a.txt"
    run("sign", inner, "--home", home, "--out", folder)
    shutil.copy(folder / "a.txt.p7s", inner.parent / "a.txt.p7s")
    run("sign", folder / "project", "--home", home, "--replace")
    code, out, _ = run("renew-proofs", inner, "--home", home, "--all")
    assert code == 1
    assert "a file too many" in out
    code, out, _ = run("renew-proofs", folder / "project", "--home", home, "--all")
    assert code == 0, out
    code, out, _ = run("verify", folder / "project", "--trust", home / "trust.toml")
    assert code == 0, out


def test_a_timestamp_of_the_home_for_a_record_is_recorded_as_every_one_is_and_needs_a_key_that_is_good(
    run: Run, place: Path
) -> None:
    folder, home = place / "releases", place / "home"
    before = sum(1 for _ in read_journal(str(home / "journal")))
    assert run("renew-proofs", folder, "--home", home, "--all")[0] == 0
    intent, result = list(read_journal(str(home / "journal")))[before:]
    assert (intent.type, result.type) == (EntryType.INTENT, EntryType.RESULT)
    assert intent.fields["kind"] == "timestamp"
    assert intent.fields["request"] == result.fields["request"]
    records = {path: path.read_bytes() for path in folder.rglob("*.ers")}
    assert run("cert", "revoke", "timestamp", "--home", home, "--reason", "superseded")[0] == 0
    code, out, err = run("renew-proofs", folder, "--home", home, "--all")
    assert code == 1
    assert "was revoked" in out + err
    assert records == {path: path.read_bytes() for path in folder.rglob("*.ers")}


def test_a_kept_list_that_is_not_fresh_is_said_in_text_and_json() -> None:
    plain = Renewed("drive.bin", "drive.bin.ers", Action.FIRST, NOW, HashName.SHA256, 1, NOW + DAY, tree=False)
    stale = replace(plain, stale=("CN=ACME CA",))
    assert "WARNING" not in renewproofs._text(plain)
    assert "WARNING: the revocation list of CN=ACME CA that it keeps is not fresh" in renewproofs._text(stale)
    refused = replace(plain, refused=("the revocation list CN=ACME CA was not used: nobody signed it",))
    assert "WARNING: the revocation list CN=ACME CA was not used: nobody signed it, and is not" in renewproofs._text(
        refused
    )
    assert json.loads(renewproofs._json(refused))["refused_lists"] == list(refused.refused)
    assert [json.loads(renewproofs._json(one))["stale_lists"] for one in (plain, stale)] == [[], ["CN=ACME CA"]]
