"""`trust add FILE --from SAMPLE`: a maker taken in from a file that they shipped, shown first and confirmed over a second channel."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sealwright.cli.arguments import rfc3339

if TYPE_CHECKING:
    from cryptography import x509

    from sealwright.artifact.digest import Digest
    from sealwright.plant.adopt import Proposal
    from sealwright.plant.adoptedit import Said
    from sealwright.plant.sample import Changed, Handed, Sample

ENVIRONMENTS = ("production", "test", "development")
PROVENANCES = ("hardware-attested", "hardware-claimed", "hardware-imported")
MAX_SAMPLES = 50


def options(add: argparse.ArgumentParser) -> None:
    """The options of `trust add` that go with --from."""
    found = add.add_argument_group("a maker, from a file that they shipped")
    found.add_argument(
        "--from", dest="samples", metavar="SAMPLE", action="append", default=[],
        help="a signed file of the maker; several show how often they release (repeat)",
    )  # fmt: skip
    found.add_argument("--confirmed", metavar="TEXT", help='the second channel, such as "call with ACME, 26 Nov"')
    found.add_argument("--dry-run", action="store_true", help="show what would be added, write nothing")
    found.add_argument("--anchor", dest="above", metavar="CERT", help="the maker's authority, where the path shall end")
    found.add_argument(
        "--signer", dest="signers", metavar="CERT", action="append", default=[],
        help="the signer's certificate or public key, where signatures carry none (repeat)",
    )  # fmt: skip
    found.add_argument("--name", dest="anchor_name", metavar="TEXT", default="", help="what rules call the authority")
    found.add_argument("--environment", dest="sample_environment", choices=ENVIRONMENTS, default="")
    found.add_argument(
        "--provenance", dest="sample_provenance", choices=PROVENANCES, default="", help="where the maker's key lives"
    )
    found.add_argument("--public", dest="public_authority", action="store_true", help="the authority is a public CA")
    for name, words in (("owner", "who answers for the rule"), ("reason", "why it is there")):
        found.add_argument(f"--{name}", dest=f"rule_{name}", metavar="TEXT", default="", help=words)
    found.add_argument(
        "--review", dest="rule_review", metavar="TIME", type=rfc3339, help="when to look again (90 days)"
    )
    found.add_argument("--home", metavar="DIR", help="record it in the journal of this signing home")


def refuse_with_kind(args: argparse.Namespace) -> None:
    """UsageError where an option of --from stands beside a KIND, which knows none of them: `--dry-run` would write."""
    from sealwright.errors import UsageError

    ours = (
        args.samples, args.confirmed is not None, args.dry_run, args.above, args.signers, args.anchor_name, args.sample_environment,
        args.sample_provenance, args.public_authority, args.rule_owner, args.rule_reason, args.rule_review, args.home,
    )  # fmt: skip
    if any(ours):
        raise UsageError(
            args.kind,
            "an option before it goes with --from SAMPLE alone",
            f"Write the options of {args.kind} behind it.",
        )


def run_from(args: argparse.Namespace) -> int:
    """Show, ask, record, write; UsageError where nobody confirmed it."""
    from sealwright.artifact.digest import Digest
    from sealwright.artifact.folders import alone_in
    from sealwright.artifact.names import display
    from sealwright.artifact.output import Replace, write_atomic
    from sealwright.artifact.progress import TerminalProgress
    from sealwright.errors import UsageError
    from sealwright.plant.adopt import propose
    from sealwright.plant.sample import check_one_maker, read_sample
    from sealwright.texts.words import say
    from sealwright.trust.draft import Draft

    draft, now = Draft.read(args.file), datetime.now(UTC)
    if draft.denying:
        raise UsageError(args.file, "a deny list takes nobody in", "Name the trust file.")
    if len(args.samples) > MAX_SAMPLES:
        raise UsageError("--from", f"{len(args.samples)} samples", f"At most {MAX_SAMPLES} are read.")
    before, handed = draft.text, _handed(args, now)
    with TerminalProgress("reading") as progress:
        samples = [read_sample(path, handed, now, progress) for path in args.samples]
        samples.sort(key=lambda one: one.made or one.leaf.not_valid_before_utc)
        check_one_maker(samples)
        said = _said(args, args.confirmed or say("adopt.unconfirmed"))
        trial = propose(Draft(before.encode(), args.file), samples, said, now, progress)
    ends = _ends(samples, now)
    warnings = [*trial.warnings, *ends]
    if not args.json:
        for one in samples:
            print("\n".join(map(display, _about(one))))
        for text in (*map(_changed, trial.changed), *(say("adopt.warning", text=one) for one in warnings)):
            print("  " + display(text))
    if trial.data is None:
        return _nothing(args, samples, trial, warnings)
    if args.dry_run:
        return _shown(args, samples, trial, warnings, before)
    if not args.json:
        print(say("adopt.compare"))
    confirmed = args.confirmed if args.confirmed is not None else _asked(args)
    if not confirmed.strip():
        raise UsageError(
            args.file, "no second channel confirmed the fingerprint, nothing is added",
            'Compare it with the maker, then: --confirmed "call with ACME support, 26 Nov"',
        )  # fmt: skip
    if not confirmed.isprintable() or len(confirmed) > 200:
        raise UsageError("--confirmed", "it is no text", "Write 1 to 200 printable characters.")
    with TerminalProgress("reading") as progress:
        made = propose(draft, samples, _said(args, confirmed), now, progress)
    data = made.data or b""
    with alone_in(os.path.dirname(args.file)):
        if Draft.read(args.file).text != before:
            raise UsageError(args.file, "it changed while you were asked", "Run it again, and look at the new text.")
        if args.home is not None:
            _record(args, samples, draft.trust.id, Digest.of(data), confirmed, now)
        write_atomic(args.file, data, replace=Replace.YES)
    if args.json:
        from sealwright.cli.jsonout import line

        print(line(_object(args, samples, made, warnings, before) | {"written": True, "confirmed": confirmed}))
        return 0
    print(say("trust-edit.written", path=display(args.file)))
    for text in (*made.said, _verdict(samples, made)):
        print("  " + display(text))
    if args.home is not None:
        print("  " + say("adopt.recorded", home=display(args.home)))
    print("  " + say("trust-edit.next", path=display(args.file)))
    return 0


def _handed(args: argparse.Namespace, now: datetime) -> Handed:
    from sealwright.plant.sample import Handed
    from sealwright.trust.intake import certificate_in

    anchors = (certificate_in(args.above),) if args.above is not None else ()
    return Handed(anchors, tuple(dict.fromkeys(der for path in args.signers for der in _signers_in(path, now))))


def _signers_in(path: str, now: datetime) -> tuple[bytes, ...]:
    """The certificates of a file; where it is a bare public key, one that is made for it and the authority above."""
    from sealwright.errors import UsageError
    from sealwright.plant.keyholder import certified
    from sealwright.trust.intake import certificates_in, public_key_in

    try:
        return tuple(certificates_in(path))
    except UsageError:
        return tuple(certified(public_key_in(path), now))


def _said(args: argparse.Namespace, confirmed: str) -> Said:
    from sealwright.plant.adoptedit import Said

    return Said(
        confirmed=confirmed,
        name=args.anchor_name,
        environment=args.sample_environment,
        provenance=args.sample_provenance,
        public=args.public_authority,
        owner=args.rule_owner,
        reason=args.rule_reason,
        review=args.rule_review,
    )


def _asked(args: argparse.Namespace) -> str:
    """The answer of a person at a terminal; "" where nobody sits there."""
    from sealwright.texts.words import say

    if args.json or not sys.stdin.isatty():
        return ""
    print(say("adopt.ask"), end="", file=sys.stderr, flush=True)
    return sys.stdin.readline(1000).rstrip("\n")


def _record(
    args: argparse.Namespace, samples: list[Sample], trust: str, text: Digest, confirmed: str, now: datetime
) -> None:
    from sealwright.signing.adopted import Adopted, record_adoption
    from sealwright.signing.home import open_home
    from sealwright.trust.certificate import tbs_digest

    adopted = [Adopted(one.file, tbs_digest(one.leaf), tbs_digest(one.anchor)) for one in samples]
    record_adoption(open_home(args.home), adopted, trust, text, confirmed, now)


# --- what is shown ----------------------------------------------------------------------------------------------------


def _about(sample: Sample) -> list[str]:
    """Who signed a sample, in words."""
    from sealwright.artifact.names import display
    from sealwright.texts.words import say
    from sealwright.trust.certificate import display_name
    from sealwright.trust.rules import describe

    signature = sample.signature
    said = [say("adopt.sample", path=display(sample.path), format=signature.format, subject=signature.subject)]
    claims = signature.claims
    below = [say("adopt.claims", claims=display(describe(claims))) if claims.product else say("adopt.no-claims")]
    stamp = signature.stamp
    if stamp is not None:
        below.append(say("adopt.stamp", time=f"{stamp.time:%Y-%m-%d %H:%M}Z", authority=stamp.authority))
    else:
        below.append(say("adopt.no-stamp"))
    below += [say("adopt.bad-stamp", why=one.problem) for one in signature.stamps if one.problem]
    below += [say("adopt.other", subject=one.subject or "?", state=one.state.value) for one in sample.others]
    last = len(sample.chain) - 1
    for at, one in enumerate(sample.chain):
        role = (
            say("adopt.role-signer")
            if at == 0
            else say("adopt.role-anchor")
            if at == last
            else say("adopt.role-issuer")
        )
        below.append(say("adopt.certificate-head", role=role, subject=display_name(one.subject)))
        below += ["  " + text for text in _facts(one)]
    return [*said, *("  " + text for text in below)]


def _facts(certificate: x509.Certificate) -> list[str]:
    from sealwright.plant.sample import key_name
    from sealwright.texts.words import say
    from sealwright.trust.certificate import display_name, spki_digest
    from sealwright.trust.words import groups, words

    digest = _fingerprint(certificate)
    start, end = (f"{one:%Y-%m-%d}" for one in (certificate.not_valid_before_utc, certificate.not_valid_after_utc))
    return [
        say("adopt.issuer", issuer=display_name(certificate.issuer)),
        say("adopt.dates", start=start, end=end, key=key_name(certificate)),
        say("adopt.fingerprint", digits=groups(digest)),
        say("adopt.words", words=words(digest)),
        say("adopt.key", digest=spki_digest(certificate)),
    ]


def _fingerprint(certificate: x509.Certificate) -> Digest:
    """SHA-256 of the whole certificate, as `openssl x509 -fingerprint -sha256` shows it."""
    from cryptography.hazmat.primitives.serialization import Encoding

    from sealwright.artifact.digest import Digest

    return Digest.of(certificate.public_bytes(Encoding.DER))


def _ends(samples: list[Sample], now: datetime) -> list[str]:
    """Whether the newest sample's signer lasts until the next release."""
    from sealwright.plant.sample import forecast
    from sealwright.texts.words import say

    next_one, end = forecast(samples, now), samples[-1].leaf.not_valid_after_utc
    if end >= next_one.due:
        return []
    if next_one.seen:
        assumption = say("adopt.every-seen", days=max(1, next_one.every.days), number=next_one.seen)
    else:
        assumption = say("adopt.every-assumed")
    return [say("adopt.ends", end=f"{end:%Y-%m-%d}", due=f"{next_one.due:%Y-%m-%d}", assumption=assumption)]


