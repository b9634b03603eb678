"""What a channel offers to whom, and that nothing but the one form of it is read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sealwright.artifact.digest import Digest
from sealwright.errors import MalformedArtifact
from sealwright.release.channels import Channels, Named, Offer, Withdrawn, channels_bytes, parse_channels, place

OLD = Named("1.4.1", 6, Digest.of(b"old"))
NEW = Named("1.4.2", 7, Digest.of(b"new"))
GOOD = Channels(
    "VX-200 drive",
    12,
    (Offer("pilot", OLD, 100, ()), Offer("pilot", NEW, 100, ("line-1",))),
    (Withdrawn(OLD, "CVE-1"),),
)


def test_channels_are_written_and_read_alike() -> None:
    assert parse_channels(channels_bytes(GOOD), "channels.json") == GOOD


def test_a_device_is_offered_the_newest_release_of_its_channel_and_group() -> None:
    channels = replace(GOOD, withdrawn=())
    assert channels.offered("pilot", "d1", "line-1") == NEW
    assert channels.offered("pilot", "d1", "line-2") == OLD
    assert channels.offered("production", "d1", "line-1") is None


def test_a_withdrawn_release_is_offered_to_nobody() -> None:
    assert GOOD.offered("pilot", "d1", "line-2") is None
    assert GOOD.withdrawal(OLD.manifest) == Withdrawn(OLD, "CVE-1")
    assert GOOD.withdrawal(NEW.manifest) is None


def test_a_percentage_reaches_about_as_many_devices_and_more_percent_keep_the_first_ones() -> None:
    devices = [f"gateway-{number}" for number in range(2000)]

    def reached(percent: int) -> set[str]:
        return {device for device in devices if Offer("p", NEW, percent, ()).reaches(device, "g")}

    assert reached(10) < reached(50) < reached(100) == set(devices)
    assert 150 < len(reached(10)) < 250
    assert all(0 <= place(device, NEW.manifest) < 100 for device in devices)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"sealwright channels 1"', b'"sealwright channels 2"'),
        (b'"serial":12', b'"serial":0'),
        (b'"serial":12', b'"serial":12,"serial":13'),
        (b'"serial":12', b'"serial": 12'),
        (b'"serial":12', b'"extra":1,"serial":12'),
        (b" 100 line-1", b" 101 line-1"),
        (b" 100 line-1", b" 0 line-1"),
        (b" 100 line-1", b" 050 line-1"),
        (b" 100 line-1", b" 100 line-2,line-1"),
        (b" 100 line-1", b" 100 "),
        (b"pilot 1.4.2", b"pilot ../.."),
        (b"pilot 1.4.2", b"Pilot 1.4.2"),
        (b"pilot 1.4.2 7 sha256", b"pilot 1.4.2 7 sha512"),
        (b"pilot 1.4.2", b"pilot 1.4.1"),
        (b"pilot 1.4.2 7", b"pilot 1.4.2 6"),
    ],
)
def test_any_other_form_is_refused(old: bytes, new: bytes) -> None:
    data = channels_bytes(GOOD)
    assert data.count(old) >= 1
    with pytest.raises(MalformedArtifact):
        parse_channels(data.replace(old, new, 1), "channels.json")


def test_a_version_has_one_manifest() -> None:
    other = Offer("test", replace(NEW, manifest=Digest.of(b"other")), 100, ())
    channels_bytes(replace(GOOD, offers=(*GOOD.offers, Offer("test", NEW, 100, ()))))
    with pytest.raises(MalformedArtifact, match="two manifests"):
        channels_bytes(replace(GOOD, offers=(*GOOD.offers, other)))
