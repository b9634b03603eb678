"""An officer's day with `cert` and `ca`: certificates issued, renewed, replaced, suspended, revoked, listed, by command line alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from kit.boards import FIRMWARE
from kit.openssl import run as openssl
from sealwright.cli.main import main
from sealwright.errors import UsageError
from sealwright.log.journal import Journal
from sealwright.pki.profiles import PROFILES
from sealwright.signing.register import Register

Run = Callable[..., tuple[int, str]]
LONG_AGO = "2020-01-01T00:00:00Z"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """One command: exit code, and what it printed, the error where it failed."""

    def call(*words: str | Path) -> tuple[int, str]:
        capsys.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as usage:
            code = int(usage.code or 0)
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err
        return code, shown.out if code == 0 else shown.out + shown.err

    return call


def objects(said: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in said.splitlines()]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home as `init` makes it, with the requests of two machines beside it."""
    folder = tmp_path_factory.mktemp("plain")
    assert main(["init", str(folder / "home"), "--organisation", "ACME"]) == 0
    for name, subject in (
        ("line-1", "/CN=line 1/O=ACME"),
        ("server", "/CN=server/O=ACME"),
        ("other", "/CN=line 9/O=Other"),
    ):
        subprocess.run(
            ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
             folder / f"{name}.key", "-out", folder / f"{name}.csr", "-subj", subject],
            check=True, capture_output=True,
        )  # fmt: skip
    return folder


@pytest.fixture
def house(plain: Path, tmp_path: Path) -> Path:
    shutil.copytree(plain, tmp_path / "house")
    return tmp_path / "house"


def issue(
    run: Run, house: Path, *more: str | Path, name: str = "line-1", profile: str = "code-signer"
) -> tuple[int, str]:
    words = ["cert", "issue", house / f"{name}.csr", "--home", house / "home", "--profile", profile]
    return run(*words, "--provenance", "development", "--out", house / f"{name}.pem", *more)


def test_a_request_becomes_a_certificate_with_its_path_that_openssl_accepts(house: Path, run: Run) -> None:
    code, said = issue(run, house)
    assert (code, "certified CN=line 1" in said, "import-certificate" in said) == (0, True, True)
    leaf, above = x509.load_pem_x509_certificates((house / "line-1.pem").read_bytes())
    leaf.verify_directly_issued_by(above)
    csr = x509.load_pem_x509_csr((house / "line-1.csr").read_bytes())
    assert leaf.public_key() == csr.public_key()
    accepted, words = openssl(
        ["openssl", "verify", "-x509_strict", "-CAfile", house / "home/ca.pem", "-untrusted", house / "line-1.pem",
         house / "line-1.pem"]
    )  # fmt: skip
    assert accepted, words


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--days", "461"], 2, "valid for 1 to 460 days"),
        (["--days", "0"], 2, "valid for 1 to 460 days"),
        (["--host", "line-1.example"], 2, "names no hosts"),
        (["--authority", "nobody"], 2, "not enrolled"),
        (["--authority", "release"], 2, "not enrolled"),
        (["--common-name", "x" * 65], 2, "longer than 64"),
        (["--common-name", "line\u202e1"], 2, "not printable"),
        (["--profile", "nothing"], 2, "cert profiles"),
        (["--provenance", "hardware-attested"], 2, "invalid choice"),
        (["--attestation", "line-1.att"], 2, "not allowed with"),
    ],
)
def test_what_cannot_be_meant_is_said_and_issues_nothing(
    house: Path, run: Run, words: list[str], code: int, said: str
) -> None:
    got, shown = issue(run, house, *words)
    assert (got, said in shown) == (code, True), shown
    assert not (house / "line-1.pem").exists()
    assert issue(run, house)[0] == 0


def test_a_certificate_of_another_house_or_in_place_of_another_wants_the_officers_word(house: Path, run: Run) -> None:
    code, said = issue(run, house, name="other")
    assert (code, "'Other'" in said, "--organisation" in said) == (1, True, True)
    assert issue(run, house, "--organisation", "Other", name="other")[0] == 0
    assert issue(run, house)[0] == 0
    again = ["--out", house / "again.pem"]
    for more, profile in (([], "code-signer"), ([], "config-signer"), (["--common-name", "line 2"], "code-signer")):
        code, said = issue(run, house, *more, *again, profile=profile)
        assert (code, "its key" in said) == (1, True)
    for profile in ("root", "intermediate"):  # a signer's key never becomes an authority's
        code, said = issue(run, house, *again, profile=profile)
        assert (code, "one owner and one purpose" in said) == (1, True), said


