"""Build provenance attacked: another builder's, another artifact's, another predicate's (A124, A125). Its signatures are OpenSSL's."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from kit.provenance import (
    BUILD_TYPE,
    BUILDER,
    DEMANDING,
    REF,
    BuilderKey,
    encoded,
    statement,
    subject,
    with_payload,
)
from kit.service import World, signed, wanted, world
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.errors import LimitExceeded, LogRefused, PolicyRefused, ProvenanceRefused, RequestOver
from sealwright.formats.format import Coverage, Prepared
from sealwright.formats.manifest import ManifestFormat
from sealwright.log.entries import Request, read_any
from sealwright.signing.items import item_of
from sealwright.signing.policy import load_policies
from sealwright.signing.provenance import MAX_BYTES, read_provenance
from sealwright.signing.tables import PROVENANCE, State
from sealwright.signing.wish import Wish

DRIVE = b"a.bin"  # what `wanted` signs is the digest of its own name


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> BuilderKey:
    return BuilderKey.make(tmp_path_factory.mktemp("builder") / "release")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> BuilderKey:
    return BuilderKey.make(tmp_path_factory.mktemp("builder") / "evil")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, key: BuilderKey) -> Iterator[World]:
    made = demanding(tmp_path_factory.mktemp("service"), key.settings())
    yield made
    made.close()


def demanding(folder: Path, settings: str) -> World:
    """A service whose policies want a builder's provenance for development and production, none for tests."""
    made = world(folder, policy=DEMANDING)
    trust(made, settings)
    return made


def trust(made: World, settings: str) -> None:
    """From now on these settings hold."""
    (made.folder / "policies" / "settings.toml").write_text("# sealwright policy settings 1\n" + settings)
    made.policies = load_policies(str(made.folder / "policies"))


def asked(made: World, provenance: bytes, *names: str, environment: str = "development") -> list[bytes]:
    """The signatures over files of these names, or why there are none."""
    wish = Wish("release", wanted(names or ["a.bin"], environment), provenance=provenance)
    return [one.value for one in signed(made.requests.ask(made.principal("max"), wish)).values()]


def test_a124_what_our_builder_built_is_signed_and_its_provenance_is_in_the_log(
    service: World, key: BuilderKey
) -> None:
    data = key.signed(statement(subject(DRIVE)))
    asking = service.requests.ask(service.principal("max"), Wish("release", wanted(["a.bin"]), provenance=data))
    assert signed(asking)
    assert asking.request.provenance == Digest.of(data)
    assert f'"provenance":"{Digest.of(data)}"'.encode() in asking.request.encoded()
    entry = read_any(service.writer.reader.entries(asking.recorded.result()[0], 1)[0])
    assert isinstance(entry, Request)
    assert entry.build == Digest.of(data)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"builder": BUILDER + "-evil"}, "release-evil"),
        ({"builder": BUILDER[:-1]}, "releas,"),
        ({"builder": BUILDER + "/"}, "release/"),
        ({"builder": BUILDER.upper()}, "HTTPS"),
        ({"build_type": BUILD_TYPE + "1"}, "workflow/v11"),
    ],
)  # fmt: skip
def test_a125_a_builder_and_its_build_type_are_whole_texts(
    service: World, key: BuilderKey, changes: dict[str, str], found: str
) -> None:
    assert asked(service, key.signed(statement(subject(DRIVE))))
    with pytest.raises(ProvenanceRefused, match=f"wanted: builder {BUILDER} with its key.*found: .*{found}"):
        asked(service, key.signed(statement(subject(DRIVE), **changes)))


def test_a124_a_statement_that_another_key_signed_is_not_the_builders(
    service: World, key: BuilderKey, stranger: BuilderKey
) -> None:
    made = statement(subject(DRIVE))
    assert asked(service, key.signed(made))
    with pytest.raises(ProvenanceRefused, match="signed by none of their keys"):
        asked(service, stranger.signed(made))
    with pytest.raises(ProvenanceRefused, match="signed by none of their keys"):
        asked(service, with_payload(key.signed(statement(subject(b"other"))), made))


