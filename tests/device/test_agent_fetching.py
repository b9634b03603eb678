"""The fetch process: by nginx, from folders and from servers that stall, lie or never end; python-tuf's bare client as its peer."""

from __future__ import annotations

import hashlib
import http.server
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tuf.ngclient import Updater

from kit.agents import PLACE, Maker, Site, site
from kit.pki import Pki
from kit.sticks import ext4_stick, lying_stick
from kit.tls import pem_files, server_certificate
from sealwright.artifact.digest import Digest
from sealwright.device import fetcher
from sealwright.device.agentconfig import Limits
from sealwright.device.fetch import fetch
from sealwright.device.fetcher import Folder, Server, paced
from sealwright.device.messages import Failed, Seen, Staged, Wanted, message_bytes, parse_message
from sealwright.device.round import Doing
from sealwright.errors import OutputRefused, RepositoryRefused, RepositoryUnavailable
from sealwright.release.channels import Named, Withdrawn
from sealwright.trust.belief import load_trust

LARGE = os.urandom(3_000_000)


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker.at(tmp_path / "maker")


@contextmanager
def nginx(folder: Path, root: Path, secured: tuple[str, str] | None = None) -> Iterator[str]:
    """A dumb server of a folder; its address. secured: certificate and key, where it speaks TLS."""
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tls = f" ssl; ssl_certificate {secured[0]}; ssl_certificate_key {secured[1]}" if secured else ""
    (folder / "nginx.conf").write_text(
        f"pid {folder}/pid; error_log {folder}/error; worker_processes 1; daemon off; user root;\n"
        f"events {{}} http {{ access_log {folder}/access; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;"
        f"fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;"
        f"server {{ listen 127.0.0.1:{port}{tls}; root {root}; }} }}\n"
    )
    served = subprocess.Popen(["/usr/sbin/nginx", "-c", folder / "nginx.conf", "-p", folder], stderr=subprocess.DEVNULL)
    try:
        while True:
            with socket.socket() as line:
                if line.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert served.poll() is None
        yield f"http{'s' if secured else ''}://127.0.0.1:{port}"
    finally:
        served.terminate()
        served.wait(timeout=10)


Answer = Callable[[http.server.BaseHTTPRequestHandler], bool]


@contextmanager
def odd_server(root: Path, answer: Answer) -> Iterator[str]:
    """A server of a folder that answers by itself where `answer` says False."""

    class Odd(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(root))  # type: ignore[arg-type]

        def do_GET(self) -> None:
            if not answer(self):
                super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Odd)
    server.daemon_threads = True
    running = threading.Thread(target=server.serve_forever)
    running.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        running.join()


def wanted(device: Site, **limits: int) -> Wanted:
    trust = load_trust(device.config.trust).trust
    assert trust.tuf_root is not None
    config = replace(device.config, limits=replace(device.config.limits, **limits))
    return Wanted(config, trust.tuf_root, datetime.now(UTC), frozenset())


