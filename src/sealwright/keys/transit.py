"""Keys in the transit engine of Vault or OpenBao: the service holds the key and signs digests over HTTPS.

1. The key string pins the version. A key that was rotated there goes on signing with the enrolled version, or not at all; the new
   version is another key, refused until it is enrolled.
2. Checked when the key is opened, and again every `RECHECK_S` while it signs: its type and public key are what they were, it cannot be
   exported, backed up in plain text or deleted, and is not derived. All this is the service's own word: `service-held`, never hardware.
3. Digest lengths are checked before the service is asked; each value is verified with the public key before it leaves.
4. A question that did not reach the service is asked once more. One that may have reached it is not: it might be signed by now, and a
   second signature wants a second record (RULES 2). The caller decides.
5. The token comes from a file or the service manager's credential, is read again once when it is refused (an agent renews it there), and
   is sent to the named host alone: no redirect, no proxy, no plain HTTP.

    transit:https://bao.plant.example:8200/v1/transit/keys/release?version=1&ca-file=/etc/sealwright/bao-ca.pem&token-source=file:/run/bao/token
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from sealwright.artifact.source import open_artifact
from sealwright.envelope.algorithms import PublicKey, Scheme, SignatureAlgorithm, algorithm_for, key_digest
from sealwright.envelope.tobesigned import ToBeSigned
from sealwright.errors import KeyRefused, KeyUnavailable, SealwrightError, Unreadable, UsageError
from sealwright.keys.checked import SignatureCheck
from sealwright.keys.health import KeyHealth, Place, Pulse
from sealwright.keys.key import KeyInfo, KeyKind, Provenance
from sealwright.keys.pin import CREDENTIALS
from sealwright.keys.uri import TransitUri, parse_transit

if TYPE_CHECKING:
    import httpx

CREDENTIAL_NAME = "sealwright-token"
MAX_TOKEN_BYTES = 4096
MAX_ANSWER_BYTES = 4 << 20
TIMEOUT_S = 30.0
CONNECT_S = 5.0
RECHECK_S = 30.0
CHUNK = 64
_TYPES = {
    KeyKind.P256: "ecdsa-p256",
    KeyKind.P384: "ecdsa-p384",
    KeyKind.P521: "ecdsa-p521",
    KeyKind.RSA3072: "rsa-3072",
    KeyKind.RSA3072_PSS: "rsa-3072",
    KeyKind.RSA4096: "rsa-4096",
    KeyKind.RSA4096_PSS: "rsa-4096",
    KeyKind.ED25519: "ed25519",
}
_READABLE = (*_TYPES.values(), "rsa-2048")  # the short one signs for boards alone (`open_key` says so)
_HASHES = {"sha256": "sha2-256", "sha384": "sha2-384", "sha512": "sha2-512"}
# each must be false; the service never turns the first two back once they are set
_WEAK = {
    "exportable": "it would give the private key away (exportable)",
    "allow_plaintext_backup": "it would give the private key away in a backup (allow_plaintext_backup)",
    "deletion_allowed": "it lets the key be deleted (deletion_allowed)",
    "derived": "it derives a key for each context (derived)",
    "soft_deleted": "it was deleted there (soft_deleted)",
}
_NOT_EVERYWHERE = ("soft_deleted",)  # OpenBao alone
_NEW = "Make a new key with `sealwright key create`, and enrol that."
_SAID = {
    403: ("the key service refuses our token", "Put a valid token where token-source= names it; its policy must allow read on the key and update on its sign path."),
    404: ("there is no such key, or no transit engine, in the key service", "Check mount, name and namespace in the key string."),
    429: ("the key service has too much to do", "Sign again in a while."),
    501: ("the key service was never initialised", "Have its operators initialise it."),
    503: ("the key service is sealed", "Have its operators unseal it, then sign again."),
}  # fmt: skip


class TransitKey:
    """One version of one key, behind one connection. `sign` is for one thread at a time, `health` for any; not for a forked child."""

    def __init__(self, service: Service, asked: TransitUri, info: KeyInfo) -> None:
        self.info = info
        self.recheck_s = RECHECK_S
        self._service: Service | None = service
        self._asked = asked
        self._check = SignatureCheck(info)
        self._pulse = Pulse()
        self._process = os.getpid()
        self._looked = time.monotonic()

    def sign(self, batch: Sequence[ToBeSigned]) -> list[bytes]:
        """Signature values in order, each verified; KeyRefused or KeyUnavailable, and then none leaves."""
        service = self._service
        if service is None or os.getpid() != self._process:
            raise KeyUnavailable(self.info.uri, "it was closed, or opened before this process forked", "Open it again.")
        self._check.before(batch)
        if self._pulse.stopped:
            raise KeyRefused(
                self.info.uri, f"it was stopped: {self.health().why}", "Open it again when that is mended."
            )
        try:
            values = self._signed(service, batch)
        except SealwrightError as cause:
            self._pulse.bad(cause)
            raise
        self._pulse.good()
        return values

    def health(self) -> KeyHealth:
        """How it fares, as of the last signature."""
        working = 0 if self._service is None else 1
        return self._pulse.health(
            str(key_digest(self.info.public_key)), self.info.uri, Place(self._asked.host), working, 1
        )

    def close(self) -> None:
        """End the connection. Closing twice is fine."""
        service, self._service = self._service, None
        if service is not None and os.getpid() == self._process:
            service.close()

    def _signed(self, service: Service, batch: Sequence[ToBeSigned]) -> list[bytes]:
        if time.monotonic() - self._looked >= self.recheck_s:
            self._look_again(service)
        values: list[bytes] = []
        for at in range(0, len(batch), CHUNK):
            chunk = batch[at : at + CHUNK]
            path, question = sign_question(self._asked, self.info.algorithm, chunk)
            found = signatures_of(service.ask("POST", path, question), self._asked, len(chunk))
            for one, value in zip(chunk, found, strict=True):
                self._check.after(one, value)
            values += found
        return values

    def _look_again(self, service: Service) -> None:
        """The key as the service describes it now must be the one that was opened (A162, A163)."""
        found = describe(service, self._asked, self.info.algorithm)
        if key_digest(found.public_key) != key_digest(self.info.public_key):
            raise KeyRefused(
                self.info.uri,
                "the key found there now is not the one that was opened",
                "Stop signing and ask its operators.",
            )
        self._looked = time.monotonic()


class Service:
    """One keep-alive connection to the key service; the token is read from its file when the connection is made."""

    def __init__(self, asked: TransitUri, timeout_s: float) -> None:
        self._asked = asked
        self._subject = str(replace(asked, version=0))
        self._timeout_s = timeout_s
        self._token = read_token(asked)
        self._client: httpx.Client | None = self._connected()

    def ask(self, method: str, path: str, question: dict[str, object] | None = None) -> dict[str, object]:
        """One answer's `data`. Raises KeyUnavailable or KeyRefused; `Unsure` among the former where a signature may have been made."""
        status, answer = self._twice(method, path, question)
        if status == 403 and (fresh := read_token(self._asked)) != self._token:
            self._token = fresh  # refused, so nothing was signed: asking again repeats nothing
            status, answer = self._twice(method, path, question)
        if status in (200, 204):
            data = answer.get("data")
            return cast("dict[str, object]", data) if isinstance(data, dict) else {}
        words = _SAID.get(status, (f"the key service answered {status}", "Ask its operators; nothing was signed."))
        raise KeyUnavailable(self._subject, words[0] + _errors(answer), words[1])

    def close(self) -> None:
        """End it. Closing twice is fine."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _twice(self, method: str, path: str, question: dict[str, object] | None) -> tuple[int, dict[str, object]]:
        try:
            return self._once(method, path, question)
        except _Unreached as cause:
            if not cause.repeatable and method == "POST":
                raise Unsure(
                    self._subject,
                    f"the connection broke after it was asked ({cause}); it may have signed, and nothing left here",
                    "Sign again: that is a second signature, recorded as one.",
                ) from cause
        self.close()
        self._client = self._connected()
        try:
            return self._once(method, path, question)
        except _Unreached as cause:
            raise KeyUnavailable(
                self._subject,
                f"the key service does not answer ({cause})",
                "Check that it runs, its address and ca-file=.",
            ) from cause

    def _once(self, method: str, path: str, question: dict[str, object] | None) -> tuple[int, dict[str, object]]:
        """One HTTP exchange, bounded in time and size."""
        import httpx  # only where a key service is used: start-up time, and an extra

        if self._client is None:
            raise KeyUnavailable(self._subject, "it was closed", "Open it again.")
        headers = {"X-Vault-Token": self._token, "X-Vault-Request": "true"}
        if self._asked.namespace:
            headers["X-Vault-Namespace"] = self._asked.namespace
        until, data = time.monotonic() + self._timeout_s, bytearray()
        try:
            with self._client.stream(method, f"/v1/{path}", json=question, headers=headers) as answer:
                for part in answer.iter_bytes():
                    data += part
                    if len(data) > MAX_ANSWER_BYTES or time.monotonic() > until:
                        raise _Unreached("its answer is too long or too slow", repeatable=False)
        except (httpx.ConnectError, httpx.ConnectTimeout) as cause:
            raise _Unreached(_reason(cause), repeatable=True) from cause
        except (httpx.TransportError, httpx.DecodingError) as cause:
            raise _Unreached(_reason(cause), repeatable=False) from cause
        try:
            value = json.loads(bytes(data)) if data else {}
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise _Unreached("its answer is not JSON", repeatable=False)
        return answer.status_code, value

    def _connected(self) -> httpx.Client:
        try:
            import httpx  # only where a key service is used: start-up time, and an extra
        except ImportError as cause:
            raise KeyUnavailable(
                self._subject, "support for key services is not installed", "pip install 'sealwright[service]'"
            ) from cause
        try:
            context = ssl.create_default_context(cafile=self._asked.ca_file or None)
        except OSError as cause:
            raise KeyUnavailable(
                self._subject, f"the authorities in {self._asked.ca_file} cannot be read", "Check ca-file=."
            ) from cause
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # nothing from the environment: a proxy or another list of authorities would see the token
        return httpx.Client(
            base_url=f"https://{self._asked.host}",
            verify=context,
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(self._timeout_s, connect=CONNECT_S),
            limits=httpx.Limits(max_connections=1),
        )


class Unsure(KeyUnavailable):
    """The service was asked to sign and nobody knows whether it did; a retry is a second recorded attempt (RULES 2)."""


class _Unreached(Exception):
    """No whole answer came. repeatable: the question did not reach the service."""

    def __init__(self, why: str, *, repeatable: bool) -> None:
        super().__init__(why)
        self.repeatable = repeatable


@dataclass(frozen=True, slots=True)
class TransitSeen:
    """One key of an engine. problem: why it may not sign, or ""."""

    uri: str
    name: str
    problem: str


def open_transit_key(uri: str, algorithm: SignatureAlgorithm | None = None, timeout_s: float = TIMEOUT_S) -> TransitKey:
    """Open one version of a key, the newest where none is named; `info.uri` names it.

    Raises KeyUnavailable (service, token, key or version not there), KeyRefused (exportable, or not enrolled for the algorithm).
    """
    asked = _named(uri)
    service = Service(asked, timeout_s)
    try:
        info = describe(service, asked, algorithm)
    except BaseException:
        service.close()
        raise
    return TransitKey(service, parse_transit(info.uri), info)


def create_transit_key(uri: str, kind: KeyKind, timeout_s: float = TIMEOUT_S) -> KeyInfo:
    """Make a key in the service; KeyUnavailable for a name that is taken, KeyRefused for a kind that transit has not."""
    asked = _named(uri)
    if kind not in _TYPES:
        raise KeyRefused(
            uri, f"a transit engine has no {kind} keys", "Choose p256, p384, p521, rsa3072, rsa4096 or ed25519."
        )
    if asked.version:
        raise UsageError(uri, "a new key has no version yet", "Leave out version=.")
    with closing(Service(asked, timeout_s)) as service:
        if asked.name in names(service, asked):
            raise KeyUnavailable(uri, "a key of this name is already there", "Choose another name.")
        service.ask("POST", f"{asked.mount}/keys/{asked.name}", {"type": _TYPES[kind]})
        return describe(service, replace(asked, version=1), kind.algorithm)


def list_transit_keys(uri: str, timeout_s: float = TIMEOUT_S) -> list[TransitSeen]:
    """Every key of the engine that a key string names, at its newest version."""
    asked = replace(parse_transit(uri), name="", version=0)
    seen = []
    with closing(Service(asked, timeout_s)) as service:
        for name in names(service, asked):
            one = replace(asked, name=name)
            try:
                seen.append(TransitSeen(describe(service, one, None).uri, name, ""))
            except SealwrightError as cause:
                seen.append(TransitSeen(str(one), name, cause.what))
    return seen


def describe(service: Service, asked: TransitUri, algorithm: SignatureAlgorithm | None) -> KeyInfo:
    """What the service says of a key, checked."""
    found = service.ask("GET", f"{asked.mount}/keys/{asked.name}")
    newest, kind = _number(found.get("latest_version")), str(found.get("type", ""))
    uri = str(replace(asked, version=asked.version or newest))
    for name, words in _WEAK.items():
        if found.get(name, name not in _NOT_EVERYWHERE) is not False:
            raise KeyRefused(uri, words, _NEW)
    if kind not in _READABLE or found.get("supports_signing") is not True:
        raise KeyRefused(uri, f"it is of the type {kind[:40]!r}, with which nothing is signed here", _NEW)
    versions = found.get("keys")
    one = versions.get(str(asked.version or newest)) if isinstance(versions, dict) else None
    if not isinstance(one, dict) or _number(found.get("min_encryption_version")) > (asked.version or newest):
        raise KeyUnavailable(
            uri,
            f"the service has no version {asked.version or newest} of it to sign with any more (its newest is {newest})",
            "Enrol the newest version as a new key: the same key string with that version=.",
        )
    key = _public(str(one.get("public_key", "")), kind, uri)
    own = algorithm_for(key, subject=uri)
    wanted = algorithm or own
    if wanted != own and not (own.scheme is Scheme.RSA_PKCS1 and wanted.scheme in (Scheme.RSA_PKCS1, Scheme.RSA_PSS)):
        raise KeyRefused(uri, f"it signs {own.name}, not {wanted.name}", "Name the key that is enrolled for this.")
    said = {
        **{name: str(found[name]).lower() for name in _WEAK if name in found},
        "type": kind,
        "latest_version": str(newest),
    }
    said["imported_key"] = str(found.get("imported_key", False)).lower()
    return KeyInfo(
        uri=uri,
        public_key=key,
        algorithm=wanted,
        provenance=Provenance.SERVICE_HELD,
        location=f"key {asked.name}, version {asked.version or newest}, of the key service {asked.host}",
        attributes=tuple(said.items()),
    )


def names(service: Service, asked: TransitUri) -> list[str]:
    """The names of the engine's keys."""
    try:
        found = service.ask("LIST", f"{asked.mount}/keys").get("keys")
    except KeyUnavailable as cause:
        if "no such key" not in cause.what:
            raise
        return []  # an engine without keys answers as if it were not there
    return [str(name) for name in found] if isinstance(found, list) else []