def test_a124_a_bare_statement_is_the_requesters_word_and_no_rule_believes_it(service: World, key: BuilderKey) -> None:
    made = statement(subject(DRIVE))
    assert asked(service, key.signed(made))
    with pytest.raises(
        PolicyRefused, match=r"development-by-our-builder wants: .*no build provenance that a trusted builder"
    ):
        asked(service, encoded(made))
    with pytest.raises(PolicyRefused, match="no build provenance that a trusted builder signed"):
        asked(service, b"")
    assert asked(service, encoded(made), environment="test")  # where nobody demands one it is kept and shown
    with pytest.raises(ProvenanceRefused, match="wanted: the subject sha256:"):
        asked(service, encoded(statement(subject(b"other"))), environment="test")


def test_a124_the_source_is_what_the_rule_names_and_nothing_near_it(service: World, key: BuilderKey) -> None:
    assert asked(service, key.signed(statement(subject(DRIVE))))
    for changes in (
        {"ref": "refs/heads/main"},
        {"ref": REF + "0"},
        {"repository": "https://github.com/acme/fw-evil"},
        {"repository": ""},
    ):
        with pytest.raises(PolicyRefused, match=r"the (repository|ref) of the verified build is .*found: builder"):
            asked(service, key.signed(statement(subject(DRIVE), **changes)))


@pytest.mark.parametrize(
    "subjects",
    [
        [subject(b"malware")],
        [subject(b"malware"), subject(b"more", "more")],
        [subject(b"malware", "a.bin")],
    ],
)  # fmt: skip
def test_a125_a_good_provenance_of_something_else_is_none(
    service: World, key: BuilderKey, subjects: list[dict[str, object]]
) -> None:
    assert asked(service, key.signed(statement(subject(DRIVE))))
    with pytest.raises(ProvenanceRefused, match=f"wanted: the subject {Digest.of(DRIVE)}; found: "):
        asked(service, key.signed(statement(*subjects)))


def test_a125_each_artifact_of_a_request_is_a_subject(service: World, key: BuilderKey) -> None:
    both = key.signed(statement(subject(b"a.bin", "a.bin"), subject(b"b.bin", "b.bin")))
    assert len(asked(service, both, "a.bin", "b.bin")) == 2
    with pytest.raises(ProvenanceRefused, match=str(Digest.of(b"c.bin"))):
        asked(service, both, "a.bin", "b.bin", "c.bin")


def test_a125_subjects_that_nobody_asked_about_pass_only_where_the_policies_say_so(
    tmp_path: Path, service: World, key: BuilderKey
) -> None:
    both = key.signed(statement(subject(b"a.bin", "a.bin"), subject(b"b.bin", "b.bin")))
    with pytest.raises(ProvenanceRefused, match=r"no subject but what is to be signed; found: b\.bin"):
        asked(service, both, "a.bin")
    made = demanding(tmp_path, key.settings(others="true"))
    try:
        assert asked(made, both, "a.bin")
    finally:
        made.close()


def test_a125_two_digests_of_one_artifact_are_both_of_the_subject(service: World, key: BuilderKey) -> None:
    """Else a key that signs by SHA-384 would sign what the SHA-256 beside it hides."""

    def item(sha384: bytes) -> Wish:
        digests = {HashName.SHA256: Digest.of(DRIVE), HashName.SHA384: Digest.of(sha384, HashName.SHA384)}
        claims = Claims(product="drive", environment="development")
        made = item_of(Prepared("detached", "file", "a.bin", digests, None, 9, Coverage.whole(9), claims))
        good = subject(DRIVE)
        good["digest"]["sha384"] = Digest.of(DRIVE, HashName.SHA384).value.hex()
        return Wish("release", [made], provenance=key.signed(statement(good)))

    assert signed(service.requests.ask(service.principal("max"), item(DRIVE)))
    with pytest.raises(ProvenanceRefused, match="wanted: the subject sha384:"):
        service.requests.ask(service.principal("max"), item(b"malware"))


