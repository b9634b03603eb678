"""The manifest of a bundle and its signature, made with the Sealwright that is in the commit, and looked at again with OpenSSL."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bundling.refused import BundleRefused
from bundling.source import Source


@dataclass(frozen=True, slots=True)
class Signer:
    """A signing home, the key in it ("" for its first), the file with the token's PIN ("" for none)."""

    home: Path
    key: str = ""
    pin_file: str = ""


def development(source: Source, cache: Path) -> Signer:
    """A home with development keys, made once: what it signs says DEVELOPMENT, and no production rule accepts it."""
    home = cache / "development-home"
    if not (home / "home.toml").is_file():
        shutil.rmtree(home, ignore_errors=True)
        _sealwright(source, "init", str(home))
    return Signer(home)


def signed(source: Source, folder: Path, signer: Signer) -> None:
    """Write FOLDER.manifest, FOLDER.manifest.p7s and FOLDER.ca.pem beside the folder; BundleRefused if OpenSSL does not agree."""
    words = ["sign", str(folder), "--home", str(signer.home), "--product", "Sealwright", "--version", source.version]
    words += ["--generation", str(source.generation)]
    words += ["--key", signer.key] if signer.key else []
    words += ["--pin-file", signer.pin_file] if signer.pin_file else []
    _sealwright(source, *words)
    authority = folder.with_name(folder.name + ".ca.pem")
    shutil.copyfile(signer.home / "ca.pem", authority)
    manifest = folder.with_name(folder.name + ".manifest")
    check = [
        "openssl",
        "cms",
        "-verify",
        "-binary",
        "-inform",
        "DER",
        "-in",
        f"{manifest}.p7s",
        "-content",
        str(manifest),
    ]
    check += ["-CAfile", str(authority), "-purpose", "any", "-out", os.devnull]
    if (done := subprocess.run(check, capture_output=True, text=True)).returncode:
        why = done.stderr.strip().splitlines()[-1]
        raise BundleRefused(f"{manifest}.p7s", f"OpenSSL does not accept it: {why}", "See docs/releasing.md.")


def _sealwright(source: Source, *words: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(source.folder / "src")}
    # a PIN may be asked for on the terminal; what is said of success names the folder it is made in, and nobody needs it
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sealwright", *words], env=environment, stdout=subprocess.DEVNULL
    )
    if done.returncode:
        raise BundleRefused(
            "the signature", f"`sealwright {words[0]}` refused, see above", "Mend that, then try again."
        )
