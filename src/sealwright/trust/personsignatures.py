"""Whether a signature of a permit or follow-up is that of the person whom the statement names.

1. It is there, is one signature of this kind, and holds over these very bytes.
2. The trust file maps its key or certificate to that person, and the person's entry counts now.
3. Neither key nor certificate is denied; where the certificate leads to an anchor, it is not revoked there. Nothing else is asked of
   it: it only carries the key, as an officer's does (RULES 5).
4. For production a key that nothing shows to live in a token is none (RULES 2). No key signs twice (A120).
"""

from __future__ import annotations

from sealwright.artifact.digest import Digest, HashName
from sealwright.envelope.cms import Profile, Signer, check_signer, read_envelope
from sealwright.errors import BadSignature, SealwrightError
from sealwright.findings import Finding, Severity, reject
from sealwright.formats.permitfiles import PersonSignature
from sealwright.trust.ground import Ground
from sealwright.trust.model import Environment
from sealwright.trust.signatures import Standing, worth_now

_STOPS = (Severity.REJECT, Severity.UNDECIDED)
_REFUSES = frozenset(("SW-CERT-REVOKED", "SW-DENIED-SIGNER"))


class PersonSignatures:
    """Judges the signatures of one statement, person by person. environment: for which their keys must be good; keys: that have signed
    already, or must not."""

    def __init__(self, ground: Ground, environment: Environment) -> None:
        self.ground = ground
        self.environment = environment
        self.keys: set[Digest] = set()

    def judge(self, one: PersonSignature, text: bytes, kind: str) -> tuple[Finding | None, Digest | None]:
        """Why a signature does not count as that person's, None where it does; and its key."""
        if one.data is None:
            return reject("SW-STATEMENT-UNSIGNED", one.name, one.person), None
        try:
            signer, chain = _only_signer(one)
            check_signer(signer, {name: Digest.of(text, name) for name in HashName}, kind, one.name)
            standing = worth_now(signer.certificate, chain, self.ground)
        except SealwrightError as cause:
            return reject(cause.code, one.name, found=cause.what), None
        key = standing.known.key
        found = self._whose(one, standing)
        if found is None and key in self.keys:
            found = reject("SW-SIGNERS-NOT-DISTINCT", one.name, one.name, "another signature here")
        self.keys.add(key)
        return found, key

    def key_of(self, one: PersonSignature) -> Digest | None:
        """The key in a signature file, whether it counts or not; None where there is none."""
        if one.data is None:
            return None
        try:
            signer, chain = _only_signer(one)
            return worth_now(signer.certificate, chain, self.ground).known.key
        except SealwrightError:
            return None

    def _whose(self, one: PersonSignature, standing: Standing) -> Finding | None:
        known, ground = standing.known, self.ground
        named = ((("key", str(known.key))), ("certificate", str(known.certificate)), ("serial", known.serial))
        denial = next((ground.denials[name] for name in named if name in ground.denials), None)
        if denial is not None:
            return reject("SW-DENIED-SIGNER", known.subject, found=denial.reason)
        refused = next((found for found in standing.findings if found.code in _REFUSES), None)
        if refused is not None and refused.severity in _STOPS:
            return refused
        if standing.person is None or standing.person.id != one.person:
            if standing.person is not None:
                return reject("SW-STATEMENT-PERSON", one.name, one.person, standing.person.id)
            return reject("SW-SIGNER-UNMAPPED", one.name, found=standing.absent or known.subject)
        if self.environment is Environment.PRODUCTION and standing.provenance == "development":
            return reject("SW-KEY-UNPROVED", one.name, found=known.subject)
        return None


def _only_signer(one: PersonSignature) -> tuple[Signer, tuple[bytes, ...]]:
    """The one signer of a file and the certificates beside; raises what reading raises, and where there are several."""
    envelope = read_envelope(one.data or b"", Profile.OURS, one.name)
    if len(envelope.signers) != 1:
        raise BadSignature(one.name, "it does not have exactly one signature", "Have it signed by one person a file.")
    (signer,) = envelope.signers
    if not isinstance(signer, Signer):
        raise signer.reason
    return signer, envelope.certificates
