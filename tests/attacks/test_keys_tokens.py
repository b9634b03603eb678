"""Attacks on keys in tokens: borrowed labels, weaker copies, PIN guessing, and tokens that die, hang or lie (A013, A161-A165)."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pkcs11
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from kit.openssl import run
from kit.tokens import LABEL, PIN, TOKEN, make_token, softhsm
from sealwright.envelope.algorithms import check_signature
from sealwright.envelope.cms_write import to_be_signed
from sealwright.envelope.tobesigned import ToBeSigned
from sealwright.errors import KeyRefused, KeyUnavailable, UsageError
from sealwright.keys.backends import create_key, open_key
from sealwright.keys.key import KeyInfo, KeyKind
from sealwright.keys.pin import Pin
from sealwright.keys.pkcs11 import TokenKey, list_tokens, refusal
from sealwright.keys.pkcs11_worker import Refusal, Worker
from sealwright.keys.uri import parse_pkcs11

MODULE = "/usr/lib/softhsm/libsofthsm2.so"


def messages(count: int, size: int = 40) -> list[bytes]:
    return [b"%d " % number + b"x" * size for number in range(count)]


def batch(kind: KeyKind, count: int = 1, size: int = 40) -> list[ToBeSigned]:
    return [to_be_signed(message, kind.algorithm) for message in messages(count, size)]


def made(name: str, kind: KeyKind = KeyKind.P256) -> KeyInfo:
    return create_key(f"{TOKEN};object={name}-{os.getpid()}", kind, softhsm())


@contextmanager
def opened(name: str, kind: KeyKind = KeyKind.P256) -> Iterator[TokenKey]:
    info = made(name, kind)
    with closing(open_key(info.uri, softhsm(), algorithm=kind.algorithm, expected=info.public_key)) as key:
        assert isinstance(key, TokenKey)
        yield key


def worker_of(key: TokenKey) -> int:
    assert key._worker is not None
    return key._worker.pid


def tool(*arguments: object, label: str = LABEL) -> str:
    """pkcs11-tool, logged in; it must succeed."""
    command = ["pkcs11-tool", "--module", MODULE, "--token-label", label, "--login", "--pin", PIN, *map(str, arguments)]
    ok, said = run(command)[:2]
    assert ok, said
    return said


def inside(name: str, code: str) -> str:
    """What another program may do with our key: Python with the token's module, in a process of its own."""
    head = (
        "import sys, pkcs11\n"
        "from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass\n"
        "session = pkcs11.lib(sys.argv[1]).get_token(token_label=sys.argv[2]).open(user_pin=sys.argv[3], rw=True)\n"
        "key = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=sys.argv[4])\n"
        "def attempt():\n"
        f"    return {code}\n"
        "try: attempt(); print('done')\n"
        "except pkcs11.PKCS11Error as cause: print('refused', type(cause).__name__)\n"
    )
    ok, said = run([sys.executable, "-c", head, MODULE, LABEL, PIN, name])[:2]
    assert ok, said
    return said.strip()


@pytest.mark.parametrize(
    "attempt",
    [
        "key[Attribute.VALUE]",
        "key.__setitem__(Attribute.EXTRACTABLE, True)",
        "key.__setitem__(Attribute.SENSITIVE, False)",
        "key.copy({Attribute.EXTRACTABLE: True, Attribute.SENSITIVE: False})",
        "session.generate_key(KeyType.AES, 256).wrap_key(key, mechanism=Mechanism.AES_KEY_WRAP)",
    ],
)
def test_a162_a_key_made_here_cannot_be_read_weakened_copied_or_wrapped(attempt: str) -> None:
    info = made(f"kept-{abs(hash(attempt))}")
    name = parse_pkcs11(info.uri).label
    assert inside(name, "key.sign(b'x' * 32, mechanism=Mechanism.ECDSA)") == "done"
    assert inside(name, attempt).startswith("refused")
    with closing(open_key(info.uri, softhsm(), expected=info.public_key)) as key:
        assert key.sign(batch(KeyKind.P256))


def test_a163_two_keys_with_one_label_are_refused_and_the_id_tells_them_apart() -> None:
    label = f"twin-{os.getpid()}"
    softhsm()
    for identifier in ("a1", "a2"):
        tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", label, "--id", identifier, "--sensitive")
    with pytest.raises(KeyRefused, match="several keys"):
        open_key(f"{TOKEN};object={label}", softhsm())
    with closing(open_key(f"{TOKEN};object={label};id=%A1", softhsm())) as key:
        assert key.sign(batch(KeyKind.P256))


