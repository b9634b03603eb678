"""A signature of an older kind, checked by its own program with a named key (grade `old-signature`).

    raw        vendor.sig + vendor.pem    openssl dgst -sha256 -verify vendor.pem -signature vendor.sig FILE   (RSA PKCS #1, PSS, ECDSA)
    OpenPGP    FILE.asc   + vendor.asc    gpgv --keyring vendor.gpg FILE.asc FILE
    minisign   FILE.minisig + vendor.pub  minisign -V -p vendor.pub -x FILE.minisig -m FILE

1. The key file says which program checks: the person who receives names the key, the sender only made the signature.
2. The program's yes is needed, by exit code and status, never by its words; what it does not judge, we do: key sizes and digests.
3. Weak (SHA-1, MD5, SHA-224, RSA below 2048 bits, DSA), expired, revoked: it is said, and gives no grade of its own.
4. All of it reads one private copy, whose digest is what the record says (A150).
"""

from __future__ import annotations

from collections.abc import Mapping

from sealwright.plant.gpgsignature import check_gpg
from sealwright.plant.minisignature import check_minisign
from sealwright.plant.oldkinds import Checked, Given, Kind, kind_of
from sealwright.plant.rawsignature import check_raw
from sealwright.plant.tools import Workshop


def check_old_signature(given: Given, content: str, digests: Mapping[str, bytes], workshop: Workshop) -> Checked:
    """Check a signature of the private copy `content`. digests: of the copy, for openssl by each of `rawsignature.DIGESTS`.

    Raises OldSignatureRefused, which says what is wrong and what the file may still be received as; Unreadable where the program is missing.
    """
    match kind_of(given):
        case Kind.OPENPGP:
            return check_gpg(given, content, workshop)
        case Kind.MINISIGN:
            return check_minisign(given, content, workshop)
        case Kind.OPENSSL:
            return check_raw(given, content, digests, workshop)
