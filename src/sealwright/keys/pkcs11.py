"""Keys in a PKCS#11 token (HSM, smart card, SoftHSM), each token in a worker process of its own (DESIGN).

1. A key is found by token and id (or a label that is the only one); two that fit are refused.
2. The token's word on five flags is checked whenever the key is opened: sensitive, always sensitive, never extractable,
   made inside, not extractable. All five: `hardware-claimed`. Not extractable now, but imported: `hardware-imported`.
   Extractable: refused. This is a statement of the module, not an attestation.
3. Digest lengths are checked before the token is asked, because tokens sign anything; each value is verified with the
   public key before it leaves, while the worker signs the next ones.
4. A worker that dies or hangs is replaced once, the key found and compared again; then it is KeyUnavailable.
5. A wrong PIN is never tried twice, nor any PIN where the token says that one try is left.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import cast

from cryptography.hazmat.primitives.serialization import load_der_public_key

from sealwright.envelope.algorithms import (
    PublicKey,
    Scheme,
    SignatureAlgorithm,
    algorithm_for,
    key_digest,
)
from sealwright.envelope.tobesigned import ToBeSigned
from sealwright.errors import KeyRefused, KeyUnavailable, PinRefused, UsageError
from sealwright.keys.checked import SignatureCheck
from sealwright.keys.file import PrivateKey
from sealwright.keys.frames import Message
from sealwright.keys.key import KeyInfo, KeyKind, Provenance
from sealwright.keys.pin import Pin, ask_pin, credential_pin
from sealwright.keys.pkcs11_parts import parts_of
from sealwright.keys.pkcs11_process import Worker, WorkerLost
from sealwright.keys.uri import Pkcs11Uri, parse_pkcs11

MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
)
TIMEOUT_S = 60.0
CHUNK = 64
AHEAD = 2
_WORDS = {
    "PinIncorrect": ("the PIN is wrong; it was tried once and not again", "Check --pin-file."),
    "pin-wrong-low": (
        "the PIN is wrong; it was tried once and not again, and the token counts wrong tries",
        "Check --pin-file before you try again.",
    ),
    "pin-wrong-final": (
        "the PIN is wrong; it was tried once and not again, and ONE try is left",
        "Log in once with the token's own tool before anything else.",
    ),
    "pin-wrong-locked": (
        "the PIN is wrong; it was tried once and not again, and the token has locked it now",
        "Have the security officer unlock the token.",
    ),
    "no-pin": ("no PIN was given, and without it the token shows no private key", "Give it with --pin-file."),
    "UserNotLoggedIn": ("without a PIN the token makes and uses no key", "Give it with --pin-file."),
    "PinLocked": ("its PIN is locked", "Have the security officer unlock the token."),
    "PinExpired": ("its PIN has expired", "Set a new one with the token's own tool."),
    "PinLenRange": ("the PIN has a wrong length", "Check --pin-file."),
    "pin-locked": ("its PIN is locked", "Have the security officer unlock the token."),
    "pin-final-try": ("one PIN try is left, which is not risked here", "Log in once with the token's own tool first."),
    "no-token": ("the token is not there", "Plug it in; `sealwright doctor` lists the tokens that answer."),
    "several-tokens": ("several tokens have this name", "Add serial=… to the key string."),
    "no-key": ("there is no such key in the token", "`sealwright key list` shows what is there."),
    "several-keys": ("several keys fit this name", "Add id=%… to the key string."),
    "label-exists": ("a key of this name is already in the token", "Choose another name."),
    "key-changed": ("the key found again is not the one that was opened", "Stop signing and have the token checked."),
    "kind-unknown": ("the token interface has no such kind of key", "Choose p256, p384, rsa3072 or ed25519."),
    "session-lost": ("its session was lost", "Sign again; it is opened anew."),
    "UserPinNotInitialized": ("the token has no user PIN yet", "Set it with the token's own tool."),
}


_WRONG_PIN = ("PinIncorrect", "PinInvalid", "PinLenRange", "pin-wrong-low", "pin-wrong-final", "pin-wrong-locked")


class TokenKey:
    """One key in one token, behind its worker. Not for another thread, nor for a forked child."""

    def __init__(self, worker: Worker, uri: Pkcs11Uri, pin: Pin | None, info: KeyInfo, timeout_s: float) -> None:
        self.info = info
        self.timeout_s = timeout_s
        self._worker: Worker | None = worker
        self._uri = uri
        self._pin = pin
        self._check = SignatureCheck(info)
        self._process = os.getpid()

    def sign(self, batch: Sequence[ToBeSigned]) -> list[bytes]:
        """Signature values in order, each verified; KeyRefused or KeyUnavailable, and then none leaves."""
        if os.getpid() != self._process:
            raise KeyUnavailable(
                self.info.uri, "it was opened before this process forked", "Open the key in this process."
            )
        self._check.before(batch)
        chunks = [batch[at : at + CHUNK] for at in range(0, len(batch), CHUNK)]
        try:
            return self._sign_or_end(chunks)
        except WorkerLost:
            self._restart()
            try:
                return self._sign_or_end(chunks)
            except WorkerLost as cause:
                raise lost(self.info.uri, cause) from cause

    def ask(self, question: Message) -> Message:
        """One question of `doctor` to the worker that holds the key; KeyUnavailable where it does not answer."""
        if self._worker is None:
            raise KeyUnavailable(self.info.uri, "it was closed", "Open it again.")
        return _answer(self._worker, question, self.info.uri, self.timeout_s)

    @property
    def worker_pid(self) -> int:
        """The worker's process id, 0 where there is none."""
        return self._worker.pid if self._worker is not None else 0

    def close(self) -> None:
        """End the worker, which logs out. Closing twice is fine."""
        if self._worker is not None and os.getpid() == self._process:
            self._worker.close()
        self._worker = None

    def _sign_or_end(self, chunks: Sequence[Sequence[ToBeSigned]]) -> list[bytes]:
        """All values or none; a worker that failed may still answer old questions, so it is never asked again."""
        try:
            return self._sign_all(chunks)
        except BaseException:
            if self._worker is not None:
                self._worker.kill()
            self._worker = None
            raise

    def _sign_all(self, chunks: Sequence[Sequence[ToBeSigned]]) -> list[bytes]:
        worker = self._worker
        if worker is None:
            raise KeyUnavailable(self.info.uri, "it was closed", "Open it again.")
        values: list[bytes] = []
        # two questions are under way, so that the token never waits for us
        for chunk in chunks[:AHEAD]:
            worker.send(sign_question(self.info.algorithm, chunk), self.timeout_s)
        for place, chunk in enumerate(chunks):
            answer = worker.receive(self.timeout_s)
            if place + AHEAD < len(chunks):
                worker.send(sign_question(self.info.algorithm, chunks[place + AHEAD]), self.timeout_s)
            found = values_of(answer, self.info.uri, len(chunk))
            for one, value in zip(chunk, found, strict=True):
                self._check.after(one, value)
            values += found
        return values

    def _restart(self) -> None:
        """A new worker with the same key, compared with the one before; KeyUnavailable or KeyRefused."""
        again = open_worker(self._uri, self._pin, self.info.algorithm, self.timeout_s)
        self._worker = same_key(again, self.info)


class OnLoss(StrEnum):
    """What a worker does about a lost session: opens it again itself, with the PIN it has; or leaves that to who watches the PIN."""

    AGAIN = "again"
    GIVE_UP = "give-up"


@dataclass(frozen=True, slots=True)
class Opened:
    """A worker that found its key. slot: the number that the module gives it now."""

    worker: Worker
    info: KeyInfo
    slot: str


def open_worker(
    asked: Pkcs11Uri,
    pin: Pin | None,
    algorithm: SignatureAlgorithm | None,
    timeout_s: float,
    on_loss: OnLoss = OnLoss.AGAIN,
    login: Callable[[str], AbstractContextManager[object]] = nullcontext,
) -> Opened:
    """Start a worker, find the token, log in, find the key. login: entered, with the token's name, while a PIN is tried."""
    uri, worker = str(asked), Worker()
    try:
        question = _question("open", asked, pin) | {"on_loss": on_loss.value}
        there = _answer(worker, question | {"do": "present", "pin": None}, uri, timeout_s)
        with login(str(there["token"])):
            answer = _answer(worker, question, uri, timeout_s)
        info = _info(cast("Message", answer["key"]), asked, algorithm)
    except BaseException:
        worker.kill()
        raise
    return Opened(worker, info, str(answer["slot"]))


def same_key(again: Opened, before: KeyInfo) -> Worker:
    """The worker, if the key that it found is the one before; else it is ended, and that is a refusal."""
    if (
        key_digest(again.info.public_key) != key_digest(before.public_key)
        or again.info.provenance is not before.provenance
    ):
        again.worker.kill()
        raise refusal(before.uri, "key-changed")
    return again.worker


def named_key(uri: str) -> Pkcs11Uri:
    """A key string that says which token and which key; UsageError else."""
    asked = parse_pkcs11(uri)
    if not asked.token and not asked.serial:
        raise UsageError(uri, "it names no token", "Add token=… or serial=….")
    if not asked.label and asked.id is None:
        raise UsageError(uri, "it names no key", "Add id=%… or object=….")
    return asked


def sign_question(algorithm: SignatureAlgorithm, chunk: Sequence[ToBeSigned]) -> Message:
    """What a worker is asked to sign a chunk."""
    return {
        "do": "sign",
        "scheme": algorithm.scheme.value,
        "digest": algorithm.digest.value,
        "data": [one.data.hex() for one in chunk],
    }


def values_of(answer: Message, uri: str, count: int) -> list[bytes]:
    """The values in a worker's answer; WorkerLost where it lost its session or answers nonsense, else the refusal it tells."""
    if "error" in answer:
        if answer["error"] == "session-lost":
            raise WorkerLost("its session was lost")
        raise refusal(uri, str(answer["error"]))
    try:
        found = [bytes.fromhex(text) for text in cast("list[str]", answer["values"])]
    except (KeyError, TypeError, ValueError) as cause:
        raise WorkerLost("the worker answered nonsense") from cause
    if len(found) != count:
        raise WorkerLost("it answered with another number of signatures")
    return found


def open_token_key(
    uri: str, pin: Pin | None, algorithm: SignatureAlgorithm | None, timeout_s: float = TIMEOUT_S
) -> TokenKey:
    """Open one key of a token. pin None: the URI's pin-source, then the systemd credential.

    Raises KeyUnavailable (token, PIN, key not there), KeyRefused (extractable, weak, not enrolled for the algorithm).
    """
    asked = named_key(uri)
    secret = pin or pin_for(asked)
    found = open_worker(asked, secret, algorithm, timeout_s)
    return TokenKey(found.worker, parse_pkcs11(found.info.uri), secret, found.info, timeout_s)


def create_token_key(uri: str, kind: KeyKind, pin: Pin | None, timeout_s: float = TIMEOUT_S) -> KeyInfo:
    """Generate a key in a token; KeyUnavailable or KeyRefused if it cannot, also for a name that is taken."""
    asked = parse_pkcs11(uri)
    if not asked.label:
        raise UsageError(uri, "it gives the new key no name", "Add object=NAME.")
    if kind.value.startswith("ml-dsa"):
        raise KeyRefused(uri, "ML-DSA keys in tokens are not supported", "Choose p256, p384, rsa3072 or ed25519.")
    answer = _ask_once(uri, {**_question("create", asked, pin or pin_for(asked)), "kind": kind.value}, timeout_s)
    return _info(cast("Message", answer["key"]), asked, kind.algorithm)


