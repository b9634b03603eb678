"""Detached XML signatures: a copy of any file, and beside it a small XML file that names it.

    cd FOLDER && xmlsec1 --verify --enabled-key-data x509 --trusted-pem ca.pem plant.aml.xmldsig

    <Signature><SignedInfo>… <Reference URI="plant.aml"><DigestMethod/><DigestValue/></Reference></SignedInfo> …</Signature>

The file's bytes are digested as they are (no transforms), be it XML or not, so every byte is covered. Its name is signed too: verifiers
open what the URI says, and so the file must be called that when it is judged here. Under the element Signature nothing but this is accepted
(`xmlsignature.py`), and an enveloped signature never, nor this one by `xmldsig`.
Source: XML Signature Syntax and Processing 1.1, section 4.4.3; RFC 3986, section 4.2.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import HashName
from sealwright.artifact.output import FileRange, Parts
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import OpenArtifact, open_artifact
from sealwright.envelope.cms import Envelope
from sealwright.envelope.kinds import XMLDSIG_DETACHED
from sealwright.errors import SealwrightError
from sealwright.findings import Finding, reject
from sealwright.formats.asked import refuse_but_one, refuse_claims
from sealwright.formats.format import (
    Candidate,
    Companion,
    Coverage,
    Existing,
    Found,
    Prepared,
    Sealed,
    Search,
    Slot,
)
from sealwright.formats.sidecar import MAX_ENVELOPE_BYTES
from sealwright.formats.xmlsignature import XmlSignature, read_detached, signers

NAME = "xmldsig-detached"
SUFFIX = ".xmldsig"


class XmlDetached:
    """The format for files with an XML signature beside them."""

    name = NAME

    def recognises(self, source: OpenArtifact) -> bool:  # noqa: ARG002 (the protocol)
        """Never: any file may be one."""
        return False

    def prepare(
        self, path: str, algorithms: Collection[HashName], claims: Claims, existing: Existing, progress: Progress | None
    ) -> Prepared:
        """UsageError for claims, which there are no fields for, and for `--add`: the file beside holds one signature."""
        refuse_claims(path, claims, "a detached XML signature has no fields for product, version or generation")
        refuse_but_one(path, False, existing, "the XML file beside it holds one signature")
        with open_artifact(path) as source:
            digests, size = source.digests(algorithms, progress), source.size
        return Prepared(
            NAME, XMLDSIG_DETACHED.name, path, digests, None, size, Coverage.whole(size), claims, existing=existing
        )

    def attach(self, prepared: Prepared, sealed: Sealed) -> Parts:  # noqa: ARG002 (the protocol)
        """The file as it is."""
        return (FileRange(prepared.path, 0, prepared.size),)

    def beside(self, prepared: Prepared, sealed: Sealed) -> tuple[Companion, ...]:  # noqa: ARG002 (the protocol)
        """The signature."""
        return (Companion(SUFFIX, sealed.envelope + b"\n"),)

    def strip(self, path: str) -> Parts:
        """The file as it is; its signature stays where it was."""
        with open_artifact(path) as source:
            return (FileRange(path, 0, source.size),)

    def extract(self, path: str, search: Search) -> Found:
        """The one candidate, where there is a signature."""
        name = search.name or os.path.basename(path)
        data = search.read_beside(path, SUFFIX, MAX_ENVELOPE_BYTES)
        wanted = {HashName.SHA256, *(digest.algorithm for digest in search.watched)}
        envelope: Envelope | None = None
        findings: tuple[Finding, ...] = ()
        structure: tuple[str, ...] = ()
        with search.opened(path) as source:
            if data is None:
                return Found(path, source.size, (), None)
            try:
                signature = read_detached(data, name + SUFFIX)
                certificates, found = signature.certificates, signers(signature, XMLDSIG_DETACHED, name + SUFFIX)
                envelope = Envelope("", None, certificates, found)
                findings = _other_name(signature, name)
                structure = (f"XML signature over the file {_shown(signature.reference.name)}",)
                wanted.add(signature.reference.digest.algorithm)
            except SealwrightError as cause:
                findings = (reject(cause.code, name + SUFFIX, found=cause.what),)
            digests, size = source.digests(wanted, search.progress), source.size
        artifact = digests[HashName.SHA256]
        candidate = Candidate(
            source=name + SUFFIX,
            slot=Slot.MAKER,
            format=NAME,
            kind=XMLDSIG_DETACHED.name,
            envelope=envelope,
            digests=digests,
            artifact=artifact,
            coverage=Coverage.whole(size),
            findings=findings,
            contents=tuple(digests.values()),
            name=name,
        )
        return Found(path, size, (candidate,), artifact, structure=structure)


def _other_name(signature: XmlSignature, name: str) -> tuple[Finding, ...]:
    """What refuses a file that is not called as it was signed."""
    if signature.reference.name == os.fsencode(name):
        return ()
    return (reject("SW-SIGNATURE-NAME", name, wanted=_shown(signature.reference.name), found=name),)


def _shown(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