def test_a163_two_keys_with_one_id_are_refused() -> None:
    softhsm()
    arguments = ("--keypairgen", "--key-type", "EC:prime256v1", "--sensitive", "--id", "b1", "--label")
    tool(*arguments, f"first-{os.getpid()}")
    with closing(open_key(f"{TOKEN};id=%B1", softhsm())) as key:
        assert key.sign(batch(KeyKind.P256))
    tool(*arguments, f"second-{os.getpid()}")
    with pytest.raises(KeyRefused, match="several keys"):
        open_key(f"{TOKEN};id=%B1", softhsm())


def test_a163_another_token_with_the_same_label_is_not_the_one_that_was_enrolled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOFTHSM2_CONF", str(make_token(tmp_path / "first", "line-9")))
    info = create_key("pkcs11:token=line-9;object=k", KeyKind.P256, Pin(PIN))
    open_key(info.uri, Pin(PIN), expected=info.public_key).close()
    monkeypatch.setenv("SOFTHSM2_CONF", str(make_token(tmp_path / "second", "line-9")))
    other = create_key("pkcs11:token=line-9;object=k", KeyKind.P256, Pin(PIN))
    with pytest.raises(KeyUnavailable, match="token is not there"):
        open_key(info.uri, Pin(PIN))
    with pytest.raises(KeyRefused, match="not the one that was enrolled"):
        open_key("pkcs11:token=line-9;object=k", Pin(PIN), expected=info.public_key)
    open_key("pkcs11:token=line-9;object=k", Pin(PIN), expected=other.public_key).close()