def test_names_of_hosts_are_the_officers(house: Path, run: Run) -> None:
    code, said = issue(run, house, name="server", profile="tls-server")
    assert (code, "1 to 20 hosts" in said) == (2, True)
    hosts = ["--host", "tsa.plant.example", "--host", "10.1.2.3"]
    assert issue(run, house, *hosts, name="server", profile="tls-server")[0] == 0
    _, words = openssl(["openssl", "x509", "-in", house / "server.pem", "-noout", "-ext", "subjectAltName"])
    assert "DNS:tsa.plant.example, IP Address:10.1.2.3" in words


def test_every_command_answers_in_json_with_times_and_nothing_else(house: Path, run: Run) -> None:
    home = house / "home"
    (issued,) = objects(issue(run, house, "--json", "--days", "30")[1])
    until = datetime.fromisoformat(str(issued["until"]))
    assert timedelta(days=29) < until - datetime.now(UTC) < timedelta(days=30)
    assert (issued["profile"], issued["standing"], issued["output"]) == (
        "code-signer",
        "good",
        str(house / "line-1.pem"),
    )
    serial = str(issued["serial"])
    assert serial in {one["serial"] for one in objects(run("cert", "list", "--home", home, "--json")[1])}
    for which in (
        serial,
        serial.upper(),
        f"0x{serial}",
        ":".join(f"{serial:0>40}"[at : at + 2] for at in range(0, 40, 2)),
        "line 1",
    ):
        (shown,) = objects(run("cert", "show", which, "--home", home, "--json")[1])
        assert shown == {name: value for name, value in issued.items() if name != "output"}
    (renewed,) = objects(run("cert", "renew", "line 1", "--home", home, "--json")[1])
    assert (renewed["renews"], renewed["key"]) == (serial, issued["key"])
    held, _ = objects(run("cert", "hold", "line 1", "--home", home, "--json", "--person", "eva")[1])
    assert (held["standing"], held["reason"]) == ("hold", "certificateHold")
    back, _ = objects(run("cert", "release", "line 1", "--home", home, "--json")[1])
    assert (back["standing"], back["reason"]) == ("good", None)
    (retired,) = objects(
        run("cert", "retire", "line 1", "--home", home, "--until", "2031-01-01T00:00:00Z", "--json")[1]
    )
    assert retired["signs_until"] == "2031-01-01T00:00:00Z"
    (rekeyed,) = objects(run("cert", "rekey", "release", "--home", home, "--name", "release-2", "--json")[1])
    assert (rekeyed["name"], rekeyed["replaces"]) == ("release-2", "release")
    *revoked, last = objects(
        run(
            "cert",
            "revoke",
            "line 1",
            "--home",
            home,
            "--reason",
            "keyCompromise",
            "--compromised-since",
            LONG_AGO,
            "--json",
        )[1]
    )
    assert {one["serial"] for one in revoked} == {serial, renewed["serial"]}
    assert {one["invalid_from"] for one in revoked} == {LONG_AGO}
    assert (last["problem"], last["affected"], len(last["lists"])) == (None, 0, 1)  # type: ignore[arg-type]
    (listed,) = objects(run("ca", "crl", "--home", home, "--out", house / "ca.crl", "--json")[1])
    assert (listed["number"], listed["entries"], listed["output"]) == (2, 2, str(house / "ca.crl"))
    assert str(listed["next_update"]).endswith("Z")
    code, said = run("cert", "expiring", "--home", home, "--within", "500d", "--json")
    assert code == 1
    assert {"certificate", "list", "key"} <= {str(one["what"]) for one in objects(said)}
    assert all(one["ended"] is False and one["next_step"] for one in objects(said))
    assert len(objects(run("cert", "profiles", "--json")[1])) == len(PROFILES)


