"""Persons, keys and names that look like two and are one, or like one and are two (A049, A106, A120)."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.certs import Made, made
from kit.forge import forge, signer_info
from kit.pki import Pki, person_key
from kit.production import leaf_of, signer, trusting
from kit.trust import OFFICER, RECOVERY, RULE, codes, judge, person, quorum, trust_bytes, trust_parts
from sealwright.errors import MalformedTrust, UsageError
from sealwright.trust.certificate import tbs_digest
from sealwright.trust.toml import Toml
from sealwright.trust.trustfile import parse_trust
from sealwright.trust.verdict import Outcome
from sealwright.trust.words import read_fingerprint

PKI = Pki.make()
SECOND = person_key()
DATA = b"firmware"
ROOT = made("root", ca=True)
CA = made("CA", ROOT, ca=True)


def parse(**changes: Toml) -> object:
    return parse_trust(trust_bytes(trust_parts(PKI, **changes)), "trust.toml")


def two_officers(other: str) -> dict[str, Toml]:
    """Two persons whose keys must both sign."""
    officers = quorum(2, olga=OFFICER) | {
        "key": [*quorum(2, olga=OFFICER)["key"], *quorum(2, **{other: SECOND})["key"]]
    }  # type: ignore[misc]
    return {"person": [person("olga", OFFICER), person(other), person("rolf", RECOVERY)], "officers": officers}


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ("Olga", "used twice"),
        ("\uff4flga", "used twice"),
        ("olga ", "spaces"),
        ("\u2003olga", "spaces"),
        ("\u043elga", "one script: CYRILLIC and LATIN"),
        ("\u03bflga", "one script: GREEK and LATIN"),
        ("ol\u200dga", "printable"),
        ("olga\u202e", "printable"),
    ],
)
def test_a106_one_person_under_two_names_that_read_alike_is_no_second_one(other: str, said: str) -> None:
    for fine in ("otto", "Jürgen Groß", "Ольга", "Όλγα", "山田 Taro"):
        assert parse(**two_officers(fine))
    with pytest.raises(MalformedTrust, match=said):
        parse(**two_officers(other))


@pytest.mark.parametrize("what", ["anchor", "rule", "authority"])
def test_a049_two_things_of_one_trust_file_have_names_that_tell_them_apart(what: str) -> None:
    root = {"name": "caf\u00e9", "environment": "production", "certificate": PKI.root.pem}
    again = root | {"name": "cafe\u0301", "certificate": PKI.intermediate.pem}
    rule = RULE | {"name": "caf\u00e9", "signer": [{"anchors": ["caf\u00e9"]}]}
    stamps = {"name": "caf\u00e9", "anchor": PKI.root.pem}
    good: dict[str, list[dict[str, Toml]]] = {"anchor": [root], "rule": [rule], "authority": [stamps]}
    assert parse(**good)  # type: ignore[arg-type]
    twin = {"anchor": again, "rule": rule | {"name": "CAFE\u0301"}, "authority": stamps | {"name": "cafe\u0301"}}[what]
    with pytest.raises(MalformedTrust, match="used twice"):
        parse(**(good | {what: [*good[what], twin]}))  # type: ignore[arg-type]


def test_a032_a_digest_is_given_whole_or_not_at_all() -> None:
    whole = PKI.leaf().key_digest
    pinned = {"anchors": ["root"], "pins_until": PKI.root.x509.not_valid_after_utc}
    assert parse(rule=[RULE | {"signer": [pinned | {"keys": [whole]}]}])
    for short in (whole[:19], whole[:-1], whole + "0", whole.removeprefix("sha256:"), "sha256:"):
        with pytest.raises(MalformedTrust, match="keys"):
            parse(rule=[RULE | {"signer": [pinned | {"keys": [short]}]}])
    fingerprint = whole.removeprefix("sha256:")
    assert str(read_fingerprint(fingerprint)) == whole
    for short in (fingerprint[:12], fingerprint[:-2], fingerprint + "00", "", fingerprint[:-1] + "٣"):
        with pytest.raises(UsageError):
            read_fingerprint(short)


def certified(common: str, key: object = None) -> Made:
    return leaf_of(CA, common, key=key)


def test_a120_one_key_in_several_certificates_and_several_keys_of_one_person_count_once(tmp_path: Path) -> None:
    """Three keys and three persons, but of the signatures only two have neither in common."""
    shared = certified("shared as olga")
    as_otto, as_rosa = certified("shared as otto", shared.key), certified("shared as rosa", shared.key)
    olga_2, olga_3, honest = certified("olga 2"), certified("olga 3"), certified("otto himself")

    def digest(*leaves: Made) -> list[str]:
        return [str(tbs_digest(one.certificate)) for one in leaves]

    people: list[Toml] = [
        person("olga-o", OFFICER),
        person("rolf", RECOVERY),
        {"id": "olga", "organisation": "ACME", "certificates": digest(shared, olga_2, olga_3)},
        {"id": "otto", "organisation": "ACME", "certificates": digest(as_otto, honest)},
        {"id": "rosa", "organisation": "ACME", "certificates": digest(as_rosa)},
    ]
    officers = {"officers": quorum(1, **{"olga-o": OFFICER})}
    rule = RULE | {"signer": [{"anchors": ["root"], "count": 3}]}
    trust = trusting(ROOT, person=people, rule=[rule], **officers)
    path = tmp_path / "drive.bin"
    path.write_bytes(DATA)

    def judged(*leaves: Made) -> tuple[Outcome, list[str]]:
        infos = [signer_info(signer(one), DATA) for one in leaves]
        bag = sorted({CA.der, *(one.der for one in leaves)})
        (tmp_path / "drive.bin.p7s").write_bytes(forge(signer(leaves[0]), DATA, infos=infos, certificates=bag))
        verdict = judge(path, trust)
        return verdict.outcome, codes(verdict)

    assert judged(as_rosa, honest, olga_2) == (Outcome.TRUSTED, [])
    assert judged(as_rosa, as_otto, honest, olga_2) == (Outcome.TRUSTED, [])
    too_few = (Outcome.REJECTED, ["SW-SIGNERS-TOO-FEW"])
    assert judged(shared, as_otto, as_rosa) == too_few
    assert judged(shared, olga_2, olga_3) == too_few
    assert judged(shared, as_otto, as_rosa, olga_2, olga_3) == too_few
