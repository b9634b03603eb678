"""A repository whose keys are in a signing service, and a release that it signs: asked for, approved, published, read by TUF's own client."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.formats import encode_canonical
from tuf.api.metadata import TargetFile, Targets

from kit.repository import TITLE, begun, fetched, folder_client, home_in, make_home, release
from kit.signingservice import House, house, running
from sealwright.cli.main import main
from sealwright.errors import MalformedArtifact, RequestRefused
from sealwright.formats.role import check_role, lines_of_role
from sealwright.keys.key import KeyKind
from sealwright.release.rolekeys import Payload, prepared_role
from sealwright.release.staging import Staging
from sealwright.signing.changes import contents
from sealwright.signing.enrol import enrol_for
from sealwright.signing.home import KeyPurpose, open_home
from sealwright.signing.items import item_of, prepared_of
from sealwright.signing.pipeline import Pipeline

ROLES = ("repo-root", "repo-targets", "repo-online")
POLICY = """
@id("everybody-asks") permit (principal, action in [Action::"request", Action::"withdraw", Action::"read", Action::"approve"], resource);
@id("releases-by-one") permit (principal, action == Action::"sign", resource) when { resource.format == Format::"manifest" && context.approvals >= 1 };
@id("roles-by-one") permit (principal, action == Action::"sign", resource) when { resource.format == Format::"tuf" && context.approvals >= 1 };
@id("online-alone") permit (principal, action == Action::"sign", resource) when { resource.format == Format::"tuf" && ["role snapshot", "role timestamp"].contains(resource.product) };
"""
Run = Callable[..., tuple[int, str, str]]


def as_whom(service: House, name: str) -> list[str]:
    certificate, key = service.identity(name)
    return [
        "--service", service.address.replace("127.0.0.1", "localhost"), "--service-ca", str(service.folder / "servers.pem"),
        "--client", str(certificate), "--client-key", str(key),
    ]  # fmt: skip


def waiting(service: House, name: str) -> list[Any]:
    certificate, key = service.identity(name)
    command = ["curl", "-sS", "--cacert", service.folder / "servers.pem", "--cert", certificate, "--key", key]
    done = subprocess.run(
        [*command, f"{service.address}/v1/requests?state=waiting"], capture_output=True, text=True, check=True
    )
    return list(json.loads(done.stdout)["requests"])


@contextmanager
def asked(service: House, *words: object) -> Iterator[str]:
    """A command of Max that waits for an approval: the id of its request. At the end of the block it ended well."""
    command = [sys.executable, "-m", "sealwright", *map(str, words), *as_whom(service, "max")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    pause = threading.Event()
    try:
        while not (listed := waiting(service, "eva")) and process.poll() is None:
            pause.wait(0.2)
        assert listed, process.communicate()
        yield listed[0]["id"]
        shown, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
        assert shown
    finally:
        process.kill()
        process.wait()


def approve(service: House, run: Run, id_: str) -> str:
    home = service.persons["eva"].folder
    code, shown, said = run("approve", id_, *as_whom(service, "eva"), "--home", home, "--yes")
    assert code == 0, said
    return shown


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(word) for word in words])
        return (code, *capsys.readouterr())

    return call


def with_roles(made: House) -> House:
    for name in ROLES:
        enrol_for(open_home(made.home.folder), "repository", name, None, datetime.now(UTC), KeyKind.P256)
    entries = "".join(f'[[key]]\nname = "{name}"\ntenant = "acme"\n' for name in ROLES)
    made.configuration.write_text(made.configuration.read_text() + entries)
    return made


def test_a_repository_is_signed_by_a_service_with_approvals_and_read_by_tufs_own_client(
    tmp_path: Path, run: Run
) -> None:
    mine, desk = make_home(tmp_path / "mine", ()), tmp_path / "desk"
    with running(with_roles(house(tmp_path / "house", POLICY))) as service:
        pem = {name: Path(service.home.path("certificates", f"{name}.pem")) for name in ROLES}
        begin = ("--root", pem["repo-root"], "--targets", pem["repo-targets"], "--online", pem["repo-online"])
        assert run("release", "init", desk, "--home", mine.folder, *begin, "--line", "drives")[0] == 3
        assert run("release", "sign", desk, *as_whom(service, "stranger"))[0] == 2  # who sees no key there
        assert run("release", "sign", desk)[0] == 2
        with asked(service, "release", "sign", desk, "root", "--reason", "the first root"):
            (request,) = waiting(service, "eva")
            shown = approve(service, run, request["id"])
        assert "role root" in shown
        with asked(service, "release", "sign", desk, "targets", "drives") as id_:
            approve(service, run, id_)
        # snapshot and timestamp need nobody, by this policy
        assert run("release", "publish", desk, "--home", mine.folder, *as_whom(service, "max"))[0] == 0

        # a release, signed by the same service after an approval
        folder = release(tmp_path, home_in(tmp_path / "other"), "1.4.2", 7)
        for old in tmp_path.glob("1.4.2.manifest*"):
            old.unlink()
        create = ("release", "create", folder, "--product", TITLE, "--generation", 7, "--environment", "development")
        with asked(service, *create, "--reason", "spring release", "--timestamp", "none") as id_:
            assert not Path(f"{folder}.manifest.p7s").exists()
            approve(service, run, id_)
        trust = Path(service.home.path("trust.toml"))
        assert run("verify", folder, "--trust", trust)[0] == 0
        assert Path(f"{folder}.manifest.tlog-proof").exists()

        assert run("release", "add", desk, folder, "--to", "drives/vx-200", "--trust", trust)[0] == 0
        assert run("release", "promote", desk, "drives/vx-200", "1.4.2", "--channel", "pilot")[0] == 0
        with asked(service, "release", "sign", desk) as id_:
            shown = approve(service, run, id_)
        assert "drives: drives/vx-200/1.4.2.manifest" in shown
        assert run("release", "publish", desk, "--home", mine.folder, *as_whom(service, "max"))[0] == 0
        assert run("release", "refresh", desk, "--home", mine.folder, *as_whom(service, "max"))[0] == 0
    updater = folder_client(tmp_path / "client", Staging(str(desk)))
    updater.refresh()
    assert fetched(updater, "drives/vx-200/1.4.2.manifest") == Path(f"{folder}.manifest").read_bytes()
    manifest = hashlib.sha256(Path(f"{folder}.manifest").read_bytes()).hexdigest()
    assert manifest in run("released", "--home", mine.folder)[1]


def test_a_role_that_is_not_what_the_request_claims_is_signed_by_no_service(tmp_path: Path) -> None:
    """Claims beside other bytes, a line that is called like a role of its own, bytes that are no role, and a request without them."""
    home = home_in(tmp_path)
    staging = begun(tmp_path / "desk", home)
    algorithm = home.keys[0].algorithm
    for name in ("root", "targets", "drives"):
        staged = staging.staged(name)
        assert staged is not None
        good = prepared_role(Payload(name, 1, staged.signed_bytes), algorithm)
        again = prepared_of(item_of(good), "item 0")
        assert again.claims == good.claims
        check_role(again)
        assert lines_of_role(staged.signed_bytes, name)
        for wrong in (
            prepared_role(Payload(name, 2, staged.signed_bytes), algorithm),
            prepared_role(Payload("timestamp", 1, staged.signed_bytes), algorithm),
            prepared_role(Payload(name, 1, staged.signed_bytes + b" "), algorithm),
        ):
            with pytest.raises(MalformedArtifact):
                check_role(wrong)
        item = item_of(good)
        with pytest.raises(RequestRefused):
            prepared_of(replace(item, content=None), "item 0")
        digest_alone = good._replace(content=None)
        with pytest.raises(RequestRefused, match="content alone"):
            prepared_of(item_of(digest_alone), "item 0")
        key = next(one for one in home.keys if one.purpose is KeyPurpose.REPOSITORY)
        with Pipeline(home, key, None) as pipeline:
            whole = prepared_role(Payload(name, 1, staged.signed_bytes), pipeline.algorithm)
            assert len(pipeline.sign([whole], datetime.now(UTC))) == 1
            with pytest.raises(MalformedArtifact, match="content alone"):
                pipeline.sign([whole._replace(content=None)], datetime.now(UTC))


def test_a_role_claims_its_product_and_version_and_nothing_else(tmp_path: Path) -> None:
    """An environment that nothing in its bytes bears out would choose the policy; a product without `role ` would pass by one."""
    home = home_in(tmp_path)
    staged = begun(tmp_path / "desk", home).staged("drives")
    assert staged is not None
    good = prepared_role(Payload("drives", 1, staged.signed_bytes), home.keys[0].algorithm)
    check_role(good)
    for wrong in (
        replace(good.claims, environment="test"),
        replace(good.claims, generation=7),
        replace(good.claims, hardware=("VX-200",)),
        replace(good.claims, product="drives"),
    ):
        with pytest.raises(MalformedArtifact):
            check_role(good._replace(claims=wrong))
    with pytest.raises(MalformedArtifact):
        check_role(good._replace(path="gateways"))


def test_a_key_of_targets_signs_no_delegation_and_no_other_line_in_the_name_of_a_line(tmp_path: Path) -> None:
    """Lines are of the key of targets unless they were given one: what a policy lets a line do must not reach further."""
    home = home_in(tmp_path)
    staging = begun(tmp_path / "desk", home)
    top, line = staging.staged("targets"), staging.staged("drives")
    assert top is not None
    assert line is not None
    assert isinstance(line.signed, Targets)
    algorithm = home.keys[0].algorithm
    check_role(prepared_role(Payload("targets", 1, top.signed_bytes), algorithm))
    with pytest.raises(MalformedArtifact):
        check_role(prepared_role(Payload("drives", 1, top.signed_bytes), algorithm))
    for path, accepted in (("drives/vx-200/1.bin", True), ("gateways/gx/1.bin", False), ("drives-2/gx/1.bin", False)):
        line.signed.targets = {path: TargetFile(1, {"sha256": "0" * 64}, path)}
        one = prepared_role(Payload("drives", 1, line.signed_bytes), algorithm)
        bin_ = prepared_role(Payload("drives.bin-0f", 1, line.signed_bytes), algorithm)
        if accepted:
            check_role(one)
            check_role(bin_)
            continue
        for refused in (one, bin_):
            with pytest.raises(MalformedArtifact):
                check_role(refused)


def test_a_key_under_the_id_of_another_and_a_number_that_has_no_canonical_form_are_refused(tmp_path: Path) -> None:
    """Approvers know keys by their ids, and TUF's own clients compute none."""
    home = home_in(tmp_path)
    staged = begun(tmp_path / "desk", home).staged("root")
    assert staged is not None
    fields = json.loads(staged.signed_bytes, strict=False)
    ids = sorted(fields["keys"])
    assert lines_of_role(str(encode_canonical(fields)).encode(), "root")
    fields["keys"][ids[0]] = fields["keys"][ids[1]]
    with pytest.raises(MalformedArtifact, match="not its own"):
        lines_of_role(str(encode_canonical(fields)).encode(), "root")
    with pytest.raises(MalformedArtifact, match="cannot be signed"):
        lines_of_role(staged.signed_bytes[:-1] + b',"z":1.5}', "root")


