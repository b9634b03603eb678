"""A trust file's life on one verifier: installed step by step, revoked by a stick, never back; a crash leaves old or new (A104, A105, A106)."""

from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.pki import DAY, HOUR, NOW, Pki, Signer, p7s, person_key
from kit.trust import OFFICER, RECOVERY, RULE, person, quorum, signed_file, trust_bytes, trust_parts, write_trust
from sealwright.artifact.digest import Digest
from sealwright.cli.main import main
from sealwright.errors import LimitExceeded, MalformedTrust, TrustRefused
from sealwright.trust.archive import zip_of, zipped_files
from sealwright.trust.belief import load_trust
from sealwright.trust.bundle import install_bundle
from sealwright.trust.history import install, read_signed
from sealwright.trust.status import Level, Status, status
from sealwright.trust.toml import Toml
from sealwright.trust.trustfile import parse_trust

PKI = Pki.make()
LEAF = PKI.leaf()
MIA = person_key()
PEOPLE: list[Toml] = [person("olga", OFFICER), person("rolf", RECOVERY), person("mia", MIA)]
Say = Callable[[], str]


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Say:
    def call() -> str:
        said = capsys.readouterr()
        return said.out + said.err

    return call


def parts(version: int, **changes: Toml) -> dict[str, Toml]:
    return trust_parts(PKI, person=PEOPLE, version=version, **changes)


def delivery(folder: Path, *versions: tuple[dict[str, Toml], dict[str, Signer]]) -> Path:
    """A trust file with its predecessors in trust.history, each with its signers."""
    for content, signers in versions[:-1]:
        write_trust(folder / "trust.history", content, f"{content['version']}.toml", **signers)
    return write_trust(folder, versions[-1][0], **versions[-1][1])


def first(folder: Path, **changes: Toml) -> Path:
    """An installed version 1."""
    source = write_trust(folder.parent / "first", parts(1, **changes), olga=OFFICER)
    install(read_signed(str(source)), str(folder), None)
    return folder / "trust.toml"


def deny_text(version: int, key: str = LEAF.key_digest, trust: str = "plant-7") -> bytes:
    entry = f'[[deny]]\nkey = "{key}"\nreason = "stolen"\n'
    return f'# sealwright deny 1\nversion = {version}\ntrust = "{trust}"\n{entry}'.encode()


def deny_files(version: int, signer: Signer = OFFICER, **how: str) -> dict[str, bytes]:
    text = deny_text(version, **how)
    return {"deny.toml": text, "deny.toml.x.p7s": p7s(signer, text, kind="deny")}


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    path.write_bytes(zip_of(files))
    return path


# --- step by step --------------------------------------------------------------------------------------------------------


def test_a_verifier_switched_off_through_officer_changes_walks_them_from_a_read_only_stick(
    tmp_path: Path, shown: Say
) -> None:
    to = tmp_path / "installed"
    first(to)
    both = quorum(2, olga=OFFICER, mia=MIA)
    path = delivery(
        tmp_path / "stick",
        (parts(2, officers=both), {"olga": OFFICER, "mia": MIA}),
        (parts(3, officers=quorum(1, mia=MIA)), {"olga": OFFICER, "mia": MIA}),
        (parts(4, officers=quorum(1, mia=MIA), title="four"), {"mia": MIA}),
    )
    for one in sorted((tmp_path / "stick").rglob("*"), reverse=True):
        one.chmod(0o500 if one.is_dir() else 0o400)
    before = sorted(str(one) for one in (tmp_path / "stick").rglob("*"))
    assert main(["trust", "install", str(path), "--to", str(to), "--dry-run"]) == 0
    said = shown()
    assert "version 1 to 4" in said
    assert "olga is no officer any more" in said
    assert "Nothing was installed" in said
    assert parse_trust((to / "trust.toml").read_bytes(), "x").version == 1
    assert main(["trust", "install", str(path), "--to", str(to)]) == 0
    assert f"the version before stays in {to}/trust.history/1.toml" in shown()
    assert [parse_trust((to / f"trust.history/{n}.toml").read_bytes(), "x").version for n in (1, 2, 3, 4)] == [
        1,
        2,
        3,
        4,
    ]
    assert sorted(str(one) for one in (tmp_path / "stick").rglob("*")) == before
    assert load_trust(str(to / "trust.toml")).trust.version == 4
    assert [name.name for name in to.glob("trust.toml.*.p7s")] == ["trust.toml.mia.p7s"]


