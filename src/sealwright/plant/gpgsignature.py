"""An OpenPGP signature beside a file, checked by gpgv with the keys of one key file and no others.

gpgv says whose signature holds, on a status descriptor of its own and nowhere else: on the same one as its words for people, a name in
the message could forge the lines (CVE-2018-12020). Wanted are exactly one signature, GOODSIG and VALIDSIG once each, exit code 0.
What gpgv does not judge is judged here: the digest (SHA-2), the signing key and its primary key (openpgp.py), and that the signature is over
the bytes as they are, not over a text whose line ends may change. Source: GnuPG doc/DETAILS.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sealwright.artifact.names import display
from sealwright.errors import MalformedEnvelope, OldSignatureRefused
from sealwright.plant.oldkinds import AGAIN, WEAK, Given, Kind, OldSignature, check_strength
from sealwright.plant.openpgp import keyring, pgp_keys
from sealwright.plant.tools import GPGV, Ran, Workshop

_PREFIX = "[GNUPG:] "
_HASHES = {"8": "SHA-256", "9": "SHA-384", "10": "SHA-512"}
_WEAK_HASHES = {"1": "MD5", "2": "SHA-1", "3": "RIPEMD-160", "11": "SHA-224"}
_KEYS = {"1": "RSA", "3": "RSA", "19": "ECDSA", "22": "EdDSA"}
_VALIDSIG_FIELDS = 10
_BINARY = "00"
# in the order in which they are told: what a reader must know first
_BAD = {
    "BADSIG": ("it does not hold for this file", AGAIN),
    "REVKEYSIG": ("its key was revoked by the owner", WEAK),
    "EXPKEYSIG": ("its key has expired", WEAK),
    "EXPSIG": ("it has expired", WEAK),
    "NO_PUBKEY": ("it is by another key than those in the key file", "Name the key file that has its key with --old-key."),
    "ERRSIG": ("it cannot be checked: its algorithm or key is of no kind that gpgv takes", WEAK),
    "NODATA": ("there is no signature in it", AGAIN),
    "UNEXPECTED": ("it is damaged", AGAIN),
}  # fmt: skip


def check_gpg(given: Given, content: str, workshop: Workshop) -> OldSignature:
    """Raises OldSignatureRefused, or Unreadable without gpgv. content: the copy of the file."""
    try:
        ring = keyring(given.key, given.key_path)
        keys = {key.fingerprint: key for key in pgp_keys(ring, given.key_path)}
    except MalformedEnvelope as cause:
        raise OldSignatureRefused(cause.subject, cause.what, cause.next_step) from cause
    kept, signed = workshop.place("keyring.gpg", ring), workshop.place("signature", given.signature)
    ran = workshop.run(GPGV, ("--keyring", kept, "--", signed, content), status="--status-fd")
    valid = _valid(ran, given)
    fingerprint, stamp, hash_name, made_over, primary = valid[0], valid[2], valid[7], valid[8], valid[9]
    if hash_name not in _HASHES:
        name = _WEAK_HASHES.get(hash_name, f"the digest algorithm {display(hash_name)}")
        raise OldSignatureRefused(given.signature_path, f"it holds, but was made with {name}, which is weak", WEAK)
    if made_over != _BINARY:
        raise OldSignatureRefused(
            given.signature_path,
            "it holds for a text whose line ends may change, not for these bytes",
            "Ask the vendor for a signature made without --textmode.",
        )
    for one in dict.fromkeys((fingerprint, primary)):
        found = keys.get(one)
        if found is None or found.key is None:
            kind = "of a kind that is not judged here" if found is None else f"a key by {found.kind}"
            raise OldSignatureRefused(given.key_path, f"{display(one)} is {kind}", WEAK)
        check_strength(found.key, f"{given.key_path} ({one})")
    algorithm = f"{_KEYS.get(valid[6], 'OpenPGP')} with {_HASHES[hash_name]}"
    return OldSignature(Kind.OPENPGP, workshop.version(GPGV), f"openpgp:{primary}", algorithm, _time(stamp))


def _valid(ran: Ran, given: Given) -> list[str]:
    """The fields of the one VALIDSIG line."""
    lines = ran.status.decode("utf-8", "replace").split("\n")
    told = [line.removeprefix(_PREFIX).split(" ") for line in lines if line.startswith(_PREFIX)]
    words = [line[0] for line in told]
    for word, (what, step) in _BAD.items():
        if word in words:
            raise OldSignatureRefused(given.signature_path, what, step)
    valid = [line[1:] for line in told if line[0] == "VALIDSIG"]
    once = words.count("NEWSIG") == words.count("GOODSIG") == len(valid) == 1
    if ran.code != 0 or not once or len(valid[0]) < _VALIDSIG_FIELDS:
        raise OldSignatureRefused(
            given.signature_path,
            "gpgv does not say that exactly one signature in it holds",
            "Ask the vendor for a signature file with one signature.",
        )
    return valid[0]


def _time(stamp: str) -> datetime | None:
    return datetime.fromtimestamp(int(stamp), UTC) if stamp.isdecimal() and len(stamp) < 11 else None
