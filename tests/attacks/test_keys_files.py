"""Attacks on keys in files, on weak keys and on the secrets beside them (A010, A012, A129, A167)."""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kit.openssl import run
from kit.tokens import PIN, TOKEN, softhsm
from sealwright.envelope.algorithms import ECDSA_SHA256
from sealwright.envelope.cms_write import to_be_signed
from sealwright.errors import KeyRefused, KeyUnavailable, SealwrightError, UsageError
from sealwright.keys.backends import create_key, open_key
from sealwright.keys.checked import SignatureCheck
from sealwright.keys.key import KeyInfo, KeyKind, Provenance
from sealwright.keys.pin import Pin, credential_pin
from sealwright.keys.pkcs11 import TokenKey

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256 (SEC 2, 2.4.2)
MESSAGE = b"signed attributes"


def signature_with_nonce(private: ec.EllipticCurvePrivateKey, digest: bytes, nonce: int) -> bytes:
    """ECDSA by hand (SEC 1, 4.1.3), as a broken token would make it: the nonce is chosen, not drawn."""
    point = ec.derive_private_key(nonce, ec.SECP256R1()).public_key().public_numbers()
    r = point.x % ORDER
    secret = private.private_numbers().private_value
    s = pow(nonce, -1, ORDER) * (int.from_bytes(digest, "big") + r * secret) % ORDER
    return encode_dss_signature(r, s)


def test_a012_one_nonce_for_two_messages_gives_the_key_away_and_stops_it() -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    check = SignatureCheck(KeyInfo("k", private.public_key(), ECDSA_SHA256, Provenance.HARDWARE_CLAIMED, "token"))
    first, second = (to_be_signed(message, ECDSA_SHA256) for message in (b"first", b"second"))
    check.after(first, signature_with_nonce(private, first.data, 7))
    check.after(first, signature_with_nonce(private, first.data, 7))  # deterministic: the same message again is fine
    check.after(second, signature_with_nonce(private, second.data, 8))
    repeated = signature_with_nonce(private, second.data, 7)
    with pytest.raises(KeyRefused, match="nonce twice"):
        check.after(second, repeated)
    r, s = decode_dss_signature(repeated)
    with pytest.raises(KeyRefused, match="nonce twice"):  # the mirrored value is the same nonce, negated
        check.after(second, encode_dss_signature(r, ORDER - s))


def write_key(path: Path, private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    return f"file:{path}"


WEAK: dict[str, Callable[[], rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey]] = {
    "rsa2048": lambda: rsa.generate_private_key(65537, 2048),
    "e3": lambda: rsa.generate_private_key(3, 3072),
    "p192": lambda: ec.generate_private_key(ec.SECP192R1()),
    "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    "brainpool": lambda: ec.generate_private_key(ec.BrainpoolP256R1()),
}


@pytest.mark.parametrize("name", ["rsa1024", *WEAK])
def test_a010_a_key_below_the_floor_cannot_be_opened_to_sign(tmp_path: Path, name: str) -> None:
    open_key(write_key(tmp_path / "good.pem", rsa.generate_private_key(65537, 3072))).close()
    if name == "rsa1024":  # the library refuses to make one; OpenSSL still does
        path = tmp_path / "weak.pem"
        command: list[str | Path] = [
            "openssl",
            "genpkey",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:1024",
            "-out",
            path,
        ]
        assert run(command)[0]
        path.chmod(0o600)
        weak = f"file:{path}"
    else:
        weak = write_key(tmp_path / "weak.pem", WEAK[name]())
    with pytest.raises(SealwrightError):
        open_key(weak)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o666, 0o777])
def test_a167_a_key_or_pin_file_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    path, pin = tmp_path / "k.pem", tmp_path / "pin"
    info = create_key(f"file:{path}", KeyKind.P256)
    pin.write_text("secret\n")
    pin.chmod(0o600)
    open_key(info.uri).close()
    assert Pin.from_file(str(pin)).reveal() == "secret"
    path.chmod(mode)
    pin.chmod(mode)
    with pytest.raises(KeyRefused, match="chmod 600"):
        open_key(info.uri)
    with pytest.raises(KeyRefused, match="chmod 600"):
        Pin.from_file(str(pin))


def test_a167_a_key_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = create_key(f"file:{tmp_path / 'k.pem'}", KeyKind.P256)
    open_key(info.uri).close()
    if os.geteuid() == 0:
        os.chown(tmp_path / "k.pem", 12345, 12345)
    else:  # only root can give a file away: be somebody else instead
        monkeypatch.setattr("os.geteuid", lambda: 12345)
    with pytest.raises(KeyRefused, match="another user"):
        open_key(info.uri)


