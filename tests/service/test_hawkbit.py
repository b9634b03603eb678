"""hawkBit's device interface over a repository, asked by devices over TLS: what each is offered, what it may read, and what it tells."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from kit.agents import PLACE, Maker
from kit.hawkbit import BOTH, HawkbitHouse, hawkbit_house, release_with, serving_hawkbit
from sealwright.release.channels import Named

Run = Callable[..., tuple[int, str, str]]
IMAGE = os.urandom(700_000)
RAUCB = os.urandom(10_000)


@dataclass
class World:
    """The service, with one release that everybody is offered."""

    house: HawkbitHouse
    release: Named

    def device(self, name: str, *words: str, **how: str) -> httpx.Client:
        """A new device with its client."""
        self.house.add(name, *words, **how)
        return self.house.client(name)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("hawkbit")
    maker = Maker.at(folder / "maker")
    files = {"system.swu": IMAGE, "images/system.raucb": RAUCB}
    release = maker.release("1.4.2", 7, files=files, description=BOTH)
    maker.offer(release)
    house = hawkbit_house(folder / "house", maker)
    house.add("plc-1")
    with serving_hawkbit(house):
        yield World(house, release)


def poll(client: httpx.Client) -> httpx.Response:
    """As every client writes it: without a slash at its end."""
    return client.get(str(client.base_url).removesuffix("/"))


def base(client: httpx.Client) -> dict[str, str]:
    """The links of a poll, by their names."""
    answer = poll(client)
    assert answer.status_code == 200, answer.text
    return {name: link["href"] for name, link in answer.json()["_links"].items()}


def feedback(execution: str, finished: str = "none", *details: str) -> dict[str, Any]:
    status = {"execution": execution, "result": {"finished": finished}, "details": list(details)}
    return {"id": "1", "time": "20261126T160000", "status": status}


def test_a_device_is_offered_what_its_channel_offers_and_gets_those_very_bytes(world: World) -> None:
    with world.house.client("plc-1") as client:
        answer = poll(client)
        assert answer.json()["config"]["polling"]["sleep"] == "00:00:01"
        link = base(client)["deploymentBase"]
        told = client.get(link).json()
        (chunk,) = told["deployment"]["chunks"]
        (artifact,) = chunk["artifacts"]
        assert (told["id"], chunk["part"], chunk["version"]) == ("1", "system", "1.4.2")
        assert (artifact["filename"], artifact["size"]) == ("system.swu", len(IMAGE))
        for name in ("sha1", "md5", "sha256"):
            assert artifact["hashes"][name] == hashlib.new(name, IMAGE).hexdigest()
        links = {name: one["href"] for name, one in artifact["_links"].items()}
        assert client.get(links["download"]).content == IMAGE
        assert client.get(links["md5sum"]).text == f"{artifact['hashes']['md5']}  system.swu\n"
        assert links.keys() == {"download", "md5sum"}  # nobody who has TLS is sent where a token would be read along
        part = client.get(links["download"], headers={"range": "bytes=500000-"})
        assert (part.status_code, part.content) == (206, IMAGE[500_000:])
        assert part.headers["content-range"] == f"bytes 500000-699999/{len(IMAGE)}"
        assert client.get(links["download"], headers={"range": "bytes=100-199"}).content == IMAGE[100:200]
        for known, sent in ((part.headers["etag"], IMAGE[100:]), ('"another"', IMAGE)):
            resumed = client.get(links["download"], headers={"range": "bytes=100-", "if-range": known})
            assert resumed.content == sent
        assert client.get(links["download"], headers={"range": "bytes=700000-"}).status_code == 416
        listing = client.get(links["download"].rpartition("/")[0]).json()
        assert [one["filename"] for one in listing] == ["system.swu"]


def test_a_device_without_tls_is_led_back_by_the_listener_that_it_asked(world: World) -> None:
    world.house.add("plc-plain")
    with world.house.client("plc-plain") as client:
        client.base_url = str(client.base_url).replace(world.house.https, world.house.http)
        link = base(client)["deploymentBase"]
        assert link.startswith(world.house.http)
        (chunk,) = client.get(link).json()["deployment"]["chunks"]
        (artifact,) = chunk["artifacts"]
        links = {name: one["href"] for name, one in artifact["_links"].items()}
        assert links.keys() == {"download-http", "md5sum-http"}
        assert client.get(links["download-http"]).content == IMAGE
        assert client.get(links["md5sum-http"]).text == f"{artifact['hashes']['md5']}  system.swu\n"


def test_a_device_with_rauc_is_offered_the_bundle_for_rauc_alone(world: World) -> None:
    with world.device("plc-rauc", updater="rauc") as client:
        (chunk,) = client.get(base(client)["deploymentBase"]).json()["deployment"]["chunks"]
        assert [one["filename"] for one in chunk["artifacts"]] == ["system.raucb"]
        assert client.get(chunk["artifacts"][0]["_links"]["download"]["href"]).content == RAUCB


def test_nobody_reads_by_another_device_s_token_and_all_refusals_are_one_answer(world: World) -> None:
    """A121."""
    with world.device("plc-own") as own:
        link = base(own)["deploymentBase"]
        assert own.get(link).status_code == 200
    answers = []
    token = world.house.tokens["plc-1"]
    for device, header in (
        ("plc-own", f"TargetToken {token}"),
        ("plc-own", f"GatewayToken {world.house.tokens['plc-own']}"),
        ("plc-own", "TargetToken x"),
        ("plc-nowhere", f"TargetToken {token}"),
        ("..%2fplc-own", f"TargetToken {token}"),
    ):
        with world.house.client(device) as client:
            answer = client.get(link.replace("plc-own", device), headers={"authorization": header})
            told = answer.json()
            told.pop("request_id")
            answers.append((answer.status_code, json.dumps(told)))
    with world.house.client("plc-own") as client:
        answer = client.get(link.replace("/acme/", "/other/"))
        answers.append((answer.status_code, answers[0][1]))
    assert {status for status, _ in answers} == {404}
    assert len({told for _, told in answers[:4]}) == 1
    log = world.house.log
    assert "plc-own: another token" in log
    assert "plc-nowhere: not entered" in log
    assert token not in log


def test_a_device_is_known_by_the_key_of_its_certificate(world: World) -> None:
    house = world.house
    house.add("plc-cert", certificate=str(house.folder / "plc-cert.pem"))
    address = f"{house.https}/acme/controller/v1/plc-cert"

    def status(name: str, *more: str) -> str:
        who = ["--cert", house.folder / f"{name}.pem", "--key", house.folder / f"{name}.key"]
        command = ["curl", "-s", "--cacert", house.folder / "servers.pem", *who, *more, "-o", "/dev/null"]
        done = subprocess.run([*command, "-w", "%{http_code}", address], capture_output=True, text=True, check=True)
        return done.stdout

    assert status("plc-cert") == "200"
    assert status("plc-other") == "404"
    assert status("plc-cert", "-H", f"Authorization: TargetToken {house.tokens['plc-1']}") == "404"


def test_what_a_device_tells_is_shown_as_told_and_a_closed_action_takes_no_further_word(world: World) -> None:
    with world.device("plc-2") as client:
        links = base(client)
        assert (
            client.put(links["configData"], json={"mode": "merge", "data": {"hw": "C", "os": "5"}}).status_code == 200
        )
        assert client.put(links["configData"], json={"mode": "remove", "data": {"os": ""}}).status_code == 200
        assert "configData" not in base(client)
        there = f"{links['deploymentBase']}/feedback"
        assert client.post(there, json=feedback("proceeding", "none", "writing\x1b[31m")).status_code == 200
        assert base(client)["deploymentBase"] == links["deploymentBase"]
        assert client.post(there, json=feedback("closed", "success", "All Chunks Installed.")).status_code == 200
        assert client.post(there, json=feedback("closed", "failure")).status_code == 410
        assert base(client) == {}
        assert client.get(links["deploymentBase"]).status_code == 404
    told = world.house.told("plc-2")
    assert (told["offered"], told["generation"], told["told"]) == ("1.4.2", "7", "success")
    assert json.loads(told["attributes"]) == {"hw": "C"}
    shown = world.house.sealwright("fleet", "updater", "list")
    assert shown.startswith("What these devices told; none of it is signed\n")
    assert "success: 1.4.2 (generation 7)" in shown


def test_what_failed_is_offered_again_only_when_an_operator_says_so(world: World) -> None:
    with world.device("plc-3") as client:
        there = base(client)["deploymentBase"]
        assert client.post(f"{there}/feedback", json=feedback("closed", "failure", "no\x1b[2Jroom")).status_code == 200
        assert "deploymentBase" not in base(client)
        told = world.house.told("plc-3")
        assert (told["told"], told["details"]) == ("failure", ["no\\x1b[2Jroom"])
        world.house.sealwright("fleet", "updater", "again", "plc-3")
        assert base(client)["deploymentBase"].endswith("/deploymentBase/2")
    world.house.sealwright("fleet", "updater", "remove", "plc-3")
    with world.house.client("plc-3") as client:
        assert poll(client).status_code == 404


def test_nothing_at_or_below_the_generation_of_a_device_is_offered(world: World) -> None:
    with world.device("plc-6", "--generation", "6") as client:
        assert "deploymentBase" in base(client)
    with world.device("plc-7", "--generation", "7") as client:
        assert "deploymentBase" not in base(client)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"status": {}}',
        b'{"status": {"execution": "done", "result": {"finished": "none"}}}',
    ],
)
def test_a_word_that_is_none_is_a_problem_and_changes_nothing(world: World, body: bytes) -> None:
    house = world.house
    if "plc-words" not in house.tokens:
        house.add("plc-words")
    with house.client("plc-words") as client:
        there = base(client)["deploymentBase"]
        answer = client.post(f"{there}/feedback", content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
        large = client.put("configData", content=b"x" * 70_000, headers={"content-type": "application/json"})
        assert large.status_code == 413
        assert client.get(f"deploymentBase/{2**70}").status_code == 404
    assert house.told("plc-words")["told"] == "offered"


def test_an_altered_file_a_withdrawn_release_and_an_older_repository_are_offered_to_nobody(tmp_path: Path) -> None:
    """A144, A150: and what is offered to a part of the devices is not offered to the others."""
    maker = Maker.at(tmp_path / "maker")
    first = release_with(maker, "1.0.0", 1, 40 * IMAGE)
    maker.offer(first)
    house = hawkbit_house(tmp_path / "house", maker)
    house.add("plc-1")
    with serving_hawkbit(house), house.client("plc-1") as client:
        link = base(client)["deploymentBase"]
        (chunk,) = client.get(link).json()["deployment"]["chunks"]
        download = chunk["artifacts"][0]["_links"]["download"]["href"]
        (file,) = maker.repository.folder.glob(f"targets/{PLACE}/1.0.0/*.system.swu")
        good = file.read_bytes()
        assert client.get(download).content == good
        # the same length, name and time
        before = file.stat()
        file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert client.get(download).status_code == 404
        assert "it is not the file that the metadata names" in house.log
        file.write_bytes(good)
        with client.stream("GET", download) as answer, pytest.raises(httpx.RemoteProtocolError):
            for number, _ in enumerate(answer.iter_raw()):
                if number == 0:
                    file.write_bytes(bytes(len(good)))
        house.says("download-cut")
        file.write_bytes(good)
        assert client.get(download).content == good
        # withdrawn: what has begun is to be cancelled, and nobody else gets it
        house.published()
        metadata = {one.name: one.read_bytes() for one in (maker.repository.folder / "metadata").iterdir()}
        maker.withdraw(first)
        house.follow()
        assert client.get(download).status_code == 404
        cancel = base(client)["cancelAction"]
        assert client.get(cancel).json() == {"id": "1", "cancelAction": {"stopId": "1"}}
        assert client.post(f"{cancel}/feedback", json=feedback("closed", "success")).status_code == 200
        assert base(client).keys() == {"configData"}
        assert house.told("plc-1")["told"] == "canceled"
        # the copy from before is signed by the right keys, and older; with our own copies of metadata, and without
        for name, data in metadata.items():
            (maker.repository.folder / "metadata" / name).write_bytes(data)
        house.says("New timestamp version 1 must be >= 2")
        shutil.rmtree(house.folder / "hawkbit")
        house.says("was seen before")
        assert base(client).keys() == {"configData"}
        assert client.get(f"{house.https}/health").json()["offering"] is False
        # who had begun is told to come again, which is no failure of the release
        for asked in (link, download, cancel):
            later = client.get(asked)
            assert (later.status_code, later.headers["retry-after"]) == (503, "10")
        # a newer release, for a part of the devices
        house.published()
        maker.repository.snapshot.version = maker.repository.timestamp.version = 5
        maker.repository.lines.version = maker.repository.targets.version = 5
        maker.offer(release_with(maker, "1.1.0", 2, IMAGE[::-1]), percent=1)
        house.follow()
        offered = 0
        for number in range(2, 8):
            house.add(f"plc-{number}")
            with house.client(f"plc-{number}") as other:
                offered += "deploymentBase" in base(other)
        assert offered < 6


def test_an_empty_file_has_no_range_but_its_whole(tmp_path: Path) -> None:
    maker = Maker.at(tmp_path / "maker")
    maker.offer(release_with(maker, "1.0.0", 1, b""))
    house = hawkbit_house(tmp_path / "house", maker)
    house.add("plc-1")
    with serving_hawkbit(house), house.client("plc-1") as client:
        (chunk,) = client.get(base(client)["deploymentBase"]).json()["deployment"]["chunks"]
        download = chunk["artifacts"][0]["_links"]["download"]["href"]
        for asked, status in (("bytes=0-", 200), ("bytes=5-", 416)):
            answer = client.get(download, headers={"range": asked})
            assert (answer.status_code, answer.headers["content-length"] == "0") == (status, status == 200)


def test_the_configuration_says_what_is_wrong_with_it(tmp_path: Path, run: Run) -> None:
    maker = Maker.at(tmp_path / "maker")
    maker.offer(release_with(maker, "1.0.0", 1, IMAGE))
    house = hawkbit_house(tmp_path / "house", maker)
    good = house.configuration.read_text()
    code, shown, _ = run("serve", "hawkbit", house.configuration, "--check")
    assert code == 0
    assert "0 releases of 0 products" in shown
    for before, after, why in (
        ('address = "https', 'address = "ftp', "https://HOST"),
        ('tenant = "acme"', 'tenant = "a/b"', "1 to 64 letters"),
        ("poll_seconds = 1", "poll_seconds = 86400", "at most 86399"),
        (str(maker.repository.root_digest), "sha256:" + "0" * 64, "its first root is"),
    ):
        house.configuration.write_text(good.replace(before, after))
        code, _, said = run("serve", "hawkbit", house.configuration, "--check")
        assert (code, why in said) == (1, True), said
