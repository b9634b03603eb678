"""A trust file on its way to hold a maker: the tables that are added, with the remark that says where they come from.

Each part is added only where the file has none that serves: the timestamp authority, certificates that signatures leave out, and
where a key lives. Names out of certificates go in as TOML strings and escaped remarks (`trust/draft.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.artifact.names import display
from sealwright.errors import UsageError
from sealwright.plant.drafttrust import REVIEW, Names, environment_of, same_key
from sealwright.plant.sample import Changed, Sample
from sealwright.plant.signers import chain_of
from sealwright.texts.words import say
from sealwright.trust.certificate import display_name, load_certificate, spki_digest
from sealwright.trust.draft import Draft
from sealwright.trust.intake import pem_of
from sealwright.trust.model import TrustFile
from sealwright.trust.toml import Toml


class Said(NamedTuple):
    """What the person says who takes a maker in; "" and None where they leave it to the sample.

    confirmed: the second channel over which the fingerprint was compared; environment: of the anchor and rule; provenance: where the
    maker's keys live, as the maker says.
    """

    confirmed: str
    name: str = ""
    environment: str = ""
    provenance: str = ""
    public: bool = False
    owner: str = ""
    reason: str = ""
    review: datetime | None = None


@dataclass(slots=True)
class Edit:
    """A proposal on its way. remarks: go above the first table that is touched."""

    draft: Draft
    said: list[str] = field(default_factory=list)
    changed: list[Changed] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def add(self, section: str, entry: dict[str, Toml]) -> None:
        """A table more."""
        self.draft.add((section,), entry, self.remarks)
        self.remarks = []

    def put(
        self, rule: int, values: dict[str, Toml], where: tuple[str, ...] = ("rule",), at: int | None = None
    ) -> None:
        """Values of a rule, or of the signer at a place."""
        for key, value in values.items():
            self.draft.set(where, rule if at is None else at, key, value)
        if self.remarks:
            self.draft.remark(("rule",), rule, self.remarks)
            self.remarks = []


def add_authority(edit: Edit, sample: Sample, trust: TrustFile) -> None:
    """The timestamp authority of a sample, where the file knows no such."""
    stamp = sample.signature.stamp
    if stamp is None or not stamp.chain:
        return
    leaf, *above = (one.der for one in stamp.chain)
    known = [one.anchor for one in trust.authorities]
    known += [one.anchor for one in edit.draft.trust.authorities]
    path = [one.der for one in chain_of(leaf, (*known, *above, *trust.intermediates))]
    if any(same_key(one, der) for one in known for der in path):
        return
    top = load_certificate(stamp.chain[-1].der, sample.path)
    if trust.authorities:
        edit.changed.append(
            Changed("authority", "; ".join(display(one.name) for one in trust.authorities), stamp.authority)
        )
    name = Names([one.name for one in edit.draft.trust.authorities]).of(top)
    edit.add("authority", {"name": name, "anchor": pem(top)})
    edit.said.append(say("adopt.authority", name=name, subject=display_name(top.subject)))


def add_certificates(edit: Edit, samples: Sequence[Sample], trust: TrustFile) -> None:
    """Signers' certificates that signatures leave out, with what stands between them and the anchor."""
    for sample in samples:
        needed = sample.chain[:-1] if len(sample.chain) > 1 else sample.chain
        for one in needed if not sample.carried else ():
            if der(one) not in trust.certificates and der(one) not in edit.draft.trust.certificates:
                edit.add("certificate", {"certificate": pem(one)})
                edit.said.append(say("adopt.certificate", subject=display_name(one.subject)))


def add_evidence(
    edit: Edit, samples: Sequence[Sample], trust: TrustFile, environment: str, said: Said, now: datetime
) -> None:
    """Where the signers' keys live, which production wants to know and makers' certificates do not say."""
    if environment != "production":
        return
    told = {one.key for one in trust.evidence}
    keys = {spki_digest(one.leaf): one for one in samples if environment_of(one.chain) == "test"}
    for key, sample in keys.items():
        if key in told:
            continue
        if not said.provenance:
            raise UsageError(
                "--environment production",
                f"nothing says that the key of {display_name(sample.leaf.subject)} lives in hardware",
                "Ask the maker and add --provenance hardware-claimed (or hardware-imported); or take it in for test.",
            )
        entry: dict[str, Toml] = {"key": str(key), "provenance": said.provenance}
        entry["reason"] = say("adopt.evidence-reason", path=base_name(sample), day=f"{now:%Y-%m-%d}")
        edit.add("evidence", entry | {"review": (said.review or now + REVIEW).replace(microsecond=0)})
        edit.said.append(say("adopt.evidence", key=key, provenance=said.provenance))


def remarks_of(samples: Sequence[Sample], said: Said, now: datetime) -> list[str]:
    """Where it comes from and who confirmed it, for people who read the file."""
    newest = samples[-1]
    file = str(newest.file) if newest.file is not None else "a folder"
    return [
        say("adopt.remark", day=f"{now:%Y-%m-%d}", path=base_name(newest), file=file),
        say("adopt.remark-confirmed", confirmed=said.confirmed),
    ]


def base_name(sample: Sample) -> str:
    """The sample's name without its folder, printable and short enough for a reason."""
    return display(sample.path.rstrip("/").rpartition("/")[2])[:100]


def names_in(trust: TrustFile) -> Names:
    """The names of anchors and rules, so that new ones differ from them."""
    return Names([*(one.name for one in trust.anchors), *(one.name for one in trust.rules)])


def products_of(samples: Sequence[Sample]) -> list[str]:
    """The products that samples claim in signed bytes, each once."""
    return sorted({one.signature.claims.product for one in samples if one.signature.claims.product})


def der(certificate: x509.Certificate) -> bytes:
    """Its bytes."""
    return certificate.public_bytes(Encoding.DER)


def pem(certificate: x509.Certificate) -> str:
    """As the trust file holds it."""
    return pem_of(der(certificate))
