"""A revocation bundle as one file: a ZIP archive with `deny.toml`, its signatures and `trust.d/*.crl`, and nothing else.

Reading bounds what it unpacks and takes only these names, each once, in plain form: no path leads anywhere else, and an
archive that holds anything more is refused, because it is not what an officer made.
"""

from __future__ import annotations

import io
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping

from sealwright.artifact.source import read_file
from sealwright.errors import LimitExceeded, MalformedTrust
from sealwright.trust.belief import DENY, MAX_CRLS
from sealwright.trust.history import MAX_SIGNATURE_BYTES, MAX_SIGNATURES
from sealwright.trust.revocation import MAX_CRL_BYTES
from sealwright.trust.trustfile import MAX_BYTES

MAX_ARCHIVE_BYTES = 64 << 20
_NAMES = (
    (re.compile(r"deny\.toml"), MAX_BYTES),
    (re.compile(r"deny\.toml\.[^/\\\x00-\x1f]{1,200}\.p7s"), MAX_SIGNATURE_BYTES),
    (re.compile(r"trust\.d/[^/\\\x00-\x1f.][^/\\\x00-\x1f]{0,200}\.(?:crl|CRL)"), MAX_CRL_BYTES),
)
_BROKEN = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    struct.error,
    ValueError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    OSError,
)


def zipped_files(path: str) -> dict[str, bytes]:
    """The files of an archive by name; MalformedTrust or LimitExceeded."""
    files: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(read_file(path, MAX_ARCHIVE_BYTES))) as archive:
            members = archive.infolist()
            if len(members) > MAX_CRLS + MAX_SIGNATURES + 1:
                raise LimitExceeded(path, f"{len(members)} files in it", "Make it with `sealwright trust bundle`.")
            left = MAX_ARCHIVE_BYTES
            for member in members:
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 0x1:
                    raise _wrong(path, f"{member.filename!r} is packed in a way that is not read")
                limit = next((most for name, most in _NAMES if name.fullmatch(member.filename)), None)
                if limit is None or member.filename in files:
                    raise _wrong(path, f"{member.filename!r} does not belong in a revocation bundle, or comes twice")
                with archive.open(member) as source:
                    data = source.read(min(limit, left) + 1)
                if len(data) > min(limit, left):
                    raise LimitExceeded(
                        path, f"{member.filename!r} is too large", "Make it with `sealwright trust bundle`."
                    )
                left -= len(data)
                files[member.filename] = data
    except _BROKEN as cause:
        raise _wrong(path, f"it is no archive that can be read ({type(cause).__name__})") from cause
    return files


def zip_of(files: Mapping[str, bytes]) -> bytes:
    """The archive of some files: the same bytes for the same files."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return target.getvalue()


def write_files(files: Mapping[str, bytes], folder: str) -> None:
    """Put them into a folder, durably, the deny list behind its signatures."""
    from sealwright.artifact.output import Output, Replace, write_batch  # a stateless verify writes nothing

    for below in {os.path.dirname(name) for name in files} - {""}:
        os.makedirs(os.path.join(folder, below), exist_ok=True)
    order = sorted(files.items(), key=lambda one: one[0] == DENY)
    write_batch([Output(os.path.join(folder, name), data) for name, data in order], replace=Replace.YES)


def _wrong(path: str, what: str) -> MalformedTrust:
    return MalformedTrust(path, what, "Make it with `sealwright trust bundle`, or copy it again.")
