"""Keys in files, tokens and a TPM: what they sign, what they never give away, and how they fail."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from kit.openssl import run
from kit.pki import Pki, Signer, p7s, soft_key
from kit.tokens import LABEL, PIN, TOKEN, make_token, softhsm, tpm
from sealwright.envelope.algorithms import ECDSA_SHA256, RSA_SHA256, key_digest
from sealwright.envelope.cms_write import to_be_signed
from sealwright.envelope.tobesigned import Kind, ToBeSigned
from sealwright.errors import KeyRefused, KeyUnavailable, OutputRefused, SealwrightError, UsageError
from sealwright.keys.attestation import attestation_text, check_attestation, read_attestation
from sealwright.keys.backends import attest, create_key, open_key
from sealwright.keys.checked import SignatureCheck
from sealwright.keys.file import MANY, FileKey, raw_signature
from sealwright.keys.key import KeyKind, Provenance
from sealwright.keys.pin import Pin
from sealwright.keys.pkcs11 import TokenKey, list_token_keys, list_tokens
from sealwright.keys.tpm import open_tpm_key
from sealwright.keys.uri import parse_pkcs11

FILE_KINDS = [kind for kind in KeyKind if kind is not KeyKind.RSA4096_PSS]
TOKEN_KINDS = [KeyKind.P256, KeyKind.P384, KeyKind.P521, KeyKind.RSA3072, KeyKind.RSA3072_PSS, KeyKind.ED25519]
MESSAGE = b"signed attributes"


def one(kind: KeyKind, message: bytes = MESSAGE) -> list[ToBeSigned]:
    return [to_be_signed(message, kind.algorithm)]


@pytest.mark.parametrize("kind", FILE_KINDS)
def test_a_key_file_signs_and_only_its_owner_can_read_it(tmp_path: Path, kind: KeyKind) -> None:
    path = tmp_path / "release.pem"
    info = create_key(f"file:{path}", kind)
    assert path.stat().st_mode & 0o777 == 0o600
    assert info.provenance is Provenance.DEVELOPMENT
    with closing(open_key(info.uri, algorithm=kind.algorithm, expected=info.public_key)) as key:
        assert len(key.sign(one(kind) * 3)) == 3
    with pytest.raises(OutputRefused):
        create_key(f"file:{path}", kind)
    path.chmod(0o640)
    with pytest.raises(KeyRefused, match="other users can read"):
        open_key(info.uri)


def test_a_signature_of_a_key_file_verifies_with_openssl(tmp_path: Path) -> None:
    info = create_key(f"file:{tmp_path / 'k.pem'}", KeyKind.P256)
    data, value, public = (tmp_path / name for name in ("data", "sig", "pub.pem"))
    data.write_bytes(MESSAGE)
    with closing(open_key(info.uri)) as key:
        value.write_bytes(key.sign(one(KeyKind.P256))[0])
    public.write_bytes(info.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    verify = ["openssl", "dgst", "-sha256", "-verify", public, "-signature", value, data]
    assert run(verify)[0]
    data.write_bytes(MESSAGE + b"x")
    assert not run(verify)[0]


def test_an_encrypted_key_file_wants_its_passphrase(tmp_path: Path) -> None:
    info = create_key(f"file:{tmp_path / 'k.pem'}", KeyKind.P256, Pin("secret"))
    open_key(info.uri, Pin("secret")).close()
    for pin in (None, Pin("wrong")):
        with pytest.raises(KeyUnavailable):
            open_key(info.uri, pin)


def test_a010_keys_below_the_floor_do_not_sign(tmp_path: Path) -> None:
    good = create_key(f"file:{tmp_path / 'good.pem'}", KeyKind.RSA3072)
    open_key(good.uri).close()
    for name, private in (
        ("rsa2048", rsa.generate_private_key(65537, 2048)),
        ("e3", rsa.generate_private_key(3, 3072)),
        ("k256", ec.generate_private_key(ec.SECP256K1())),
        ("p224", ec.generate_private_key(ec.SECP224R1())),
    ):
        path = tmp_path / f"{name}.pem"
        path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        path.chmod(0o600)
        with pytest.raises(SealwrightError):
            open_key(f"file:{path}")


def test_another_key_in_the_place_of_the_enrolled_one_is_refused(tmp_path: Path) -> None:
    enrolled = create_key(f"file:{tmp_path / 'a.pem'}", KeyKind.P256)
    open_key(enrolled.uri, expected=enrolled.public_key).close()
    other = create_key(f"file:{tmp_path / 'b.pem'}", KeyKind.P256)
    with pytest.raises(KeyRefused, match="not the one that was enrolled"):
        open_key(other.uri, expected=enrolled.public_key)


@pytest.mark.parametrize(
    "wrong",
    [
        ToBeSigned(Kind.DIGEST, b"x" * 31, ECDSA_SHA256),
        ToBeSigned(Kind.DIGEST, b"", ECDSA_SHA256),
        ToBeSigned(Kind.DIGEST, b"x" * 48, ECDSA_SHA256),
        ToBeSigned(Kind.MESSAGE, b"x" * 32, ECDSA_SHA256),
        ToBeSigned(Kind.DIGEST, b"x" * 32, RSA_SHA256),
    ],
)
def test_a_key_signs_its_own_algorithm_and_length_and_nothing_else(wrong: ToBeSigned) -> None:
    key = soft_key()
    assert key.sign(one(KeyKind.P256))
    with pytest.raises(KeyRefused):
        key.sign([*one(KeyKind.P256), wrong])


def test_a013_a_value_that_does_not_verify_never_leaves() -> None:
    key = soft_key()
    check = SignatureCheck(key.info)
    (asked,) = one(KeyKind.P256)
    value = key.sign([asked])[0]
    check.after(asked, value)
    for bad in (value[:-1] + bytes([value[-1] ^ 1]), b"", soft_key().sign([asked])[0]):
        with pytest.raises(KeyRefused, match="its own public key refuses"):
            check.after(asked, bad)


def test_a013_many_signed_by_several_threads_are_in_order_and_none_leaves_unverified() -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    info = replace(soft_key().info, public_key=private.public_key())
    many = [asked for number in range(2 * MANY + 1) for asked in one(KeyKind.P256, b"%d" % number)]
    check = SignatureCheck(info)
    with closing(FileKey(info, private)) as key:
        for asked, value in zip(many, key.sign(many), strict=True):
            check.after(asked, value)
    with (
        closing(FileKey(soft_key().info, private)) as key,
        pytest.raises(KeyRefused, match="its own public key refuses"),
    ):
        key.sign(many)


def test_a012_a_nonce_used_twice_stops_the_key() -> None:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

    private = ec.generate_private_key(ec.SECP256R1())
    deterministic = ec.ECDSA(Prehashed(hashes.SHA256()), deterministic_signing=True)
    key = soft_key()
    check = SignatureCheck(type(key.info)(key.info.uri, private.public_key(), ECDSA_SHA256, key.info.provenance, ""))
    (first,), (second,) = one(KeyKind.P256), one(KeyKind.P256, b"another")
    check.after(first, private.sign(first.data, deterministic))
    check.after(first, private.sign(first.data, deterministic))
    check._nonces = type(check._nonces)((nonce, second.data) for nonce in check._nonces)
    with pytest.raises(KeyRefused, match="nonce twice"):
        check.after(first, private.sign(first.data, deterministic))


def test_a129_a_pin_shows_itself_nowhere(tmp_path: Path) -> None:
    pin = Pin("471147")
    assert "471147" not in f"{pin!r} {pin} {vars(Pin)}"
    path = tmp_path / "pin"
    path.write_text("471147\n")
    path.chmod(0o600)
    assert Pin.from_file(str(path)).reveal() == "471147"
    path.chmod(0o644)
    with pytest.raises(KeyRefused):
        Pin.from_file(str(path))
    with pytest.raises(KeyRefused, match="every process list"):
        parse_pkcs11("pkcs11:token=x;object=y?pin-value=471147")


@pytest.mark.parametrize("kind", TOKEN_KINDS)
def test_a_token_makes_a_key_that_never_leaves_and_signs(kind: KeyKind) -> None:
    pin = softhsm()
    info = create_key(f"{TOKEN};object=made-{kind}-{os.getpid()}", kind, pin)
    assert info.provenance is Provenance.HARDWARE_CLAIMED
    flags = dict(info.attributes)
    assert flags == {
        "CKA_SENSITIVE": "true",
        "CKA_ALWAYS_SENSITIVE": "true",
        "CKA_NEVER_EXTRACTABLE": "true",
        "CKA_LOCAL": "true",
        "CKA_EXTRACTABLE": "false",
    }
    with closing(open_key(info.uri, pin, algorithm=kind.algorithm, expected=info.public_key)) as key:
        assert len(key.sign(one(kind) * 130)) == 130 if kind is KeyKind.P256 else key.sign(one(kind))
    with pytest.raises(KeyUnavailable, match="already in the token"):
        create_key(f"{TOKEN};object=made-{kind}-{os.getpid()}", kind, pin)


def test_another_program_agrees_that_the_key_cannot_be_read() -> None:
    pin = softhsm()
    name = f"opensc-{os.getpid()}"
    create_key(f"{TOKEN};object={name}", KeyKind.P256, pin)
    module = list_tokens("/usr/lib/softhsm/libsofthsm2.so")[0].module
    tool = ["pkcs11-tool", "--module", module, "--token-label", LABEL, "--login", "--pin", PIN]
    said = run([*tool, "--list-objects", "--type", "privkey", "--label", name])[1]
    assert "sensitive, always sensitive, never extractable, local" in said
    code = (
        "import sys, pkcs11; from pkcs11 import Attribute, ObjectClass\n"
        "session = pkcs11.lib(sys.argv[1]).get_token(token_label=sys.argv[2]).open(user_pin=sys.argv[3])\n"
        "key = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=sys.argv[4])\n"
        "try: print(key[Attribute.VALUE])\n"
        "except pkcs11.PKCS11Error as refused: print(type(refused).__name__)"
    )
    assert "AttributeSensitive" in run([sys.executable, "-c", code, module, LABEL, PIN, name])[1]


def token_key(name: str) -> TokenKey:
    pin = softhsm()
    info = create_key(f"{TOKEN};object={name}-{os.getpid()}", KeyKind.P256, pin)
    key = open_key(info.uri, pin, expected=info.public_key)
    assert isinstance(key, TokenKey)
    return key


def test_a165_a_worker_killed_in_the_middle_is_replaced_once() -> None:
    with closing(token_key("killed")) as key:
        assert key.sign(one(KeyKind.P256))
        assert key._worker is not None
        os.kill(key._worker.pid, signal.SIGKILL)
        assert len(key.sign(one(KeyKind.P256) * 100)) == 100


def test_a165_a_worker_that_hangs_is_given_up() -> None:
    with closing(token_key("hangs")) as key:
        assert key.sign(one(KeyKind.P256))
        assert key._worker is not None
        key.timeout_s = 0.5
        os.kill(key._worker.pid, signal.SIGSTOP)
        assert len(key.sign(one(KeyKind.P256))) == 1  # by the worker that replaced it


def test_a165_a_token_that_goes_away_is_an_error_and_nothing_is_signed(tmp_path: Path) -> None:
    pin = softhsm()
    before = os.environ["SOFTHSM2_CONF"]
    os.environ["SOFTHSM2_CONF"] = str(make_token(tmp_path, "gone"))
    try:
        info = create_key("pkcs11:token=gone;object=k", KeyKind.P256, pin)
        with closing(open_key(info.uri, pin)) as key:
            assert key.sign(one(KeyKind.P256))
            shutil.rmtree(tmp_path / "tokens")
            (tmp_path / "tokens").mkdir()
            with pytest.raises(KeyUnavailable):
                key.sign(one(KeyKind.P256))
        with pytest.raises(KeyUnavailable, match="token is not there"):
            open_key(info.uri, pin)
    finally:
        os.environ["SOFTHSM2_CONF"] = before


def test_a161_a_wrong_pin_is_tried_once_and_named() -> None:
    with closing(token_key("pin")) as key:
        uri = key.info.uri
        assert key.sign(one(KeyKind.P256))
    with pytest.raises(KeyUnavailable, match="wrong; it was tried once"):
        open_key(uri, Pin("000000"))


def test_a129_the_pin_is_in_no_process_list() -> None:
    with closing(token_key("secret")) as key:
        assert key._worker is not None
        process = Path(f"/proc/{key._worker.pid}")
        assert PIN.encode() not in (process / "cmdline").read_bytes()
        assert PIN.encode() not in (process / "environ").read_bytes()


def test_a162_an_imported_or_extractable_key_is_told_apart(tmp_path: Path) -> None:
    pin = softhsm()
    private = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path / "imported.pem"
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    name = f"imported-{os.getpid()}"
    assert run(["softhsm2-util", "--import", path, "--token", LABEL, "--label", name, "--id", "abcd", "--pin", PIN])[0]
    with closing(open_key(f"{TOKEN};object={name}", pin)) as key:
        assert key.info.provenance is Provenance.HARDWARE_IMPORTED
    open_name = f"open-{os.getpid()}"
    module = list_tokens("/usr/lib/softhsm/libsofthsm2.so")[0].module
    tool = ["pkcs11-tool", "--module", module, "--token-label", LABEL, "--login", "--pin", PIN]
    extractable = ["--keypairgen", "--key-type", "EC:prime256v1", "--label", open_name, "--id", "beef", "--extractable"]
    assert run([*tool, *extractable])[0]
    with pytest.raises(KeyRefused, match="give the private key away"):
        open_key(f"{TOKEN};object={open_name}", pin)
    seen = {entry.label: entry for entry in list_token_keys(TOKEN, pin)}
    assert seen[open_name].problem
    assert seen[name].provenance == "hardware-imported"


def test_a_key_opened_before_a_fork_does_not_sign_in_the_child() -> None:
    with closing(token_key("fork")) as key:
        assert key.sign(one(KeyKind.P256))
        child = os.fork()
        if child == 0:
            try:
                key.sign(one(KeyKind.P256))
            except KeyUnavailable:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@pytest.mark.parametrize(
    "uri", ["release", "smartcard:x", "pkcs11:token=x", "pkcs11:object=y", "pkcs11:token", "pkcs11:colour=red", "file:"]
)
def test_key_strings_that_say_too_little_are_usage_errors(uri: str) -> None:
    softhsm()
    with pytest.raises(UsageError):
        open_key(uri, Pin("x"))


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.P384, KeyKind.RSA3072])
def test_a_tpm_makes_a_key_signs_and_proves_where_it_lives(tmp_path: Path, kind: KeyKind) -> None:
    tpm()
    info = create_key(f"tpm:{tmp_path / 'k.tss'}", kind)
    with closing(open_tpm_key(info.uri)) as key:
        (value,) = key.sign(one(kind))
        nonce = os.urandom(16)
        proof = key.certify(nonce)
    check_value(tmp_path, info.public_key, kind, value)
    assert check_attestation(read_attestation(attestation_text(proof).encode(), "a"), info.public_key, nonce, "k")
    for other, challenge in ((soft_key().info.public_key, nonce), (info.public_key, b"another")):
        with pytest.raises(KeyRefused):
            check_attestation(proof, other, challenge, "k")
    text = attestation_text(proof)
    refused = 0
    for field in ("public", "attest", "signature", "attestation_key"):
        data = getattr(proof, field)
        changed = text.replace(data.hex(), (data[:-1] + bytes([data[-1] ^ 1])).hex())
        with pytest.raises(KeyRefused):
            check_attestation(read_attestation(changed.encode(), "a"), info.public_key, nonce, "k")
        refused += 1
    assert refused == 4


def check_value(folder: Path, public: object, kind: KeyKind, value: bytes) -> None:
    """OpenSSL agrees with the TPM's signature."""
    (folder / "pub.pem").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))  # type: ignore[attr-defined]
    (folder / "sig").write_bytes(value)
    (folder / "data").write_bytes(MESSAGE)
    digest = f"-{kind.algorithm.digest}"
    verify = ["openssl", "dgst", digest, "-verify", folder / "pub.pem", "-signature", folder / "sig", folder / "data"]
    assert run(verify)[0]


