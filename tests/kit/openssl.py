"""The independent programs that must agree with us, each as (accepted, words)."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def run(
    arguments: Sequence[str | Path], cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> tuple[bool, str]:
    """A program's verdict and what it said. environment: in place of ours."""
    done = subprocess.run(
        [str(one) for one in arguments], cwd=cwd, env=environment, capture_output=True, timeout=120, check=False
    )
    return done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")


def cms_verify(signature: Path, content: Path, anchors: Path) -> tuple[bool, str]:
    """`openssl cms -verify` as RULES 1 writes it."""
    return run(
        ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", signature, "-content", content,
         "-CAfile", anchors, "-purpose", "any", "-no_check_time", "-out", "/dev/null"]
    )  # fmt: skip


def ts_verify(token: Path, data: Path, anchors: Path) -> tuple[bool, str]:
    """`openssl ts -verify` of a token over the bytes of a file."""
    return run(
        ["openssl", "ts", "-verify", "-token_in", "-in", token, "-data", data, "-CAfile", anchors, "-no_check_time"]
    )


def sums(manifest: Path, tree: Path, bits: int = 256) -> tuple[bool, str]:
    """`sha256sum -c` inside a tree, or another of SHA-2."""
    return run([f"sha{bits}sum", "-c", "--strict", "--quiet", manifest], cwd=tree)