def sign_question(
    asked: TransitUri, algorithm: SignatureAlgorithm, chunk: Sequence[ToBeSigned]
) -> tuple[str, dict[str, object]]:
    """Path and body that sign a chunk with exactly the pinned version."""
    path = f"{asked.mount}/sign/{asked.name}"
    body: dict[str, object] = {
        "key_version": asked.version,
        "batch_input": [{"input": base64.b64encode(one.data).decode()} for one in chunk],
    }
    if algorithm.signs_message:
        return path, body
    body |= {"prehashed": True, "marshaling_algorithm": "asn1"}
    if algorithm.scheme is Scheme.RSA_PKCS1:
        body |= {"signature_algorithm": "pkcs1v15"}
    if algorithm.scheme is Scheme.RSA_PSS:
        body |= {"signature_algorithm": "pss", "salt_length": "hash"}
    return f"{path}/{_HASHES[algorithm.digest.value]}", body


def signatures_of(answer: dict[str, object], asked: TransitUri, count: int) -> list[bytes]:
    """The values of a batch, each said to be of the pinned version; KeyUnavailable if one of them is not there."""
    results = answer.get("batch_results")
    results = results if isinstance(results, list) else []
    head, values = f"vault:v{asked.version}:", []
    for one in results:
        text = one.get("signature") if isinstance(one, dict) else None
        if not isinstance(text, str):
            said = _errors({"errors": [one.get("error")]} if isinstance(one, dict) else {})
            raise KeyUnavailable(str(asked), f"it did not sign{said}", "Check the key there; nothing left here.")
        if not text.startswith(head):
            raise KeyRefused(
                str(asked), "it signed with another version than it was asked", "Have the key service checked."
            )
        try:
            values.append(base64.b64decode(text.removeprefix(head), validate=True))
        except ValueError as cause:
            raise KeyUnavailable(str(asked), "its signature is not readable", "Check the key service.") from cause
    if len(values) != count:
        raise KeyUnavailable(str(asked), "it answered with another number of signatures", "Check the key service.")
    return values


