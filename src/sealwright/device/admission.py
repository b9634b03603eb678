"""Whether a device takes a release: the verdict on its own copy, and what only the device knows.

1. The manifest is the one that was offered, and `verify` trusts the folder for this product, hardware and line (`trust/verify.py`).
2. Signed bytes say product, version, generation and hardware; a device installs nothing that leaves one of them out (A149).
3. `release.toml` answers for every file, and an installer of this device takes each component (A148).
4. What the release needs is installed, in the generation that it names.
5. Its generation is not below the floor, which only ever rises (A144); what is older than what was installed step 1 has refused.
6. It was not withdrawn, whatever an older stick offers (A154), and has not failed here before.
What refuses is a finding of the verdict; nothing here is an exception but what could not be read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Protocol

from sealwright.artifact.digest import Digest
from sealwright.artifact.names import display
from sealwright.artifact.source import read_file
from sealwright.device.agentconfig import AgentConfig
from sealwright.device.agentstate import AgentState
from sealwright.device.copying import Copy
from sealwright.errors import SealwrightError
from sealwright.findings import Finding, Severity, reject, warning
from sealwright.release.channels import Named
from sealwright.release.description import MAX_BYTES, NAME, Description, check_complete, parse_description
from sealwright.trust.belief import Believed
from sealwright.trust.state import read_state
from sealwright.trust.verdict import Outcome, Purpose, Verdict
from sealwright.trust.verify import Remember, Request, Verifier


class Permits(Protocol):
    """The permits at hand for this device: what a signed one makes of a refusal. It never makes an altered, denied or foreign release good."""

    @property
    def manifests(self) -> frozenset[Digest]:
        """The releases that they are for, which may be older than what is installed."""
        ...

    def judge(self, verdict: Verdict, asker: Asker) -> Verdict:
        """The verdict by the first permit that makes it trusted, or the same one with why none does."""
        ...

    def use(self, verdict: Verdict, memory: str) -> Verdict:
        """The verdict once the permit that it rests on is remembered as used; refused where it was used meanwhile."""
        ...


class Retry(Enum):
    """Whether a release that failed here before may be tried again: only where somebody asked for it."""

    NEVER = auto()
    ASKED = auto()


@dataclass(frozen=True, slots=True)
class Admitted:
    """verdict: with all that the device found; description: None where it could not be read."""

    verdict: Verdict
    description: Description | None

    @property
    def taken(self) -> bool:
        """Whether it may be installed."""
        return self.verdict.outcome is Outcome.TRUSTED and self.description is not None


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: the device's own description and memory. floor: the highest of what it and its TPM know."""

    config: AgentConfig
    state: AgentState
    memory: str
    believed: Believed
    clock: datetime
    floor: int
    permits: Permits | None = None

    def request(self, purpose: Purpose) -> Request:
        """The question to the verifier; what was accepted advances no generation before it has shown that it works."""
        config = self.config
        return Request(
            clock=self.clock,
            purpose=purpose,
            state=self.memory,
            hardware=config.hardware,
            product=config.product,
            line=config.line,
            device=config.device,
            remember=Remember.PROVED,
        )


def admit(
    copy: Copy, offered: Named, asker: Asker, purpose: Purpose = Purpose.INSTALL, retry: Retry = Retry.NEVER
) -> Admitted:
    """Judge a copy; raises only for a memory that cannot be read or written."""
    verdict = Verifier(asker.believed, asker.request(purpose)).verify(copy.folder)
    if verdict.outcome is Outcome.REJECTED and not verdict.claims:
        return Admitted(verdict, None)
    description, findings = _described(copy, offered.version)
    found = [*findings, *_claimed(verdict, offered, copy), *_of_device(verdict, offered, asker, retry)]
    if description is not None:
        found += _needed(description, offered, asker)
    verdict = verdict.with_findings(tuple(found))
    # a refusal of ours is the more exact reason
    verdict = verdict._replace(findings=(*found, *(one for one in verdict.findings if one not in found)))
    if asker.permits is not None and verdict.outcome is not Outcome.TRUSTED:
        verdict = asker.permits.judge(verdict, asker)
    return Admitted(verdict, description)


