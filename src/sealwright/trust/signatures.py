"""One signature judged alone, before any rule: is it intact, when was it made, and whose is it?

1. The delivered content is what was signed, of the kind that was signed (`check_signer`).
2. Timestamp tokens prove a time, or do not (`timestamps.py`), and so does a proof that witnesses saw it in a log (`logproofs.py`), or
   an evidence record that holds (`evidence.py`). What was made with an algorithm that the trust file has withdrawn since counts
   only if it is proved to have existed by then (`ageing.py`).
3. The signer's path ends at an anchor of the trust file, judged at the proved time, else at the judgement time. Where it has ended
   by then and a rule lets it, under that anchor and for that format, it counts for such rules alone and says so.
4. What OpenSSL does not check on that path: keys, hashes, key usage, CA flag (`certificate.py`). Microsoft's publishers under UEFI CA
   2011 have no key usage, which restricts nothing (RFC 5280 section 4.2.1.3); in Authenticode codeSigning alone will do.
5. No key or certificate of the path, nor the artifact, is denied; nothing was revoked in time (RULES 4).
6. The key's provenance: named in the trust file, or by our policy OID in the certificate; else development. A production
   anchor takes no development key, whoever issued the certificate (RULES 2).
7. A certificate of ours says for which construction its key is enrolled, and no other is accepted from it (RULES 2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509

from sealwright.artifact.claims import Claims
from sealwright.envelope.cms import Signer, check_signer
from sealwright.envelope.kinds import AUTHENTICODE, KINDS
from sealwright.errors import ContentChanged, SealwrightError
from sealwright.findings import Finding, Severity, note, reject, undecided, warning
from sealwright.formats.format import ACCEPTANCE, RECEIVING, Candidate
from sealwright.pki.oids import CONSTRUCTIONS, DEVELOPMENT, HARDWARE_ATTESTED, HARDWARE_CLAIMED
from sealwright.pki.profiles import CODE_SIGNING
from sealwright.trust.ageing import hash_names, key_names, path_names, withdrawn
from sealwright.trust.certificate import Facts, display_name, facts, has_key_usage, load_certificate
from sealwright.trust.ground import MAX_STANDINGS, Ground, KeptList
from sealwright.trust.layouts import family
from sealwright.trust.model import Anchor, Denied, Environment, Person
from sealwright.trust.path import Expiry, NoPath, Path, Strictness
from sealwright.trust.revocation import State
from sealwright.trust.timestamps import Proof, prove
from sealwright.trust.verdict import Purpose, SignerSeen

if TYPE_CHECKING:
    from sealwright.trust.evidence import Evidence  # start-up time: few files have a record

_EXCUSED = {"hardware-imported": "SW-KEY-IMPORTED", "service-held": "SW-KEY-IN-SERVICE"}
_OURS = frozenset((DEVELOPMENT, HARDWARE_ATTESTED, HARDWARE_CLAIMED))
_CONSTRUCTION_OIDS = frozenset(CONSTRUCTIONS.values())
THE_SIGNATURE = ""  # the subject of a finding about whichever signature is judged


class Judged(NamedTuple):
    """A signature and what was found about it. It counts for a rule only if `seen.accepted`.

    expired: why it does not count for a rule to which it matters that certificates end; logged: the log it is proved to be in, or "";
    absent: why its signer's register entry does not count then, or "".
    """

    candidate: Candidate
    seen: SignerSeen
    claims: Claims
    anchor: Anchor | None
    certificate: x509.Certificate | None
    purposes: frozenset[str]
    claimed: datetime | None
    proof: Proof | None
    findings: tuple[Finding, ...]
    expired: Finding | None = None
    logged: str = ""
    absent: str = ""

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """The findings for which it does not count."""
        return tuple(f for f in self.findings if f.severity in (Severity.REJECT, Severity.UNDECIDED))


def judge_candidate(candidate: Candidate, ground: Ground, evidence: Evidence | None = None) -> list[Judged]:
    """Every signer of one envelope, each judged alone; one unaccepted entry where the envelope could not be read."""
    if candidate.envelope is None:
        return [_unreadable(candidate, candidate.findings)]
    judged = []
    for signer in candidate.envelope.signers:
        if isinstance(signer, Signer):
            judged.append(_judge(candidate, signer, ground, evidence))
        else:
            reason = signer.reason
            findings = (reject(reason.code, candidate.source, found=reason.what), *candidate.findings)
            judged.append(_unreadable(candidate, findings))
    return judged


class Standing(NamedTuple):
    """What a certificate is worth for a signature of one time, whatever it signed. A finding without subject is about the signature."""

    leaf: x509.Certificate
    known: Facts
    path: Path | None
    anchor: Anchor | None
    provenance: str
    person: Person | None
    findings: tuple[Finding, ...]
    expired: Finding | None
    absent: str = ""

    @property
    def gravity(self) -> int:
        """2 where it is refused, 1 where it is left open, else 0."""
        severities = {found.severity for found in self.findings}
        return 2 if Severity.REJECT in severities else int(Severity.UNDECIDED in severities)

    @property
    def signs_code(self) -> bool:
        """Whether every certificate of the path allows the signing of code."""
        return self.path is not None and CODE_SIGNING in self.path.purposes

    def findings_of(self, source: str) -> list[Finding]:
        """The findings for one signature."""
        return [
            found if found.subject else Finding(found[0], found[1], source, found[3], found[4])
            for found in self.findings
        ]


def _judge(candidate: Candidate, signer: Signer, ground: Ground, evidence: Evidence | None) -> Judged:
    findings: list[Finding] = [*signer.findings]
    source = candidate.source
    intact = True
    try:
        check_signer(signer, candidate.digests, candidate.kind, source)
    except SealwrightError as cause:
        intact = False
        about = candidate.name if isinstance(cause, ContentChanged) else source
        findings.append(reject(cause.code, about, found=cause.what))
    # What the manifest lists is believed only as far as its own signature holds; its differences always refuse.
    findings.extend(_about(candidate, ground.purpose))
    kept = evidence.proves(candidate, signer.signature) if intact and evidence is not None else None
    proof, logged = None, ""
    if intact:
        proof, logged, about_proofs = _proved(candidate, signer, ground, partial(_protected, evidence, candidate, kept))
        findings.extend(about_proofs)
    bag = candidate.envelope.certificates if candidate.envelope else ()
    lists: tuple[KeptList, ...] = ()
    if kept is not None and evidence is not None:
        bag, lists = (*bag, *evidence.certificates), evidence.lists
    try:
        timeless = ground.timeless(candidate.format)
        standing = _standing(signer.certificate, bag, proof.latest if proof else None, timeless, lists, ground)
        if kept is not None and (proof is None or kept.latest < proof.latest):
            older = _standing(signer.certificate, bag, kept.latest, timeless, lists, ground)
            if older.gravity <= standing.gravity:  # a record never makes worse what is good without it
                standing, proof = older, kept
    except SealwrightError as cause:
        return _unreadable(candidate, (reject(cause.code, source, found=cause.what), *candidate.findings))
    without_usage = candidate.kind == AUTHENTICODE.name and standing.signs_code and not has_key_usage(standing.leaf)
    findings.extend(
        found for found in standing.findings_of(source) if not (without_usage and found.code == "SW-CERT-KEY-USAGE")
    )
    known, person, anchor = standing.known, standing.person, standing.anchor
    findings.extend(_construction(candidate, known))
    if standing.path is not None:
        findings.extend(_denials(candidate, ground))
    if ground.trust.algorithms:
        findings.extend(_ageing(candidate, signer, standing.path, proof, kept, evidence, ground))
    return Judged(
        candidate,
        SignerSeen(
            source=source,
            slot=candidate.slot,
            subject=known.subject,
            person=person.id if person else "",
            organisation=person.organisation if person else "",
            key=known.key,
            certificate=known.certificate,
            anchor=anchor.name if anchor else "",
            algorithm=signer.algorithm.name,
            provenance=standing.provenance,
            logged=logged,
            statement=_statement(candidate),
            accepted=intact and anchor is not None and not any(f.severity is Severity.REJECT for f in findings),
        ),
        candidate.claims,
        anchor,
        standing.leaf,
        standing.path.purposes if standing.path is not None else frozenset(),
        signer.claimed_time,
        proof,
        tuple(findings),
        standing.expired,
        logged,
        standing.absent,
    )


def _about(candidate: Candidate, purpose: Purpose) -> list[Finding]:
    """What was found before anybody was judged; that a report was left behind never stops what runs."""
    return [
        found._replace(severity=Severity.WARNING)
        if found.code == "SW-ATTACHMENT-MISSING" and purpose is Purpose.RUN
        else found
        for found in candidate.findings
    ]


def _proved(
    candidate: Candidate, signer: Signer, ground: Ground, protected: Callable[[bytes], datetime | None]
) -> tuple[Proof | None, str, tuple[Finding, ...]]:
    """The time by which an intact signature existed, the log it is in, and what was found about the proofs that do not count.

    protected: when an evidence record proves that a token existed, None where none does.
    """
    tokens = (*signer.tokens, *candidate.late_tokens)
    if candidate.log_proof is None:
        proof, findings = prove(tokens, signer.signature, candidate.source, ground, protected) if tokens else (None, ())
        return proof, "", findings
    from sealwright.trust.logproofs import prove_logged  # start-up time: few signatures have one

    try:
        logged, about_log = prove_logged(candidate.log_proof, candidate, signer, ground)
    except SealwrightError:  # of the certificate, which refuses the signature itself
        logged, about_log = None, ()
    proof, about_tokens = prove(
        tokens, signer.signature, candidate.source, ground, protected, (logged.proof,) if logged is not None else ()
    )
    return proof, logged.shown if logged is not None else "", (*about_tokens, *about_log)


def _protected(evidence: Evidence | None, candidate: Candidate, kept: Proof | None, token: bytes) -> datetime | None:
    """When the evidence proves that a token and the signature that it is over both existed."""
    held = evidence.holding(candidate, token) if evidence is not None and kept is not None else None
    return None if held is None or kept is None else max(held.proof.latest, kept.latest)


def _ageing(
    candidate: Candidate,
    signer: Signer,
    path: Path | None,
    proof: Proof | None,
    kept: Proof | None,
    evidence: Evidence | None,
    ground: Ground,
) -> list[Finding]:
    """Whether a withdrawn algorithm is what this signature rests on.

    A key made what existed in time, which any proof shows. That a digest still binds these bytes only a record over them shows, and
    that the certificates above are those of then: a timestamp is over neither, and a broken CA could be made to fit an old signature.
    """
    judged = ground.judgement.judged
    digests = {signer.digest.algorithm.value, signer.algorithm.digest.value}
    listed = {candidate.lists.value} if candidate.lists is not None else set()
    above = path_names(path.certificates[1:]) | hash_names(path.certificates[:1]) if path is not None else frozenset()
    bound = kept.latest if kept is not None else judged
    files = judged if evidence is None or evidence.tree else bound
    made = proof.latest if proof is not None else judged
    asked = ((key_names(signer.key), made), (digests | above, bound), (listed, files))
    gone = dict.fromkeys(found for some, at in asked if (found := withdrawn(some, at, ground.trust.algorithms)))
    refuse = warning if ground.purpose is Purpose.RUN else reject
    return [refuse("SW-ALGORITHM-WITHDRAWN", candidate.source, _day(one.until), one.name) for one in gone]


def worth_now(certificate: bytes, chain: tuple[bytes, ...], ground: Ground) -> Standing:
    """What a certificate is worth for a signature that is made now. DER; chain: those above it. Raises where it cannot be read."""
    return _standing(certificate, chain, None, (), (), ground)


def _standing(
    certificate: bytes,
    bag: tuple[bytes, ...],
    proved: datetime | None,
    timeless: tuple[bytes, ...],
    lists: tuple[KeptList, ...],
    ground: Ground,
) -> Standing:
    """Kept by the ground: ten thousand files by one signer ask once for each proved time."""
    question = (certificate, bag, proved, timeless, lists)
    found = ground.standings.get(question)
    if found is None:
        if len(ground.standings) >= MAX_STANDINGS:
            ground.standings.clear()
        found = ground.standings[question] = _new_standing(certificate, bag, proved, timeless, lists, ground)
    return found


def _new_standing(
    certificate: bytes,
    bag: tuple[bytes, ...],
    proved: datetime | None,
    timeless: tuple[bytes, ...],
    lists: tuple[KeptList, ...],
    ground: Ground,
) -> Standing:
    leaf = load_certificate(certificate, THE_SIGNATURE)
    known = facts(leaf)
    path, findings = _path(leaf, known, bag, proved, ground)
    expired = next(
        (found for found in findings if found.code == "SW-CERT-EXPIRED" and found.severity is Severity.REJECT), None
    )
    if expired is not None and timeless:
        at = proved or ground.judgement.judged
        found = ground.path(leaf, bag, timeless, at, _strictness(known), Expiry.IGNORED)
        if isinstance(found, Path):
            path, findings = found, [warning("SW-CERT-EXPIRY-IGNORED", known.subject, found=expired.found)]
    anchor = None
    if path is not None:
        anchor = next(a for a in ground.trust.anchors if a.certificate == path.anchor_der)
        findings.extend(path.findings)
        findings.extend(_denied(known, path, proved, ground))
        findings.extend(_revocation(path, proved, lists, ground))
    provenance = _provenance(known, path, ground)
    findings.extend(_environment(known, path, anchor, provenance, ground))
    at = proved or ground.judgement.judged
    person, absent = ground.person_of(known, at), ground.absence(known, at)
    return Standing(leaf, known, path, anchor, provenance, person, tuple(findings), expired, absent)


def _path(
    leaf: x509.Certificate, known: Facts, bag: Sequence[bytes], proved: datetime | None, ground: Ground
) -> tuple[Path | None, list[Finding]]:
    at = proved or ground.judgement.judged
    findings: list[Finding] = []
    ended = at > known.not_after
    if ended and ground.purpose is Purpose.RUN:
        # What was installed while valid keeps running: judge the path at the last moment it could have been signed. A date that
        # is proved too late changes nothing: it says that the signature existed by then, not that it was made then.
        findings.append(warning("SW-CERT-EXPIRED", known.subject, found=_day(known.not_after)))
        at, ended = known.not_after, False
    if ended or at < known.not_before:
        code = "SW-CERT-EXPIRED" if ended else "SW-CERT-NOT-YET-VALID"
        bound = known.not_after if ended else known.not_before
        findings.append(reject(code, known.subject, wanted=_day(at), found=_day(bound)))
        return None, findings
    path = ground.path(leaf, bag, ground.anchors, at, _strictness(known))
    if isinstance(path, NoPath):
        tried = any(anchor.environment is Environment.DEVELOPMENT for anchor in ground.trust.anchors)
        if DEVELOPMENT in known.policies and not tried:
            findings.append(reject("SW-KEY-DEVELOPMENT", THE_SIGNATURE, found=known.subject))
        else:
            code = "SW-CERT-EXPIRED" if path.expired else "SW-CERT-NO-PATH"
            findings.append(reject(code, known.subject, found=path.reason))
        return None, findings
    return path, findings


def _strictness(known: Facts) -> Strictness:
    """X509_STRICT for certificates of our own profiles, not for makers' PKIs (RULES 3)."""
    return Strictness.OURS if known.policies & _OURS else Strictness.FOREIGN


