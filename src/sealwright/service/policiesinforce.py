"""The policies of a running service: those of its folder, where the log says that they count (A132).

    policies = PoliciesInForce(record, Setting(folder, changes, place), people.current, clock, log)
    policies.open()                  # at the start; raises PolicyChangeRefused
    Requests(..., policies.current)
    policies.reload()                # SIGHUP

1. What lies in the folder counts where the log says so already; where it is proved not weaker than what counts; or where officers
   have approved it (`signing/policychange.py`). The first policies of a new log count because somebody must begin, and loudly.
2. Nothing else is looked at: no option, variable or setting lets other policies count.
3. A folder that is refused while the service runs changes nothing: what counted counts on, and `/health` and the log say why.
4. Where another replica put others in force, the folder is read again; until it has those, nothing is decided here.
"""

from __future__ import annotations

import os
import shlex
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from sealwright.artifact.digest import Digest
from sealwright.errors import MalformedPolicy, PolicyChangeRefused, SealwrightError, StoreConflict
from sealwright.log.entries import Start
from sealwright.service.server import Log
from sealwright.signing.people import People
from sealwright.signing.policy import Policies, load_policies
from sealwright.signing.policychange import CHANGE, Place, approved_by, needs_no_approval, read_signed
from sealwright.signing.policyrecord import Ground, How, PolicyRecord, Standing

ATTEMPTS = 5
SAY_AGAIN = 20_000  # entries, which the next start reads in a fraction of a second


@dataclass(frozen=True, slots=True)
class Setting:
    """Where things are. folder: of the policies; changes: of the approved changes; place: where a change is to count."""

    folder: str
    changes: str
    place: Place


@dataclass(frozen=True, slots=True)
class Judged:
    """What lies in the folder, and why it may count. before: what counts now; ground: None where these are that."""

    policies: Policies
    before: Standing | None
    ground: Ground | None

    @property
    def edition(self) -> int:
        """Which edition they are, or would become."""
        before = 0 if self.before is None else self.before.edition
        return before if self.ground is None else before + 1


