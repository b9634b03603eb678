"""What goes along with an allowed file onto a clean stick: what lies beside it and is, to its last byte, what its name says (A066, A150).

A verdict needs one good signature. What else lies beside the file under the names of signatures was never trusted, and need not even
be one: `drive.bin.plant.p7s` may hold anything. So

1. what an accepted signature was read from, and the manifest or statement that it signs, goes along;
2. anything else only if it can be read as what it is called, as a whole; who made it is told by whoever verifies again;
3. evidence only if the receiving record that lists it has an accepted signature.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Set
from typing import Final

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.source import read_file
from sealwright.envelope.cms import Profile, read_envelope
from sealwright.envelope.tsp import read_token, token_of_sidecar
from sealwright.errors import MalformedArtifact, SealwrightError
from sealwright.formats.sidecar import (
    ACCEPTANCE_SUFFIX,
    EVIDENCE_SUFFIX,
    IMA_LIST_SUFFIX,
    LATE_SUFFIX,
    MANIFEST_SUFFIX,
    MAX_ENVELOPE_BYTES,
    MAX_PROOF_BYTES,
    RECEIVING_SUFFIX,
    RECORD_SUFFIX,
)
from sealwright.trust.verdict import Verdict

_SIGNATURE = ".p7s"


def owner_of(name: str, judged: Set[str], folders: Set[str], files: Set[str]) -> str:
    """What a name beside others belongs to: the longest beginning up to a dot that is judged there itself; "" for none.

    judged: the files that are; folders, files: all names there. A folder is judged if it has a manifest or receiving record beside it.
    """
    at = len(name)
    while (at := name.rfind(".", 1, at)) > 0:
        stem = name[:at]
        if stem in judged or (stem in folders and _is_tree(stem, files)):
            return stem
    return ""


def goes_along(path: str, verdict: Verdict) -> bool:
    """Whether a file beside what a verdict is about may be handed on with it. path: of the file that lies there."""
    name = os.path.basename(path)
    if any(signer.accepted and name in (signer.source, _signed_by(signer.source)) for signer in verdict.signers):
        return True
    ending = next((one for one in _READERS if name.endswith(one)), "")
    if not ending:
        return False
    try:
        _READERS[ending](path, name)
    except SealwrightError:
        return False
    return True


def has_accepted_record(verdict: Verdict) -> bool:
    """Whether the receiving record beside it counted, and with it the evidence that it lists."""
    return any(signer.accepted and signer.statement == "receiving" for signer in verdict.signers)


def _is_tree(folder: str, files: Set[str]) -> bool:
    is_evidence = folder.endswith(EVIDENCE_SUFFIX) and folder + MANIFEST_SUFFIX in files
    return not is_evidence and not files.isdisjoint((folder + MANIFEST_SUFFIX, folder + RECEIVING_SUFFIX))


def _signed_by(source: str) -> str:
    """The manifest or statement that a signature file beside it is over."""
    signed = source.removesuffix(_SIGNATURE)
    return signed if signed.endswith(MANIFEST_SUFFIX) else ""


def _envelope(path: str, name: str) -> None:
    read_envelope(read_file(path, MAX_ENVELOPE_BYTES), Profile.OURS, name)


def _bare(path: str, name: str) -> None:
    from sealwright.envelope.bare import read_bare_cms  # start-up time, as in what follows: few files have one

    read_bare_cms(read_file(path, MAX_ENVELOPE_BYTES), lambda used: Digest(used, bytes(used.size)), (), name)


def _token(path: str, name: str) -> None:
    read_token(token_of_sidecar(read_file(path, MAX_ENVELOPE_BYTES), name), name)


def _proof(path: str, name: str) -> None:
    from sealwright.log.proof import read_proof

    read_proof(read_file(path, MAX_PROOF_BYTES), name)


def _record(path: str, name: str) -> None:
    from sealwright.envelope.ers import MAX_BYTES, read_record

    read_record(read_file(path, MAX_BYTES), name)


def _acceptance(path: str, name: str) -> None:
    from sealwright.artifact.acceptance import MAX_BYTES, parse_acceptance

    parse_acceptance(read_file(path, MAX_BYTES), name)


def _receiving(path: str, name: str) -> None:
    from sealwright.artifact.receiving import MAX_BYTES, parse_receiving

    parse_receiving(read_file(path, MAX_BYTES), name)


def _manifest(path: str, name: str) -> None:
    from sealwright.artifact.manifest import MAX_BYTES, parse_manifest

    parse_manifest(read_file(path, MAX_BYTES), name)


def _xml(path: str, name: str) -> None:
    from sealwright.formats.xmlsignature import read_detached

    read_detached(read_file(path, MAX_ENVELOPE_BYTES), name)


def _ima(path: str, name: str) -> None:
    from sealwright.formats.ima import read_signature

    read_signature(read_file(path, MAX_ENVELOPE_BYTES), name)


def _ima_list(path: str, name: str) -> None:
    from sealwright.formats.imalist import MAX_LIST_BYTES, read_list

    read_list(read_file(path, MAX_LIST_BYTES), name)


def _root_hash(path: str, name: str) -> None:
    data = read_file(path, HashName.SHA256.size * 2 + 1)
    if _ROOT_HASH.fullmatch(data) is None:
        raise MalformedArtifact(name, "it is no root hash", "Ask for it again.")


_ROOT_HASH = re.compile(rb"[0-9a-f]{64}\n?")
# the first ending that fits decides
_READERS: Final[dict[str, Callable[[str, str], None]]] = {
    ".roothash.p7s": _bare,
    ".fsverity.p7s": _bare,
    _SIGNATURE: _envelope,
    LATE_SUFFIX: _token,
    ".tlog-proof": _proof,
    RECORD_SUFFIX: _record,
    ACCEPTANCE_SUFFIX: _acceptance,
    RECEIVING_SUFFIX: _receiving,
    MANIFEST_SUFFIX: _manifest,
    ".manifest.list": _manifest,
    ".xmldsig": _xml,
    ".sig": _ima,
    IMA_LIST_SUFFIX: _ima_list,
    ".roothash": _root_hash,
}