def folder_source(path: Path) -> Folder:
    return Folder(str(path), os.open(path, os.O_RDONLY | os.O_DIRECTORY))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the fetch process would stand."""
    (tmp_path / "place").mkdir()
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


def test_nginx_serves_what_the_agent_and_python_tufs_bare_client_take_alike(maker: Maker, tmp_path: Path) -> None:
    maker.offer(maker.release("1.0.0", 1, files={"application/large file+.bin": LARGE}))
    with nginx(tmp_path / "nginx", maker.repository.folder) as address:
        device = site(tmp_path / "device", maker, repositories=f'["{address}"]')
        assert device.install() == "installed"
        assert (device.current / "application/large file+.bin").read_bytes() == LARGE
        (tmp_path / "bare").mkdir()
        bare = Updater(
            str(tmp_path / "bare"),
            f"{address}/metadata",
            str(tmp_path),
            f"{address}/targets",
            bootstrap=maker.repository.first_root,
        )
        target = bare.get_targetinfo(f"{PLACE}/1.0.0/application/large file+.bin")
        assert target is not None
        assert Path(bare.download_target(target)).read_bytes() == LARGE


def test_a_server_by_tls_is_asked_only_where_its_authority_is_named(
    maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker.offer(maker.release("1.0.0", 1))
    authority = Pki.make("TLS")
    (tmp_path / "ca.pem").write_text(authority.root.pem)
    secured = pem_files(server_certificate(authority), tmp_path, "server")
    with nginx(tmp_path / "nginx", maker.repository.folder, secured) as address:
        by = {"repositories": f'["{address}"]'}
        assert site(tmp_path / "device", maker, **by, ca=f'"{tmp_path}/ca.pem"').install() == "installed"
        monkeypatch.setenv("SSL_CERT_FILE", f"{tmp_path}/ca.pem")  # the environment names no authority (A108)
        with pytest.raises(RepositoryUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            site(tmp_path / "other", maker, **by).round()


def test_the_fetch_process_has_no_rights(maker: Maker, tmp_path: Path) -> None:
    """Who asked is what nginx cannot see, so the server looks at the process that is connected to it."""
    seen: list[tuple[int, str]] = []
    left: list[str] = []

    def look(request: http.server.BaseHTTPRequestHandler) -> bool:
        port = request.client_address[1]
        said = subprocess.run(["ss", "-Htnpo", f"sport = :{port}"], capture_output=True, text=True, check=True).stdout
        process = int(said.partition("pid=")[2].partition(",")[0])
        status = Path(f"/proc/{process}/status").read_text()
        seen.append((int(status.partition("Uid:")[2].split()[1]), status.partition("NoNewPrivs:")[2].split()[0]))
        assert os.getsid(process) == process
        files = [os.readlink(one) for one in Path(f"/proc/{process}/fd").iterdir()]
        its_own = ("/dev/null", "socket:", f"{tmp_path}/device/state/fetch/", f"{tempfile.gettempdir()}/#")
        left.extend(one for one in files if not one.startswith(its_own))
        return False

    maker.offer(maker.release("1.0.0", 1))
    with odd_server(maker.repository.folder, look) as address:
        device = site(tmp_path / "device", maker, repositories=f'["{address}"]')
        assert device.round(Doing.CHECK).outcome == "new"
    assert seen
    assert set(seen) == {(65534, "1")}
    assert left == []


def test_a_download_goes_on_where_it_was_cut_off(maker: Maker, tmp_path: Path, place: Path) -> None:
    maker.offer(maker.release("1.0.0", 1, files={"application/large": LARGE}))
    device = site(tmp_path / "device", maker)
    cut, ranges = [True], []

    def once(request: http.server.BaseHTTPRequestHandler) -> bool:
        if "large" not in request.path:
            return False
        asked = request.headers.get("Range", "")
        ranges.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-") or 0)
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(LARGE) - start))
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(LARGE) - 1}/{len(LARGE)}")
        request.end_headers()
        request.wfile.write(LARGE[start : start + 1_000_000] if cut else LARGE[start:])
        request.close_connection = True
        return True

    with odd_server(maker.repository.folder, once) as address:
        source = Server(address, "", device.config.limits)
        with pytest.raises(RepositoryUnavailable):
            fetch(source, wanted(device), lambda _: True)
        cut.clear()
        came = fetch(source, wanted(device), lambda _: True)
    assert ranges[0] == ""
    assert ranges[1].startswith("bytes=")
    assert came < len(LARGE)


def test_a_server_without_ranges_begins_again_and_a_damaged_part_is_thrown_away(
    maker: Maker, tmp_path: Path, place: Path
) -> None:
    offered = maker.release("1.0.0", 1, files={"application/large": LARGE})
    maker.offer(offered)
    device = site(tmp_path / "device", maker)

    def plain(request: http.server.BaseHTTPRequestHandler) -> bool:
        del request.headers["Range"]
        return False

    part = place / "staged" / offered.manifest.value.hex() / f"{hashlib.sha256(LARGE).hexdigest()}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1000)
    with odd_server(maker.repository.folder, plain) as address:
        assert fetch(Server(address, "", device.config.limits), wanted(device), lambda _: True) > len(LARGE)
    part.with_suffix("").unlink()
    part.write_bytes(b"x" * 1000)
    assert fetch(folder_source(maker.repository.folder), wanted(device), lambda _: True) > len(LARGE)
    assert part.with_suffix("").read_bytes() == LARGE


def test_a_server_that_stalls_is_given_up(maker: Maker, tmp_path: Path, place: Path) -> None:
    maker.offer(maker.release("1.0.0", 1))
    device = site(tmp_path / "device", maker)
    done = threading.Event()

    def stall(request: http.server.BaseHTTPRequestHandler) -> bool:
        if "timestamp" not in request.path:
            return False
        done.wait(20)
        return True

    with odd_server(maker.repository.folder, stall) as address:
        limits = replace(device.config.limits, timeout_s=1)
        with pytest.raises(RepositoryUnavailable):
            fetch(Server(address, "", limits), wanted(device), lambda _: True)
        done.set()
    assert fetch(folder_source(maker.repository.folder), wanted(device), lambda _: True) > 0


def test_a_server_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(fetcher.time, "monotonic", lambda: now[0])

    def blocks(size: int) -> Iterator[bytes]:
        for _ in range(100):
            now[0] += 1.0
            yield bytes(size)

    assert sum(map(len, paced(blocks(2048), 0))) == 204_800
    with pytest.raises(fetcher.SlowRetrievalError):
        list(paced(blocks(10), 0))


def test_the_bandwidth_limit_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(fetcher.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(fetcher.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    list(paced(iter([bytes(1000)] * 10), 100))
    assert now[0] == pytest.approx(100)


@pytest.mark.parametrize("what", ["timestamp", "channels", "application"])
def test_a_server_that_sends_without_end_gets_nowhere(maker: Maker, tmp_path: Path, place: Path, what: str) -> None:
    maker.offer(maker.release("1.0.0", 1, files={"application/application": b"x" * 1000}))
    device = site(tmp_path / "device", maker)
    sent = [0]

    def endless(request: http.server.BaseHTTPRequestHandler) -> bool:
        if what not in request.path.rpartition("/")[2]:
            return False
        request.send_response(200)
        request.send_header("Content-Length", str(10 << 30))
        request.end_headers()
        block = bytes(1 << 20)
        try:
            for _ in range(10 << 10):
                sent[0] += request.wfile.write(block)
        except OSError:
            pass
        return True

    cut_off = pytest.raises((RepositoryRefused, RepositoryUnavailable))
    with odd_server(maker.repository.folder, endless) as address, cut_off:
        fetch(Server(address, "", device.config.limits), wanted(device), lambda _: True)
    assert sent[0] < 64 << 20
    assert sum(path.stat().st_size for path in place.rglob("*") if path.is_file()) < 1 << 20
    assert fetch(folder_source(maker.repository.folder), wanted(device), lambda _: True) > 0


def test_a_server_is_not_followed_to_another_address(maker: Maker, tmp_path: Path, place: Path) -> None:
    maker.offer(maker.release("1.0.0", 1))
    device = site(tmp_path / "device", maker)

    def elsewhere(request: http.server.BaseHTTPRequestHandler) -> bool:
        request.send_response(302)
        request.send_header("Location", "http://127.0.0.1:1/")
        request.end_headers()
        return True

    with odd_server(maker.repository.folder, elsewhere) as address, pytest.raises(RepositoryUnavailable, match="302"):
        fetch(Server(address, "", device.config.limits), wanted(device), lambda _: True)


def test_a_release_that_is_larger_than_the_device_takes_is_refused(maker: Maker, tmp_path: Path, place: Path) -> None:
    maker.offer(maker.release("1.0.0", 1, files={"application/large": LARGE}))
    device = site(tmp_path / "device", maker)
    with pytest.raises(RepositoryRefused, match="a release of 3,000"):
        fetch(folder_source(maker.repository.folder), wanted(device, release_bytes=1_000_000), lambda _: True)
    assert fetch(folder_source(maker.repository.folder), wanted(device), lambda _: True) > 0


@pytest.mark.parametrize("how", ["gone", "gone again", "dies", "lies"])
def test_a_stick_that_is_pulled_out_or_lies_leaves_nothing_that_counts(
    maker: Maker, tmp_path: Path, place: Path, how: str
) -> None:
    maker.offer(maker.release("1.0.0", 1, files={"application/target.bin": LARGE}))
    device = site(tmp_path / "device", maker)
    with lying_stick(maker.repository.folder, tmp_path / "stick", how) as stick:
        source = folder_source(stick)
        try:
            fetch(source, wanted(device), lambda _: True)
        except (RepositoryRefused, RepositoryUnavailable):
            assert how != "lies"
        finally:
            os.close(source.descriptor)
    whole = [path for path in place.rglob("*") if path.is_file() and path.read_bytes() == LARGE]
    assert all(path.suffix != ".part" for path in whole) or how != "lies"
    with lying_stick(maker.repository.folder, tmp_path / "again", "honest") as stick:
        source = folder_source(stick)
        assert fetch(source, wanted(device), lambda _: True) >= 0
        os.close(source.descriptor)


def test_a_full_disk_installs_nothing_and_says_so(maker: Maker, tmp_path: Path) -> None:
    maker.offer(maker.release("1.0.0", 1, files={"application/large": os.urandom(30 << 20)}))
    device = site(tmp_path / "device", maker)
    (device.state / "fetch").mkdir()
    with ext4_stick(tmp_path / "small.img", tmp_path / "mount", megabytes=48) as small:
        (small / "state").mkdir(mode=0o755)
        os.rename(device.path, tmp_path / "agent.toml")
        text = (tmp_path / "agent.toml").read_text().replace(str(device.state), f"{small}/state")
        device.path.write_text(text)
        with pytest.raises(RepositoryUnavailable, match="there is no room"):
            device.round()
        assert not (small / "state/current").exists()
    os.rename(tmp_path / "agent.toml", device.path)
    os.rmdir(device.state / "fetch")
    assert device.install() == "installed"


def test_a_disk_that_fills_up_while_the_agent_copies_leaves_the_former_release(maker: Maker, tmp_path: Path) -> None:
    maker.offer(maker.release("1.0.0", 1))
    device = site(tmp_path / "device", maker)
    with ext4_stick(tmp_path / "small.img", tmp_path / "mount", megabytes=96) as small:
        (small / "state").mkdir(mode=0o755)
        device.path.write_text(device.path.read_text().replace(str(device.state), f"{small}/state"))
        assert device.install() == "installed"
        maker.offer(maker.release("1.1.0", 2, files={"application/large": os.urandom(16 << 20)}))
        assert device.round(Doing.DRY_RUN).outcome == "would-install"
        free = os.statvfs(small)
        (small / "full").write_bytes(bytes(free.f_bavail * free.f_frsize - (8 << 20)))
        with pytest.raises(OutputRefused, match="the disk is full"):
            device.round()
        assert (small / "state/current").readlink().name == "1.0.0"
        assert (small / "state/current/application/start").read_bytes() == b"1.0.0" * 100
        (small / "full").unlink()
        assert device.install() == "installed"
        assert (small / "state/current").readlink().name == "1.1.0"


def test_a_fetch_process_that_dies_installs_nothing(
    maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker.offer(maker.release("1.0.0", 1))
    device = site(tmp_path / "device", maker)
    with monkeypatch.context() as patch:
        patch.setattr("sealwright.device.fetch.fetch", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        with pytest.raises(RepositoryUnavailable, match="it ended early"):
            device.round()
    assert device.install() == "installed"


@pytest.mark.parametrize("phase", ["looking", "fetching"])
def test_a_fetch_process_that_says_nothing_is_ended_and_the_next_round_goes_on(
    maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    maker.offer(maker.release("1.0.0", 1))
    device = site(tmp_path / "device", maker, extra="[limits]\nfetch_s = 1\n")
    where = "sealwright.device.fetch.fetch" if phase == "looking" else "sealwright.device.fetchfiles.stage"
    with monkeypatch.context() as patch:
        patch.setattr(where, lambda *_: signal.pause())
        with pytest.raises(RepositoryUnavailable, match="not done within 1 s"):
            device.round()
    patient = device.path.read_text().replace("fetch_s = 1", "fetch_s = 600")
    device.path.write_text(patient)
    assert device.install() == "installed"


def test_the_next_repository_is_asked_where_the_first_is_not_there(maker: Maker, tmp_path: Path) -> None:
    maker.offer(maker.release("1.0.0", 1))
    there = maker.repository.folder
    device = site(tmp_path / "device", maker, repositories=f'["http://127.0.0.1:1", "/nowhere/at/all", "{there}"]')
    assert device.install() == "installed"
    alone = site(tmp_path / "alone", maker, repositories='["http://127.0.0.1:1", "/nowhere/at/all"]')
    with pytest.raises(RepositoryUnavailable):
        alone.round()


def test_an_older_fetch_folder_is_made_anew_without_harm(maker: Maker, tmp_path: Path) -> None:
    maker.offer(maker.release("1.0.0", 1))
    device = site(tmp_path / "device", maker)
    assert device.install() == "installed"
    shutil.rmtree(device.state / "fetch")
    maker.offer(maker.release("1.1.0", 2))
    assert device.install() == "installed"


NAMED = Named("1.0.0", 1, Digest.of(b""))
MESSAGES = (
    Seen("https://x", NAMED, (Withdrawn(NAMED, "CVE-1"),), 3),
    Seen("x", None, (), 1),
    Staged(4711),
    Failed("SW-REPOSITORY-REFUSED", "a", "b", "c"),
)


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_means_what_it_said(message: Seen | Staged | Failed) -> None:
    assert parse_message(message_bytes(message)) == message


@pytest.mark.parametrize("message", MESSAGES)
def test_whatever_a_fetch_process_that_was_taken_over_says_is_a_message_or_refused(
    message: Seen | Staged | Failed,
) -> None:
    data = message_bytes(message)
    for at in range(len(data)):
        for changed in (
            data[:at] + b"\x00" + data[at + 1 :],
            data[:at],
            data[:at] + b"9" + data[at:],
            data[:at] + b'"' + data[at:],
        ):
            try:
                assert isinstance(parse_message(changed), Seen | Staged | Failed)
            except RepositoryRefused as cause:
                assert cause.code == "SW-REPOSITORY-REFUSED"  # noqa: PT017
    for odd in (b"", b"{}", b"[]", b'{"kind":"staged","size":1.5}', b'{"kind":"staged","size":"1"}', b"{" * 70_000):
        with pytest.raises(RepositoryRefused):
            parse_message(odd)


def test_limits_have_values(maker: Maker, tmp_path: Path) -> None:
    extra = "[limits]\nrelease_bytes = 1000\nrate_bytes = 2000\ntimeout_s = 7\nfetch_s = 60\n"
    assert site(tmp_path / "device", maker, extra=extra).config.limits == Limits(1000, 2000, 7, 60)
