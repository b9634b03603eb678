"""Editing a trust file: only what is meant changes, comments and order stay, and what would not be accepted is not written."""

from __future__ import annotations

import os
import re
import tomllib
import traceback
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.pki import DAY, NOW, Pki, p7s, person_key
from kit.trust import OFFICER, public_pem, trust_bytes, trust_parts, write_trust
from sealwright.cli.main import main
from sealwright.errors import ChangedWhileRead, MalformedTrust, SealwrightError, TrustRefused, UsageError
from sealwright.trust.draft import Draft, next_version, unsigned
from sealwright.trust.toml import Toml
from sealwright.trust.trustfile import parse_trust

PKI, OTHER = Pki.make(), Pki.make("Other")
ANCHOR: dict[str, Toml] = {"name": "other", "environment": "test", "certificate": OTHER.root.pem}

COMMENTED = (
    trust_bytes(trust_parts(PKI))
    .decode()
    .replace("\n[[anchor]]", "\n# where paths end; [[anchor]] is not a header here\n[[anchor]]")
    .replace("\n[[rule]]", "\n# a remark between\n\n# about the rule\n[[rule]]")
    .replace("version = 1\n", "version = 1  # the first\n")
)


def without_added(old: str, new: str) -> bool:
    """Whether the old lines are all there, in order."""
    rest = iter(new.splitlines())
    return all(line in rest for line in old.splitlines())


def test_what_is_added_stands_behind_its_kind_and_every_old_line_stays(tmp_path: Path) -> None:
    draft = Draft(COMMENTED.encode(), "trust.toml")
    draft.add(("anchor",), ANCHOR)
    new = draft.checked().decode()
    assert without_added(COMMENTED, new)
    assert [anchor.name for anchor in parse_trust(new.encode(), "x").anchors] == ["root", "other"]
    assert new.index('name = "other"') < new.index("[[authority]]")
    assert "\n# a remark between\n\n# about the rule\n[[rule]]" in new


def test_what_is_removed_takes_the_comment_right_above_it_and_nothing_more(tmp_path: Path) -> None:
    draft = Draft(COMMENTED.encode(), "trust.toml")
    draft.remove(("rule",), 0)
    new = draft.checked().decode()
    assert parse_trust(new.encode(), "x").rules == ()
    assert "# a remark between" in new
    assert "# about the rule" not in new
    assert "rule.signer" not in new


def test_a_value_is_changed_where_it_stands_with_its_remark(tmp_path: Path) -> None:
    draft = Draft(COMMENTED.encode(), "trust.toml")
    draft.set((), 0, "version", 2)
    assert "version = 2  # the first\n" in draft.checked().decode()
    draft.set(("minimum",), 0, 'a "pump" = 3 #', 7)
    draft.set(("minimum",), 0, "valve", 1)
    draft.unset(("minimum",), 0, "valve")
    assert parse_trust(draft.checked(), "x").minimums == {'a "pump" = 3 #': 7}


def test_a_remark_stands_right_above_its_table_and_nothing_in_it_is_read_as_toml() -> None:
    draft = Draft(COMMENTED.encode(), "trust.toml")
    hostile = 'called\nstage = "trial"\r[[deny]]\x1b[2J\u2028stage = "trial" \'\'\' """'
    draft.add(("anchor",), ANCHOR, ["by telephone", hostile])
    draft.remark(("rule",), 0, [hostile])
    new = draft.checked().decode()
    assert without_added(COMMENTED, new)
    assert parse_trust(new.encode(), "x").stage == "ordinary"
    assert "\x1b" not in new
    assert "\u2028" not in new
    head = new.index('[[anchor]]\nname = "other"')
    assert new[:head].endswith("\n# " + new[:head].splitlines()[-1][2:] + "\n")
    assert "# by telephone\n# called" in new
    assert "# about the rule\n# called" in new


