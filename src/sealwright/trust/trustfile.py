"""`trust.toml` read: the one root of trust, parsed whole or refused (DESIGN, RULES 5; docs/trust-file.md for officers).

1. At most 1 MiB of UTF-8, the first line `# sealwright trust 1`, TOML 1.0 without duplicate keys.
2. Every key is known, typed and bounded; an unknown key or section is refused, with the one that was probably meant.
3. The parts fit together: thresholds can be reached by different persons, rules name anchors that exist, a key is an anchor
   of one environment, a public CA or a pinned leaf is never trusted by itself, exceptions carry a reason and an end.
Nothing is looked up anywhere else: no environment variable, no system store, no default anchor.
"""

from __future__ import annotations

import unicodedata
from datetime import timedelta
from typing import TYPE_CHECKING, cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from sealwright.artifact.digest import Digest
from sealwright.artifact.grade import Grade
from sealwright.artifact.section import TRUST, Section, read_toml
from sealwright.envelope.algorithms import PublicKey, algorithm_for, check_encoding, key_digest
from sealwright.errors import MalformedTrust, SealwrightError
from sealwright.formats.format import Slot
from sealwright.formats.registry import NAMES, TIMELESS
from sealwright.trust.ageing import NAMES as AGEING
from sealwright.trust.certificate import ANY_PURPOSE, load_certificate, spki_digest
from sealwright.trust.denials import certificate_in, denials
from sealwright.trust.interpreters import Interpreter, interpreter
from sealwright.trust.layouts import FAMILY, NamedLayout, family, named_layout
from sealwright.trust.model import (
    Anchor,
    CrlPolicy,
    Environment,
    Freshness,
    KeyEvidence,
    LogKey,
    Mode,
    OfficerKey,
    Person,
    Quorum,
    Repository,
    Rule,
    SignerRule,
    TimestampAuthority,
    TrustFile,
    Withdrawal,
)

if TYPE_CHECKING:
    from sealwright.trust.permitrules import PermitRule

FIRST_LINE = "# sealwright trust 1"
MAX_BYTES = TRUST.limit_bytes
STAGES = ("ordinary", "trial")
PROVENANCES = ("hardware-attested", "hardware-claimed", "hardware-imported", "service-held")
EXCUSED = ("hardware-imported", "service-held")  # they count only with a reason and a review date
PURPOSES = ("install", "run", "restore")
EXPIRY = ("counts", "as the device")
GRADES = tuple(Grade)
EKU_NAMES = {
    "codeSigning": "1.3.6.1.5.5.7.3.3",
    "configSigning": "1.3.6.1.5.5.7.3.41",
    "trustAnchorConfigSigning": "1.3.6.1.5.5.7.3.42",
    "updatePackageSigning": "1.3.6.1.5.5.7.3.43",
}
_NO_TIME = timedelta(0)
_NEXT = "Correct it and have the file signed again."


def parse_trust(data: bytes, subject: str) -> TrustFile:
    """Read a trust file; MalformedTrust naming section, key and what is wanted, LimitExceeded above 1 MiB."""
    top = _top(data, subject)
    persons = tuple(cast("tuple[Person, ...]", top.each("person", _person)))
    officers = quorum(top.table("officers"))
    trust = TrustFile(
        text=data,
        digest=Digest.of(data),
        id=top.name("id"),
        version=top.number("version", 1),
        issued=top.time("issued"),
        expires=top.time("expires"),
        stage=top.word("stage", STAGES, "ordinary"),
        persons=persons,
        officers=officers,
        recovery=quorum(top.table("recovery")),
        anchors=cast("tuple[Anchor, ...]", top.each("anchor", _anchor)),
        intermediates=cast(
            "tuple[bytes, ...]", top.each("intermediate", lambda one: certificate_in(one, "certificate"))
        ),
        certificates=cast("tuple[bytes, ...]", top.each("certificate", lambda one: certificate_in(one, "certificate"))),
        authorities=cast("tuple[TimestampAuthority, ...]", top.each("authority", _authority)),
        logs=cast("tuple[LogKey, ...]", top.each("log", lambda one: _note_key(one, data, "LOG"))),
        witnesses=cast("tuple[LogKey, ...]", top.each("witness", lambda one: _note_key(one, data, "WITNESS"))),
        crls=cast("tuple[CrlPolicy, ...]", top.each("crl", _crl)),
        denied=denials(top),
        minimums=_minimums(top),
        evidence=cast("tuple[KeyEvidence, ...]", top.each("evidence", _evidence)),
        rules=cast("tuple[Rule, ...]", top.each("rule", _rule)),
        permits=_permits(top),
        interpreters=cast("tuple[Interpreter, ...]", top.each("interpreter", interpreter)),
        layouts=cast("tuple[NamedLayout, ...]", top.each("layout", named_layout)),
        tuf_root=top.digest("tuf_root") if top.has("tuf_root") else None,
        repositories=cast(
            "tuple[Repository, ...]",
            top.each("repository", lambda one: Repository(one.name("name"), one.digest("root"))),
        ),
        floor_lowered_in=top.number("floor_lowered_in", 1, 0),
        algorithms=cast("tuple[Withdrawal, ...]", top.each("algorithm", _withdrawal)),
    )
    trust = trust._replace(witness_threshold=_witness_threshold(top, trust.witnesses))
    top.text("title", "")
    top.done()
    _check(trust, subject)
    return trust