@pytest.mark.parametrize(
    "spoil",
    ["a step is missing", "a step's signature is missing", "a step's byte", "the new officers alone", "one key twice"],
)
def test_a106_a_walk_with_one_bad_step_leaves_everything_as_it_was(tmp_path: Path, spoil: str, shown: Say) -> None:
    both = quorum(2, olga=OFFICER, mia=MIA)

    def deliver(name: str) -> Path:
        return delivery(
            tmp_path / name,
            (parts(2, officers=both), {"olga": OFFICER, "mia": MIA}),
            (parts(3, officers=quorum(1, mia=MIA)), {"olga": OFFICER, "mia": MIA}),
        )

    good, bad = deliver("good"), deliver("bad")
    history = bad.parent / "trust.history"
    if spoil == "a step is missing":
        (history / "2.toml").unlink()
    elif spoil == "a step's signature is missing":
        (history / "2.toml.mia.p7s").unlink()
    elif spoil == "a step's byte":
        data = bytearray((history / "2.toml").read_bytes())
        data[-20] ^= 1
        (history / "2.toml").write_bytes(data)
    elif spoil == "the new officers alone":
        (bad.parent / "trust.toml.olga.p7s").unlink()
    else:
        shutil.copy(bad.parent / "trust.toml.mia.p7s", bad.parent / "trust.toml.olga.p7s")
    to = tmp_path / "installed"
    first(to)
    before = {one: one.read_bytes() for one in to.rglob("*") if one.is_file()}
    for extra in ([], ["--dry-run"]):
        assert main(["trust", "install", str(bad), "--to", str(to), *extra]) == 1
    assert {one: one.read_bytes() for one in to.rglob("*") if one.is_file()} == before
    assert main(["trust", "install", str(good), "--to", str(to)]) == 0


CALLS = ("open", "write", "replace", "link", "rename", "unlink", "fsync", "mkdir", "close")


def killed_at(number: int, action: Callable[[], object]) -> bool:
    """Run it in a child that dies at its n-th call of the system; False once it gets through."""
    child = os.fork()
    if child == 0:
        left = [number]

        def dying(call: Callable[..., object]) -> Callable[..., object]:
            def instead(*args: object, **how: object) -> object:
                left[0] -= 1
                if left[0] < 0:
                    os._exit(9)
                return call(*args, **how)

            return instead

        for name in CALLS:
            setattr(os, name, dying(getattr(os, name)))
        try:
            action()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_a_kill_between_any_two_calls_of_an_installation_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    source = delivery(tmp_path / "stick", (parts(2), {"olga": OFFICER}))
    shutil.rmtree(tmp_path / "stick/trust.history", ignore_errors=True)
    for name, data in deny_files(1, key="sha256:" + "3" * 64).items():
        (tmp_path / "stick" / name).write_bytes(data)
    seen, number = set(), 0
    while True:
        to = tmp_path / f"to{number}"
        path, before = first(to), load_trust(str(to / "trust.toml")).trust
        new = parse_trust(source.read_bytes(), "x")

        def action(to: Path = to, before: object = before, new: object = new) -> None:
            install_bundle(str(source), str(to), new, NOW)  # type: ignore[arg-type]
            install(read_signed(str(source)), str(to), before)  # type: ignore[arg-type]

        died = killed_at(number, action)
        believed = load_trust(str(path))
        seen.add((believed.trust.version, believed.deny_version))
        action()  # the next try ends it
        assert load_trust(str(path)).trust.version == 2
        shutil.rmtree(to)
        if not died:
            break
        number += 1
    assert number > 20
    assert seen == {(1, 0), (1, 1), (2, 1)}


# --- the revocation bundle -----------------------------------------------------------------------------------------------


