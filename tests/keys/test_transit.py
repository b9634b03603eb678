"""Keys in a real OpenBao server: four kinds of signatures, and everything that must stop them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kit.bao import Bao, bao, certificate
from kit.openssl import run
from kit.relay import relay
from sealwright.artifact.digest import Digest, HashName
from sealwright.envelope.algorithms import (
    PublicKey,
    check_digest_signature,
    check_signature,
    key_digest,
)
from sealwright.envelope.cms_write import to_be_signed
from sealwright.envelope.tobesigned import Kind, ToBeSigned
from sealwright.errors import KeyRefused, KeyUnavailable, UsageError
from sealwright.keys.backends import attest, create_key, destroy_key, import_key, open_key
from sealwright.keys.file import generate
from sealwright.keys.health import KeyState
from sealwright.keys.key import KeyKind, Provenance
from sealwright.keys.transit import TransitKey, Unsure, list_transit_keys, open_transit_key
from sealwright.keys.uri import parse_transit

KINDS = [KeyKind.P256, KeyKind.P384, KeyKind.P521, KeyKind.RSA3072, KeyKind.RSA3072_PSS, KeyKind.ED25519]
MESSAGE = b"signed attributes"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bao]:
    """One server for the tests that leave it as it was."""
    with bao(tmp_path_factory.mktemp("bao")) as server:
        yield server


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Bao]:
    """A server that the test may break."""
    with bao(tmp_path / "bao") as server:
        yield server


def one(kind: KeyKind, message: bytes = MESSAGE) -> list[ToBeSigned]:
    return [to_be_signed(message, kind.algorithm)]


def opened(uri: str, kind: KeyKind = KeyKind.P256) -> TransitKey:
    return open_transit_key(uri, kind.algorithm)


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_service_makes_a_key_and_signs_with_it(shared: Bao, kind: KeyKind, tmp_path: Path) -> None:
    info = create_key(shared.uri(f"made-{kind}"), kind)
    assert info.provenance is Provenance.SERVICE_HELD
    assert parse_transit(info.uri).version == 1
    with closing(open_key(info.uri, algorithm=kind.algorithm, expected=info.public_key)) as key:
        values = key.sign(one(kind) * 70)  # more than one question
    assert len(values) == 70
    verify_with_openssl(tmp_path, info.public_key, kind, values[-1])
    with pytest.raises(KeyUnavailable, match="already there"):
        create_key(shared.uri(f"made-{kind}"), kind)


def verify_with_openssl(folder: Path, public: PublicKey, kind: KeyKind, value: bytes) -> None:
    (folder / "pub.pem").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (folder / "sig").write_bytes(value)
    (folder / "data").write_bytes(MESSAGE)
    files: list[str | Path] = [
        "-pubin",
        "-inkey",
        folder / "pub.pem",
        "-sigfile",
        folder / "sig",
        "-in",
        folder / "data",
    ]
    if kind is KeyKind.ED25519:
        assert run(["openssl", "pkeyutl", "-verify", "-rawin", *files])[0]
        return
    options: list[str | Path] = ["-sha256"] if kind.value.startswith(("p256", "rsa")) else []
    options += ["-sha384"] if kind is KeyKind.P384 else ["-sha512"] if kind is KeyKind.P521 else []
    if kind is KeyKind.RSA3072_PSS:
        options += ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"]
    verify = ["openssl", "dgst", *options, "-verify", folder / "pub.pem", "-signature", folder / "sig", folder / "data"]
    assert run(verify)[0]


def test_a_key_of_a_kind_that_transit_has_not_is_refused(shared: Bao) -> None:
    with pytest.raises(KeyRefused, match="no ml-dsa-65 keys"):
        create_key(shared.uri("quantum"), KeyKind.ML_DSA_65)
    for what in (
        lambda uri: import_key(uri, generate(KeyKind.P256)),
        lambda uri: destroy_key(uri),
        lambda uri: attest(uri),
    ):
        with pytest.raises(KeyRefused):
            what(shared.uri("quantum"))


def test_all_keys_of_an_engine_are_listed_with_why_one_may_not_sign(shared: Bao) -> None:
    shared.make("listed")
    shared.make("secret-box", "aes256-gcm96")
    seen = {key.name: key for key in list_transit_keys(shared.engine)}
    assert seen["listed"].problem == ""
    assert parse_transit(seen["listed"].uri).version == 1
    assert "aes256-gcm96" in seen["secret-box"].problem


def test_a_key_signs_its_own_algorithm_and_length_and_stays_usable(shared: Bao) -> None:
    with closing(opened(shared.make("own-algorithm"))) as key:
        for wrong in (
            ToBeSigned(Kind.DIGEST, b"", KeyKind.P256.algorithm),
            ToBeSigned(Kind.DIGEST, b"x" * 48, KeyKind.P256.algorithm),
            ToBeSigned(Kind.DIGEST, b"x" * 32, KeyKind.RSA3072.algorithm),
        ):
            with pytest.raises(KeyRefused):
                key.sign([*one(KeyKind.P256), wrong])
        assert key.sign(one(KeyKind.P256))
        assert key.health().state is KeyState.SIGNS


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"exportable": True}, "give the private key away"),
        ({"allow_plaintext_backup": True}, "give the private key away in a backup"),
        ({"deletion_allowed": True}, "lets the key be deleted"),
    ],
)
def test_a162_a_key_made_exportable_is_refused_at_opening_and_while_it_signs(
    shared: Bao, options: dict[str, bool], words: str
) -> None:
    name = f"weak-{next(iter(options)).replace('_', '-')}"
    with closing(opened(shared.make(name))) as key:
        key.recheck_s = 0
        assert key.sign(one(KeyKind.P256))
        shared.configure(name, **options)
        with pytest.raises(KeyRefused, match=words):
            key.sign(one(KeyKind.P256))
        health = key.health()
        assert (health.state, health.alarm) == (KeyState.STOPPED, True)
        with pytest.raises(KeyRefused, match="stopped"):
            key.sign(one(KeyKind.P256))
    with pytest.raises(KeyRefused, match=words):
        opened(shared.uri(name))


def test_a163_a_key_deleted_and_made_again_under_its_name_is_another_key(shared: Bao) -> None:
    shared.make("again")
    with closing(opened(shared.uri("again"))) as key:
        assert key.sign(one(KeyKind.P256))
        shared.configure("again", deletion_allowed=True)
        shared.call("DELETE", "transit/keys/again")
        shared.make("again")
        # at once: the value does not verify; later: the second look
        with pytest.raises(KeyRefused, match="its own public key refuses"):
            key.sign(one(KeyKind.P256))
    with closing(opened(shared.uri("again"))) as key:
        enrolled = key.info.public_key
        key.recheck_s = 0
        shared.configure("again", deletion_allowed=True)
        shared.call("DELETE", "transit/keys/again")
        shared.make("again")
        with pytest.raises(KeyRefused, match="not the one that was opened"):
            key.sign(one(KeyKind.P256))
    with pytest.raises(KeyRefused, match="not the one that was enrolled"):
        open_key(shared.uri("again"), expected=enrolled)


def test_a_rotated_key_signs_with_its_enrolled_version_and_the_new_one_is_refused_until_it_is_enrolled(
    shared: Bao,
) -> None:
    with closing(opened(shared.make("rotated"))) as key:
        enrolled = key.info
        shared.call("POST", "transit/keys/rotated/rotate")
        (value,) = key.sign(one(KeyKind.P256))
        check_signature(enrolled.public_key, KeyKind.P256.algorithm, value, MESSAGE, subject="rotated")
    with closing(open_key(enrolled.uri, expected=enrolled.public_key)) as key2:
        assert key2.sign(one(KeyKind.P256))
        assert dict(key2.info.attributes)["latest_version"] == "2"
    for newer in (shared.uri("rotated"), shared.uri("rotated", 2)):
        with pytest.raises(KeyRefused, match="not the one that was enrolled"):
            open_key(newer, expected=enrolled.public_key)
    open_key(shared.uri("rotated", 2)).close()  # as enrolling it would
    with pytest.raises(KeyUnavailable, match="no version 7"):
        opened(shared.uri("rotated", 7))
    shared.configure("rotated", min_encryption_version=2, min_decryption_version=2)
    with pytest.raises(KeyUnavailable, match="no version 1"):
        open_key(enrolled.uri, expected=enrolled.public_key)


def test_a_version_retired_while_the_key_is_open_gives_no_signature(shared: Bao) -> None:
    with closing(opened(shared.make("retired"))) as key:
        shared.call("POST", "transit/keys/retired/rotate")
        shared.configure("retired", min_encryption_version=2)
        with pytest.raises(KeyUnavailable, match="version"):
            key.sign(one(KeyKind.P256))


def test_a_token_that_ends_stops_the_key_and_a_renewed_one_goes_on(shared: Bao) -> None:
    uri = shared.make("token-ends")
    with closing(opened(uri)) as key:
        assert key.sign(one(KeyKind.P256))
        ended = shared.token
        shared.call("POST", "auth/token/revoke", {"token": ended})
        with pytest.raises(KeyUnavailable, match="refuses our token"):
            key.sign(one(KeyKind.P256))
        assert key.health().state is KeyState.LOST
        with pytest.raises(KeyUnavailable, match="refuses our token"):
            opened(uri)
        shared.give_token()  # as an agent does it
        assert key.sign(one(KeyKind.P256))
        assert key.health().state is KeyState.SIGNS


def test_a129_a_token_is_read_from_a_file_of_its_owner_alone_and_shown_nowhere(
    shared: Bao, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = shared.make("hidden")
    path = tmp_path / "token"
    path.write_text(shared.token)
    path.chmod(0o640)
    elsewhere = uri.replace(str(shared.token_file), str(path))
    with pytest.raises(KeyRefused, match="other users can read"):
        opened(elsewhere)
    path.chmod(0o600)
    with closing(opened(elsewhere)) as key:
        assert shared.token not in f"{key.info} {key.health()} {vars(key)}"
    for bad in ("", "two words", "not\x07printable"):
        path.write_text(bad)
        with pytest.raises(KeyUnavailable, match="no token in it"):
            opened(elsewhere)
    without = uri.partition("&token-source")[0]
    monkeypatch.setenv("VAULT_TOKEN", shared.token)
    with pytest.raises(KeyUnavailable, match="no token was given"):
        opened(without)
    (tmp_path / "sealwright-token").write_text(shared.token)
    (tmp_path / "sealwright-token").chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    opened(without).close()


@pytest.mark.parametrize(
    "uri",
    [
        "transit:http://bao:8200/v1/transit/keys/k",
        "transit:https:///v1/transit/keys/k",
        "transit:https://bao:99999/v1/transit/keys/k",
        "transit:https://bao/v2/transit/keys/k",
        "transit:https://bao/v1/transit/keys/../../sys/seal",
        "transit:https://bao/v1/transit/keys/k%2f",
        "transit:https://bao/v1/transit/keys/k?version=0",
        "transit:https://bao/v1/transit/keys/k?version=1&version=2",
        "transit:https://bao/v1/transit/keys/k?token=hvs.SECRET",
        "transit:https://bao/v1/transit/keys/k?token-source=relative",
        "transit:https://bao/v1/transit/keys/k?ca-file=",
        "transit:https://bao/v1/transit/keys/k?namespace=a%0Ab",
        "transit:https://user:hvs.SECRET@bao/v1/transit/keys/k",
        "transit:https://bao/v1/transit",
    ],
)
def test_a163_a_transit_string_that_says_too_little_or_holds_a_token_is_refused_unrepeated(uri: str) -> None:
    good = (
        "transit:https://bao:8200/v1/team/transit/keys/k?version=3&namespace=ot%2Fline&ca-file=/ca&token-source=file:/t"
    )
    assert str(parse_transit(good)) == good.replace("%2F", "/")
    with pytest.raises((UsageError, KeyRefused)) as said:
        opened(uri)
    assert "SECRET" not in str(said.value)


def test_a_server_with_another_certificate_is_not_believed_and_gets_no_token(shared: Bao, tmp_path: Path) -> None:
    uri = shared.make("tls")
    opened(uri).close()
    certificate(tmp_path, "other")
    with pytest.raises(KeyUnavailable, match="TLS certificate is not believed"):
        opened(uri.replace(str(shared.ca), str(tmp_path / "other.pem")))
    with pytest.raises(KeyUnavailable, match="cannot be read"):
        opened(uri.replace(str(shared.ca), str(tmp_path / "none.pem")))
    with pytest.raises(KeyUnavailable, match="TLS certificate is not believed"):
        opened(uri.replace(f"ca-file={shared.ca}&", ""))
    with pytest.raises(KeyUnavailable, match="TLS certificate is not believed"):
        opened(uri.replace("127.0.0.1", "localhost"))


def test_a_proxy_of_the_environment_sees_nothing(shared: Bao, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with closing(opened(shared.make("proxied"))) as key:
        assert key.sign(one(KeyKind.P256))


def test_a165_a_sealed_server_is_an_error_with_its_next_step_and_signs_again_when_unsealed(own: Bao) -> None:
    with closing(opened(own.make("sealed"))) as key:
        assert key.sign(one(KeyKind.P256))
        own.seal()
        with pytest.raises(KeyUnavailable, match="sealed") as said:
            key.sign(one(KeyKind.P256))
        assert "unseal" in said.value.next_step
        assert key.health().state is KeyState.LOST
        own.unseal()
        assert key.sign(one(KeyKind.P256))
        assert key.health().state is KeyState.SIGNS


def test_a165_a_server_killed_in_the_middle_of_a_batch_gives_nothing_and_a_restarted_one_signs_again(own: Bao) -> None:
    kind = KeyKind.RSA3072
    with closing(opened(own.make("killed", "rsa-3072"), kind)) as key:
        assert key.sign(one(kind))
        killer = threading.Timer(0.3, own.kill)
        killer.start()
        with pytest.raises(KeyUnavailable):
            key.sign(one(kind) * 2000)
        killer.join()
        began = time.monotonic()
        with pytest.raises(KeyUnavailable, match="does not answer"):
            key.sign(one(kind))
        assert time.monotonic() - began < 10
        own.start()
        with pytest.raises(KeyUnavailable, match="sealed"):
            key.sign(one(kind))
        own.unseal()
        (value,) = key.sign(one(kind))
        digest = Digest.of(MESSAGE, HashName.SHA256)
        check_digest_signature(key.info.public_key, kind.algorithm, value, digest, subject="killed")


def test_a_key_opened_before_a_fork_does_not_sign_in_the_child(shared: Bao) -> None:
    with closing(opened(shared.make("forked"))) as key:
        assert key.sign(one(KeyKind.P256))
        child = os.fork()
        if child == 0:
            try:
                key.sign(one(KeyKind.P256))
            except KeyUnavailable:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert key.sign(one(KeyKind.P256))
    with pytest.raises(KeyUnavailable, match="closed"):
        key.sign(one(KeyKind.P256))
    assert str(key_digest(key.info.public_key)) == key.health().key


def test_a165_a_question_whose_answer_was_lost_is_not_asked_again_by_itself(own: Bao) -> None:
    with relay(own.port) as wire:
        uri = own.make("unsure").replace(f":{own.port}/", f":{wire.port}/")
        with closing(opened(uri)) as key:
            assert key.sign(one(KeyKind.P256))
            before = wire.connections
            wire.cut = True
            with pytest.raises(Unsure, match="may have signed") as said:
                key.sign(one(KeyKind.P256))
            assert "second signature" in said.value.next_step
            assert (wire.connections, wire.dropped) == (before, 1)
            wire.cut = False
            assert key.sign(one(KeyKind.P256))  # what the caller records as a second try
            assert key.health().state is KeyState.SIGNS


def test_a165_an_idle_connection_that_was_closed_is_opened_again(own: Bao) -> None:
    with relay(own.port) as wire:
        uri = own.make("idle").replace(f":{own.port}/", f":{wire.port}/")
        with closing(opened(uri)) as key:
            assert key.sign(one(KeyKind.P256))
            wire.hang_up()
            assert key.sign(one(KeyKind.P256))


def test_a165_a_service_that_hangs_is_given_up_in_bounded_time(own: Bao) -> None:
    uri = own.make("hangs")
    with closing(open_transit_key(uri, KeyKind.P256.algorithm, timeout_s=1.0)) as key:
        assert key.sign(one(KeyKind.P256))
        assert own.process is not None
        os.kill(own.process.pid, signal.SIGSTOP)
        began = time.monotonic()
        try:
            time.sleep(0.3)  # until every thread of it stands
            with pytest.raises(Unsure):
                key.sign(one(KeyKind.P256))
        finally:
            os.kill(own.process.pid, signal.SIGCONT)
        assert time.monotonic() - began < 10
        assert key.sign(one(KeyKind.P256))
