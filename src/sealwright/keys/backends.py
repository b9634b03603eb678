"""The table of key backends, by the scheme of a key string."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from cryptography.hazmat.primitives.asymmetric import rsa

from sealwright.envelope.algorithms import PublicKey, SignatureAlgorithm, check_rsa, key_digest
from sealwright.envelope.kinds import Construction, least_rsa_bits
from sealwright.errors import KeyRefused, UsageError, WeakAlgorithm
from sealwright.keys.key import KeyInfo, KeyKind, OpenKey, Provenance
from sealwright.keys.pin import Pin
from sealwright.keys.uri import parse_awskms, path_of, scheme_of

if TYPE_CHECKING:
    from sealwright.keys.file import PrivateKey
    from sealwright.keys.health import WatchedKey
    from sealwright.keys.pinmark import PinMarks
    from sealwright.keys.pkcs11 import KeySeen

SCHEMES = ("file", "pkcs11", "tpm", "transit", "awskms")
_BURNT_IN = "A shorter one that boards have burnt in signs for them alone, enrolled with --construction digest:mcuboot or digest:fit."


def open_key(
    uri: str,
    pin: Pin | None = None,
    *,
    algorithm: SignatureAlgorithm | None = None,
    expected: PublicKey | None = None,
    construction: Construction = Construction.CMS_ATTRIBUTES,
) -> OpenKey:
    """Find, check and open a key. expected: the enrolled public key; KeyRefused if the key found is another one.

    construction: what it is to sign; WeakAlgorithm for an RSA key that is too short for that.
    """
    key = _open(uri, pin, algorithm)
    _check(key, uri, expected, construction)
    return key


def open_watched(
    uri: str,
    pin: Pin | None = None,
    *,
    algorithm: SignatureAlgorithm | None = None,
    expected: PublicKey | None = None,
    construction: Construction = Construction.CMS_ATTRIBUTES,
    workers: int = 1,
    marks: PinMarks | None = None,
) -> WatchedKey:
    """The same for a service, which wants to know how a key fares and has it opened again when it was lost.

    workers: processes of a PKCS#11 token; other keys have none. marks: where tried PINs are remembered across restarts (A161).
    """
    if scheme_of(uri) == "pkcs11":
        from sealwright.keys.pool import open_token_pool

        pool = open_token_pool(uri, pin, algorithm, workers=workers, marks=marks)
        _check(pool, uri, expected, construction)
        return pool

    def opened() -> OpenKey:
        return open_key(uri, pin, algorithm=algorithm, expected=expected, construction=construction)

    if scheme_of(uri) in ("transit", "awskms"):
        return cast("WatchedKey", opened())  # they know themselves
    from sealwright.keys.health import Reopened

    return Reopened(opened)


def _check(key: OpenKey, uri: str, expected: PublicKey | None, construction: Construction) -> None:
    """The key is long enough for what it is to sign, and the one that was enrolled; else it is closed."""
    found = key.info.public_key
    if isinstance(found, rsa.RSAPublicKey):
        try:
            check_rsa(found, subject=uri, minimum_bits=least_rsa_bits(construction))
        except WeakAlgorithm as cause:
            key.close()
            raise WeakAlgorithm(uri, cause.what, f"{cause.next_step} {_BURNT_IN}") from cause
    if expected is not None and key_digest(found) != key_digest(expected):
        key.close()
        raise KeyRefused(
            uri,
            "the key found there is not the one that was enrolled",
            "Restore the enrolled key, or enrol this one anew.",
        )


def create_key(uri: str, kind: KeyKind, pin: Pin | None = None) -> KeyInfo:
    """Create a key that never leaves its backend; `info.uri` is the canonical key string to enrol."""
    match scheme_of(uri):
        case "file":
            from sealwright.keys.file import create_file_key

            return create_file_key(path_of(uri), kind, pin)
        case "pkcs11":
            from sealwright.keys.pkcs11 import create_token_key

            return create_token_key(uri, kind, pin)
        case "tpm":
            from sealwright.keys.tpm import create_tpm_key

            return create_tpm_key(path_of(uri), kind)
        case "transit":
            from sealwright.keys.transit import create_transit_key

            return create_transit_key(uri, kind)
        case "awskms":
            raise KeyRefused(
                uri,
                "a key there costs money and belongs to the account's own set-up",
                "Make it with the account's own tools (KeyUsage SIGN_VERIFY), then `sealwright key import-certificate`.",
            )
    raise _unknown(uri)


def import_key(uri: str, private: PrivateKey, pin: Pin | None = None) -> KeyInfo:
    """Take in a key that was made elsewhere; `info.uri` is the canonical key string to enrol."""
    match scheme_of(uri):
        case "file":
            from sealwright.keys.file import import_file_key

            return import_file_key(path_of(uri), private, pin)
        case "pkcs11":
            from sealwright.keys.pkcs11 import import_token_key

            return import_token_key(uri, private, pin)
        case "tpm":
            from sealwright.keys.tpm import import_tpm_key

            return import_tpm_key(path_of(uri), private)
        case "transit" | "awskms":
            raise KeyRefused(
                uri,
                "a key service takes keys in wrapped form alone",
                "Use its own import, then `sealwright key import-certificate`.",
            )
    raise _unknown(uri)


def destroy_key(uri: str, pin: Pin | None = None) -> None:
    """Remove a key for good: for one that was made to try a backend, or an import that failed."""
    import os

    match scheme_of(uri):
        case "pkcs11":
            from sealwright.keys.pkcs11 import destroy_token_key

            destroy_token_key(uri, pin)
        case "file" | "tpm":
            for path in (path_of(uri), f"{path_of(uri)}.auth", f"{path_of(uri)}.pcr", f"{path_of(uri)}.audit"):
                if os.path.exists(path):
                    os.remove(path)
        case "transit" | "awskms":
            raise KeyRefused(uri, "a key service destroys keys by its own rules", "Ask its operators.")
        case _:
            raise _unknown(uri)


def list_keys(uri: str, pin: Pin | None = None) -> list[KeySeen]:
    """The private keys of a token or key service, each with its key string and why it may not sign, or ""."""
    from sealwright.keys.pkcs11 import KeySeen, list_token_keys

    held = Provenance.SERVICE_HELD.value
    match scheme_of(uri):
        case "pkcs11":
            return list_token_keys(uri, pin)
        case "transit":
            from sealwright.keys.transit import list_transit_keys

            seen = list_transit_keys(uri)
            return [KeySeen(key.uri, key.name, "" if key.problem else held, key.problem) for key in seen]
        case "awskms":
            from sealwright.keys.awskms import list_awskms_keys

            found = list_awskms_keys(uri)
            return [
                KeySeen(one.uri, parse_awskms(one.uri).key, "" if one.problem else held, one.problem) for one in found
            ]
        case "file" | "tpm":
            raise UsageError(uri[:80], "it holds one key", "See `sealwright key show`.")
    raise _unknown(uri)


def attest(uri: str, pin: Pin | None = None, nonce: bytes | None = None) -> str:
    """What the backend can show about where a key lives, as text: a TPM's attestation; of a token its own word.

    nonce: the challenge of who asks, 8 to 32 octets; a random one by default. KeyRefused for a key in a file.
    """
    import json
    import secrets
    from contextlib import closing

    if scheme_of(uri) == "tpm":
        from sealwright.keys.attestation import attestation_text
        from sealwright.keys.tpm import open_tpm_key

        with closing(open_tpm_key(uri)) as key:
            return attestation_text(key.certify(nonce or secrets.token_bytes(32)))
    if scheme_of(uri) == "pkcs11":
        with closing(open_key(uri, pin)) as token_key:
            info = token_key.info
            said = {
                "key": str(key_digest(info.public_key)),
                "provenance": info.provenance.value,
                **dict(info.attributes),
            }
        return json.dumps({"format": "statement of a PKCS#11 module, not an attestation", **said}, indent=1) + "\n"
    if scheme_of(uri) != "file":
        raise KeyRefused(uri, "a key service proves nothing about where its keys live", "Make a key in a TPM for that.")
    raise KeyRefused(uri, "a key in a file lives nowhere in particular", "Make a key in a token or TPM.")


def _open(uri: str, pin: Pin | None, algorithm: SignatureAlgorithm | None) -> OpenKey:
    # each backend is imported only where it is used: start-up time, and the TPM's is an extra
    match scheme_of(uri):
        case "file":
            from sealwright.keys.file import open_file_key

            return open_file_key(uri, pin, algorithm)
        case "pkcs11":
            from sealwright.keys.pkcs11 import open_token_key

            return open_token_key(uri, pin, algorithm)
        case "tpm":
            from sealwright.keys.tpm import open_tpm_key

            return open_tpm_key(uri, algorithm)
        case "transit":
            from sealwright.keys.transit import open_transit_key

            return open_transit_key(uri, algorithm)
        case "awskms":
            from sealwright.keys.awskms import open_awskms_key

            return open_awskms_key(uri, algorithm)
    raise _unknown(uri)


def _unknown(uri: str) -> UsageError:
    return UsageError(
        uri[:80], "no backend is called that", "Write " + ", ".join(f"{scheme}:…" for scheme in SCHEMES) + "."
    )
