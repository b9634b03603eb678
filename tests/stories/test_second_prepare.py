"""A product that is built twice: the requester's word is not enough; a second machine has its own copy, and the service prepares the file itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.openssl import cms_verify
from kit.signingservice import House, house, running
from kit.waiting import asked, command, entries

POLICY = """
@id("everybody-asks") permit (principal, action in [Action::"request", Action::"read", Action::"approve", Action::"prepare"], resource);
@id("by-one") permit (principal, action == Action::"sign", resource) when { context.approvals >= 1 || resource.product == "door" };
@id("drives-are-built-twice") forbid (principal, action == Action::"sign", resource)
when { resource.product == "drive" } unless { context.second_prepare };
@id("doors-are-uploaded") forbid (principal, action == Action::"sign", resource)
when { resource.product == "door" } unless { context.uploaded };
"""
UPLOAD = '[upload]\nspool = "spool"\nlargest_mib = 8\n'


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = house(tmp_path_factory.mktemp("second") / "house", POLICY, (), {"builder": "jan", "maxes": "max"})
    with made.configuration.open("a") as file:
        file.write(UPLOAD)
    with running(made):
        yield made


def test_a_second_machine_comes_to_the_same_and_then_it_is_signed(service: House, tmp_path: Path) -> None:
    theirs, mine = tmp_path / "max", tmp_path / "builder"
    for folder in (theirs, mine):
        folder.mkdir()
        (folder / "drive.bin").write_bytes(b"firmware")
    home = service.persons["builder"].folder
    claims = ("--product", "drive", "--environment", "production", "--version", "2.4")
    with asked(service, theirs / "drive.bin", *claims) as wish:
        command(service, "eva", "approve", wish.id, "--home", service.persons["eva"].folder, "--yes")
        assert entries(service, wish.id)[-1] == "approval"  # and no more: it waits for the second one
        (mine / "drive.bin").write_bytes(b"firmware, and something else")
        told = command(service, "builder", "confirm", wish.id, mine / "drive.bin", "--home", home, "--json", code=1)
        assert {one["what"] for one in json.loads(told)["files"][0]["differs"]} >= {"drive.bin", "size", "content"}
        (mine / "drive.bin").write_bytes(b"firmware")
        own = service.persons["maxes"].folder
        refused = command(service, "maxes", "confirm", wish.id, mine / "drive.bin", "--home", own, code=1)
        assert "answer for the machine" in refused
        assert "prepare" not in entries(service, wish.id)
        done = command(service, "builder", "confirm", wish.id, mine / "drive.bin", "--home", home)
        assert "prepared as well by builder" in done
    assert "confirm" in wish.said[0]  # the requester was told whom it waits for
    manifest = theirs / "drive.bin.manifest"
    assert cms_verify(Path(f"{manifest}.p7s"), manifest, service.folder / "home" / "ca.pem")[0]
    assert entries(service, wish.id)[:4] == ["request", "approval", "prepare", "used"]


def test_a_folder_is_confirmed_file_by_file(service: House, tmp_path: Path) -> None:
    home = service.persons["builder"].folder
    for owner in ("max", "builder"):
        tree = tmp_path / owner / "project"
        tree.mkdir(parents=True)
        (tree / "main.st").write_text("PROGRAM main")
        (tree / "io.st").write_text("VAR x")
    with asked(service, tmp_path / "max" / "project", "--product", "drive") as wish:
        own = tmp_path / "builder" / "project"
        assert "all of it is the same" in command(service, "builder", "confirm", wish.id, own, code=1)
        (own / "io.st").write_text("VAR y")
        said = command(service, "builder", "confirm", wish.id, own, "--home", home, code=1)
        assert "io.st: sha256:" in said
        assert "main.st: sha256:" not in said
        (own / "io.st").write_text("VAR x")
        command(service, "builder", "confirm", wish.id, own, "--home", home)
        command(service, "eva", "approve", wish.id, "--home", service.persons["eva"].folder, "--yes")
    assert entries(service, wish.id)[1:4] == ["prepare", "approval", "used"]


def test_the_service_prepares_the_uploaded_file_itself(service: House, tmp_path: Path) -> None:
    for name in ("one.bin", "two.bin"):
        (tmp_path / name).write_bytes(name.encode() * 1000)
    claims = ("--product", "door", "--environment", "test")
    said = command(service, "max", "sign", tmp_path / "one.bin", tmp_path / "two.bin", *claims, "--upload")
    assert "2 signed" in said
    manifest = tmp_path / "two.bin.manifest"
    assert cms_verify(Path(f"{manifest}.p7s"), manifest, service.folder / "home" / "ca.pem")[0]
    assert not list((service.folder / "spool").iterdir())
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a").write_text("a")
    refused = command(service, "max", "sign", tree, *claims, code=1)
    assert "files are taken one by one" in refused
