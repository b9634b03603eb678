"""The first week in a plant: a share that nobody ever looked at, until a drive is installed in the night by rules that officers signed.

Monday      the share of 600 files is surveyed, a trial trust file drafted
Tuesday     the draft is narrowed by hand, signed by two officers, installed
Wednesday   three files that came unsigned are received, two drives accepted for line 3 alone
Thursday    a stick goes through the checking station; the clean one to a machine without network, whose clock stands at 1970
Friday      in the night one drive is installed and four things are refused, each with its record

After each step a table says what each place makes of each thing; it was written by hand:

    T trusted   R refused   U undecided
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kit.network import fingerprint, without_network
from kit.openssl import cms_verify, run
from kit.share import FILES, PUMP, Share, by_hand
from kit.sticks import ext4_stick
from kit.tokens import PIN, another_token
from sealwright.cli.main import main

LETTER = {"trusted": "T", "rejected": "R", "undecided": "U"}


@dataclass(frozen=True)
class Place:
    """Where things are judged. words: of `verify`; before: what starts it; base: where the files lie there (else the share)."""

    words: list[str | Path]
    before: tuple[str, ...] = ()
    base: str = "share"


@dataclass
class Week:
    """The plant: its folder, its share, its machines, and the commands that were typed."""

    folder: Path
    share: Share
    capture: pytest.CaptureFixture[str]
    tampered: set[str]
    places: dict[str, Place] = field(default_factory=dict)
    judged: dict[str, dict[str, Any]] = field(default_factory=dict)
    fingerprint: str = ""

    def type(self, *words: str | Path, code: int | None = 0) -> str:
        """One command as people type it, in the plant's folder: what it printed."""
        self.capture.readouterr()
        ended = main([str(word) for word in words])
        shown = self.capture.readouterr()
        assert code in (None, ended), (words, ended, shown.out[-3000:] + shown.err[-3000:])
        return shown.out

    def started(self, before: tuple[str, ...], *words: str | Path, code: int | None = None) -> str:
        """The same as another process, on a machine of another kind."""
        command = [*before, sys.executable, "-m", "sealwright", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert code in (None, done.returncode), (command, done.returncode, done.stdout[-3000:] + done.stderr[-3000:])
        return done.stdout

    def table(self, expected: str) -> None:
        """Compare with rows such as `acme/drive-01.bin T R`; the first row names the places."""
        head, *rows = (line.split() for line in expected.strip().splitlines())
        names = [row[0] for row in rows]
        said = {place: self.verdicts(place, names) for place in head}
        found = [[name, *(LETTER[said[place][name]["outcome"]] for place in head)] for name in names]
        told = [
            (place, row[0], is_, [(one["severity"], one["code"]) for one in said[place][row[0]]["findings"]])
            for row, good in zip(found, rows, strict=True)
            for place, is_, wanted in zip(head, row[1:], good[1:], strict=True)
            if is_ != wanted
        ]
        assert found == rows, told

    def verdicts(self, name: str, names: list[str]) -> dict[str, Any]:
        """What a place says of each."""
        if name in self.judged:
            return {one: self.judged[name][one] for one in names}
        place = self.places[name]
        words = ["verify", *(f"{place.base}/{one}" for one in names), *place.words, "--json"]
        out = self.started(place.before, *words) if place.before else self.type(*words, code=None)
        found = [json.loads(line) for line in out.splitlines()]
        assert len(found) == len(names), out
        return dict(zip(names, found, strict=True))


def everything(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every file and folder below: kind and mode, time of change, content."""
    return {
        str(one.relative_to(folder)): (
            one.lstat().st_mode,
            one.lstat().st_mtime_ns,
            one.read_bytes() if one.is_file() else b"",
        )
        for one in sorted(folder.rglob("*"))
    }


def surveyed(week: Week) -> None:
    """Monday: who signed what on the share, and nothing is written there."""
    share = week.folder / "share"
    before = everything(share)
    words = week.type("survey", "share", "--draft-trust", "trial.toml", "--html", "report.html", "--json", code=1)
    assert everything(share) == before
    lines = [json.loads(line) for line in words.splitlines()]
    states = {os.path.relpath(one["path"], "share"): one["state"] for one in lines if one["kind"] == "file"}
    assert {name: states.get(name, "unsigned") for name in SAMPLES} == SAMPLES
    signers = {one["subject"] for one in lines if one["kind"] == "signer"}
    assert {"CN=ACME Release,O=ACME", "CN=Borg Tools,O=ACME", "CN=Cima Recipes", "CN=Dorn mail"} <= signers
    left = {(os.path.relpath(one["path"], "share"), one["why"]) for one in lines if one["kind"] == "left"}
    assert left == {("eltec/pump-1.bin.asc", "elsewhere")}
    assert lines[-1]["kind"] == "summary"
    week.places["trial"] = Place(["--trust", week.folder / "trial.toml"])
    week.table(
        """
        trial
        acme/drive-01.bin T
        acme/drive-38.bin R
        acme/drive-39.bin R
        acme/project T
        borg/line-01.ps1 T
        borg/line-29.ps1 R
        borg/tool-0.ps1 T
        cima/recipe-01.csv T
        cima/recipe-19.csv R
        dorn/sha1-0.bin R
        dorn/small-0.bin R
        dorn/ended-0.bin R
        dorn/mail-0.bin R
        dorn/plain-0.bin R
        eltec/pump-0.bin R
        eltec/pump-1.bin R
        eltec/pump-2.bin R
        notes/000.txt R
        """
    )


SAMPLES = {
    "acme/drive-01.bin": "intact",
    "acme/drive-38.bin": "broken",
    "acme/drive-39.bin": "broken",
    "acme/project": "intact",
    "borg/line-01.ps1": "intact",
    "borg/line-29.ps1": "broken",
    "borg/tool-0.ps1": "intact",
    "cima/recipe-01.csv": "intact",
    "cima/recipe-19.csv": "broken",
    "dorn/sha1-0.bin": "weak",
    "dorn/small-0.bin": "weak",
    "dorn/ended-0.bin": "intact",
    "dorn/mail-0.bin": "intact",
    "dorn/plain-0.bin": "unreadable",
    "eltec/pump-0.bin": "unsigned",
    "eltec/pump-1.bin": "unsigned",
    "eltec/pump-2.bin": "unsigned",
    "notes/000.txt": "unsigned",
}


NORDHOF = ["--organisation", "Nordhof bakery"]


def homes(week: Week) -> None:
    """Officers with keys of their own, two persons of the plant with tokens, the station."""
    pin = week.folder / "pin.txt"
    pin.write_text(PIN + "\n")
    pin.chmod(0o600)
    for name in ("eva", "jan", "safe", "gate", "line"):
        week.type("init", name, *NORDHOF, "--title", name)
    for name in ("anna", "bert"):
        week.type("init", name, *NORDHOF, "--title", name, "--token", another_token(), "--pin-file", "pin.txt")
    for station in ("gate", "line"):
        week.type("key", "enrol", "record", "--home", station, "--name", station)


def narrowed(week: Week) -> None:
    """Tuesday: out of the draft becomes a trust file that the makers were asked about, signed and installed."""
    homes(week)
    (week.folder / "office").mkdir()
    (week.folder / "installed").mkdir()
    (week.folder / "cell").mkdir()
    trust = week.folder / "office" / "trust.toml"
    shutil.copy("trial.toml", trust)

    def change(*words: str | Path) -> None:
        week.type("trust", words[0], trust, *words[1:])

    for name, more in (("eva", ()), ("jan", ("--threshold", "2")), ("safe", ("--recovery",))):
        change("add", "person", name, *NORDHOF)
        key = "recovery" if name == "safe" else "officer"
        change("add", "officer", name, "--key", f"{name}/certificates/{key}.pem", *more)
    for kind in ("officer", "recovery"):
        change("remove", kind, f"replace-this-{kind}")
        change("remove", "person", f"replace-this-{kind}")
    for name, person in (("anna", "p-17"), ("bert", "p-4")):
        change("add", "anchor", f"{name}/ca.pem", "--name", name, "--environment", "production")
        change("add", "authority", f"{name}/ca.pem", "--name", f"{name} timestamps")
        change("add", "person", person, *NORDHOF, "--certificate", f"{name}/certificates/release.pem")
    for station in ("gate", "line"):  # whose records count; their keys are files, which no rule accepts
        change("add", "anchor", f"{station}/ca.pem", "--name", station, "--environment", "development")
    change("add", "evidence", "cima.pem", "--provenance", "hardware-claimed")
    change("add", "evidence", "dorn-ended.pem", "--provenance", "hardware-claimed")
    grades = [word for grade in ("compared", "old-signature", "uncompared") for word in ("--grade", grade)]
    people = [
        "--plant",
        "anna",
        "--plant",
        "bert",
        "--plant-person",
        "p-17",
        "--plant-person",
        "p-4",
        "--plant-count",
        "0",
    ]
    change("add", "rule", "pumps of Eltec", "--product", PUMP, "--environment", "production", *grades, *people)
    trust.write_text(by_hand(trust.read_text()))
    week.type("trust", "check", trust, code=1)
    for officer in ("eva", "jan"):
        week.type("trust", "sign", trust, "--home", officer, "--person", officer)
    week.type("trust", "check", trust)
    card = week.type("trust", "show", trust, "--card")
    week.fingerprint = hashlib.sha256(trust.read_bytes()).hexdigest()
    assert week.fingerprint in card.replace(" ", "").replace("\n", "")
    week.type("trust", "install", trust, "--to", "installed", "--trust-fingerprint", "0" * 64, code=1)
    week.type("trust", "install", trust, "--to", "installed", "--trust-fingerprint", week.fingerprint)
    week.places["office"] = Place(["--trust", "installed/trust.toml"])
    week.table(
        """
        trial office
        acme/drive-01.bin T R
        acme/drive-02.bin T R
        acme/drive-38.bin R R
        acme/drive-39.bin R R
        acme/project T T
        borg/line-01.ps1 T T
        borg/line-29.ps1 R R
        borg/tool-0.ps1 T R
        cima/recipe-01.csv T T
        cima/recipe-19.csv R R
        dorn/sha1-0.bin R R
        dorn/small-0.bin R R
        dorn/ended-0.bin R R
        dorn/mail-0.bin R R
        dorn/plain-0.bin R R
        eltec/pump-0.bin R R
        eltec/pump-1.bin R R
        eltec/pump-2.bin R R
        notes/000.txt R R
        """
    )


BY_ANNA = ["--person", "p-17", "--home", "anna", "--pin-file", "pin.txt"]
BY_BERT = ["--person", "p-4", "--home", "bert", "--pin-file", "pin.txt"]


def received(week: Week) -> None:
    """Wednesday: what Eltec never signed is received, each as well as it can be; two drives are accepted for line 3."""
    pumps = [f"share/eltec/pump-{number}.bin" for number in range(3)]
    which = ["--product", PUMP, "--source", "Eltec, portal"]
    mail = ["--compare", "list-by-mail.txt", "--channel", "mail of Eltec support"]
    week.type("receive", pumps[1], "--grade", "compared", *which, *mail, *BY_ANNA, code=1)  # not in that list
    week.type("receive", pumps[0], "--grade", "compared", *which, *mail, *BY_ANNA)
    old = ["--old-signature", f"{pumps[1]}.asc", "--old-key", "eltec.asc"]
    week.type("receive", pumps[2], "--grade", "old-signature", *which, *old, *BY_ANNA, code=1)  # that of another file
    week.type("receive", pumps[1], "--grade", "old-signature", *which, *old, *BY_ANNA)
    why = ["--reason", "needed tonight, Eltec does not answer"]
    week.type("receive", pumps[2], "--grade", "uncompared", *which, *why, *BY_ANNA, "--person", "p-4", code=3)
    week.table(
        """
        office
        eltec/pump-0.bin T
        eltec/pump-1.bin T
        eltec/pump-2.bin R
        notes/000.txt R
        """
    )
    week.type("receive", "--sign", f"{pumps[2]}.received.manifest", *BY_BERT, "--yes")

    accept = ["--trust", "installed/trust.toml", "--line", "line-3", *BY_BERT]
    week.type("accept", "share/acme/drive-38.bin", *accept, code=1)
    week.type("accept", "share/acme/drive-01.bin", "share/acme/drive-02.bin", *accept)
    for line in ("line-3", "line-4"):
        week.places[line] = Place(["--trust", "installed/trust.toml", "--line", line])
    week.table(
        """
        office line-3 line-4
        acme/drive-01.bin U T R
        acme/drive-02.bin U T R
        acme/drive-03.bin R R R
        acme/drive-38.bin R R R
        acme/project T T T
        borg/line-01.ps1 T T T
        cima/recipe-01.csv T T T
        dorn/mail-0.bin R R R
        eltec/pump-0.bin T T T
        eltec/pump-1.bin T T T
        eltec/pump-2.bin T T T
        notes/000.txt R R R
        """
    )


ON_THE_STICK = (
    "acme/drive-01.bin", "acme/drive-02.bin", "acme/drive-03.bin", "acme/drive-38.bin", "acme/project",
    "borg/line-01.ps1", "cima/recipe-01.csv", "dorn/mail-0.bin", "eltec/pump-0.bin", "eltec/pump-1.bin",
    "eltec/pump-2.bin", "notes/000.txt",
)  # fmt: skip


def fill(stick: Path, share: Path) -> None:
    """Each thing with all that lies beside it."""
    for name in ON_THE_STICK:
        for path in share.glob(f"{name}*"):
            target = stick / path.relative_to(share)
            target.parent.mkdir(exist_ok=True)
            shutil.copytree(path, target) if path.is_dir() else shutil.copy(path, target)


def crossed(week: Week, stick: Path, clean: Path) -> None:
    """Thursday: the station lets through what may be used at line 3; the cell behind it has no network and no clock."""
    fill(stick, week.folder / "share")
    for name in ("gate-state", "gate-records", "labels"):
        (week.folder / name).mkdir()
    words = ["station", "--once", stick, "--trust", "installed/trust.toml", "--state", "gate-state", "--line", "line-3"]
    more = ["--write", clean, "--label", "labels", "--record", "gate-records", "--station-home", "gate", "--json"]
    events = [json.loads(line) for line in week.type(*words, *more, code=1).splitlines()]
    week.judged["station"] = {one["name"]: one for one in events if one["event"] == "judged"}
    assert events[-1]["written"] == str(clean)
    week.places["line-3-stick"] = Place(["--trust", "installed/trust.toml", "--line", "line-3"], base=str(stick))
    week.table(
        """
        station line-3-stick
        acme/drive-01.bin T T
        acme/drive-02.bin T T
        acme/drive-03.bin R R
        acme/drive-38.bin R R
        acme/project T T
        borg/line-01.ps1 T T
        cima/recipe-01.csv T T
        dorn/mail-0.bin R R
        eltec/pump-0.bin T T
        eltec/pump-1.bin T T
        eltec/pump-1.bin.asc R R
        eltec/pump-2.bin T T
        notes/000.txt R R
        """
    )  # the old signature lies beside as a file that nobody signed; what counts is its copy in the evidence
    assert len(week.judged["station"]) == len(ON_THE_STICK) + 1
    agreed(["sha256sum", "--quiet", "--strict", "-c", "sealwright-checked.txt"], clean)
    (label,) = (week.folder / "labels").glob("*.txt")
    listed = digest_of(clean / "sealwright-checked.txt")
    assert re.sub(r"\s", "", label.read_text()).count(listed) == 1  # the label is about the clean stick
    there = {str(one.relative_to(clean)) for one in clean.rglob("*") if one.is_file()}
    assert not [name for name in there if name.startswith(("dorn", "notes", "acme/drive-03", "acme/drive-38"))]
    assert {"eltec/pump-1.bin.received/pump-1.bin.asc", "acme/project/main.st", "cima/recipe-01.csv.p7s"} <= there

    assert without_network()
    cell = (*without_network(), "faketime", "1970-01-01 00:00:30")
    week.started(cell, "trust", "install", week.folder / "office" / "trust.toml", "--to", week.folder / "cell",
                 "--trust-fingerprint", week.fingerprint, code=0)  # fmt: skip
    trusted = ["--trust", week.folder / "cell" / "trust.toml", *fingerprint(week.folder / "cell" / "trust.toml")]
    week.places["cell"] = Place([*trusted, "--line", "line-3"], cell, str(clean))
    week.places["cell-4"] = Place([*trusted, "--line", "line-4"], cell, str(clean))
    week.table(
        """
        cell cell-4
        acme/drive-01.bin T R
        acme/drive-02.bin T R
        acme/project U U
        borg/line-01.ps1 U U
        cima/recipe-01.csv U U
        eltec/pump-0.bin U U
        eltec/pump-1.bin U U
        eltec/pump-2.bin U U
        """
    )


def installed(week: Week, stick: Path, clean: Path) -> None:
    """Friday night, in the cell: one drive is installed, four things are refused, and each leaves its record."""
    for name in ("cell-state", "line-records"):
        (week.folder / name).mkdir()
    cell = week.places["cell"]
    record = ["--record", week.folder / "line-records", "--station-home", week.folder / "line", "--person", "p-17"]
    at_night = ["--change", "CHG-4711", "--state", week.folder / "cell-state", *record]
    for path, line, code in (
        (clean / "acme" / "drive-02.bin", "line-3", 0),
        (clean / "acme" / "drive-02.bin", "line-4", 1),  # accepted for another line
        (stick / "acme" / "drive-38.bin", "line-3", 1),  # changed
        (stick / "dorn" / "mail-0.bin", "line-3", 1),  # a certificate for mail, which the draft left out
        (stick / "notes" / "000.txt", "line-3", 1),  # of nobody
    ):
        week.started(cell.before, "verify", path, *cell.words[:-2], "--line", line, *at_night, code=code)
    week.table(
        """
        cell
        acme/drive-01.bin T
        acme/drive-02.bin T
        """
    )


NIGHT = [
    ("drive-02.bin", "trusted", ""),
    ("drive-02.bin", "rejected", "SW-ACCEPTANCE-LINE"),
    ("drive-38.bin", "rejected", "SW-FILE-CHANGED"),
    ("mail-0.bin", "rejected", "SW-CERT-NO-PATH"),
    ("000.txt", "rejected", "SW-SIGNATURE-MISSING"),
]


def audited(week: Week, stick: Path) -> None:
    """The week by other programs: OpenSSL and sha256sum alone; then what `record` says, which must be the same."""
    share = week.folder / "share"
    for name, files in (("gate-records", len(week.judged["station"])), ("line-records", len(NIGHT))):
        folder, home = week.folder / name, name.removesuffix("-records")
        texts = sorted(folder.rglob("record.txt"))
        assert len(texts) == files
        before = "none"
        for text in texts:
            signed(text.with_name("record.txt.p7s"), text, week.folder / home / "ca.pem")
            assert f"# previous {before}\n" in text.read_text()
            before = f"sha256:{digest_of(text)}"
            (named,) = re.findall(r"(?m)^[0-9a-f]{64}  (.+)$", text.read_text())
            (place,) = {one.parent for one in stick.rglob(named) if one.parent.suffix != ".received"}
            agreed(["sha256sum", "--quiet", "--strict", "-c", text], place)
        said = week.type("record", "check", name, "--trust", "installed/trust.toml", "--station-home", home)
        assert f"count={files} last={before.removeprefix('sha256:')}" in said
        week.type("record", "check", name, "--key", f"{home}/certificates/{home}.pem")
        week.type("record", "export", name, "--out", f"{name}.csv")
        with open(f"{name}.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["record_digest"] for row in rows] == [f"sha256:{digest_of(text)}" for text in texts]
        if name == "line-records":
            found = [(row["artifact"], row["outcome"], row["findings"], row["change_as_stated"]) for row in rows]
            assert [one[:2] for one in found] == [one[:2] for one in NIGHT]
            assert all(row["clock"].startswith("1970-01-01T") and row["time_source"] == "floor" for row in rows)
            assert all(code in one[2] and one[3] == "CHG-4711" for one, (_, _, code) in zip(found, NIGHT, strict=True))
        else:
            outcomes = {name: one["outcome"] for name, one in week.judged["station"].items()}
            assert {row["artifact"].rstrip("/"): row["outcome"] for row in rows} == {
                Path(k).name: v for k, v in outcomes.items()
            }

    later = [json.loads(line) for line in week.type("survey", "share", "--json", code=1).splitlines()]
    broken = {os.path.relpath(str(one["path"]), "share") for one in later if one.get("state") == "broken"}
    assert broken == week.tampered  # what the plant wrote since Monday is known for what it is

    anna, bert = week.folder / "anna" / "ca.pem", week.folder / "bert" / "ca.pem"
    for number, signers in enumerate(((anna,), (anna,), (anna, bert))):
        record = share / "eltec" / f"pump-{number}.bin.received.manifest"
        for ending, ca in zip((".p7s", ".p-4.p7s"), signers, strict=False):
            signed(record.with_name(record.name + ending), record, ca)
        agreed(["sha256sum", "--quiet", "--strict", "-c", record.name], record.parent)
    for name in ("drive-01.bin", "drive-02.bin"):
        text = share / "acme" / f"{name}.plant.manifest"
        signed(text.with_name(f"{text.name}.p7s"), text, bert)
        agreed(["sha256sum", "--quiet", "--strict", "-c", text.name], text.parent)
    for officer in ("eva", "jan"):
        text = week.folder / "installed" / "trust.toml"
        signed(
            text.with_name(f"trust.toml.{officer}.p7s"), text, week.folder / officer / "certificates" / "officer.pem"
        )

    root = week.folder / "acme.pem"
    root.write_text(week.share.acme.root.pem)
    for number, genuine, unchanged in ((1, True, True), (38, True, False), (39, False, True)):
        text = share / "acme" / f"drive-{number:02}.bin.manifest"
        signed(text.with_name(f"{text.name}.p7s"), text, root, genuine)
        agreed(["sha256sum", "--quiet", "--strict", "-c", text.name], text.parent, unchanged)
    for recipe, good in ((1, True), (19, False)):
        path = share / "cima" / f"recipe-{recipe:02}.csv"
        signed(path.with_name(f"{path.name}.p7s"), path, week.folder / "cima-root.pem", good)


def signed(signature: Path, content: Path, anchors: Path, good: bool = True) -> None:
    """`openssl cms -verify` as our pages write it."""
    accepted, said = cms_verify(signature, content, anchors)
    assert accepted is good, (signature, said)


def digest_of(path: Path) -> str:
    """What sha256sum says."""
    return subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]


def agreed(words: list[str | Path], folder: Path, good: bool = True) -> None:
    """What a program that is not ours says."""
    accepted, said = run(words, cwd=folder)
    assert accepted is good, (words, said)


@pytest.fixture
def week(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Week]:
    """Before Monday."""
    share = Share.make(tmp_path, datetime.now(UTC).replace(microsecond=0))
    tampered = set(share.tamper())
    assert share.count() == FILES
    monkeypatch.chdir(tmp_path)
    return Week(tmp_path, share, capfd, tampered)


@pytest.mark.timeout(300)
def test_the_first_week_in_a_plant(week: Week) -> None:
    surveyed(week)
    narrowed(week)
    received(week)
    with (
        ext4_stick(week.folder / "stick.image", week.folder / "stick", megabytes=8) as stick,
        ext4_stick(week.folder / "clean.image", week.folder / "clean", megabytes=8) as clean,
    ):
        crossed(week, stick, clean)
        installed(week, stick, clean)
        audited(week, stick)