def _changed(one: Changed) -> str:
    from sealwright.texts.words import say

    what = {
        "certificate": say("adopt.what-certificate"),
        "subject": say("adopt.what-subject"),
        "issuer": say("adopt.what-issuer"),
        "authority": say("adopt.what-authority"),
        "weaker": say("adopt.what-weaker"),
    }[one.what]
    return say("adopt.changed", what=what, before=one.before or "-", after=one.after)


def _nothing(args: argparse.Namespace, samples: list[Sample], made: Proposal, warnings: list[str]) -> int:
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    if args.json:
        from sealwright.cli.jsonout import line

        print(line(_object(args, samples, made, warnings, "") | {"written": False}))
    elif made.verdict.outcome.value == "trusted":
        print(say("adopt.nothing", path=display(samples[-1].path), rule=display(made.rule)))
    else:
        why = display(made.verdict.findings[0].sentence)
        print(say("adopt.nothing-undecided", trust=display(args.file), why=why))
    return 0


def _shown(args: argparse.Namespace, samples: list[Sample], made: Proposal, warnings: list[str], before: str) -> int:
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    if args.json:
        from sealwright.cli.jsonout import line

        print(line(_object(args, samples, made, warnings, before) | {"written": False}))
        return 0
    print(say("adopt.dry", path=display(args.file)))
    print("\n".join(_difference(before, made)))
    for text in (*made.said, _verdict(samples, made)):
        print("  " + display(text))
    return 0