def test_a_key_bound_to_registers_stops_signing_when_they_change(tmp_path: Path) -> None:
    from sealwright.keys.tpm import create_tpm_key

    tpm()
    assert run(["tpm2_pcrreset", "16"])[0]
    info = create_tpm_key(str(tmp_path / "bound.tss"), KeyKind.P256, "sha256:16")
    with closing(open_tpm_key(info.uri)) as key:
        assert key.sign(one(KeyKind.P256))
    assert run(["tpm2_pcrextend", "16:sha256=" + "11" * 32])[0]
    with closing(open_tpm_key(info.uri)) as key, pytest.raises(KeyUnavailable, match="not what the key is bound to"):
        key.sign(one(KeyKind.P256))
    assert run(["tpm2_pcrreset", "16"])[0]
    with closing(open_tpm_key(info.uri)) as key:
        assert key.sign(one(KeyKind.P256))


def test_a_tpm_key_with_a_wrong_authorisation_or_damaged_file_is_refused(tmp_path: Path) -> None:
    tpm()
    info = create_key(f"tpm:{tmp_path / 'k.tss'}", KeyKind.P256)
    open_tpm_key(info.uri).close()
    auth = tmp_path / "k.tss.auth"
    good = auth.read_text()
    auth.write_text("00" * 32)
    with closing(open_tpm_key(info.uri)) as key, pytest.raises(KeyUnavailable, match="authorisation"):
        key.sign(one(KeyKind.P256))
    auth.write_text(good)
    auth.chmod(0o644)
    with pytest.raises(KeyRefused, match="other users"):
        open_tpm_key(info.uri)
    auth.chmod(0o600)
    (tmp_path / "k.tss").write_text("nonsense")
    with pytest.raises(KeyUnavailable):
        open_tpm_key(info.uri)


