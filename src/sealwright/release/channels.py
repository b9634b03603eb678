"""`channels.json`: which release each channel of a product offers to which devices, and which releases were withdrawn.

One line of RFC 8785 JSON. It is a TUF target of the product line's role, so who may promote is who signs for that role, and an older
one is refused by whoever saw a newer one. `serial` grows by one with each change and says so to people.

    {"kind":"sealwright channels 1","offers":["pilot 1.4.2 7 sha256:9f86… 10 line-1,line-2"],"product":"VX-200 drive","serial":12,
     "withdrawn":["1.4.1 6 sha256:2cf2… CVE-2026-1234"]}

An offer says channel, version, generation, digest of the manifest, percentage of the devices, groups (`*`: all). Of the offers for a
device the one with the highest generation counts. A device's place in the percentage follows from its id and the manifest alone
(`place`), so raising it from 10 to 50 keeps the first tenth. What was withdrawn is offered to nobody.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.names import display
from sealwright.errors import MalformedArtifact, SealwrightError
from sealwright.log.canonical import MAX_INTEGER, Field, canonical_json, read_canonical
from sealwright.release.layout import checked_part

KIND = "sealwright channels 1"
MAX_OFFERS = 200
MAX_WITHDRAWN = 400
EVERYBODY = "*"
_FIELDS = frozenset(("kind", "offers", "product", "serial", "withdrawn"))
_WORD = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
_ADVISORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,199}")
_NEXT = "Publish the channels again, with `sealwright release promote`."


@dataclass(frozen=True, slots=True)
class Named:
    """A release as channels name it: its version, its generation and the digest of its manifest."""

    version: str
    generation: int
    manifest: Digest


@dataclass(frozen=True, slots=True)
class Offer:
    """One channel's offer. percent: 1 to 100; groups: sorted, () for all."""

    channel: str
    release: Named
    percent: int
    groups: tuple[str, ...]

    def reaches(self, device: str, group: str) -> bool:
        """Whether a device of a group is among those that it is for."""
        return (not self.groups or group in self.groups) and place(device, self.release.manifest) < self.percent


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A release that nobody is to install any more. advisory: the id of the notice that says why."""

    release: Named
    advisory: str


@dataclass(frozen=True, slots=True)
class Channels:
    """What is offered of one product. product: as the manifests claim it."""

    product: str
    serial: int
    offers: tuple[Offer, ...]
    withdrawn: tuple[Withdrawn, ...]

    def offered(self, channel: str, device: str, group: str) -> Named | None:
        """The newest release that a channel offers to a device; None where there is none."""
        gone = {one.release.manifest for one in self.withdrawn}
        reaching = [
            offer.release
            for offer in self.offers
            if offer.channel == channel and offer.release.manifest not in gone and offer.reaches(device, group)
        ]
        return max(reaching, key=lambda release: release.generation, default=None)

    def withdrawal(self, manifest: Digest) -> Withdrawn | None:
        """That a release was withdrawn; None where it was not."""
        return next((one for one in self.withdrawn if one.release.manifest == manifest), None)


def place(device: str, manifest: Digest) -> int:
    """A device's place among a hundred, 0 to 99, the same each time for one release and another one for the next."""
    drawn = hashlib.sha256(f"sealwright roll-out 1\n{device}\n{manifest}\n".encode()).digest()
    return int.from_bytes(drawn[:8], "big") % 100


def channels_bytes(channels: Channels) -> bytes:
    """The one encoding, read again before it leaves; MalformedArtifact for what no reader would take."""
    data = canonical_json(
        {
            "kind": KIND,
            "product": channels.product,
            "serial": channels.serial,
            "offers": tuple(sorted(_offer_text(offer) for offer in channels.offers)),
            "withdrawn": tuple(sorted(f"{_named_text(one.release)} {one.advisory}" for one in channels.withdrawn)),
        }
    )
    parse_channels(data, channels.product)
    return data


