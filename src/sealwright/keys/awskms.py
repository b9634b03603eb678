"""Keys in AWS KMS: the key string is the key's ARN, the credentials are found by the AWS library's own chain.

1. A key is named by its ARN, never by an alias, which can be moved to another key. The region is the ARN's.
2. Checked when the key is opened, and again every `RECHECK_S` while it signs: it is enabled, made for signing, of a kind we sign with, the
   account's own, and its public key is what it was. All this is the service's own word: `service-held`, never counted as hardware.
3. Digest lengths are checked before the service is asked (MessageType=DIGEST); each value is verified with the public key before it leaves.
4. The library's own retries are off: a question that did not reach the service, or that it put off, is asked again; one that may have been
   signed is not (RULES 2), as in `transit.py`.

    awskms:arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

from cryptography.hazmat.primitives.serialization import load_der_public_key

from sealwright.envelope.algorithms import PublicKey, Scheme, SignatureAlgorithm, algorithm_for, key_digest
from sealwright.envelope.tobesigned import ToBeSigned
from sealwright.errors import KeyRefused, KeyUnavailable, SealwrightError, UsageError
from sealwright.keys.checked import SignatureCheck
from sealwright.keys.health import KeyHealth, Place, Pulse
from sealwright.keys.key import KeyInfo, Provenance
from sealwright.keys.transit import RECHECK_S, Unsure
from sealwright.keys.uri import AwsKmsUri, parse_awskms

AT_ONCE = 8
CONNECT_S = 5.0
TIMEOUT_S = 30.0
TRIES = 3
MAX_LISTED = 1000
_SPECS = ("ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521", "RSA_2048", "RSA_3072", "RSA_4096")
_NAMES = {Scheme.ECDSA: "ECDSA_SHA_", Scheme.RSA_PKCS1: "RSASSA_PKCS1_V1_5_SHA_", Scheme.RSA_PSS: "RSASSA_PSS_SHA_"}
_PUT_OFF = ("ThrottlingException", "LimitExceededException")  # before it signed anything
_FAILED = ("KMSInternalException", "DependencyTimeoutException")  # nobody knows when
_REFUSED = {
    "AccessDeniedException": ("these credentials may not use it", "Allow kms:DescribeKey, kms:GetPublicKey and kms:Sign on this key."),
    "NotFoundException": ("there is no such key in that account and region", "Check the ARN."),
    "DisabledException": ("it is disabled", "Have the account's administrators enable it, if that was not on purpose."),
    "KMSInvalidStateException": ("its state lets it not be used", "See its state in the account; it may be scheduled for deletion."),
    "ExpiredTokenException": ("the credentials have ended", "Renew them."),
    "UnrecognizedClientException": ("the credentials are not known", "Check them."),
    "InvalidSignatureException": ("the credentials are wrong, or this machine's clock", "Check both."),
}  # fmt: skip


class AwsKmsKey:
    """One key. `sign` is for one thread at a time (it asks for several signatures at once itself), `health` for any; not for a forked child."""

    def __init__(self, client: Any, asked: AwsKmsUri, info: KeyInfo) -> None:
        self.info = info
        self.recheck_s = RECHECK_S
        self._client: Any = client  # the library writes its methods at run time
        self._asked = asked
        self._check = SignatureCheck(info)
        self._pulse = Pulse()
        self._process = os.getpid()
        self._looked = time.monotonic()

    def sign(self, batch: Sequence[ToBeSigned]) -> list[bytes]:
        """Signature values in order, each verified; KeyRefused or KeyUnavailable, and then none leaves."""
        if self._client is None or os.getpid() != self._process:
            raise KeyUnavailable(self.info.uri, "it was closed, or opened before this process forked", "Open it again.")
        self._check.before(batch)
        if self._pulse.stopped:
            raise KeyRefused(
                self.info.uri, f"it was stopped: {self.health().why}", "Open it again when that is mended."
            )
        try:
            if time.monotonic() - self._looked >= self.recheck_s:
                self._look_again()
            values = self._signed(batch)
            for one, value in zip(batch, values, strict=True):
                self._check.after(one, value)
        except SealwrightError as cause:
            self._pulse.bad(cause)
            raise
        self._pulse.good()
        return values

    def health(self) -> KeyHealth:
        """How it fares, as of the last signature."""
        place = Place(f"AWS KMS {self._asked.region}, account {self._asked.account}")
        working = 0 if self._client is None else 1
        return self._pulse.health(str(key_digest(self.info.public_key)), self.info.uri, place, working, 1)

    def close(self) -> None:
        """End its connections. Closing twice is fine."""
        client, self._client = self._client, None
        if client is not None and os.getpid() == self._process:
            client.close()

    def _signed(self, batch: Sequence[ToBeSigned]) -> list[bytes]:
        if len(batch) == 1:
            return [self._one(batch[0])]
        with ThreadPoolExecutor(min(AT_ONCE, max(1, len(batch)))) as workers:  # the client is safe for threads
            return list(workers.map(self._one, batch))

    def _one(self, one: ToBeSigned) -> bytes:
        algorithm = self.info.algorithm
        name = _NAMES[algorithm.scheme] + algorithm.digest.value.removeprefix("sha")
        answer = asked_of(
            self.info.uri,
            lambda: self._client.sign(
                KeyId=self._asked.arn, Message=one.data, MessageType="DIGEST", SigningAlgorithm=name
            ),
            repeatable=False,
        )
        if answer.get("KeyId") != self._asked.arn or answer.get("SigningAlgorithm") != name:
            raise KeyRefused(
                self.info.uri, "the service signed with another key than it was asked", "Ask its operators."
            )
        return bytes(answer["Signature"])

    def _look_again(self) -> None:
        """The key as the service describes it now must be the one that was opened."""
        found = describe(self._client, self._asked, self.info.algorithm)
        if key_digest(found.public_key) != key_digest(self.info.public_key):
            raise KeyRefused(
                self.info.uri,
                "the key found there now is not the one that was opened",
                "Stop signing and ask its operators.",
            )
        self._looked = time.monotonic()


@dataclass(frozen=True, slots=True)
class AwsKmsSeen:
    """One key of an account in a region. problem: why it may not sign, or ""."""

    uri: str
    problem: str


def open_awskms_key(uri: str, algorithm: SignatureAlgorithm | None = None, client: Any = None) -> AwsKmsKey:
    """Open a key by its ARN. client: another than the AWS library's own, for tests.

    Raises KeyUnavailable (service, credentials, key not there or disabled), KeyRefused (not made for signing, or not enrolled for the algorithm).
    """
    asked = parse_awskms(uri)
    if not asked.key:
        raise UsageError(uri, "it names no key", "End the ARN with :key/ID.")
    client = client or connected(asked)
    try:
        info = describe(client, asked, algorithm)
    except BaseException:
        client.close()
        raise
    return AwsKmsKey(client, asked, info)


def list_awskms_keys(uri: str, client: Any = None) -> list[AwsKmsSeen]:
    """The keys of the account in the region that a key string names, and why one may not sign."""
    asked = parse_awskms(uri)
    client = client or connected(asked)
    seen: list[AwsKmsSeen] = []
    more: dict[str, str] = {}
    try:
        while len(seen) < MAX_LISTED:
            page = asked_of(uri, lambda: client.list_keys(Limit=100, **more))  # noqa: B023 - called at once
            for one in page["Keys"]:
                found = parse_awskms(f"awskms:{one['KeyArn']}")
                try:
                    describe(client, found, None)
                    seen.append(AwsKmsSeen(str(found), ""))
                except SealwrightError as cause:
                    seen.append(AwsKmsSeen(str(found), cause.what))
            if not page.get("Truncated"):
                break
            more = {"Marker": str(page["NextMarker"])}
    finally:
        client.close()
    return seen


def connected(asked: AwsKmsUri) -> Any:
    """A client of the AWS library for the ARN's region, with credentials of its own chain and no retries of its own."""
    try:
        # only where it is used: start-up time, and an extra
        import boto3  # type: ignore[import-untyped,unused-ignore]
        from botocore.config import Config  # type: ignore[import-untyped,unused-ignore]
        from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped,unused-ignore]
    except ImportError as cause:
        raise KeyUnavailable(
            str(asked), "support for AWS KMS is not installed", "pip install 'sealwright[kms]'"
        ) from cause
    config = Config(
        connect_timeout=CONNECT_S,
        read_timeout=TIMEOUT_S,
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=AT_ONCE,
    )
    try:
        return boto3.session.Session().client("kms", region_name=asked.region, config=config)
    except BotoCoreError as cause:
        raise KeyUnavailable(
            str(asked), f"the AWS library refuses: {type(cause).__name__}", "Check its profile."
        ) from cause