def test_a_signer_is_renewed_and_replaced_while_it_goes_on_signing(house: Path, run: Run) -> None:
    home, drive = house / "home", house / "drive.bin"

    def signs(key: str, name: str) -> tuple[int, int]:
        drive = house / name
        drive.write_bytes(b"firmware")
        code = run("sign", drive, "--home", home, "--key", key)[0]
        return code, run("verify", drive, "--trust", home / "trust.toml")[0]

    drive.write_bytes(b"firmware")
    before = (home / "certificates/release.pem").read_bytes()
    assert run("cert", "renew", "release", "--home", home, "--days", "30")[0] == 0
    assert (home / "certificates/release.pem").read_bytes() != before
    assert signs("release", "renewed.bin") == (0, 0)
    code, said = run(
        "cert", "rekey", "release", "--home", home, "--name", "release-2", "--overlap", "10d", "--algorithm", "p384"
    )
    assert (code, "signs until" in said, "sha256:" in said) == (0, True, True)
    assert signs("release", "old.bin") == signs("release-2", "new.bin") == (0, 0)
    assert run("cert", "rekey", "release", "--home", home, "--name", "release-3")[0] == 1
    assert run("cert", "rekey", "root", "--home", home, "--name", "root-2")[0] == 2
    assert run("cert", "rekey", "nobody", "--home", home, "--name", "x")[0] == 2
    assert run("cert", "retire", "release", "--home", home, "--until", LONG_AGO)[0] == 0
    code, said = run("sign", drive, "--home", home, "--key", "release")
    assert (code, "its signing ended" in said) == (1, True)
    assert run("verify", house / "old.bin", "--trust", home / "trust.toml")[0] == 0


def test_what_is_suspended_is_not_renewed_and_what_is_revoked_stays_revoked(house: Path, run: Run) -> None:
    home = house / "home"
    assert issue(run, house)[0] == 0
    assert run("cert", "renew", "line 1", "--home", home)[0] == 0
    assert run("cert", "hold", "line 1", "--home", home)[0] == 0
    code, said = run("cert", "renew", "line 1", "--home", home)
    assert (code, "on hold" in said) == (1, True)
    assert run("cert", "hold", "line 1", "--home", home)[0] == 2
    assert "ON HOLD" in run("cert", "list", "--home", home)[1]
    assert run("cert", "release", "line 1", "--home", home)[0] == 0
    assert run("cert", "release", "line 1", "--home", home)[0] == 2
    assert run("cert", "renew", "line 1", "--home", home)[0] == 0
    assert run("cert", "revoke", "line 1", "--home", home, "--reason", "privilegeWithdrawn", "--no-list")[0] == 0
    assert not (home / "trust.d/intermediate.crl").exists()
    for words in (["release", "line 1"], ["hold", "line 1"], ["revoke", "line 1", "--reason", "superseded"]):
        code, said = run("cert", *words, "--home", home)
        assert code == 2, said
    assert run("cert", "renew", "line 1", "--home", home)[0] == 1
    assert issue(run, house)[0] == 1


def standings(run: Run, home: Path, name: str) -> list[tuple[str, str | None, str | None]]:
    every = objects(run("cert", "list", "--home", home, "--json")[1])
    mine = [one for one in every if str(one["name"]).startswith(f"CN={name},")]
    return [(str(one["standing"]), one["reason"], one["invalid_from"]) for one in mine]  # type: ignore[misc]


def test_who_has_a_key_has_all_its_certificates_so_they_are_held_and_revoked_together(house: Path, run: Run) -> None:
    home = house / "home"
    assert issue(run, house)[0] == 0
    assert run("cert", "renew", "line 1", "--home", home)[0] == 0
    good, hold = ("good", None, None), ("hold", "certificateHold", None)
    assert standings(run, home, "line 1") == [good, good]
    assert run("cert", "hold", "line 1", "--home", home)[0] == 0
    assert standings(run, home, "line 1") == [hold, hold]
    assert run("cert", "release", "line 1", "--home", home)[0] == 0
    assert standings(run, home, "line 1") == [good, good]
    old = objects(run("cert", "list", "--home", home, "--json")[1])[-2]["serial"]
    assert run("cert", "revoke", str(old), "--home", home, "--reason", "superseded")[0] == 0
    superseded = ("revoked", "superseded", None)
    assert standings(run, home, "line 1") == [
        superseded,
        good,
    ]  # a newer certificate of the same key stands in its place
    assert run("cert", "revoke", "line 1", "--home", home, "--reason", "affiliationChanged")[0] == 0
    assert standings(run, home, "line 1") == [superseded, ("revoked", "affiliationChanged", None)]


