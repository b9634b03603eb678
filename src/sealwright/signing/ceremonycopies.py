"""The second copy of a device key: what is burnt into devices can be replaced by nobody, so that a key that is lost ends a product.

A copy counts where it signs a fresh challenge that verifies with the first one's public key, and lies elsewhere than the first one.
"""

from __future__ import annotations

import os
import secrets
from contextlib import closing

from sealwright.artifact.digest import Digest
from sealwright.artifact.names import display
from sealwright.envelope.algorithms import check_signature, key_digest
from sealwright.envelope.tobesigned import Kind, ToBeSigned
from sealwright.errors import CeremonyRefused, KeyRefused, UsageError
from sealwright.keys.backends import open_key
from sealwright.keys.key import KeyInfo, OpenKey
from sealwright.keys.pin import Pin
from sealwright.keys.uri import parse_pkcs11, path_of
from sealwright.signing.ceremonyplan import DEVICE, Plan

_CHALLENGE = b"sealwright second copy 1\n"


def check_copies(plan: Plan, second: str, pin: Pin | None) -> None:
    """Refused before anything is made (a key burnt into devices can be replaced by nobody)."""
    if DEVICE not in plan.steps:
        if second:
            raise UsageError("--second-copy", f"no step of {plan.path} is {DEVICE}", "Leave it out.")
        return
    if not second:
        if plan.accept_single_copy:
            return
        raise CeremonyRefused(
            plan.path,
            "devices will have its device key burnt in, and no second copy of the key is shown",
            'Name it with --second-copy KEY, or have a plan attended that says accept_single_copy = "reason".',
        )
    if plan.device_key:
        with closing(device_key(plan, pin)) as key:
            prove_copy(plan, second, pin, key.info)


def device_key(plan: Plan, pin: Pin | None) -> OpenKey:
    """The key that was made before the ceremony, opened."""
    pin = pin if plan.device_key.startswith("pkcs11:") else None
    construction = plan.construction_of(DEVICE)
    return open_key(plan.device_key, pin, algorithm=plan.device_kind.algorithm, construction=construction)


def prove_copy(plan: Plan, uri: str, pin: Pin | None, first: KeyInfo) -> str:
    """Where the second copy lies, after it signed a fresh challenge that verifies with the first one's public key."""
    algorithm = plan.device_kind.algorithm
    pin = pin if uri.startswith("pkcs11:") else None
    challenge = _CHALLENGE + secrets.token_bytes(32)
    try:
        with closing(open_key(uri, pin, algorithm=algorithm, construction=plan.construction_of(DEVICE))) as copy:
            if key_digest(copy.info.public_key) != key_digest(first.public_key):
                raise CeremonyRefused(uri, "it is another key than the device key", "Copy the device key there.")
            if _same_place(copy.info.uri, first.uri):
                raise CeremonyRefused(
                    uri,
                    "it lies where the first one lies, and is lost with it",
                    "Name the copy in another token or on another medium.",
                )
            asked = ToBeSigned(Kind.MESSAGE, challenge, algorithm)
            if not algorithm.signs_message:
                asked = ToBeSigned(Kind.DIGEST, Digest.of(challenge, algorithm.digest).value, algorithm)
            (value,) = copy.sign([asked])
            check_signature(first.public_key, algorithm, value, challenge, subject=uri)
            return display(copy.info.location)
    except KeyRefused as cause:
        raise CeremonyRefused(uri, cause.what, "Show the second copy of the device key itself.") from cause


def _same_place(one: str, other: str) -> bool:
    schemes = {uri.partition(":")[0] for uri in (one, other)}
    if schemes == {"pkcs11"}:
        return parse_pkcs11(one).serial == parse_pkcs11(other).serial
    if schemes == {"tpm"}:  # a blob is good in its own TPM alone
        return True
    return schemes == {"file"} and os.path.samefile(path_of(one), path_of(other))
