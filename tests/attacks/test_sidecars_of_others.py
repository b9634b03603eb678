"""What lies beside a file and belongs to another one neither helps nor harms, in any combination (A097).

Five files are judged with every combination of late timestamps, an evidence record and a log proof that are good, but of another
artifact of the same signer, or that are garbage: the outcome is the one without them. Their own ones, as twins, do help.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from kit.logs import WITNESS, NoteSigner, write_proof
from kit.pki import DAY, NOW, Pki, p7s, token
from kit.trust import RULE, believed, judge
from sealwright.envelope.cms import Profile, read_envelope
from sealwright.signing.proofs import Renewal, Renewed, renew
from sealwright.trust.belief import Believed
from sealwright.trust.verdict import Outcome

BESIDE = (".tsr", ".2.tsr", ".ers", ".tlog-proof")
LOG = NoteSigner.make("log.example")
SEEN = NoteSigner.make("witness.example", WITNESS)
DATA, OTHER = b"firmware\n" * 50, b"another\n" * 50


def stamp_of(tsa, at):  # type: ignore[no-untyped-def]
    from sealwright.pki.timestamp import Imprint, LocalAuthority

    return lambda root: LocalAuthority(tsa.certificate, tsa.chain, tsa.key, lambda: at).tokens([Imprint(root)])[0]


class Place:
    """Two files of one signer, everything that proves the second one's time, and a trust file that wants such a proof."""

    def __init__(self, folder: Path, how: str) -> None:
        self.pki, self.folder = Pki.make(at=NOW - 400 * DAY), folder
        self.tsa = self.pki.tsa(at=NOW - 300 * DAY)
        ended = how == "ended"
        self.signer = self.pki.leaf("release", at=NOW - 200 * DAY, days=150 if ended else 400)
        self.signed = NOW - 100 * DAY
        self.file, self.other = folder / "drive.bin", folder / "other.bin"
        for path, data in ((self.file, DATA), (self.other, OTHER)):
            path.write_bytes(data)
            stamped = self.tsa if how == "good" and path is self.file else None
            signature = p7s(self.signer, data, at=self.signed, tsa=stamped, stamped=self.signed)
            Path(f"{path}.p7s").write_bytes(signature)
        for path in (self.file, self.other):
            self.prove(path)
        if how == "revoked":  # after the records were made, which nobody makes of what is revoked
            self.pki.revoke(self.signer, NOW - 10 * DAY)
        self.kept = {
            suffix: (Path(f"{self.file}{suffix}").read_bytes(), Path(f"{self.other}{suffix}").read_bytes())
            for suffix in BESIDE
        }
        self.clear()
        if how == "changed":
            self.file.write_bytes(DATA + b"x")

    def trust(self) -> Believed:
        rule = RULE | {"timestamp": "required"}
        names = {"log": [{"name": "log", "vkey": LOG.vkey}], "witness": [{"name": "witness", "vkey": SEEN.vkey}]}
        return believed(self.pki, crls=[self.pki.crl(NOW - DAY)], rule=[rule], **names)  # type: ignore[arg-type]

    def prove(self, path: Path) -> None:
        """Two late timestamps, a log proof and an evidence record over all of it."""
        (signer,) = read_envelope(Path(f"{path}.p7s").read_bytes(), Profile.OURS, "p7s").signers
        for suffix, days in ((".tsr", 99), (".2.tsr", 98)):
            Path(f"{path}{suffix}").write_bytes(token(self.tsa, signer.signature, NOW - days * DAY))  # type: ignore[union-attr]
        write_proof(path, self.signer, LOG, {SEEN: NOW - 97 * DAY})
        then = NOW - 60 * DAY
        trust = believed(self.pki, crls=[self.pki.crl(then - DAY)], issued=then - DAY)
        (made,) = renew([str(path)], Renewal(trust, then, None, None), stamp_of(self.tsa, then))
        assert isinstance(made, Renewed), made

    def clear(self) -> None:
        for suffix in BESIDE:
            Path(f"{self.file}{suffix}").unlink(missing_ok=True)

    def outcome(self) -> Outcome:
        return judge(self.file, self.trust()).outcome


@pytest.mark.parametrize(
    ("how", "wanted"),
    [
        ("good", Outcome.TRUSTED),
        ("no timestamp", Outcome.REJECTED),
        ("ended", Outcome.REJECTED),
        ("revoked", Outcome.REJECTED),
        ("changed", Outcome.REJECTED),
    ],
)
def test_a097_what_proves_another_files_time_proves_nothing_here(tmp_path: Path, how: str, wanted: Outcome) -> None:
    place = Place(tmp_path, how)
    assert place.outcome() is wanted
    for combination in product(("", "other", "garbage"), repeat=len(BESIDE)):
        place.clear()
        for suffix, what in zip(BESIDE, combination, strict=True):
            if what:
                data = place.kept[suffix][1] if what == "other" else b"\x30\x82\xff\xff garbage"
                Path(f"{place.file}{suffix}").write_bytes(data)
        assert place.outcome() is wanted, combination
    helped = {"good": True, "no timestamp": True, "ended": True, "revoked": False, "changed": False}[how]
    for suffix in (".tsr", ".tlog-proof"):  # the twin: its own proof helps, where anything can
        place.clear()
        Path(f"{place.file}{suffix}").write_bytes(place.kept[suffix][0])
        assert (place.outcome() is Outcome.TRUSTED) is helped, suffix