def test_a_superseded_key_that_is_then_found_stolen_is_revoked_again_and_never_back(house: Path, run: Run) -> None:
    home = house / "home"
    assert issue(run, house)[0] == 0
    assert run("cert", "revoke", "line 1", "--home", home, "--reason", "superseded")[0] == 0
    (before,) = objects(run("cert", "show", "line 1", "--home", home, "--json")[1])
    for reason in ("superseded", "privilegeWithdrawn"):
        assert run("cert", "revoke", "line 1", "--home", home, "--reason", reason)[0] == 2
    stolen = ["cert", "revoke", "line 1", "--home", home, "--reason", "keyCompromise", "--compromised-since"]
    assert run(*stolen, LONG_AGO)[0] == 0
    (after,) = objects(run("cert", "show", "line 1", "--home", home, "--json")[1])
    assert (after["reason"], after["invalid_from"], after["since"]) == ("keyCompromise", LONG_AGO, before["since"])
    assert run(*stolen, "2021-01-01T00:00:00Z")[0] == 2
    assert run("cert", "revoke", "line 1", "--home", home, "--reason", "superseded")[0] == 2
    crl = x509.load_der_x509_crl((home / "trust.d/intermediate.crl").read_bytes())
    (entry,) = crl
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.key_compromise


def test_a_theft_that_is_dated_later_than_the_revocation_frees_nothing_between(house: Path, run: Run) -> None:
    home = house / "home"
    assert issue(run, house)[0] == 0
    with Register.open(str(home / "register")) as register:
        one = register.inventory.find("line 1")
        long_ago = datetime(2026, 1, 1, tzinfo=UTC)
        register.revoke(one, long_ago, x509.ReasonFlags.superseded)
        with pytest.raises(UsageError):
            register.release(one, long_ago)  # as the caller saw it, it was good
        later = register.revoke(
            one, datetime.now(UTC), x509.ReasonFlags.key_compromise, invalid=datetime(2026, 6, 1, tzinfo=UTC)
        )
    assert later.end is not None
    assert (later.end.at, later.end.invalid) == (long_ago, long_ago)
    assert (
        objects(run("cert", "show", "line 1", "--home", home, "--json")[1])[0]["invalid_from"] == "2026-01-01T00:00:00Z"
    )


def test_revoking_a_lost_key_tells_what_it_signed_and_stops_it_everywhere(house: Path, run: Run) -> None:
    home, drive = house / "home", house / "drive.bin"
    drive.write_bytes(b"firmware")
    assert run("sign", drive, "--home", home, "--product", "pump", "--version", "1.2")[0] == 0
    assert run("verify", drive, "--trust", home / "trust.toml")[0] == 0
    code, said = run(
        "cert",
        "revoke",
        "release",
        "--home",
        home,
        "--reason",
        "keyCompromise",
        "--compromised-since",
        "2999-01-01T00:00:00Z",
    )
    assert (code, "future" in said) == (2, True)
    code, said = run(
        "cert", "revoke", "release", "--home", home, "--reason", "keyCompromise", "--compromised-since", LONG_AGO
    )
    assert code == 0
    assert "signed by this key since 2020-01-01 00:00Z: 1" in said
    assert "no release recorded" in said
    assert "intermediate.crl" in said
    assert run("verify", drive, "--trust", home / "trust.toml")[0] == 1
    code, said = run("sign", drive, "--home", home, "--replace")
    assert (code, "was revoked" in said) == (1, True)


