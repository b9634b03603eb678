"""Digests as vendors publish them: every usual shape is read, and whatever is not understood is never "nothing to check"."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from sealwright.errors import DiffersFromSource, LimitExceeded, NothingCompared, SealwrightError, UsageError
from sealwright.plant.comparing import Source, check_same, check_strong, states
from sealwright.plant.digestlist import parse_digest_list

CONTENT = b"firmware of a drive, version 2.4"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SHA512 = hashlib.sha512(CONTENT).hexdigest()
SHA1 = hashlib.sha1(CONTENT, usedforsecurity=False).hexdigest()
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
OTHER = hashlib.sha256(b"other").hexdigest()
NAME = "drive.bin"
CERTUTIL = "CertUtil: -hashfile command completed successfully."
SPACED = " ".join(SHA256[i : i + 2] for i in range(0, 64, 2))
TABLE = f"""
Algorithm       Hash                                                                   Path
---------       ----                                                                   ----
SHA256          {SHA256.upper()}       C:\\Users\\ot\\drive.bin


"""
LISTED = f"""

Algorithm : SHA256
Hash      : {SHA256.upper()}
Path      : C:\\Users\\a rather long name of somebody\\Downloads\\a folder\\of the vendor
            \\drive.bin



"""
RELEASE = f"""Origin: ACME
Suite: stable
MD5Sum:
 {MD5} 32 pool/drive.bin
SHA256:
 {SHA256} 32 pool/drive.bin
 {OTHER} 5 pool/other.bin
"""
OPKG = f"""Package: drive
Version: 2.4
Filename: drive.bin
Size: 32
SHA256sum: {SHA256}
Description:  what it is
 on several lines
Description-md5: {MD5}

