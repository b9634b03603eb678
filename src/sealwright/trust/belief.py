"""Why a trust file is believed, named in every verdict (DESIGN, RULES 5).

1. It is well formed and its own officers' threshold signed exactly these bytes; unsigned or edited by hand only in the
   trial stage, which every verdict says.
2. It is believed for one of three reasons: it follows an installed one, step by step; its fingerprint was given; or it lies
   where only the caller, root or administrators can write. The refusal says what to run and never shows the fingerprint.
3. Beside it lie things that can only take trust away: revocation lists (`trust.d/*.crl`), each by its issuer's signature,
   and `deny.toml`, by the signature of one officer. And signers' certificates (`trust.d/*.pem`), for signatures that carry
   none: each counts only by its own path to an anchor, like one that travels in a signature. And layouts of makers' headers
   (`trust.d/*.layout`), each only by the digest that the trust file names.
No environment variable, system store, home or current folder adds anything (A108).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.artifact.section import read_toml
from sealwright.artifact.source import read_file, unreadable
from sealwright.envelope.certified import UNREADABLE
from sealwright.errors import LimitExceeded, MalformedTrust, TrustRefused
from sealwright.findings import Finding, warning
from sealwright.trust.denials import denials
from sealwright.trust.history import (
    SignedText,
    Step,
    came_by,
    persons_of,
    reached,
    read_signed,
    read_text,
    signing_keys,
    walk,
    with_kept,
)
from sealwright.trust.layouts import layouts_in
from sealwright.trust.model import Denied, TrustFile
from sealwright.trust.place import unsafe_because
from sealwright.trust.revocation import MAX_CRL_BYTES
from sealwright.trust.trustfile import MAX_BYTES, parse_trust
from sealwright.trust.words import read_fingerprint

if TYPE_CHECKING:
    from sealwright.formats.layouttext import Layout

CRL_FOLDER = "trust.d"
DENY = "deny.toml"
DENY_LINE = "# sealwright deny 1"
DENY_KIND = "deny"
MAX_CRLS = 64
MAX_CERTIFICATES = 256
MAX_LAYOUT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Believed:
    """A trust file and what lies beside it. reason: one clause for the verdict; crls: DER; denied: file and deny list together;
    certificates: DER, of signers whose signatures carry none, from both; layouts: every one that the file names."""

    trust: TrustFile
    reason: str
    findings: tuple[Finding, ...]
    crls: tuple[bytes, ...]
    denied: tuple[Denied, ...]
    deny_version: int = 0
    certificates: tuple[bytes, ...] = ()
    layouts: tuple[Layout, ...] = ()


class DenyList(NamedTuple):
    """A `deny.toml`. trust: the id of the trust file it belongs to."""

    version: int
    trust: str
    denied: tuple[Denied, ...]


def load_trust(path: str, *, fingerprint: str | None = None, installed: TrustFile | None = None) -> Believed:
    """Read, check and believe a trust file; TrustRefused if nothing makes it believable, MalformedTrust if it is not one."""
    signed = read_signed(path)
    trust = parse_trust(signed.text, path)
    reason, step = _reason(signed, trust, fingerprint, installed)
    findings: list[Finding] = []
    if trust.stage == "trial":
        findings.append(warning("SW-TRUST-TRIAL", trust.id))
    else:
        signed = with_kept(signed, trust.version)
        _check_signed(signed, trust)
        if installed is None or installed.digest == trust.digest:
            step = came_by(signed, trust)
    if step is Step.RECOVERY:
        findings.append(warning("SW-TRUST-RECOVERED", trust.id, found=str(trust.version)))
    deny_version, extra = _deny_list(path, trust)
    return Believed(
        trust=trust,
        reason=reason,
        findings=tuple(findings),
        crls=_crls(path),
        denied=(*trust.denied, *extra),
        deny_version=deny_version,
        certificates=_certificates(path, trust),
        layouts=read_layouts(path, trust),
    )


def unbelieved(path: str) -> Believed:
    """A trust file and what lies beside it, signed or not: to compare drafts and to try what they would do. It decides nothing."""
    trust = parse_trust(read_text(path), path)
    deny_path = os.path.join(os.path.dirname(path), DENY)
    deny = parse_deny(read_file(deny_path, MAX_BYTES), deny_path) if os.path.lexists(deny_path) else None
    if deny is not None and deny.trust != trust.id:
        raise _other_deny(deny_path, deny, trust)
    extra = () if deny is None else deny.denied
    return Believed(
        trust=trust,
        reason="it is only compared",
        findings=(),
        crls=_crls(path),
        denied=(*trust.denied, *extra),
        deny_version=0 if deny is None else deny.version,
        certificates=_certificates(path, trust),
        layouts=read_layouts(path, trust),
    )


def _reason(
    signed: SignedText, trust: TrustFile, fingerprint: str | None, installed: TrustFile | None
) -> tuple[str, Step]:
    if fingerprint is not None:
        if read_fingerprint(fingerprint) != trust.digest:
            raise TrustRefused(
                signed.path,
                "it is not the file whose fingerprint was given",
                "Compare the card with the file you were given; do not use this one.",
            )
        if installed is None:
            return "its fingerprint was given", Step.ORDINARY
    if installed is not None:
        step = walk(installed, signed)
        return f"it follows the installed version {installed.version}", step
    problem = unsafe_because(signed.path)
    # Read again: what is safe now stays so, but what was read before could have been another file (a hard link swapped in).
    if not problem and read_file(signed.path, MAX_BYTES) != signed.text:
        problem = "it changed while it was read"
    if problem:
        raise TrustRefused(
            signed.path,
            f"nothing says that it is yours: {problem}",
            "Take the fingerprint from your officer's card and add: --trust-fingerprint FINGERPRINT",
        )
    return "it lies where only you or an administrator can write", Step.ORDINARY


def _check_signed(signed: SignedText, trust: TrustFile) -> None:
    keys = signing_keys(signed)
    if not reached(trust.officers, keys):
        names = ", ".join(sorted(persons_of(trust.officers, keys))) or "nobody"
        raise TrustRefused(
            signed.path,
            f"{trust.officers.threshold} of its officers must have signed exactly these bytes, signed has {names}",
            'Fetch it again with its .p7s files; for trying things out, set stage = "trial" in a file of your own.',
        )


def _deny_list(path: str, trust: TrustFile) -> tuple[int, tuple[Denied, ...]]:
    """The deny list beside a trust file; one officer's signature suffices, since it can only take trust away."""
    deny_path = os.path.join(os.path.dirname(path), DENY)
    if not os.path.lexists(deny_path):
        return 0, ()
    signed = read_signed(deny_path)
    deny = signed_deny(signed, trust)
    return deny.version, deny.denied


