"""The typed errors that every room raises.

An error means "we could not do or judge this"; a refusal of a signature is a `Finding` in a `Verdict`. Each error
has a stable code from `findings.py`, names the object, says what happened to it and what to do next, so that the
command line can print it without knowing more:

    >>> print(MalformedEnvelope("drive.bin.p7s", "byte 4: length runs past the end", "Ask the signer for the file again."))
    drive.bin.p7s: byte 4: length runs past the end. Ask the signer for the file again.
"""

from __future__ import annotations


class SealwrightError(Exception):
    """Something could not be read, judged, signed or written.

    subject: the object as its user knows it (a path, a key, a rule); what: one clause without a full stop;
    next_step: one sentence for the person who reads it.
    """

    code = "SW-ERROR"

    def __init__(self, subject: str, what: str, next_step: str) -> None:
        super().__init__(subject, what, next_step)
        self.subject = subject
        self.what = what
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.subject}: {self.what}. {self.next_step}"


class UsageError(SealwrightError):
    """The command or call cannot mean what was asked (exit code 2)."""

    code = "SW-USAGE"


class Unreadable(SealwrightError):
    """A file or folder is missing, unreadable or of a kind that is never read (device, FIFO, socket)."""

    code = "SW-FILE-UNREADABLE"


class ChangedWhileRead(SealwrightError):
    """The artifact changed between the first and the last byte read."""

    code = "SW-FILE-CHANGING"


class LimitExceeded(SealwrightError):
    """The input is larger, deeper or more numerous than the declared limit."""

    code = "SW-LIMIT"


class MalformedArtifact(SealwrightError):
    """An artifact, tree or manifest breaks the rules of its format."""

    code = "SW-ARTIFACT-MALFORMED"


class MalformedEnvelope(SealwrightError):
    """A signature, token or certificate file is not what its standard demands."""

    code = "SW-SIGNATURE-MALFORMED"


class WeakAlgorithm(SealwrightError):
    """An algorithm, key size or curve below the floor."""

    code = "SW-ALGORITHM-WEAK"


class BadSignature(SealwrightError):
    """The signature value does not verify with the named key."""

    code = "SW-SIGNATURE-INVALID"


class ContentChanged(BadSignature):
    """The signature is intact, but made for other content than was delivered."""

    code = "SW-FILE-CHANGED"


class WrongKind(BadSignature):
    """The signature is intact, but made for another kind of statement (RULES 1)."""

    code = "SW-SIGNATURE-KIND"


class UnknownSigner(SealwrightError):
    """A signature carries no certificate, and its signer is none of those that are known here."""

    code = "SW-SIGNER-UNKNOWN"


class TimestampUnavailable(SealwrightError):
    """A timestamp was asked for and the authority gave none; no envelope was written."""

    code = "SW-TIMESTAMP-UNAVAILABLE"


class TooLateToStamp(SealwrightError):
    """A timestamp made after the signer's certificate ended proves nothing; none was written."""

    code = "SW-TIMESTAMP-TOO-LATE"


class MalformedLayout(SealwrightError):
    """The description of a maker's firmware header is not usable."""

    code = "SW-LAYOUT-MALFORMED"


class MalformedTrust(SealwrightError):
    """A trust file, deny list or revocation bundle is not usable."""

    code = "SW-TRUST-MALFORMED"


class TrustRefused(SealwrightError):
    """A trust file is well formed, but nothing makes this verifier believe it."""

    code = "SW-TRUST-NOT-BELIEVED"


class CeremonyRefused(SealwrightError):
    """A key ceremony lacks somebody or something that its plan demands, or its record is not the one that was signed."""

    code = "SW-CEREMONY-REFUSED"


class KeyUnavailable(SealwrightError):
    """The token, key or PIN could not be reached; nothing was signed."""

    code = "SW-KEY-UNAVAILABLE"


class PinRefused(KeyUnavailable):
    """The token refused the PIN; it is not tried again until another one is given (A161)."""

    code = "SW-KEY-PIN-REFUSED"