Package: other
Filename: other.bin
SHA256sum: {OTHER}
"""
SHAPES = {
    "coreutils": f"{SHA256}  {NAME}\n",
    "coreutils, binary": f"{SHA256} *{NAME}\n",
    "coreutils, one space": f"{SHA256} {NAME}\n",
    "a tab": f"{SHA256}\t{NAME}\n",
    "space in front": f"   {SHA256}  {NAME}\n",
    "upper case": f"{SHA256.upper()}  {NAME}\n",
    "no line feed at the end": f"{SHA256}  {NAME}",
    "CR LF": f"{SHA256}  {NAME}\r\n{OTHER}  other.bin\r\n",
    "with a folder": f"{SHA256}  ./release/2.4/{NAME}\n",
    "comments and empty lines": f"# ACME 2.4\n\n{OTHER}  other.bin\n\n{SHA256}  {NAME}\n",
    "BSD": f"SHA256 ({NAME}) = {SHA256}\n",
    "openssl 3": f"SHA2-256({NAME})= {SHA256}\n",
    "openssl 1": f"SHA256({NAME})= {SHA256}\n",
    "openssl, standard input": f"SHA2-256(stdin)= {SHA256}\n",
    "openssl 1, standard input": f"(stdin)= {SHA256}\n",
    "bare": f"{SHA256}\n",
    "bare, labelled": f"sha256:{SHA256}\n",
    "bare, labelled and spaced": f"SHA-256: {SHA256}\n",
    "SHA-512": f"{SHA512}  {NAME}\n",
    "certutil": f"SHA256 hash of {NAME}:\r\n{SHA256}\r\n{CERTUTIL}\r\n",
    "certutil of Windows 7": f"SHA256 hash of file {NAME}:\r\n{SPACED}\r\n{CERTUTIL}\r\n",
    "certutil, German": f"SHA256-Hash von {NAME}:\r\n{SHA256}\r\nCertUtil: -hashfile-Befehl wurde erfolgreich ausgeführt.\r\n",
    "PowerShell, table": TABLE,
    "PowerShell, list": LISTED,
    "PowerShell, CSV": f'#TYPE Microsoft.PowerShell.Utility.FileHash\n"Algorithm","Hash","Path"\n"SHA256","{SHA256.upper()}","C:\\x\\{NAME}"\n',
    "CSV": f"File,Version,SHA-256\nother.bin,2.4,{OTHER}\n{NAME},2.4,{SHA256}\n",
    "Debian": RELEASE,
    "opkg": OPKG,
    "several algorithms": f"MD5 ({NAME}) = {MD5}\nSHA256 ({NAME}) = {SHA256}\nSHA512 ({NAME}) = {SHA512}\n",
}


def source(folder: Path, data: str | bytes) -> Source:
    path = folder / "SUMS"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return Source(str(path))


def agreed(said: Source, name: str = NAME, content: bytes = CONTENT) -> None:
    """Raises where it does not make the file `compared`."""
    wanted = said.wanted(name)
    found = states(wanted.algorithms)
    for state in found.values():
        state.update(content)
    check_same(wanted, {key: state.digest() for key, state in found.items()}, name)
    check_strong(wanted, name)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_every_usual_shape_agrees_with_the_file_and_refuses_another_one(
    shape: str, encoding: str, tmp_path: Path
) -> None:
    said = source(tmp_path, SHAPES[shape].encode(encoding))
    agreed(said)
    with pytest.raises(DiffersFromSource, match="Do not install it"):
        agreed(said, content=CONTENT + b"!")


@pytest.mark.parametrize(
    "command",
    [["sha256sum"], ["sha512sum", "-b"], ["sha384sum", "--tag"], ["openssl", "dgst", "-sha256"], ["openssl", "dgst", "-r", "-sha512"],
     ["cksum", "-a", "sha256"], ["shasum", "-a", "256"]],
)  # fmt: skip
@pytest.mark.parametrize(
    "name", [NAME, "with space.bin", "(x) = y).bin", "*star.bin", "back\\slash.bin", "ümlaut.bin", "a\\n.bin"]
)
def test_what_the_programs_themselves_print_agrees(command: list[str], name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(CONTENT)
    printed = subprocess.run([*command, name], cwd=tmp_path, capture_output=True, check=True, timeout=60).stdout
    agreed(source(tmp_path, printed), name)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (f"sha256:{SHA256}", "anything"),
        (f"sha256:{SHA256.upper()}", NAME),
        (f"SHA-256:{SHA256}", NAME),
        (f"sha512:{SHA512}", NAME),
    ],
)
def test_a_digest_that_was_told_agrees(given: str, name: str) -> None:
    agreed(Source(given), name)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("", "no digest in it"),
        ("\n\n# nothing\n", "no digest in it"),
        ("\ufeff", "no digest in it"),
        (f"{SHA256[:-1]}  {NAME}\n", "line 1: a digest of 63 digits: it is cut off"),
        (f"{SHA256[:-2]}  {NAME}\n", "line 1: a digest of 62 digits"),
        (f"{SHA256}0\n", "65 digits"),
        (f"SHA512 ({NAME}) = {SHA256}\n", "a digest of 64 digits: it is cut off, or none of sha512"),
        (f"SHA-999 ({NAME}) = {SHA256}\n", "the algorithm SHA-999 is not known"),
        (f"HMAC-SHA2-256({NAME})= {SHA256}\n", "the algorithm HMAC-SHA2-256 is not known"),
        (f"SHA3-256({NAME})= {SHA256}\n", "it has sha3256 of drive.bin, which nobody compares here"),
        (f"{hashlib.sha224(CONTENT).hexdigest()}  {NAME}\n", "it has sha224"),
        (f"{OTHER}  other.bin\n", "1 digests were read, none of them for drive.bin; there are other.bin"),
        (f"{SHA256}  Drive.bin\n", "--listed-as|none of them for drive.bin; there are Drive.bin"),
        (f"{SHA256}  {NAME}\n{OTHER}  {NAME}\n", "two different digests .sha256. for drive.bin, one of them in line 2"),
        (f"{SHA256}  a/{NAME}\n{OTHER}  b/{NAME}\n", "two different digests"),
        (f"{SHA256}\n{OTHER}\n", "two different digests"),
        (f"{SHA256}\n{OTHER}  {NAME}\n", "line 1 has a digest without a name, among others"),
        (f"{OTHER}  {NAME}.sig\nsha256 of {NAME} is on our page\n", "line 2: 'sha256 of drive.bin is on our page' is not"),
        (f"{SHA256}  {NAME}\n{OTHER} -> {NAME}? no\x00", "zero bytes"),
        (f"<!DOCTYPE html><html>{SHA256}  {NAME}</html>", "it is a web page"),
        (f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{SHA256}  {NAME}\n", "signed inside .PGP."),
        (TABLE.replace("C:\\Users\\ot\\drive.bin", "C:\\Users\\o..."), "not whole; have it written with `| Format-List`"),
        (TABLE.replace(SHA256.upper(), SHA256.upper()[:50] + "..."), "not whole"),
        (f"SHA256 hash of {NAME}:\r\n{SHA256}\r\n", "line 3: the last line of certutil is missing"),
        (f"SHA256 hash of {NAME}:\r\nCertUtil: -hashfile command FAILED: 0x80070002\r\n", "behind the first line of certutil"),
        (f"Hachage SHA256 de {NAME} :\r\n{SHA256}\r\nCertUtil: OK\r\n", "is not understood"),
        (f"Name: {NAME}\nName: other.bin\nSHA256: {SHA256}\n", "several names"),
        (f"Filename: {NAME}\nSHA256sum:{SHA256}\n", "is not understood"),
        (f"Filename: {NAME}\nSHA256sum: none\n", "SHA256sum is no digest in hexadecimal"),
        (f"Filename: {NAME}\nX-Sum: {SHA256}\n", "has a digest in it that is not understood"),
        (f"Filename: {NAME}\nX-Sum:\n  {SHA256}\n", "has a digest in it that is not understood"),
        (f"SHA256:\n {SHA256} 32 {NAME}\n {OTHER}\n", "wanted is a digest, a size and a name"),
        (f"File,SHA-256\n{NAME}\n", "the row has 1 cells, the heading 2"),
        (f"File,SHA-256\n{NAME},\n", "no digest in it"),
        (f"File,SHA-256\n{NAME},see page\n", "the column sha256 has no digest"),
        (f"File,Name,SHA-256\n{NAME},x,{SHA256}\n", "names several for the file's name"),
        (b"\xff\xfe\x00", "it begins as UTF-16 and is none"),
        (f"{SHA256}  {NAME}".encode("utf-16-le"), "zero bytes"),
        (f"\\{SHA256}  a\\xb\n", "escaped in another way"),
        ("1219131554 32 drive.bin\n", "line 1: a digest of 10 digits"),
        (f"{'0' * 9000}  {NAME}\n", "longer than"),
    ],
)  # fmt: skip
def test_a033_what_is_not_understood_is_never_nothing_to_check(data: str | bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(NothingCompared, match=words):
        agreed(source(tmp_path, data))


@pytest.mark.parametrize("data", [f"{MD5}  {NAME}\n", f"SHA1 ({NAME}) = {SHA1}\n", f"{MD5}  {NAME}\n{SHA1}  {NAME}\n"])
def test_md5_and_sha1_find_damage_and_make_nothing_compared(data: str, tmp_path: Path) -> None:
    with pytest.raises(NothingCompared, match="agreed, which finds damage and stops no attacker"):
        agreed(source(tmp_path, data))
    with pytest.raises(DiffersFromSource):
        agreed(source(tmp_path, data), content=b"damaged")


def test_a_weak_digest_that_differs_refuses_beside_a_strong_one_that_agrees(tmp_path: Path) -> None:
    agreed(source(tmp_path, f"{MD5}  {NAME}\n{SHA256}  {NAME}\n"))
    with pytest.raises(DiffersFromSource, match="its md5 is"):
        agreed(source(tmp_path, f"{MD5[::-1]}  {NAME}\n{SHA256}  {NAME}\n"))


def test_the_path_in_the_list_decides_between_files_of_one_name(tmp_path: Path) -> None:
    said = source(tmp_path, f"{SHA256}  a/{NAME}\n{OTHER}  b/{NAME}\n")
    agreed(said, f"a/{NAME}")
    with pytest.raises(DiffersFromSource):
        agreed(said, f"b/{NAME}")


@pytest.mark.parametrize("given", ["sha256:", "sha256:zz", f"sha256:{SHA256[:-1]}", f"sha512:{SHA256}", SHA256])
def test_a_digest_told_that_is_none_is_a_wrong_command(given: str) -> None:
    with pytest.raises((UsageError, SealwrightError)):
        Source(given)


def test_a_list_that_never_ends_is_not_read() -> None:
    with pytest.raises(LimitExceeded):
        parse_digest_list(b"0" * (5 << 20), "SUMS")
    with pytest.raises(LimitExceeded, match="more than 100000 digests"):
        parse_digest_list(b"%032x\n" % 7 * 100_001, "SUMS")


@pytest.mark.parametrize("name", ["evil\x1b[2J.bin", "evil\u202egnp.bin"])
def test_a_name_in_a_list_cannot_write_on_the_screen(name: str, tmp_path: Path) -> None:
    with pytest.raises(NothingCompared) as caught:
        source(tmp_path, f"{SHA256}  {name}\n").wanted(NAME)
    assert "\x1b" not in str(caught.value)
    assert "\u202e" not in str(caught.value)
