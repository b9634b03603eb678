"""An OpenPGP signature beside a file, checked by gpgv with the keys of one key file and no others.

gpgv says whose signature holds, on a status descriptor of its own and nowhere else: on the same one as its words for people, a name in
the message could forge the lines (CVE-2018-12020). Wanted are exactly one signature, which is valid, and good but for an expired or revoked key.
What gpgv does not judge is judged here: the digest (SHA-2), the signing key and its primary key (openpgp.py), and that the signature is over
the bytes as they are, not over a text whose line ends may change. Source: GnuPG doc/DETAILS.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import unquote

from sealwright.artifact.names import display
from sealwright.errors import MalformedEnvelope, OldSignatureRefused
from sealwright.plant.oldkinds import AGAIN, WEAK, Checked, Given, Kind, weaknesses_of
from sealwright.plant.openpgp import PgpKey, detached_signature, keyring, pgp_keys
from sealwright.plant.tools import GPGV, Ran, Workshop

_PREFIX = "[GNUPG:] "
_HASHES = {"8": "SHA-256", "9": "SHA-384", "10": "SHA-512"}
_WEAK_HASHES = {"1": "MD5", "2": "SHA-1", "3": "RIPEMD-160", "11": "SHA-224"}
_KEYS = {"1": "RSA", "3": "RSA", "17": "DSA", "19": "ECDSA", "22": "EdDSA"}
_VALIDSIG_FIELDS = 10
_BINARY = "00"
_GOOD = "GOODSIG"
# in the order in which they are told: what a reader must know first
_BAD = {
    "BADSIG": ("it does not hold for this file", AGAIN),
    "NO_PUBKEY": (
        "it is by another key than those in the key file",
        "Name the key file that has its key with --old-key.",
    ),
    "ERRSIG": (
        "gpgv does not take it: its algorithm is too old, or its key is none that the primary key vouches for",
        WEAK,
    ),
    "NODATA": ("there is no signature in it", AGAIN),
    "UNEXPECTED": ("it is damaged", AGAIN),
}
# a signature that holds, with less behind it
_LESS = {
    "REVKEYSIG": "its key was revoked by the owner",
    "EXPKEYSIG": "its key has expired",
    "EXPSIG": "it has expired",
}
MAX_SIGNER = 150


def check_gpg(given: Given, content: str, workshop: Workshop) -> Checked:
    """Raises OldSignatureRefused, or Unreadable without gpgv. content: the copy of the file."""
    try:
        ring = keyring(given.key, given.key_path)
        signature = detached_signature(given.signature, given.signature_path)
        keys = {key.fingerprint: key for key in pgp_keys(ring, given.key_path)}
    except MalformedEnvelope as cause:
        raise OldSignatureRefused(cause.subject, cause.what, cause.next_step) from cause
    kept, signed = workshop.place("keyring.gpg", ring), workshop.place("signature", signature)
    ran = workshop.run(GPGV, ("--keyring", kept, "--", signed, content), status="--status-fd")
    found = _found(ran, given)
    fields, weak = found.fields, list(found.weaknesses)
    fingerprint, stamp, hash_name, made_over, primary = fields[0], fields[2], fields[7], fields[8], fields[9]
    if hash_name not in _HASHES:
        weak.append(f"made with {_WEAK_HASHES.get(hash_name, 'an unknown digest')}")
    if made_over != _BINARY:
        raise OldSignatureRefused(
            given.signature_path,
            "it holds for a text whose line ends may change, not for these bytes",
            "Ask the vendor for a signature made without --textmode.",
        )
    for one in dict.fromkeys((fingerprint, primary)):
        weak += _weaknesses(keys.get(one), one)
    how = f"{_KEYS.get(fields[6], 'OpenPGP')} with {_HASHES.get(hash_name) or _WEAK_HASHES.get(hash_name, 'another')}"
    made = f", made {_day(stamp)} by its own word" if _day(stamp) else ""
    return Checked(
        kind=Kind.OPENPGP,
        tool=workshop.version(GPGV),
        key=f"openpgp:{primary}",
        signer=found.signer,
        how=how + made,
        weaknesses=tuple(weak),
    )


class _Found(NamedTuple):
    """fields: of the one VALIDSIG line; signer: a user id of the key."""

    fields: list[str]
    signer: str
    weaknesses: tuple[str, ...]


def _found(ran: Ran, given: Given) -> _Found:
    lines = ran.status.decode("utf-8", "replace").split("\n")
    told = [line.removeprefix(_PREFIX).split(" ") for line in lines if line.startswith(_PREFIX)]
    words = [line[0] for line in told]
    for word, (what, step) in _BAD.items():
        if word in words:
            raise OldSignatureRefused(given.signature_path, what, step)
    valid = [line[1:] for line in told if line[0] == "VALIDSIG"]
    says = [line for line in told if line[0] == _GOOD or line[0] in _LESS]
    once = words.count("NEWSIG") == len(says) == len(valid) == 1
    if not once or len(valid[0]) < _VALIDSIG_FIELDS or (ran.code != 0 and says[0][0] == _GOOD):
        raise OldSignatureRefused(
            given.signature_path,
            "gpgv does not say that exactly one signature in it holds",
            "Ask the vendor for a signature file with one signature.",
        )
    word, _, *signer = says[0]
    shown = display(unquote(" ".join(signer), errors="replace"))[:MAX_SIGNER].strip()
    return _Found(valid[0], shown, (_LESS[word],) if word in _LESS else ())


def _weaknesses(key: PgpKey | None, fingerprint: str) -> tuple[str, ...]:
    if key is None or not re.fullmatch(r"[0-9A-F]{40}", fingerprint):
        return (f"{display(fingerprint)} is a key of a version that is not judged here",)
    return weaknesses_of(key.key, fingerprint) if key.key is not None else (f"{fingerprint} is a key by {key.kind}",)


def _day(stamp: str) -> str:
    return f"{datetime.fromtimestamp(int(stamp), UTC):%Y-%m-%d}" if re.fullmatch(r"[0-9]{1,10}", stamp) else ""
