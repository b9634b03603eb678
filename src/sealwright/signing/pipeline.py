"""The one way to a signature: intent (durable) -> key -> verified -> result (durable) -> envelope (RULES 2).

1. The key is enrolled for this purpose and construction; every other use is refused before the key is touched.
2. What is signed is built here: small content is parsed and encoded again, signed attributes are ours.
3. The intent names artifact, key, certificate and claims, and is on disk before the key is used.
4. The key signs; its backend verifies each value with the enrolled public key, or nothing leaves.
5. The result with the digest of each signature value is on disk before an envelope is made.
An intent without result is what a crash leaves; `doctor` reports it, and signing again is a second attempt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from types import TracebackType

from cryptography import x509

from sealwright.artifact.digest import Digest
from sealwright.envelope.algorithms import key_digest
from sealwright.envelope.cms_write import assemble, signed_attributes, signing_certificate, to_be_signed
from sealwright.errors import KeyRefused, MalformedArtifact
from sealwright.formats.format import Prepared
from sealwright.formats.manifest import KIND as MANIFEST_KIND
from sealwright.formats.manifest import claims_of
from sealwright.keys.backends import open_key
from sealwright.keys.key import OpenKey
from sealwright.keys.pin import Pin
from sealwright.log.journal import Entry, EntryType, Journal
from sealwright.signing.home import JOURNAL, Construction, EnrolledKey, Home, KeyPurpose
from sealwright.trust.certificate import display_name, tbs_digest

PURPOSE_OF_KIND = {"file": KeyPurpose.ARTIFACT, "manifest": KeyPurpose.ARTIFACT, "trust": KeyPurpose.TRUST}


@dataclass(frozen=True, slots=True)
class Made:
    """One recorded signature: value in the encoding of CMS, attributes as signed (a DER SET)."""

    prepared: Prepared
    attributes: bytes
    value: bytes