def test_a125_of_a_manifest_each_file_is_a_subject(tmp_path: Path, service: World, key: BuilderKey) -> None:
    (tmp_path / "tree").mkdir()
    files = {"boot.bin": b"boot", "drive.bin": b"drive"}
    for name, data in files.items():
        (tmp_path / "tree" / name).write_bytes(data)
    claims = Claims(product="drive", environment="development")
    items = [item_of(ManifestFormat().prepare(str(tmp_path / "tree"), [HashName.SHA256], claims))]
    good = key.signed(statement(*(subject(data, name) for name, data in files.items())))
    assert signed(service.requests.ask(service.principal("max"), Wish("release", items, provenance=good)))
    with pytest.raises(ProvenanceRefused, match=str(Digest.of(b"drive"))):
        service.requests.ask(
            service.principal("max"),
            Wish(
                "release",
                items,
                provenance=key.signed(statement(subject(b"boot", "boot.bin"), subject(b"malware", "drive.bin"))),
            ),
        )


def altered(old: str, new: str) -> str:
    text = json.dumps(statement(subject(DRIVE)))
    assert old in text
    return text.replace(old, new, 1)


DIGEST = Digest.of(DRIVE).value.hex()
MALFORMED = {
    "another predicate": altered("slsa.dev/provenance/v1", "slsa.dev/provenance/v0.2"),
    "a longer predicate": altered("slsa.dev/provenance/v1", "slsa.dev/provenance/v1/evil"),
    "another predicate of ours": altered("https://slsa.dev/provenance/v1", "https://acme.example/p?=https://slsa.dev/provenance/v1"),
    "another statement": altered("in-toto.io/Statement/v1", "in-toto.io/Statement/v0.1"),
    "a predicate twice": altered('"predicateType":', '"predicateType": "https://slsa.dev/provenance/v1", "predicateType":'),
    "a builder twice": altered('"builder": {', '"builder": {"id": "https://evil.example", '),
    "subjects twice": altered('"subject":', '"subject": [], "subject":'),
    "no subject": altered(json.dumps([subject(DRIVE)]), "[]"),
    "a digest in capitals": altered(DIGEST, DIGEST.upper()),
    "a short digest": altered(DIGEST, DIGEST[:-2]),
    "SHA-1 alone": altered('"sha256"', '"sha1"'),
    "one name for two": altered('"subject": [', f'"subject": [{json.dumps(subject(b"x"))}, '),
    "a builder that is no text": altered(json.dumps(BUILDER), json.dumps([BUILDER])),
    "a builder with a line feed": altered(json.dumps(BUILDER), json.dumps(BUILDER + "\n")),
    "no number": altered('"metadata": {', '"metadata": {"x": NaN, '),
    "too deep": altered('"metadata": {', '"metadata": {"x": ' + "[" * 40 + "]" * 40 + ", "),
    "much too deep": "[" * 100_000,
    "a list": "[]",
    "nothing": " ",
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_a125_a_statement_has_one_reading(service: World, key: BuilderKey, name: str) -> None:
    assert asked(service, key.signed(altered('"name"', '"name"')))
    with pytest.raises(ProvenanceRefused, match="it is no build provenance"):
        asked(service, key.signed(MALFORMED[name]))
    with pytest.raises(ProvenanceRefused, match="it is no build provenance"):
        read_provenance(MALFORMED[name].encode(), "bare")


def test_a125_an_envelope_has_one_reading_and_its_type_is_signed(service: World, key: BuilderKey) -> None:
    good = key.signed(statement(subject(DRIVE)))
    assert asked(service, good)
    named = json.loads(good)
    for changes in (
        {"payloadType": "application/json"},
        {"payloadType": ["application/vnd.in-toto+json"]},
        {"payload": named["payload"].rstrip("=") + "!"},
        {"payload": 7},
        {"signatures": []},
        {"signatures": [{"keyid": "release"}]},
        {"signatures": named["signatures"] * 17},
    ):
        with pytest.raises(ProvenanceRefused, match="it is no build provenance"):
            asked(service, json.dumps({**named, **changes}).encode())
    mine = {
        "payloadType": "application/vnd.in-toto+json",
        "signatures": named["signatures"],
        **statement(subject(DRIVE)),
    }
    with pytest.raises(ProvenanceRefused, match="`payload` is no base64"):
        asked(service, json.dumps(mine).encode())
    with pytest.raises(LimitExceeded):
        asked(service, good + b" " * MAX_BYTES)
    several = {**named, "signatures": [{"sig": "AAAA", "keyid": "x"}, *named["signatures"]], "more": 1}
    assert asked(service, json.dumps(several).encode())  # a strange signature beside the builder's takes nothing away


@pytest.mark.parametrize("kind", [("-algorithm", "ED25519"), ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072")])
def test_a_builder_may_have_a_key_of_another_kind(tmp_path: Path, kind: tuple[str, ...]) -> None:
    other = BuilderKey.make(tmp_path / "key", *kind)
    (tmp_path / "world").mkdir()
    made = demanding(tmp_path / "world", other.settings())
    try:
        good = statement(subject(DRIVE))
        assert asked(made, other.signed_whole(good) if "ED25519" in kind else other.signed(good))
    finally:
        made.close()


def approved(made: World, id_: str, *who: str) -> State:
    state = State.WAITING
    for name in who:
        person = made.principal(name)
        data = made.requests.shelf.request_bytes(person, id_)
        state = made.requests.approve(person, id_, made.approval(name, data)).state
    return state


def waiting(made: World, key: BuilderKey) -> str:
    wish = Wish("release", wanted(["p.bin"], "production"), provenance=key.signed(statement(subject(b"p.bin"))))
    asking = made.requests.ask(made.principal("max"), wish)
    asking.recorded.result(10)
    assert asking.needed.approvals == 2
    return asking.id


def test_a124_production_wants_the_builder_and_four_eyes(service: World, key: BuilderKey) -> None:
    id_ = waiting(service, key)
    assert approved(service, id_, "eva") is State.WAITING
    approved(service, id_, "jan")
    for _ in range(200):
        standing = service.requests.shelf.standing(service.principal("max"), id_)
        if standing.state is State.SIGNED:
            break
        time.sleep(0.02)
    assert standing.state is State.SIGNED
    with pytest.raises(
        PolicyRefused,
        match="production-from-our-builder wants: the environment is production, except where the verified builder is",
    ):
        asked(service, b"", "p.bin", environment="production")


@pytest.mark.parametrize("gone", [True, False], ids=["the row is gone", "the row is another"])
def test_a130_a_provenance_that_somebody_wrote_over_signs_nothing(tmp_path: Path, key: BuilderKey, gone: bool) -> None:
    made = demanding(tmp_path, key.settings())
    try:
        id_ = waiting(made, key)
        assert approved(made, id_, "eva") is State.WAITING
        mine = PROVENANCE.c.request == id_
        other = key.signed(statement(subject(b"p.bin"), ref="refs/heads/evil"))
        with made.store.write() as connection:
            connection.execute(
                delete(PROVENANCE).where(mine) if gone else update(PROVENANCE).where(mine).values(statement=other)
            )
        with pytest.raises(LogRefused, match=r"the build provenance (that it names is gone|beside it is not the one)"):
            approved(made, id_, "jan")
    finally:
        made.close()


def test_a124_a_builder_that_is_no_longer_trusted_signs_nothing_of_what_waits(
    tmp_path: Path, key: BuilderKey, stranger: BuilderKey
) -> None:
    made = demanding(tmp_path, key.settings())
    try:
        id_ = waiting(made, key)
        assert approved(made, id_, "eva") is State.WAITING
        trust(made, stranger.settings())
        with pytest.raises(ProvenanceRefused, match="signed by none of their keys"):
            approved(made, id_, "jan")
        assert made.requests.shelf.standing(made.principal("max"), id_).state is State.WAITING
        trust(made, key.settings())
        made.requests.use(id_)
        with pytest.raises(RequestOver):
            made.requests.use(id_)
    finally:
        made.close()


def test_the_same_word_with_another_provenance_is_another_request(service: World, key: BuilderKey) -> None:
    word = "run-7"
    wish = Wish("release", wanted(["a.bin"]), word=word, provenance=key.signed(statement(subject(DRIVE))))
    assert signed(service.requests.ask(service.principal("max"), wish))
    assert service.requests.shelf.said_before(service.principal("max"), wish).state is State.SIGNED
    with pytest.raises(RequestOver, match="it was used for another request"):
        service.requests.shelf.said_before(
            service.principal("max"), replace(wish, provenance=key.signed(statement(subject(DRIVE))))
        )
