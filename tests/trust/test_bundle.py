"""The revocation bundle travels with `trust install`: a deny list is never lost, and an older one never comes back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.pki import DAY, NOW, Pki, p7s
from kit.trust import OFFICER, signed_file, trust_parts, write_trust
from sealwright.artifact.digest import Digest
from sealwright.cli.main import main
from sealwright.errors import LimitExceeded, TrustRefused
from sealwright.trust.belief import MAX_CRLS, load_trust
from sealwright.trust.bundle import install_bundle

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
        install_bundle(str(stick(tmp_path / "other", deny_text(2, DENIED))), str(to))
    assert install(stick(tmp_path / "three", deny_text(3, DENIED)), to) == 0
    assert load_trust(str(to / "trust.toml")).deny_version == 3


def test_a_deny_list_that_no_officer_signed_is_not_installed(tmp_path: Path) -> None:
    good, bad = stick(tmp_path / "good", deny_text(1, DENIED)), stick(tmp_path / "bad", deny_text(2, DENIED))
    (tmp_path / "bad/deny.toml.olga.p7s").write_bytes(p7s(LEAF, deny_text(2, DENIED), kind="deny"))
    to = tmp_path / "installed"
    assert install(bad, to) == 1
    assert not to.exists()
    assert install(good, to) == 0


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


def test_more_lists_than_are_read_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    many = {f"{number}.crl": b"list %d" % number for number in range(MAX_CRLS)}
    to = tmp_path / "installed"
    trust = stick(tmp_path / "full", crls=many)
    install_bundle(str(trust), str(to))
    before = sorted((to / "trust.d").iterdir())
    assert len(before) == MAX_CRLS
    one = stick(tmp_path / "one", deny_text(1, DENIED), crls={"more.crl": b"one more"})
    with pytest.raises(LimitExceeded, match="65 revocation lists"):
        install_bundle(str(one), str(to))
    assert sorted((to / "trust.d").iterdir()) == before
    assert not (to / "deny.toml").exists()


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