def test_a_bundle_on_a_stick_stops_a_key_without_a_new_trust_file(tmp_path: Path, shown: Say) -> None:
    to = tmp_path / "installed"
    first(to, rule=[{**RULE, "fresh_for": "900d"}])
    drive = signed_file(tmp_path, LEAF)
    judged = ["verify", str(drive), "--trust", str(to / "trust.toml"), "--at", NOW.isoformat()]
    assert main(judged) == 0
    PKI.revoked.clear()
    files = deny_files(1) | {"trust.d/acme.crl": PKI.crl(NOW, number=5)}
    for stick in (zipped(tmp_path / "a.zip", files), tmp_path / "folder"):
        if stick.suffix != ".zip":
            for name, data in (deny_files(2) | {"trust.d/acme.crl": PKI.crl(NOW + HOUR, number=6)}).items():
                (stick / name).parent.mkdir(parents=True, exist_ok=True)
                (stick / name).write_bytes(data)
        shown()
        assert main(["trust", "install", str(stick), "--to", str(to)]) == 0
        assert "it only takes trust away" in shown()
        assert main(judged) == 1
        assert "its signer was withdrawn" in shown()
        assert main(["trust", "install", str(stick), "--to", str(to)]) == 0
        assert "nothing in" in shown()
    assert main(["trust", "install", str(tmp_path / "a.zip"), "--to", str(to)]) == 1
    assert "older than the installed version 2" in shown()


def test_a_dry_run_of_a_bundle_says_what_it_would_stop_and_changes_nothing(tmp_path: Path, shown: Say) -> None:
    to, plant = tmp_path / "installed", tmp_path / "plant"
    now_trust = first(to, issued=NOW - 5 * DAY, expires=NOW + 3000 * DAY)
    plant.mkdir()
    for number in range(70):  # enough that all cores judge
        signed_file(plant, LEAF if number % 2 else PKI.leaf("other"), name=f"{number}.bin")
    stick = zipped(tmp_path / "a.zip", deny_files(1))
    before = sorted(to.rglob("*"))
    code = main(["trust", "install", str(stick), "--to", str(to), "--dry-run", "--inventory", str(plant), "--json"])
    said = [json.loads(line) for line in shown().splitlines()]
    assert code == 1
    assert sorted(one["path"] for one in said if one.get("artifact") == "lost") == sorted(
        str(plant / f"{number}.bin") for number in range(1, 70, 2)
    )
    assert (said[-1]["judged"], said[-1]["lost"], said[-1]["won"]) == (70, 35, 0)
    assert sorted(to.rglob("*")) == before
    assert main(["trust", "diff", str(now_trust), str(now_trust), "--inventory", str(plant)]) == 0
    assert "none would stop being trusted" in shown()


def test_an_inventory_list_is_asked_for_what_is_not_here(tmp_path: Path, shown: Say) -> None:
    plant, to = tmp_path / "plant", tmp_path / "installed"
    trust = first(to, issued=NOW - 5 * DAY, expires=NOW + 3000 * DAY)
    plant.mkdir()
    for name, signer in (("a.bin", LEAF), ("b.bin", PKI.leaf("other"))):
        signed_file(plant, signer, name=name)
    shown()
    assert main(["verify", str(plant), "--recursive", "--trust", str(trust), "--at", NOW.isoformat(), "--json"]) == 0
    installed = tmp_path / "installed.ndjson"
    installed.write_text(shown())
    shutil.rmtree(plant)
    (tmp_path / "deny.toml").write_bytes(deny_text(1))
    wanted = ["trust", "diff", str(trust), "--deny", str(tmp_path / "deny.toml"), "--inventory", str(installed)]
    assert main(wanted) == 1
    said = shown()
    assert "1 would NO LONGER be trusted" in said
    assert "a.bin: its signer is on the deny list: stolen (by its record alone: the file is not here)" in said
    installed.write_text(installed.read_text().replace('"outcome": "trusted"', '"outcome": "rejected"'))
    assert main(wanted) == 0
    assert "their record does not say enough" in shown()
    for odd in ("[]", "{", '{"path": 3}', '{"path": ""}', "[" * 100_000, '{"x": 1}'):
        installed.write_text(odd)
        assert main(wanted) == 2
    for odd in ('{"path": "gone", "outcome": "trusted", "signers": 3, "claims": [], "times": {"proved": "x"}}',):
        installed.write_text(odd)
        assert main(wanted) == 0


