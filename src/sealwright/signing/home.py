"""A signing home: one folder with the keys, certificates, trust file and journal of one signing place.

    home.toml            what is enrolled: keys, their one purpose and construction (RULES 2), their certificates
    ca.pem               the anchors, for `openssl cms -verify -CAfile`
    trust.toml           what verifiers get, with trust.toml.PERSON.p7s; trust.d/ has revocation lists
    certificates/*.pem   each key's certificate, then its path without the root
    keys/*.pem           development keys only, mode 0600; keys in a token leave nothing here
    journal/             the durable record: intent before a key is used, result before a signature leaves
    timestamps/          the same of a timestamp authority that is served from here (`timestamping.py`)
    register/            what its authorities issued, revoked and listed (register.py)
    private/             texts that the journal has only the digest of, each erasable (privatepart.py)
    ceremony/            plan, attendance and transcript of the ceremony that made it, if one did (ceremony.py)

`file:` and `tpm:` key strings are kept relative to the home, so that it can be moved as a whole.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.artifact.digest import Digest
from sealwright.artifact.source import read_file
from sealwright.envelope.algorithms import ALGORITHMS, PublicKey, SignatureAlgorithm, key_digest
from sealwright.envelope.certified import UNREADABLE
from sealwright.envelope.kinds import FILE as FILE_KIND
from sealwright.envelope.kinds import Construction, ContentKind
from sealwright.errors import MalformedTrust, Unreadable, UsageError
from sealwright.keys.key import Provenance
from sealwright.pki.authority import Publication
from sealwright.trust.toml import Toml, toml_text

FIRST_LINE = "# sealwright home 1"
FILE = "home.toml"
TRUST = "trust.toml"
ANCHORS = "ca.pem"
JOURNAL = "journal"
TIMESTAMPS = "timestamps"
REGISTER = "register"
PRIVATE = "private"
CEREMONY = "ceremony"
_PLACES = ("crl", "ocsp", "issuer")
MAX_BYTES = 1 << 20
PATH_SCHEMES = ("file:", "tpm:")


class KeyPurpose(StrEnum):
    """The one thing an enrolled key is for (RULES 2)."""

    ARTIFACT = "artifact"
    TIMESTAMP = "timestamp"
    CERTIFICATES = "certificates"
    TRUST = "trust"
    RECOVERY = "recovery"
    OCSP = "ocsp"
    LOG = "log"
    APPROVAL = "approval"
    BACKUP = "backup"
    RECORD = "record"
    REPOSITORY = "repository"
    REPORT = "report"


@dataclass(frozen=True, slots=True)
class EnrolledKey:
    """uri: relative to the home for `file:` and `tpm:`; certificate: DER; chain: DER, the path above it without the root.

    signs_until: the end-of-signing date of a key that another one replaces, aware; None while it signs (A113).
    """

    name: str
    uri: str
    purpose: KeyPurpose
    construction: Construction
    algorithm: SignatureAlgorithm
    provenance: Provenance
    certificate: bytes
    chain: tuple[bytes, ...]
    signs_until: datetime | None = None

    @property
    def public_key(self) -> PublicKey:
        """The enrolled public key: every signature is verified with it before it leaves."""
        return _public_key(self.certificate)

    @property
    def digest(self) -> Digest:
        """The key's identity, SHA-256 of SPKI."""
        return _key_digest(self.certificate)

    def signs(self, kind: ContentKind) -> bool:
        """Whether it is enrolled for the kind's construction, and the kind's verifiers read its signatures."""
        return self.construction is kind.construction and self.algorithm.scheme in kind.schemes

    def is_wanted_for(self, kind: ContentKind) -> bool:
        """Whether its certificate has the purpose that the kind's verifiers ask for unless they are told otherwise."""
        if not kind.purpose:
            return True
        loaded = x509.load_der_x509_certificate(self.certificate)
        try:
            usage = loaded.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        except x509.ExtensionNotFound:
            return True
        return any(oid.dotted_string == kind.purpose for oid in usage)


