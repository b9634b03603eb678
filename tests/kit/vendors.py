"""Vendors who sign as they always did: with gpg, minisign and `openssl dgst`, each with real keys of theirs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path


class Gpg:
    """A vendor's GnuPG with a folder of its own. Commands run at `at`, a date like 20260101T000000, else now."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700)
        (folder / "gpg.conf").write_text("allow-weak-digest-algos\n")

    def __call__(self, *arguments: str | Path, at: str = "", text: str = "") -> str:
        """What it says on stdout."""
        begin = [
            "gpg",
            "--homedir",
            self.folder,
            "--batch",
            "--yes",
            "--quiet",
            "--pinentry-mode",
            "loopback",
            "--passphrase",
            "",
        ]
        clock = ["--faked-system-time", at] if at else []
        done = subprocess.run(
            [str(one) for one in (*begin, *clock, *arguments)], input=text.encode(), capture_output=True, timeout=120, check=False
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout.decode(errors="replace")

    def key(self, name: str, kind: str = "rsa2048", expires: str = "never", at: str = "") -> str:
        """A new key; its fingerprint."""
        self("--quick-generate-key", name, kind, "sign", expires, at=at)
        listed = self("--list-keys", "--with-colons", f"={name}", at=at)
        return next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))

    def export(self, name: str, path: Path, *options: str) -> Path:
        """The public key file."""
        self("--output", path, *options, "--export", f"={name}")
        return path

    def sign(self, file: Path, name: str, *options: str, at: str = "") -> Path:
        """FILE.asc beside a file."""
        target = Path(f"{file}.asc")
        self("--output", target, "--local-user", f"={name}", *options, "--armor", "--detach-sign", file, at=at)
        return target

    def close(self) -> None:
        """End the agent that it started in its folder."""
        subprocess.run(["gpgconf", "--homedir", str(self.folder), "--kill", "all"], timeout=60, check=False)


def openssl(*arguments: str | Path, cwd: Path) -> bytes:
    """One command of OpenSSL that succeeds; its stdout."""
    return _run(["openssl", *arguments], cwd)


def openssl_key(folder: Path, name: str, *options: str) -> tuple[Path, Path]:
    """A private key and its public one. options: of `openssl genpkey`."""
    private, public = folder / f"{name}.key", folder / f"{name}.pem"
    openssl("genpkey", *options, "-out", private, cwd=folder)
    openssl("pkey", "-in", private, "-pubout", "-out", public, cwd=folder)
    return private, public


def openssl_sign(file: Path, private: Path, digest: str, *options: str) -> Path:
    """FILE.sig: the octets of `openssl dgst -sign`."""
    target = Path(f"{file}.sig")
    openssl("dgst", f"-{digest}", *options, "-sign", private, "-out", target, file, cwd=file.parent)
    return target


class Minisign:
    """A vendor's minisign key without a passphrase. public: its key file."""

    def __init__(self, folder: Path, name: str) -> None:
        self.secret, self.public = folder / f"{name}.secret", folder / f"{name}.pub"
        _run(["minisign", "-G", "-W", "-f", "-p", self.public, "-s", self.secret], folder)

    def sign(self, file: Path, *options: str) -> Path:
        """FILE.minisig beside a file."""
        target = Path(f"{file}.minisig")
        _run(["minisign", "-S", "-W", "-s", self.secret, "-x", target, *options, "-m", file], file.parent)
        return target


def _run(arguments: Sequence[str | Path], cwd: Path) -> bytes:
    done = subprocess.run(
        [str(one) for one in arguments], cwd=cwd, capture_output=True, timeout=120, check=False, env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout
