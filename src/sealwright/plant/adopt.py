"""A maker taken into a trust file by the narrowest rule under which a sample of theirs is accepted, or the smallest change of a rule.

1. Where the file accepts the sample already, nothing changes. What it denies is never taken in.
2. A maker is known by the authority above the signer. A new one gets an anchor, its timestamp authority, and one rule: this
   authority, exactly this subject, these purposes, this format, these products, mode `audit` with owner, reason and review. A
   certificate that came without one above it is pinned, with an end.
3. Of a known maker the rule that is there is changed where it refused: because rules that are equally close must all be met
   (`trust/rules.py`), a second one would refuse both.
4. A subject that the file knows under another authority is how an impostor looks: it is said, and only a second channel can tell.
5. The whole is tried: `verify` judges the samples under the new text, and what it would reject is not proposed.
Nothing is written here, and names out of certificates stand in the text only as TOML strings and escaped remarks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from sealwright.artifact.names import display
from sealwright.artifact.progress import Progress
from sealwright.errors import SampleRefused
from sealwright.plant.adoptedit import Edit, Said, add_authority, remarks_of
from sealwright.plant.adoptmatch import known_anchors
from sealwright.plant.adoptrule import adapt_rule, add_maker
from sealwright.plant.sample import Changed, Sample, changed, compared
from sealwright.texts.words import say
from sealwright.trust.belief import Believed, unbelieved
from sealwright.trust.certificate import is_authority, load_certificate
from sealwright.trust.draft import Draft
from sealwright.trust.model import TrustFile
from sealwright.trust.verdict import Outcome, Verdict
from sealwright.trust.verify import Request, verify_paths


class Proposal(NamedTuple):
    """data: the new text, None where nothing has to change; said: what is added or changed, in sentences; rule: which accepts the sample.

    changed: what is otherwise than the file knew; warnings: what to read twice; verdict: on the newest sample under the text.
    """

    data: bytes | None
    said: tuple[str, ...]
    changed: tuple[Changed, ...]
    warnings: tuple[str, ...]
    rule: str
    verdict: Verdict


def propose(
    draft: Draft, samples: Sequence[Sample], said: Said, now: datetime, progress: Progress | None = None
) -> Proposal:
    """What to add or change for these samples, newest last; SampleRefused where no narrow rule would accept them."""
    before = unbelieved(draft.path)
    verdicts = _judged(samples, before, now, progress)
    newest = samples[-1]
    found = [*_remembered(newest, before.trust), *compared(samples)]
    if all(one.outcome is Outcome.TRUSTED for one in verdicts):
        return Proposal(None, (), tuple(found), (), verdicts[-1].rule, verdicts[-1])
    edit = Edit(draft, changed=found, remarks=remarks_of(samples, said, now))
    known = known_anchors(newest, before.trust)
    if not known:
        add_maker(edit, samples, before.trust, said, now)
    elif any(not known_anchors(one, before.trust) for one in samples):
        raise SampleRefused(
            newest.path, "the file knows its maker, and not that of the other samples", "Take in one at a time."
        )
    else:
        adapt_rule(edit, samples, known, before.trust, said, now)
    for sample in samples:
        add_authority(edit, sample, before.trust)
    if not edit.said:
        return _unchanged(newest, verdicts[-1], edit)
    if any(one.what == "weaker" for one in edit.changed):
        edit.warnings.append(say("adopt.weaker"))
    data = draft.checked()
    trust = draft.trust
    certificates = tuple(dict.fromkeys((*trust.certificates, *before.certificates)))
    extra = tuple(one for one in before.denied if one not in trust.denied)
    after = replace(before, trust=trust, certificates=certificates, denied=(*trust.denied, *extra))
    for sample, verdict in zip(samples, _judged(samples, after, now, progress), strict=True):
        _check(sample, verdict)
    if verdict.outcome is Outcome.UNDECIDED:
        edit.warnings.append(display(verdict.findings[0].sentence))
    return Proposal(
        data, tuple(edit.said), tuple(dict.fromkeys(edit.changed)), tuple(edit.warnings), verdict.rule, verdict
    )


def _remembered(sample: Sample, trust: TrustFile) -> list[Changed]:
    """What a signer's certificate has otherwise than those of the same subject that the file holds."""
    held = [
        load_certificate(each, "certificate")
        for each in (*(one.certificate for one in trust.anchors), *trust.certificates)
    ]
    theirs = [one for one in held if one.subject == sample.leaf.subject and not is_authority(one)]
    return [] if sample.leaf in theirs else [each for one in theirs[-1:] for each in changed(one, sample.leaf)]


def _judged(samples: Sequence[Sample], believed: Believed, now: datetime, progress: Progress | None) -> list[Verdict]:
    return list(verify_paths([one.path for one in samples], believed, Request(clock=now), progress))


def _check(sample: Sample, verdict: Verdict) -> None:
    if verdict.outcome is Outcome.REJECTED:
        first = verdict.findings[0]
        what = f"under the narrowest rule it would still be refused: {display(first.sentence)}"
        raise SampleRefused(sample.path, what, display(first.next_step))


def _unchanged(sample: Sample, verdict: Verdict, edit: Edit) -> Proposal:
    _check(sample, verdict)
    return Proposal(None, (), tuple(edit.changed), (display(verdict.findings[0].sentence),), verdict.rule, verdict)