def describe(client: Any, asked: AwsKmsUri, algorithm: SignatureAlgorithm | None) -> KeyInfo:
    """What the service says of a key, checked."""
    uri = str(asked)
    about = asked_of(uri, lambda: client.describe_key(KeyId=asked.arn))["KeyMetadata"]
    if about.get("Arn") != asked.arn:
        raise KeyRefused(uri, "the service describes another key", "Check the ARN.")
    if about.get("KeyState") != "Enabled":
        state = str(about.get("KeyState", "unknown"))[:40]
        raise KeyUnavailable(uri, f"its state is {state}", "Have the account's administrators look.")
    spec, usage = str(about.get("KeySpec", "")), about.get("KeyUsage")
    if usage != "SIGN_VERIFY" or spec not in _SPECS or about.get("KeyManager") != "CUSTOMER":
        raise KeyRefused(
            uri,
            f"it is a key for {str(usage)[:40]} ({spec[:40]}), with which nothing is signed here",
            "Name one for SIGN_VERIFY of the kind ECC_NIST_P256, P384, P521, RSA_3072 or RSA_4096.",
        )
    shown = asked_of(uri, lambda: client.get_public_key(KeyId=asked.arn))
    if shown.get("KeyId") not in (asked.arn, asked.key):
        raise KeyRefused(uri, "the service shows the public key of another key", "Check the ARN.")
    try:
        key = cast("PublicKey", load_der_public_key(bytes(shown["PublicKey"])))
    except (ValueError, KeyError) as cause:
        raise KeyUnavailable(uri, "the service shows no readable public key", "Check the key there.") from cause
    own = algorithm_for(key, subject=uri)
    wanted = algorithm or own
    if wanted != own and not (own.scheme is Scheme.RSA_PKCS1 and wanted.scheme in (Scheme.RSA_PKCS1, Scheme.RSA_PSS)):
        raise KeyRefused(uri, f"it signs {own.name}, not {wanted.name}", "Name the key that is enrolled for this.")
    said = {
        name: str(about[name])
        for name in ("KeySpec", "KeyUsage", "Origin", "MultiRegion", "CustomKeyStoreId")
        if name in about
    }
    return KeyInfo(
        uri=uri,
        public_key=key,
        algorithm=wanted,
        provenance=Provenance.SERVICE_HELD,
        location=f"AWS KMS {asked.region}, account {asked.account}, key {asked.key}",
        attributes=tuple(said.items()),
    )