def parse_channels(data: bytes, subject: str) -> Channels:
    """Read the channels of a product; MalformedArtifact saying what is wrong, at most 64 KiB."""
    try:
        fields = read_canonical(data)
        if set(fields) != _FIELDS or fields["kind"] != KIND:
            raise ValueError(f"it is no `{KIND}`")
        offers = tuple(_offer(text) for text in _texts(fields["offers"], MAX_OFFERS))
        withdrawn = tuple(_withdrawn(text) for text in _texts(fields["withdrawn"], MAX_WITHDRAWN))
        channels = Channels(_product(fields["product"]), _serial(fields["serial"]), offers, withdrawn)
        _check_one_meaning(channels)
    except (ValueError, SealwrightError) as cause:
        raise MalformedArtifact(subject, f"its channels are not readable: {cause}"[:300], _NEXT) from cause
    return channels


def _offer_text(offer: Offer) -> str:
    return f"{offer.channel} {_named_text(offer.release)} {offer.percent} {','.join(offer.groups) or EVERYBODY}"


def _named_text(release: Named) -> str:
    return f"{release.version} {release.generation} {release.manifest}"


def _offer(text: str) -> Offer:
    parts = text.split(" ")
    if len(parts) != 6:
        raise ValueError(f"{display(text[:80])} is no offer")
    groups = () if parts[5] == EVERYBODY else tuple(_word(group) for group in parts[5].split(","))
    if list(groups) != sorted(set(groups)):
        raise ValueError(f"the groups of {display(text[:80])} are not sorted or repeat one")
    percent = _number(parts[4])
    if not 1 <= percent <= 100:
        raise ValueError(f"{percent} percent")
    return Offer(_word(parts[0]), _named(parts[1:4]), percent, groups)


def _withdrawn(text: str) -> Withdrawn:
    parts = text.split(" ")
    if len(parts) != 4 or not _ADVISORY.fullmatch(parts[3]):
        raise ValueError(f"{display(text[:80])} is no withdrawal")
    return Withdrawn(_named(parts[:3]), parts[3])


def _named(parts: list[str]) -> Named:
    manifest = Digest.parse(parts[2])
    if manifest.algorithm is not HashName.SHA256:
        raise ValueError("a manifest is named by SHA-256")
    return Named(checked_part(parts[0], "version"), _number(parts[1]), manifest)


def _word(text: str) -> str:
    if not _WORD.fullmatch(text):
        raise ValueError(f"{display(text[:80])} is no name of a channel or group")
    return text


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text) or int(text) > MAX_INTEGER:
        raise ValueError(f"{display(text[:80])} is no whole number")
    return int(text)


def _product(value: Field) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > 200 or display(value) != value:
        raise ValueError("`product` is no printable text")
    return value


def _serial(value: Field) -> int:
    if not isinstance(value, int) or value < 1:
        raise ValueError("`serial` is no whole number from 1")
    return value


def _texts(value: Field, most: int) -> tuple[str, ...]:
    """The texts of a list, sorted, each once."""
    if not isinstance(value, tuple) or len(value) > most or list(value) != sorted(set(value)):
        raise ValueError(f"a list is not sorted, repeats a text or holds more than {most}")
    return value


def _check_one_meaning(channels: Channels) -> None:
    """A version has one manifest and a manifest one version (A160), and of one channel and generation no two releases are offered."""
    named = [*(offer.release for offer in channels.offers), *(one.release for one in channels.withdrawn)]
    if len({release.version for release in named}) != len(set(named)) or len(
        {release.manifest for release in named}
    ) != len(set(named)):
        raise ValueError("a version is named with two manifests, or a manifest with two versions")
    if len({one.release for one in channels.withdrawn}) != len(channels.withdrawn):
        raise ValueError("a release is withdrawn twice")
    of: dict[tuple[str, int], Named] = {}
    for offer in channels.offers:
        if of.setdefault((offer.channel, offer.release.generation), offer.release) != offer.release:
            raise ValueError(
                f"the channel {offer.channel} offers two releases of generation {offer.release.generation}"
            )
