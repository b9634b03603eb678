"""Trusted builders in the settings of policies: what can be entered, what a change of them means, and how rules are tried with them."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from kit.mutate import changed
from kit.policies import CI, policies, question
from kit.provenance import BUILD_TYPE, BUILDER, DEMANDING, BuilderKey, encoded, statement, subject
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.cli.main import main
from sealwright.errors import LimitExceeded, MalformedPolicy, ProvenanceRefused
from sealwright.formats.format import Coverage, Prepared
from sealwright.signing.builder import judged
from sealwright.signing.dsse import Dsse
from sealwright.signing.policy import Policies
from sealwright.signing.policydiff import Direction, compare
from sealwright.signing.provenance import read_provenance

RULES = DEMANDING


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> BuilderKey:
    return BuilderKey.make(tmp_path_factory.mktemp("builder") / "release")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> BuilderKey:
    return BuilderKey.make(tmp_path_factory.mktemp("builder") / "other")


def trusting(settings: str) -> Policies:
    return policies(RULES, settings)


def drive(data: bytes = b"drive") -> Prepared:
    return Prepared(
        "detached", "file", "drive.bin", {HashName.SHA256: Digest.of(data)}, None, 5, Coverage.whole(5), Claims()
    )


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ({"id": '""'}, "`id` must be"),
        ({"id": '"https://ci\\u200b.example"'}, "`id` must be"),
        ({"build_types": "[]"}, "`build_types` must be"),
        ({"build_types": f'["{BUILD_TYPE}", "{BUILD_TYPE}"]'}, "`build_types` must be"),
        ({"build_types": f'["{BUILD_TYPE}", "https://acme.example/build/1"]'}, "of one kind"),
        ({"repository_at": '"source.repository"'}, "`ref_at` must be there"),
        ({"repository_at": '"a..b"', "ref_at": '"c"'}, "`repository_at` must be 1 to 4 names"),
        ({"repository_at": '"a.b.c.d.e"', "ref_at": '"c"'}, "`repository_at` must be 1 to 4 names"),
        ({"others": '"yes"'}, "`others` must be true or false"),
        ({"prefix": '"https://"'}, "unknown key `prefix`"),
    ],
)
def test_a_builder_that_is_not_said_exactly_refuses_the_folder(
    key: BuilderKey, lines: dict[str, str], wanted: str
) -> None:
    assert trusting(key.settings()).settings.builders[0].id == BUILDER
    with pytest.raises(MalformedPolicy, match=wanted):
        trusting(key.settings(**lines))


@pytest.mark.parametrize(
    "kind",
    [
        ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"),
        ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"),
        ("-algorithm", "X25519"),
    ],
)
def test_a_builder_with_a_weak_key_refuses_the_folder(tmp_path: Path, key: BuilderKey, kind: tuple[str, ...]) -> None:
    assert trusting(key.settings())
    with pytest.raises(MalformedPolicy, match="`key` must be a public key in PEM"):
        trusting(BuilderKey.make(tmp_path / "weak", *kind).settings())
    with pytest.raises(MalformedPolicy, match="`key` must be a public key in PEM"):
        trusting(key.settings().replace("PUBLIC KEY", "PRIVATE KEY"))


def test_a_builder_more_is_weaker_and_one_less_is_not(key: BuilderKey, other: BuilderKey) -> None:
    old = trusting(key.settings())
    assert compare(old, trusting(key.settings("renamed"))).direction is Direction.NOT_WEAKER
    assert compare(old, policies(RULES)).direction is Direction.NOT_WEAKER
    for settings in (
        key.settings() + other.settings("second"),
        other.settings(),
        key.settings(others="true"),
        key.settings(id='"https://ci.acme.example/workflows/other"'),
        key.settings(build_types='["https://slsa-framework.github.io/github-actions-buildtypes/workflow/v1"]'),
        key.settings(repository_at='"workflow.path"', ref_at='"workflow.ref"'),
    ):
        found = compare(old, trusting(settings))
        assert found.direction is Direction.WEAKER
        assert "is trusted, and was not, or not so far" in found.settings[0]
    both = trusting(key.settings(others="true"))
    assert compare(both, old).direction is Direction.NOT_WEAKER


def test_a_build_type_of_ones_own_says_where_its_source_is(key: BuilderKey) -> None:
    mine = "https://acme.example/build/1"
    settings = key.settings(build_types=f'["{mine}"]', repository_at='"workflow.repository"', ref_at='"workflow.path"')
    data = key.signed(statement(subject(b"drive"), build_type=mine))
    found = judged(read_provenance(data, "p"), trusting(settings).settings.builders, [drive()])
    assert (found.verified, found.source.ref) == (True, ".github/workflows/release.yml")
    silent = key.settings(build_types=f'["{mine}"]')
    found = judged(read_provenance(data, "p"), trusting(silent).settings.builders, [drive()])
    assert (found.verified, found.source.repository, found.source.ref) == (True, "", "")


def test_a_new_key_of_a_builder_is_a_second_table(key: BuilderKey, other: BuilderKey) -> None:
    builders = trusting(key.settings() + other.settings("second")).settings.builders
    for one in (key, other):
        assert judged(read_provenance(one.signed(statement(subject(b"drive"))), "p"), builders, [drive()]).verified


def test_a_provenance_that_nobody_verified_says_nothing_to_rules(key: BuilderKey) -> None:
    found = trusting(key.settings())
    built = question(
        CI, builder=BUILDER, build_type=BUILD_TYPE, source="https://github.com/acme/fw", source_ref="refs/tags/v1"
    )
    built = replace(built, resource=replace(built.resource, environment=None))
    asked = replace(built, context=replace(built.context, provenance_verified=True))
    rule = '@id("a") permit (principal, action, resource) when { context.source_ref == "refs/tags/v1" };'
    assert policies(rule).decide(asked).allowed
    assert not policies(rule).decide(built).allowed
    assert not found.decide(built).allowed


def test_any_change_of_a_signed_provenance_verifies_as_nothing_else(key: BuilderKey) -> None:
    builders = trusting(key.settings()).settings.builders
    good = key.signed(statement(subject(b"drive")))
    said = judged(read_provenance(good, "p"), builders, [drive()])
    assert said.verified
    assert said.provenance is not None
    for data in changed(good, random.Random(7)):
        try:
            found = judged(read_provenance(data, "p"), builders, [drive()])
        except (ProvenanceRefused, LimitExceeded):
            continue
        assert found.provenance is not None
        assert found.provenance.statement == said.provenance.statement or not found.verified


def test_any_bytes_are_a_statement_or_refused() -> None:
    good = encoded(statement(subject(b"drive")))
    assert read_provenance(good, "p")
    for data in changed(good, random.Random(8)):
        try:
            read_provenance(data, "p")
        except (ProvenanceRefused, LimitExceeded):
            continue


def test_policy_init_takes_the_builders_key_and_the_commands_speak_of_provenance(
    tmp_path: Path, key: BuilderKey, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "builder.pem").write_text(key.public)
    made, ci = str(tmp_path / "policies"), ["--repository", "acme/fw", "--builder", BUILDER]
    assert main(["policy", "init", made, *ci, "--builder-key", str(tmp_path / "builder.pem")]) == 0
    assert main(["policy", "check", made]) == 0
    assert "no build provenance that counts" not in capsys.readouterr().out
    assert main(["policy", "test", made, made + "/tests/small-company.toml"]) == 0
    without = str(tmp_path / "without")
    assert main(["policy", "init", without, *ci]) == 0
    assert main(["policy", "check", without]) == 0
    assert "no build provenance that counts" in capsys.readouterr().out
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.cedar").write_text(RULES)
    explain = [
        "policy",
        "explain",
        str(tmp_path / "rules"),
        "--who",
        "ci",
        "--action",
        "sign",
        "--environment",
        "development",
    ]
    built = ["--builder", BUILDER, "--build-type", BUILD_TYPE, "--source", "https://github.com/acme/fw"]
    assert main([*explain, *built, "--source-ref", "refs/tags/v1"]) == 0
    capsys.readouterr()
    assert main([*explain, *built, "--source-ref", "refs/heads/main"]) == 1
    assert "! the ref of the verified build is refs/tags/v1" in capsys.readouterr().out
    (tmp_path / "table.csv").write_text(
        "who,action,environment,builder,build_type,source,source_ref,expected\n"
        f"ci,sign,development,{BUILDER},{BUILD_TYPE},https://github.com/acme/fw,refs/tags/v1,allowed\n"
        f"ci,sign,development,{BUILDER},{BUILD_TYPE},https://github.com/acme/fw-evil,refs/tags/v1,refused\n"
    )
    assert main(["policy", "test", str(tmp_path / "rules"), str(tmp_path / "table.csv")]) == 0


def test_what_an_envelope_signs_is_what_the_protocol_shows() -> None:
    """The example of DSSE's protocol.md."""
    hello = Dsse("http://example.com/HelloWorld", b"hello world", ())
    assert hello.signed == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