def test_a_value_of_a_table_in_a_table_is_changed_in_the_right_one() -> None:
    rules: list[Toml] = [
        {"name": name, "environment": "production", "products": [name],
         "signer": [{"anchors": ["root"], "subjects": [f"CN={name}"]}, {"slot": "plant", "anchors": ["root"], "persons": ["olga"]}]}
        for name in ("one", "two")
    ]  # fmt: skip
    draft = Draft(trust_bytes(trust_parts(PKI, rule=rules)), "trust.toml")
    draft.set(("rule", "signer"), 2, "subjects", ["CN=two", "CN=three"])
    draft.set(("rule",), 1, "products", ["two", "three"])
    one, two = parse_trust(draft.checked(), "x").rules
    assert (one.signers[0].subjects, one.products) == (("CN=one",), ("one",))
    assert (two.signers[0].subjects, two.products) == (("CN=two", "CN=three"), ("two", "three"))


ODD = {
    "an inline array": ('minimum = { "pump" = 1 }\n', lambda draft: draft.set(("minimum",), 0, "pump", 2)),
    "a dotted key": ('minimum.pump = 1\n', lambda draft: draft.set(("minimum",), 0, "pump", 2)),
    "an inline list of tables": (
        f'deny = [{{ key = "sha256:{"1" * 64}", reason = "x" }}]\n',
        lambda draft: draft.add(("deny",), {"key": "sha256:" + "2" * 64, "reason": "y"}),
    ),
    "removing out of an inline list": (
        f'deny = [{{ key = "sha256:{"1" * 64}", reason = "x" }}]\n',
        lambda draft: draft.remove(("deny",), 0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("odd", ODD)
def test_a106_toml_that_is_not_edited_is_refused_and_never_given_another_meaning(odd: str) -> None:
    line, edit = ODD[odd]
    head = trust_bytes(trust_parts(PKI)).decode()
    text = head.replace("version = 1\n", "version = 1\n" + line)
    parse_trust(text.encode(), "x")
    draft = Draft(text.encode(), "trust.toml")
    with pytest.raises(MalformedTrust, match="not edited here"):
        edit(draft)
        draft.checked()
    fine = Draft(head.encode(), "trust.toml")
    fine.set(("minimum",), 0, "pump", 2)
    assert fine.checked()


@pytest.mark.parametrize(
    ("where", "entry", "complaint"),
    [
        (("anchor",), {**ANCHOR, "name": "ROOT"}, "name is used twice"),
        (("anchor",), {**ANCHOR, "name": "r\N{CYRILLIC SMALL LETTER O}\N{CYRILLIC SMALL LETTER O}t"}, "one script"),
        (("anchor",), {**ANCHOR, "certificate": PKI.root.pem}, "twice"),
        (("anchor",), {**ANCHOR, "certificate": OTHER.root.pem.replace("M", "N", 1)}, "certificate"),
        (("anchor",), {**ANCHOR, "extra": 1}, "unknown key"),
        (("person",), {"id": "OLGA", "organisation": "x"}, "used twice"),
        (("person",), {"id": "\N{CYRILLIC SMALL LETTER O}lga", "organisation": "x"}, "one script"),
        (("officers", "key"), {"person": "nobody", "key": public_pem(person_key())}, "is not a \\[\\[person\\]\\]"),
        (("officers", "key"), {"person": "olga", "key": public_pem(OFFICER)}, "a different key each time"),
        (("officers", "key"), {"person": "rolf", "key": public_pem(person_key())}, "both in"),
        (("deny",), {"key": "sha256:00", "reason": "x"}, "a digest"),
        (("nonsense",), {"a": 1}, "unknown key"),
    ],
)  # fmt: skip
def test_a106_an_edit_that_no_verifier_would_accept_is_refused_whole(
    where: tuple[str, ...], entry: dict[str, Toml], complaint: str
) -> None:
    draft = Draft(COMMENTED.encode(), "trust.toml")
    draft.add(where, entry)
    with pytest.raises(SealwrightError, match=complaint):
        draft.checked()


@pytest.mark.parametrize("threshold", [0, -1, 2])
def test_a106_a_threshold_that_cannot_be_or_is_none_is_refused(threshold: int) -> None:
    draft = Draft(COMMENTED.encode(), "trust.toml")
    draft.set(("officers",), 0, "threshold", threshold)
    with pytest.raises(MalformedTrust, match="threshold"):
        draft.checked()


def test_a_signed_version_is_not_edited(tmp_path: Path) -> None:
    path = write_trust(tmp_path, trust_parts(PKI))
    unsigned(str(path))
    (tmp_path / "trust.toml.olga.p7s").write_bytes(p7s(OFFICER, b"something else", kind="trust"))
    assert Draft.read(str(path))
    (tmp_path / "trust.toml.olga.p7s").write_bytes(p7s(OFFICER, path.read_bytes(), kind="trust"))
    with pytest.raises(UsageError, match="trust new --next"):
        Draft.read(str(path))


def test_what_several_editors_add_at_once_is_all_there(tmp_path: Path) -> None:
    path, count = write_trust(tmp_path, trust_parts(PKI)), 5
    children = []
    for number in range(count):
        child = os.fork()
        if child == 0:
            try:
                os._exit(main(["trust", "add", str(path), "minimum", f"pump-{number}", str(number + 1)]))
            except BaseException:
                traceback.print_exc()
                raise
            finally:
                os._exit(9)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * count
    expected = {f"pump-{number}": number + 1 for number in range(count)}
    assert parse_trust(path.read_bytes(), "trust.toml").minimums == expected


@pytest.mark.parametrize("meanwhile", ["nothing", "changed", "signed", "removed"])
def test_what_somebody_did_to_the_file_meanwhile_is_not_written_over(tmp_path: Path, meanwhile: str) -> None:
    path = write_trust(tmp_path, trust_parts(PKI))
    draft = Draft.read(str(path))
    draft.set(("minimum",), 0, "pump", 3)
    other = Draft.read(str(path))
    other.set(("minimum",), 0, "valve", 7)
    if meanwhile == "changed":
        other.write()
    elif meanwhile == "signed":
        (tmp_path / "trust.toml.olga.p7s").write_bytes(p7s(OFFICER, path.read_bytes(), kind="trust"))
    elif meanwhile == "removed":
        path.unlink()
    before = path.read_bytes() if path.exists() else b""
    if meanwhile == "nothing":
        draft.write()
        assert parse_trust(path.read_bytes(), "x").minimums == {"pump": 3}
        return
    with pytest.raises(SealwrightError) as refused:
        draft.write()
    assert isinstance(refused.value, ChangedWhileRead) is (meanwhile == "changed")
    assert (path.read_bytes() if path.exists() else b"") == before
    assert [one.name for one in tmp_path.iterdir() if one.name.endswith(".tmp")] == []


def test_the_next_version_begins_only_when_this_one_is_signed(tmp_path: Path) -> None:
    path = write_trust(tmp_path, trust_parts(PKI))
    with pytest.raises(TrustRefused, match="not signed by enough"):
        next_version(str(path), NOW, None)
    path = write_trust(tmp_path, trust_parts(PKI), olga=OFFICER)
    old, text = next_version(str(path), NOW, None)
    new = parse_trust(text, "x")
    assert (new.version, new.issued, new.expires - new.issued) == (2, NOW, old.expires - old.issued)
    with pytest.raises(UsageError, match="later than now"):
        next_version(str(path), old.issued - DAY, None)


TEXTS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=20)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TEXTS, st.integers(0, 9)), max_size=6), st.text("#[]'\"= \nabc", max_size=30))
def test_whatever_stands_in_comments_and_names_edits_mean_what_they_say(
    minimums: list[tuple[str, int]], noise: str
) -> None:
    comment = "".join(f"# {line}\n" for line in noise.split("\n"))
    title = noise.replace("\n", " ").replace("\\", "").replace('"', "'").strip() or "x"
    head = trust_bytes(trust_parts(PKI, title=title)).decode()
    text = re.sub(r"(?m)^\[\[", lambda found: comment + found[0], head)
    draft = Draft(text.encode(), "trust.toml")
    for name, generation in minimums:
        draft.set(("minimum",), 0, name, generation)
    draft.add(("anchor",), ANCHOR)
    draft.remove(("anchor",), 1)
    assert tomllib.loads(draft.checked().decode()) == {
        **tomllib.loads(text),
        **({"minimum": dict(minimums)} if minimums else {}),
    }
    assert without_added(text.rstrip("\n"), draft.text)
