"""The ready files of docs/ci: each is what its system reads, gives away no more than it must, and tells to type what can be typed."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kit.policies import CI, policies, question
from kit.provenance import BUILDER, BuilderKey
from sealwright.artifact.section import read_toml
from sealwright.cli.main import COMMANDS, parser_of
from sealwright.service.config import CONFIGURATION
from sealwright.service.issuers import issuer_of
from sealwright.signing.people import parse_people

PAGES = Path(__file__).resolve().parent.parent.parent / "docs" / "ci"
EXAMPLES = PAGES / "examples"
COMMIT = re.compile(r"[a-z-]+/[a-z-]+@[0-9a-f]{40}")


def read(name: str) -> Any:
    """`on` is a truth value in YAML 1.1, and a key to GitHub."""
    return yaml.safe_load((EXAMPLES / name).read_text().replace("\non:", '\n"on":'))


def commands(name: str) -> Iterator[str]:
    """Every `sealwright …` of a file, on one line."""
    text = (EXAMPLES / name).read_text().replace("\\\n", " ")
    if name.endswith("gitlab-ci.yml"):
        text = "\n".join(line for job in read(name).values() if isinstance(job, dict) for line in job.get("script", []))
    for line in text.splitlines():
        if line.strip().startswith("sealwright "):
            yield line.strip()


@pytest.mark.parametrize("name", ["github.yml", "gitlab-ci.yml", "Jenkinsfile", "sign.sh"])
def test_what_a_file_tells_to_type_can_be_typed(name: str) -> None:
    found = list(commands(name))
    assert found
    for command in found:
        words = shlex.split(command.partition(" || ")[0].replace('"$@"', "drive.bin"))
        args = parser_of(COMMANDS).parse_args(words[1:])
        assert args.paths == ["drive.bin"]


def test_on_github_only_the_job_that_signs_may_have_a_token_and_actions_are_pinned() -> None:
    workflow = read("github.yml")
    assert workflow["on"] == {"push": {"tags": ["v*"]}}
    assert workflow["permissions"] == {}
    build, sign = workflow["jobs"]["build"], workflow["jobs"]["sign"]
    assert build["permissions"] == {"contents": "read"}
    assert sign["permissions"] == {"id-token": "write"}
    assert (sign["needs"], sign["environment"]) == ("build", "release")
    for step in (*build["steps"], *sign["steps"]):
        assert "uses" not in step or COMMIT.fullmatch(step["uses"]), step
        assert "${{" not in step.get("run", "")  # a tag's name is somebody's text: it goes by a variable
    assert not [step for step in sign["steps"] if "checkout" in step.get("uses", "")]


def test_on_gitlab_no_merge_request_gets_a_token_and_there_are_two() -> None:
    pipeline = read("gitlab-ci.yml")
    sign = pipeline["sign"]
    assert sign["rules"] == [{"if": '$CI_COMMIT_TAG && $CI_COMMIT_REF_PROTECTED == "true"'}]
    assert [one["aud"] for one in sign["id_tokens"].values()] == ["https://sign.acme.example"] * 2
    assert "id_tokens" not in pipeline["build"]
    assert sign["variables"]["GIT_STRATEGY"] == "none"
    (command,) = commands("gitlab-ci.yml")
    assert re.findall(r"--token-env (\w+)", command) == list(sign["id_tokens"])


def test_in_jenkins_the_tokens_are_bound_where_nothing_is_built() -> None:
    text = (EXAMPLES / "Jenkinsfile").read_text()
    for opened, closed in ("{}", "()", "[]"):
        assert text.count(opened) == text.count(closed)
    build, _, sign = text.partition("stage('sign')")
    assert "withCredentials" not in build
    (command,) = commands("Jenkinsfile")
    bound = re.findall(r"credentialsId: '([\w-]+)', variable: '(\w+)'", sign)
    assert [name for _, name in bound] == re.findall(r"--token-env (\w+)", command)
    assert len({credential for credential, _ in bound}) == 2


@pytest.mark.parametrize("name", ["sign.sh", "attest.sh"])
def test_the_scripts_are_plain_shell(name: str) -> None:
    for shell in ("dash", "bash"):
        assert subprocess.run([shell, "-n", EXAMPLES / name], check=False).returncode == 0
    assert "set -x" not in (EXAMPLES / name).read_text()


def blocks(page: str, kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", (PAGES / page).read_text(), re.DOTALL)


def test_the_page_on_provenance_shows_settings_and_a_rule_that_mean_what_it_says(tmp_path: Path) -> None:
    (settings,), (rule,) = blocks("provenance.md", "toml"), blocks("provenance.md", "cedar")
    settings = re.sub(
        r"-----BEGIN.*-----END PUBLIC KEY-----\n", BuilderKey.make(tmp_path / "key").public, settings, flags=re.DOTALL
    )
    found = policies(rule + '@id("all") permit (principal, action, resource);', settings)
    assert found.settings.builders[0].id == BUILDER
    built = {"provenance_verified": True, "builder": BUILDER, "source": "https://github.com/acme/fw"}
    assert found.decide(question(CI, source_ref="refs/tags/v2.1.0", **built)).allowed
    assert not found.decide(question(CI, source_ref="refs/heads/main", **built)).allowed
    assert not found.decide(
        question(CI, source_ref="refs/tags/v2.1.0", **{**built, "provenance_verified": False})
    ).allowed


def test_the_page_on_jenkins_shows_an_issuer_and_a_machine_that_can_be_used() -> None:
    issuer, machine = blocks("jenkins.md", "toml")
    (section,) = read_toml(b"# x\n" + issuer.encode(), "service.toml", "# x", CONFIGURATION).tables("issuer")
    found = issuer_of(section, "/etc/sealwright")
    section.done()
    assert (found.keys_url, found.ca_file) == (
        "https://jenkins.acme.example/oidc/jwks",
        "/etc/sealwright/tls/internal.pem",
    )
    register = (
        '# sealwright people 1\ntenants = ["acme"]\n[[person]]\nid = "p7"\ntenant = "acme"\nroles = ["requester"]\n'
    )
    register += (
        '[[machine]]\nid = "m3"\ntenant = "acme"\nroles = ["requester"]\nowner = "p7"\n' + machine.partition("\n")[2]
    )
    assert parse_people(register.encode(), "people.toml").machines["m3"].token is not None