@pytest.mark.parametrize(
    ("files", "error"),
    [
        pytest.param(deny_files(1, LEAF), TrustRefused, id="signed by no officer"),
        pytest.param(deny_files(1, trust="plant-8"), MalformedTrust, id="for another trust file"),
        pytest.param({"deny.toml": deny_text(1)}, TrustRefused, id="no signature"),
        pytest.param({**deny_files(1), "deny.toml": deny_text(2)}, TrustRefused, id="another text than was signed"),
        pytest.param({**deny_files(1), "trust.toml": b"x"}, MalformedTrust, id="with a trust file"),
        pytest.param({**deny_files(1), "trust.d/x.pem": b"x"}, MalformedTrust, id="with a certificate"),
        pytest.param({**deny_files(1), "../x.crl": b"x"}, MalformedTrust, id="a path that leads out"),
        pytest.param({**deny_files(1), "trust.d/../x.crl": b"x"}, MalformedTrust, id="a path that leads out below"),
        pytest.param({**deny_files(1), "trust.d/x.crl": b"x"}, MalformedTrust, id="a list that is none"),
        pytest.param({}, MalformedTrust, id="nothing"),
    ],
)  # fmt: skip
def test_a106_a_bundle_that_is_not_an_officers_is_refused_and_nothing_changes(
    tmp_path: Path, files: dict[str, bytes], error: type[Exception], shown: Say
) -> None:
    to = tmp_path / "installed"
    first(to)
    before = {one: one.read_bytes() for one in to.rglob("*") if one.is_file()}
    assert main(["trust", "install", str(zipped(tmp_path / "bad.zip", files)), "--to", str(to)]) == 1
    assert {one: one.read_bytes() for one in to.rglob("*") if one.is_file()} == before
    assert main(["trust", "install", str(zipped(tmp_path / "good.zip", deny_files(1))), "--to", str(to)]) == 0


def test_a_list_that_claims_a_known_issuers_name_and_is_not_its_refuses_the_bundle(tmp_path: Path, shown: Say) -> None:
    to = tmp_path / "installed"
    first(to, intermediate=[{"certificate": PKI.intermediate.pem}])
    forged = Pki.make().crl(NOW, number=900)
    assert (
        main(["trust", "install", str(zipped(tmp_path / "bad.zip", {"trust.d/a.crl": forged})), "--to", str(to)]) == 1
    )
    assert "signature" in shown()
    good = zipped(tmp_path / "good.zip", {"trust.d/a.crl": PKI.crl(NOW, number=3)})
    assert main(["trust", "install", str(good), "--to", str(to)]) == 0


def test_an_archive_is_bounded_and_holds_each_name_once(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    files = deny_files(1)
    assert zipped_files(str(zipped(path, files))) == files
    with pytest.raises(LimitExceeded, match="too large"):
        zipped_files(str(zipped(path, {"deny.toml": b"#" * (2 << 20)})))
    twice = io.BytesIO()
    with zipfile.ZipFile(twice, "w") as archive:
        archive.writestr("deny.toml", b"a")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("deny.toml", b"b")
    path.write_bytes(twice.getvalue())
    with pytest.raises(MalformedTrust, match="twice"):
        zipped_files(str(path))
    whole, read = zip_of(files), 0
    for at in range(len(whole)):
        for data in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :]):
            path.write_bytes(data)
            try:
                zipped_files(str(path))
                read += 1
            except (MalformedTrust, LimitExceeded):
                continue
    assert read < len(whole) / 4


def test_a_bundle_needs_an_installed_trust_file(tmp_path: Path, shown: Say) -> None:
    stick = zipped(tmp_path / "a.zip", deny_files(1))
    assert main(["trust", "install", str(stick), "--to", str(tmp_path / "nothing")]) == 2
    assert "no trust file is installed there" in shown()