def test_a_certificate_can_be_issued_by_a_key_in_a_token_or_tpm(tmp_path: Path) -> None:
    from kit.pki import NOW
    from sealwright.pki.authority import Issuer, Subject, issue
    from sealwright.pki.profiles import ROOT

    tpm()
    info = create_key(f"tpm:{tmp_path / 'root.tss'}", KeyKind.P256)
    with closing(open_key(info.uri)) as key, closing(token_key("root")) as other:
        keys: Sequence[object] = (key, other)
        for number, root in enumerate(keys):
            der = issue(ROOT, Subject("root"), root.info.public_key, Issuer(root), NOW, root.info.provenance)  # type: ignore[attr-defined,arg-type]
            path = tmp_path / f"{number}.der"
            path.write_bytes(der)
            pem = tmp_path / f"{number}.pem"
            assert run(["openssl", "x509", "-inform", "DER", "-in", path, "-out", pem])[0]
            assert run(["openssl", "verify", "-check_ss_sig", "-CAfile", pem, pem])[0]


def test_what_a_backend_says_of_a_key_is_called_by_its_name(tmp_path: Path) -> None:
    tpm()
    with closing(token_key("said")) as key:
        uri = key.info.uri
    assert "not an attestation" in attest(uri, softhsm())
    info = create_key(f"tpm:{tmp_path / 'k.tss'}", KeyKind.P256)
    assert read_attestation(attest(info.uri).encode(), "a")
    plain = create_key(f"file:{tmp_path / 'k.pem'}", KeyKind.P256)
    with pytest.raises(KeyRefused):
        attest(plain.uri)


def test_a_signature_of_a_token_is_one_like_any_other(tmp_path: Path) -> None:
    pki = Pki.make()
    with closing(token_key("cms")) as key:
        signer = Signer(pki.leaf(key=key).certificate, (pki.intermediate.certificate,), key)  # type: ignore[arg-type]
        data = b"firmware"
        (tmp_path / "f").write_bytes(data)
        (tmp_path / "f.p7s").write_bytes(p7s(signer, data))
        (tmp_path / "ca.pem").write_text(pki.root.pem)
    from kit.openssl import cms_verify

    assert cms_verify(tmp_path / "f.p7s", tmp_path / "f", tmp_path / "ca.pem")[0]


def test_raw_signatures_are_only_made_behind_the_checks() -> None:
    key = soft_key()
    (asked,) = one(KeyKind.P256)
    private = key._private
    assert private is not None
    SignatureCheck(key.info).after(asked, raw_signature(private, asked))
    assert key_digest(key.info.public_key)
    key.close()
    with pytest.raises(KeyUnavailable):
        key.sign([asked])
    assert subprocess.run(["true"], check=True).returncode == 0
