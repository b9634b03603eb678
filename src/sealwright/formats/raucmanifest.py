"""The manifest of a RAUC bundle, as far as a signature's judge needs it: what the bundle is for, and its hash tree.

    [update]
    compatible=acme-plc
    version=2026.1

    [bundle]
    format=verity
    verity-hash=2a3b…   verity-salt=f51f…   verity-size=4096

It is a GLib key file. GLib takes the last of two equal keys and merges groups of one name; here both are refused, and so is
every spelling that another reader could take for something else: escapes, space around names, text before the first group.
Source: RAUC Reference, "Manifest"; src/manifest.c.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from sealwright.artifact.claims import Claims
from sealwright.errors import LimitExceeded, MalformedArtifact

MAX_BYTES = 1 << 20
MAX_TEXT = 200
SHA256_HEX = re.compile(r"[0-9a-fA-F]{64}")
_GROUP = re.compile(r"\[([^\[\]]+)\]")
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")
_FORMATS = ("verity", "crypt")
_NEXT = "Ask its maker for the bundle again."


class RaucManifest(NamedTuple):
    """What a signed manifest says. crypt: whether the payload is encrypted; tree_bytes, salt, root: of its hash tree."""

    compatible: str
    version: str | None
    crypt: bool
    tree_bytes: int
    salt: bytes
    root: bytes

    @property
    def claims(self) -> Claims:
        """RAUC's names in ours; it has no generation, hardware list or environment."""
        return Claims(product=self.compatible, version=self.version)


def read_manifest(data: bytes, subject: str) -> RaucManifest:
    """The manifest inside the signature of a verity or crypt bundle. MalformedArtifact with the line, or LimitExceeded."""
    groups = _groups(data, subject)
    update, bundle = groups.get("update", {}), groups.get("bundle", {})
    kind = bundle.get("format", "")
    if kind not in _FORMATS:
        raise _wrong(subject, f"its [bundle] format is {kind!r}, wanted is verity or crypt")
    if "compatible" not in update:
        raise _wrong(subject, "it has no compatible= in [update]")
    size = bundle.get("verity-size", "")
    if not _NUMBER.fullmatch(size) or int(size) % 4096:
        raise _wrong(subject, f"its verity-size is {size[:40]!r}, not a multiple of 4096")
    return RaucManifest(
        compatible=_claim(update["compatible"], "compatible", subject),
        version=_claim(update["version"], "version", subject) if "version" in update else None,
        crypt=kind == "crypt",
        tree_bytes=int(size),
        salt=_octets(bundle, "verity-salt", subject),
        root=_octets(bundle, "verity-hash", subject),
    )


def _groups(data: bytes, subject: str) -> dict[str, dict[str, str]]:
    if len(data) > MAX_BYTES:
        raise LimitExceeded(subject, f"a manifest of {len(data)} bytes", f"At most {MAX_BYTES} are read.")
    try:
        text = data.decode()
    except UnicodeDecodeError as cause:
        raise _wrong(subject, f"at byte {cause.start} it is not UTF-8") from cause
    if (control := _CONTROL.search(text)) is not None:
        raise _wrong(subject, f"there is a control character at character {control.start()}")
    groups: dict[str, dict[str, str]] = {}
    keys: dict[str, str] | None = None
    for number, line in enumerate(text.split("\n"), 1):
        if not line or line.startswith("#"):
            continue
        if (group := _GROUP.fullmatch(line)) is not None:
            keys = {}
            if groups.setdefault(group[1], keys) is not keys:
                raise _wrong(subject, f"line {number}: a second group [{group[1][:40]}]")
            continue
        key, equals, value = line.partition("=")
        if keys is None or not equals or not _KEY.fullmatch(key):
            raise _wrong(subject, f"line {number} is neither a group nor a key of one")
        if key in keys:
            raise _wrong(subject, f"line {number}: a second {key[:40]}=")
        keys[key] = value
    return groups


def _claim(text: str, key: str, subject: str) -> str:
    if not text or len(text) > MAX_TEXT or not text.isprintable() or "\\" in text or text != text.strip():
        raise _wrong(subject, f"its {key} is empty, longer than {MAX_TEXT} characters or not plain text")
    return text


def _octets(bundle: dict[str, str], key: str, subject: str) -> bytes:
    text = bundle.get(key, "")
    if not SHA256_HEX.fullmatch(text):
        raise _wrong(subject, f"its {key} is not 32 bytes in hexadecimal")
    return bytes.fromhex(text)


def _wrong(subject: str, what: str) -> MalformedArtifact:
    return MalformedArtifact(subject, f"its manifest cannot be read: {what}", _NEXT)