def test_a013_a_token_whose_signatures_are_of_another_key_gives_none_away(tmp_path: Path) -> None:
    """The token shows a public key that is not the private key's: every value it makes is wrong."""
    softhsm()
    private, public = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1()).public_key()
    keyfile, pubfile = tmp_path / "k.der", tmp_path / "p.der"
    keyfile.write_bytes(private.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    for identifier, shown in (("c1", private.public_key()), ("c2", public)):
        label = f"shown-{identifier}-{os.getpid()}"
        pubfile.write_bytes(shown.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        place = ("--label", label, "--id", identifier, "--write-object")
        tool("--type", "privkey", "--sensitive", "--usage-sign", *place, keyfile)
        tool("--type", "pubkey", *place, pubfile)
    with closing(open_key(f"{TOKEN};id=%C1", softhsm())) as key:
        assert key.sign(batch(KeyKind.P256))
    with closing(open_key(f"{TOKEN};id=%C2", softhsm(), expected=public)) as key:
        with pytest.raises(KeyRefused, match="its own public key refuses"):
            key.sign(batch(KeyKind.P256, 300))
        with pytest.raises(KeyUnavailable):
            key.sign(batch(KeyKind.P256))


def test_a161_a_wrong_pin_is_asked_of_the_token_once() -> None:
    info = made("once")
    asked: list[str] = []
    worker = Worker()

    class Watched:
        """The real token, with its logins counted."""

        label, flags, serial = LABEL, pkcs11.TokenFlag(0), b""

        def open(self, user_pin: str | None, rw: bool) -> object:
            asked.append(str(user_pin))
            raise pkcs11.PinIncorrect

    worker._token = lambda message: Watched()  # type: ignore[method-assign,assignment,return-value]
    with pytest.raises(Refusal, match="PinIncorrect"):
        worker.open({"module": MODULE, "token": LABEL, "id": "01", "pin": "000000"})
    assert asked == ["000000"]
    with pytest.raises(KeyUnavailable, match="wrong; it was tried once"):
        open_key(info.uri, Pin("000000"))
    open_key(info.uri, softhsm()).close()


@pytest.mark.parametrize(
    ("flag", "words"),
    [(pkcs11.TokenFlag.USER_PIN_LOCKED, "locked"), (pkcs11.TokenFlag.USER_PIN_FINAL_TRY, "one PIN try is left")],
)
def test_a161_no_pin_is_tried_where_the_token_says_that_it_could_lock(flag: pkcs11.TokenFlag, words: str) -> None:
    """SoftHSM never sets these flags, so a stand-in says them; it fails if a PIN reaches it."""

    class Token:
        """A token in that state."""

        flags = flag

        def open(self, user_pin: str | None, rw: bool) -> object:
            pytest.fail("a PIN was tried")

    worker = Worker()
    worker._token = lambda message: Token()  # type: ignore[method-assign,assignment,return-value]
    with pytest.raises(Refusal) as said:
        worker.open({"module": MODULE, "token": LABEL, "id": "01", "pin": PIN})
    assert words in str(refusal("k", str(said.value)))


@pytest.mark.parametrize(
    ("flag", "words"),
    [(pkcs11.TokenFlag.USER_PIN_COUNT_LOW, "counts wrong tries"), (pkcs11.TokenFlag.USER_PIN_FINAL_TRY, "ONE try")],
)
def test_a161_after_a_wrong_pin_the_token_s_word_on_tries_is_shown(flag: pkcs11.TokenFlag, words: str) -> None:
    class Token:
        """A token that counts."""

        flags = pkcs11.TokenFlag(0)

        def open(self, user_pin: str | None, rw: bool) -> object:
            self.flags = flag
            raise pkcs11.PinIncorrect

    token, worker = Token(), Worker()
    worker._token = lambda message: token  # type: ignore[method-assign,assignment,return-value]
    with pytest.raises(Refusal) as said:
        worker.open({"module": MODULE, "token": LABEL, "id": "01", "pin": "000000"})
    assert words in str(refusal("k", str(said.value)))


def test_a161_without_a_pin_the_missing_pin_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    info = made("nopin")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setattr("sealwright.keys.pkcs11.ask_pin", lambda what: None)
    with pytest.raises(KeyUnavailable, match="no PIN was given"):
        open_key(info.uri)


def test_a165_a_worker_killed_in_the_middle_of_a_batch_is_replaced_and_every_value_verifies() -> None:
    kind, count = KeyKind.P256, 3000
    with opened("middle") as key:
        key.sign(batch(kind))
        before = worker_of(key)
        killer = threading.Timer(0.05, os.kill, (before, signal.SIGKILL))
        killer.start()
        values = key.sign(batch(kind, count))
        killer.join()
        assert worker_of(key) != before
        for message, value in zip(messages(count), values, strict=True):
            check_signature(key.info.public_key, kind.algorithm, value, message, subject="value")


def test_a165_a_worker_that_dies_again_and_again_gives_nothing_and_says_so() -> None:
    with opened("dies") as key:
        key.sign(batch(KeyKind.P256))
        over = threading.Event()

        def kill_each() -> None:
            killed: set[int] = set()
            while not over.is_set():
                worker = key._worker
                if worker is not None and worker.pid not in killed:
                    killed.add(worker.pid)
                    os.kill(worker.pid, signal.SIGKILL)
                time.sleep(0.001)

        killer = threading.Thread(target=kill_each)
        killer.start()
        try:
            with pytest.raises(KeyUnavailable):
                key.sign(batch(KeyKind.P256, 3000))
        finally:
            over.set()
            killer.join()
        with pytest.raises(KeyUnavailable):
            key.sign(batch(KeyKind.P256))


def test_a165_a_hanging_worker_is_given_up_also_where_the_question_fills_the_pipe() -> None:
    kind = KeyKind.ED25519
    with opened("full", kind) as key:
        assert len(key.sign(batch(kind, 200, size=4000))) == 200
        key.timeout_s = 1.0
        os.kill(worker_of(key), signal.SIGSTOP)
        started = time.monotonic()
        assert len(key.sign(batch(kind, 200, size=4000))) == 200
        assert time.monotonic() - started < 30


def test_a165_a_token_that_went_away_stays_an_error_however_often_it_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOFTHSM2_CONF", str(make_token(tmp_path, "leaves")))
    info = create_key("pkcs11:token=leaves;object=k", KeyKind.P256, Pin(PIN))
    with closing(open_key(info.uri, Pin(PIN))) as key:
        assert isinstance(key, TokenKey)
        assert key.sign(batch(KeyKind.P256))
        shutil.rmtree(tmp_path / "tokens")
        (tmp_path / "tokens").mkdir()
        os.kill(worker_of(key), signal.SIGKILL)
        for _ in range(3):
            with pytest.raises(KeyUnavailable):
                key.sign(batch(KeyKind.P256))


@pytest.mark.parametrize(
    "rest",
    [
        "id=",
        "id=%G1",
        "id=%1",
        "object=",
        "object=k;object=k",
        "object=k;slot-id=0",
        "object=k;library-version=2",
        "object=k?module-name=softhsm2",
        "object=k?pin-source=%7Ccat%20/etc/passwd",
        "object=k?pin-source=https://example.org/pin",
        "object=k?pin-source=file:relative",
        "object=%FF",
        "object=k;type=secret-key",
    ],
)
def test_a163_a_key_string_that_would_choose_less_exactly_than_it_reads_is_refused(rest: str) -> None:
    assert parse_pkcs11("pkcs11:token=x;object=k;id=%A1;type=private?pin-source=file:/run/pin").pin_source == "/run/pin"
    with pytest.raises(UsageError):
        parse_pkcs11(f"pkcs11:token=x;{rest}")


def test_a163_maker_and_model_choose_the_token_too() -> None:
    info = made("model")
    seen = next(token for token in list_tokens(MODULE) if token.label == LABEL)
    name = parse_pkcs11(info.uri)
    assert name.id is not None
    uri = f"{TOKEN};id={''.join(f'%{octet:02X}' for octet in name.id)}"
    open_key(f"{uri};model={seen.model.replace(' ', '%20')}", softhsm(), expected=info.public_key).close()
    for other in ("model=Other", "manufacturer=Other"):
        with pytest.raises(KeyUnavailable, match="token is not there"):
            open_key(f"{uri};{other}", softhsm())
