"""When a signature was in a log that witnesses watch: `FILE.tlog-proof`, judged for one signature (RULES 4 and 6).

1. The proof holds: its entry is in a log of the trust file (`log/proof.py`).
2. The entry is about this very signature: signature value, content, format or kind, key, certificate, construction and, where the
   signed bytes claim something, the claims, field by field. The entry's policy and private part are for others to compare.
3. As many distinct witnesses of the trust file as it wants have seen the log with it. The time proved is that by which they all
   had: of the times they say, the k-th earliest. The floor moves to a time that k of them had passed, and never beyond it.
A log's own signature proves no time, nor do times in its entries. A bad proof is a finding and never improves a verdict.
"""

from __future__ import annotations

from typing import NamedTuple

from sealwright.artifact.digest import Digest
from sealwright.envelope.cms import Signer
from sealwright.envelope.kinds import KINDS
from sealwright.errors import SealwrightError
from sealwright.findings import Finding, warning
from sealwright.formats.format import Candidate, LogProofFile
from sealwright.log.entry import SignatureEntry, read_entry
from sealwright.log.proof import check_proof, read_proof
from sealwright.trust.certificate import facts, load_certificate
from sealwright.trust.ground import Ground
from sealwright.trust.times import Seen
from sealwright.trust.timestamps import Proof

_WHOLE_FILE = "detached"


class Logged(NamedTuple):
    """log: as the trust file calls it; leaf: the number of the entry; witnesses: how many have seen it; proof: of a time."""

    log: str
    leaf: int
    witnesses: int
    proof: Proof

    @property
    def shown(self) -> str:
        """Where it is, for people."""
        return f"{self.log}, entry {self.leaf}, seen by {self.witnesses} witness{'es' if self.witnesses != 1 else ''}"


def prove_logged(
    file: LogProofFile, candidate: Candidate, signer: Signer, ground: Ground
) -> tuple[Logged | None, tuple[Finding, ...]]:
    """What the proof beside a signature proves of it, and a warning where that is nothing."""
    trust, name = ground.trust, file.name
    try:
        proof = read_proof(file.data, name)
        if not proof.entry:
            return None, (warning("SW-LOG-PROOF-REFUSED", name, found="it does not carry the log's entry"),)
        try:
            entry = read_entry(proof.entry)
        except ValueError as cause:
            return None, (
                warning("SW-LOG-PROOF-REFUSED", name, found=f"its entry cannot be used ({str(cause)[:200]})"),
            )
        if differs := _difference(entry, candidate, signer):
            return None, (warning("SW-LOG-PROOF-REFUSED", name, found=differs),)
        witnesses = [witness.key for witness in trust.witnesses]
        seen = check_proof(proof, proof.entry, [log.key for log in trust.logs], witnesses, name)
    except SealwrightError as cause:
        return None, (warning("SW-LOG-PROOF-REFUSED", name, found=cause.what),)
    times, enough = sorted(seen.times.values()), trust.witness_threshold
    if len(times) < enough:
        return None, (warning("SW-LOG-PROOF-UNWITNESSED", name, wanted=str(enough), found=str(len(times))),)
    log = next(log.name for log in trust.logs if log.key == seen.log)
    latest = times[enough - 1]
    past = Seen(min(latest, times[-enough]), "witnesses of logs")
    return Logged(log, proof.leaf, len(times), Proof(latest, f"the witnesses of the log {log}", (past,))), ()


def _difference(entry: SignatureEntry, candidate: Candidate, signer: Signer) -> str:
    """What the entry says otherwise than the signature; "" where it is about it."""
    if entry.signature != Digest.of(signer.signature):
        return "it is of another signature"
    known = facts(load_certificate(signer.certificate, candidate.source))
    of_content = {candidate.artifact, *candidate.digests.values()}
    compared = (
        ("format", entry.format, candidate.format if entry.format else ""),
        ("kind", entry.kind, candidate.kind if entry.kind else ""),
        ("artifact", entry.artifact, entry.artifact if entry.artifact in of_content else None),
        ("key", entry.key, known.key),
        ("certificate", entry.certificate, known.certificate),
        ("construction", entry.construction, KINDS[candidate.kind].construction.value),
        ("claims", entry.claims, candidate.claims or entry.claims),
        ("file", entry.file, candidate.artifact if entry.file and candidate.format == _WHOLE_FILE else entry.file),
    )
    differing = next((name for name, said, found in compared if said != found), "")
    return f"its entry has another `{differing}` than the signature" if differing else ""
