"""A trust file read aloud: who may sign what, whose word on time and revocation counts, what is withdrawn."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from sealwright.artifact.names import display
from sealwright.cli.jsonout import moment as json_moment
from sealwright.cli.render import moment
from sealwright.trust.certificate import display_name, load_certificate
from sealwright.trust.model import Denied, Freshness, LogKey, Rule, SignerRule, TrustFile


def trust_text(trust: TrustFile) -> str:
    """The whole file for people, with a final line feed."""
    return "\n".join(display(line) for line in _lines(trust)) + "\n"


def trust_object(trust: TrustFile) -> dict[str, object]:
    """The same as JSON values."""
    return {
        "id": trust.id,
        "version": trust.version,
        "digest": str(trust.digest),
        "stage": trust.stage,
        "issued": json_moment(trust.issued),
        "expires": json_moment(trust.expires),
        "officers": {
            "threshold": trust.officers.threshold,
            "persons": sorted({key.person for key in trust.officers.keys}),
        },
        "recovery": {
            "threshold": trust.recovery.threshold,
            "persons": sorted({key.person for key in trust.recovery.keys}),
        },
        "anchors": [
            {"name": anchor.name, "subject": _subject(anchor.certificate), "environment": anchor.environment.value}
            for anchor in trust.anchors
        ],
        "authorities": [authority.name for authority in trust.authorities],
        "logs": [_note_key(log) for log in trust.logs],
        "witnesses": [_note_key(witness) for witness in trust.witnesses],
        "rules": [
            {"name": rule.name, "mode": rule.mode.value, "sentence": sentence(rule), "contact": rule.contact}
            for rule in trust.rules
        ],
        "denied": [denial(entry) for entry in trust.denied],
        "minimums": dict(trust.minimums),
    }


def sentence(rule: Rule) -> str:
    """A rule as one sentence."""
    what = ", ".join(rule.products) or "any product"
    formats = " as " + " or ".join(rule.formats) if rule.formats else ""
    hardware = " on " + " or ".join(rule.hardware) if rule.hardware else ""
    signers = " and ".join(_signer(signer) for signer in rule.signers)
    wants = []
    if rule.timestamp == "required":
        wants.append("a proved date")
    if rule.log == "required":
        wants.append("a log proof")
    if rule.minimum_generation is not None:
        wants.append(f"generation {rule.minimum_generation} or newer")
    if fresh := _freshness(rule.freshness):
        wants.append(fresh)
    needs = "; needs " + ", ".join(wants) if wants else ""
    return f"{what}{formats}{hardware} for {rule.environment}: signed by {signers}{needs}"


def denial(entry: Denied) -> str:
    """What is withdrawn, in one phrase."""
    below = f" below generation {entry.generation}" if entry.what == "below" else ""
    what = "product" if entry.what == "below" else entry.what
    return f"{what} {entry.value}{below}" + (f": {entry.reason}" if entry.reason else "")


def _lines(trust: TrustFile) -> Iterator[str]:
    yield f"Trust file {trust.id}, version {trust.version}, stage {trust.stage}"
    yield f"Issued {moment(trust.issued)}, ends {moment(trust.expires)}"
    for title, quorum in (("Officers", trust.officers), ("Recovery", trust.recovery)):
        persons = sorted({key.person for key in quorum.keys})
        if persons:
            yield f"{title}: {quorum.threshold} of {', '.join(persons)}"
    yield "Whose certificates count:"
    for anchor in trust.anchors:
        public = ", a public authority" if anchor.public else ""
        yield f"  {anchor.name} ({anchor.environment}{public}): {_subject(anchor.certificate)}"
    yield "Whose word on time counts: " + (", ".join(authority.name for authority in trust.authorities) or "nobody's")
    for title, keys in (("Signing log", trust.logs), ("Witness of a log", trust.witnesses)):
        for known in keys:
            yield f"{title}: {known.name} ({known.key})"
    yield "Rules:"
    for rule in trust.rules:
        yield f"  {rule.name} ({rule.mode}): {sentence(rule)}"
        if rule.contact:
            yield f"    contact: {rule.contact}"
    for product, generation in sorted(trust.minimums.items()):
        yield f"Minimum generation of {product}: {generation}"
    for entry in trust.denied:
        yield f"Withdrawn: {denial(entry)}"
    for evidence in trust.evidence:
        yield f"Key {evidence.key}: {evidence.provenance}" + (f", {evidence.reason}" if evidence.reason else "")


def _note_key(known: LogKey) -> dict[str, object]:
    return {"name": known.name, "vkey": str(known.key), "key_name": known.key.name, "key_id": known.key.id.hex()}


def _signer(signer: SignerRule) -> str:
    who = list(signer.persons) + list(signer.subjects) + [f"key {key}" for key in signer.keys]
    who += [f"certificate {certificate}" for certificate in signer.certificates]
    count = f"{signer.count} distinct signers" if signer.count > 1 else "one signer"
    named = f" ({', '.join(who)})" if who else ""
    until = f" until {signer.pins_until:%Y-%m-%d}" if signer.pins_until else ""
    return f"{count} in the part {signer.slot} under {' or '.join(signer.anchors)}{named}{until}"


def _freshness(freshness: Freshness) -> str:
    if freshness.fresh_for is None:
        return ""
    grace = f" ({_days(freshness.grace)} grace)" if freshness.grace else ""
    return f"a trust file of at most {_days(freshness.fresh_for)}{grace}"


def _days(span: timedelta) -> str:
    return f"{span / timedelta(days=1):g} days"


def _subject(certificate: bytes) -> str:
    return display_name(load_certificate(certificate, "anchor").subject)
