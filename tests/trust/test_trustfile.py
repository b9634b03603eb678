"""The trust file: what is refused in it, how it is believed, and how one version follows another."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from kit.notes import verifier_key
from kit.pki import DAY, NOW, Pki, Signer, p7s, person_key
from kit.trust import (
    OFFICER,
    RECOVERY,
    RULE,
    judge,
    person,
    public_pem,
    quorum,
    signed_file,
    trust_bytes,
    trust_parts,
)
from kit.trust import write_trust as write
from sealwright.envelope.verifierkey import NoteType
from sealwright.errors import MalformedTrust, SealwrightError, TrustRefused, UsageError
from sealwright.trust.belief import Believed, load_trust
from sealwright.trust.history import Step, check_step, install, read_signed, signing_keys, walk
from sealwright.trust.toml import Toml, toml_text
from sealwright.trust.trustfile import parse_trust
from sealwright.trust.verdict import Outcome
from sealwright.trust.words import card, groups, read_fingerprint, words

Parts = dict[str, Toml]
PKI = Pki.make()


def test_a_whole_trust_file_is_read() -> None:
    trust = parse_trust(trust_bytes(trust_parts(PKI)), "trust.toml")
    assert trust.id == "plant-7"
    assert trust.rules[0].signers[0].purposes == ("1.3.6.1.5.5.7.3.43",)
    assert trust.officers.threshold == 1
    assert trust.stage == "ordinary"


def test_the_keys_of_logs_and_witnesses_are_read_and_a_mistyped_one_is_refused_by_its_line() -> None:
    log, witness = verifier_key("log.example", NoteType.LOG), verifier_key("w.example", NoteType.WITNESS)
    data = trust_bytes(changed(log=[{"name": "ours", "vkey": log}], witness=[{"name": "west", "vkey": witness}]))
    trust = parse_trust(data, "trust.toml")
    assert [(one.name, str(one.key)) for one in (*trust.logs, *trust.witnesses)] == [("ours", log), ("west", witness)]
    mistyped = witness.replace("w.example", "v.example")
    spoilt = data.replace(witness.encode(), mistyped.encode())
    line = spoilt.decode().split("\n").index(f'vkey = "{mistyped}"') + 1
    with pytest.raises(MalformedTrust, match=rf"\[\[witness\]\] 1 \(line {line}\): `vkey` .* mistyped"):
        parse_trust(spoilt, "trust.toml")


@pytest.mark.parametrize(
    ("logs", "witnesses"),
    [(["ours"], ["ours"]), (["ours"], ["west"]), ([], ["west", "east"]), (["a", "b"], [])],
)
def test_one_key_is_not_two_voices(logs: list[str], witnesses: list[str]) -> None:
    keys = [Ed25519PrivateKey.generate().public_key().public_bytes_raw() for _ in range(4)]

    def parts(same: bool) -> Parts:
        fresh = iter(keys)
        said: Parts = {}
        for kind, section, names in ((NoteType.LOG, "log", logs), (NoteType.WITNESS, "witness", witnesses)):
            said[section] = [
                {"name": name, "vkey": verifier_key(name, kind, keys[0] if same else next(fresh))} for name in names
            ]
        return changed(**{section: part for section, part in said.items() if part})

    assert parse_trust(trust_bytes(parts(same=False)), "trust.toml")
    with pytest.raises(MalformedTrust, match="its key is also that of"):
        parse_trust(trust_bytes(parts(same=True)), "trust.toml")


def changed(**parts: Toml) -> Parts:
    return trust_parts(PKI, **parts)


ANCHOR = {"name": "root", "environment": "production", "certificate": PKI.root.pem}
SECOND = person_key()
ROOT = {"name": "nordhof", "root": f"sha256:{'ab' * 32}"}
KEYS_OF_OLGA = [{"person": "olga", "key": public_pem(key)} for key in (OFFICER, SECOND)]


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (changed(colour="red"), "unknown key `colour`"),
        (changed(rule=[RULE | {"timestanp": "required"}]), "did you mean `timestamp`"),
        (changed(version=0), "`version` must be a whole number from 1"),
        (changed(version="1"), "`version`"),
        (changed(id=""), "`id`"),
        (changed(id="a\u202eb"), "`id`"),
        (changed(issued=NOW, expires=NOW), "not before"),
        (changed(stage="ready"), "`stage`"),
        (changed(anchor=[ANCHOR, ANCHOR | {"name": "again", "environment": "test"}]), "twice"),
        (changed(anchor=[ANCHOR | {"certificate": "nonsense"}]), "PEM"),
        (changed(anchor=[ANCHOR | {"environment": "prod"}]), "`environment`"),
        (changed(anchor=[ANCHOR | {"environment": "test"}]), "the rule for production"),
        (changed(anchor=[ANCHOR | {"public": True}], rule=[RULE | {"signer": [{"anchors": ["root"]}]}]), "public CA"),
        (changed(rule=[RULE | {"signer": [{"anchors": ["toor"]}]}]), "no anchor toor"),
        (changed(rule=[RULE | {"signer": [{"anchors": ["root"], "keys": [OFFICER.key_digest]}]}]), "`pins_until`"),
        (changed(rule=[RULE | {"signer": []}]), "`signer`"),
        (changed(rule=[RULE | {"mode": "enforce"}]), "`owner`, `reason` and `review`"),
        (changed(rule=[RULE | {"fresh_for": "30 days"}]), "a duration"),
        (changed(rule=[RULE, RULE]), "used twice"),
        (changed(officers=quorum(0, olga=OFFICER)), "`threshold`"),
        (changed(officers=quorum(-1, olga=OFFICER)), "`threshold`"),
        (changed(officers=quorum(2, olga=OFFICER)), "different persons"),
        (changed(officers={"threshold": 2, "key": [*KEYS_OF_OLGA]}), "different persons"),
        (changed(officers=quorum(1, nobody=OFFICER)), "not a [[person]]"),
        (changed(recovery=quorum(1, rolf=OFFICER)), "both in [officers] and in [recovery]"),
        (changed(recovery=quorum(1, olga=RECOVERY)), "a person is both"),
        (changed(recovery=None), "[recovery]"),
        (changed(officers=None), "[officers]"),
        (changed(person=[person("olga", OFFICER), person("rolf", OFFICER)]), "two persons"),
        (changed(evidence=[{"key": OFFICER.key_digest, "provenance": "hardware-imported"}]), "`reason` and `review`"),
        (changed(evidence=[{"key": OFFICER.key_digest, "provenance": "service-held"}]), "`reason` and `review`"),
        (changed(deny=[{"reason": "x"}]), "exactly one of"),
        (changed(deny=[{"key": "md5:00", "reason": "x"}]), "digest"),
        (changed(minimum={"pump": -1}), "generation"),
        (changed(repository=[ROOT, ROOT]), "used twice"),
        (changed(repository=[ROOT, ROOT | {"name": "again"}]), "[[repository]] root is used twice"),
        (changed(tuf_root=ROOT["root"], repository=[ROOT]), "`tuf_root` is the root of a [[repository]]"),
        (changed(repository=[{"name": "nordhof"}]), "`root`"),
    ],
)
def test_a_trust_file_that_does_not_fit_together_is_refused_with_the_place(parts: Parts, said: str) -> None:
    assert parse_trust(trust_bytes(changed(repository=[ROOT])), "trust.toml").repository_root("nordhof")
    with pytest.raises(MalformedTrust) as caught:
        parse_trust(trust_bytes(parts), "trust.toml")
    assert said in caught.value.what


@pytest.mark.parametrize(
    "alter",
    [
        lambda data: data[1:],
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data.replace(b"trust 1", b"trust 2", 1),
        lambda data: data + b'\nid = "again"\n',
        lambda data: data + b"\xff",
        lambda data: data.replace(b'id = "plant-7"', b'id = "plant-7"\nid = "plant-8"'),
        lambda data: data + b"[" * 50_000,
        lambda data: b"",
    ],
)
def test_bytes_that_are_no_trust_file_are_refused(alter: Callable[[bytes], bytes]) -> None:
    data = trust_bytes(changed())
    assert parse_trust(data, "trust.toml")
    with pytest.raises(SealwrightError):
        parse_trust(alter(data), "trust.toml")


@given(st.text(max_size=200))
def test_any_bytes_after_the_first_line_give_a_typed_error(text: str) -> None:
    with pytest.raises(SealwrightError):
        parse_trust(b"# sealwright trust 1\n" + text.encode(errors="replace"), "trust.toml")


def test_a_trust_file_signed_by_its_officers_in_a_safe_place_is_believed(tmp_path: Path) -> None:
    path = write(tmp_path, changed(), olga=OFFICER)
    assert load_trust(str(path)).reason == "it lies where only you or an administrator can write"


def test_a104_unsigned_altered_or_wrongly_signed_trust_files_are_refused(tmp_path: Path) -> None:
    good = write(tmp_path / "good", changed(), olga=OFFICER)
    assert load_trust(str(good))
    unsigned = write(tmp_path / "unsigned", changed())
    stranger = write(tmp_path / "stranger", changed(), olga=person_key())
    recovery = write(tmp_path / "recovery", changed(), rolf=RECOVERY)
    altered = write(tmp_path / "altered", changed(), olga=OFFICER)
    altered.write_bytes(altered.read_bytes().replace(b"plant-7", b"plant-8"))
    other_kind = write(tmp_path / "kind", changed())
    (tmp_path / "kind" / "trust.toml.olga.p7s").write_bytes(p7s(OFFICER, other_kind.read_bytes(), kind="file"))
    for path in (unsigned, stranger, recovery, altered, other_kind):
        with pytest.raises(TrustRefused, match="must have signed"):
            load_trust(str(path))


def test_a106_one_person_with_two_keys_counts_once(tmp_path: Path) -> None:
    second, third = person_key(), person_key()
    keys = [*quorum(1, olga=OFFICER)["key"], *quorum(1, olga=second)["key"], *quorum(1, otto=third)["key"]]  # type: ignore[misc]
    people = [person("olga"), person("otto"), person("rolf")]
    parts = changed(person=people, officers={"threshold": 2, "key": keys})
    assert load_trust(str(write(tmp_path / "two", parts, olga=OFFICER, otto=third)))
    with pytest.raises(TrustRefused, match="signed has olga"):
        load_trust(str(write(tmp_path / "one", parts, olga=OFFICER, olga2=second)))
    with pytest.raises(TrustRefused, match="signed has olga"):
        load_trust(str(write(tmp_path / "same", parts, olga=OFFICER, olga2=OFFICER)))


def test_a_trial_file_may_be_unsigned_and_every_verdict_says_so(tmp_path: Path) -> None:
    path = write(tmp_path, changed(stage="trial"))
    trust = load_trust(str(path))
    verdict = judge(signed_file(tmp_path, PKI.leaf()), trust)
    assert verdict.outcome is Outcome.TRUSTED
    assert "SW-TRUST-TRIAL" in [finding.code for finding in verdict.findings]


def test_a_place_where_others_can_write_needs_the_fingerprint(tmp_path: Path) -> None:
    path = write(tmp_path / "open", changed(), olga=OFFICER)
    assert load_trust(str(path))
    path.parent.chmod(0o777)
    with pytest.raises(TrustRefused) as caught:
        load_trust(str(path))
    digest = parse_trust(path.read_bytes(), "t").digest
    assert "--trust-fingerprint" in caught.value.next_step
    assert digest.value.hex() not in str(caught.value)
    for text in (digest.value.hex(), str(digest), groups(digest), words(digest), words(digest).replace("-", " ")):
        assert load_trust(str(path), fingerprint=text).reason == "its fingerprint was given"
    with pytest.raises(TrustRefused):
        load_trust(str(path), fingerprint="00" * 32)
    with pytest.raises(UsageError):
        load_trust(str(path), fingerprint="not a fingerprint")
    path.parent.chmod(0o1777)
    assert load_trust(str(path))


def test_a108_the_environment_adds_no_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stranger = Pki.make("Stranger")
    trust = load_trust(str(write(tmp_path, changed(), olga=OFFICER)))
    assert judge(signed_file(tmp_path, PKI.leaf()), trust).outcome is Outcome.TRUSTED
    (tmp_path / "ca.pem").write_text(stranger.root.pem)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "SEALWRIGHT_TRUST", "OPENSSL_CONF"):
        monkeypatch.setenv(name, str(tmp_path / "ca.pem"))
    monkeypatch.chdir(tmp_path)
    trust = load_trust(str(tmp_path / "trust.toml"))
    assert judge(signed_file(tmp_path, stranger.leaf()), trust).outcome is Outcome.REJECTED


def test_a_fingerprint_reads_back_from_words_and_hex(tmp_path: Path) -> None:
    trust = parse_trust(trust_bytes(changed()), "t")
    assert read_fingerprint(words(trust.digest)) == trust.digest
    assert read_fingerprint(groups(trust.digest)) == trust.digest
    assert groups(trust.digest)[:9] in card(trust)
    broken = words(trust.digest).replace(words(trust.digest)[0], "x", 1)
    with pytest.raises(UsageError):
        read_fingerprint(broken)


def test_versions_are_walked_one_by_one_with_both_sides_signing(tmp_path: Path) -> None:
    next_officer = person_key()
    first = changed()
    second = changed(
        version=2,
        person=[person("olga", OFFICER), person("otto", next_officer), person("rolf", RECOVERY)],
        officers=quorum(1, otto=next_officer),
    )
    third = dict(second) | {"version": 3}
    installed = parse_trust(trust_bytes(first), "installed")
    newest = write(tmp_path, third, otto=next_officer)
    with pytest.raises(SealwrightError):
        walk(installed, read_signed(str(newest)))
    write(tmp_path / "trust.history", second, "2.toml", olga=OFFICER, otto=next_officer)
    assert walk(installed, read_signed(str(newest))) is Step.ORDINARY
    assert load_trust(str(newest), installed=installed).reason == "it follows the installed version 1"
    write(tmp_path / "trust.history", second, "2.toml", otto=next_officer)
    (tmp_path / "trust.history" / "2.toml.olga.p7s").unlink()
    with pytest.raises(TrustRefused, match="officers of version 1"):
        walk(installed, read_signed(str(newest)))


def test_a105_an_older_or_another_trust_file_does_not_follow(tmp_path: Path) -> None:
    installed = parse_trust(trust_bytes(changed(version=5)), "installed")
    good = write(tmp_path / "good", changed(version=6), olga=OFFICER)
    assert walk(installed, read_signed(str(good))) is Step.ORDINARY
    for name, parts in (
        ("old", changed(version=4)),
        ("same", changed(version=5, title="x")),
        ("other", changed(version=6, id="plant-8")),
    ):
        path = write(tmp_path / name, parts, olga=OFFICER)
        with pytest.raises(TrustRefused):
            walk(installed, read_signed(str(path)))


def test_recovery_keys_replace_officers_and_nothing_else(tmp_path: Path) -> None:
    new = person_key()
    previous = parse_trust(trust_bytes(changed()), "t")
    people = [person("olga", OFFICER), person("rolf", RECOVERY), person("nina")]
    parts = changed(version=2, person=people, officers=quorum(1, nina=new))
    path = write(tmp_path, parts, rolf=RECOVERY, nina=new)
    keys = signing_keys(read_signed(str(path)))
    assert check_step(previous, parse_trust(path.read_bytes(), "t"), keys) is Step.RECOVERY
    (tmp_path / "trust.history").mkdir()
    (tmp_path / "trust.history" / "1.toml").write_bytes(previous.text)
    assert [finding.code for finding in load_trust(str(path)).findings] == ["SW-TRUST-RECOVERED"]
    more = dict(parts) | {"minimum": {"pump": 1}}
    path = write(tmp_path / "more", more, rolf=RECOVERY, nina=new)
    with pytest.raises(TrustRefused, match="nothing else"):
        check_step(previous, parse_trust(path.read_bytes(), "t"), signing_keys(read_signed(str(path))))
    mapped = dict(parts) | {"person": [*people[:2], person("nina", PKI.leaf())]}
    path = write(tmp_path / "mapped", mapped, rolf=RECOVERY, nina=new)
    with pytest.raises(TrustRefused, match="nothing else"):
        check_step(previous, parse_trust(path.read_bytes(), "t"), signing_keys(read_signed(str(path))))


def test_install_keeps_the_history(tmp_path: Path) -> None:
    first = write(tmp_path / "stick", changed(), olga=OFFICER)
    place = tmp_path / "place"
    install(read_signed(str(first)), str(place), None)
    assert load_trust(str(place / "trust.toml")).trust.version == 1
    second = write(tmp_path / "stick", changed(version=2), olga=OFFICER)
    installed = load_trust(str(place / "trust.toml")).trust
    assert load_trust(str(second), installed=installed)
    install(read_signed(str(second)), str(place), installed)
    assert load_trust(str(place / "trust.toml")).trust.version == 2
    assert sorted(name for name in os.listdir(place / "trust.history") if name.endswith(".toml")) == [
        "1.toml",
        "2.toml",
    ]


def deny(folder: Path, signer: Signer | None, digest: str, trust: str = "plant-7", version: int = 1) -> None:
    text = toml_text(
        "# sealwright deny 1", {"version": version, "trust": trust, "deny": [{"key": digest, "reason": "stolen"}]}
    ).encode()
    (folder / "deny.toml").write_bytes(text)
    if signer is not None:
        (folder / "deny.toml.olga.p7s").write_bytes(p7s(signer, text, kind="deny"))


def test_a_deny_list_of_one_officer_takes_trust_away_and_an_unsigned_one_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, changed(), olga=OFFICER)
    release = PKI.leaf()
    file = signed_file(tmp_path, release)
    loaded: Believed = load_trust(str(path))
    assert judge(file, loaded).outcome is Outcome.TRUSTED
    deny(tmp_path, OFFICER, release.key_digest)
    assert judge(file, load_trust(str(path))).outcome is Outcome.REJECTED
    for signer, trust in ((None, "plant-7"), (person_key(), "plant-7"), (OFFICER, "plant-8")):
        (tmp_path / "deny.toml.olga.p7s").unlink(missing_ok=True)
        deny(tmp_path, signer, release.key_digest, trust)
        with pytest.raises(SealwrightError):
            load_trust(str(path))


def test_revocation_lists_beside_the_trust_file_are_used(tmp_path: Path) -> None:
    pki = Pki.make()
    path = write(tmp_path, trust_parts(pki), olga=OFFICER)
    release = pki.leaf()
    file = signed_file(tmp_path, release)
    assert judge(file, load_trust(str(path))).outcome is Outcome.TRUSTED
    pki.revoke(release, NOW - DAY)
    (tmp_path / "trust.d").mkdir()
    (tmp_path / "trust.d" / "acme.crl").write_bytes(pki.crl(NOW))
    assert judge(file, load_trust(str(path))).outcome is Outcome.REJECTED
    (tmp_path / "trust.d" / "acme.crl").write_bytes(b"nonsense")
    verdict = judge(file, load_trust(str(path)))
    assert "SW-CRL-REFUSED" in [finding.code for finding in verdict.findings]
