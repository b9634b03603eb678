"""What is said of release repositories, and of who carries them."""

from __future__ import annotations

from sealwright.texts.text import Text

TEXTS: dict[str, Text] = {
    "SW-REPOSITORY-REFUSED": Text(
        "the repository {subject} is refused: {found}", "Fetch from its own server, or ask whoever publishes it."
    ),
    "SW-REPOSITORY-STALE": Text(
        "the repository {subject} has ended, so newer releases may be withheld: {found}",
        "Fetch it again, or have it published again.",
    ),
    "SW-REPOSITORY-UNAVAILABLE": Text(
        "the repository {subject} could not be read or written: {found}", "Check its address, the network and the disk."
    ),
    "SW-COURIER-REFUSED": Text(
        "the courier {subject} is refused: {found}", "Do not use it; ask its sender for another one, on another way."
    ),
}
WORDS: dict[str, str] = {
    "courier.packed": "packed: {name} for {to}, {files} files: {out}",
    "courier.until": "  good until {until}",
    "courier.next-unpack": "Next: carry it over; there: sealwright courier unpack",
    "courier.taken": "taken over: {name}, packed {made}: {folder}",
    "courier.signer": "  signed by {signer}, by the rule {rule}",
    "courier.part-repository": "repository: {targets} files of releases, now in {into}/repository",
    "courier.part-trust": "trust file: {folder}/trust; install it with sealwright trust install",
    "courier.part-log": "a log's checkpoint and proofs",
    "courier.part-files": "signed files: {folder}/files; verify them where they are used",
    "courier.part-reports": "reports of devices: {folder}/reports",
    "courier.acknowledge": "acknowledged as {digest}",
    "release.could-be-signed": "{path}: a complete release of {files} files without private keys; nothing was signed",
    "release.added": "staged: {product} {version}, generation {generation}, as {place}/{version} ({files} files, {size})",
    "release.added-proofs": "staged: proofs of {product} {version}, generation {generation}, which {place} has already ({files} files, {size})",
    "release.next-sign": "Next: sealwright release sign {desk} --home HOME, with the keys of the product line; then `release publish`",
    "release.next-others": "Next: whoever holds a missing key signs with sealwright release sign {desk} --home HOME",
    "release.next-publish": "Next: sealwright release publish {desk} --home HOME, with the online keys",
    "release.staged": "staged: {role} version {version}, signed by enough ({signed}), until {ends}",
    "release.staged-missing": "staged: {role} version {version}, signed by {signed}, {missing} more must sign, until {ends}",
    "release.bins": "staged: {number} bins of the line; {missing} more must sign",
    "release.promoted": "staged: {channel} offers {version} to {percent} percent of {groups}",
    "release.all-groups": "all groups",
    "release.withdrawn": "staged: {version} is offered to nobody any more ({advisory})",
    "release.deny": "Devices that have it already refuse it after: {command}",
    "release.planned": "would be published: roles {roles}; {files} new files, {size}",
    "release.published": "published to {place}: {files} new files, {size}",
    "release.until": "timestamp {version}, good until {time}: refresh it before that (release refresh)",
    "release.root": "Trust files name this repository by its first root, {root}: sealwright trust add trust.toml repository 1.root.json",
    "release.place": "published to {place}",
    "release.role": "{role}: version {version}, until {ends}",
    "release.role-ends": "{role}: version {version}, until {ends}  <- renew it",
    "release.product": "{place}: {product}, {number} releases, {size}, channels {serial}",
    "release.offer": "{channel}: {version} (generation {generation}) to {percent} percent of {groups}",
    "release.group": "{group}: {runs} of {devices} run it, {waits} wait",
    "release.refused": "refused by {devices} ({code})",
    "release.returned": "taken back by {devices} ({code})",
    "release.no-device": "no device of the channel told anything",
    "release.not-counted": "the service does not know this offer",
    "release.other-serial": "{product}: the service counts by channels {serial}, here they are {here}: copy channels.json there",
    "release.still-runs": "{product} {version} was withdrawn ({advisory}) and runs on {devices}",
    "release.told": "{reported} of {devices} devices reported",
    "release.acknowledged": "{courier}: acknowledged by {devices}",
    "release.reports-refused": "{number} reports do not count:",
    "release.report-refused": "{path}: {why}",
    "release.gone": "withdrawn: {version} ({advisory})",
    "release.nothing-staged": "nothing is staged",
    "release.changed": "{name}: {before} -> {now}",
    "release.file-added": "added     {name}",
    "release.file-removed": "removed   {name}",
    "release.file-changed": "changed   {name}",
    "release.compared": "{path} against {before}: {changed} files differ, {same} are the same",
    "release.back": "It is OLDER than the one accepted before: {why}",
    "release.all-accepted": "everything that {channel} offers is accepted already",
    "release.acceptances": "staged in {desk}: {number} acceptances of {product}",
    "release.first": "{path}: no release of it was accepted before; it has {files} files",
}
