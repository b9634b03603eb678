"""Handing a release to a device that runs no agent: verified in a private copy, given from there to the vendor's tool, recorded before and after.

    source -> private copy -> verdict -> record `begun` -> vendor's tool or a person -> copy unchanged? -> read-back -> record of the end

1. What is judged is the copy (`privatecopy.py`), for `install`, with this verifier's trust file and memory, for one serial number.
2. A release must be complete by its own `release.toml`; of its components one is handed over. Hardware that is claimed as `serial:NUMBER`
   binds it to those devices (A149, A158).
3. Just before it is handed over every file of the copy must still be what was judged, and afterwards too (A150).
4. What `release.toml` requires must be said to be there (`Device.present`): only the device knows, and without a word it stays undecided.
5. Without a record that it begins nothing is handed over; a permit that it rests on is remembered as used before that. The record of the
   end says how the tool ended and what the device gave back.
6. With `Remember.PROVED` the memory takes over the generation when the tool has ended well, and not at the verdict.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.artifact.names import display
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import read_file_or_none
from sealwright.errors import HandoverRefused, SealwrightError
from sealwright.findings import Finding, Severity, note, reject, undecided
from sealwright.plant.installation import Installation, Stage, ToolUsed
from sealwright.plant.privatecopy import Copy, copied, read_only
from sealwright.plant.readback import Compared, Reading, compare
from sealwright.plant.recorder import Judged, Recorded, Recorder, judge
from sealwright.plant.vendortool import Tool
from sealwright.release.description import (
    MAX_BYTES,
    NAME,
    Component,
    Description,
    Requirement,
    check_complete,
    parse_description,
)
from sealwright.trust.permits import use_permit
from sealwright.trust.rules import older_than
from sealwright.trust.state import read_state, update_state
from sealwright.trust.verdict import Outcome, Purpose, Verdict
from sealwright.trust.verify import Remember, Verifier

SERIAL = "serial:"
ByHand = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Device:
    """One device. serial: as permits name it; hardware: "" where not said; present: what is said to be installed there, with generations."""

    serial: str
    hardware: str = ""
    present: tuple[Requirement, ...] = ()


class Prepared(NamedTuple):
    """A judged copy. part: the path of what is handed over, in the copy; component: "" where that is all of it.

    memory: the verifier's folder where it waits for the end of the installation, else "".
    """

    copy: Copy
    judged: Judged
    component: str
    part: str
    digest: Digest | None
    memory: str


class Ended(NamedTuple):
    """How it went. begun: the record before; end: the record after, None where nothing was handed over."""

    stage: Stage
    begun: Recorded
    end: Recorded | None = None
    compared: Compared | None = None
    tool: ToolUsed | None = None


def prepare(
    path: str, root: str, device: Device, component: str, verifier: Verifier, progress: Progress | None = None
) -> Prepared:
    """Copy into the private folder `root` and judge the copy. The verdict names the path that was given.

    component: "" for the only one, or where there is no `release.toml`. Raises HandoverRefused for a component that is not there, and what
    `copied` raises.
    """
    copy = copied(path, root)
    judged = judge(verifier, copy.path, None, progress)
    verdict = judged.verdict
    findings = list(_about_serial(verdict.claims, device.serial))
    chosen: Component | None = None
    if verdict.outcome is Outcome.TRUSTED:
        described, wrong = _described(copy)
        findings += wrong
        if described is not None:
            chosen = _chosen(described, component, path)
            findings += [found for one in described.requires if (found := _required(one, device, verdict.purpose))]
        elif component and not wrong:
            raise HandoverRefused(
                display(path), f"there is no {NAME} in it that names components", "Leave out --component."
            )
    part = copy.path if chosen is None else os.path.join(copy.path, *os.fsdecode(chosen.path).split("/"))
    digest = next((one.digest for one in copy.taken if copy.inside(one.name) == part), None)
    judged = judged._replace(verdict=verdict.with_findings(tuple(findings)))
    request = verifier.request
    memory = request.state or "" if request.remember is Remember.PROVED else ""
    return Prepared(copy, judged, chosen.name if chosen is not None else "", part, digest, memory)


def hand_over(
    prepared: Prepared, device: Device, how: Tool | ByHand, recorder: Recorder, reading: Reading | None = None
) -> Ended:
    """Give the part to the tool, or to a person, and record it. how: a person is shown a path, and says whether it is done.

    Raises HandoverRefused for a tool that cannot be relied on, before anything is recorded as begun.
    """
    about = _installation(prepared, device, Stage.REFUSED)
    judged = prepared.judged
    if judged.verdict.outcome is not Outcome.TRUSTED:
        return Ended(Stage.REFUSED, _recorded(recorder, judged, about))
    tool = None
    if isinstance(how, Tool):
        how.refuse_other(prepared.part)
        tool = how.checked()
    with read_only(prepared.copy):
        judged = _unless_changed(prepared.copy, judged)
        if judged.verdict.outcome is Outcome.TRUSTED and prepared.memory:
            judged = judged._replace(verdict=_still_allowed(judged.verdict, prepared.memory))
        if judged.verdict.outcome is not Outcome.TRUSTED:
            return Ended(Stage.REFUSED, _recorded(recorder, judged, about))
        begun = _recorded(recorder, judged, replace(about, stage=Stage.BEGUN, tool=tool))
        if begun.verdict.outcome is not Outcome.TRUSTED:
            return Ended(Stage.REFUSED, begun)
        stage, tool = _handed(prepared.part, device, how, tool)
        judged = _unless_changed(prepared.copy, judged)
    compared = None
    if reading is not None and stage is Stage.DONE:
        try:
            compared = compare(prepared.part, reading)
            found = compared.findings
        except SealwrightError as cause:  # the device is loaded by now, and the record of that comes in any case
            found = (reject(cause.code, cause.subject, found=cause.what),)
        judged = judged._replace(verdict=judged.verdict.with_findings(found))
    if stage is Stage.DONE and judged.verdict.outcome is Outcome.TRUSTED:
        judged = _proved(prepared, judged)
    if judged.verdict.outcome is not Outcome.TRUSTED:
        stage = Stage.FAILED
    result = compared.result if compared is not None else None
    end = _recorded(
        recorder,
        judged._replace(clock=datetime.now(UTC)),
        replace(about, stage=stage, tool=tool, readback=result),
    )
    return Ended(stage, begun, end, compared, tool)


def read_back(
    prepared: Prepared, device: Device, reading: Reading, recorder: Recorder | None
) -> tuple[Compared, Recorded]:
    """Compare what a device gave back with a judged copy, and record it where records are kept.

    The verdict that comes back is refused where the two differ; nothing is compared with what is not trusted itself.
    """
    judged = prepared.judged
    if judged.verdict.outcome is not Outcome.TRUSTED:
        raise HandoverRefused(
            display(judged.verdict.path),
            "it is not trusted itself, so a comparison would say nothing",
            "See what `sealwright verify` says of it.",
        )
    compared = compare(prepared.part, reading)
    judged = judged._replace(verdict=judged.verdict.with_findings(compared.findings))
    if recorder is None:
        return compared, Recorded(judged.verdict, "")
    about = replace(_installation(prepared, device, Stage.COMPARED), readback=compared.result)
    return compared, _recorded(recorder, judged, about)


def _handed(part: str, device: Device, how: Tool | ByHand, tool: ToolUsed | None) -> tuple[Stage, ToolUsed | None]:
    """How far it came, and the tool with its exit code. One that cannot be started has failed like one that ends badly."""
    if not isinstance(how, Tool):
        return (Stage.DONE if how(part) else Stage.LEFT), None
    code = None
    with suppress(HandoverRefused):
        code = how.run(part, device.serial)
    return (Stage.DONE if code == 0 else Stage.FAILED), replace(tool, exit=code) if tool is not None else None


def _still_allowed(verdict: Verdict, memory: str) -> Verdict:
    """The verdict, refused where meanwhile another one used its permit, or has installed something newer."""
    if verdict.permitted is not None:
        return use_permit(verdict, memory)
    claims = verdict.claims
    least = read_state(memory).generations.get(claims.product or "", 0)
    return verdict.with_findings(
        tuple(older_than(claims, least, "installed meanwhile", verdict.purpose)) if least else ()
    )


def _proved(prepared: Prepared, judged: Judged) -> Judged:
    """Once the memory has the generation (point 6); refused where it cannot be written: the device is loaded by then, and the record says so."""
    product, generation = judged.verdict.claims.product, judged.verdict.claims.generation
    if not prepared.memory or product is None or generation is None:
        return judged
    try:
        update_state(prepared.memory, lambda kept: kept.having_proved(product, generation))
    except SealwrightError as cause:
        found = reject(cause.code, cause.subject, found=cause.what)
        return judged._replace(verdict=judged.verdict.with_findings((found,)))
    return judged


def _recorded(recorder: Recorder, judged: Judged, about: Installation) -> Recorded:
    return recorder.record([judged._replace(installation=about)])[0]


def _installation(prepared: Prepared, device: Device, stage: Stage) -> Installation:
    return Installation(stage, device.serial, device.hardware, prepared.component, prepared.digest)


def _unless_changed(copy: Copy, judged: Judged) -> Judged:
    changed = tuple(reject("SW-HANDOVER-CHANGED", display(name)) for name in copy.changed())
    return judged._replace(verdict=judged.verdict.with_findings(changed)) if changed else judged


def completed(copy: Copy, verdict: Verdict) -> Verdict:
    """The verdict, refused where a release is not complete by its own `release.toml`."""
    return verdict.with_findings(_described(copy)[1]) if verdict.outcome is Outcome.TRUSTED else verdict


def _about_serial(claims: Claims, serial: str) -> tuple[Finding, ...]:
    """A refusal where the claims bind devices by number and this is none of them."""
    bound = [one.removeprefix(SERIAL) for one in claims.hardware if one.startswith(SERIAL)]
    if not bound or serial in bound:
        return ()
    return (reject("SW-HANDOVER-SERIAL", "this device", ", ".join(bound), serial),)


def _described(copy: Copy) -> tuple[Description | None, tuple[Finding, ...]]:
    """What the release says of its parts; a refusal where it is not complete, (None, ()) where it says nothing."""
    name = os.path.basename(copy.path)
    inside = os.fsencode(name) + b"/"
    if not os.path.isdir(copy.path):
        return None, ()
    try:
        data = read_file_or_none(os.path.join(copy.path, NAME), MAX_BYTES)
        if data is None:
            return None, ()
        description = parse_description(data, NAME)
        members = [one.name.removeprefix(inside) for one in copy.taken if one.name.startswith(inside)]
        check_complete(description, members, name)
    except SealwrightError as cause:
        return None, (reject(cause.code, cause.subject, found=cause.what),)
    return description, ()


def _chosen(description: Description, wanted: str, path: str) -> Component:
    names = [one.name for one in description.components]
    if not wanted and len(names) == 1:
        return description.components[0]
    found = next((one for one in description.components if one.name == wanted), None)
    if found is None:
        what = f"it has no component {display(wanted)}" if wanted else "it has several components"
        raise HandoverRefused(display(path), what, f"Name one with --component: {', '.join(names)}.")
    return found


def _required(one: Requirement, device: Device, purpose: Purpose) -> Finding | None:
    """What stands against a release that needs something before (point 4); a note for what runs already."""
    here = next((found.generation for found in device.present if found.product == one.product), None)
    if here is not None and here >= one.generation:
        return None
    if purpose is Purpose.RUN:
        return note("SW-HANDOVER-REQUIRES", one.product, str(one.generation), "nothing that was said")
    if here is None:
        return undecided("SW-HANDOVER-REQUIRES", one.product, str(one.generation), "nothing that was said")
    return reject("SW-HANDOVER-REQUIRES", one.product, str(one.generation), f"generation {here}")


def refused_by(verdict: Verdict) -> tuple[Finding, ...]:
    """What stands against it."""
    return tuple(one for one in verdict.findings if one.severity in (Severity.REJECT, Severity.UNDECIDED))
