"""The one way to a signature: intent (durable) -> key -> verified -> result (durable) -> envelope (RULES 2).

1. The key is enrolled for this purpose and construction, its certificate is good and no other key replaced it; every other
   use is refused before the key is touched.
2. What is signed is built here: small content is parsed and encoded again, the signed attributes are ours.
3. The intent names artifact, key, certificate and claims, and is on disk before the key is used.
4. The key signs; its backend verifies each value with the enrolled public key, or nothing leaves.
5. The result, with the digest of each signature value, is on disk before an envelope is made.
An intent without result is what a crash leaves; `doctor` reports it, and signing again is a second attempt.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from sealwright.artifact.digest import Digest, HashName
from sealwright.envelope.algorithms import SignatureAlgorithm
from sealwright.envelope.cms_write import signing_certificate
from sealwright.envelope.construct import asked_of_key, attributes_of, built
from sealwright.envelope.kinds import KINDS, Construction
from sealwright.errors import KeyRefused, KeyUnavailable, MalformedArtifact, SealwrightError
from sealwright.formats.authenticode import check_indirect_data
from sealwright.formats.format import Prepared, Sealed
from sealwright.formats.fsverity import check_digest
from sealwright.formats.jar import check_manifest as check_jar
from sealwright.formats.jar import statement_of
from sealwright.formats.manifest import check_manifest
from sealwright.formats.rauc import check_manifest as check_rauc_manifest
from sealwright.formats.role import check_role
from sealwright.formats.statements import check_statement
from sealwright.formats.swupdate import check_description
from sealwright.formats.verity import check_root
from sealwright.keys.backends import open_key
from sealwright.keys.key import OpenKey, Provenance
from sealwright.keys.pin import Pin
from sealwright.log.canonical import Field, time_text
from sealwright.log.entry import claim_fields
from sealwright.log.journal import Entry, EntryType, Journal, Record
from sealwright.signing.home import JOURNAL, EnrolledKey, Home, KeyPurpose
from sealwright.signing.pending import Pending, add_pending, entry_of
from sealwright.signing.standing import standing_of
from sealwright.trust.certificate import display_name, tbs_digest

PURPOSE_OF_KIND = {
    **dict.fromkeys(KINDS, KeyPurpose.ARTIFACT),
    "timestamp": KeyPurpose.TIMESTAMP,
    "trust": KeyPurpose.TRUST,
    "deny": KeyPurpose.TRUST,
    "ceremony": KeyPurpose.TRUST,
    "transcript": KeyPurpose.TRUST,
    "backup": KeyPurpose.BACKUP,
    "loss": KeyPurpose.TRUST,
    "record": KeyPurpose.RECORD,
    "report": KeyPurpose.REPORT,
    "approval": KeyPurpose.APPROVAL,
    "permit": KeyPurpose.APPROVAL,
    "permit-follow-up": KeyPurpose.APPROVAL,
    "tuf": KeyPurpose.REPOSITORY,
}
# Whose keys sign a kind beside: a sealed key signs trust files and losses (which of its changes count, the verifiers say: `trust/history.py`),
# and whoever approves may be an officer of a ceremony
_ALSO = {
    ("trust", KeyPurpose.RECOVERY),
    ("loss", KeyPurpose.RECOVERY),
    ("ceremony", KeyPurpose.APPROVAL),
    ("transcript", KeyPurpose.APPROVAL),
}
# Small content is the client's word: it is parsed and must be what we would write (RULES 2).
CONTENT_CHECKS: dict[str, Callable[[Prepared], None]] = {
    "manifest": check_manifest,
    "acceptance": check_statement,
    "receiving": check_statement,
    "authenticode": check_indirect_data,
    "rauc-verity": check_rauc_manifest,
    "swupdate": check_description,
    "jar": check_jar,
    "verity": check_root,
    "fsverity": check_digest,
    "tuf": check_role,
}
# In whose content the claims are, which its check compares: of the others product and version are the client's word.
CLAIMS_IN_CONTENT = frozenset(CONTENT_CHECKS) - {"authenticode", "verity", "fsverity"}
# Where the content is what the signed bytes are made of, and not these bytes themselves.
SIGNED_OF_CONTENT: dict[str, Callable[[bytes, HashName, str], bytes]] = {"jar": statement_of}
# What keys sign that nobody asks a pipeline for
_OF_OTHERS = {Construction.CERTIFICATE: "certificates", Construction.NOTE: "checkpoints of a log"}
REQUEST_BYTES = 16
# An officer's certificate only carries the key: no path, no expiry (RULES 5)
_KEY_ONLY = (KeyPurpose.TRUST, KeyPurpose.RECOVERY)


@dataclass(frozen=True, slots=True)
class Made:
    """One recorded signature. value: in the encoding of CMS; attributes: as signed, a DER SET, or none; request: its journal id.

    proof: that it is in a log, where one was made with it.
    """

    prepared: Prepared
    attributes: bytes
    value: bytes
    request: str
    proof: bytes = b""


def says_claims(prepared: Prepared) -> bool:
    """Whether what an artifact claims, if anything, is read from its content, and so from signed bytes."""
    return prepared.content is not None and (prepared.kind in CLAIMS_IN_CONTENT or not prepared.claims)


def artifact_of(prepared: Prepared, algorithm: SignatureAlgorithm) -> Digest:
    """The digest by which records name an artifact: SHA-256 where it is known, else the one that is signed."""
    return prepared.digests.get(HashName.SHA256) or prepared.digests[KINDS[prepared.kind].digest_name(algorithm)]


def check_provenance(enrolled: EnrolledKey, key: OpenKey) -> None:
    """A key that is less than it was enrolled as (imported, in a service, or a file) does not sign under its old certificate: it is closed, KeyRefused."""
    found = key.info.provenance
    if found is not enrolled.provenance and found not in (Provenance.HARDWARE_ATTESTED, Provenance.HARDWARE_CLAIMED):
        key.close()
        raise KeyRefused(
            f"key {enrolled.name}",
            f"it is enrolled as {enrolled.provenance}, and the key found is {found}",
            "Restore the enrolled key, or enrol this one anew.",
        )


class Pipeline:
    """One enrolled key of a home, opened to sign, with what records it. Used by one thread, as a context manager.

    record: what is durable before it counts; None: the home's own journal of that name. key: the enrolled key, open already;
    None: it is opened here. Both are closed with the pipeline.
    """

    def __init__(
        self,
        home: Home,
        enrolled: EnrolledKey,
        pin: Pin | None,
        journal: str = JOURNAL,
        record: Record | None = None,
        key: OpenKey | None = None,
    ) -> None:
        if enrolled.construction in _OF_OTHERS:
            raise KeyRefused(
                f"key {enrolled.name}",
                f"it is enrolled for {enrolled.construction}, which are {_OF_OTHERS[enrolled.construction]}",
                "Name a key enrolled for signatures.",
            )
        self.home = home
        self.enrolled = enrolled
        self.certificate = signing_certificate(enrolled.certificate, enrolled.chain, enrolled.algorithm)
        loaded = x509.load_der_x509_certificate(enrolled.certificate)
        self.subject = display_name(loaded.subject)
        self._ends = loaded.not_valid_after_utc
        self._standing = standing_of(home, enrolled)
        self._names: dict[str, Field] = {
            "key": str(enrolled.digest),
            "certificate": str(tbs_digest(loaded)),
            "algorithm": enrolled.algorithm.name,
            "construction": enrolled.construction.value,
        }
        self.journal: Record = Journal.open(home.path(journal)) if record is None else record
        try:
            self._key = key or open_key(
                home.uri(enrolled),
                pin,
                algorithm=enrolled.algorithm,
                expected=enrolled.public_key,
                construction=enrolled.construction,
            )
            check_provenance(enrolled, self._key)
        except BaseException:
            self.journal.close()
            raise

    def sign(self, batch: Sequence[Prepared], now: datetime) -> list[Made]:
        """Sign prepared artifacts of one batch; either all are signed and recorded or an error says why none left.

        Raises KeyRefused, KeyUnavailable, JournalError, or MalformedArtifact for content that does not say what it claims.
        """
        self._check_dates(now)
        for prepared in batch:
            self._check(prepared)
        signing, kinds = self.certificate, [KINDS[prepared.kind] for prepared in batch]
        digests = [self._digest(prepared) for prepared in batch]
        attributes = [
            attributes_of(signing, kind, digest, now, prepared.name)
            for kind, digest, prepared in zip(kinds, digests, batch, strict=True)
        ]
        contents = [prepared.content for prepared in batch]
        asked = [asked_of_key(signing, *parts) for parts in zip(kinds, digests, attributes, contents, strict=True)]
        requests = [secrets.token_hex(REQUEST_BYTES) for _ in batch]
        self.journal.append(
            [self._intent(prepared, request, now) for prepared, request in zip(batch, requests, strict=True)]
        )
        try:
            values = self._key.sign(asked)
        except SealwrightError as cause:
            self.journal.append([Entry(EntryType.REFUSAL, {"request": one, "code": cause.code}) for one in requests])
            raise
        if len(values) != len(batch):
            raise KeyUnavailable(
                self.enrolled.uri, "it gave another number of signatures than asked for", "Have the token checked."
            )
        self.journal.finish(dict(zip(requests, values, strict=True)))
        return [Made(*parts) for parts in zip(batch, attributes, values, requests, strict=True)]

    def sealed(self, made: Made, tokens: Sequence[bytes] = ()) -> Sealed:
        """A recorded signature as its verifiers read it, with its timestamp tokens where it carries them."""
        kind, content = KINDS[made.prepared.kind], made.prepared.content
        envelope = built(self.certificate, kind, made.attributes, made.value, tokens, content)
        return Sealed(envelope, made.value, self.certificate.der, self.enrolled.algorithm)

    def artifact(self, prepared: Prepared) -> Digest:
        """The digest by which the journal names an artifact."""
        return artifact_of(prepared, self.enrolled.algorithm)

    @property
    def name(self) -> str:
        """What the home calls the key."""
        return self.enrolled.name

    @property
    def provenance(self) -> str:
        """Where the key lives, as it is enrolled."""
        return self.enrolled.provenance.value

    @property
    def algorithm(self) -> SignatureAlgorithm:
        """What it signs with."""
        return self.enrolled.algorithm

    @property
    def end(self) -> datetime:
        """When the signer's certificate ends."""
        return x509.load_der_x509_certificate(self.enrolled.certificate).not_valid_after_utc

    def defer(self, items: Sequence[Pending]) -> None:
        """Record signatures whose timestamps come later; durable before one of them may get its name."""
        if items:
            self.journal.append([Entry(EntryType.PENDING, entry_of(one)) for one in items])
            add_pending(self.home.folder, items)

    def close(self) -> None:
        """Give key and journal back."""
        self._key.close()
        self.journal.close()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_dates(self, now: datetime) -> None:
        """A key whose certificate has ended, or that another one replaced, signs nothing more (A113)."""
        name = f"key {self.enrolled.name}"
        if why := self._standing.problem(now):
            raise KeyRefused(name, why, "Sign with another key; `sealwright cert list` shows which are good.")
        if self.enrolled.purpose in _KEY_ONLY or now <= self._ends:
            return
        raise KeyRefused(
            name,
            f"its certificate ended on {self._ends:%Y-%m-%d}",
            f"Renew it: sealwright cert renew {self.enrolled.name} --home {self.home.folder}",
        )

    def takes(self, prepared: Prepared) -> bool:
        """Whether its key signs what is of this kind; for any thread. Dates and content are looked at when it signs."""
        try:
            self._check_kind(prepared)
            return bool(self._digest(prepared))
        except (KeyRefused, KeyError):  # or it lacks the digest that this key signs
            return False

    def _check_kind(self, prepared: Prepared) -> None:
        wanted = PURPOSE_OF_KIND.get(prepared.kind)
        if wanted is not self.enrolled.purpose and (prepared.kind, self.enrolled.purpose) not in _ALSO:
            raise KeyRefused(
                f"key {self.enrolled.name}",
                f"it is enrolled for {self.enrolled.purpose}, and this is a {prepared.kind}",
                "Name the key that is enrolled for it.",
            )
        kind = KINDS[prepared.kind]
        if self.enrolled.construction is not kind.construction:
            raise KeyRefused(
                f"key {self.enrolled.name}",
                f"it is enrolled for {self.enrolled.construction}, and a {prepared.kind} wants {kind.construction}",
                "Name the key that is enrolled for it.",
            )
        if self.enrolled.algorithm.scheme not in kind.schemes:
            raise KeyRefused(
                f"key {self.enrolled.name}",
                f"no verifier of {prepared.format} reads {self.enrolled.algorithm.name}",
                "Sign with a key of another type: " + ", ".join(sorted(kind.schemes)) + ".",
            )

    def _check(self, prepared: Prepared) -> None:
        self._check_kind(prepared)
        if prepared.content is None:
            if KINDS[prepared.kind].construction is Construction.TUF:
                raise MalformedArtifact(prepared.path, "a role is signed with its content alone", "Stage it again.")
            return
        kind, digest = KINDS[prepared.kind], self._digest(prepared)
        made_of = SIGNED_OF_CONTENT.get(prepared.kind)
        signed = made_of(prepared.content, digest.algorithm, prepared.path) if made_of else prepared.content
        if kind.digest(signed, digest.algorithm) != digest:
            raise MalformedArtifact(prepared.path, "its digest is not of its content", "Prepare it again.")
        if (check := CONTENT_CHECKS.get(prepared.kind)) is not None:
            check(prepared)

    def _digest(self, prepared: Prepared) -> Digest:
        return prepared.digests[KINDS[prepared.kind].digest_name(self.enrolled.algorithm)]

    def _intent(self, prepared: Prepared, request: str, now: datetime) -> Entry:
        fields: dict[str, Field] = {
            **self._names,
            "request": request,
            "time": time_text(now),
            "format": prepared.format,
            "kind": prepared.kind,
            "artifact": str(self.artifact(prepared)),
            "size": prepared.size,
            **claim_fields(prepared.claims),
        }
        if prepared.layout is not None:
            fields["layout"] = str(prepared.layout)
        return Entry(EntryType.INTENT, fields)
