"""`doctor --token`: a token or TPM is tried with throwaway keys, and what it cannot do is said with what that means.

Every key is made under a name of its own, used, and destroyed again, also when a step fails; one that could not be destroyed is
reported by its name. Nothing that was in the token before is touched. The PIN is tried once.

    for trial in try_token("pkcs11:token=line-1", pin): print(trial.name, trial.standing, trial.found)

What cannot be tried from a program is not claimed: pulling the token out, a PIN that gets locked, a failing battery.
"""

from __future__ import annotations

import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import cast

from sealwright.artifact.digest import Digest
from sealwright.envelope.algorithms import PSS_SHA256, SignatureAlgorithm
from sealwright.envelope.tobesigned import Kind, ToBeSigned
from sealwright.errors import SealwrightError
from sealwright.keys.key import KeyInfo, KeyKind, OpenKey, Provenance
from sealwright.keys.pin import Pin
from sealwright.keys.pkcs11 import (
    TokenKey,
    about_token,
    create_token_key,
    destroy_token_key,
    import_token_key,
    list_token_keys,
    open_token_key,
)
from sealwright.keys.uri import parse_pkcs11

PREFIX = "sealwright-doctor-"
KINDS = (KeyKind.P256, KeyKind.P384, KeyKind.P521, KeyKind.RSA3072, KeyKind.ED25519)
SESSIONS = 32
SPEED_S = 0.5
_MECHANISMS = (("ECDSA", "p256, p384, p521"), ("RSA_PKCS", "rsa3072, rsa4096"), ("RSA_PKCS_PSS", "rsa3072-pss, rsa4096-pss"),
               ("EDDSA", "ed25519"), ("ML_DSA", "ml-dsa-44, ml-dsa-65, ml-dsa-87"))  # fmt: skip
_BY_HAND = "Remove them with the token's own tool."
_PIN_FLAGS = {
    "USER_PIN_COUNT_LOW": "a wrong PIN was tried",
    "USER_PIN_FINAL_TRY": "one PIN try is left",
    "USER_PIN_LOCKED": "its PIN is locked",
    "USER_PIN_TO_BE_CHANGED": "its PIN is still the first one",
}


class Result(StrEnum):
    """WORKS; NO: it cannot, and Sealwright does without; WRONG: it must not be used like this."""

    WORKS = "ok"
    NO = "no"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Trial:
    """One line. meaning: what it means for Sealwright, "" where there is nothing to say; rate: signatures a second, 0 for none."""

    name: str
    standing: Result
    found: str
    meaning: str = ""
    rate: float = 0.0


def try_token(uri: str, pin: Pin | None, kinds: Sequence[KeyKind] = ()) -> Generator[Trial]:
    """Everything in turn, for those kinds of keys, or all; what fails is a Trial, never an exception, but KeyUnavailable for a token that does not answer or a
    wrong PIN."""
    asked = parse_pkcs11(uri)
    bare = replace(asked, label="", id=None)
    about = about_token(str(bare), SESSIONS)
    bare = replace(bare, token=str(about["token"]), serial=str(about["serial"]))
    yield Trial("module", Result.WORKS, f"{about['module']}, Cryptoki {about['cryptoki']}")
    yield Trial("token", Result.WORKS, f"{about['token']}, serial {about['serial']}, {about['model']}")
    flags = cast("list[str]", about["flags"])
    trouble = [words for flag, words in _PIN_FLAGS.items() if flag in flags]
    yield Trial(
        "PIN",
        Result.WRONG if "USER_PIN_LOCKED" in flags else Result.WORKS,
        "; ".join(trouble) or "no tries are missing",
    )
    yield from _mechanisms(cast("list[str]", about["mechanisms"]))
    count = int(str(about["sessions"]))
    limit = f"at least {count}" if count == SESSIONS else f"{count}, then {about['ended']}"
    fewer = "Each signing process needs one: run no more of them." if count < SESSIONS else ""
    yield Trial("sessions at once", Result.WORKS if count > 1 else Result.NO, limit, fewer)
    list_token_keys(
        str(bare), pin
    )  # a wrong PIN ends it here: below it would be tried for each key, and lock the token (A161)
    first: KeyInfo | None = None
    names: list[str] = []
    try:
        for kind in kinds or KINDS:
            label = _name(kind, names)
            outcome = list(_kind(str(replace(bare, label=label)), kind, pin))
            yield from outcome
            if first is None and outcome[0].standing is Result.WORKS:
                first = _opened(str(replace(bare, label=label)), pin)
        if first is not None:
            yield from _failures(first.uri, pin)
        yield _import(str(replace(bare, label=_name("import", names))), pin)
    finally:
        cleaned = _cleaned(str(bare), pin, names)
    yield cleaned
    yield Trial(
        "taking it out",
        Result.NO,
        "not tried: a program cannot",
        "Once before production: take the token out during `sealwright sign`, put it back, and sign again.",
    )