def test_what_ends_soon_is_an_alarm_and_what_is_renewed_is_quiet_again(house: Path, run: Run) -> None:
    home = house / "home"
    assert run("cert", "expiring", "--home", home)[0] == 0
    assert issue(run, house, "--days", "20")[0] == 0
    code, said = run("cert", "expiring", "--home", home, "--within", "30d")
    assert (code, "CN=line 1" in said, "cert renew" in said) == (1, True, True)
    assert run("cert", "expiring", "--home", home, "--within", "10d")[0] == 0
    step = said[said.index("cert renew") :].splitlines()[0].split()
    assert run(*step)[0] == 0  # the step that is told is one that works
    assert run("cert", "expiring", "--home", home, "--within", "30d")[0] == 0
    assert run("ca", "crl", "--home", home, "--valid", "3d")[0] == 0
    code, said = run("cert", "expiring", "--home", home, "--within", "5d")
    assert (code, "revocation list 1" in said) == (1, True)
    assert run("ca", "crl", "--home", home, "--valid", "30d")[0] == 0
    assert run("cert", "expiring", "--home", home, "--within", "5d")[0] == 0
    assert run("cert", "expiring", "--home", house / "nowhere")[0] == 2


def test_a_new_root_is_certified_by_the_old_one_and_paths_lead_over_it(house: Path, run: Run) -> None:
    home, new = house / "home", house / "new"
    assert run("init", new, "--organisation", "ACME")[0] == 0
    crossed = house / "new-by-old.pem"
    code, said = run("ca", "cross-sign", new / "ca.pem", "--home", home, "--authority", "root", "--out", crossed)
    assert (code, "[[intermediate]]" in said) == (0, True)
    chain = house / "chain.pem"
    chain.write_bytes(crossed.read_bytes() + (new / "certificates/release.pem").read_bytes())
    leaf = new / "certificates/release.pem"
    for anchor, good in ((home / "ca.pem", True), (new / "ca.pem", True)):
        accepted, words = openssl(["openssl", "verify", "-CAfile", anchor, "-untrusted", chain, leaf])
        assert accepted is good, words
    assert not openssl(["openssl", "verify", "-CAfile", home / "ca.pem", "-untrusted", leaf, leaf])[0]
    assert issue(run, house)[0] == 0
    code, said = run(
        "ca", "cross-sign", house / "line-1.pem", "--home", home, "--authority", "root", "--out", house / "x.pem"
    )
    assert (code, "no authority" in said) == (1, True)
    assert not (house / "x.pem").exists()
    (house / "noise").write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert (
        run("ca", "cross-sign", house / "noise", "--home", home, "--authority", "root", "--out", house / "x.pem")[0]
        == 1
    )
    code, said = run(
        "ca", "cross-sign", new / "ca.pem", "--home", home, "--authority", "intermediate", "--out", house / "x.pem"
    )
    assert (code, "pathLenConstraint" in said) == (1, True)


def test_what_is_renewed_can_do_what_it_could_before_and_no_more(house: Path, run: Run) -> None:
    """A key for bare signatures stays one; a cross-signed root keeps its room for authorities; hosts stay."""
    home, image = house / "home", house / "image.bin"
    image.write_bytes(FIRMWARE)
    assert run("key", "enrol", "mcuboot", "--home", home)[0] == 0
    assert run("cert", "renew", "mcuboot", "--home", home)[0] == 0
    signed = house / "signed.bin"
    assert run("sign", image, "--home", home, "--format", "mcuboot", "--version", "1.0.0", "--out", signed)[0] == 0
    assert run("verify", signed, "--trust", home / "trust.toml")[0] == 0
    assert run("init", house / "new", "--organisation", "ACME", "--title", "new house")[0] == 0
    crossed = house / "crossed.pem"
    words = [
        "ca",
        "cross-sign",
        house / "new/ca.pem",
        "--home",
        home,
        "--authority",
        "root",
        "--out",
        crossed,
        "--json",
    ]
    (made,) = objects(run(*words)[1])
    assert run("cert", "renew", str(made["serial"]), "--home", home, "--out", house / "again.pem")[0] == 0
    assert issue(run, house, "--host", "a.example", name="server", profile="tls-server")[0] == 0
    assert run("cert", "renew", "server", "--home", home, "--out", house / "server-2.pem")[0] == 0
    for before, after in ((crossed, house / "again.pem"), (house / "server.pem", house / "server-2.pem")):
        old, new = (x509.load_pem_x509_certificate(file.read_bytes()) for file in (before, after))
        assert old.serial_number != new.serial_number
        assert (old.subject, old.public_key()) == (new.subject, new.public_key())
        assert list(old.extensions) == list(new.extensions)


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "0999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"])
def test_a_date_of_any_year_is_read_back_from_the_register(house: Path, run: Run, time: str) -> None:
    home = house / "home"
    assert issue(run, house)[0] == 0
    assert run("cert", "retire", "line 1", "--home", home, "--until", time)[0] == 0
    assert objects(run("cert", "show", "line 1", "--home", home, "--json")[1])[0]["signs_until"] == time
    if not time.startswith("9"):
        words = ["cert", "revoke", "line 1", "--home", home, "--reason", "keyCompromise", "--compromised-since", time]
        assert run(*words)[0] == 0
        assert objects(run("cert", "show", "line 1", "--home", home, "--json")[1])[0]["invalid_from"] == time
        assert openssl(["openssl", "crl", "-inform", "DER", "-in", home / "trust.d/intermediate.crl", "-noout"])[0]