def test_a167_the_file_that_was_checked_is_the_file_that_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another file takes the name at the moment of opening: it is judged by its own mode."""
    info = create_key(f"file:{tmp_path / 'k.pem'}", KeyKind.P256)
    (tmp_path / "pin").write_text("secret\n")
    (tmp_path / "pin").chmod(0o600)
    real = os.open
    for mode in (0o600, 0o644):
        for name in ("k.pem", "pin"):
            shutil.copy(tmp_path / name, tmp_path / f"{name}.other")
            (tmp_path / f"{name}.other").chmod(mode)

        def swapping(path: str, *how: int) -> int:
            os.replace(f"{path}.other", path)
            return real(path, *how)

        with monkeypatch.context() as patched:
            patched.setattr(os, "open", swapping)
            if mode == 0o600:
                open_key(info.uri).close()
                assert Pin.from_file(str(tmp_path / "pin")).reveal() == "secret"
                continue
            with pytest.raises(KeyRefused, match="chmod 600"):
                open_key(info.uri)
            with pytest.raises(KeyRefused, match="chmod 600"):
                Pin.from_file(str(tmp_path / "pin"))


@pytest.mark.parametrize("become", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path), os.path.exists])
def test_a167_a_key_or_pin_that_is_no_file_is_refused_and_never_waited_for(
    tmp_path: Path, become: Callable[[Path], object]
) -> None:
    path = tmp_path / "k.pem"
    open_key(create_key(f"file:{path}", KeyKind.P256).uri).close()
    path.unlink()
    become(path)
    with pytest.raises(KeyUnavailable, match="cannot be opened"):
        open_key(f"file:{path}")
    with pytest.raises(UsageError, match="cannot be read"):
        Pin.from_file(str(path))


def test_a167_a_credential_with_an_access_list_is_read_and_one_for_everybody_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd gives a unit's user access by a list: the mode then shows the list's mask as the group's bits."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "sealwright-pin").write_text("secret\n")
    (tmp_path / "sealwright-pin").chmod(0o440)
    found = credential_pin()
    assert found is not None
    assert found.reveal() == "secret"
    (tmp_path / "sealwright-pin").chmod(0o444)
    with pytest.raises(KeyRefused, match="other users"):
        credential_pin()


def test_a167_a_loose_umask_does_not_open_a_new_key_file(tmp_path: Path) -> None:
    """In a process of its own: the umask belongs to all threads."""
    path = tmp_path / "k.pem"
    code = (
        "import os, sys; os.umask(0)\n"
        "from sealwright.keys.backends import create_key; from sealwright.keys.key import KeyKind\n"
        "create_key('file:' + sys.argv[1], KeyKind.P256)"
    )
    assert run([sys.executable, "-c", code, path])[0]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a167_a_link_laid_in_wait_is_not_written_through(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    (tmp_path / "k.pem").symlink_to(target)
    with pytest.raises(SealwrightError):
        create_key(f"file:{tmp_path / 'k.pem'}", KeyKind.P256)
    assert not target.exists()
    create_key(f"file:{tmp_path / 'free.pem'}", KeyKind.P256)


def test_a129_a_pin_or_passphrase_is_in_no_error_and_no_traceback(tmp_path: Path) -> None:
    secret = "8-horses-91"
    encrypted = create_key(f"file:{tmp_path / 'k.pem'}", KeyKind.P256, Pin(secret))
    open_key(encrypted.uri, Pin(secret)).close()
    token = create_key(f"{TOKEN};object=quiet-{os.getpid()}", KeyKind.P256, softhsm())
    attempts = [
        (create_key(f"file:{tmp_path / 'other.pem'}", KeyKind.P256, Pin("x")).uri, Pin(secret)),
        (token.uri, Pin(secret)),
        (f"{token.uri}&pin-value={secret}", None),
        (f"pkcs11:token=none;object=k?pin-value={secret}", None),
        (f"pkcs11:token=none;object=k?pin%2Dvalue={secret}", None),
        (f"PKCS11:token=none;object=k?PIN-VALUE={secret}", None),
        (f"hsm:?pin-value={secret}", None),
    ]
    for uri, pin in attempts:
        with pytest.raises(SealwrightError) as said:
            open_key(uri, pin)
        shown = "".join(traceback.format_exception(said.value)) + repr(said.value.args)
        assert secret not in shown


def test_a129_the_pin_is_in_no_process_of_this_machine_s_list() -> None:
    info = create_key(f"{TOKEN};object=list-{os.getpid()}", KeyKind.P256, softhsm())
    with closing(open_key(info.uri, softhsm())) as key:
        assert isinstance(key, TokenKey)
        assert key._worker is not None
        worker = Path(f"/proc/{key._worker.pid}")
        command = (worker / "cmdline").read_bytes()
        assert b"pkcs11_worker" in command
        for name in ("cmdline", "environ"):
            assert PIN.encode() not in (worker / name).read_bytes()