def import_token_key(uri: str, private: PrivateKey, pin: Pin | None, timeout_s: float = TIMEOUT_S) -> KeyInfo:
    """Store a key that was made elsewhere in a token, never to be read again; it is `hardware-imported` (CKA_LOCAL is false).

    KeyUnavailable if the token takes no keys in clear, or has the name already; then nothing of it is left there.
    """
    asked = parse_pkcs11(uri)
    if not asked.label:
        raise UsageError(uri, "it gives the key no name", "Add object=NAME.")
    kind, parts = parts_of(uri, private)
    question = {**_question("take", asked, pin or pin_for(asked)), "kind": kind, "parts": parts}
    try:
        answer = _ask_once(uri, question, timeout_s)
    except KeyUnavailable as cause:
        if not any(word in cause.what for word in _NO_CLEAR_KEYS):
            raise
        raise KeyUnavailable(
            uri,
            f"the token takes no private key of this kind in clear ({cause.what})",
            "Bring it in with the maker's own wrapping tool, then run `sealwright key import-certificate`.",
        ) from cause
    return _info(cast("Message", answer["key"]), asked, None)


def destroy_token_key(uri: str, pin: Pin | None, timeout_s: float = TIMEOUT_S) -> None:
    """Remove a key from its token for good. uri: with its id, as `create_token_key` answers it."""
    asked = parse_pkcs11(uri)
    if asked.id is None or not asked.label:
        raise UsageError(uri, "it does not name one key by id and label", "Give the whole key string.")
    _ask_once(uri, _question("destroy", asked, pin or pin_for(asked)), timeout_s)


_NO_CLEAR_KEYS = ("Template", "AttributeTypeInvalid", "AttributeValueInvalid", "AttributeReadOnly", "FunctionNotSupported",
                  "ActionProhibited", "FunctionFailed", "KeySizeRange")  # fmt: skip


@dataclass(frozen=True, slots=True)
class TokenSeen:
    """One token that answers. flags: PKCS#11's names."""

    module: str
    label: str
    serial: str
    model: str
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeySeen:
    """One private key of a token. problem: why it may not sign, or ""."""

    uri: str
    label: str
    provenance: str
    problem: str


def list_tokens(module: str, timeout_s: float = TIMEOUT_S) -> list[TokenSeen]:
    """The tokens a module shows, without a PIN; KeyUnavailable if it cannot be loaded."""
    answer = _ask_once(f"module {module}", {"do": "tokens", "module": module}, timeout_s)
    return [
        TokenSeen(module, str(one["label"]), str(one["serial"]), str(one["model"]), tuple(one["flags"]))
        for one in cast("list[dict[str, str]]", answer["tokens"])
    ]


def list_token_keys(uri: str, pin: Pin | None, timeout_s: float = TIMEOUT_S) -> list[KeySeen]:
    """The private keys of the token that a key string names."""
    asked = parse_pkcs11(uri)
    answer = _ask_once(uri, _question("keys", asked, pin or pin_for(asked)), timeout_s)
    seen = []
    for one in cast("list[Message]", answer["keys"]):
        name = replace(
            asked,
            token=str(one["token"]),
            serial=str(one["serial"]),
            label=str(one["label"]),
            id=bytes.fromhex(str(one["id"])),
        )
        try:
            info = _info(one, asked, None)
            seen.append(KeySeen(str(name), name.label, info.provenance.value, ""))
        except KeyRefused as cause:
            seen.append(KeySeen(str(name), name.label, "", cause.what))
        except KeyUnavailable as cause:
            seen.append(KeySeen(str(name), name.label, "", cause.what))
    return seen


def about_token(uri: str, sessions: int, timeout_s: float = TIMEOUT_S) -> Message:
    """What module and token say of themselves, without a PIN. sessions: how many are opened at most to find the limit."""
    asked = parse_pkcs11(uri)
    return _ask_once(uri, {**_question("about", asked, None), "sessions": sessions}, timeout_s)


def module_of(asked: Pkcs11Uri) -> str:
    """The library to load: the URI's, else the first known one that is installed; KeyUnavailable if there is none."""
    if asked.module_path:
        return asked.module_path
    for path in MODULES:
        if os.path.exists(path):
            return path
    raise KeyUnavailable("PKCS#11", "no module was found", "Add ?module-path=/path/to/module.so to the key string.")


