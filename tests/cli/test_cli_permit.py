"""`permit` as people type it: asked, shown, signed by a token and by a TPM, used once, looked at by two others."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kit.house import Backend, House
from kit.manifests import manifest_pair
from kit.openssl import cms_verify, sums
from kit.permits import MAKER, PRODUCT
from kit.pki import DAY, Pki
from kit.trust import OFFICER, RECOVERY, person, trust_parts, write_trust
from sealwright.artifact.claims import Claims
from sealwright.artifact.permit import parse_permit
from sealwright.cli.main import main
from sealwright.envelope.algorithms import key_digest
from sealwright.log.journal import EntryType, read_history
from sealwright.plant.recordreader import parse_record
from sealwright.signing.home import KeyPurpose, open_home
from sealwright.trust.toml import Toml

Run = Callable[..., tuple[int, str, str]]
DEVICE = "pump-4711"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def typed(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return typed


def house(folder: Path, backend: Backend = Backend.FILE) -> House:
    """Somebody's home."""
    folder.mkdir()
    return House.make(folder, backend)


class Yard:
    """A release that the plant did not accept, the trust file of a device, and the homes of those whom it names."""

    def __init__(self, folder: Path, signer: House, environment: str = "production") -> None:
        self.folder, self.signer = folder, signer
        now = datetime.now(UTC).replace(microsecond=0)
        maker, own = Pki.make(at=now - 30 * DAY), Pki.make("Plant", at=now - 30 * DAY)
        self.release = folder / "6"
        self.release.mkdir()
        (self.release / "app.bin").write_bytes(b"firmware")
        manifest_pair(self.release, maker.leaf(at=now - 10 * DAY), Claims(product=PRODUCT, version="6", generation=6))
        self.others = [house(folder / name) for name in ("p-3", "p-4")]
        for one in (signer, *self.others):
            assert main(["key", "enrol", "approval", "--home", str(one.home), "--name", "approval", *one.pin]) == 0
        anchors = [
            {"name": name, "environment": environment, "certificate": pki.root.pem}
            for name, pki in (("root", maker), ("plant", own))
        ]
        accepted = {"slot": "plant", "anchors": ["plant"]}
        parts = trust_parts(
            maker,
            issued=now - 5 * DAY,
            expires=now + 300 * DAY,
            anchor=anchors,
            authority=None,  # type: ignore[arg-type]
            person=[
                person("olga", OFFICER),
                person("rolf", RECOVERY),
                *(self._person(name, one) for name, one in self.named()),
            ],
            rule=[{"name": "drives", "environment": environment, "signer": [MAKER, accepted]}],
            permit=[
                {
                    "name": "night shift",
                    "kinds": ["break-glass", "downgrade"],
                    "persons": ["p-17"],
                    "longest": "12h",
                    "follow_up": ["p-3", "p-4"],
                }
            ],
        )
        self.trust = write_trust(folder, parts, olga=OFFICER)
        self.permit = folder / "6.permit"
        (folder / "why.txt").write_text("The pump stands.\n")

    def named(self) -> list[tuple[str, House]]:
        return [("p-17", self.signer), ("p-3", self.others[0]), ("p-4", self.others[1])]

    def _person(self, name: str, whose: House) -> dict[str, Toml]:
        key = open_home(str(whose.home)).key(None, KeyPurpose.APPROVAL)
        return {"id": name, "organisation": "Plant", "keys": [str(key_digest(key.public_key))]}

    def ask(self, *words: object) -> list[object]:
        asked = ["permit", "ask", self.release, "--device", DEVICE, "--kind", "break-glass", "--hours", "8h"]
        asked += ["--person", "p-17", "--reason-file", self.folder / "why.txt", "--trust", self.trust]
        return [*asked, "--out", self.permit, *words]

    def sign(self, file: Path, whose: House, *words: object) -> list[object]:
        return ["permit", "sign", file, "--home", whose.home, "--trust", self.trust, *whose.pin, *words]

    def verify(self, *words: object) -> list[object]:
        return ["verify", self.release, "--trust", self.trust, "--device", DEVICE, "--permit", self.permit, *words]