class KeyRefused(SealwrightError):
    """The key is reachable, but must not be used like this."""

    code = "SW-KEY-REFUSED"


class OutputRefused(SealwrightError):
    """An output could not be written; what was there before is still there."""

    code = "SW-OUTPUT-REFUSED"


class JournalError(SealwrightError):
    """The record could not be made durable, so nothing is signed."""

    code = "SW-JOURNAL"


class StoreRefused(SealwrightError):
    """A database is not one that may be used: who else reads it, where it lies, how it keeps what it was told, or its version."""

    code = "SW-STORE-REFUSED"


class StoreUnavailable(SealwrightError):
    """A database could not be reached, read or written; nothing of the transaction was recorded."""

    code = "SW-STORE-UNAVAILABLE"


class StoreConflict(SealwrightError):
    """What was to be recorded contradicts what is recorded already (a key that is taken); nothing of the transaction was."""

    code = "SW-STORE-CONFLICT"


class CommitInDoubt(StoreUnavailable):
    """The database was lost while it committed: whether the transaction is recorded, only looking tells."""

    code = "SW-STORE-IN-DOUBT"


class RepositoryRefused(SealwrightError):
    """A release repository is not what its keys signed, is older than one seen before, or would go back on what it released."""

    code = "SW-REPOSITORY-REFUSED"


class RepositoryStale(RepositoryRefused):
    """A release repository's metadata has ended: it may be withheld what is newer."""

    code = "SW-REPOSITORY-STALE"


class RepositoryUnavailable(SealwrightError):
    """A release repository could not be read or written."""

    code = "SW-REPOSITORY-UNAVAILABLE"


class CourierRefused(SealwrightError):
    """A courier is not for this place, is too old, or is not what its sender packed; nothing of it was taken over."""

    code = "SW-COURIER-REFUSED"


class LogRefused(SealwrightError):
    """A log contradicts itself: its entries, tiles, numbers or signatures are not those of its checkpoint."""

    code = "SW-LOG-BROKEN"


class LogRewound(LogRefused):
    """A log is shorter than it was: restored from a backup, or cut (A135)."""

    code = "SW-LOG-REWOUND"


class LogForked(LogRefused):
    """A log showed two trees of which neither continues the other (A136)."""

    code = "SW-LOG-FORKED"


class LogUnavailable(SealwrightError):
    """A log could not be read to its end: nothing is known about it, and nothing is said against it."""

    code = "SW-LOG-UNAVAILABLE"


class WitnessRefused(SealwrightError):
    """A witness did not cosign a checkpoint; what it said is in the error."""

    code = "SW-LOG-WITNESS"


class AlarmUndelivered(SealwrightError):
    """A log's alarm could not be told to the program or URL that is there for it."""

    code = "SW-LOG-ALARM"


class HomeLocked(SealwrightError):
    """A signing home was restored, and what was signed after its backup is not known yet: nothing is signed with it."""

    code = "SW-HOME-LOCKED"


class BackupRefused(SealwrightError):
    """A backup of a signing home is damaged, altered, or of another home; nothing was restored."""

    code = "SW-BACKUP-REFUSED"


class MediumGone(SealwrightError):
    """A stick was pulled out, or stopped answering, before everything on it was read; nothing of it counts."""

    code = "SW-STATION-MEDIUM-GONE"


class ReceivingRefused(SealwrightError):
    """What was received cannot get the receiving record that was asked for; nothing was recorded or signed."""

    code = "SW-RECEIVING-REFUSED"


class NothingCompared(ReceivingRefused):
    """What the source says of its digests cannot be read, or does not name the file: that is never "nothing to check" (A033)."""

    code = "SW-RECEIVING-NOT-COMPARED"


class DiffersFromSource(ReceivingRefused):
    """The file is another one than the source says."""

    code = "SW-RECEIVING-DIFFERS"


class OldSignatureRefused(ReceivingRefused):
    """A signature of an older kind does not hold, or is too weak to stand for anything."""

    code = "SW-RECEIVING-OLD-SIGNATURE"