def refusal(uri: str, code: str) -> KeyUnavailable | KeyRefused:
    """The typed error for what a worker answered."""
    what, next_step = _WORDS.get(
        code, (f"the token answered {code}", "Run `sealwright doctor`; the token's own tools say more.")
    )
    if code in ("key-changed", "several-keys"):
        return KeyRefused(uri, what, next_step)
    return (PinRefused if code in _WRONG_PIN else KeyUnavailable)(uri, what, next_step)


def _ask_once(uri: str, question: Message, timeout_s: float) -> Message:
    worker = Worker()
    try:
        answer = _answer(worker, question, uri, timeout_s)
    except BaseException:
        worker.kill()
        raise
    worker.close()
    return answer


def _answer(worker: Worker, question: Message, uri: str, timeout_s: float) -> Message:
    """What a worker answers, or the typed error for it."""
    try:
        answer = worker.ask(question, timeout_s)
    except WorkerLost as cause:
        raise lost(uri, cause) from cause
    if "error" in answer:
        raise refusal(uri, str(answer["error"]))
    return answer


def _question(what: str, asked: Pkcs11Uri, pin: Pin | None) -> Message:
    return {
        "do": what,
        "module": module_of(asked),
        "token": asked.token,
        "serial": asked.serial,
        "manufacturer": asked.manufacturer,
        "model": asked.model,
        "id": asked.id.hex() if asked.id is not None else "",
        "label": asked.label,
        "pin": pin.reveal() if pin is not None else None,
    }


def pin_for(asked: Pkcs11Uri) -> Pin | None:
    """The PIN of the URI's pin-source, else of the service manager's credential, else typed at a terminal."""
    if asked.pin_source:
        return Pin.from_file(asked.pin_source)
    return credential_pin() or ask_pin(f"token {asked.token or asked.serial}")


def _info(found: Message, asked: Pkcs11Uri, algorithm: SignatureAlgorithm | None) -> KeyInfo:
    token, serial, label = str(found["token"]), str(found["serial"]), str(found["label"])
    uri = str(
        replace(asked, token=token, serial=serial, label=label, id=bytes.fromhex(str(found["id"])), pin_source="")
    )
    flags = cast("dict[str, bool]", found["flags"])
    public = str(found["public"])
    if not public:
        raise KeyUnavailable(
            uri, "the token keeps no public key beside it", "Store the public key with the same id in the token."
        )
    key = cast("PublicKey", load_der_public_key(bytes.fromhex(public)))
    own = algorithm_for(key, subject=uri)
    wanted = algorithm or own
    if wanted != own and not (own.scheme is Scheme.RSA_PKCS1 and wanted.scheme in (Scheme.RSA_PKCS1, Scheme.RSA_PSS)):
        raise KeyRefused(uri, f"it signs {own.name}, not {wanted.name}", "Name the key that is enrolled for this.")
    return KeyInfo(
        uri=uri,
        public_key=key,
        algorithm=wanted,
        provenance=_provenance(uri, flags),
        location=f"token {token}, serial {serial}",
        attributes=tuple((f"CKA_{name.upper()}", str(flags[name]).lower()) for name in flags),
    )


def _provenance(uri: str, flags: dict[str, bool]) -> Provenance:
    if flags["extractable"] or not flags["sensitive"]:
        raise KeyRefused(
            uri,
            "the token would give the private key away (CKA_EXTRACTABLE or not CKA_SENSITIVE)",
            "Make a new key with `sealwright key create`.",
        )
    if flags["always_sensitive"] and flags["never_extractable"] and flags["local"]:
        return Provenance.HARDWARE_CLAIMED
    return Provenance.HARDWARE_IMPORTED


def lost(uri: str, cause: WorkerLost) -> KeyUnavailable:
    """The typed error for a worker that was lost."""
    return KeyUnavailable(
        uri, str(cause), "Check that the token is plugged in and answers (`sealwright doctor`), then sign again."
    )