def _denied(known: Facts, path: Path, proved: datetime | None, ground: Ground) -> list[Finding]:
    entry, refuses = ground.denied_in(path, proved)
    if entry is None:
        return []
    why, since = entry.reason or "no reason given", _day(entry.since) if entry.since else ""
    if not refuses:
        return [warning("SW-DENIED-SIGNER-LATER", known.subject, since, why)]
    if not since:
        return [reject("SW-DENIED-SIGNER", known.subject, found=why)]
    found = f"{why}; made {_day(proved)}" if proved is not None else f"{why}; the time of this signature is not proved"
    return [
        reject("SW-DENIED-SIGNER", known.subject, since, f"{found}, and only what is proved older than {since} counts")
    ]


def _denials(candidate: Candidate, ground: Ground) -> list[Finding]:
    if not ground.denied:
        return []
    digests = {candidate.artifact, *candidate.contents, *candidate.digests.values()} - {None}
    formats = dict.fromkeys((candidate.format, candidate.about, family(candidate.format), "*"))
    names = [("artifact", f"{format_name} {digest}") for digest in digests for format_name in formats]
    findings = [
        reject("SW-DENIED-ARTIFACT", candidate.source, found=ground.denials[name].reason)
        for name in names
        if name in ground.denials
    ]
    product, generation = candidate.claims.product, candidate.claims.generation or 0
    findings += [denied_generation(entry, generation) for entry in ground.below if denies(entry, product, generation)]
    return findings