def still_runs(copy: Copy, asker: Asker) -> Verdict:
    """What the trust file says today of what is installed. Nothing is stopped by it: a device tells, people decide (A155)."""
    verdict = Verifier(asker.believed, asker.request(Purpose.RUN)).verify(copy.folder)
    if advisory := asker.state.advisory(copy.digest):
        told = warning("SW-AGENT-RUNNING", os.path.basename(copy.folder), found=f"it was withdrawn ({advisory})")
        return verdict.with_findings((told,))
    return verdict


def installed_generations(asker: Asker) -> Mapping[str, int]:
    """By product: what this verifier has seen work, and what agent.toml says is there."""
    known = dict(read_state(asker.memory).generations)
    for one in asker.config.present:
        known[one.product] = max(one.generation, known.get(one.product, 0))
    if asker.state.installed is not None:
        known[asker.config.product] = asker.state.installed.release.generation
    return known


def _described(copy: Copy, version: str) -> tuple[Description | None, list[Finding]]:
    try:
        description = parse_description(read_file(os.path.join(copy.folder, NAME), MAX_BYTES), NAME)
        names = [*(entry.name for entry in copy.manifest.files), *(link.name for link in copy.manifest.links)]
        check_complete(description, [*names, *copy.manifest.folders], NAME)
    except SealwrightError as cause:
        return None, [reject("SW-AGENT-INCOMPLETE", version, found=cause.what)]
    return description, []


def _claimed(verdict: Verdict, offered: Named, copy: Copy) -> Iterator[Finding]:
    claims = verdict.claims
    wanted = {
        "which product it is": claims.product,
        "its version": claims.version,
        "its generation": claims.generation,
        "which hardware it is for": claims.hardware,
    }
    for what, claimed in wanted.items():
        if claimed in (None, ()):
            yield reject("SW-AGENT-CLAIMS", offered.version, what)
    said = (claims.version, claims.generation)
    if None not in said and said != (offered.version, offered.generation):
        found = f"{display(claims.version or '')} of generation {claims.generation}"
        wanted_text = f"{offered.version} of generation {offered.generation}"
        yield reject("SW-AGENT-OTHER-RELEASE", offered.version, wanted_text, found)
    if copy.digest != offered.manifest:
        yield reject("SW-AGENT-OTHER-RELEASE", offered.version, str(offered.manifest), str(copy.digest))


def _of_device(verdict: Verdict, offered: Named, asker: Asker, retry: Retry) -> Iterator[Finding]:
    generation = verdict.claims.generation
    if generation is not None and generation < asker.floor:
        yield reject("SW-GENERATION-OLD", offered.version, f"{asker.floor} (this device's floor)", str(generation))
    if advisory := asker.state.advisory(offered.manifest):
        yield reject("SW-AGENT-WITHDRAWN", offered.version, found=advisory)
    if retry is Retry.NEVER and offered.manifest in asker.state.failed:
        yield reject("SW-AGENT-FAILED-BEFORE", offered.version)


def _needed(description: Description, offered: Named, asker: Asker) -> Iterator[Finding]:
    for component in description.components:
        if asker.config.installer(component.name) is None:
            yield reject("SW-AGENT-INSTALLER", offered.version, found=component.name)
    known = installed_generations(asker) if description.requires else {}
    for one in description.requires:
        here = known.get(one.product)
        if here is None or here < one.generation:
            found = "none that is known" if here is None else f"generation {here}"
            yield reject("SW-AGENT-REQUIRES", offered.version, f"{one.product} of generation {one.generation}", found)


def refused(verdict: Verdict) -> tuple[Finding, ...]:
    """What refused it, or left it open."""
    return tuple(one for one in verdict.findings if one.severity in (Severity.REJECT, Severity.UNDECIDED))