def _mechanisms(found: Sequence[str]) -> Iterator[Trial]:
    for name, kinds in _MECHANISMS:
        if name in found:
            yield Trial(f"mechanism CKM_{name}", Result.WORKS, f"offered, for {kinds}")
        else:
            yield Trial(
                f"mechanism CKM_{name}", Result.NO, "not offered", f"No keys of the kinds {kinds} in this token."
            )


def _kind(uri: str, kind: KeyKind, pin: Pin | None) -> Iterator[Trial]:
    """One kind of key, from its making to what it gives away."""
    try:
        began = time.monotonic()
        info = create_token_key(uri, kind, pin)
        yield Trial(f"{kind}: make", Result.WORKS, f"in {time.monotonic() - began:.1f} s")
    except SealwrightError as cause:
        yield Trial(f"{kind}: make", Result.NO, cause.what, f"No {kind} keys can be made there.")
        return
    yield _flags(kind, info)
    try:
        with closing(open_token_key(info.uri, pin, kind.algorithm)) as key:
            yield _speed(kind, key, kind.algorithm)
            yield from _kept(kind, key)
        if kind is KeyKind.RSA3072:
            with closing(open_token_key(info.uri, pin, PSS_SHA256)) as key:
                yield _speed(KeyKind.RSA3072_PSS, key, PSS_SHA256)
    except SealwrightError as cause:
        yield Trial(f"{kind}: sign", Result.NO, cause.what, f"Do not enrol {kind} keys of this token.")


def _flags(kind: KeyKind, info: KeyInfo) -> Trial:
    said = ", ".join(f"{name}={value}" for name, value in info.attributes)
    if info.provenance is Provenance.HARDWARE_CLAIMED:
        return Trial(f"{kind}: attributes", Result.WORKS, said)
    return Trial(f"{kind}: attributes", Result.WRONG, said, f"A key made there counts as {info.provenance} only.")


def _speed(kind: KeyKind, key: OpenKey, algorithm: SignatureAlgorithm) -> Trial:
    """Signatures a second of one process; each is verified with the public key on the way."""
    name = f"{kind}: sign and verify"
    try:
        key.sign(asked(algorithm, 1))
        began, done, batch = time.monotonic(), 0, 1
        while (took := time.monotonic() - began) < SPEED_S:
            done += len(key.sign(asked(algorithm, batch)))
            batch = min(batch * 2, 64)
    except SealwrightError as cause:
        return Trial(name, Result.NO, cause.what, f"Do not enrol {kind} keys there.")
    rate = done / took
    return Trial(name, Result.WORKS, f"{rate:,.0f} a second" if rate >= 10 else f"{rate:.1f} a second", rate=rate)


def _kept(kind: KeyKind, key: TokenKey) -> Iterator[Trial]:
    """What must be refused, and what a token's user should know."""
    length = 48 if kind is KeyKind.P256 else None
    answer = key.ask({"do": "probe", "length": length})
    for name, words in (("read", "reading the private key"), ("weaken", "making it extractable")):
        if answer[name]:
            yield Trial(f"{kind}: {words}", Result.WORKS, f"refused ({answer[name]})")
        else:
            yield Trial(
                f"{kind}: {words}", Result.WRONG, "the token does it", "Keys do not stay in this token: do not use it."
            )
    attributes = cast("dict[str, str]", answer["attributes"])
    if attributes.get("ALWAYS_AUTHENTICATE") == "true":
        yield Trial(
            f"{kind}: CKA_ALWAYS_AUTHENTICATE", Result.NO, "the PIN is wanted for each signature",
            "Sealwright logs in once: make the keys without this attribute.",
        )  # fmt: skip
    if attributes.get("MODIFIABLE") == "true":
        yield Trial(
            f"{kind}: CKA_MODIFIABLE",
            Result.NO,
            "true, though false was asked for",
            "Its attributes are checked at each use.",
        )
    if length is not None and not answer.get("odd"):
        yield Trial(
            f"{kind}: a digest of another length", Result.NO, "the token signs it",
            "Sealwright checks each length itself; other programs with this PIN might not.",
        )  # fmt: skip


