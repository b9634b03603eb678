"""Signatures and timestamps as other people's programs make them, with certificates that no issuer of ours would make."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kit.certs import Made
from kit.openssl import run

TSA = """[tsa]
default_tsa = t
[t]
serial = {folder}/serial
crypto_device = builtin
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
certs = {folder}/tsa.pem
default_policy = 1.2.3.4
digests = sha256
accuracy = secs:1
ess_cert_id_alg = {ess}
signer_digest = sha256
[usage]
basicConstraints = critical,CA:false
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
[req]
distinguished_name = dn
[dn]
"""


def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    """A key of any length, too short ones as well."""
    return rsa.generate_private_key(65537, bits)


def write_pem(folder: Path, one: Made) -> None:
    """leaf.pem and leaf.key, as other programs take them."""
    (folder / "leaf.pem").write_bytes(one.pem)
    (folder / "leaf.key").write_bytes(one.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def sign_by_openssl(path: Path, leaf: Made, digest: str, *above: Made) -> None:
    """`FILE.p7s` beside a file. above: certificates that travel with it."""
    folder = path.parent
    write_pem(folder, leaf)
    command = ["openssl", "cms", "-sign", "-cades", "-binary", "-md", digest, "-in", str(path), "-signer", "leaf.pem"]
    if above:
        (folder / "above.pem").write_bytes(b"".join(one.pem for one in above))
        command += ["-certfile", "above.pem"]
    command += ["-inkey", "leaf.key", "-outform", "DER", "-out", f"{path}.p7s"]
    accepted, words = run(command, cwd=folder)
    for name in ("leaf.pem", "leaf.key", "above.pem"):
        (folder / name).unlink(missing_ok=True)
    assert accepted, words


def stamp_by_openssl(folder: Path, request: bytes, ess: str) -> bytes:
    """The answer of OpenSSL's timestamp authority. ess: by which digest its tokens name its certificate."""
    config = folder / "tsa.cnf"
    config.write_text(TSA.format(folder=folder, ess=ess))
    (folder / "serial").write_text("01\n")
    (folder / "query").write_bytes(request)
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", folder / "tsa.key", "-config", config]
    for command in (
        [*new, "-out", folder / "tsa.pem", "-subj", "/CN=tsa", "-extensions", "usage"],
        ["openssl", "ts", "-reply", "-config", config, "-queryfile", folder / "query", "-out", folder / "answer"],
    ):
        accepted, words = run(command)
        assert accepted, words
    return (folder / "answer").read_bytes()