@dataclass(frozen=True, slots=True)
class Home:
    """timestamp: what `sign` does unless told otherwise: "local", "none" or the URLs of authorities, asked in this order.

    stamps_later: whether a signature may be made while no authority answers (`when_no_timestamp = "later"`).
    """

    folder: str
    title: str
    timestamp: tuple[str, ...]
    keys: tuple[EnrolledKey, ...]
    publication: Publication = Publication()
    stamps_later: bool = False

    @property
    def development(self) -> bool:
        """True where some key is a development key."""
        return any(key.provenance is Provenance.DEVELOPMENT for key in self.keys)

    def path(self, *names: str) -> str:
        """A path inside the home."""
        return os.path.join(self.folder, *names)

    def key(
        self, wanted: str | None, purpose: KeyPurpose, kind: ContentKind = FILE_KIND, form: str = ""
    ) -> EnrolledKey:
        """The key of that name or key string, else the first of that purpose that signs content of the kind.

        form: the format's name, for the error. UsageError where there is none; a named key that does not sign the kind is
        refused by the pipeline, which says why.
        """
        of_purpose = [key for key in self.keys if key.purpose is purpose]
        fitting = [key for key in of_purpose if key.signs(kind)]
        fitting = [
            key for key in fitting if key.signs_until is None
        ] or fitting  # replaced ones only where they are all
        for key in self.keys:
            if wanted in (key.name, key.uri, self.uri(key)):
                if key.purpose is purpose:
                    return key
                raise UsageError(
                    f"key {key.name}",
                    f"it is enrolled for {key.purpose}, not for {purpose}",
                    "Name a key of that purpose.",
                )
        names = ", ".join(key.name for key in of_purpose) or "none"
        if wanted is not None:
            raise UsageError(
                f"key {wanted}", f"it is not enrolled in {self.folder}", f"Enrolled for {purpose}: {names}."
            )
        if not of_purpose:
            raise UsageError(
                self.folder, f"no key is enrolled for {purpose}", "Enrol one with `sealwright key import-certificate`."
            )
        if not fitting:
            raise UsageError(
                self.folder,
                f"no key of it signs {form or kind.name}: enrolled must be one for {kind.construction}, of the type "
                + " or ".join(sorted(kind.schemes)),
                f"Make one with `sealwright key enrol {form or kind.name} --home {self.folder}`.",
            )
        return next((key for key in fitting if key.is_wanted_for(kind)), fitting[0])

    def uri(self, key: EnrolledKey) -> str:
        """The key string with the home's folder filled in."""
        for scheme in PATH_SCHEMES:
            if key.uri.startswith(scheme):
                return scheme + os.path.join(os.path.abspath(self.folder), key.uri.removeprefix(scheme))
        return key.uri


def open_home(folder: str) -> Home:
    """Read home.toml; UsageError if the folder is no home, MalformedTrust where an entry is wrong."""
    path = os.path.join(folder, FILE)
    try:
        data = read_file(path, MAX_BYTES)
    except Unreadable as cause:
        if not isinstance(cause.__cause__, FileNotFoundError | NotADirectoryError):
            raise
        raise UsageError(folder, "it is not a signing home", f"Create one with `sealwright init {folder}`.") from cause
    try:
        text = data.decode()
        if text.partition("\n")[0] != FIRST_LINE:
            raise ValueError(f"the first line is not {FIRST_LINE!r}")
        value = tomllib.loads(text)
        keys = tuple(_key(folder, entry) for entry in value["key"])
        places = _publication(value.get("publication", {}))
        home = Home(folder, str(value["title"]), _timestamp(value["timestamp"]), keys, places, _later(value))
    except (ValueError, KeyError, TypeError, AttributeError) as cause:
        raise MalformedTrust(
            path, f"{type(cause).__name__}: {cause}", "Restore it from a backup or make a new home."
        ) from cause
    if len({key.name for key in home.keys}) != len(home.keys):
        raise MalformedTrust(path, "two keys have the same name", "Give each key a name of its own.")
    return home


