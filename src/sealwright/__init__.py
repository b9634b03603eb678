"""Code signing for operational technology: sign firmware, software, configurations and backups; verify them offline.

    import sealwright

    verdict = sealwright.verify("drive.bin", "trust.toml")
    if verdict.outcome == "trusted":
        ...
    signed = sealwright.sign("drive.bin", "home", product="drive", version="2.4", generation=7)

Everything else is in the rooms below this package; `docs/library.md` has examples that run.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from sealwright.signing.sign import Signed
    from sealwright.trust.verdict import Verdict

# cryptography remarks on odd certificates of others (a name too long, a serial number below zero); the verdict says what
# matters. Only remarks to modules of ours are dropped: the caller's warnings and filters, in every thread, stay theirs.
warnings.filterwarnings("ignore", category=UserWarning, module=r"sealwright\.")

__version__ = "0.1.0"
__all__ = ["__version__", "sign", "verify"]


def verify(
    path: str,
    trust: str,
    *,
    purpose: str = "install",
    trust_fingerprint: str | None = None,
    signature: str | None = None,
    state: str | None = None,
    hardware: str = "",
    product: str = "",
    line: str = "",
    at: datetime | None = None,
) -> Verdict:
    """Judge one file or folder by a trust file; reads files only, opens no network socket.

    purpose: "install", "run" or "restore"; hardware, product, line: what it is meant for (line: production line); at: judge as if it were this time (aware), hypothetically; state: folder of the
    verifier's memory. An artifact that is not to be trusted is a verdict, not an exception. Raises MalformedTrust or
    TrustRefused for a trust file that cannot be used, UsageError for a call that cannot mean anything.
    """
    from datetime import UTC
    from datetime import datetime as clock

    from sealwright.errors import UsageError
    from sealwright.trust.belief import load_trust
    from sealwright.trust.verdict import Purpose
    from sealwright.trust.verify import Request, verify_paths

    if purpose not in tuple(Purpose):
        raise UsageError("purpose", f"{purpose!r} is not one of install, run and restore", "Name one of them.")
    request = Request(
        clock=clock.now(UTC),
        purpose=Purpose(purpose),
        at=at,
        signature=signature,
        state=state,
        hardware=hardware,
        product=product,
        line=line,
    )
    (verdict,) = verify_paths([path], load_trust(trust, fingerprint=trust_fingerprint), request)
    return verdict


def sign(
    path: str,
    home: str,
    *,
    key: str | None = None,
    product: str | None = None,
    version: str | None = None,
    generation: int | None = None,
    hardware: Sequence[str] = (),
    environment: str | None = None,
    timestamp: str | Sequence[str] | None = None,
    timestamp_later: bool | None = None,
    party: str = "maker",
    out: str | None = None,
    replace: bool = False,
    pin_file: str | None = None,
) -> Signed:
    """Sign one file or folder with a key enrolled in a signing home; the record is durable before the signature is written.

    timestamp: "local", "none", the URL of an authority or several, or None for what the home does; timestamp_later: sign though
    none answers, `Signed.pending` then says how many are to come (`sealwright stamp`); party: "maker", "plant" or "pq".
    Raises what the command line would say: UsageError, KeyUnavailable, KeyRefused, JournalError, OutputRefused and others of
    `sealwright.errors`; then nothing was written for this path.
    """
    from sealwright.artifact.claims import Claims
    from sealwright.artifact.output import Replace
    from sealwright.formats.format import Slot
    from sealwright.keys.pin import Pin
    from sealwright.signing.home import open_home
    from sealwright.signing.sign import NotSigned, SignOptions, sign_paths

    options = SignOptions(
        key=key,
        claims=Claims(product, version, generation, tuple(hardware), environment),
        timestamp=timestamp if timestamp is None or isinstance(timestamp, str) else tuple(timestamp),
        later=timestamp_later,
        slot=Slot(party),
        out=out,
        replace=Replace.YES if replace else Replace.NO,
        pin=Pin.from_file(pin_file) if pin_file is not None else None,
    )
    (answer,) = sign_paths([path], open_home(home), options)
    if isinstance(answer, NotSigned):
        raise answer.error
    return answer
