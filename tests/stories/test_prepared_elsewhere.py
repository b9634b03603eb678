"""Second prepares and uploads from elsewhere: by a security key, by the job of a second CI machine, by curl, and at two replicas over PostgreSQL."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from fido2.hid import CtapHidDevice

from kit.ciservice import CLAIMS, ISSUER, CiHouse, ci_house
from kit.doors import eventually, line
from kit.killable import Killable
from kit.openssl import cms_verify
from kit.people import AUDIENCE, SUBJECT
from kit.postgres import Postgres, postgres
from kit.securitykey import SoftKey
from kit.service import person_home, spki_of
from kit.signingservice import House
from kit.waiting import asked, command
from sealwright.cli.main import main
from sealwright.signing.home import KeyPurpose

POLICY = """
@id("everybody-asks") permit (principal, action in [Action::"request", Action::"read", Action::"approve", Action::"prepare"], resource);
@id("drives-are-built-twice") permit (principal, action == Action::"sign", resource)
when { resource.product == "drive" && context.second_prepare };
@id("doors-are-uploaded") permit (principal, action == Action::"sign", resource)
when { resource.product == "door" && context.uploaded };
"""
REBUILD = {**CLAIMS, "repository": "acme/rebuild"}
TOKENS = ("TOKEN", "TOKEN_2", "TOKEN_3")
BY_TOKENS = [word for name in TOKENS for word in ("--token-env", name)]
DRIVE, DOOR = ("--product", "drive"), ("--product", "door")


@dataclass
class Two:
    """Two replicas of one service and its CI system; second is the same house as the other one's clients see it."""

    ci: CiHouse
    second: House
    other: Killable
    server: Postgres
    url: str

    @property
    def first(self) -> House:
        return self.ci.service

    def tokens(self, **claims: object) -> dict[str, str]:
        """The environment of a job whose CI system has given it three tokens."""
        return {name: self.ci.token(**claims) for name in TOKENS}

    def entries(self, id_: str) -> list[str]:
        """The types of a request's entries in the log, and of an upload its item and result."""
        lines = self.server.sql(self.url, "select convert_from(entry, 'UTF8') from log_entries order by number")
        found = [one for text in lines.splitlines() if (one := json.loads(text)).get("request") == id_]
        return [f"{one['item']} {one['result']}" if one["type"] == "upload" else one["type"] for one in found]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    folder = tmp_path_factory.mktemp("elsewhere")
    with postgres() as server:
        url = server.database()

        def prepare(made: House) -> None:
            """On PostgreSQL, with a spool, and a second machine of CI that has a key of its own and that Jan answers for."""
            text = made.configuration.read_text().replace("sqlite:///service.db", url)
            made.configuration.write_text(text + '[upload]\nspool = "spool"\nlargest_mib = 8\n')
            key = spki_of(person_home(made.folder, "rebuild-home"), KeyPurpose.APPROVAL)
            listed = "\n".join(f'{name} = "{value}"' for name, value in REBUILD.items())
            with (made.folder / "people.toml").open("a") as people:
                people.write(
                    '[[machine]]\nid = "rebuild"\ntenant = "acme"\nroles = ["builder"]\nowner = "jan"\n'
                    f'prepare_keys = ["{key}"]\n[machine.oidc]\nissuer = "{ISSUER}"\naudience = "{AUDIENCE}"\n'
                    f'subject = "{SUBJECT}"\n[machine.oidc.claims]\n{listed}\n'
                )

        with ci_house(folder, POLICY, prepare=prepare) as ci:
            made = ci.service
            text = made.configuration.read_text().replace('head = "head"', 'head = "head-second"')
            (made.folder / "second.toml").write_text(text.replace('spool = "spool"', 'spool = "spool-second"'))
            other = Killable(made, made.folder / "second.toml")
            try:
                other.start()
                yield Two(ci, replace(made, address=other.address), other, server, url)
                other.stop()
            finally:
                other.end()


def copies(folder: Path, data: bytes) -> tuple[Path, Path]:
    """The requester's drive.bin, and somebody else's, which is another one yet."""
    for owner, its in (("asks", data), ("own", data + b" and something else")):
        (folder / owner).mkdir()
        (folder / owner / "drive.bin").write_bytes(its)
    return folder / "asks" / "drive.bin", folder / "own" / "drive.bin"


