"""Key strings: `file:PATH`, `pkcs11:…` (RFC 7512), `tpm:PATH`, `transit:https://…` and `awskms:arn:…`; no secret stands in one.

>>> parse_pkcs11("pkcs11:token=line-1;id=%01").token
'line-1'
>>> parse_transit("transit:https://bao.plant.example:8200/v1/transit/keys/release?version=2").version
2
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, unquote, unquote_to_bytes, urlsplit

from sealwright.errors import KeyRefused, UsageError

MAX_URI = 2048
_PATH = ("token", "manufacturer", "serial", "model", "object", "id", "type")
_QUERY = ("module-path", "pin-source")
# attributes that would narrow the choice, but that we do not select by: to ignore one could open another token
_NOT_SELECTED = ("library-description", "library-manufacturer", "library-version", "slot-description", "slot-id",
                 "slot-manufacturer", "module-name")  # fmt: skip
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HELP = "Write it like pkcs11:token=NAME;object=KEY or pkcs11:serial=SERIAL;id=%01."
_TRANSIT = "transit key string"
_TRANSIT_HELP = "Write it like transit:https://HOST:8200/v1/transit/keys/NAME?version=1&token-source=file:/PATH."
_TRANSIT_QUERY = ("version", "namespace", "ca-file", "token-source")
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_NAMESPACE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._/-]{0,255}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_ARN = re.compile(
    r"arn:(?P<partition>aws[a-z-]{0,20}):kms:(?P<region>[a-z]{2}[a-z0-9-]{2,30}):(?P<account>[0-9]{12})"
    r"(:key/(?P<key>[A-Za-z0-9-]{1,128}))?"
)
_AWSKMS_HELP = (
    "Write it like awskms:arn:aws:kms:eu-central-1:111122223333:key/ID; an alias can be moved to another key."
)


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


@dataclass(frozen=True, slots=True)
class TransitUri:
    """A key of Vault's or OpenBao's transit engine. host: with the port; mount: of the engine; name "": the engine itself.

    version: the one that signs, 0 for the newest there is; ca_file "": the authorities this machine trusts; token_file "": the
    service manager's credential.
    """

    host: str
    mount: str
    name: str = ""
    version: int = 0
    namespace: str = ""
    ca_file: str = ""
    token_file: str = ""

    def __str__(self) -> str:
        """Canonical, with the version where it is known; the token's place, never a token."""
        path = f"/v1/{self.mount}" + (f"/keys/{self.name}" if self.name else "")
        query = [f"version={self.version}"] if self.version else []
        query += [f"namespace={self.namespace}"] if self.namespace else []
        query += [f"ca-file={quote(self.ca_file, safe='/')}"] if self.ca_file else []
        query += [f"token-source=file:{quote(self.token_file, safe='/')}"] if self.token_file else []
        return f"transit:https://{self.host}{path}" + ("?" + "&".join(query) if query else "")


@dataclass(frozen=True, slots=True)
class AwsKmsUri:
    """A key of AWS KMS by its ARN. key "": the account's keys in that region."""

    partition: str
    region: str
    account: str
    key: str = ""

    def __str__(self) -> str:
        """Canonical."""
        return f"awskms:{self.arn}"

    @property
    def arn(self) -> str:
        """The ARN alone."""
        key = f":key/{self.key}" if self.key else ""
        return f"arn:{self.partition}:kms:{self.region}:{self.account}{key}"


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
            uri[:80],
            "it is not a key string",
            "Write file:PATH, tpm:PATH, pkcs11:…, transit:https://… or awskms:arn:…; a key's name wants --home",
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


def parse_transit(uri: str) -> TransitUri:
    """Read a transit key string; UsageError for anything but https, and for what we would not heed. It is never repeated: it may hold a token."""
    if scheme_of(uri) != "transit":
        raise UsageError(uri[:80], "it is not a transit: key string", _TRANSIT_HELP)
    try:
        parts = urlsplit(uri.removeprefix("transit:"))
        host = _host(parts)
    except ValueError as cause:
        raise UsageError(_TRANSIT, "there is no host and port in it", _TRANSIT_HELP) from cause
    if parts.scheme != "https":
        raise UsageError(_TRANSIT, "it does not begin with https://, and a token is sent there", _TRANSIT_HELP)
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise KeyRefused(
            _TRANSIT, "a user or password stands in it", "Put the token into a file and name token-source=."
        )
    segments = parts.path.strip("/").split("/")
    if len(segments) < 2 or segments[0] != "v1" or not all(map(_SEGMENT.fullmatch, segments)):
        raise UsageError(_TRANSIT, "its path is not /v1/MOUNT/keys/NAME", _TRANSIT_HELP)
    named = len(segments) > 3 and segments[-2] == "keys"
    query = _query(parts.query)
    return TransitUri(
        host=host,
        mount="/".join(segments[1:-2] if named else segments[1:]),
        name=segments[-1] if named else "",
        version=int(_fitting(query, "version", _VERSION) or 0),
        namespace=_fitting(query, "namespace", _NAMESPACE),
        ca_file=_absolute(query, "ca-file"),
        token_file=_absolute(query, "token-source"),
    )


def parse_awskms(uri: str) -> AwsKmsUri:
    """Read an AWS KMS key string; UsageError for an alias, which would not say which key it is."""
    found = _ARN.fullmatch(uri.removeprefix("awskms:"))
    if scheme_of(uri) != "awskms" or found is None:
        raise UsageError(uri[:80], "it is not the ARN of a KMS key", _AWSKMS_HELP)
    return AwsKmsUri(found["partition"], found["region"], found["account"], found["key"] or "")


def _host(parts: SplitResult) -> str:
    if not parts.hostname or not re.fullmatch(r"[A-Za-z0-9.:-]+", parts.hostname):
        raise ValueError("no host")
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{name}:{parts.port}" if parts.port else name


def _query(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in text.split("&") if text else []:
        name, _, value = part.partition("=")
        if name not in _TRANSIT_QUERY or name in found or not value or _BAD_PERCENT.search(value):
            raise UsageError(
                _TRANSIT,
                "something behind its ? is unknown, repeated, empty or wrongly escaped",
                f"Known are {', '.join(_TRANSIT_QUERY)}. A token never stands there.",
            )
        found[name] = unquote(value)
    return found


def _fitting(query: dict[str, str], name: str, form: re.Pattern[str]) -> str:
    value = query.get(name, "")
    if value and not form.fullmatch(value):
        raise UsageError(_TRANSIT, f"its `{name}` is not one", _TRANSIT_HELP)
    return value


def _absolute(query: dict[str, str], name: str) -> str:
    """The path of a file that is named absolutely, with or without file: in front."""
    value = query.get(name, "")
    path = value.removeprefix("file://") if value.startswith("file://") else value.removeprefix("file:")
    if value and (not path.startswith("/") or any(ord(letter) < 32 for letter in path)):
        raise UsageError(_TRANSIT, f"its `{name}` is not an absolute path", f"Write {name}=file:/PATH.")
    return path


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
