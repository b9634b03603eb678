"""The revocation bundle travels with `trust install`: a deny list is never lost, and an older one never comes back."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from cryptography import x509

from kit.pki import DAY, HOUR, NOW, Pki, p7s, person_key
from kit.trust import OFFICER, RECOVERY, person, quorum, signed_file, trust_parts, write_trust
from sealwright.artifact.digest import Digest
from sealwright.artifact.folders import alone_in
from sealwright.cli.main import main
from sealwright.errors import LimitExceeded, TrustRefused
from sealwright.pki.crl import Revoked, make_crl
from sealwright.trust import belief, bundle
from sealwright.trust.belief import MAX_CRLS, load_trust, parse_deny
from sealwright.trust.bundle import MAX_SKIPPED, MAX_STRANGE, install_bundle
from sealwright.trust.toml import Toml
from sealwright.trust.trustfile import parse_trust

PKI = Pki.make()
LEAF = PKI.leaf()
DENIED = Digest.of(b"withdrawn")


def deny_text(version: int, key: object) -> bytes:
    entry = f'[[deny]]\nkey = "{key}"\nreason = "stolen"\n'
    return f'# sealwright deny 1\nversion = {version}\ntrust = "plant-7"\n{entry}'.encode()


def stick(folder: Path, deny: bytes | None = None, crls: dict[str, bytes] | None = None) -> Path:
    """A delivery: the trust file, signed, and what lies beside it."""
    trust = write_trust(folder, trust_parts(PKI), olga=OFFICER)
    if deny is not None:
        (folder / "deny.toml").write_bytes(deny)
        (folder / "deny.toml.olga.p7s").write_bytes(p7s(OFFICER, deny, kind="deny"))
    for name, data in (crls or {}).items():
        (folder / "trust.d").mkdir(exist_ok=True)
        (folder / "trust.d" / name).write_bytes(data)
    return trust


def install(trust: Path, to: Path) -> int:
    fingerprint = str(Digest.of(trust.read_bytes()))
    return main(["trust", "install", str(trust), "--to", str(to), "--trust-fingerprint", fingerprint])


def bring(trust: Path, to: Path) -> tuple[str, ...]:
    """What lies beside a believed trust file, as `trust install` brings it; the names of what was left out."""
    return install_bundle(str(trust), str(to), parse_trust(trust.read_bytes(), "trust.toml"), NOW).left_out


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    return lambda: capsys.readouterr().out


def test_a_deny_list_is_installed_with_its_trust_file_and_refuses(tmp_path: Path, shown: Callable[[], str]) -> None:
    drive, to = signed_file(tmp_path, LEAF), tmp_path / "installed"
    assert install(stick(tmp_path / "before"), to) == 0
    words = ["verify", str(drive), "--trust", str(to / "trust.toml"), "--at", NOW.isoformat()]
    assert main(words) == 0
    shown()
    assert install(stick(tmp_path / "after", deny_text(1, LEAF.key_digest)), to) == 0
    assert "with version 1 of its deny list" in shown()
    assert main(words) == 1
    assert shown().startswith("DO NOT INSTALL: its signer was withdrawn")


def test_a104_an_older_deny_list_or_none_at_all_takes_nothing_back(tmp_path: Path) -> None:
    to = tmp_path / "installed"
    assert install(stick(tmp_path / "two", deny_text(2, LEAF.key_digest)), to) == 0
    for folder, deny in (("one", deny_text(1, DENIED)), ("none", None)):
        assert install(stick(tmp_path / folder, deny), to) == 0
        assert (to / "deny.toml").read_bytes() == deny_text(2, LEAF.key_digest)
        assert load_trust(str(to / "trust.toml"), fingerprint=None).deny_version == 2
    with pytest.raises(TrustRefused, match="another deny list of version 2"):
        bring(stick(tmp_path / "other", deny_text(2, DENIED)), to)
    assert install(stick(tmp_path / "three", deny_text(3, DENIED)), to) == 0
    assert load_trust(str(to / "trust.toml")).deny_version == 3


def test_a_deny_list_that_no_officer_signed_is_not_installed(tmp_path: Path) -> None:
    good, bad = stick(tmp_path / "good", deny_text(1, DENIED)), stick(tmp_path / "bad", deny_text(2, DENIED))
    (tmp_path / "bad/deny.toml.olga.p7s").write_bytes(p7s(LEAF, deny_text(2, DENIED), kind="deny"))
    to = tmp_path / "installed"
    assert install(bad, to) == 1
    assert not to.exists()
    assert install(good, to) == 0


@pytest.mark.parametrize(
    ("before", "after", "by", "installed"),
    [
        (1, 2, "olga", True),
        (1, 1 + MAX_SKIPPED, "olga", True),
        (1, 2 + MAX_SKIPPED, "olga", False),
        (1, 2**63 - 1, "olga", False),
        (0, MAX_SKIPPED, "olga", True),
        (0, MAX_SKIPPED + 1, "olga", False),
        # the threshold may: so a plant that was far behind, or a number that was wrong, is no end
        (1, 2 + MAX_SKIPPED, "olga otto", True),
        (1, 2**63 - 1, "olga otto", True),
        # two signatures of one officer are one officer
        (1, 2 + MAX_SKIPPED, "olga olga2", False),
    ],
)
def test_one_officer_cannot_end_all_later_deny_lists_with_a_high_number(
    tmp_path: Path, before: int, after: int, by: str, installed: bool
) -> None:
    """A later list that withdraws a stolen key would be called older for ever."""
    second = person_key()
    people: list[Toml] = [person("olga", OFFICER), person("otto", second), person("rolf", RECOVERY)]
    parts = trust_parts(PKI, person=people, officers=quorum(2, olga=OFFICER, otto=second))
    to = tmp_path / "installed"

    def delivery(name: str, version: int, who: str) -> Path:
        trust = write_trust(tmp_path / name, parts, olga=OFFICER, otto=second)
        text = deny_text(version, DENIED)
        (tmp_path / name / "deny.toml").write_bytes(text)
        for one in who.split():
            key = second if one == "otto" else OFFICER
            (tmp_path / name / f"deny.toml.{one}.p7s").write_bytes(p7s(key, text, kind="deny"))
        return trust

    if before:
        bring(delivery("before", before, "olga"), to)
    new = delivery("after", after, by)
    if installed:
        bring(new, to)
    else:
        with pytest.raises(TrustRefused, match="not enough officers signed it to skip so many"):
            bring(new, to)
        if before:
            bring(delivery("next", before + 1, "olga"), to)
    expected = after if installed else before + 1 if before else None
    there = to / "deny.toml"
    assert (parse_deny(there.read_bytes(), "deny.toml").version if there.exists() else None) == expected


def test_a_bundle_that_travels_alone_skips_no_more_and_says_so_before_it_is_installed(
    tmp_path: Path, shown: Callable[[], str], capsys: pytest.CaptureFixture[str]
) -> None:
    to = tmp_path / "installed"
    parts = trust_parts(
        PKI,
        person=[person("olga", OFFICER), person("otto", LEAF), person("rolf", RECOVERY)],
        officers=quorum(2, olga=OFFICER, otto=LEAF),
    )
    assert install(write_trust(tmp_path / "first", parts, olga=OFFICER, otto=LEAF), to) == 0
    for number, code in ((MAX_SKIPPED + 1, 1), (MAX_SKIPPED, 0)):
        folder = tmp_path / f"stick {number}"
        folder.mkdir()
        text = deny_text(number, DENIED)
        (folder / "deny.toml").write_bytes(text)
        (folder / "deny.toml.olga.p7s").write_bytes(p7s(OFFICER, text, kind="deny"))
        capsys.readouterr()
        for dry in (["--dry-run"], []):
            found = main(["trust", "install", str(folder), "--to", str(to), *dry])
            assert (found == 0) is (code == 0) or (dry and code == 0)
            if code:
                err = capsys.readouterr().err
                assert f"Give it a version up to {MAX_SKIPPED}, or have 2 officers sign it." in err


def test_revocation_lists_add_up_and_the_newer_one_stays(tmp_path: Path, shown: Callable[[], str]) -> None:
    newer, older = PKI.crl(number=9), PKI.crl(NOW - 90 * DAY, number=3)
    to = tmp_path / "installed"
    assert install(stick(tmp_path / "new", crls={"ROOT.CRL": newer}), to) == 0
    assert install(stick(tmp_path / "old", crls={"ROOT.CRL": older}), to) == 0
    assert {path.read_bytes() for path in (to / "trust.d").iterdir()} == {newer, older}
    assert set(load_trust(str(to / "trust.toml")).crls) == {newer, older}
    shown()
    assert install(stick(tmp_path / "again", crls={"another-name.crl": newer}), to) == 0
    assert len(list((to / "trust.d").iterdir())) == 2


def root_list(number: int, serial: int) -> bytes:
    """A list of the root, whose certificate is in the trust file."""
    one = Revoked(serial, NOW - number * DAY, None, None)
    root = PKI.root
    return make_crl(
        root.certificate, root.key, number=number, this_update=NOW, next_update=NOW + 30 * DAY, revoked=[one]
    )


def test_more_lists_than_are_read_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    many = {f"{number}.crl": root_list(number + 1, number + 1) for number in range(MAX_CRLS)}
    to = tmp_path / "installed"
    assert bring(stick(tmp_path / "full", crls=many), to) == ()
    before = sorted((to / "trust.d").iterdir())
    assert len(before) == MAX_CRLS
    one = stick(tmp_path / "one", deny_text(1, DENIED), crls={"more.crl": root_list(900, 900)})
    with pytest.raises(LimitExceeded, match="65 revocation lists"):
        bring(one, to)
    assert sorted((to / "trust.d").iterdir()) == before
    assert not (to / "deny.toml").exists()


def test_a168_a_delivery_of_endless_lists_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    to, crls = tmp_path / "installed", {f"{number}.crl": root_list(number, number) for number in range(1, 5)}
    monkeypatch.setattr(bundle, "MAX_LISTS_BYTES", sum(map(len, crls.values())))
    assert install(stick(tmp_path / "good", crls=crls), tmp_path / "elsewhere") == 0
    full = stick(tmp_path / "full", crls={**crls, "junk.crl": bytes(5)})
    assert install(full, to) == 1
    assert f"{tmp_path}/full/trust.d" in capsys.readouterr().err
    assert not to.exists()


def test_lists_of_strangers_do_not_fill_the_places_of_those_that_count(tmp_path: Path) -> None:
    to, others = tmp_path / "installed", [Pki.make() for _ in range(3)]
    strange = {f"x{number}.crl": others[number % 3].crl(number=number + 1) for number in range(60)}
    junk = {"junk.crl": b"no list at all"}
    namesake = Pki.make()  # the same names, other keys
    forged = make_crl(
        namesake.root.certificate, namesake.root.key, number=9, this_update=NOW, next_update=NOW + DAY, revoked=[]
    )
    junk["zz-forged.crl"] = forged
    left_out = bring(stick(tmp_path / "full", crls={**strange, **junk, "root.crl": root_list(1, 1)}), to)
    assert len(left_out) == 60 - MAX_STRANGE + 2
    assert "zz-forged.crl" in left_out
    assert "junk.crl" in left_out
    assert (to / "trust.d/root.crl").exists()
    assert len(list((to / "trust.d").iterdir())) == MAX_STRANGE + 1
    before = sorted((to / "trust.d").iterdir())
    assert len(bring(stick(tmp_path / "again", crls={"y.crl": others[0].crl(number=99)}), to)) == 1
    assert sorted((to / "trust.d").iterdir()) == before  # nobody pushes out what was there (decision 20)
    next(one for one in before if one.read_bytes() in strange.values()).unlink()  # an administrator makes room
    assert bring(stick(tmp_path / "again", crls={"y.crl": others[0].crl(number=99)}), to) == ()
    assert bring(stick(tmp_path / "good", crls={"root.crl": root_list(2, 2)}), to) == ()


def test_a_list_of_which_a_newer_one_says_all_makes_room_and_one_that_says_more_stays(tmp_path: Path) -> None:
    pki = Pki.make()
    to, intermediate = tmp_path / "installed", pki.intermediate.pem

    def listing(number: int, *entries: Revoked) -> bytes:
        ca = pki.intermediate
        made, ends = NOW - DAY + number * HOUR, NOW + 30 * DAY
        return make_crl(ca.certificate, ca.key, number=number, this_update=made, next_update=ends, revoked=entries)

    def bringing(name: str, data: bytes, at: datetime = NOW) -> set[bytes]:
        trust = write_trust(
            tmp_path / name, trust_parts(pki, intermediate=[{"certificate": intermediate}]), olga=OFFICER
        )
        (trust.parent / "trust.d").mkdir()
        (trust.parent / "trust.d" / f"{name}.crl").write_bytes(data)
        install_bundle(str(trust), str(to), parse_trust(trust.read_bytes(), "trust.toml"), at)
        return {path.read_bytes() for path in (to / "trust.d").iterdir()}

    early, late = NOW - 9 * DAY, NOW - 2 * DAY
    stolen = x509.ReasonFlags.key_compromise
    first = listing(1, Revoked(5, late, stolen, early))
    same = listing(2, Revoked(5, late, stolen, early), Revoked(6, late, stolen))
    forgets = listing(3, Revoked(6, late, stolen))
    later = listing(4, Revoked(5, late, stolen, late), Revoked(6, late, stolen))
    harmless = listing(5, Revoked(5, late, stolen, early), Revoked(6, late, x509.ReasonFlags.superseded))
    whole = listing(6, Revoked(5, early, stolen, early), Revoked(6, early, stolen))
    assert bringing("a", first) == {first}
    assert bringing("b", same, NOW - 2 * DAY) == {first, same}, (
        "a clock may be behind, and then the older one is the fresh one"
    )
    assert bringing("b2", same) == {same}
    assert bringing("c", forgets) == {same, forgets}
    assert bringing("d", later) == {same, later}, "the list that forgot an entry says nothing more than the next one"
    assert bringing("e", harmless) == {same, later, harmless}
    assert bringing("f", whole) == {whole}
    assert bringing("g", first) == {whole}, "what is old already is not brought"


def test_two_who_install_at_once_do_not_mix_what_they_bring(tmp_path: Path) -> None:
    to, two = tmp_path / "installed", stick(tmp_path / "two", deny_text(2, DENIED))
    assert install(stick(tmp_path / "one", deny_text(1, DENIED)), to) == 0
    command = [sys.executable, "-m", "sealwright", "trust", "install", str(two), "--to", str(to), "--trust-fingerprint"]
    with alone_in(str(to)):
        waiting = subprocess.Popen([*command, str(Digest.of(two.read_bytes()))], stdout=subprocess.DEVNULL)
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(timeout=3)
        assert (to / "deny.toml").read_bytes() == deny_text(1, DENIED)
    assert waiting.wait(timeout=60) == 0
    assert (to / "deny.toml").read_bytes() == deny_text(2, DENIED)


def test_a150_what_was_checked_is_what_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    to, listed = tmp_path / "installed", root_list(1, 1)
    good = stick(tmp_path / "good", deny_text(1, DENIED), {"root.crl": listed})
    checked = belief.load_trust

    def swapped(path: str, **how: object) -> object:
        believed = checked(path, **how)  # type: ignore[arg-type]
        (good.parent / "deny.toml").write_bytes(deny_text(9, LEAF.key_digest))
        (good.parent / "trust.d/root.crl").write_bytes(root_list(7, 7))
        good.write_bytes(b"# sealwright trust 1\n")
        return believed

    monkeypatch.setattr(belief, "load_trust", swapped)
    assert install(good, to) == 0
    assert (to / "deny.toml").read_bytes() == deny_text(1, DENIED)
    assert (to / "trust.d/root.crl").read_bytes() == listed
    assert load_trust(str(to / "trust.toml")).deny_version == 1


def test_what_is_wrong_on_a_stick_is_named_by_its_own_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = stick(tmp_path / "good", deny_text(1, DENIED))
    assert install(good, tmp_path / "installed") == 0
    (good.parent / "deny.toml").write_bytes(deny_text(2, LEAF.key_digest))
    capsys.readouterr()
    assert install(good, tmp_path / "other") == 1
    said = capsys.readouterr().err
    assert str(good.parent / "deny.toml") in said
    assert "sealwright-trust-" not in said


def test_a_deny_list_is_shown_and_not_taken_for_a_trust_file(tmp_path: Path, shown: Callable[[], str]) -> None:
    trust = stick(tmp_path, deny_text(4, DENIED))
    assert main(["trust", "check", str(trust), "--json"]) == 0
    assert json.loads(shown())["usable"]
    assert main(["trust", "check", str(tmp_path / "deny.toml"), "--json"]) == 1
    assert "it is a deny list" in json.loads(shown())["error"]["sentence"]
    assert main(["inspect", str(tmp_path / "deny.toml")]) == 0
    said = shown()
    assert "deny list" in said
    assert f"key {DENIED}: stolen" in said