def put(at: House, who: str, id_: str, number: int, path: Path) -> tuple[int, Any]:
    """Upload the file of an item by curl, as docs/service.md says it."""
    certificate, key = at.identity(who)
    digest = base64.b64encode(hashlib.sha256(path.read_bytes()).digest()).decode()
    done = subprocess.run(
        ["curl", "-sS", "--cacert", at.folder / "servers.pem", "--cert", certificate, "--key", key, "-T", path,
         "-H", "content-type: application/octet-stream", "-H", f"content-digest: sha-256=:{digest}:",
         "-w", "\n%{http_code}", f"{at.address}/v1/requests/{id_}/files/{number}"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    body, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(body)


def test_a_security_key_confirms_what_its_owner_prepared_at_the_other_replica(
    two: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key = SoftKey()
    monkeypatch.setattr(CtapHidDevice, "list_devices", lambda: iter([key]))
    (tmp_path / "pin").write_text("1234\n")
    (tmp_path / "pin").chmod(0o600)
    pin, out, register = (
        ["--pin-file", str(tmp_path / "pin")],
        str(tmp_path / "k.toml"),
        two.first.folder / "people.toml",
    )
    url = two.second.address.replace("127.0.0.1", "localhost")  # a security key demands a name
    assert main(["people", "enrol-key", out, "--service", url, *pin]) == 0
    assert main(["people", "add", str(register), "approval-key", "eva", out]) == 0
    certificate, client_key = two.first.identity("eva")
    as_eva = ["--service", url, "--service-ca", str(two.first.folder / "servers.pem"),
              "--client", str(certificate), "--client-key", str(client_key)]  # fmt: skip
    theirs, own = copies(tmp_path, b"by a security key")

    def confirm(id_: str) -> tuple[int, str]:
        capsys.readouterr()
        code = main(["confirm", id_, str(own), "--fido2", *pin, *as_eva])
        return code, "".join(capsys.readouterr())

    with asked(two.first, theirs, *DRIVE) as wish:
        before = key.count
        assert confirm(wish.id)[0] == 1
        assert (key.count, two.entries(wish.id)) == (before, ["request"])
        own.write_bytes(theirs.read_bytes())
        code, said = confirm(wish.id)
        assert (code, "prepared as well by eva" in said) == (0, True)
        assert key.count > before
    assert two.entries(wish.id)[:3] == ["request", "prepare", "used"]
    manifest = Path(f"{theirs}.manifest")
    assert cms_verify(Path(f"{manifest}.p7s"), manifest, two.first.folder / "home" / "ca.pem")[0]

    with asked(two.first, theirs, *DRIVE, "--replace") as wish:
        key.count = 1  # a copy of the key that was taken before
        code, said = confirm(wish.id)
        assert (code, "SW-KEY-CLONED" in said) == (1, True)
        assert "prepare" not in two.entries(wish.id)
        command(two.second, "jan", "confirm", wish.id, own, "--home", two.first.persons["jan"].folder)


def test_a_job_of_a_second_ci_machine_confirms_what_the_first_one_built(two: Two, tmp_path: Path) -> None:
    theirs, own = copies(tmp_path, b"built twice")
    home = two.first.folder / "rebuild-home"
    job = ("ci", "sign", theirs, *DRIVE, "--audience", AUDIENCE)
    with asked(two.first, *job, **two.ci.github("confirmed")) as wish:

        def confirm(code: int, **claims: object) -> str:
            words = ("confirm", wish.id, own, "--home", home, *BY_TOKENS)
            return command(two.second, "-", *words, code=code, **two.tokens(**claims))

        assert "drive.bin" in confirm(1, **REBUILD)
        own.write_bytes(theirs.read_bytes())
        assert "answer for the machine" in confirm(1)  # the tokens of the machine that asked
        assert "who asks is not known" in confirm(1, **REBUILD | {"ref_type": "branch"})
        assert two.entries(wish.id) == ["request"]
        assert "prepared as well by rebuild" in confirm(0, **REBUILD)
    assert two.entries(wish.id)[:3] == ["request", "prepare", "used"]
    manifest = Path(f"{theirs}.manifest")
    assert cms_verify(Path(f"{manifest}.p7s"), manifest, two.first.folder / "home" / "ca.pem")[0]


@pytest.mark.parametrize("how", ["by a runner that gives tokens", "by tokens that it was given"])
def test_a_ci_job_uploads_what_it_built_and_it_is_signed(two: Two, tmp_path: Path, how: str) -> None:
    (tmp_path / "door.bin").write_bytes(how.encode() * 1000)
    words = ("sign", tmp_path / "door.bin", *two.ci.where, *DOOR, "--upload")
    if how.startswith("by a runner"):
        said = two.ci.ci(*words, "--audience", AUDIENCE, **two.ci.github("uploaded"))
    else:
        said = two.ci.ci(*words, *BY_TOKENS, **two.tokens())
    assert "signed" in said
    manifest = tmp_path / "door.bin.manifest"
    assert cms_verify(Path(f"{manifest}.p7s"), manifest, two.first.folder / "home" / "ca.pem")[0]


def test_files_that_arrive_at_two_replicas_are_signed_by_whichever_got_the_last(two: Two, tmp_path: Path) -> None:
    paths = [tmp_path / f"door-{number}.bin" for number in range(2)]
    for path in paths:
        path.write_bytes(path.name.encode() * 1000)
    with asked(two.first, *paths, *DOOR) as wish:
        status, answer = put(two.second, "max", wish.id, 0, paths[1])
        assert (status, answer["code"]) == (422, "SW-REQUEST-REFUSED")
        assert put(two.first, "max", wish.id, 0, paths[0])[1]["state"] == "waiting"
        assert put(two.second, "eva", wish.id, 1, paths[1])[0] == 201
    assert "2 signed" in wish.said[0]
    assert two.entries(wish.id)[:5] == ["request", "0 different", "0 same", "1 same", "used"]
    for path in paths:
        manifest = Path(f"{path}.manifest")
        assert cms_verify(Path(f"{manifest}.p7s"), manifest, two.first.folder / "home" / "ca.pem")[0]


def test_what_a_killed_replica_was_receiving_is_uploaded_to_the_other_and_gone_at_its_next_start(
    two: Two, tmp_path: Path
) -> None:
    path, spool = tmp_path / "door.bin", two.first.folder / "spool-second"
    path.write_bytes(b"x" * 100_000)
    digest = base64.b64encode(hashlib.sha256(path.read_bytes()).digest()).decode()
    with asked(two.first, path, *DOOR) as wish:
        with suppress(OSError), line(two.second, "max") as half:
            half.sendall(
                f"PUT /v1/requests/{wish.id}/files/0 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n"
                f"Content-Digest: sha-256=:{digest}:\r\n\r\n".encode()
                + bytes(5000)
            )
            eventually(lambda: os.listdir(spool) or None)
            two.other.kill()
        assert os.listdir(spool)
        assert two.entries(wish.id) == ["request"]
        assert put(two.first, "max", wish.id, 0, path)[0] == 201
    assert two.entries(wish.id)[:3] == ["request", "0 same", "used"]
    two.other.start()
    two.second.address = two.other.address
    assert not os.listdir(spool)
