"""A signing service's policies, log and officers, without the service: what lets other policies count."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from kit.policies import policies
from kit.service import ORIGIN, person_home, service_home, spki_of
from sealwright.artifact.digest import Digest
from sealwright.envelope.verifierkey import NoteType
from sealwright.keys.backends import open_key
from sealwright.log.entries import PolicyChange, Start, read_any
from sealwright.log.note import KeySigner
from sealwright.log.writer import LogWriter
from sealwright.service.policiesinforce import Judged, PoliciesInForce, Setting
from sealwright.service.server import no_log
from sealwright.signing.approval import approve
from sealwright.signing.home import Home, KeyPurpose
from sealwright.signing.people import People, parse_people
from sealwright.signing.policychange import Change, Place
from sealwright.signing.policyrecord import PolicyRecord
from sealwright.signing.request import new_nonce
from sealwright.store.engine import Store, open_store

SERVICE = "acme-signing"
ASKING = '@id("ask") permit (principal, action in [Action::"request", Action::"approve"], resource);\n'
SIGNING = '@id("sign") permit (principal, action == Action::"sign", resource) when { context.approvals >= %d };\n'
STRICT, WEAK, STRICTER = (ASKING + SIGNING % number for number in (2, 1, 3))
ROLES = {
    "olga": ("approver", "officer"),
    "otto": ("approver", "officer"),
    "eva": ("approver",),
    "adam": ("administrator",),
}


def digest_of_rules(text: str) -> Digest:
    """The digest of a folder that holds these rules alone."""
    return policies(text).digest


@dataclass(frozen=True)
class Cast:
    """Homes that cost time to make: the service's, and those of people."""

    home: Home
    persons: dict[str, Home]

    @classmethod
    def make(cls, folder: Path) -> Cast:
        """Olga has a second home, so that she has two keys."""
        return cls(service_home(folder), {name: person_home(folder, name) for name in (*ROLES, "olga-too")})

    def key_of(self, name: str) -> Digest:
        """Somebody's approval key."""
        return spki_of(self.persons[name], KeyPurpose.APPROVAL)


@dataclass
class PolicyHouse:
    """One log with its policies. database: "" for SQLite in the folder; roles: of the register, by person; now: of the service's clock."""

    folder: Path
    cast: Cast
    database: str = ""
    service: str = SERVICE
    origin: str = ORIGIN
    tenants: tuple[str, ...] = ("acme",)
    roles: dict[str, tuple[str, ...]] = field(default_factory=lambda: {"max": ("requester",), **ROLES})
    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    @property
    def changes(self) -> Path:
        """The folder of changes."""
        return self.folder / "policies.changes"

    @property
    def url(self) -> str:
        """The database."""
        return self.database or f"sqlite:///{self.folder}/service.db"

    def write(self, rules: str) -> None:
        """Put policies into the folder."""
        (self.folder / "policies").mkdir(exist_ok=True)
        (self.folder / "policies" / "rules.cedar").write_text(rules)

    def people(self) -> People:
        """The register as it is now."""
        text = '# sealwright people 1\ntenants = ["acme", "other"]\n'
        for name, roles in self.roles.items():
            listed = ", ".join(f'"{role}"' for role in roles)
            text += f'[[person]]\nid = "{name}"\ntenant = "acme"\nroles = [{listed}]\n'
            for key in (name, f"{name}-too"):
                if key in self.cast.persons:
                    text += f'[[person.approval_key]]\nscheme = "cms"\nkey = "{self.cast.key_of(key)}"\n'
        return parse_people(text.encode(), "people.toml")

    def propose(self, old: str, new: str, edition: int = 2, **other: object) -> bytes:
        """Write a change and hand its bytes out. other: fields that are something else."""
        change = Change(
            self.service, self.origin, new_nonce(), "max", edition,
            digest_of_rules(old), digest_of_rules(new), self.now, self.now + timedelta(days=1),
        )  # fmt: skip
        data = replace(change, **other).encoded()  # type: ignore[arg-type]
        self.changes.mkdir(exist_ok=True)
        (self.changes / f"{edition}.change").write_bytes(data)
        return data

    def approve(self, data: bytes, *names: str, edition: int = 2) -> None:
        """Approvals by people's own keys, beside the change."""
        for name in names:
            home = self.cast.persons[name]
            made = approve(data, "change", home, home.key(None, KeyPurpose.APPROVAL), datetime.now(UTC))
            (self.changes / f"{edition}.{name}.p7s").write_bytes(made.proof)

    @contextmanager
    def log(self) -> Iterator[tuple[Store, LogWriter]]:
        """The database and its log, open."""
        enrolled = self.cast.home.key("log", KeyPurpose.LOG)
        key = open_key(self.cast.home.uri(enrolled), algorithm=enrolled.algorithm, expected=enrolled.public_key)
        store = open_store(self.url)
        try:
            with LogWriter.open(store, KeySigner(self.origin, NoteType.LOG, key)) as writer:
                yield store, writer
        finally:
            store.close()
            key.close()

    def over(self, store: Store, writer: LogWriter) -> PoliciesInForce:
        """The policies of one replica, not opened yet."""
        setting = Setting(
            str(self.folder / "policies"), str(self.changes), Place(self.service, self.origin, self.tenants)
        )
        record = PolicyRecord(store, writer, setting.folder)
        return PoliciesInForce(record, setting, self.people, lambda: self.now, no_log)

    def start(self) -> Judged:
        """Start and end a service, as far as its policies go; raises what refuses it."""
        with self.log() as (store, writer):
            policies = self.over(store, writer)
            judged = policies.open()
            policies.started(lambda digest, edition: started(digest, edition, self.now))
            return judged

    def entries(self) -> list[PolicyChange]:
        """The log's entries about policies."""
        with self.log() as (_, writer):
            read = [read_any(one) for one in writer.reader.entries(0, 1000)]
        return [one for one in read if isinstance(one, PolicyChange)]


def started(policy: Digest, edition: int, now: datetime) -> Start:
    """The entry of a start."""
    return Start(time=now, replica="ab" * 8, version="0.1.0", policy=policy, edition=edition, size=0)