def test_nothing_in_a_request_for_roles_stands_in_for_something_else_that_is_called_alike(tmp_path: Path) -> None:
    """Two roles of one name, and a target that is called like the line that says who signs: an approver is shown every one, signers first."""
    home = home_in(tmp_path)
    staging = begun(tmp_path / "desk", home)
    top, line = staging.staged("targets"), staging.staged("drives")
    assert top is not None
    assert line is not None
    assert isinstance(line.signed, Targets)
    assert isinstance(top.signed, Targets)
    algorithm = home.keys[0].algorithm
    items = []
    for digit in "12":
        path = "drives/vx-200/1.bin"
        line.signed.targets = {path: TargetFile(1, {"sha256": digit * 64}, path)}
        items.append(item_of(prepared_role(Payload("drives", 1, line.signed_bytes), algorithm)))
    shown = {state.digest for state in contents(items).values()}
    assert {"sha256:" + "1" * 64, "sha256:" + "2" * 64} <= shown
    (signers,) = (one for one in lines_of_role(top.signed_bytes, "targets") if one.name == "signers of drives")
    top.signed.targets = {one: TargetFile(1, {"sha256": "0" * 64}, one) for one in ("signers of drives", "expires")}
    told = contents([items[0], item_of(prepared_role(Payload("targets", 1, top.signed_bytes), algorithm))])
    assert told["targets: signers of drives"].digest == signers.said
    assert told["targets: targets of drives"].digest == "drives/"
    assert told["targets: signers of drives (2)"].size == 1
    sizes = [one.size is not None for one in told.values()]
    assert sizes == sorted(sizes)