def read_token(asked: TransitUri) -> str:
    """The token, from the file that the key string names or from the service manager's credential; never from argv or the environment."""
    folder = os.environ.get(CREDENTIALS)
    path = asked.token_file or (os.path.join(folder, CREDENTIAL_NAME) if folder else "")
    if not path:
        raise KeyUnavailable(
            str(asked), "no token was given", f"Add token-source=file:/PATH, or LoadCredential={CREDENTIAL_NAME}:/PATH."
        )
    others = 0o077 if asked.token_file else 0o007  # in a credential the group's bits are the mask of an access list
    try:
        with open_artifact(path) as source:
            if os.name == "posix" and source.status().st_mode & others:
                raise KeyRefused(path, "other users can read the token", f"Run: chmod 600 {path}")
            text = source.read(MAX_TOKEN_BYTES).decode("ascii").strip()
    except Unreadable as cause:
        raise KeyUnavailable(path, f"the token cannot be read: {cause.what}", "Check token-source=.") from cause
    except UnicodeDecodeError as cause:
        raise KeyUnavailable(path, "the token is not text", "Check token-source=.") from cause
    if not text.isprintable() or not text or " " in text:
        raise KeyUnavailable(path, "there is no token in it", "Write the token as one line.")
    return text


def _named(uri: str) -> TransitUri:
    asked = parse_transit(uri)
    if not asked.name:
        raise UsageError(uri, "it names no key", "End its path with /keys/NAME.")
    return asked


def _public(text: str, kind: str, uri: str) -> PublicKey:
    try:
        if kind == "ed25519":
            return ed25519.Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
        return cast("PublicKey", load_pem_public_key(text.encode()))
    except ValueError as cause:
        raise KeyUnavailable(uri, "the service shows no readable public key", "Check the key there.") from cause


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _errors(answer: dict[str, object]) -> str:
    """What the service says itself, short and in one line."""
    errors = answer.get("errors")
    said = "; ".join(str(one) for one in errors) if isinstance(errors, list) else ""
    said = "".join(letter if letter.isprintable() else " " for letter in said).strip()
    return f" ({said[:160]})" if said else ""


def _reason(cause: Exception) -> str:
    """A TLS refusal by its words, anything else by its kind: messages may hold what was sent."""
    seen: BaseException | None = cause
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return f"its TLS certificate is not believed: {seen.verify_message}"
        seen = seen.__cause__ or seen.__context__
    return type(cause).__name__
