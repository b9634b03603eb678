"""PowerShell's kinds of files, and osslsigncode as their other signer."""

from __future__ import annotations

from pathlib import Path

from kit.openssl import run
from kit.pki import Signer
from kit.updates import key_files

TEXT = "Get-Date\r\nWrite-Host 'h\u00e4\u00fc \U0001f600'\r\n"
FILES = {
    "crlf.ps1": TEXT.encode(),
    "mark.ps1": b"\xef\xbb\xbf" + TEXT.encode(),
    "utf16.psm1": b"\xff\xfe" + TEXT.encode("utf-16-le"),
    "lf.ps1": TEXT.replace("\r", "").encode(),
    "noend.psd1": b"@{ A = 1 }",
    "view.ps1xml": b"<?xml version='1.0'?>\r\n<Configuration/>\r\n",
    "a.mof": b"instance of X {};\r\n",
}


def signed_by_osslsigncode(plain: Path, signer: Signer, out: Path, *options: str) -> Path:
    """Microsoft's format made by another program; it never writes over a file."""
    certificate, above, key = (option.partition("=")[2] for option in key_files(plain.parent, signer))
    made, words = run(
        [
            "osslsigncode",
            "sign",
            "-h",
            "sha256",
            *options,
            "-certs",
            certificate,
            "-ac",
            above,
            "-key",
            key,
            "-in",
            plain,
            "-out",
            out,
        ]
    )
    assert made, words
    return out
