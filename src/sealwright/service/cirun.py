"""Which run of which CI system this is, out of its environment, and the statement of provenance that such a job can make itself.

The statement is the job's own word (`signing/builder.py` point 4): it tells approvers what they are asked about, and no rule believes
it. Nothing in it changes when the same job is run again, so that asking again is asking once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sealwright.artifact.digest import Digest
from sealwright.artifact.names import display
from sealwright.formats.format import Prepared
from sealwright.log.canonical import canonical_json
from sealwright.signing.builder import built_digests
from sealwright.signing.items import Item, root_of_items
from sealwright.signing.provenance import CI_RUN, PREDICATE, STATEMENT


class System(StrEnum):
    """The CI systems whose environment is known."""

    GITHUB = "github"
    GITLAB = "gitlab"
    JENKINS = "jenkins"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class CiRun:
    """One run. name: the same when its job is run again, "" where nobody named it; builder, repository, ref, commit: as the system says them."""

    system: System
    name: str
    builder: str
    repository: str
    ref: str
    commit: str

    def word(self, key: str, items: Sequence[Item], provenance: bytes) -> str:
        """The client's own name for what it asks (Idempotency-Key), "" where the run has none."""
        if not self.name:
            return ""
        root = root_of_items([item.line for item in items]).hex()
        said = {"run": self.name, "key": key, "root": root, "provenance": str(Digest.of(provenance))}
        return Digest.of(b"sealwright ci run 1\n" + canonical_json(said)).value.hex()

    def statement(self, artifacts: Sequence[Prepared]) -> bytes:
        """The job's own provenance of what it has signed, one line of JSON."""
        subjects = [
            {"name": display(name), "digest": {one.algorithm.value: one.value.hex() for one in digests}}
            for name, digests in built_digests(artifacts)
        ]
        source = {name: value for name, value in (("repository", self.repository), ("ref", self.ref)) if value}
        definition: dict[str, object] = {"buildType": CI_RUN, "externalParameters": {"source": source}}
        if self.commit:
            uri = f"git+{self.repository}@{self.ref}"
            definition["resolvedDependencies"] = [{"uri": uri, "digest": {"gitCommit": self.commit}}]
        details = {"builder": {"id": self.builder}, "metadata": {"invocationId": self.name} if self.name else {}}
        made = {
            "_type": STATEMENT,
            "subject": subjects,
            "predicateType": PREDICATE,
            "predicate": {"buildDefinition": definition, "runDetails": details},
        }
        return json.dumps(made, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def run_of(environment: Mapping[str, str], named: str) -> CiRun:
    """The run that this is. named: what the user calls it, where no CI system does."""

    def said(name: str) -> str:
        return environment.get(name, "")

    if said("GITHUB_ACTIONS") == "true":
        server = said("GITHUB_SERVER_URL")
        repository = f"{server}/{said('GITHUB_REPOSITORY')}"
        return CiRun(
            System.GITHUB,
            named or f"{repository}/actions/runs/{said('GITHUB_RUN_ID')}#{said('GITHUB_JOB')}",
            f"{server}/{said('GITHUB_WORKFLOW_REF')}",
            repository,
            said("GITHUB_REF"),
            said("GITHUB_SHA"),
        )
    if said("GITLAB_CI") == "true":
        tag, branch = said("CI_COMMIT_TAG"), said("CI_COMMIT_BRANCH")
        return CiRun(
            System.GITLAB,
            named or f"{said('CI_PROJECT_URL')}/-/pipelines/{said('CI_PIPELINE_ID')}#{said('CI_JOB_NAME')}",
            said("CI_SERVER_URL"),
            said("CI_PROJECT_URL"),
            f"refs/tags/{tag}" if tag else f"refs/heads/{branch}" if branch else "",
            said("CI_COMMIT_SHA"),
        )
    if said("JENKINS_URL"):
        tag, branch = said("TAG_NAME"), said("BRANCH_NAME")
        return CiRun(
            System.JENKINS,
            named or said("BUILD_URL"),
            said("JENKINS_URL"),
            said("GIT_URL"),
            f"refs/tags/{tag}" if tag else f"refs/heads/{branch}" if branch else said("GIT_BRANCH"),
            said("GIT_COMMIT"),
        )
    return CiRun(System.OTHER, named, CI_RUN, "", "", "")


def statement_path(paths: Sequence[str], out: str | None) -> str:
    """Where the statement is written: beside one path, `multiple.intoto.jsonl` for several; out: the folder of the results."""
    name = os.path.basename(os.path.abspath(paths[0])) if len(paths) == 1 else "multiple"
    folder = out if out is not None else os.path.dirname(os.path.abspath(paths[0])) if len(paths) == 1 else "."
    if out is not None and not os.path.isdir(out):
        folder, name = os.path.dirname(os.path.abspath(out)), os.path.basename(out)
    return os.path.join(folder, f"{name}.intoto.jsonl")
