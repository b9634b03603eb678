"""What a promotion or a withdrawal makes of a product's channels, and what is never offered."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sealwright.artifact.digest import Digest
from sealwright.errors import ReleaseRefused, UsageError
from sealwright.release.channels import Channels, Named, Offer, Withdrawn, channels_bytes
from sealwright.release.offers import Wanted, promoted, withdrawn

OLD, NOW, NEW = (Named(f"1.4.{n}", 5 + n, Digest.of(b"%d" % n)) for n in (1, 2, 3))
EMPTY = Channels("VX-200 drive", 1, (), ())


def offered(channels: Channels, release: Named, channel: str = "pilot", percent: int = 100, *groups: str) -> Channels:
    after = promoted(channels, Wanted(Offer(channel, release, percent, groups), {OLD.manifest: 7}))
    channels_bytes(after)
    return after


def test_a_roll_out_grows_step_by_step_and_ends_the_older_offer() -> None:
    first = offered(EMPTY, NOW)
    tenth = offered(first, NEW, percent=10)
    assert [(one.release, one.percent) for one in tenth.offers] == [(NOW, 100), (NEW, 10)]
    half = offered(tenth, NEW, "pilot", 50)
    assert [(one.release, one.percent) for one in half.offers] == [(NOW, 100), (NEW, 50)]
    every = offered(half, NEW)
    assert [(one.release, one.percent) for one in every.offers] == [(NEW, 100)]
    assert every.serial == 5


def test_channels_and_groups_stand_beside_one_another() -> None:
    both = offered(offered(EMPTY, NOW, "pilot", 100, "line-1"), NEW, "production")
    assert both.offered("pilot", "d", "line-1") == NOW
    assert both.offered("pilot", "d", "line-2") is None
    assert both.offered("production", "d", "line-2") == NEW


def test_the_same_offer_twice_is_nothing_to_do() -> None:
    with pytest.raises(UsageError, match="offers it so already"):
        offered(offered(EMPTY, NOW), NOW)


def test_below_what_a_channel_enforces_nothing_is_offered() -> None:
    """1.4.1 enforces generation 7 in this table."""
    low = replace(OLD, version="1.4.0", generation=6, manifest=Digest.of(b"low"))
    offered(EMPTY, low)
    with pytest.raises(ReleaseRefused, match="below 7, which pilot enforces"):
        offered(offered(EMPTY, OLD), low)
    offered(offered(EMPTY, OLD), low, "test")
    offered(offered(EMPTY, OLD), NOW)


def test_what_is_withdrawn_and_what_is_older_is_not_offered_again() -> None:
    gone = withdrawn(offered(offered(EMPTY, NOW), NOW, "production"), NOW, "CVE-1")
    assert (gone.offers, gone.withdrawn) == ((), (Withdrawn(NOW, "CVE-1"),))
    with pytest.raises(ReleaseRefused, match=r"withdrawn \(CVE-1\)"):
        offered(gone, NOW)
    with pytest.raises(ReleaseRefused, match=r"below that of 1\.4\.2"):
        offered(gone, OLD)
    assert offered(gone, NEW).offered("pilot", "d", "g") == NEW
    with pytest.raises(UsageError, match="withdrawn already"):
        withdrawn(gone, NOW, "CVE-2")