class PoliciesInForce:
    """Used by any thread. problem: that the folder, or every decision, is refused now, for everybody's eyes; "" where all is well."""

    def __init__(
        self,
        record: PolicyRecord,
        setting: Setting,
        people: Callable[[], People],
        clock: Callable[[], datetime],
        log: Log,
    ) -> None:
        self.problem = ""
        self._record = record
        self._setting = setting
        self._people = people
        self._clock = clock
        self._log = log
        self._changing = threading.Lock()
        self._standing: Standing | None = None  # of the log
        self._policies: Policies | None = None  # of the folder, and only those that count

    @property
    def decide(self) -> bool:
        """Whether there are any here that count."""
        return self._policies is not None

    def current(self) -> Policies:
        """What decides; PolicyChangeRefused where other policies count than those that are here."""
        policies = self._policies
        if policies is None:
            raise PolicyChangeRefused(
                "policies", "others count than those that are here", "Tell the service's operator."
            )
        return policies

    def judge(self) -> Judged:
        """What lies in the folder, and why it may count, without letting it.

        PolicyChangeRefused saying what to do, MalformedPolicy naming what counts, LogRefused where the log is not to be believed.
        """
        before = self._record.standing()
        new = self._loaded(before)
        if before is None or (before.edition == 0 and before.policy == new.digest):
            return Judged(new, before, Ground(How.FIRST))
        if before.policy == new.digest:
            return Judged(new, before, None)
        old = self._record.kept(before.policy)
        if needs_no_approval(old, new):
            return Judged(new, before, Ground(How.NOT_WEAKER))
        return Judged(new, before, self._approved(old, new, before.edition + 1))

    def open(self) -> Judged:
        """Let the folder count, where it may. Raises what `judge` raises, StoreUnavailable, StoreConflict."""
        with self._changing:
            return self._take()

    def started(self, start: Callable[[Digest, int], Start]) -> None:
        """Record a start, made of the digest and edition of the policies that count; StoreConflict where they changed since."""
        with self._changing:
            if self._standing is not None:
                entry = start(self._standing.policy, self._standing.edition)
                self._standing = self._record.started(entry, self._standing)

    def reload(self) -> None:
        """Read the folder again; one that is refused changes nothing."""
        with self._changing:
            try:
                self._take()
            except SealwrightError as cause:
                self._refuse(cause)

    def look(self) -> None:
        """Follow what another replica put in force, and say in the log now and then what counts. Raises what the log raises."""
        with self._changing:
            known = self._standing
            if known is None:
                return
            if self._record.news(known):
                self._find(known, self._record.standing())
            elif self._record.size - known.leaf > SAY_AGAIN:
                self._find(known, self._record.since(known))
            if self._policies is None:
                self._follow()

    def _find(self, known: Standing, found: Standing | None) -> None:
        if found is None:
            return
        self._standing = found
        if (found.policy, found.edition) != (known.policy, known.edition):
            self._policies = None
        elif self._policies is not None and found.size - found.leaf > SAY_AGAIN:
            with suppress(StoreConflict):  # others count since a moment ago: the next look finds them
                self._standing = self._record.record(self._policies, found, Ground(How.AGAIN), self._clock())

    def _follow(self) -> None:
        """Take what lies in the folder, where it is what counts by now."""
        try:
            new = self._loaded(self._standing)
            if self._standing is None or new.digest != self._standing.policy:
                what = f"{new.digest} are here, and by another replica {_named(self._standing)} counts"
                raise PolicyChangeRefused(self._setting.folder, what, "Put those into the folder.")
        except SealwrightError as cause:
            self._refuse(cause)
        else:
            self._policies, self.problem = new, ""
            self._say(How.AGAIN)

    def _take(self) -> Judged:
        for _ in range(ATTEMPTS - 1):
            with suppress(StoreConflict):  # another replica was first: judge by what it put in force
                return self._take_once()
        return self._take_once()

    def _take_once(self) -> Judged:
        judged = self.judge()
        if judged.ground is not None:
            standing = self._record.record(judged.policies, judged.before, judged.ground, self._clock())
        elif judged.before is not None:
            standing = judged.before
            self._record.keep(judged.policies, standing)
        self._policies, self._standing, self.problem = judged.policies, standing, ""
        self._say(How.AGAIN if judged.ground is None else judged.ground.how)
        return judged

    def _approved(self, old: Policies, new: Policies, edition: int) -> Ground:
        setting, people = self._setting, self._people()
        signed = read_signed(setting.changes, edition)
        if signed is None:
            path = os.path.join(setting.changes, f"{edition}{CHANGE}")
            raise PolicyChangeRefused(
                setting.folder,
                f"edition {edition - 1} counts ({old.digest}), it is not proved that these ({new.digest}) are not weaker,"
                f" and there is no approved change {path}",
                f"Put those of edition {edition - 1} back, or have these approved: {self._command(edition)}",
            )
        approved = approved_by(signed, old, new, edition, setting.place, people, self._clock())
        return Ground(How.APPROVED, Digest.of(signed.data), approved.proofs, approved.persons, people.digest)

    def _command(self, edition: int) -> str:
        """What makes the change that is missing."""
        setting = self._setting
        words = {"service-id": setting.place.service, "origin": setting.place.origin, "edition": str(edition)}
        options = " ".join(f"--{name} {shlex.quote(text)}" for name, text in words.items())
        folder, changes = shlex.quote(setting.folder), shlex.quote(setting.changes)
        return f"sealwright policy change {folder} --previous FORMER --requester ID {options} --out {changes}"

    def _loaded(self, before: Standing | None) -> Policies:
        try:
            return load_policies(self._setting.folder)
        except SealwrightError as cause:
            what = f"{cause.what}; {_named(before)} counts"
            raise MalformedPolicy(cause.subject, what, cause.next_step) from cause

    def _refuse(self, cause: SealwrightError) -> None:
        """Say why in the log, where operators read it, and to everybody only that it is so (A129)."""
        problem = f"those in the folder do not count ({cause.code}); {_named(self._standing)} counts"
        if problem != self.problem or self._policies is not None:
            self._log({"event": "policies-refused", "code": cause.code, "why": str(cause)[:2000]})
        self.problem = problem

    def _say(self, how: How) -> None:
        if self._standing is not None:
            said = {"edition": self._standing.edition, "policy": str(self._standing.policy), "how": how.value}
            self._log({"event": "policies", **said})


def _named(standing: Standing | None) -> str:
    return "nothing" if standing is None else f"edition {standing.edition} ({standing.policy})"