def _verdict(samples: list[Sample], made: Proposal) -> str:
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    path, rule = display(samples[-1].path), display(made.rule) or "-"
    return say("adopt.verdict", path=path, outcome=made.verdict.outcome.value, rule=rule)


def _difference(before: str, made: Proposal) -> list[str]:
    """The lines that come and go, marked + and -."""
    from sealwright.artifact.names import display

    after = (made.data or b"").decode()
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return [display(one) for one in lines if not one.startswith(("---", "+++", "@@"))]


def _object(
    args: argparse.Namespace, samples: list[Sample], made: Proposal, warnings: list[str], before: str
) -> dict[str, object]:
    return {
        "path": args.file,
        "samples": [_sample_object(one) for one in samples],
        "changed": [{"what": one.what, "before": one.before, "after": one.after} for one in made.changed],
        "warnings": warnings,
        "said": list(made.said),
        "text": _difference(before, made) if made.data is not None else [],
        "outcome": made.verdict.outcome.value,
        "rule": made.rule or None,
    }


def _sample_object(sample: Sample) -> dict[str, object]:
    from sealwright.trust.certificate import display_name
    from sealwright.trust.words import words

    signature, stamp = sample.signature, sample.signature.stamp
    chain = [
        {
            "subject": display_name(one.subject),
            "issuer": display_name(one.issuer),
            "sha256": _fingerprint(one).value.hex(),
            "words": words(_fingerprint(one)),
            "not_before": one.not_valid_before_utc,
            "not_after": one.not_valid_after_utc,
        }
        for one in sample.chain
    ]
    return {
        "path": sample.path,
        "file": str(sample.file) if sample.file is not None else None,
        "format": signature.format,
        "product": signature.claims.product,
        "version": signature.claims.version,
        "chain": chain,
        "timestamp": stamp.time if stamp is not None else None,
        "authority": stamp.authority if stamp is not None else None,
    }