def test_words_that_cannot_be_kept_leave_the_register_as_it_was(house: Path, run: Run) -> None:
    home = house / "home"
    assert issue(run, house)[0] == 0
    before = (home / "register/journal.jsonl").read_bytes()
    for person in ("eva\udcff", "a" * 100_000, "eva \x1b[2J", "Eva Huber"):
        code, said = run("cert", "hold", "line 1", "--home", home, "--person", person)
        assert (code, "\x1b" in said) == (2, False)
        assert (home / "register/journal.jsonl").read_bytes() == before
    assert run("cert", "hold", "line 1", "--home", home, "--person", "eva")[0] == 0


def test_no_overlap_and_no_time_at_all_mean_what_they_say(house: Path, run: Run) -> None:
    home = house / "home"
    assert run("cert", "rekey", "release", "--home", home, "--name", "release-2", "--overlap", "0d")[0] == 0
    (house / "drive.bin").write_bytes(b"firmware")
    code, said = run("sign", house / "drive.bin", "--home", home, "--key", "release")
    assert (code, "its signing ended" in said) == (1, True)
    assert run("cert", "expiring", "--home", home, "--within", "0d")[0] == 0
    assert run("ca", "crl", "--home", home, "--valid", "0d")[0] == 2
    assert run("ca", "crl", "--home", home, "--valid", "1d")[0] == 0


def test_a_certificate_that_could_not_be_written_is_still_there_to_be_shown(house: Path, run: Run) -> None:
    home = house / "home"
    before = (house / "line-1.csr").read_bytes()
    assert issue(run, house, "--out", house / "line-1.csr")[0] == 1
    assert (house / "line-1.csr").read_bytes() == before
    assert run("cert", "show", "line 1", "--home", home)[0] == 2, (
        "what is there already is seen before anything is issued"
    )
    assert issue(run, house, "--out", house / "none" / "line-1.pem")[0] == 1
    code, said = run("cert", "show", "line 1", "--home", home, "--pem")
    assert (code, said.count("BEGIN CERTIFICATE")) == (0, 2)