@pytest.mark.parametrize("backend", [Backend.TOKEN, Backend.TPM])
def test_a_permit_by_a_key_in_hardware_is_used_once_and_stays_red_until_two_others_signed(
    run: Run, tmp_path: Path, backend: Backend
) -> None:
    yard = Yard(tmp_path, house(tmp_path / "p-17", backend))
    assert run("verify", yard.release, "--trust", yard.trust)[0] == 1
    code, said, _ = run(*yard.ask())
    assert (code, "WITHOUT the plant's acceptance" in said, "The pump stands." in said) == (0, True, True)
    assert sums(yard.permit, tmp_path)[0]
    assert run(*yard.verify())[0] == 1
    code, said, err = run(*yard.sign(yard.permit, yard.signer))
    assert (code, "nothing was signed" in err, DEVICE in said) == (1, True, True)
    assert run(*yard.sign(yard.permit, yard.signer, "--yes"))[0] == 0
    signature = tmp_path / "6.permit.p-17.p7s"
    assert cms_verify(signature, yard.permit, yard.signer.home / "ca.pem")[0]
    assert run("permit", "check", yard.permit, "--trust", yard.trust)[0] == 0

    state, records = tmp_path / "state", tmp_path / "records"
    state.mkdir()
    records.mkdir()
    code, said, _ = run(*yard.verify("--state", state, "--record", records))
    assert (code, said.startswith(f"INSTALL BY PERMIT ONLY: break-glass for {DEVICE}")) == (0, True)
    code, said, _ = run(*yard.verify("--state", state))
    assert (code, "was used already" in said) == (1, True)
    code, said, _ = run(*yard.verify("--json"))
    told = json.loads(said)
    assert (told["outcome"], told["permit"]["device"], told["permit"]["persons"]) == ("trusted", DEVICE, ["p-17"])

    record = parse_record((records / "000000" / "000000001" / "record.txt").read_bytes(), "record").facts
    assert record.permit is not None
    assert (record.permit.device, record.permit.persons) == (DEVICE, ("p-17",))
    assert run("record", "check", records)[0] == 0
    code, said, _ = run("record", "list", records)
    assert (code, "RED: break-glass" in said) == (3, True)
    assert run("permit", "follow-up", yard.permit, "--confirm", "--person", "p-3", "--person", "p-4")[0] == 0
    after = tmp_path / "6.permit.follow-up"
    listed = ["record", "list", records, "--trust", yard.trust, "--follow-ups", tmp_path]
    for number, whose in enumerate(yard.others):
        assert (run("permit", "check", after, "--trust", yard.trust)[0], run(*listed)[0]) == (1, 3), number
        assert run(*yard.sign(after, whose, "--yes"))[0] == 0
    assert run("permit", "check", after, "--trust", yard.trust)[0] == 0
    assert json.loads(run("permit", "show", after, "--json")[1])["follow_up"]["persons"] == ["p-3", "p-4"]
    code, said, _ = run(*listed)
    assert (code, "confirmed by p-3 and p-4" in said) == (0, True)
    assert json.loads(run(*listed, "--json")[1])["red"] is False
    assert ",break-glass,pump-4711,p-17,sha256:" in run("record", "export", records)[1]


def test_signing_and_using_a_permit_are_both_in_a_journal(run: Run, tmp_path: Path) -> None:
    yard = Yard(tmp_path, house(tmp_path / "p-17"), "test")
    assert run(*yard.ask())[0] == 0
    assert run(*yard.sign(yard.permit, yard.signer, "--yes"))[0] == 0
    (tmp_path / "records").mkdir()
    station = yard.others[0].home
    assert run("key", "enrol", "record", "--home", station, "--name", "station")[0] == 0
    assert run(*yard.verify("--record", tmp_path / "records", "--station-home", station))[0] == 0
    for home, kind in ((yard.signer.home, "permit"), (station, "record")):
        asked = [one for one in read_history(str(home / "journal")) if one.type is EntryType.INTENT]
        assert [one.fields["kind"] for one in asked if one.fields.get("kind") == kind] == [kind]