def _top(data: bytes, subject: str) -> Section:
    if data.startswith(b"# sealwright deny ") and len(data) <= MAX_BYTES:
        raise MalformedTrust(
            subject,
            "it is a deny list, not a trust file",
            "Keep it beside its trust.toml; `sealwright inspect` shows it.",
        )
    return read_toml(data, subject, FIRST_LINE)


def _person(section: Section) -> Person:
    return Person(
        id=section.name("id"),
        organisation=section.text("organisation"),
        roles=section.texts("roles"),
        keys=section.digests("keys"),
        certificates=section.digests("certificates"),
        since=section.time_or_none("from"),
        until=section.time_or_none("until"),
    )


def quorum(section: Section) -> Quorum:
    """`threshold` and `[[…key]]` of a table: no key twice, and a threshold that distinct persons reach."""
    threshold = section.number("threshold", 1)
    keys = []
    for one in section.tables("key", f"{section.where.strip('[]')}.key"):
        keys.append(OfficerKey(one.name("person"), _public_key(one)))
        one.done()
    section.done()
    if len({key.spki for key in keys}) != len(keys):
        raise section.wrong("key", "a different key each time")
    if len({key.person for key in keys}) < threshold:
        raise section.wrong(
            "threshold", f"at most the {len({key.person for key in keys})} different persons with a key"
        )
    return Quorum(threshold, tuple(keys))


def _public_key(section: Section) -> bytes:
    text = section.raw("key")
    try:
        pem = (text or "").encode()
        key = load_pem_public_key(pem)
        algorithm_for(key, subject=section.where)
        check_encoding(cast("PublicKey", key), pem, subject=section.where)
        der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        load_der_public_key(der)
    except SealwrightError as cause:
        raise section.wrong("key", f"a public key of an accepted algorithm ({cause.what})") from cause
    except (ValueError, UnsupportedAlgorithm) as cause:
        raise section.wrong("key", "a public key in PEM (BEGIN PUBLIC KEY) of an accepted algorithm") from cause
    return der


def _anchor(section: Section) -> Anchor:
    return Anchor(
        name=section.name("name"),
        certificate=certificate_in(section, "certificate"),
        environment=Environment(section.word("environment", tuple(Environment))),
        public=section.flag("public"),
    )


def _authority(section: Section) -> TimestampAuthority:
    return TimestampAuthority(
        name=section.name("name"),
        anchor=certificate_in(section, "anchor"),
        key=section.digest("key") if section.has("key") else None,
        last_token=section.time_or_none("last_token"),
    )


def _note_key(section: Section, data: bytes, wanted: str) -> LogKey:
    from sealwright.envelope.verifierkey import NoteType, parse_verifier_key  # few files have one, each verify starts

    text = section.raw("vkey") or ""
    try:
        return LogKey(section.name("name"), parse_verifier_key(text, NoteType[wanted]))
    except ValueError as cause:
        at = data.find(text.encode())
        if text and at >= 0:
            line = data.count(b"\n", 0, at) + 1
            section.where += f" (line {line})"
        raise section.wrong("vkey", f"a verifier key of the signed-note form; {cause}") from cause