def test_two_officers_at_once_wait_for_each_other_or_are_told(
    house: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = house / "home"
    monkeypatch.setattr(Journal.open.__func__, "__defaults__", (0.1,))  # type: ignore[attr-defined]
    with Register.open(str(home / "register")):
        code, said = issue(run, house)
        assert (code, "register" in said) == (1, True)
        assert run("cert", "list", "--home", home)[0] == 0
    assert issue(run, house)[0] == 0


def test_an_authority_of_the_companys_own_pki_is_asked_for_by_file(house: Path, run: Run) -> None:
    """Out goes a request that OpenSSL reads and verifies; the company's PKI (here `openssl ca`'s signing) certifies it."""
    home, asked = house / "home", house / "signing.csr"
    assert run("key", "create", f"file:{house / 'signing.pem'}")[0] == 0
    key = f"file:{house / 'signing.pem'}"
    assert run("ca", "csr", key, "--subject", "CN=ACME signing CA,O=ACME", "--out", asked)[0] == 0
    read, words = openssl(["openssl", "req", "-in", asked, "-noout", "-verify", "-text"])
    assert read
    assert "CA:TRUE, pathlen:0" in words
    assert "Certificate Sign, CRL Sign" in words
    code, said = run("ca", "csr", key, "--subject", "no name", "--out", house / "x.csr")
    assert (code, "is no name" in said) == (2, True)
    company = house / "company.pem"
    made = openssl(["openssl", "req", "-x509", "-newkey", "rsa:3072", "-nodes", "-keyout", house / "company.key", "-out", company,
                    "-subj", "/CN=Company root", "-days", "900"])  # fmt: skip
    assert made[0], made[1]
    certificate = house / "signing.crt"
    signed = openssl(["openssl", "x509", "-req", "-in", asked, "-CA", company, "-CAkey", house / "company.key", "-copy_extensions",
                      "copyall", "-days", "800", "-out", certificate])  # fmt: skip
    assert signed[0], signed[1]
    enrol = ["key", "import-certificate", certificate, "--home", home, "--name", "company-ca", "--key", key]
    assert run(*enrol, "--purpose", "certificates")[0] == 0
    code, said = issue(run, house, "--authority", "company-ca")
    assert (code, "no development authority" in said) == (1, True)
    claimed = ["--provenance", "hardware-claimed", "--authority", "company-ca", "--out", house / "line-1.pem"]
    request = ["cert", "issue", house / "line-1.csr", "--home", home, "--profile", "code-signer"]
    assert run(*request, *claimed)[0] == 0
    accepted, words = openssl(
        ["openssl", "verify", "-CAfile", company, "-untrusted", house / "line-1.pem", house / "line-1.pem"]
    )
    assert accepted, words


def test_the_examples_of_the_help_are_those_that_are_parsed(run: Run) -> None:
    for command in ("cert", "ca"):
        code, said = run(command, "--help")
        assert (code, "examples:" in said) == (0, True)
    for action in (
        "issue",
        "renew",
        "rekey",
        "hold",
        "release",
        "retire",
        "revoke",
        "list",
        "show",
        "expiring",
        "profiles",
    ):
        code, said = run("cert", action, "--help")
        assert (code, f"sealwright cert {action}" in said) == (0, True)
    for action in ("crl", "cross-sign", "csr"):
        code, said = run("ca", action, "--help")
        assert (code, f"sealwright ca {action}" in said) == (0, True)


def test_who_only_looks_waits_for_nobody_and_needs_to_write_nothing(house: Path, run: Run) -> None:
    """While another process holds the register, and where the home lies on a file system that is mounted read-only."""
    home = house / "home"
    assert issue(run, house)[0] == 0
    looks = [["cert", "list"], ["cert", "show", "line 1"], ["cert", "show", "release", "--pem"], ["cert", "expiring"],
             ["cert", "show", "line 1", "--json"], ["key", "list"]]  # fmt: skip
    before = [run(*words, "--home", home) for words in looks]
    assert [code for code, _ in before] == [0] * len(looks)
    with Register.open(str(home / "register")):
        start = time.monotonic()
        assert [run(*words, "--home", home) for words in looks] == before
        assert time.monotonic() - start < 5
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && ! touch "$0/x" 2>/dev/null && exec "$@"'
    for words, (_, said) in zip(looks, before, strict=True):
        program = [sys.executable, "-m", "sealwright", *words, "--home", str(home)]
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script, str(home), *program], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (0, said), done.stderr


def test_a_home_from_before_there_was_a_register_is_shown_as_it_will_be_taken_in(house: Path, run: Run) -> None:
    home = house / "home"
    _, said = run("cert", "list", "--home", home)
    assert "release" in said
    shutil.rmtree(home / "register")
    assert run("cert", "list", "--home", home) == (0, said)
    assert run("cert", "show", "release", "--home", home)[0] == 0
    assert not (home / "register").exists(), "looking changes nothing"
    assert run("cert", "hold", "release", "--home", home)[0] == 0
    code, after = run("cert", "list", "--home", home)
    assert (code, after.count("\n")) == (0, said.count("\n"))