def signed_deny(signed: SignedText, trust: TrustFile) -> DenyList:
    """What a deny list says, if it belongs to a trust file and one of its officers signed it; MalformedTrust or TrustRefused."""
    deny = parse_deny(signed.text, signed.path)
    if deny.trust != trust.id:
        raise _other_deny(signed.path, deny, trust)
    if not persons_of(trust.officers, signing_keys(signed, DENY_KIND)) and trust.stage != "trial":
        raise TrustRefused(
            signed.path,
            "no officer of the trust file has signed it",
            "Fetch it again with its .p7s file, or remove it.",
        )
    return deny


def _other_deny(path: str, deny: DenyList, trust: TrustFile) -> MalformedTrust:
    return MalformedTrust(
        path,
        f"it belongs to the trust file {deny.trust}, not to {trust.id}",
        "Bring the deny list of this trust file.",
    )


def parse_deny(text: bytes, path: str) -> DenyList:
    """What a deny list says; MalformedTrust if it is not one. Who signed it is another question."""
    top = read_toml(text, path, DENY_LINE)
    version, trust = top.number("version", 1), top.text("trust")
    entries = denials(top)
    top.done()
    return DenyList(version, trust, entries)


def _crls(path: str) -> tuple[bytes, ...]:
    folder = os.path.join(os.path.dirname(path), CRL_FOLDER)
    return tuple(read_file(os.path.join(folder, name), MAX_CRL_BYTES) for name in crl_names(path))


def _certificates(path: str, trust: TrustFile) -> tuple[bytes, ...]:
    folder = os.path.join(os.path.dirname(path), CRL_FOLDER)
    found = [der for name in certificate_names(path) for der in read_certificates(os.path.join(folder, name))]
    if len(found) > MAX_CERTIFICATES:
        raise LimitExceeded(folder, f"{len(found)} certificates", f"At most {MAX_CERTIFICATES} are read.")
    return tuple(dict.fromkeys((*trust.certificates, *found)))


def read_layouts(path: str, trust: TrustFile) -> tuple[Layout, ...]:
    """The layouts that a trust file names; MalformedTrust where one is missing, or two could not be told apart."""
    if not trust.layouts:
        return ()
    folder = os.path.join(os.path.dirname(path), CRL_FOLDER)
    files = [os.path.join(folder, name) for name in layout_names(path)]
    return layouts_in(trust.layouts, [(one, read_file(one, MAX_LAYOUT_BYTES)) for one in files])


def read_certificates(path: str) -> list[bytes]:
    """The certificates of a PEM file, as DER; MalformedTrust where it holds anything that is none."""
    data = read_file(path, MAX_BYTES)
    try:
        return [one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(data)]
    except UNREADABLE as cause:
        raise MalformedTrust(
            path, "there is something in it that is no certificate in PEM", "Remove it, or fetch it again."
        ) from cause


def certificate_names(path: str) -> list[str]:
    """The certificate files in `trust.d`."""
    return _names(path, ".pem", "certificate files")


def layout_names(path: str) -> list[str]:
    """The layouts of makers' headers in `trust.d`."""
    return _names(path, ".layout", "layouts")


def crl_names(path: str) -> list[str]:
    """The lists in `trust.d`, in either case (sticks write `ACME.CRL`)."""
    return _names(path, ".crl", "revocation lists")


def _names(path: str, suffix: str, what: str) -> list[str]:
    """The files of `trust.d` with a suffix. A folder that cannot be listed is an error, not empty."""
    folder = os.path.join(os.path.dirname(path), CRL_FOLDER)
    try:
        names = [name for name in os.listdir(folder) if name.lower().endswith(suffix) and not name.startswith(".")]
    except FileNotFoundError:
        return []
    except OSError as cause:
        raise unreadable(folder, cause) from cause
    if len(names) > MAX_CRLS:
        raise LimitExceeded(path, f"{len(names)} {what}", f"At most {MAX_CRLS} are read.")
    return sorted(names)
