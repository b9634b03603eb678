"""CI jobs at a real signing service: tokens of a real issuer, approvals, a ticket to wait by, provenance; and what is refused."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kit.ciservice import CiHouse, ci_house
from kit.network import fingerprint
from kit.openssl import cms_verify
from kit.people import AUDIENCE
from kit.provenance import BUILD_TYPE, BUILDER, REF, REPOSITORY, BuilderKey, statement, subject
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.cli.main import main
from sealwright.formats.format import Coverage, Prepared
from sealwright.signing.items import item_of

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "docs" / "ci" / "examples"
DEVELOPMENT = ("--product", "drive", "--environment", "development")
TEST = ("--product", "drive", "--environment", "test")
BUILT = f"""
@id("production-from-our-builder") permit (principal is Machine, action == Action::"sign", resource)
when {{ resource.environment == Environment::"production" && context.approvals >= 1 && context.provenance_verified &&
  context.builder == "{BUILDER}" && context.source_ref == "{REF}" }};
"""


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> BuilderKey:
    return BuilderKey.make(tmp_path_factory.mktemp("builder") / "key")


@pytest.fixture(scope="module")
def ci(tmp_path_factory: pytest.TempPathFactory, builder: BuilderKey) -> Iterator[CiHouse]:
    from kit.ciservice import POLICY

    with ci_house(tmp_path_factory.mktemp("ci"), POLICY + BUILT, builder.settings()) as made:
        yield made


def drive(folder: Path, data: bytes = b"firmware") -> Path:
    path = folder / "drive.bin"
    path.write_bytes(data)
    return path


def two(ci: CiHouse, **claims: object) -> tuple[list[str], dict[str, str]]:
    """Two tokens as GitLab gives them: options and environment."""
    options = ["--token-env", "TOKEN", "--token-env", "TOKEN_2"]
    return options, {"TOKEN": ci.token(**claims), "TOKEN_2": ci.token(**claims)}


def as_eva(ci: CiHouse) -> list[str]:
    certificate, key = ci.service.identity("eva")
    return [*ci.where, "--client", str(certificate), "--client-key", str(key)]


def approve(ci: CiHouse, *arguments: object, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "sealwright", "approve", *map(str, arguments), *as_eva(ci)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout + done.stderr


def waiting(ci: CiHouse, besides: set[str]) -> str:
    """The id of what waits now and did not before."""
    for _ in range(200):
        found = {json.loads(line)["id"] for line in approve(ci, "--json").splitlines()} - besides
        if found:
            return found.pop()
    raise AssertionError("nothing waits")


def ids(ci: CiHouse) -> set[str]:
    return {json.loads(line)["id"] for line in approve(ci, "--json").splitlines()}


def curl(ci: CiHouse, bearer: str, path: str, *more: str) -> tuple[int, Any]:
    done = subprocess.run(
        ["curl", "-sS", "--cacert", ci.service.folder / "servers.pem", "-H", f"Authorization: Bearer {bearer}",
         "-w", "\n%{http_code}", *more, ci.service.address + path],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    body, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(body)


def test_a_job_on_github_signs_and_the_device_verifies(ci: CiHouse, tmp_path: Path) -> None:
    path, asked = drive(tmp_path), len(ci.asked)
    said = ci.ci("sign", path, *ci.where, *DEVELOPMENT, "--audience", AUDIENCE, **ci.github("1"))
    assert "signed" in said
    assert len(ci.asked) == asked + 2  # which keys there are, and asking: the rest goes by the ticket
    home = ci.service.folder / "home"
    assert cms_verify(tmp_path / "drive.bin.manifest.p7s", tmp_path / "drive.bin.manifest", home / "ca.pem")[0]
    trust = home / "trust.toml"
    done = subprocess.run(
        [sys.executable, "-m", "sealwright", "verify", path, "--trust", trust, *fingerprint(trust)], check=False
    )
    assert done.returncode == 0
    made = json.loads((tmp_path / "drive.bin.intoto.jsonl").read_text())
    assert made["subject"] == [{"name": "drive.bin", "digest": {"sha256": Digest.of(b"firmware").value.hex()}}]
    assert made["predicate"]["buildDefinition"]["externalParameters"]["source"]["ref"] == "refs/tags/v1"


def test_a_job_that_is_run_again_asks_once(ci: CiHouse, tmp_path: Path) -> None:
    path = drive(tmp_path, b"again")
    words = ("sign", path, *ci.where, *DEVELOPMENT, "--audience", AUDIENCE)
    ci.ci(*words, **ci.github("2"))
    first = (tmp_path / "drive.bin.manifest.tlog-proof").read_text().split("\n")[1]
    ci.ci(*words, "--replace", **ci.github("2", GITHUB_RUN_ATTEMPT="2"))
    assert (tmp_path / "drive.bin.manifest.tlog-proof").read_text().split("\n")[1] == first
    ci.ci(*words, "--replace", **ci.github("3"))
    assert (tmp_path / "drive.bin.manifest.tlog-proof").read_text().split("\n")[1] != first


def test_a_job_waits_by_its_ticket_while_somebody_looks_and_approves(ci: CiHouse, tmp_path: Path) -> None:
    path, before, said = drive(tmp_path, b"waits"), ids(ci), list[str]()
    options, tokens = two(ci)
    gitlab = {"GITLAB_CI": "true", "CI_PROJECT_URL": "https://gitlab.acme.example/acme/fw", "CI_PIPELINE_ID": "9",
              "CI_SERVER_URL": "https://gitlab.acme.example", "CI_COMMIT_TAG": "v1", "CI_JOB_NAME": "sign"}  # fmt: skip
    words = ("sign", path, *ci.where, *TEST, *options)
    asking = threading.Thread(target=lambda: said.append(ci.ci(*words, **tokens, **gitlab)))
    asking.start()
    id_ = waiting(ci, before)
    home = ci.service.folder / "eva-home"
    looked = approve(ci, id_, "--home", home, code=1)  # nobody typed yes
    assert "nobody vouches for it" in looked
    assert "builder https://gitlab.acme.example" in looked
    assert "source https://gitlab.acme.example/acme/fw at refs/tags/v1" in looked
    approve(ci, id_, "--home", home, "--yes", "--artifact", path)
    asking.join(60)
    assert f"request {id_} is waiting" in said[0]
    assert (tmp_path / "drive.bin.manifest.p7s").exists()


def test_a_job_that_waited_in_vain_goes_on_where_it_stopped(ci: CiHouse, tmp_path: Path) -> None:
    path, before = drive(tmp_path, b"in vain"), ids(ci)
    words = ("sign", path, *ci.where, *TEST, "--audience", AUDIENCE, "--json")
    lines = ci.ci(*words, "--wait", "0m", code=3, **ci.github("4"))
    assert "SW-SERVICE-WAITING" in lines
    id_ = waiting(ci, before)
    assert not (tmp_path / "drive.bin.intoto.jsonl").exists()
    approve(ci, id_, "--home", ci.service.folder / "eva-home", "--yes")
    ci.ci(*words, **ci.github("4"))
    assert (tmp_path / "drive.bin.manifest.p7s").exists()
    assert id_ not in ids(ci)


def test_what_is_refused_ends_with_1_and_what_is_not_decided_with_3(ci: CiHouse, tmp_path: Path) -> None:
    path = drive(tmp_path, b"refused")
    assert ci.ci("sign", path, *ci.where, *DEVELOPMENT, "--audience", AUDIENCE, **ci.github("5"))
    said = ci.ci("sign", path, *ci.where, "--product", "drive", "--environment", "production", "--audience", AUDIENCE,
                 "--replace", code=1, **ci.github("5"))  # fmt: skip
    assert "production-from-our-builder wants: " in said
    assert "no build provenance that a trusted builder signed" in said
    away = ["--service", "https://127.0.0.1:1", "--service-ca", str(ci.service.folder / "servers.pem")]
    said = ci.ci("sign", path, *away, *DEVELOPMENT, "--audience", AUDIENCE, "--replace", code=3, **ci.github("5"))
    assert "127.0.0.1:1" in said
    ci.ci("sign", path, *ci.where, *DEVELOPMENT, "--replace", code=2)  # no token at all
    options, tokens = two(ci)
    ci.ci(
        "sign", path, *ci.where, *DEVELOPMENT, *options[:2], "--replace", code=2, TOKEN=tokens["TOKEN"]
    )  # one is too few


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "https://other.acme.example"},
        {"sub": "repo:acme/fw-evil:environment:release"},
        {"repository": "acme/fw-evil"},
        {"event_name": "pull_request"},
        {"ref_type": "branch"},
        {"environment": None},
    ],
)
def test_a122_a_token_of_a_fork_a_pull_request_or_another_audience_signs_nothing(
    ci: CiHouse, tmp_path: Path, claims: dict[str, object]
) -> None:
    options, tokens = two(ci)
    ci.ci("sign", drive(tmp_path), *ci.where, *DEVELOPMENT, *options, **tokens)
    options, tokens = two(ci, **claims)
    said = ci.ci("sign", drive(tmp_path), *ci.where, *DEVELOPMENT, *options, "--replace", code=1, **tokens)
    assert "who asks is not known here" in said


def test_curl_asks_by_a_token_and_looks_by_the_ticket_alone(ci: CiHouse) -> None:
    digests = {HashName.SHA256: Digest.of(b"by curl")}
    claims = Claims(product="drive", environment="development")
    item = item_of(Prepared("detached", "file", "c.bin", digests, None, 7, Coverage.whole(7), claims))
    built = json.dumps(statement(subject(b"by curl", "c.bin"))).encode()
    body = {"key": "release", "items": [{"line": item.line.decode()}], "provenance": base64.b64encode(built).decode()}
    post = ("-H", "content-type: application/json", "-d", json.dumps(body))
    token = ci.token()
    status, asked = curl(ci, token, "/v1/requests", *post)
    assert (status, asked["state"]) == (201, "signed")
    assert f'"provenance":"{Digest.of(built)}"' in asked["request"]
    ticket, path = asked["ticket"], f"/v1/requests/{asked['id']}"
    assert curl(ci, ticket, path)[1]["state"] == "signed"
    assert len(curl(ci, ticket, path + "/signatures")[1]["signatures"]) == 1
    assert curl(ci, ticket, path + "/proofs")[0] == 200
    assert curl(ci, ci.token(), path + "/provenance")[1] == {
        "statement": base64.b64encode(built).decode(),
        "verified": False,
    }
    for bearer, what, more in (
        (token, "/v1/requests", post),  # good once
        (token, "/v1/keys", ()),
        (ticket, "/v1/requests", post),
        (ticket, "/v1/keys", ()),
        (ticket, path + "/items", ()),
        (ticket, path + "/provenance", ()),
        (ticket, path + "/withdrawal", ("-X", "POST")),
        (ticket, path + "/approvals", ("-X", "POST", "-H", "content-type: application/json", "-d", "{}")),
        (ticket[:-1], path, ()),
    ):
        status, answer = curl(ci, bearer, what, *more)
        assert (status, answer["detail"]) == (401, "who asks is not known here"), what
    wrong = {**body, "provenance": base64.b64encode(built.replace(b"slsa.dev", b"slsa.evil")).decode()}
    status, answer = curl(ci, ci.token(), "/v1/requests", *post[:3], json.dumps(wrong))
    assert (status, answer["code"]) == (422, "SW-PROVENANCE-REFUSED")


def test_production_is_signed_from_our_builder_and_who_approves_sees_it(
    ci: CiHouse, tmp_path: Path, builder: BuilderKey
) -> None:
    path, before, said = drive(tmp_path, b"production"), ids(ci), list[str]()
    (tmp_path / "built.jsonl").write_bytes(builder.signed(statement(subject(b"production"))))
    words = ("sign", path, *ci.where, "--product", "drive", "--environment", "production", "--audience", AUDIENCE)
    given = (*words, "--provenance", tmp_path / "built.jsonl")
    asking = threading.Thread(target=lambda: said.append(ci.ci(*given, **ci.github("6"))))
    asking.start()
    id_ = waiting(ci, before)
    home = ci.service.folder / "eva-home"
    looked = approve(ci, id_, "--home", home, "--yes")
    assert "BUILT by a builder that the service's policies trust" in looked
    assert f"builder {BUILDER}, build type {BUILD_TYPE}" in looked
    asking.join(60)
    assert (tmp_path / "drive.bin.manifest.p7s").exists()
    (tmp_path / "key.pem").write_text(builder.public)
    verify = ["verify", path, "--builder", BUILDER, "--builder-key", tmp_path / "key.pem", "--build-type", BUILD_TYPE]
    assert "built by this builder" in ci.ci(*verify, "--source", REPOSITORY, "--source-ref", REF)
    assert json.loads(ci.ci(*verify, "--json"))["outcome"] == "verified"
    (tmp_path / "other.jsonl").write_bytes(builder.signed(statement(subject(b"other"))))
    said_ = ci.ci(*words, "--provenance", tmp_path / "other.jsonl", "--replace", code=1, **ci.github("7"))
    assert f"wanted: the subject {Digest.of(b'production')}" in said_


def test_a125_a_provenance_is_verified_offline_by_whole_texts(tmp_path: Path, builder: BuilderKey, ci: CiHouse) -> None:
    path = drive(tmp_path)
    beside, key = tmp_path / "drive.bin.intoto.jsonl", tmp_path / "key.pem"
    key.write_text(builder.public)
    beside.write_bytes(builder.signed(statement(subject(b"firmware"))))
    good = {
        "--builder": BUILDER,
        "--builder-key": str(key),
        "--build-type": BUILD_TYPE,
        "--source": REPOSITORY,
        "--source-ref": REF,
    }

    def verify(code: int, **changes: str) -> str:
        options = good | {"--" + name.replace("_", "-"): value for name, value in changes.items()}
        return ci.ci("verify", path, *(word for pair in options.items() for word in pair), code=code)

    verify(0)
    for changes in (
        {"builder": BUILDER[:-1]},
        {"builder": BUILDER + "x"},
        {"build_type": BUILD_TYPE + "/"},
        {"source": REPOSITORY + "-evil"},
        {"source_ref": "refs/tags/v"},
    ):
        assert "wanted: " in verify(1, **changes)
    other = BuilderKey.make(tmp_path / "other")
    (tmp_path / "other.pem").write_text(other.public)
    assert "signed by none of their keys" in verify(1, builder_key=str(tmp_path / "other.pem"))
    path.write_bytes(b"malware")
    assert f"wanted: the subject {Digest.of(b'malware')}" in verify(1)
    path.write_bytes(b"firmware")
    beside.write_text(json.dumps(statement(subject(b"firmware"))))
    assert "the signature of the builder" in verify(1)
    two_files = statement(subject(b"firmware"), subject(b"more", "more.bin"))
    beside.write_bytes(other.signed(statement(subject(b"x"))) + builder.signed(two_files))
    assert "signed by none of their keys" in verify(1)
    options = [word for pair in good.items() for word in pair]
    ci.ci("verify", path, *options, "--others")


def test_the_shell_example_signs_and_asks_once_however_often_it_is_tried(ci: CiHouse, tmp_path: Path) -> None:
    path, queue = drive(tmp_path, b"by a shell"), tmp_path / "queue"
    queue.mkdir()
    for number in range(8):
        (queue / f"{number}").write_text(ci.token())
    getter = tmp_path / "build-token"
    getter.write_text(f'#!/bin/sh\nset -e\ncd {queue}\nnext=$(ls | head -n 1)\ncat "$next"\nrm "$next"\n')
    getter.chmod(0o700)
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SERVICE": ci.service.address,
        "SERVICE_CA": str(ci.service.folder / "servers.pem"),
        "RUN": "nightly-7",
        "GET_TOKEN": str(getter),
        "PAUSE_S": "0",
    }

    def run(*more: str) -> tuple[int, str]:
        done = subprocess.run(
            ["sh", EXAMPLES / "sign.sh", path, *DEVELOPMENT[:2], *more],
            env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    code, said = run("--environment", "development")
    assert code == 0, said
    before = ids(ci)
    code, said = run("--environment", "test", "--wait", "0m", "--replace")
    assert (code, said.count("nothing is decided yet")) == (3, 3), said
    assert len(ids(ci) - before) == 1


def test_many_files_are_one_request_and_one_statement(ci: CiHouse, tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "out").mkdir()
    for number in range(300):
        (tmp_path / "parts" / f"{number}.bin").write_bytes(b"%d" % number)
    options, tokens = two(ci)
    words = ("sign", tmp_path / "parts", *ci.where, *DEVELOPMENT, "--recursive", "--out", tmp_path / "out", "--json")
    lines = [json.loads(one) for one in ci.ci(*words, *options, **tokens).splitlines() if one.startswith("{")]
    assert [one["outcome"] for one in lines] == ["signed"] * 300 + ["provenance"]
    (made,) = (tmp_path / "out" / "parts.intoto.jsonl").read_text().splitlines()
    assert len(json.loads(made)["subject"]) == 300
    assert len(list((tmp_path / "out").glob("*.manifest.p7s"))) == 300


def test_a_machine_with_a_certificate_needs_no_token_and_names_its_run(ci: CiHouse, tmp_path: Path) -> None:
    path, before = drive(tmp_path, b"by certificate"), ids(ci)
    certificate, key = ci.service.identity("max")
    words = (
        "sign",
        path,
        *ci.where,
        "--client",
        certificate,
        "--client-key",
        key,
        *TEST,
        "--run",
        "nightly",
        "--wait",
        "0m",
    )
    ci.ci(*words, code=3)
    ci.ci(*words, code=3)
    (id_,) = ids(ci) - before
    approve(ci, id_, "--home", ci.service.folder / "eva-home", "--yes")
    ci.ci(*words[:-2])
    assert (tmp_path / "drive.bin.manifest.p7s").exists()
    withdrawn = ("-X", "POST", "--cert", str(certificate), "--key", str(key))
    other = ("sign", path, *words[2:-4], "--run", "weekly", "--wait", "0m", "--replace")
    ci.ci(*other, code=3)
    (id_,) = ids(ci) - before
    curled = [
        "curl",
        "-sS",
        "--cacert",
        ci.service.folder / "servers.pem",
        *withdrawn,
        f"{ci.service.address}/v1/requests/{id_}/withdrawal",
    ]
    assert json.loads(subprocess.run(curled, capture_output=True, check=True).stdout)["state"] == "withdrawn"
    assert "is withdrawn" in ci.ci(*other, code=1)


def test_neither_token_nor_ticket_is_written_anywhere(ci: CiHouse, tmp_path: Path) -> None:
    token = ci.token()
    status, answer = curl(ci, token, "/v1/keys")
    assert (status, len(answer["keys"])) == (200, 1)
    ci.ci("sign", drive(tmp_path, b"kept"), *ci.where, *DEVELOPMENT, "--audience", AUDIENCE, **ci.github("8"))
    curl(ci, token, "/v1/keys")
    for path in (ci.service.folder / "service.log", *ci.service.folder.glob("service.db*")):
        data = path.read_bytes()
        assert b"swt_" not in data
        assert token.rpartition(".")[2].encode() not in data
        assert b"eyJhbGciOi" not in data  # how a token begins


def test_what_failed_is_attempted_again_when_the_job_is_run_again(ci: CiHouse, tmp_path: Path) -> None:
    path, home = drive(tmp_path, b"failed once"), ci.service.folder / "home"
    words = ("sign", path, *ci.where, *DEVELOPMENT, "--audience", AUDIENCE)
    assert main(["cert", "hold", "release", "--home", str(home)]) == 0
    try:
        said = ci.ci(*words, code=1, **ci.github("9"))
    finally:
        assert main(["cert", "release", "release", "--home", str(home)]) == 0
    assert "is failed" in said
    ci.ci(*words, **ci.github("9"))
    assert (tmp_path / "drive.bin.manifest.p7s").exists()