def _witness_threshold(top: Section, witnesses: tuple[LogKey, ...]) -> int:
    """How many witnesses are enough; more than half of them where it is not said. Two keys of one name are one witness."""
    names = {witness.key.name for witness in witnesses}
    stated = top.has("witness_threshold")
    found = top.number("witness_threshold", 1, len(names) // 2 + 1)
    if stated and found > len(names):
        raise top.wrong("witness_threshold", f"at most {len(names)}, as many as there are witnesses")
    return found


def _crl(section: Section) -> CrlPolicy:
    der = certificate_in(section, "issuer")
    name = load_certificate(der, section.where).subject.public_bytes()
    return CrlPolicy(name, section.number("min_number", 0, 0), section.durations("max_age", PURPOSES), der)


def _minimums(top: Section) -> dict[str, int]:
    if not top.has("minimum"):
        return {}
    section = top.table("minimum")
    found = {}
    for product, generation in section.items():
        if not isinstance(generation, int) or isinstance(generation, bool) or generation < 0:
            raise section.wrong(product, "a generation, a whole number from 0")
        found[product] = generation
    return found


def _permits(top: Section) -> tuple[PermitRule, ...]:
    if not top.has("permit"):
        return ()
    from sealwright.trust.permitrules import permit_rule  # few files have one, each verify starts

    return cast("tuple[PermitRule, ...]", top.each("permit", permit_rule))


def _withdrawal(section: Section) -> Withdrawal:
    return Withdrawal(section.word("name", AGEING), section.time("until"))


def _evidence(section: Section) -> KeyEvidence:
    evidence = KeyEvidence(
        key=section.digest("key"),
        provenance=section.word("provenance", PROVENANCES),
        reason=section.text("reason", ""),
        review=section.time_or_none("review"),
    )
    if evidence.provenance in EXCUSED and (not evidence.reason or evidence.review is None):
        raise section.wrong("provenance", f"given with `reason` and `review` where it is {evidence.provenance}")
    return evidence


def _rule(section: Section) -> Rule:
    section.where = f"[[rule]] {section.left.get('name', '')}"
    name = section.name("name")
    signers = []
    for one in section.tables("signer", "rule.signer"):
        signers.append(_signer(one))
        one.done()
    if not signers:
        raise section.wrong("signer", "at least one [[rule.signer]]")
    rule = Rule(
        name=name,
        products=section.texts("products"),
        formats=section.texts("formats"),
        environment=Environment(section.word("environment", tuple(Environment))),
        hardware=section.texts("hardware"),
        signers=tuple(signers),
        timestamp=section.word("timestamp", ("required", "optional"), "optional"),
        log=section.word("log", ("required", "none"), "none"),
        freshness=Freshness(
            fresh_for=section.duration("fresh_for"),
            grace=section.duration("grace") or _NO_TIME,
            floor_ok=section.word("without_clock", ("allow", "refuse"), "refuse") == "allow",
        ),
        mode=Mode(section.word("mode", tuple(Mode), "audit")),
        owner=section.text("owner", ""),
        reason=section.text("reason", ""),
        review=section.time_or_none("review"),
        contact=section.text("contact", ""),
        grades=section.texts("grades"),
        minimum_generation=section.number("minimum_generation", 0) if section.has("minimum_generation") else None,
        ignores_expiry=section.word("expiry", EXPIRY, "counts") == "as the device",
    )
    if {one for one in rule.formats if not one.startswith(f"{FAMILY}:")} - set(NAMES):
        raise section.wrong("formats", "some of " + ", ".join((*NAMES, f"{FAMILY}:NAME")))
    if rule.ignores_expiry and (not rule.formats or {family(one) for one in rule.formats} - set(TIMELESS)):
        raise section.wrong("expiry", "left out unless `formats` names only some of " + ", ".join(TIMELESS))
    if set(rule.grades) - set(GRADES):
        raise section.wrong("grades", "some of " + ", ".join(GRADES))
    slots = {signer.slot for signer in signers}
    if rule.grades and Slot.PLANT not in slots:
        raise section.wrong("grades", "left out unless there is a [[rule.signer]] of slot plant, who signs the records")
    if rule.grades and Slot.MAKER not in slots:
        rule = rule._replace(signers=(NEVER_SIGNS, *rule.signers))
    if all(signer.count == 0 for signer in rule.signers):
        raise section.wrong("signer", "at least one [[rule.signer]] with a count of 1 or more")
    if not rule.grades and any(signer.count == 0 for signer in signers):
        raise section.wrong("count", "1 or more, unless `grades` says which receiving records these signers sign")
    if rule.mode is not Mode.AUDIT and not (rule.owner and rule.reason and rule.review):
        raise section.wrong("mode", "given with `owner`, `reason` and `review` where it is not audit")
    return rule


# the maker of a rule that takes receiving records and names none: no signature fills it, so that the record is asked for
NEVER_SIGNS = SignerRule(Slot.MAKER, (), (), (), (), (), (), 1, None)


def _signer(section: Section) -> SignerRule:
    slot = Slot(section.word("slot", tuple(Slot), "maker"))
    signer = SignerRule(
        slot=slot,
        anchors=section.texts("anchors"),
        subjects=section.texts("subjects"),
        keys=section.digests("keys"),
        certificates=section.digests("certificates"),
        purposes=tuple(_purpose(section, name) for name in section.texts("purposes")),
        persons=section.texts("persons"),
        count=section.number("count", 0 if slot is Slot.PLANT else 1, 1),
        pins_until=section.time_or_none("pins_until"),
    )
    if not signer.anchors:
        raise section.wrong("anchors", "a list of anchors' names")
    if (signer.keys or signer.certificates) and signer.pins_until is None:
        raise section.wrong("pins_until", "the end of the exception, where keys or certificates are pinned")
    return signer


def _purpose(section: Section, name: str) -> str:
    if name in EKU_NAMES:
        return EKU_NAMES[name]
    if name == "any":
        return ANY_PURPOSE
    try:
        return x509.ObjectIdentifier(name).dotted_string
    except ValueError as cause:
        raise section.wrong("purposes", "some of " + ", ".join(EKU_NAMES) + ", any, or dotted OIDs") from cause


def _check(trust: TrustFile, subject: str) -> None:
    """Point 3: the parts fit together."""

    def wrong(what: str) -> MalformedTrust:
        return MalformedTrust(subject, what, _NEXT)

    if trust.issued >= trust.expires:
        raise wrong("`issued` is not before `expires`")
    if trust.floor_lowered_in > trust.version:
        raise wrong(f"`floor_lowered_in` names version {trust.floor_lowered_in}, which is still to come")
    persons = [person.id for person in trust.persons]
    anchors = {anchor.name: anchor for anchor in trust.anchors}
    for name, names in (
        ("[[person]] id", persons),
        ("[[anchor]] name", [anchor.name for anchor in trust.anchors]),
        ("[[rule]] name", [rule.name for rule in trust.rules]),
        ("[[authority]] name", [authority.name for authority in trust.authorities]),
        ("[[log]] name", [log.name for log in trust.logs]),
        ("[[witness]] name", [witness.name for witness in trust.witnesses]),
        ("[[crl]] issuer", [policy.issuer.hex() for policy in trust.crls]),
        ("[[permit]] name", [permit.name for permit in trust.permits]),
        ("[[interpreter]] kind", [one.kind for one in trust.interpreters]),
        ("[[layout]] name", [layout.name for layout in trust.layouts]),
        ("[[layout]] digest", [str(layout.digest) for layout in trust.layouts]),
        ("[[evidence]] key", [str(evidence.key) for evidence in trust.evidence]),
        ("[[algorithm]] name", [one.name for one in trust.algorithms]),
        ("[[repository]] name", [one.name for one in trust.repositories]),
        ("[[repository]] root", [str(one.root) for one in trust.repositories]),
    ):
        if len({_as_read(one) for one in names}) != len(names):
            raise wrong(f"{name} is used twice")
    if trust.tuf_root in [one.root for one in trust.repositories]:
        raise wrong("`tuf_root` is the root of a [[repository]] too; two repositories have two roots")
    note_keys: dict[bytes, str] = {}  # a log that witnesses itself, or one witness under two names, would count twice
    for section, known in (("log", trust.logs), ("witness", trust.witnesses)):
        for one in known:
            if one.key.key in note_keys:
                raise wrong(f"[[{section}]] {one.name}: its key is also that of {note_keys[one.key.key]}")
            note_keys[one.key.key] = f"[[{section}]] {one.name}"
    certificates = [anchor.certificate for anchor in trust.anchors]
    if len(set(certificates)) != len(certificates):
        raise wrong("one certificate is an [[anchor]] twice; it has one environment")
    environments: dict[Digest, Environment] = {}
    for anchor in trust.anchors:
        key = spki_digest(load_certificate(anchor.certificate, anchor.name))
        if environments.setdefault(key, anchor.environment) is not anchor.environment:
            raise wrong(f"[[anchor]] {anchor.name}: its key is also an anchor of another environment")
    for officer in (*trust.officers.keys, *trust.recovery.keys):
        if officer.person not in persons:
            raise wrong(f"the officer {officer.person} is not a [[person]]")
    if {k.spki for k in trust.officers.keys} & {k.spki for k in trust.recovery.keys}:
        raise wrong("a key is both in [officers] and in [recovery]")
    if {k.person for k in trust.officers.keys} & {k.person for k in trust.recovery.keys}:
        raise wrong("a person is both in [officers] and in [recovery]")
    owned = [digest for person in trust.persons for digest in (*person.keys, *person.certificates)]
    if len(set(owned)) != len(owned):
        raise wrong("a key or certificate belongs to two persons")
    layouts = {f"{FAMILY}:{layout.name}" for layout in trust.layouts}
    for rule in trust.rules:
        if unknown := {one for one in rule.formats if family(one) == FAMILY} - layouts - {FAMILY}:
            raise wrong(f"[[rule]] {rule.name}: there is no [[layout]] for {min(unknown)}")
        for signer in rule.signers:
            _check_signer(rule, signer, anchors, persons, wrong)
    if trust.permits:
        from sealwright.trust.permitrules import check_permits  # as above

        check_permits(trust.permits, persons, [rule.name for rule in trust.rules], wrong)


def _as_read(name: str) -> str:
    """A name as people tell it from others: not by case, width or the way its accents are composed (A049)."""
    return name.casefold() if name.isascii() else unicodedata.normalize("NFKC", name).casefold()


def _check_signer(rule: Rule, signer: SignerRule, anchors: dict[str, Anchor], persons: list[str], wrong) -> None:  # type: ignore[no-untyped-def]
    for name in signer.anchors:
        if name not in anchors:
            raise wrong(f"[[rule]] {rule.name}: there is no anchor {name}")
        if anchors[name].environment is not rule.environment:
            raise wrong(
                f"[[rule]] {rule.name}: the anchor {name} is for {anchors[name].environment}, the rule for {rule.environment}; "
                "a rule's anchors are of its own `environment`"
            )
        if signer.pins_until is None and not _is_authority(anchors[name]):
            raise wrong(
                f"[[rule]] {rule.name}: {name} is a signer's own certificate, not an authority's, and counts only with `pins_until`"
            )
        named = signer.subjects or signer.keys or signer.certificates
        if anchors[name].public and not (named and signer.purposes and ANY_PURPOSE not in signer.purposes):
            raise wrong(
                f"[[rule]] {rule.name}: {name} is a public CA and counts only with `subjects` (or a pin) and `purposes`"
            )
    for person in signer.persons:
        if person not in persons:
            raise wrong(f"[[rule]] {rule.name}: there is no person {person}")


def _is_authority(anchor: Anchor) -> bool:
    """Whether an anchor may issue. Certificates of X.509 v1 cannot say so; a signer cannot use one, for want of key usage."""
    certificate = load_certificate(anchor.certificate, anchor.name)
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except x509.ExtensionNotFound:
        return certificate.version is x509.Version.v1


def officer_key_digest(spki: bytes) -> Digest:
    """The identity of an officer's key (RULES 2)."""
    return key_digest(cast("PublicKey", load_der_public_key(spki)))
