"""A survey as JSON: one object a line, each with `kind`; what is said of a kind only ever grows. See docs/survey.md.

Lines come in this order: survey, signer, file (every one with a signature), problem, left, unsigned, belonging, copies, versions, rule, summary.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from sealwright.cli.jsonout import line, moment
from sealwright.cli.surveyreport import LEFT_ALONE
from sealwright.plant.seen import SignerLine, Tally
from sealwright.plant.signers import State
from sealwright.plant.spool import Spool
from sealwright.plant.walk import Left


def begun(paths: Sequence[str], now: datetime) -> str:
    """The first line."""
    return line({"kind": "survey", "version": 1, "paths": list(paths), "time": now})


def lines(spool: Spool, now: datetime, seconds: float, exit_code: int, rules: Sequence[str] | None) -> Iterator[str]:
    """The other lines."""
    yield from (_signer(one, now) for one in spool.by_signer())
    for path, state, digest, size, signatures in spool.signed():
        described = [
            {
                "signer": one["signer"],
                "subject": one["subject"],
                "issuer": one["issuer"] or None,
                "certificate": one["certificate"] or None,
                "format": one["format"],
                "slot": one["slot"],
                "state": one["state"],
                "algorithm": one["algorithm"] or None,
                "weakness": one["weakness"] or None,
                "timestamp": moment(datetime.fromtimestamp(one["stamped"], UTC)) if one["stamped"] else None,
                "timestamp_authority": one["authority"] or None,
                "timestamp_problem": one["stamp_problem"] or None,
                "product": one["product"] or None,
                "version": one["version"] or None,
                "generation": int(one["generation"]) if one["generation"] else None,
                "code": one["code"] or None,
                "why": one["why"] or None,
            }
            for one in signatures
        ]
        yield line(
            {
                "kind": "file",
                "path": path,
                "state": state,
                "digest": digest or None,
                "size": size,
                "signatures": described,
            }
        )
    for one in spool.told(State.UNREADABLE):
        yield line({"kind": "problem", "path": one.path, "why": one.why, "code": one.code or None})
    for left in spool.not_read(Left.UNREADABLE):
        yield line({"kind": "problem", "path": os.fsdecode(left.path), "why": left.what, "code": None})
    for left in spool.not_read(*LEFT_ALONE, Left.ELSEWHERE):
        yield line({"kind": "left", "path": os.fsdecode(left.path), "why": left.why.value})
    for folder in spool.unsigned():
        yield line({"kind": "unsigned", "folder": folder.path, "files": folder.files, "size": folder.size})
    for one_belonging in spool.belonging():
        yield line(
            {
                "kind": "belonging",
                "path": one_belonging.path,
                "owner": one_belonging.owner,
                "what": one_belonging.kind,
                "bound": one_belonging.bound,
            }
        )
    for copies in spool.copies(-1, -1):
        yield line(
            {
                "kind": "copies",
                "digest": copies.digest,
                "size": copies.size,
                "number": copies.number,
                "paths": list(copies.paths),
            }
        )
    for product in spool.products():
        versions = [
            {"version": one.version, "generation": one.generation or None, "files": one.files, "path": one.path}
            for one in product.versions
        ]
        yield line({"kind": "versions", "product": product.product, "signer": product.signer, "versions": versions})
    if rules is not None:
        for rule in spool.rules(rules):
            reasons = [
                {"code": one.code, "number": one.number, "why": one.why, "path": one.path} for one in rule.reasons
            ]
            yield line(
                {
                    "kind": "rule",
                    "rule": rule.rule or None,
                    "allowed": rule.allowed,
                    "refused": rule.refused,
                    "undecided": rule.undecided,
                    "reasons": reasons,
                }
            )
    counts = spool.counts
    yield line(
        {
            "kind": "summary",
            "files": counts.total,
            "folders": counts.folders,
            "size": counts.size,
            "states": _tallies(counts.files),
            "trees": counts.trees,
            "left": _tallies(counts.left),
            "unread": counts.unread,
            "complete": counts.unread == 0,
            "seconds": round(seconds, 3),
            "exit_code": exit_code,
        }
    )


def _signer(one: SignerLine, now: datetime) -> str:
    certificates = [
        {
            "certificate": each.digest,
            "key": each.key or None,
            "not_before": each.not_before,
            "not_after": each.not_after,
            "ended": each.not_after <= now,
            "files": each.files,
        }
        for each in one.certificates
    ]
    return line(
        {
            "kind": "signer",
            "id": one.id,
            "subject": one.subject,
            "issuer": one.issuer or None,
            "files": one.files,
            "states": _tallies(one.states),
            "formats": _tallies(one.formats),
            "algorithms": _tallies(one.algorithms),
            "timestamped": one.stamped,
            "not_timestamped": one.unstamped,
            "timestamp_authorities": _tallies(one.authorities),
            "products": list(one.products),
            "next_end": moment(one.next_end),
            "certificates": certificates,
        }
    )


def _tallies(some: Sequence[Tally]) -> dict[str, int]:
    return {one.what: one.number for one in some}