def test_where_production_decides_a_key_in_a_file_permits_nothing(run: Run, tmp_path: Path) -> None:
    for environment, code in (("test", 0), ("production", 1)):
        folder = tmp_path / environment
        folder.mkdir()
        yard = Yard(folder, house(folder / "p-17"), environment)
        assert run(*yard.ask())[0] == 0
        assert run(*yard.sign(yard.permit, yard.signer, "--yes"))[0] == 0
        assert run("permit", "check", yard.permit, "--trust", yard.trust)[0] == code
        assert run(*yard.verify())[0] == code


def test_what_would_count_for_nothing_is_neither_written_nor_signed(run: Run, tmp_path: Path) -> None:
    yard = Yard(tmp_path, house(tmp_path / "p-17"), "test")
    for words, why in (
        (["--hours", "13h"], "12 hours at most"),
        (["--kind", "unlock"], "no [[permit]] is for the kind unlock"),
        (["--kind", "downgrade"], "no permit of the kind downgrade helps"),
        (["--person", "p-3"], "does not name p-3"),
    ):
        code, _, err = run(*yard.ask(*words))
        assert (code, why in err, yard.permit.exists()) == (1, True, False), err
    assert run(*yard.ask("--device", "pump 4711"))[0] == 2
    assert run("verify", yard.release, "--trust", yard.trust, "--permit", yard.permit)[0] == 2
    assert run(*yard.ask())[0] == 0
    code, _, err = run(*yard.sign(yard.permit, yard.others[0], "--yes"))
    assert (code, "it is p-3's" in err) == (1, True)
    code, _, err = run("sign", yard.permit, "--home", yard.signer.home, "--timestamp", "none")
    assert (code, "begins like a Sealwright" in err) == (1, True)
    assert run(*yard.sign(yard.permit, yard.signer, "--yes"))[0] == 0
    (yard.release / "app.bin").write_bytes(b"firmwarE")
    code, said, _ = run(*yard.verify())
    assert (code, said.startswith("DO NOT INSTALL: ")) == (1, True)
    yard.permit.unlink()
    code, _, err = run(*yard.ask())
    assert (code, "no permit of the kind break-glass helps" in err) == (1, True)


def test_a_permit_can_be_read_before_anybody_signs_it(run: Run, tmp_path: Path) -> None:
    yard = Yard(tmp_path, house(tmp_path / "p-17"), "test")
    code, said, _ = run(*yard.ask("--json"))
    permit = parse_permit(yard.permit.read_bytes(), "permit")
    assert (code, json.loads(said)["permit"]["nonce"]) == (0, permit.nonce)
    code, said, _ = run("permit", "show", yard.permit)
    assert (code, "p-17: NOT SIGNED" in said, "The pump stands." in said) == (0, True, True)
    (tmp_path / "6.permit.reason").write_text("salt 00\nanother reason\n")
    assert "which is not beside it" in run("permit", "show", yard.permit)[1]
    assert run("permit", "show", tmp_path / "why.txt")[0] == 1


def test_the_trust_file_says_who_may_permit_and_diff_marks_it(run: Run, tmp_path: Path) -> None:
    assert main(["init", str(tmp_path / "home")]) == 0
    trust = tmp_path / "home" / "trust.toml"
    old = tmp_path / "old.toml"
    old.write_bytes(trust.read_bytes())
    assert run("trust", "new", "--next", trust)[0] == 0
    for name in ("p-3", "p-4"):
        assert run("trust", "add", trust, "person", name, "--organisation", "Plant")[0] == 0
    section = ["night shift", "--kind", "break-glass", "--person", "officer", "--longest", "12h"]
    assert run("trust", "add", trust, "permit", *section)[0] == 1
    follow_up = ["--follow-up", "p-3", "--follow-up", "p-4"]
    code, said, _ = run("trust", "add", trust, "permit", *section, *follow_up)
    assert (code, "at most 12 hours, signed by 1 of officer" in said) == (0, True)
    assert "permits are taken: night shift" in run("trust", "diff", old, trust)[1]
    assert "Permits:\n  night shift: break-glass" in run("trust", "show", trust)[1]
    assert json.loads(run("trust", "show", trust, "--json")[1])["permits"][0]["longest_hours"] == 12
    assert run("trust", "remove", trust, "permit", "night shift")[0] == 0
    assert "Permits:" not in run("trust", "show", trust)[1]