def _failures(uri: str, pin: Pin | None) -> Iterator[Trial]:
    """What happens around signing: a lost session, a killed worker, several workers at once."""
    yield _tried(
        "session lost", "opened again, the key found and compared again, signed", lambda: _lost_session(uri, pin)
    )
    yield _tried("worker process killed", "replaced, the key compared, signed", lambda: _killed(uri, pin))
    yield _tried("two processes at once", "both signed", lambda: _together(uri, pin))


def _tried(name: str, good: str, what: Callable[[], None]) -> Trial:
    try:
        what()
    except SealwrightError as cause:
        return Trial(name, Result.NO, cause.what, "Signing stops there with an error and has to be started again.")
    return Trial(name, Result.WORKS, good)


def _lost_session(uri: str, pin: Pin | None) -> None:
    with closing(open_token_key(uri, pin, None)) as key:
        key.sign(asked(key.info.algorithm, 1))
        key.ask({"do": "drop"})
        key.sign(asked(key.info.algorithm, 1))


def _killed(uri: str, pin: Pin | None) -> None:
    with closing(open_token_key(uri, pin, None)) as key:
        os.kill(key.worker_pid, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        key.sign(asked(key.info.algorithm, 1))


def _together(uri: str, pin: Pin | None) -> None:
    """Each key has a worker process of its own; the threads only wait for them."""
    failed: list[SealwrightError] = []

    def work(key: TokenKey) -> None:
        try:
            for _ in range(3):
                key.sign(asked(key.info.algorithm, 8))
        except SealwrightError as cause:
            failed.append(cause)

    with closing(open_token_key(uri, pin, None)) as one, closing(open_token_key(uri, pin, None)) as two:
        threads = [threading.Thread(target=work, args=(key,)) for key in (one, two)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if failed:
        raise failed[0]


def _import(uri: str, pin: Pin | None) -> Trial:
    from sealwright.keys.file import generate  # only here

    name = "a key from outside (`key import`)"
    try:
        info = import_token_key(uri, generate(KeyKind.P256), pin)
        with closing(open_token_key(info.uri, pin, None)) as key:
            key.sign(asked(info.algorithm, 1))
    except SealwrightError as cause:
        return Trial(name, Result.NO, cause.what, "Bring existing keys in with the maker's own tool.")
    if info.provenance is Provenance.HARDWARE_IMPORTED:
        return Trial(name, Result.WORKS, "taken in, and told apart by the token (CKA_LOCAL=false)")
    return Trial(
        name,
        Result.WRONG,
        "taken in, and called one that was made inside",
        "Its word on where a key was made is worth nothing.",
    )


def asked(algorithm: SignatureAlgorithm, count: int) -> list[ToBeSigned]:
    """Random things to sign, which mean nothing."""
    if algorithm.signs_message:
        return [
            ToBeSigned(Kind.MESSAGE, b"sealwright doctor " + secrets.token_bytes(16), algorithm) for _ in range(count)
        ]
    return [
        ToBeSigned(Kind.DIGEST, Digest.of(secrets.token_bytes(32), algorithm.digest).value, algorithm)
        for _ in range(count)
    ]


def _name(what: str, names: list[str]) -> str:
    """A name of its own, noted before there is a key: an interrupt may come while the token makes it."""
    names.append(f"{PREFIX}{what}-{secrets.token_hex(4)}")
    return names[-1]


def _opened(uri: str, pin: Pin | None) -> KeyInfo | None:
    with suppress(SealwrightError), closing(open_token_key(uri, pin, None)) as key:
        return key.info
    return None


def _cleaned(uri: str, pin: Pin | None, names: Sequence[str]) -> Trial:
    """Destroy what has one of the names, and look again; keys of a run that was killed are named, not touched."""
    gone = 0
    try:
        for key in list_token_keys(uri, pin):
            if key.label in names:
                with suppress(SealwrightError):
                    destroy_token_key(key.uri, pin)
                    gone += 1
        left = [key.label for key in list_token_keys(uri, pin) if key.label.startswith(PREFIX)]
    except SealwrightError as cause:
        left = [f"perhaps {name}" for name in names]
        return Trial("cleaning up", Result.WRONG, f"{cause.what}; left in the token: {', '.join(left)}", _BY_HAND)
    if any(label in names for label in left):
        return Trial("cleaning up", Result.WRONG, f"left in the token: {', '.join(left)}", _BY_HAND)
    if left:
        found = f"{gone} throwaway keys destroyed; an earlier run left {', '.join(left)}"
        return Trial("cleaning up", Result.NO, found, _BY_HAND)
    return Trial("cleaning up", Result.WORKS, f"{gone} throwaway keys destroyed")
