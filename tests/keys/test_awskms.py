"""Keys in AWS KMS: the calls against moto, the signatures against a client that signs as the service does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing

import boto3  # type: ignore[import-untyped,unused-ignore]
import pytest
from botocore import exceptions as failures  # type: ignore[import-untyped,unused-ignore]
from cryptography.hazmat.primitives.asymmetric import ec
from moto import mock_aws

from kit.kms import ARN, FakeKms, wrong
from sealwright.artifact.digest import Digest
from sealwright.envelope.algorithms import check_digest_signature
from sealwright.envelope.cms_write import to_be_signed
from sealwright.envelope.tobesigned import Kind, ToBeSigned
from sealwright.errors import KeyRefused, KeyUnavailable, UsageError
from sealwright.keys.awskms import AwsKmsKey, list_awskms_keys, open_awskms_key
from sealwright.keys.backends import create_key, open_key
from sealwright.keys.health import KeyState
from sealwright.keys.key import KeyKind, Provenance
from sealwright.keys.transit import Unsure
from sealwright.keys.uri import parse_awskms

URI = f"awskms:{ARN}"
KINDS = [KeyKind.P256, KeyKind.P384, KeyKind.P521, KeyKind.RSA3072, KeyKind.RSA3072_PSS]
MESSAGE = b"signed attributes"


def one(kind: KeyKind) -> list[ToBeSigned]:
    return [to_be_signed(MESSAGE, kind.algorithm)]


def opened(service: FakeKms, kind: KeyKind = KeyKind.P256) -> AwsKmsKey:
    return open_awskms_key(URI, kind.algorithm, service)


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """moto in place of the network."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with mock_aws():
        yield


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_of_kms_signs_digests_and_is_held_by_a_service(kind: KeyKind) -> None:
    service = FakeKms(kind)
    with closing(opened(service, kind)) as key:
        assert key.info.provenance is Provenance.SERVICE_HELD
        assert dict(key.info.attributes)["Origin"] == "AWS_KMS"
        batch = [to_be_signed(b"%d" % number, kind.algorithm) for number in range(20)]
        for asked, value in zip(batch, key.sign(batch), strict=True):
            digest = Digest(kind.algorithm.digest, asked.data)
            check_digest_signature(key.info.public_key, kind.algorithm, value, digest, subject="kms")
        assert key.health().state is KeyState.SIGNS
    assert service.closed


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.RSA3072])
def test_a013_a_service_that_hashes_the_digest_again_gives_values_that_never_leave(kind: KeyKind) -> None:
    spec = "ECC_NIST_P256" if kind is KeyKind.P256 else "RSA_3072"
    client = boto3.client("kms", region_name="eu-central-1")
    arn = client.create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    with closing(open_key(f"awskms:{arn}", algorithm=kind.algorithm)) as key:  # the calls have the right shape
        assert key.info.algorithm == kind.algorithm
        with pytest.raises(KeyRefused, match="its own public key refuses"):
            key.sign(one(kind))


@pytest.mark.usefixtures("account")
def test_the_keys_of_an_account_are_listed_with_why_one_may_not_sign() -> None:
    client = boto3.client("kms", region_name="eu-central-1")
    signs = client.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    secret = client.create_key()["KeyMetadata"]["Arn"]
    off = client.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    client.disable_key(KeyId=off.rpartition("/")[2])
    seen = {key.uri: key.problem for key in list_awskms_keys("awskms:" + signs.partition(":key/")[0])}
    assert seen[f"awskms:{signs}"] == ""
    assert "nothing is signed" in seen[f"awskms:{secret}"]
    assert "Disabled" in seen[f"awskms:{off}"]
    with pytest.raises(KeyUnavailable, match="no such key"):
        open_awskms_key(f"awskms:{signs[:-4]}0000")


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"KeyUsage": "ENCRYPT_DECRYPT"}, "nothing is signed"),
        ({"KeySpec": "ECC_SECG_P256K1"}, "nothing is signed"),
        ({"KeyManager": "AWS"}, "nothing is signed"),
        ({"KeyState": "PendingDeletion"}, "PendingDeletion"),
        ({"Arn": ARN[:-1] + "0"}, "describes another key"),
    ],
)
def test_a163_a_key_that_is_not_what_its_arn_should_be_is_refused(about: dict[str, object], words: str) -> None:
    opened(FakeKms(KeyKind.P256)).close()
    with pytest.raises((KeyRefused, KeyUnavailable), match=words):
        opened(FakeKms(KeyKind.P256, **about))


@pytest.mark.parametrize(
    "uri",
    [
        "awskms:alias/release",
        "awskms:arn:aws:kms:eu-central-1:111122223333:alias/release",
        "awskms:arn:aws:s3:eu-central-1:111122223333:key/x",
        "awskms:arn:aws:kms:eu-central-1:1111:key/x",
        "awskms:arn:aws:kms:eu-central-1:111122223333:key/x/y",
        "awskms:arn:aws:kms:eu-central-1:111122223333",
    ],
)
def test_a163_an_alias_or_half_an_arn_names_no_key(uri: str) -> None:
    assert str(parse_awskms(URI)) == URI
    with pytest.raises(UsageError):
        open_awskms_key(uri, client=FakeKms(KeyKind.P256))
    with pytest.raises(KeyRefused, match="costs money"):
        create_key(URI, KeyKind.P256)


def test_a_key_disabled_or_replaced_while_it_signs_stops() -> None:
    service = FakeKms(KeyKind.P256)
    with closing(opened(service)) as key:
        key.recheck_s = 0
        assert key.sign(one(KeyKind.P256))
        service.about["KeyState"] = "Disabled"
        with pytest.raises(KeyUnavailable, match="Disabled"):
            key.sign(one(KeyKind.P256))
        assert key.health().state is KeyState.LOST
        service.about["KeyState"] = "Enabled"
        assert key.sign(one(KeyKind.P256))
        service.private = ec.generate_private_key(ec.SECP256R1())
        with pytest.raises(KeyRefused, match="not the one that was opened"):
            key.sign(one(KeyKind.P256))
        assert key.health().state is KeyState.STOPPED


def test_a165_what_was_put_off_or_never_arrived_is_asked_again_and_what_may_be_signed_is_not() -> None:
    url = "https://kms.eu-central-1.amazonaws.com"
    table: list[tuple[Exception, int, type[Exception] | None]] = [
        (wrong("ThrottlingException"), 2, None),
        (failures.EndpointConnectionError(endpoint_url=url), 2, None),
        (failures.ReadTimeoutError(endpoint_url=url), 1, Unsure),
        (failures.ConnectionClosedError(endpoint_url=url), 1, Unsure),
        (wrong("KMSInternalException"), 1, Unsure),
        (wrong("AccessDeniedException"), 1, KeyUnavailable),
        (failures.NoCredentialsError(), 1, KeyUnavailable),
    ]
    for failure, times, expected in table:
        service = FakeKms(KeyKind.P256)

        def once(number: int, failure: Exception = failure) -> None:
            if number == 1:
                raise failure

        service.before = once
        with closing(opened(service)) as key:
            if expected is None:
                assert key.sign(one(KeyKind.P256))
            else:
                with pytest.raises(expected) as said:
                    key.sign(one(KeyKind.P256))
                assert isinstance(said.value, Unsure) is (expected is Unsure)
            assert service.asked == times, failure


def test_without_credentials_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    with pytest.raises(KeyUnavailable, match="no credentials"):
        open_key(URI)


def test_a_key_of_kms_is_not_used_in_a_forked_child_nor_after_it_was_closed() -> None:
    key = opened(FakeKms(KeyKind.P256))
    assert key.sign(one(KeyKind.P256))
    key._process = 1
    with pytest.raises(KeyUnavailable, match="forked"):
        key.sign(one(KeyKind.P256))
    key._process = os.getpid()
    for wrong_one in (ToBeSigned(Kind.DIGEST, b"", KeyKind.P256.algorithm), one(KeyKind.P384)[0]):
        with pytest.raises(KeyRefused):
            key.sign([wrong_one])
    assert key.sign(one(KeyKind.P256))
    key.close()
    key.close()
    with pytest.raises(KeyUnavailable):
        key.sign(one(KeyKind.P256))