def test_when_the_officer_of_the_deny_list_leaves_it_must_be_signed_again(tmp_path: Path, shown: Say) -> None:
    to = tmp_path / "installed"
    first(to)
    assert main(["trust", "install", str(zipped(tmp_path / "a.zip", deny_files(1))), "--to", str(to)]) == 0
    path = delivery(tmp_path / "stick", (parts(2, officers=quorum(1, mia=MIA)), {"olga": OFFICER, "mia": MIA}))
    shown()
    assert main(["trust", "install", str(path), "--to", str(to)]) == 1
    assert "no officer of version 2 has signed the deny list" in shown()
    assert load_trust(str(to / "trust.toml")).trust.version == 1
    (path.parent / "deny.toml").write_bytes(deny_text(1))
    (path.parent / "deny.toml.mia.p7s").write_bytes(p7s(MIA, deny_text(1), kind="deny"))
    assert main(["trust", "install", str(path), "--to", str(to)]) == 0
    believed = load_trust(str(to / "trust.toml"))
    assert (believed.trust.version, believed.deny_version) == (2, 1)


def test_a_recovery_by_the_sealed_keys_is_installed_from_the_stick_and_shows(tmp_path: Path, shown: Say) -> None:
    to = tmp_path / "installed"
    first(to)
    recovered = parts(2, officers=quorum(1, mia=MIA))
    path = delivery(tmp_path / "stick", (recovered, {"rolf": RECOVERY, "mia": MIA}))
    assert main(["trust", "install", str(path), "--to", str(to)]) == 0
    assert [f.code for f in load_trust(str(to / "trust.toml")).findings] == ["SW-TRUST-RECOVERED"]
    more = parts(2, officers=quorum(1, mia=MIA), minimum={"pump": 3})
    other = tmp_path / "other"
    first(other)
    bad = delivery(tmp_path / "bad", (more, {"rolf": RECOVERY, "mia": MIA}))
    assert main(["trust", "install", str(bad), "--to", str(other)]) == 1
    assert "may replace officers and nothing else" in shown()


# --- status --------------------------------------------------------------------------------------------------------------

CRL: dict[str, Toml] = {"issuer": PKI.intermediate.pem, "min_number": 3, "max_age": {"install": "20d"}}
OWNED: dict[str, Toml] = {**RULE, "fresh_for": "80d", "grace": "10d"}


def stands(folder: Path, at: object, within: int, number: int | None, changes: dict[str, Toml]) -> Status:
    path = write_trust(folder, parts(1) | changes, olga=OFFICER)
    if number is not None:
        (folder / "trust.d").mkdir(exist_ok=True)
        (folder / "trust.d/a.crl").write_bytes(PKI.crl(NOW, number=number))
    return status(str(path), at, within * DAY)  # type: ignore[arg-type]


INTERMEDIATE: list[Toml] = [{"certificate": PKI.intermediate.pem}]


