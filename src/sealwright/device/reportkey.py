"""Whose key signed a report: the signature alone, of the kind `report`, over these very octets, by one key.

Whether that key is the device's is the register's to say (`service/fleetregister.py`). A certificate around it only carries it: no path, no
expiry, for a device lives for twenty years and its register says every day whether it counts.
"""

from __future__ import annotations

from sealwright.artifact.digest import Digest
from sealwright.device.reporting import MAX_SIGNATURE_BYTES, SignedReport
from sealwright.envelope.algorithms import key_digest
from sealwright.envelope.cms import Profile, Signer, check_signer, read_envelope
from sealwright.envelope.kinds import REPORT
from sealwright.errors import LimitExceeded, MalformedEnvelope, WrongKind

_AGAIN = "Have the device report again."


def key_of_report(signed: SignedReport, subject: str) -> Digest:
    """SHA-256 of SPKI. MalformedEnvelope, LimitExceeded, WeakAlgorithm, BadSignature, ContentChanged or WrongKind where none signed it so."""
    if len(signed.signature) > MAX_SIGNATURE_BYTES:
        raise LimitExceeded(subject, f"a signature of {len(signed.signature)} bytes", _AGAIN)
    signers = read_envelope(signed.signature, Profile.OURS, subject).signers
    if len(signers) != 1:
        raise MalformedEnvelope(subject, f"{len(signers)} signatures in one file", _AGAIN)
    signer = signers[0]
    if not isinstance(signer, Signer):
        raise signer.reason
    if signer.kind != REPORT.name:
        raise WrongKind(subject, f"it signs a statement of the kind {signer.kind!r}, not {REPORT.name!r}", _AGAIN)
    algorithm = signer.digest.algorithm
    check_signer(signer, {algorithm: Digest.of(signed.report, algorithm)}, REPORT.name, subject)
    return key_digest(signer.key)