def asked_of(uri: str, what: Callable[[], Any], *, repeatable: bool = True) -> dict[str, Any]:
    """One answer of the service, as a typed value or error; repeatable: asking twice makes nothing twice."""
    from botocore import exceptions as failures  # type: ignore[import-untyped,unused-ignore]

    for attempt in range(TRIES):
        last = attempt + 1 == TRIES
        try:
            answer: dict[str, Any] = what()
            return answer
        except failures.ClientError as cause:
            code = str(cause.response.get("Error", {}).get("Code", ""))[:60]
            if not last and (code in _PUT_OFF or (code in _FAILED and repeatable)):
                time.sleep(0.2 * 2**attempt)
                continue
            if code in _FAILED and not repeatable:
                raise _unsure(uri, code) from cause
            words = _REFUSED.get(code, (f"the service answered {code}", "See the account; nothing was signed."))
            raise KeyUnavailable(uri, *words) from cause
        except (
            failures.EndpointConnectionError,
            failures.ConnectTimeoutError,
        ) as cause:  # it never reached the service
            if last or attempt:
                raise KeyUnavailable(
                    uri, "the service does not answer", "Check the network and the region, then sign again."
                ) from cause
        except failures.BotoCoreError as cause:
            name = type(cause).__name__
            if "Credentials" in name or "Profile" in name or "Token" in name:
                raise KeyUnavailable(
                    uri, f"no credentials were found ({name})", "Give them in one of the AWS library's ways."
                ) from cause
            if repeatable and not last:
                continue
            if repeatable:
                raise KeyUnavailable(uri, f"the service does not answer ({name})", "Check the network.") from cause
            raise _unsure(uri, name) from cause
    raise KeyUnavailable(uri, "the service puts us off", "Sign again in a while.")


def _unsure(uri: str, why: str) -> Unsure:
    return Unsure(
        uri,
        f"it failed after it was asked ({why}); it may have signed, and nothing left here",
        "Sign again: that is a second signature, recorded as one.",
    )
