"""A signing service for tests, in the process or outside: a home with keys, a register of people, policies, and approvers' homes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.envelope.verifierkey import NoteType
from sealwright.formats.format import Coverage, Prepared
from sealwright.keys.backends import open_key, open_watched
from sealwright.keys.key import OpenKey
from sealwright.log.note import KeySigner
from sealwright.log.writer import LogWriter
from sealwright.service.api import application
from sealwright.service.office import Office
from sealwright.service.publishing import Publishing
from sealwright.signing.approval import Approval, approve
from sealwright.signing.desk import Desk
from sealwright.signing.enrol import enrol_for
from sealwright.signing.home import Home, KeyPurpose, open_home
from sealwright.signing.init import InitOptions, init_home
from sealwright.signing.items import Item, item_of
from sealwright.signing.orders import Value
from sealwright.signing.people import People, Principal, parse_people
from sealwright.signing.policy import Policies, load_policies
from sealwright.signing.requests import Asking, Requests
from sealwright.signing.wish import ServedKey
from sealwright.store.engine import Store, open_store

ORIGIN = "log.acme.example/signing"
POLICY = """
@id("everybody-asks") permit (principal, action in [Action::"request", Action::"withdraw", Action::"read", Action::"approve", Action::"read-log"], resource);
@id("development-alone") permit (principal, action == Action::"sign", resource) when { resource.environment == Environment::"development" };
@id("production-by-two") permit (principal, action == Action::"sign", resource) when { resource.environment == Environment::"production" && context.approvals >= 2 };
"""


def spki_of(home: Home, purpose: KeyPurpose) -> Digest:
    """The digest of a home's key."""
    return Digest.of(home.key(None, purpose).public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def person_home(folder: Path, name: str) -> Home:
    """The home of somebody who approves."""
    init_home(str(folder / name), InitOptions(datetime.now(UTC), name, "ACME"))
    enrol_for(open_home(str(folder / name)), "approval", "approval", None, datetime.now(UTC))
    return open_home(str(folder / name))


def people_text(homes: dict[str, Home], officers: Sequence[str] = (), more: str = "") -> str:
    """Eva and others approve and ask, some are officers; Max asks, a stranger is of another tenant."""
    text = '# sealwright people 1\ntenants = ["acme", "other"]\n'
    for name, home in homes.items():
        roles = '"requester", "approver", "officer"' if name in officers else '"requester", "approver"'
        text += f'[[person]]\nid = "{name}"\ntenant = "acme"\nroles = [{roles}]\n'
        text += f'[[person.approval_key]]\nscheme = "cms"\nkey = "{spki_of(home, KeyPurpose.APPROVAL)}"\n'
    text += '[[person]]\nid = "max"\ntenant = "acme"\nroles = ["requester"]\n'
    text += '[[person]]\nid = "stranger"\ntenant = "other"\nroles = ["requester", "approver"]\n'
    return text + more


def wanted(names: Sequence[str], environment: str = "development", **claims: object) -> list[Item]:
    """Files that nobody has."""
    made = []
    for name in names:
        digest = {HashName.SHA256: Digest.of(name.encode())}
        claimed = Claims(**{"product": "drive", "environment": environment} | claims)  # type: ignore[arg-type]
        made.append(item_of(Prepared("detached", "file", name, digest, None, 9, Coverage.whole(9), claimed)))
    return made


@dataclass
class World:
    """A service without HTTP."""

    folder: Path
    home: Home
    persons: dict[str, Home]
    store: Store
    writer: LogWriter
    desk: Desk
    people: People
    policies: Policies
    log_key: OpenKey
    requests: Requests = field(init=False)

    def principal(self, name: str) -> Principal:
        """Somebody of the register."""
        person = self.people.persons[name]
        return Principal(name, name, False, person.tenant, person.roles)

    def approval(self, name: str, request: bytes) -> Approval:
        """An approval by somebody's own key."""
        home = self.persons[name]
        return approve(request, "request", home, home.key(None, KeyPurpose.APPROVAL), datetime.now(UTC))

    def another(self, name: str) -> Requests:
        """A service of another name, or another replica, over the same database."""
        keys = {"release": ServedKey(self.desk, "acme")}
        return Requests(self.store, self.writer, keys, lambda: self.people, lambda: self.policies, name)

    def close(self) -> None:
        self.desk.close()
        self.writer.close()
        self.store.close()
        self.log_key.close()


def service_home(folder: Path) -> Home:
    """A home with a release key and the key of a log."""
    init_home(str(folder / "home"), InitOptions(datetime.now(UTC), "Test", "ACME"))
    enrol_for(open_home(str(folder / "home")), "log", "log", None, datetime.now(UTC))
    return open_home(str(folder / "home"))


def world(folder: Path, url: str | None = None, policy: str = POLICY, officers: Sequence[str] = ()) -> World:
    """A service in this process."""
    home = service_home(folder)
    persons = {name: person_home(folder, name) for name in ("eva", "jan", *officers)}
    (folder / "policies").mkdir()
    (folder / "policies" / "rules.cedar").write_text(policy)
    people = parse_people(people_text(persons, officers).encode(), "people.toml")
    return opened(folder, home, persons, people, url or f"sqlite:///{folder}/service.db")


def opened(folder: Path, home: Home, persons: dict[str, Home], people: People, url: str) -> World:
    """The same again, from what lies there."""
    policies = load_policies(str(folder / "policies"))
    store = open_store(url)
    enrolled = home.key("log", KeyPurpose.LOG)
    log_key = open_key(home.uri(enrolled), algorithm=enrolled.algorithm, expected=enrolled.public_key)
    writer = LogWriter.open(store, KeySigner(ORIGIN, NoteType.LOG, log_key))
    release = home.key("release", KeyPurpose.ARTIFACT)
    key = open_watched(home.uri(release), algorithm=release.algorithm, expected=release.public_key)
    desk = Desk(home, release, key, writer)
    keys = {"release": ServedKey(desk, "acme")}
    made = World(folder, home, persons, store, writer, desk, people, policies, log_key)
    made.requests = Requests(store, writer, keys, lambda: made.people, lambda: made.policies, "acme-signing")
    return made


def signed(asking: Asking) -> dict[int, Value]:
    """The signatures of what needs nobody's approval."""
    asking.recorded.result(10)
    assert asking.answer is not None
    return asking.answer.result(10)


def public_log(service: World) -> Any:
    """The application of a service whose log everybody may read; nobody gets in for anything else."""
    nobody: Any = None
    office = Office(service.requests, nobody, "acme-signing", nobody, nobody, publishing=Publishing(public_log=True))
    return application(office)
