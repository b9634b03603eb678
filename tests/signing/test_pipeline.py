"""The sign way: recorded before it is signed, whole or not at all, with the one key that is enrolled for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

import sealwright
from kit.network import fingerprint, without_network
from kit.openssl import cms_verify, run, sums
from kit.pki import Pki
from kit.tokens import TOKEN, make_token, softhsm, tpm
from sealwright.artifact.claims import Claims
from sealwright.artifact.output import Replace
from sealwright.envelope.cms import Profile, Signer, read_envelope
from sealwright.errors import KeyRefused, OutputRefused, TimestampUnavailable, UsageError
from sealwright.formats.format import Slot
from sealwright.keys.key import KeyKind
from sealwright.log.journal import EntryType, read_journal, unfinished
from sealwright.pki.timestamp import LocalAuthority
from sealwright.signing.home import JOURNAL, Home, KeyPurpose, open_home
from sealwright.signing.init import InitOptions, init_home
from sealwright.signing.pipeline import Pipeline
from sealwright.signing.sign import NotSigned, Signed, SignOptions, sign_paths
from sealwright.trust.belief import load_trust
from sealwright.trust.verdict import Outcome
from sealwright.trust.verify import Request, verify_paths


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("homes") / "home"
    init_home(str(folder), InitOptions(datetime.now(UTC), "Test", "ACME"))
    return open_home(str(folder))


def signed(path: Path, home: Home, **options: object) -> Signed | NotSigned:
    (answer,) = sign_paths([str(path)], home, SignOptions(**options))  # type: ignore[arg-type]
    return answer


def outcome(path: Path, home: Home) -> Outcome:
    trust = load_trust(home.path("trust.toml"))
    (verdict,) = verify_paths([str(path)], trust, Request(clock=datetime.now(UTC)))
    return verdict.outcome


@pytest.mark.parametrize("kind", [KeyKind.P384, KeyKind.RSA3072, KeyKind.RSA3072_PSS, KeyKind.ED25519])
def test_a_home_of_any_kind_of_key_signs_what_its_trust_file_accepts(tmp_path: Path, kind: KeyKind) -> None:
    init_home(str(tmp_path / "home"), InitOptions(datetime.now(UTC), kind=kind))
    (tmp_path / "f").write_bytes(b"x")
    verdict_home = open_home(str(tmp_path / "home"))
    assert isinstance(signed(tmp_path / "f", verdict_home), Signed)
    assert outcome(tmp_path / "f", verdict_home) is Outcome.TRUSTED
    if kind is not KeyKind.ED25519:
        assert cms_verify(tmp_path / "f.p7s", tmp_path / "f", tmp_path / "home" / "ca.pem")[0]


def test_a_home_in_a_token_signs_for_production(tmp_path: Path) -> None:
    pin = softhsm()
    before = os.environ["SOFTHSM2_CONF"]
    os.environ["SOFTHSM2_CONF"] = str(make_token(tmp_path, "line-1"))
    try:
        init_home(str(tmp_path / "home"), InitOptions(datetime.now(UTC), "T", token=TOKEN, pin=pin))
        assert os.listdir(tmp_path / "home" / "keys") == []
        (tmp_path / "f").write_bytes(b"x")
        home = open_home(str(tmp_path / "home"))
        answer = signed(tmp_path / "f", home, pin=pin)
        assert isinstance(answer, Signed)
        assert answer.provenance == "hardware-claimed"
        assert 'environment = "production"' in (tmp_path / "home" / "trust.toml").read_text()
        assert outcome(tmp_path / "f", home) is Outcome.TRUSTED
    finally:
        os.environ["SOFTHSM2_CONF"] = before


def test_a_home_in_a_tpm_signs_for_production(tmp_path: Path) -> None:
    tpm()
    init_home(str(tmp_path / "home"), InitOptions(datetime.now(UTC), "T", token="tpm:"))
    (tmp_path / "f").write_bytes(b"x")
    home = open_home(str(tmp_path / "home"))
    assert isinstance(signed(tmp_path / "f", home), Signed)
    assert outcome(tmp_path / "f", home) is Outcome.TRUSTED


def test_a_home_can_be_moved_as_a_whole(tmp_path: Path) -> None:
    init_home(str(tmp_path / "home"), InitOptions(datetime.now(UTC)))
    (tmp_path / "home").rename(tmp_path / "moved")
    (tmp_path / "f").write_bytes(b"x")
    assert isinstance(signed(tmp_path / "f", open_home(str(tmp_path / "moved"))), Signed)
    with pytest.raises(UsageError, match="something is there already"):
        init_home(str(tmp_path / "moved"), InitOptions(datetime.now(UTC)))


def test_folders_and_claims_get_a_manifest_that_sha256sum_checks(tmp_path: Path, home: Home) -> None:
    tree = tmp_path / "tree"
    (tree / "a").mkdir(parents=True)
    (tree / "a" / "x").write_text("1")
    answer = signed(tree, home, claims=Claims("p", "1", 3))
    assert isinstance(answer, Signed)
    assert answer.outputs == (f"{tree}.manifest", f"{tree}.manifest.p7s")
    assert sums(Path(f"{tree}.manifest"), tree)[0]
    assert cms_verify(Path(f"{tree}.manifest.p7s"), Path(f"{tree}.manifest"), Path(home.path("ca.pem")))[0]
    assert outcome(tree, home) is Outcome.TRUSTED
    (tree / "a" / "x").write_text("2")
    assert not sums(Path(f"{tree}.manifest"), tree)[0]
    assert outcome(tree, home) is Outcome.REJECTED


def test_a_large_tree_is_signed_through_a_small_manifest(tmp_path: Path, home: Home) -> None:
    tree = tmp_path / "large"
    tree.mkdir()
    for number in range(9500):
        (tree / f"a-rather-long-name-to-fill-the-manifest-{number:06}").write_bytes(b"")
    answer = signed(tree, home, claims=Claims("p", "1", 3), timestamp="none")
    assert isinstance(answer, Signed)
    assert [Path(one).name for one in answer.outputs] == ["large.manifest.list", "large.manifest", "large.manifest.p7s"]
    assert outcome(tree, home) is Outcome.TRUSTED
    (tree / "extra").write_text("x")
    assert outcome(tree, home) is Outcome.REJECTED


def test_a_second_party_signs_the_manifest_only_if_it_is_true(tmp_path: Path, home: Home) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "x").write_text("1")
    assert isinstance(signed(tree, home, claims=Claims("p")), Signed)
    answer = signed(tree, home, slot=Slot.PLANT)
    assert isinstance(answer, Signed)
    assert answer.outputs == (f"{tree}.manifest.plant.p7s",)
    (tree / "x").write_text("2")
    refused = signed(tree, home, slot=Slot.PLANT, replace=Replace.YES)
    assert isinstance(refused, NotSigned)
    assert "not what its manifest lists" in refused.error.what


def test_existing_outputs_stay_unless_asked(tmp_path: Path, home: Home) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x")
    assert isinstance(signed(path, home), Signed)
    before = (tmp_path / "f.p7s").read_bytes()
    refused = signed(path, home)
    assert isinstance(refused, NotSigned)
    assert isinstance(refused.error, OutputRefused)
    assert (tmp_path / "f.p7s").read_bytes() == before
    assert isinstance(signed(path, home, replace=Replace.YES), Signed)
    assert (tmp_path / "f.p7s").read_bytes() != before


def test_one_bad_path_does_not_stop_the_others(tmp_path: Path, home: Home) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode())
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "m").write_bytes(b"# sealwright trust 1\n")
    names = ["a", "missing", "pipe", "m", "b", "x.p7s"]
    answers = list(sign_paths([str(tmp_path / name) for name in names], home, SignOptions()))
    assert [isinstance(answer, Signed) for answer in answers] == [True, False, False, False, True, False]
    assert sorted(os.listdir(tmp_path)) == ["a", "a.p7s", "b", "b.p7s", "m", "pipe"]


def test_outputs_go_elsewhere_and_never_over_each_other(tmp_path: Path, home: Home) -> None:
    for folder in ("one", "two", "out"):
        (tmp_path / folder).mkdir()
    (tmp_path / "one" / "f").write_bytes(b"1")
    (tmp_path / "two" / "f").write_bytes(b"2")
    paths = [str(tmp_path / "one" / "f"), str(tmp_path / "two" / "f")]
    answers = list(sign_paths(paths, home, SignOptions(out=str(tmp_path / "out"))))
    assert isinstance(answers[0], Signed)
    assert isinstance(answers[1], NotSigned)
    assert os.listdir(tmp_path / "out") == ["f.p7s"]


def test_every_signature_is_recorded_before_it_is_there(tmp_path: Path, home: Home) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"recorded")
    known = len(list(read_journal(home.path(JOURNAL))))
    assert isinstance(signed(path, home), Signed)
    new = list(read_journal(home.path(JOURNAL)))[known:]
    assert [entry.type for entry in new] == [EntryType.INTENT, EntryType.RESULT] * 2
    assert new[0].fields["kind"] == "file"
    (signer,) = read_envelope((tmp_path / "f.p7s").read_bytes(), Profile.OURS, "f").signers
    assert isinstance(signer, Signer)
    from sealwright.artifact.digest import Digest

    assert new[1].fields["signature"] == str(Digest.of(signer.signature))
    assert unfinished(home.path(JOURNAL)) == []


def test_a_kill_between_intent_and_result_leaves_the_intent_and_no_output(tmp_path: Path) -> None:
    init_home(str(tmp_path / "home"), InitOptions(datetime.now(UTC)))
    (tmp_path / "f").write_bytes(b"x")
    code = (
        "import os, signal, sys, sealwright\nfrom sealwright.keys.file import FileKey\n"
        "FileKey.sign = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "sealwright.sign(sys.argv[1] + '/f', sys.argv[1] + '/home')"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "f.p7s").exists()
    assert len(unfinished(str(tmp_path / "home" / JOURNAL))) == 1
    assert sealwright.sign(str(tmp_path / "f"), str(tmp_path / "home")).outputs


def test_a_key_is_used_for_its_one_purpose(tmp_path: Path, home: Home) -> None:
    (tmp_path / "f").write_bytes(b"x")
    for name in ("officer", "timestamp", "root"):
        with pytest.raises(UsageError, match="not for artifact"):
            signed(tmp_path / "f", home, key=name)
    with pytest.raises(UsageError, match="not enrolled"):
        signed(tmp_path / "f", home, key="file:/elsewhere/key.pem")
    with pytest.raises(KeyRefused, match="x509"):
        Pipeline(home, home.key("root", KeyPurpose.CERTIFICATES), None)


@pytest.mark.parametrize(
    "claims",
    [
        Claims(product=""),
        Claims(product="x" * 201),
        Claims(version="a\nb"),
        Claims(generation=-1),
        Claims(environment="a\u202eb"),
        Claims(hardware=("ok", " ")),
    ],
)
def test_claims_that_cannot_be_read_aloud_are_refused(tmp_path: Path, home: Home, claims: Claims) -> None:
    (tmp_path / "f").write_bytes(b"x")
    with pytest.raises(UsageError):
        signed(tmp_path / "f", home, claims=claims)


def authority(pki: Pki, answer: object = None) -> tuple[HTTPServer, str]:
    """A timestamp authority on a port of its own; answer: bytes it always gives instead."""
    tsa = pki.tsa(at=datetime.now(UTC))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = self.rfile.read(int(self.headers["Content-Length"]))
            local = LocalAuthority(tsa.certificate, tsa.chain, tsa.key, lambda: datetime.now(UTC))
            body = answer if isinstance(answer, bytes) else local.respond(request)
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_port}/"


def test_a_timestamp_is_fetched_checked_and_embedded(tmp_path: Path, home: Home) -> None:
    pki = Pki.make("TSA", at=datetime.now(UTC))
    (tmp_path / "f").write_bytes(b"x")
    server, url = authority(pki)
    try:
        answer = signed(tmp_path / "f", home, timestamp=url)
        assert isinstance(answer, Signed)
        assert answer.stamped is not None
    finally:
        server.shutdown()
        server.server_close()
    (signer,) = read_envelope((tmp_path / "f.p7s").read_bytes(), Profile.OURS, "f").signers
    assert isinstance(signer, Signer)
    for name, data in (("t", signer.tokens[0]), ("v", signer.signature), ("ca", pki.root.pem.encode())):
        (tmp_path / name).write_bytes(data)
    check = [
        "openssl",
        "ts",
        "-verify",
        "-token_in",
        "-in",
        tmp_path / "t",
        "-data",
        tmp_path / "v",
        "-CAfile",
        tmp_path / "ca",
    ]
    assert run(check)[0]


@pytest.mark.parametrize("answer", [b"", b"nonsense", bytes.fromhex("30053003020102"), b"x" * 100_000])
def test_an_authority_that_answers_nonsense_leaves_no_signature(tmp_path: Path, home: Home, answer: bytes) -> None:
    (tmp_path / "f").write_bytes(b"x")
    server, url = authority(Pki.make(), answer)
    try:
        with pytest.raises(sealwright_errors()):
            signed(tmp_path / "f", home, timestamp=url)
    finally:
        server.shutdown()
        server.server_close()
    assert os.listdir(tmp_path) == ["f"]


def sealwright_errors() -> type[Exception]:
    from sealwright.errors import SealwrightError

    return SealwrightError


def test_an_authority_that_is_not_there_leaves_no_signature(tmp_path: Path, home: Home) -> None:
    (tmp_path / "f").write_bytes(b"x")
    with pytest.raises(TimestampUnavailable):
        signed(tmp_path / "f", home, timestamp="http://127.0.0.1:9/")
    with pytest.raises(UsageError):
        signed(tmp_path / "f", home, timestamp="ftp://127.0.0.1/")
    assert os.listdir(tmp_path) == ["f"]


def test_verify_works_without_any_network_and_opens_no_socket(tmp_path: Path, home: Home) -> None:
    (tmp_path / "f").write_bytes(b"x")
    assert isinstance(signed(tmp_path / "f", home), Signed)
    verify = [sys.executable, "-m", "sealwright", "verify", str(tmp_path / "f"), "--trust", home.path("trust.toml")]
    assert run(verify)[0]
    code = (
        "import sys, sealwright\n"
        "def watch(event, arguments):\n"
        "    if event.startswith('socket.'): raise SystemExit(f'{event} {arguments}')\n"
        "sys.addaudithook(watch)\n"
        "assert sealwright.verify(sys.argv[1], sys.argv[2]).outcome == 'trusted'"
    )
    assert run([sys.executable, "-c", code, tmp_path / "f", home.path("trust.toml")])[0]
    assert run([*without_network(), *verify, *fingerprint(Path(home.path("trust.toml")))])[0]


def test_signing_and_verifying_hundreds_of_files_in_one_call(tmp_path: Path, home: Home) -> None:
    paths = []
    for number in range(300):
        path = tmp_path / f"{number}.bin"
        path.write_bytes(os.urandom(50))
        paths.append(str(path))
    assert all(isinstance(answer, Signed) for answer in sign_paths(paths, home, SignOptions(timestamp="none")))
    (tmp_path / "7.bin").write_bytes(b"altered")
    verify = [sys.executable, "-m", "sealwright", "verify", *paths, "--trust", home.path("trust.toml"), "--quiet"]
    accepted, words = run(verify)
    assert not accepted
    assert words.count("DO NOT INSTALL") == 1
    assert "7.bin" in words
