"""What a piece of data is, by its content: signatures, tokens, certificates, lists, manifests, trust files. Never a judgement.

Each reader looks at the bytes and answers with a `Description`, or None where they are not its kind; the first that
answers speaks. Readers raise only the typed errors of the rooms they ask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.artifact.claims import Claims
from sealwright.artifact.manifest import parse_manifest
from sealwright.artifact.names import display
from sealwright.cli.render import moment
from sealwright.cli.trusttext import denial
from sealwright.envelope.certified import UNREADABLE
from sealwright.envelope.cms import Envelope, Profile, Signer, read_envelope
from sealwright.envelope.kinds import FILE
from sealwright.envelope.tsp import Token, read_token, token_of_sidecar
from sealwright.errors import SealwrightError
from sealwright.formats.format import Coverage, Extent, Found, Range
from sealwright.formats.ima import ImaSignature
from sealwright.formats.ima import read_signature as read_ima
from sealwright.formats.imalist import read_list
from sealwright.log.checkpoint import time_said
from sealwright.log.entry import read_entry
from sealwright.log.proof import read_proof
from sealwright.texts.words import say
from sealwright.trust.belief import parse_deny
from sealwright.trust.certificate import display_name, load_certificate, policy_oids, spki_digest, tbs_digest
from sealwright.trust.trustfile import parse_trust

if TYPE_CHECKING:
    from sealwright.envelope.ers import Link

T = TypeVar("T")
MAX_BYTES = 32 << 20
MAX_PARTS = 64
MANY_RANGES = 8
_DER_STARTS = tuple(bytes((0x30, length)) for length in range(0x80, 0x85))  # a SEQUENCE of 128 bytes or more
_IMA, _IMA_LIST = b"\x03\x02", b"# file: "
_LOG_PROOF = b"c2sp.org/tlog-proof@"
_SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")
_PEM_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_PEM_CRL = b"-----BEGIN X509 CRL-----"
_PEM_REQUEST = b"-----BEGIN CERTIFICATE REQUEST-----"


@dataclass(frozen=True, slots=True)
class Description:
    """kind: one phrase; facts: name (of `LABELS`) and value, in the order shown; parts: what lies inside, such as the certificates."""

    kind: str
    facts: tuple[tuple[str, str], ...]
    parts: tuple[Description, ...] = ()


def describe(data: bytes, name: str) -> Description | None:
    """The description of a whole small file, or None for content of no kind we know."""
    for reader in _READERS:
        description = reader(data, name)
        if description is not None:
            return description
    return None


def known_start(head: bytes) -> bool:
    """True where the first bytes could be of a kind we know, so that the whole file is worth reading."""
    return head[:2] in _DER_STARTS or head.startswith((b"# sealwright ", b"-----BEGIN ", _IMA, _IMA_LIST, _LOG_PROOF))


def _manifest(data: bytes, name: str) -> Description | None:
    if not data.startswith(b"# sealwright manifest "):
        return None
    manifest = parse_manifest(data, name)
    claims, none = manifest.claims, say("fact.not-claimed")
    listed = say("fact.lists", files=f"{len(manifest.files):,}", size=f"{manifest.total_bytes:,}", over=manifest.over)
    facts = [
        ("lists", listed),
        ("digests", str(manifest.algorithm)),
        ("product", claims.product or none),
        ("version", claims.version or none),
        ("generation", none if claims.generation is None else str(claims.generation)),
        ("hardware", ", ".join(claims.hardware) or none),
        ("environment", claims.environment or none),
        ("checked by", say("fact.checked-by", algorithm=manifest.algorithm)),
    ]
    return Description(say("kind.manifest"), tuple(facts))


def _statement(data: bytes, name: str) -> Description | None:
    from sealwright.cli.statementfacts import facts_of  # few files are statements of a plant

    found = facts_of(data, name)
    return Description(*found) if found is not None else None


def _record(data: bytes, name: str) -> Description | None:
    if not data.startswith(b"# sealwright record 1\n"):
        return None
    from sealwright.cli.recordfacts import facts_of  # few files are records

    return Description(say("kind.record"), facts_of(data, name))


def _trust(data: bytes, name: str) -> Description | None:
    if not data.startswith(b"# sealwright trust "):
        return None
    trust = parse_trust(data, name)
    none, officers = say("fact.none"), trust.officers
    persons = ", ".join(sorted({key.person for key in officers.keys}))
    anchors = [say("fact.named", name=anchor.name, what=anchor.environment) for anchor in trust.anchors]
    rules = [say("fact.named", name=rule.name, what=rule.mode) for rule in trust.rules]
    facts = [
        ("id", trust.id),
        ("version", str(trust.version)),
        ("stage", trust.stage),
        ("issued", moment(trust.issued)),
        ("ends", moment(trust.expires)),
        ("officers", say("fact.quorum", threshold=officers.threshold, persons=persons)),
        ("anchors", ", ".join(anchors) or none),
        ("timestamp authorities", ", ".join(authority.name for authority in trust.authorities) or none),
        ("rules", ", ".join(rules) or none),
        ("denied", str(len(trust.denied))),
    ]
    return Description(say("kind.trust"), tuple(facts))


def _deny(data: bytes, name: str) -> Description | None:
    if not data.startswith(b"# sealwright deny "):
        return None
    deny = parse_deny(data, name)
    facts = [("version", str(deny.version)), ("trust file", deny.trust)]
    return Description(say("kind.deny"), (*facts, *(("withdrawn", denial(entry)) for entry in deny.denied)))


def _ours(data: bytes, name: str) -> Description | None:
    if not data.startswith(b"# sealwright "):
        return None
    line = data.split(b"\n", 1)[0][:80].decode(errors="replace")
    return Description(say("kind.ours", name=display(name)), (("first line", line),))


def _private_key(data: bytes, _name: str) -> Description | None:
    if b"PRIVATE KEY-----" not in data[:64]:
        return None
    return Description(say("kind.private-key"), (("shown", say("fact.no-private-key")),))


def _pem(data: bytes, _name: str) -> Description | None:
    try:
        if _PEM_CERTIFICATE in data:
            found = x509.load_pem_x509_certificates(data)
            kind = say("kind.pem-one") if len(found) == 1 else say("kind.pem", number=len(found))
            return Description(kind, (), tuple(map(_certificate, found[:MAX_PARTS])))
        if _PEM_CRL in data:
            return _crl(x509.load_pem_x509_crl(data))
        if _PEM_REQUEST in data:
            return _request(x509.load_pem_x509_csr(data))
    except UNREADABLE:
        return Description(say("kind.pem-unreadable"), ())
    return None


def _der_certificate(data: bytes, _name: str) -> Description | None:
    return _loaded(data, x509.load_der_x509_certificate, _certificate)


def _der_crl(data: bytes, _name: str) -> Description | None:
    return _loaded(data, x509.load_der_x509_crl, _crl)


def _der_request(data: bytes, _name: str) -> Description | None:
    return _loaded(data, x509.load_der_x509_csr, _request)


def _evidence(data: bytes, name: str) -> Description | None:
    """Each link with its place, so that `openssl ts` can be given its timestamp."""
    if data[:2] not in _DER_STARTS:
        return None
    from sealwright.envelope.ers import read_record  # few files are one

    try:
        record = read_record(data, name)
    except SealwrightError:
        return None
    facts = (
        ("digests", ", ".join(chain[0].digest.value for chain in record.chains)),
        ("signatures", say("fact.evidence", chains=len(record.chains), links=len(record.links))),
        ("certificate", say("fact.evidence-kept", certificates=len(record.certificates), lists=len(record.crls))),
    )
    parts = tuple(
        _archive_timestamp(data, link, say("kind.link", chain=number, place=place))
        for number, chain in enumerate(record.chains, 1)
        for place, link in enumerate(chain, 1)
    )
    return Description(say("kind.evidence"), facts, parts)


def _archive_timestamp(data: bytes, link: Link, kind: str) -> Description:
    at = data.find(link.token)
    hashes = len(link.tree[0]) if link.tree else 1
    shown = [
        ("digest", link.digest.value),
        ("over", say("fact.tree", hashes=hashes, lists=len(link.tree))),
        ("content", say("fact.token-at", at=at, size=len(link.token))),
    ]
    try:
        token = read_token(link.token, kind)
    except SealwrightError as cause:
        return Description(kind, (*shown, ("why", say("fact.not-usable", why=cause.what))))
    return Description(kind, tuple(shown), (_token(token, say("fact.hash", imprint=token.imprint)),))


def _timestamp(data: bytes, name: str) -> Description | None:
    if data[:2] not in _DER_STARTS:
        return None
    try:
        token = read_token(token_of_sidecar(data, name), name)
    except SealwrightError:
        return None
    return _token(token)


def _signature(data: bytes, name: str) -> Description | None:
    if _SIGNED_DATA not in data[:64] and not data.startswith((b"-----BEGIN CMS", b"-----BEGIN PKCS7")):
        return None
    return _envelope(read_envelope(data, Profile.FOREIGN_CMS, name))


def _ima(data: bytes, name: str) -> Description | None:
    if not data.startswith(_IMA):
        return None
    try:
        return Description(say("kind.ima"), tuple(_ima_facts(read_ima(data, name))))
    except SealwrightError:
        return None


def _ima_list(data: bytes, name: str) -> Description | None:
    if not data.startswith(_IMA_LIST):
        return None
    entries = read_list(data, name)
    first = _ima_facts(read_ima(entries[0].data, name))
    return Description(say("kind.ima-list"), (("lists", say("fact.ima-files", files=f"{len(entries):,}")), *first))


def _ima_facts(signature: ImaSignature) -> Iterator[tuple[str, str]]:
    yield "digests", str(signature.digest)
    yield "key", say("fact.ima-key", key=signature.key.hex())


def _log_proof(data: bytes, name: str) -> Description | None:
    if not data.startswith(_LOG_PROOF):
        return None
    proof = read_proof(data, name)
    checkpoint = proof.checkpoint
    facts = [("log", checkpoint.origin), ("entry", say("fact.leaf", leaf=proof.leaf, size=f"{checkpoint.size:,}"))]
    for one in checkpoint.signatures:
        if one.name != checkpoint.origin:
            time = time_said(one)
            facts.append(("witness", say("fact.witness", name=one.name, time=moment(time)) if time else one.name))
    try:
        entry = read_entry(proof.entry)
    except ValueError as cause:
        return Description(say("kind.log-proof"), (*facts, ("entry", say("fact.not-usable", why=str(cause)[:200]))))
    facts += [
        ("format", entry.format or say("fact.statement", kind=entry.kind)),
        ("signed digest", str(entry.artifact)),
        ("over", say("fact.imprint", imprint=entry.signature)),
        ("key", str(entry.key)),
        ("certificate", str(entry.certificate)),
        *((name, value) for name, value in _claims(entry.claims) if value),
    ]
    return Description(say("kind.log-proof"), tuple(facts))


def inside(found: Found, form: str) -> Description:
    """The signatures inside a file, and which of its bytes they leave out."""
    facts = [("format", form), ("size", say("fact.size", size=f"{found.size:,}"))]
    if found.artifact is not None:
        facts.append(("signed digest", str(found.artifact)))
    facts += [("structure", phrase) for phrase in found.structure]
    for candidate in found.candidates[:1]:
        facts += [(name, value) for name, value in _claims(candidate.claims) if value]
    facts.append(("signatures", str(len(found.candidates))))
    coverage = found.candidates[0].coverage if found.candidates else Coverage(())
    facts += [("not covered", phrase) for phrase in _uncovered(coverage)]
    parts = []
    for candidate in found.candidates:
        if candidate.envelope is not None:
            parts.append(_envelope(candidate.envelope))
        facts += [("remark", finding.sentence) for finding in candidate.findings]
    return Description(say("kind.embedded"), tuple(facts), tuple(parts))


def _uncovered(coverage: Coverage) -> Iterator[str]:
    """The ranges that are left out; those with one reason in one phrase where they are many."""
    reasons: dict[str, list[Range]] = {}
    for part in coverage.ranges:
        if part.extent is Extent.UNCOVERED:
            reasons.setdefault(part.reason, []).append(part)
    for reason, parts in reasons.items():
        first, size = parts[0], sum(part.end - part.start for part in parts)
        if len(parts) > MANY_RANGES:
            yield say(
                "fact.ranges", count=len(parts), size=f"{size:,}", start=first.start, end=first.end, reason=reason
            )
        else:
            yield from (say("fact.range", start=part.start, end=part.end, reason=reason) for part in parts)


def _claims(claims: Claims) -> list[tuple[str, str]]:
    generation = "" if claims.generation is None else str(claims.generation)
    return [
        ("product", claims.product or ""),
        ("version", claims.version or ""),
        ("generation", generation),
        ("hardware", ", ".join(claims.hardware)),
        ("environment", claims.environment or ""),
    ]


def _envelope(envelope: Envelope) -> Description:
    kind = envelope.content_type
    if not kind:
        content = say("fact.value-certified") if envelope.certificates else say("fact.value-alone")
    elif envelope.content is None:
        content = say("fact.detached", type=kind)
    else:
        content = say("fact.inside", type=kind, size=f"{len(envelope.content):,}")
    facts = [("content", content)]
    for signer in envelope.signers:
        if isinstance(signer, Signer):
            facts += _signer_facts(signer)
        else:
            facts.append(("signer", say("fact.not-usable", why=signer.reason.what)))
    called = say("kind.signature") if kind else say("kind.value")
    return Description(called, tuple(facts), tuple(_parts(envelope)))


def _signer_facts(signer: Signer) -> list[tuple[str, str]]:
    certificate = load_certificate(signer.certificate, "certificate")
    time = signer.claimed_time
    facts = [
        ("signer", display_name(certificate.subject)),
        ("signs", say("fact.statement", kind=signer.kind or FILE.name)),
        ("signed digest", str(signer.digest)),
        ("algorithm", signer.algorithm.name),
        ("claimed time", say("fact.claimed", time=moment(time)) if time else say("fact.none")),
        ("timestamps", str(len(signer.tokens))),
    ]
    return facts + [("remark", finding.sentence) for finding in signer.findings]


def _parts(envelope: Envelope) -> Iterator[Description]:
    for signer in envelope.signers:
        for der in signer.tokens if isinstance(signer, Signer) else ():
            try:
                yield _token(read_token(der, "timestamp"))
            except SealwrightError as cause:
                yield Description(say("kind.timestamp-unreadable"), (("why", cause.what),))
    for der in envelope.certificates:
        yield _der_certificate(der, "certificate") or _UNREADABLE_CERTIFICATE


def _token(token: Token, over: str = "") -> Description:
    facts = (
        ("time", say("fact.gen-time", time=moment(token.gen_time), seconds=f"{token.accuracy.total_seconds():g}")),
        ("over", over or say("fact.imprint", imprint=token.imprint)),
        ("authority", display_name(load_certificate(token.certificate, "timestamp").subject)),
        ("policy", token.policy),
        ("serial", f"{token.serial:x}"),
    )
    return Description(say("kind.timestamp"), facts)


def _certificate(certificate: x509.Certificate) -> Description:
    try:
        facts = [
            ("subject", display_name(certificate.subject)),
            ("issuer", display_name(certificate.issuer)),
            ("serial", f"{certificate.serial_number:x}"),
            ("from", moment(certificate.not_valid_before_utc)),
            ("until", moment(certificate.not_valid_after_utc)),
            ("purposes", _purposes(certificate)),
            ("policies", ", ".join(sorted(policy_oids(certificate))) or say("fact.none")),
            ("certificate", str(tbs_digest(certificate))),
        ]
    except UNREADABLE:
        return _UNREADABLE_CERTIFICATE
    try:
        load_certificate(certificate.public_bytes(Encoding.DER), "certificate")
        facts.append(("key", str(spki_digest(certificate))))
    except SealwrightError as cause:
        facts.append(("key", say("fact.not-accepted", why=cause.what)))
    return Description(say("kind.certificate"), tuple(facts))


def _purposes(certificate: x509.Certificate) -> str:
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return say("fact.none-named")
    return ", ".join(_PURPOSES.get(usage.dotted_string, usage.dotted_string) for usage in usages)


def _crl(crl: x509.CertificateRevocationList) -> Description:
    try:
        number = str(crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number)
    except x509.ExtensionNotFound:
        number = say("fact.none")
    facts = (
        ("issuer", display_name(crl.issuer)),
        ("number", number),
        ("made", moment(crl.last_update_utc)),
        ("next", moment(crl.next_update_utc) if crl.next_update_utc else say("fact.not-said")),
        ("entries", f"{len(crl):,}"),
    )
    return Description(say("kind.crl"), facts)


def _request(request: x509.CertificateSigningRequest) -> Description:
    holds = say("fact.holds") if request.is_signature_valid else say("fact.holds-not")
    return Description(say("kind.request"), (("subject", display_name(request.subject)), ("its signature", holds)))


def _loaded(data: bytes, load: Callable[[bytes], T], show: Callable[[T], Description]) -> Description | None:
    if data[:2] not in _DER_STARTS:
        return None
    try:
        return show(load(data))
    except UNREADABLE:
        return None


_UNREADABLE_CERTIFICATE = Description(say("kind.certificate-unreadable"), ())
_PURPOSES = {
    "1.3.6.1.5.5.7.3.3": "codeSigning",
    "1.3.6.1.5.5.7.3.8": "timeStamping",
    "1.3.6.1.5.5.7.3.41": "configSigning",
    "1.3.6.1.5.5.7.3.42": "trustAnchorConfigSigning",
    "1.3.6.1.5.5.7.3.43": "updatePackageSigning",
}
_READERS: tuple[Callable[[bytes, str], Description | None], ...] = (
    _manifest,
    _statement,
    _record,
    _trust,
    _deny,
    _ours,
    _private_key,
    _pem,
    _der_certificate,
    _der_crl,
    _der_request,
    _evidence,
    _timestamp,
    _signature,
    _ima,
    _ima_list,
    _log_proof,
)
