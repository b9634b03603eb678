"""Files of policies: read whole or not at all, each refusal beside a twin that is accepted (A132, A122)."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.policies import EXAMPLES, policies, policies_of, question
from sealwright.artifact.digest import Digest
from sealwright.errors import LimitExceeded, MalformedPolicy, SealwrightError, Unreadable
from sealwright.signing.policy import Policies, load_policies, read_policies
from sealwright.signing.policyexample import Company, example
from sealwright.signing.policyfolder import MAX_FILE_BYTES, MAX_FILES, PolicyFile, digest_of, read_folder
from sealwright.signing.policyrules import MAX_DEPTH, MAX_WORDS

GOOD = '@id("a") permit(principal in Role::"officer", action == Action::"sign", resource);\n'
SETTINGS = """
[hours.office]
from = "07:00"
until = "18:00"
[freeze.year-end]
from = 2026-12-18
until = 2027-01-06
[quota.ci]
of = "principal"
per = "hour"
at_most = 60
"""


def rule(condition: str, head: str = '@id("a") permit(principal, action, resource)') -> str:
    return f"{head} when {{ {condition} }};"


def named(folder: Path, **files: str | bytes) -> Path:
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name.replace("_", ".")).write_bytes(data if isinstance(data, bytes) else data.encode())
    return folder


REFUSED = [
    ("a parse error", '@id("a") permit(principal action, resource);', "unexpected token `action`", GOOD),
    ("no end", '@id("a") permit(principal, action, resource)', "does not end", GOOD),
    ("a text without an end", rule('resource.key == "x'), "does not end", rule('resource.key == "x"')),
    ("no id", "permit(principal, action, resource);", "no usable id", GOOD),
    ("an empty id", '@id("") permit(principal, action, resource);', "no usable id", GOOD),
    ("an id with spaces", '@id("a b") permit(principal, action, resource);', "no usable id", GOOD),
    ("two of one id", GOOD + GOOD, "is that of a (rules.cedar:1) already", GOOD + GOOD.replace('"a"', '"b"')),
    ("an id of ours", GOOD.replace('"a"', '"sealwright-x"'), "Sealwright's own", GOOD),
    ("an annotation nobody reads", '@folowup("4h") ' + GOOD, "nobody reads @folowup", '@note("4h") ' + GOOD),
    ("an unknown attribute", rule('resource.produkt == "x"'), "produkt", rule('resource.product == "x"')),
    ("an unknown role", rule('principal in Role::"oficer"'), "oficer", rule('principal in Role::"officer"')),
    ("an unknown action", GOOD.replace('"sign"', '"sing"'), "sing", GOOD),
    (
        "an unknown freeze",
        rule('context.freeze.contains(Freeze::"year-ned")'),
        "year-ned",
        rule('context.freeze.contains(Freeze::"year-end")'),
    ),
    (
        "an unknown format",
        rule('resource.format == Format::"rauk"'),
        "rauk",
        rule('resource.format == Format::"rauc"'),
    ),
    (
        "an unknown environment",
        rule('resource.environment == Environment::"prod"'),
        "prod",
        rule('resource.environment == Environment::"production"'),
    ),
    ("an unknown type", rule('principal == User::"x"'), "User", rule('principal == Person::"x"')),
    ("another type", rule('context.approvals == "2"'), "Long and String", rule("context.approvals >= 2")),
    ("a claim that is not listed", rule('principal.claims.repo == "x"'), "repo", rule('principal.claims.ref == "x"')),
    (
        "like",
        rule('principal.claims.repository like "acme/fw*"'),
        "acme/fw-evil",
        rule('principal.claims.repository == "acme/fw"'),
    ),
    ("has", rule('principal has repo && principal.tenant == "x"'), "`has`", rule('principal.tenant == "x"')),
    (
        "a role compared",
        rule('principal == Role::"officer"'),
        "compares principal with Role",
        rule('principal in Role::"officer"'),
    ),
    (
        "a role in the scope",
        GOOD.replace("principal in", "principal =="),
        "does not fit",
        GOOD,
    ),
    (
        "a person in a freeze",
        rule('principal in Freeze::"year-end"'),
        "compares principal with Freeze",
        rule('principal in Person::"x"'),
    ),
    (
        "a scope in a freeze",
        '@id("a") permit(principal in Freeze::"year-end", action, resource);',
        "does not fit",
        '@id("a") permit(principal in Person::"x", action, resource);',
    ),
    (
        "an environment that is a format",
        rule('resource.environment == Format::"rauc"'),
        "which it never is",
        rule('resource.environment != Environment::"none"'),
    ),
    ("a thing that is a role", rule("principal is Role"), "never be", rule("principal is Machine")),
    ("whole contexts", rule("context == context"), "`context` as a whole", rule("context.own == context.own")),
    ("whole claims", rule("principal.claims == principal.claims"), "as a whole", rule('principal.claims.sub == ""')),
    ("a resource in the scope", rule("true").replace("resource)", 'resource == Subject::"x")'), "scope", rule("true")),
    ("a resource compared", rule('resource == Subject::"x"'), "`resource` as a whole", rule("resource.count == 1")),
    ("a template", '@id("a") permit(principal == ?principal, action, resource);', "template", GOOD),
    (
        "an emergency without a follow-up",
        rule("context.emergency"),
        "by when two officers",
        '@followup("4h") ' + rule("context.emergency"),
    ),
    ("a follow-up for nothing", '@followup("4h") ' + GOOD, "does not look at", GOOD),
    (
        "a follow-up without hours",
        '@followup("soon") ' + rule("context.emergency"),
        "no number of hours",
        '@followup("24h") ' + rule("context.emergency"),
    ),
    ("deep brackets", rule("(" * 25 + "true" + ")" * 25), f"{MAX_DEPTH} brackets", rule("(" * 15 + "true" + ")" * 15)),
    ("very deep brackets", rule("(" * 100_000), "brackets deep", GOOD),
    ("deep lists", rule("[" * 5000 + "]" * 5000 + " == []"), "brackets deep", GOOD),
    ("long chains", rule("true && " * 100_000 + "true"), f"{MAX_WORDS} words", rule("true && " * 150 + "true")),
    ("many alternatives", rule("if true then true else " * 9000 + "true"), f"{MAX_WORDS} words", GOOD),
    ("many nots", rule("!" * 400 + "true"), "too many occurrences", rule("!!true")),
    ("a hidden character", GOOD.replace("sign", "si\u200bgn"), "not shown", GOOD),
    ("text that runs backwards", "// \u202e\n" + GOOD, "not shown", "// x\n" + GOOD),
    ("a lone carriage return", "// x\r" + GOOD, "not shown", "// x\r\n" + GOOD.replace("\n", "\r\n")),
    ("a byte order mark", "\ufeff" + GOOD, "not shown", GOOD),
    ("a zero byte", GOOD + "\0", "not shown", GOOD),
    ("nothing", "// nothing\n", "0 rules", GOOD),
    (
        "an escape that is none",
        rule('resource.key == "\\u{110000}"'),
        "valid escape",
        rule('resource.key == "\\u{41}"'),
    ),
    ("invisible advice", '@advice("\\u{1b}[2J") ' + GOOD, "advice", '@advice("Ask.") ' + GOOD),
]


@pytest.mark.parametrize(("bad", "why", "good"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_rule_that_would_not_mean_what_it_says_refuses_the_whole_set(bad: str, why: str, good: str) -> None:
    """A good file beside it is not used either, and the error names file, line, what is wrong and what to do."""
    assert policies(good, SETTINGS).rules[-1].file == "rules.cedar"
    begun = time.monotonic()
    with pytest.raises(MalformedPolicy) as raised:
        policies(
            bad,
            SETTINGS,
            also='@id("also") permit(principal in Role::"auditor", action, resource);\n' if why != "0 rules" else "",
        )
    assert time.monotonic() - begun < 20
    error = raised.value
    assert why in str(error)
    assert why == "0 rules" or re.search(r"policies/(rules|also)\.cedar:[0-9]+", error.subject)
    assert error.next_step.endswith(".")
    assert len(str(error)) < 700


def test_an_error_names_the_line_where_the_rule_begins() -> None:
    text = '// a comment; with a sign\n\n@id("a")\npermit (principal, action, resource)\nwhen { resource.key == ";\\"" };\n\n'
    with pytest.raises(MalformedPolicy, match=r"rules\.cedar:7 \(b\)"):
        policies(text + '@id("b")\npermit (principal, action, resource) when { resource.nothing };\n')
    rules = policies(text + GOOD.replace('"a"', '"b"')).rules
    assert [(one.id, one.line) for one in rules[-2:]] == [("a", 3), ("b", 7)]


def test_a_text_may_hold_what_looks_like_an_end() -> None:
    rules = policies(rule('resource.key == "; permit(principal, action, resource); // \\" "'))
    assert len(rules.rules) == 3
    assert not rules.decide(question()).allowed


PIECES = st.sampled_from(
    [GOOD.replace('"a"', f'"r{n}"') for n in range(3)]
    + [";", '"', "//", "\n", "}", "{", "when", "permit", '@id("z")', "forbid(principal, action, resource);", "\\", "é"]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES, max_size=8).map("".join))
def test_any_text_is_a_set_or_a_typed_error(text: str) -> None:
    try:
        rules = policies(text)
    except SealwrightError:
        return
    assert rules.rules[2:]
    assert all(one.id for one in rules.rules)


BAD_SETTINGS = [
    ("an unknown key", "zones = 'UTC'", "did you mean `zone`"),
    ("no such zone", 'zone = "Europe/Atlantis"', "time zone"),
    ("a zone that is a path", 'zone = "../../etc/passwd"', "time zone"),
    ("a name with quotes", '[freeze."x\\"]"]\nfrom = 2026-01-01\nuntil = 2026-01-02', "small letters"),
    ("a name in capitals", "[freeze.Xmas]\nfrom = 2026-01-01\nuntil = 2026-01-02", "small letters"),
    ("a freeze that ends before it begins", "[freeze.x]\nfrom = 2026-01-02\nuntil = 2026-01-01", "later than"),
    ("a freeze that never begins", "[freeze.x]\nuntil = 2026-01-01", "a date"),
    ("hours of no day", '[hours.x]\ndays = ["caturday"]\nfrom = "07:00"\nuntil = "08:00"', "monday"),
    ("hours of no length", '[hours.x]\nfrom = "07:00"\nuntil = "07:00"', "another time"),
    ("25 o'clock", '[hours.x]\nfrom = "07:00"\nuntil = "25:00"', "time of the day"),
    ("a quota of nobody", '[quota.x]\nof = "world"\nper = "hour"\nat_most = 1', '"principal", "product"'),
    ("a negative quota", '[quota.x]\nof = "product"\nper = "hour"\nat_most = -1', "whole number from 0"),
    ("a list of freezes", "[[freeze]]\nname = 'x'", "a table"),
    ("a freeze that is a word", "freeze = 'always'", "a table"),
    ("a claim that is no name", "claims = ['a b']", "letters, digits"),
    ("no claims at all", "claims = []", "list of different"),
    ("no TOML", "zone = ", "not TOML"),
    ("twice the same", 'zone = "UTC"\nzone = "UTC"', "not TOML"),
]


@pytest.mark.parametrize(("text", "why"), [row[1:] for row in BAD_SETTINGS], ids=[row[0] for row in BAD_SETTINGS])
def test_settings_that_are_wrong_refuse_the_whole_set(text: str, why: str) -> None:
    assert policies(GOOD, SETTINGS)
    with pytest.raises(MalformedPolicy, match=re.escape(why)) as raised:
        policies(GOOD, text)
    assert "settings.toml" in str(raised.value)


HOURS = [
    ("2026-11-26T06:59", False),
    ("2026-11-26T07:00", True),
    ("2026-11-26T17:59", True),
    ("2026-11-26T18:00", False),
    ("2026-11-28T12:00", False),
]


@pytest.mark.parametrize(("moment", "within"), HOURS)
def test_hours_are_those_of_the_wall(moment: str, within: bool) -> None:
    rules = policies(
        rule('context.hours.contains(Hours::"x")'),
        'zone = "Europe/Berlin"\n[hours.x]\ndays = ["thursday"]\nfrom = 07:00:00\nuntil = "18:00"',
    )
    local = datetime.fromisoformat(moment).replace(tzinfo=rules.settings.zone)
    assert rules.decide(question(now=local)).allowed is within
    assert rules.decide(question(now=local.astimezone(UTC))).allowed is within


@pytest.mark.parametrize(
    ("moment", "within"),
    [
        ("2026-11-26T21:59", False),
        ("2026-11-26T22:00", True),
        ("2026-11-27T05:59", True),
        ("2026-11-27T06:00", False),
        ("2026-11-27T23:00", False),
        ("2026-11-26T01:00", False),
    ],
)
def test_a_night_belongs_to_the_day_on_which_it_begins(moment: str, within: bool) -> None:
    rules = policies(
        rule('context.hours.contains(Hours::"x")'), '[hours.x]\ndays = ["thursday"]\nfrom = "22:00"\nuntil = "06:00"'
    )
    assert rules.decide(question(now=datetime.fromisoformat(moment).replace(tzinfo=UTC))).allowed is within


@pytest.mark.parametrize(
    ("moment", "frozen"),
    [
        ("2026-12-17T23:59:59+01:00", False),
        ("2026-12-18T00:00:00+01:00", True),
        ("2027-01-06T23:59:59+01:00", True),
        ("2027-01-07T00:00:00+01:00", False),
        ("2026-12-17T23:00:00Z", True),
    ],
)
def test_dates_of_a_freeze_are_whole_days_of_its_zone(moment: str, frozen: bool) -> None:
    rules = policies(rule('context.freeze.contains(Freeze::"year-end")'), 'zone = "Europe/Berlin"\n' + SETTINGS)
    assert rules.decide(question(now=datetime.fromisoformat(moment))).allowed is frozen


def test_times_of_a_freeze_are_exact() -> None:
    rules = policies(
        rule("!context.freeze.isEmpty()"),
        'zone = "Europe/Berlin"\n[freeze.x]\nfrom = 2026-06-01T12:00:00\nuntil = 2026-06-01T12:00:00Z',
    )
    for moment, frozen in (("09:59", False), ("10:00", True), ("11:59", True), ("12:00", False)):
        assert rules.decide(question(now=datetime.fromisoformat(f"2026-06-01T{moment}Z"))).allowed is frozen


def test_a_folder_is_read_as_it_lies(tmp_path: Path) -> None:
    folder = named(
        tmp_path / "p", a_cedar=GOOD, b_toml="# sealwright policy settings 1\n", README_md="x", cases_csv="x"
    )
    (folder / ".git").mkdir()
    (folder / ".a.cedar.swp").write_bytes(b"\xff")
    (folder / "tests").mkdir()
    assert [file.name for file in read_folder(str(folder)).files] == ["a.cedar", "b.toml"]


def test_the_digest_is_what_coreutils_say(tmp_path: Path) -> None:
    folder = named(
        tmp_path / "p", b_cedar=GOOD, a_cedar="// x\n", Z_cedar="// y\n", s_toml="# sealwright policy settings 1\n"
    )
    command = (
        '(echo "# sealwright policy 1"; cd p && LC_ALL=C sha256sum *.cedar *.toml | LC_ALL=C sort -k 2) | sha256sum'
    )
    said = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert str(read_policies(str(folder)).digest) == "sha256:" + said.split()[0]


def test_every_byte_and_name_is_in_the_digest() -> None:
    files = [PolicyFile("a.cedar", b"x"), PolicyFile("b.cedar", b"y")]
    one = digest_of(files)
    assert digest_of(files[::-1]) == one
    others = [
        [PolicyFile("a.cedar", b"x\n"), files[1]],
        [PolicyFile("c.cedar", b"x"), files[1]],
        [PolicyFile("a.cedar", b"y"), PolicyFile("b.cedar", b"x")],
        files[:1],
    ]
    assert len({one, *map(digest_of, others)}) == 5
    assert isinstance(one, Digest)


def broken_missing(folder: Path) -> None:
    (folder / "a.cedar").unlink()


def broken_folder(folder: Path) -> None:
    folder.rename(folder.parent / "moved")


def broken_utf8(folder: Path) -> None:
    (folder / "b.cedar").write_bytes(b"// line\n// \xff\n")


def broken_ending(folder: Path) -> None:
    (folder / "freeze.cedar.txt").write_text("forbid(principal, action, resource);")


def broken_capitals(folder: Path) -> None:
    (folder / "freeze.CEDAR").write_text("forbid(principal, action, resource);")


def broken_subfolder(folder: Path) -> None:
    (folder / "more").mkdir()


def broken_link_out(folder: Path) -> None:
    (folder.parent / "outside.cedar").write_text(GOOD.replace('"a"', '"b"'))
    (folder / "b.cedar").symlink_to("../outside.cedar")


def broken_link_nowhere(folder: Path) -> None:
    (folder / "b.cedar").symlink_to("nothing.cedar")


def broken_link_loop(folder: Path) -> None:
    (folder / "b.cedar").symlink_to("b.cedar")


def broken_pipe(folder: Path) -> None:
    os.mkfifo(folder / "b.cedar")


def broken_device(folder: Path) -> None:
    (folder / "b.cedar").symlink_to("/dev/zero")


def broken_huge(folder: Path) -> None:
    (folder / "b.cedar").write_bytes(b"// " + b"x" * MAX_FILE_BYTES)


def broken_many(folder: Path) -> None:
    for number in range(MAX_FILES):
        (folder / f"f{number}.cedar").write_text("// x\n")


def broken_rules(folder: Path) -> None:
    text = "".join(GOOD.replace('"a"', f'"r{n}"') for n in range(1001))
    (folder / "b.cedar").write_text(text)


def broken_settings(folder: Path) -> None:
    for name in ("b.toml", "c.toml"):
        (folder / name).write_text("# sealwright policy settings 1\n")


def broken_first_line(folder: Path) -> None:
    (folder / "b.toml").write_text("zone = 'UTC'\n")


def broken_name(folder: Path) -> None:
    (folder / "a b.cedar").write_text("// x\n")


FOLDERS = {name.removeprefix("broken_"): value for name, value in list(globals().items()) if name.startswith("broken_")}


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_folder_that_is_not_as_it_should_be_is_not_used_in_part(kind: str, tmp_path: Path) -> None:
    folder = named(tmp_path / "p", a_cedar=GOOD)
    assert read_policies(str(folder)).rules[-1].id == "a"
    FOLDERS[kind](folder)
    with pytest.raises((MalformedPolicy, Unreadable, LimitExceeded)) as raised:
        read_policies(str(folder))
    assert raised.value.next_step


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MalformedPolicy, match="no file in it ends with"):
        read_policies(str(named(tmp_path / "p")))


def test_a_file_that_may_not_be_read_is_an_error_and_no_smaller_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = named(tmp_path / "p", a_cedar=GOOD, b_cedar=GOOD.replace('"a"', '"b"'))
    opened = os.open

    def refusing(path: str, *rest: int) -> int:
        if str(path).endswith("b.cedar"):
            raise PermissionError(13, "Permission denied", path)
        return opened(path, *rest)

    monkeypatch.setattr(os, "open", refusing)  # this user may be root, whom no mode stops
    with pytest.raises(Unreadable, match="may not read"):
        read_policies(str(folder))


def test_links_within_the_folder_are_those_of_kubernetes(tmp_path: Path) -> None:
    folder = named(tmp_path / "p")
    named(folder / "..2026_11_26", a_cedar=GOOD)
    (folder / "..data").symlink_to("..2026_11_26")
    (folder / "a.cedar").symlink_to("..data/a.cedar")
    assert read_policies(str(folder)).rules[-1].id == "a"


def test_the_environment_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A132: no variable names a folder, a rule, a mode or a zone."""
    folder = named(tmp_path / "p", a_cedar=GOOD)
    before = read_policies(str(folder))
    for name in ("SEALWRIGHT_POLICY", "SEALWRIGHT_POLICIES", "CEDAR_POLICY", "SEALWRIGHT_DEBUG", "DEBUG", "FORCE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        after = read_policies(str(folder))
        assert (after.digest, after.settings) == (before.digest, before.settings)
        assert after.decide(question(approvals=8)) == before.decide(question(approvals=8))
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_service_takes_rules_only_from_where_administrators_write(tmp_path: Path) -> None:
    folder = named(tmp_path / "p", a_cedar=GOOD)
    assert load_policies(str(folder)).digest == read_policies(str(folder)).digest
    (folder / "a.cedar").chmod(0o666)
    with pytest.raises(MalformedPolicy, match="others may write it"):
        load_policies(str(folder))
    (folder / "a.cedar").chmod(0o644)
    folder.chmod(stat.S_IRWXU | stat.S_IWOTH | stat.S_IXOTH)
    with pytest.raises(MalformedPolicy, match="others may write"):
        load_policies(str(folder))
    assert read_policies(str(folder))


def test_a_missing_file_is_another_digest_even_where_it_is_a_set(tmp_path: Path) -> None:
    folder = named(tmp_path / "p", a_cedar=GOOD, b_cedar='@id("b") forbid(principal, action, resource);')
    whole = read_policies(str(folder))
    (folder / "b.cedar").unlink()
    assert read_policies(str(folder)).digest != whole.digest


def test_settings_that_are_gone_refuse_rules_that_name_them(tmp_path: Path) -> None:
    folder = named(
        tmp_path / "p",
        a_cedar=rule('context.freeze.contains(Freeze::"year-end")'),
        b_toml="# sealwright policy settings 1\n" + SETTINGS,
    )
    assert read_policies(str(folder))
    (folder / "b.toml").unlink()
    with pytest.raises(MalformedPolicy, match="year-end"):
        read_policies(str(folder))


def test_init_writes_what_the_documents_show() -> None:
    company = Company("acme/drive-firmware", "https://ci.acme.example/workflows/release", "Europe/Berlin")
    made = example(company)
    folder = EXAMPLES / "small-company"
    lying = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert made == lying


@pytest.mark.parametrize("name", ['a"b', "a b", "a\nb", "", "*"])
def test_a_name_that_would_have_to_be_quoted_is_not_written_into_a_rule(name: str) -> None:
    with pytest.raises(SealwrightError):
        example(Company(name, "builder", "UTC"))
    assert example(Company("acme/fw", "builder", "UTC"))


def test_a_rule_of_ours_is_always_there() -> None:
    rules: Policies = policies_of({"a.cedar": '@id("all") permit(principal, action, resource);'})
    assert [one.id for one in rules.rules] == ["sealwright-own-tenant", "sealwright-not-your-own-request", "all"]


def test_the_examples_of_the_page_are_rules() -> None:
    page = (EXAMPLES.parent / "policy.md").read_text()
    rules = re.findall(r"```cedar\n(.*?)```", page, re.DOTALL)
    (text,) = re.findall(r"```toml\n# sealwright policy settings 1\n(.*?)```", page, re.DOTALL)
    assert len(rules) == 6
    assert len(policies("\n".join(rules), text).rules) == 8