def home_text(home: Home) -> str:
    """home.toml of a home."""
    keys: list[Toml] = [
        cast(
            "dict[str, Toml]",
            {
                "name": key.name,
                "uri": key.uri,
                "purpose": key.purpose.value,
                "construction": key.construction.value,
                "algorithm": key.algorithm.name,
                "provenance": key.provenance.value,
                "certificate": f"certificates/{key.name}.pem",
            },
        )
        | ({"signs_until": key.signs_until} if key.signs_until is not None else {})
        for key in home.keys
    ]
    places: dict[str, Toml] = {name: url for name in _PLACES if (url := getattr(home.publication, name))}
    published: dict[str, Toml] = {"publication": places} if places else {}
    one = home.timestamp[0] if len(home.timestamp) == 1 else list(home.timestamp)
    later: dict[str, Toml] = {"when_no_timestamp": "later"} if home.stamps_later else {}
    return toml_text(FIRST_LINE, {"title": home.title, "timestamp": one, **later, **published, "key": keys})


def _timestamp(value: object) -> tuple[str, ...]:
    """One text, as homes have always had it, or a list of texts."""
    every = [value] if isinstance(value, str) else value
    if not isinstance(every, list) or not every or not all(isinstance(one, str) and one for one in every):
        raise ValueError("`timestamp` is no text and no list of texts")
    return tuple(every)


def _later(value: dict[str, Any]) -> bool:
    word = value.get("when_no_timestamp", "refuse")
    if word not in ("refuse", "later"):
        raise ValueError('`when_no_timestamp` is "refuse" or "later"')
    return bool(word == "later")


def certificates_text(key: EnrolledKey) -> str:
    """PEM of a key's certificate and its path."""
    return "".join(
        x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode() for der in (key.certificate, *key.chain)
    )


def _key(folder: str, entry: dict[str, Any]) -> EnrolledKey:
    wanted = {"name", "uri", "purpose", "construction", "algorithm", "provenance", "certificate"}
    until = entry.pop("signs_until", None)
    if until is not None and (not isinstance(until, datetime) or until.tzinfo is None):
        raise ValueError("`signs_until` is no time with a zone")
    if set(entry) != wanted or not all(isinstance(value, str) for value in entry.values()):
        raise ValueError(f"a [[key]] wants exactly {', '.join(sorted(wanted))}, each a text")
    algorithm = next((a for a in ALGORITHMS if a.name == entry["algorithm"]), None)
    if algorithm is None:
        raise ValueError(f"unknown algorithm {entry['algorithm']!r}")
    certificates = _certificates(os.path.join(folder, entry["certificate"]))
    return EnrolledKey(
        name=entry["name"],
        uri=entry["uri"],
        purpose=KeyPurpose(entry["purpose"]),
        construction=Construction(entry["construction"]),
        algorithm=algorithm,
        provenance=Provenance(entry["provenance"]),
        certificate=certificates[0],
        chain=tuple(certificates[1:]),
        signs_until=until,
    )


@lru_cache(maxsize=64)
def _public_key(certificate: bytes) -> PublicKey:
    return cast("PublicKey", x509.load_der_x509_certificate(certificate).public_key())


@lru_cache(maxsize=64)
def _key_digest(certificate: bytes) -> Digest:
    return key_digest(_public_key(certificate))


def _publication(entry: dict[str, str]) -> Publication:
    if set(entry) - set(_PLACES) or not all(isinstance(value, str) for value in entry.values()):
        raise ValueError(f"[publication] has only {', '.join(_PLACES)}, each a text")
    return Publication(**entry)


def _certificates(path: str) -> list[bytes]:
    try:
        return [c.public_bytes(Encoding.DER) for c in x509.load_pem_x509_certificates(read_file(path, MAX_BYTES))]
    except UNREADABLE as cause:
        raise MalformedTrust(path, "no PEM certificates in it", "Enrol the key's certificate again.") from cause