@pytest.mark.parametrize(
    ("at", "within", "changes", "number", "level", "words"),
    [
        (NOW, 60, {}, None, Level.FINE, "ends 2027-08-28 (300 days)"),
        (NOW, 301, {}, None, Level.ATTENTION, "it ends in 300 days"),
        (NOW + 301 * DAY, 60, {}, None, Level.STALE, "ENDED"),
        (NOW, 60, {"rule": [OWNED]}, None, Level.FINE, "fresh, for 75 more days"),
        (NOW + 60 * DAY, 60, {"rule": [OWNED]}, None, Level.ATTENTION, "fresh, for 15 more days"),
        (NOW + 60 * DAY, 5, {"rule": [OWNED]}, None, Level.FINE, "fresh, for 15 more days"),
        (NOW + 76 * DAY, 5, {"rule": [OWNED]}, None, Level.ATTENTION, "in grace"),
        (NOW + 86 * DAY, 5, {"rule": [OWNED]}, None, Level.STALE, "installs nothing since"),
        (NOW, 60, {"crl": [CRL], "intermediate": INTERMEDIATE}, None, Level.STALE, "NO revocation list"),
        (NOW + DAY, 60, {"crl": [CRL], "intermediate": INTERMEDIATE}, 3, Level.FINE, "number 3 of CN=ACME CA,O=ACME: 1 days old"),
        (NOW + 18 * DAY, 60, {"crl": [CRL], "intermediate": INTERMEDIATE}, 3, Level.ATTENTION, "in 2 days"),
        (NOW + 21 * DAY, 60, {"crl": [CRL], "intermediate": INTERMEDIATE}, 3, Level.STALE, "TOO OLD"),
        (NOW, 60, {"crl": [CRL], "intermediate": INTERMEDIATE}, 2, Level.STALE, "wanted is at least 3"),
        (NOW, 60, {"intermediate": INTERMEDIATE}, 2, Level.FINE, "list number 2"),
        (NOW + 40 * DAY, 10, {"intermediate": INTERMEDIATE}, 2, Level.ATTENTION, "TOO OLD"),
        (NOW, 60, {}, 2, Level.FINE, "which no anchor or intermediate here has issued"),
        (NOW, 60, {"rule": [{**RULE, "review": NOW + 9 * DAY}]}, None, Level.ATTENTION, "review of rule firmware due 2026-11-10"),
        (NOW, 60, {"rule": [{**RULE, "review": NOW - DAY}]}, None, Level.ATTENTION, "was due"),
        (NOW, 60, {"person": [*PEOPLE[:2], {**person("mia", MIA), "until": NOW + 9 * DAY}]}, None, Level.ATTENTION, "mia counts until"),
        (NOW, 60, {"person": [{**person("olga", OFFICER), "until": NOW - 9 * DAY}, *PEOPLE[1:]]}, None, Level.ATTENTION, "an officer"),
        (NOW, 60, {"rule": [{**RULE, "fresh_for": "999999d", "grace": "999999d"}], "expires": NOW + 300 * DAY}, None, Level.FINE, "fresh"),
        (NOW, 60, {"rule": [{**OWNED, "grace": "999999d"}], "issued": NOW - 9000 * DAY}, None, Level.ATTENTION, "in grace"),
        (NOW, 60, {"crl": [{**CRL, "max_age": {"install": "999999d"}}], "intermediate": INTERMEDIATE}, 3, Level.FINE, "next update by"),
        (NOW, 60, {"stage": "trial"}, None, Level.ATTENTION, "TRIAL"),
        (NOW, 9900, {}, None, Level.ATTENTION, "the anchor root ends"),
        (NOW, 9900, {}, None, Level.ATTENTION, "the timestamp authority timestamps ends"),
    ],
)  # fmt: skip
def test_a105_status_says_what_is_stale_what_is_due_and_what_is_fine(
    tmp_path: Path, at: object, within: int, changes: dict[str, Toml], number: int | None, level: Level, words: str
) -> None:
    found = stands(tmp_path, at, within, number, changes)
    assert found.level is level, found.items
    assert any(words in item.sentence for item in found.items), found.items


def test_status_answers_cron_by_its_exit_code(tmp_path: Path, shown: Say) -> None:
    to = tmp_path / "installed"
    first(to, issued=NOW, expires=NOW + 3000 * DAY)
    assert main(["trust", "status", str(to)]) == 0
    assert main(["trust", "status", str(to), "--within", "9999d", "--json"]) == 1
    said = [json.loads(line) for line in shown().splitlines() if line.startswith("{")]
    assert said[-1]["level"] == "attention"
    assert main(["trust", "status", str(tmp_path)]) == 2
    (to / "trust.toml.olga.p7s").unlink()
    (to / "trust.history/1.toml.olga.p7s").unlink()
    assert main(["trust", "status", str(to)]) == 3
    assert "NOT ENOUGH" in shown()


def test_a_trust_file_of_a_real_plant_is_some_tens_of_kilobytes() -> None:
    makers = [Pki.make(f"Maker {number}") for number in range(12)]
    anchors: list[Toml] = [
        {"name": f"maker {number}", "environment": "production", "certificate": pki.root.pem}
        for number, pki in enumerate(makers)
    ]
    rules: list[Toml] = [
        {
            **RULE,
            "name": f"rule {number}",
            "products": [f"drive {number}"],
            "signer": [{"anchors": [f"maker {number % 12}"]}],
        }
        for number in range(30)
    ]
    denied: list[Toml] = [{"keys": "".join(f"sha256:{one:064x}\n" for one in range(40)), "reason": "recalled"}]
    data = trust_bytes(parts(1, anchor=anchors, rule=rules, deny=denied))
    assert parse_trust(data, "trust.toml").rules
    assert 10 << 10 < len(data) < 40 << 10
    assert Digest.of(data)
