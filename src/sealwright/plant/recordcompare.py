"""What a device gave back, compared with the record of its installation, where the release is not at hand any more.

The record must be signed by a station that counts, be about this serial number, and say that the installation was done. It holds the digest
of one file: so the bytes must be the same, and no place is named where they differ.
"""

from __future__ import annotations

import os

from sealwright.artifact.names import display
from sealwright.artifact.source import open_artifact
from sealwright.errors import HandoverRefused, MalformedArtifact, UsageError
from sealwright.findings import Severity, reject
from sealwright.plant.installation import ReadBack, Stage
from sealwright.plant.readback import Compared, Layout, Reading
from sealwright.plant.recordcheck import Stations, about_signature
from sealwright.plant.recordfolder import read_stored
from sealwright.plant.recordreader import parse_record
from sealwright.plant.records import Facts
from sealwright.trust.verdict import Outcome


def compare_with_record(path: str, serial: str, reading: Reading, stations: Stations) -> Compared:
    """Compare a file with the record in a folder. HandoverRefused where the record counts for nothing here."""
    if reading.layout is not Layout.EXACT or reading.padding is not None:
        raise UsageError(path, "a record holds a digest alone", "Leave out --as and --padding, or name the release.")
    facts = _facts(path, stations)
    done = facts.installation
    if facts.outcome is not Outcome.TRUSTED or done is None or done.stage is not Stage.DONE:
        raise HandoverRefused(display(path), "it records no installation that was done", "Name the record of its end.")
    if done.serial != serial:
        raise HandoverRefused(display(path), f"it is about the device {done.serial}", "Name the record of this device.")
    wanted = done.part if done.component else facts.file
    if wanted is None:
        raise HandoverRefused(display(path), "what was loaded is no single file", "Compare with the release itself.")
    with open_artifact(reading.path) as source:
        found = source.digests((wanted.algorithm,))[wanted.algorithm]
    differs = reject("SW-READBACK-OTHER", display(os.path.basename(reading.path)), str(wanted), str(found))
    return Compared(ReadBack(found == wanted, found), () if found == wanted else (differs,))


def _facts(path: str, stations: Stations) -> Facts:
    name = os.path.basename(os.path.abspath(path))
    one = read_stored(path, int(name) if name.isdecimal() else 0)
    if one.problem:
        raise MalformedArtifact(display(path), one.problem, "Compare it with a copy of the folder.")
    record = parse_record(one.text, path)
    for finding in about_signature(one, record, name, stations):
        if finding.severity is Severity.REJECT:
            raise HandoverRefused(display(path), finding.sentence, finding.next_step)
    return record.facts
