"""Object identifiers of ours, under one UUID arc (docs/decisions/0002-oid-arc.md). None is needed to verify a `.p7s`."""

from __future__ import annotations

from sealwright.envelope.kinds import Construction

ARC = "2.25.2266217910231888990465978115899467969"
DEVELOPMENT = f"{ARC}.1.1"
HARDWARE_CLAIMED = f"{ARC}.1.2"
HARDWARE_ATTESTED = f"{ARC}.1.3"
# The construction that a key is enrolled for (RULES 2), in the certificates we issue for keys whose signatures are bare.
CONSTRUCTIONS = {
    Construction.KMOD: f"{ARC}.3.1",
    Construction.MCUBOOT: f"{ARC}.3.2",
    Construction.FIT: f"{ARC}.3.3",
    Construction.UEFI_VARIABLE: f"{ARC}.3.4",
    Construction.LAYOUT: f"{ARC}.3.5",
    Construction.VERITY: f"{ARC}.3.6",
    Construction.FSVERITY: f"{ARC}.3.7",
    Construction.IMA: f"{ARC}.3.8",
    Construction.ESP32: f"{ARC}.3.9",
    Construction.XMLDSIG: f"{ARC}.3.10",
    Construction.NOTE: f"{ARC}.3.11",
    Construction.TUF: f"{ARC}.3.12",
}
TIMESTAMP_POLICY = f"{ARC}.2.1"
# An extended key usage of ours, so that the certificate of a log's key serves for nothing else
LOG_SIGNING = f"{ARC}.4.1"
# The same for the key of a station that records what it verified
RECORD_SIGNING = f"{ARC}.4.2"
# And for a device's own key, which says what the device runs
REPORT_SIGNING = f"{ARC}.4.3"
# The same for the key of a release repository's role
REPOSITORY_SIGNING = f"{ARC}.4.4"
