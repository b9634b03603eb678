"""Key strings: `file:PATH`, `pkcs11:…` (RFC 7512) and `tpm:PATH`; a PIN never stands in one.

>>> parse_pkcs11("pkcs11:token=line-1;id=%01").token
'line-1'
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, unquote_to_bytes

from sealwright.errors import KeyRefused, UsageError

MAX_URI = 2048
_PATH = ("token", "manufacturer", "serial", "model", "object", "id", "type")
_QUERY = ("module-path", "pin-source")
# attributes that would narrow the choice, but that we do not select by: to ignore one could open another token
_NOT_SELECTED = ("library-description", "library-manufacturer", "library-version", "slot-description", "slot-id",
                 "slot-manufacturer", "module-name")  # fmt: skip
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HELP = "Write it like pkcs11:token=NAME;object=KEY or pkcs11:serial=SERIAL;id=%01."


@dataclass(frozen=True, slots=True)
class Pkcs11Uri:
    """The attributes we use; "" or None where absent. id: raw CKA_ID octets; module_path: library to load."""

    token: str = ""
    serial: str = ""
    label: str = ""
    id: bytes | None = None
    module_path: str = ""
    pin_source: str = ""
    manufacturer: str = ""
    model: str = ""

    def __str__(self) -> str:
        """Canonical: token serial and id where known, never a PIN."""
        parts = []
        if self.token:
            parts.append("token=" + quote(self.token, safe=""))
        if self.serial:
            parts.append("serial=" + quote(self.serial, safe=""))
        if self.label:
            parts.append("object=" + quote(self.label, safe=""))
        if self.id is not None:
            parts.append("id=" + "".join(f"%{octet:02X}" for octet in self.id))
        query = f"?module-path={quote(self.module_path, safe='/')}" if self.module_path else ""
        return "pkcs11:" + ";".join(parts) + query


def scheme_of(uri: str) -> str:
    """The backend's name: what stands before the first colon; UsageError where there is none.

    KeyRefused for a PIN anywhere in the string, before any other error could repeat it (A129).
    """
    if "pin-value" in unquote(uri).lower():
        raise KeyRefused(
            "key string",
            "a PIN stands in it, where every process list shows it",
            "Use --pin-file or pin-source=file:PATH.",
        )
    scheme, colon, _ = uri.partition(":")
    if not colon or len(uri) > MAX_URI:
        raise UsageError(
            uri[:80], "it is not a key string", "Write file:PATH, tpm:PATH or pkcs11:…; a key's name wants --home"
        )
    return scheme


def path_of(uri: str) -> str:
    """The path of a `file:` or `tpm:` key string."""
    path = uri.partition(":")[2]
    if path.startswith("//"):
        path = path[2:]
    if not path:
        raise UsageError(uri, "there is no path in it", "Write file:PATH or tpm:PATH.")
    return path


def parse_pkcs11(uri: str) -> Pkcs11Uri:
    """Read a PKCS#11 URI; KeyRefused for a PIN in it, UsageError for what RFC 7512 does not know."""
    if scheme_of(uri) != "pkcs11":
        raise UsageError(uri[:80], "it is not a pkcs11: key string", _HELP)
    body, _, query = uri.removeprefix("pkcs11:").partition("?")
    found = {**_pairs(body, ";", _PATH), **_pairs(query, "&", _QUERY)}
    texts = {}
    for name, value in found.items():
        if name == "id":
            continue
        try:
            texts[name] = value.decode()
        except UnicodeDecodeError as cause:
            raise UsageError("pkcs11 key string", f"`{name}` is not UTF-8", _HELP) from cause
    if texts.get("type", "private") not in ("private", "public", "cert"):
        raise UsageError("pkcs11 key string", f"`type={texts['type']}` is not a key", _HELP)
    return Pkcs11Uri(
        token=texts.get("token", ""),
        serial=texts.get("serial", ""),
        label=texts.get("object", ""),
        id=found.get("id"),
        module_path=texts.get("module-path", ""),
        pin_source=_pin_file(texts.get("pin-source", "")),
        manufacturer=texts.get("manufacturer", ""),
        model=texts.get("model", ""),
    )


def _pin_file(source: str) -> str:
    """The path in a pin-source; a program to run ("|…") or another scheme is refused."""
    path = source.removeprefix("file://") if source.startswith("file://") else source.removeprefix("file:")
    if source and (not path.startswith("/") or "\0" in path):
        raise UsageError("pkcs11 key string", "its pin-source is not an absolute path", "Write pin-source=file:/PATH.")
    return path


def _pairs(text: str, separator: str, known: tuple[str, ...]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in text.split(separator) if text else []:
        name, equals, value = part.partition("=")
        if name in _NOT_SELECTED:
            raise UsageError(
                "pkcs11 key string", f"tokens are not chosen by `{name}`", "Use serial=… or module-path=…."
            )
        if not equals or name in found or (name not in known and not name.startswith("x-")):
            raise UsageError("pkcs11 key string", f"`{name[:40]}` is unknown, repeated or without a value", _HELP)
        if not value or _BAD_PERCENT.search(value):
            raise UsageError("pkcs11 key string", f"`{name}` is empty or wrongly escaped", _HELP)
        found[name] = unquote_to_bytes(value)
    return found