def denies(entry: Denied, product: str | None, generation: int) -> bool:
    """Whether a denial names this generation of a product."""
    return entry.what == "below" and entry.value == product and generation < entry.generation


def denied_generation(entry: Denied, generation: int) -> Finding:
    """The refusal for it."""
    return reject("SW-DENIED-GENERATION", entry.value, str(entry.generation), f"{generation} ({entry.reason})")


def _revocation(path: Path, proved: datetime | None, lists: tuple[KeptList, ...], ground: Ground) -> list[Finding]:
    findings = []
    states = ground.revocations(path, proved, lists)
    for certificate, state, kept in states:
        subject = display_name(certificate.subject)
        if kept and state.state is State.GOOD:
            findings.append(note("SW-REVOCATION-AS-KEPT", subject, wanted=_day(certificate.not_valid_after_utc)))
        since = _day(state.effective) if state.effective else ""
        match state.state:
            case State.REVOKED_BEFORE | State.ON_HOLD:
                findings.append(
                    reject("SW-CERT-REVOKED", subject, wanted=since, found=state.reason or "no reason given")
                )
            case State.REVOKED_AFTER:
                findings.append(
                    warning("SW-CERT-REVOKED-LATER", subject, wanted=since, found=state.reason or "no reason given")
                )
            case State.UNKNOWN | State.GOOD:
                pass
        if state.why:
            unsure = warning if ground.purpose is Purpose.RUN else undecided
            findings.append(unsure("SW-REVOCATION-UNKNOWN", subject, found=state.why))
    if not states:
        findings.append(note("SW-REVOCATION-NOT-ASKED", THE_SIGNATURE))
    return findings


def _provenance(known: Facts, path: Path | None, ground: Ground) -> str:
    """Where the key lives. What a development authority issued is development, whatever its certificate says."""
    evidence = ground.evidence.get(known.key)
    if evidence is not None:
        return evidence.provenance
    oids = known.policies
    if _says_development(known, path):
        return "development"
    if HARDWARE_ATTESTED in oids:
        return "hardware-attested"
    return "hardware-claimed" if HARDWARE_CLAIMED in oids else "development"


def _says_development(known: Facts, path: Path | None) -> bool:
    return any(DEVELOPMENT in one.policies for one in (path.facts if path is not None else (known,)))


def _environment(
    known: Facts, path: Path | None, anchor: Anchor | None, provenance: str, ground: Ground
) -> list[Finding]:
    if anchor is None:
        return []
    subject = known.subject
    if provenance == "development":
        said = _says_development(known, path)
        if anchor.environment is Environment.PRODUCTION:
            return [reject("SW-KEY-DEVELOPMENT" if said else "SW-KEY-UNPROVED", THE_SIGNATURE, found=subject)]
        code = "SW-KEY-DEVELOPMENT-GRADE" if said else "SW-KEY-UNPROVED-GRADE"
        return [warning(code, THE_SIGNATURE, found=subject)]
    if provenance in _EXCUSED:
        evidence = ground.evidence[known.key]
        due = _day(evidence.review) if evidence.review else ""
        return [warning(_EXCUSED[provenance], THE_SIGNATURE, wanted=due, found=evidence.reason)]
    return []


def _construction(candidate: Candidate, known: Facts) -> list[Finding]:
    """Certificates of others say nothing of it; theirs count for bare signatures by being among those known here."""
    stated = known.policies & _CONSTRUCTION_OIDS
    construction = KINDS[candidate.kind].construction
    wanted = CONSTRUCTIONS.get(construction)
    if stated <= {wanted} and (stated or wanted is None or not known.policies & _OURS):
        return []
    names = [name.value for name, oid in CONSTRUCTIONS.items() if oid in stated] or ["cms-attributes"]
    return [reject("SW-KEY-CONSTRUCTION", known.subject, construction.value, ", ".join(names))]


def _statement(candidate: Candidate) -> str:
    return candidate.format if candidate.format in (ACCEPTANCE, RECEIVING) else ""


def _unreadable(candidate: Candidate, findings: tuple[Finding, ...]) -> Judged:
    nothing = SignerSeen(
        source=candidate.source,
        slot=candidate.slot,
        subject="",
        person="",
        organisation="",
        key=None,
        certificate=None,
        anchor="",
        algorithm="",
        provenance="",
        accepted=False,
        statement=_statement(candidate),
    )
    return Judged(candidate, nothing, Claims(), None, None, frozenset(), None, None, findings)


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