class AcceptanceRefused(SealwrightError):
    """What was delivered cannot be accepted as it was asked; nothing was signed for it."""

    code = "SW-ACCEPTANCE-REFUSED"


class PermitRefused(SealwrightError):
    """A permit or its follow-up is not written or signed, because it would count for nothing."""

    code = "SW-PERMIT-REFUSED"


class HandoverRefused(SealwrightError):
    """A release is not handed to a device's own tool, or not put on a share."""

    code = "SW-HANDOVER-REFUSED"


class SampleRefused(SealwrightError):
    """A maker's file from which nothing is taken into a trust file: unsigned, broken, weak, unreadable, or of another maker."""

    code = "SW-SAMPLE-REFUSED"


class RequestRefused(SealwrightError):
    """A request for signatures, or what belongs to it, does not say what it must, or may not be made, approved or used."""

    code = "SW-REQUEST-REFUSED"


class KeyCloned(RequestRefused):
    """An authenticator's counter went back: two of them have the same key."""

    code = "SW-KEY-CLONED"


class ServiceUnavailable(SealwrightError):
    """A signing service does not answer, or answers what no signing service does."""

    code = "SW-SERVICE-UNAVAILABLE"


class StillWaiting(ServiceUnavailable):
    """A request for signatures is neither signed nor refused yet; whoever asks again goes on waiting."""

    code = "SW-SERVICE-WAITING"


class MalformedPeople(SealwrightError):
    """The register of who speaks to the service, or the list of their names, is not usable."""

    code = "SW-PEOPLE-MALFORMED"


class IdentityRefused(SealwrightError):
    """Who asks is not known, not known any more, or cannot prove it. Only the log gets the reason (A129)."""

    code = "SW-IDENTITY-REFUSED"


class MalformedPolicy(SealwrightError):
    """A folder of policies is not usable as a whole; nothing is allowed by any part of it."""

    code = "SW-POLICY-MALFORMED"


class PolicyChangeRefused(SealwrightError):
    """Other policies than those that the log says count, and nothing that lets them count (A132)."""

    code = "SW-POLICY-CHANGE"


class MalformedConfiguration(SealwrightError):
    """A service's configuration is not usable."""

    code = "SW-CONFIGURATION-MALFORMED"


class ServiceRefused(SealwrightError):
    """A signing service has answered that it does not do what was asked."""

    code = "SW-SERVICE-REFUSED"


class PolicyRefused(RequestRefused):
    """The policies of the service do not allow it."""

    code = "SW-POLICY-REFUSED"


class ProvenanceRefused(RequestRefused):
    """A build provenance is none, or not of what is to be signed, or not that of a builder that the policies trust."""

    code = "SW-PROVENANCE-REFUSED"


class SpoolFull(SealwrightError):
    """There is no room now for a file that was uploaded."""

    code = "SW-SPOOL-FULL"


class RequestOver(RequestRefused):
    """A request is used, withdrawn or past its day, or what was sent for it is there already."""

    code = "SW-REQUEST-OVER"


class NoSuchRequest(SealwrightError):
    """What was named is not there, or is not shown to who asks."""

    code = "SW-REQUEST-UNKNOWN"


class InstallRefused(SealwrightError):
    """A release is not installed here and now; what was installed stays as it is."""

    code = "SW-INSTALL-REFUSED"


class InstallFailed(SealwrightError):
    """A release was not installed to its end, or did not work; the device has its former release, or the error says what is left to do."""

    code = "SW-INSTALL-FAILED"


class AgentDamaged(SealwrightError):
    """What a device's agent keeps of itself cannot be relied on."""

    code = "SW-AGENT-STATE"


class MalformedRepository(SealwrightError):
    """A release repository, or what is staged for it, is not what its keys signed."""

    code = "SW-REPOSITORY-MALFORMED"


class ReleaseRefused(SealwrightError):
    """A release or role is not taken into a repository: not verified, not signed by enough, or other bytes than were released (A160)."""

    code = "SW-RELEASE-REFUSED"
