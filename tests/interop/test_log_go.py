"""An export, and a service over HTTP, read by others: Go's `golang.org/x/mod/sumdb`, `tlog` for tiles and proofs and `note` for signatures.

Debian has it as golang-golang-x-mod-dev; its tiles have another path (with the height in it), so the program maps paths and nothing else.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from kit.asgi import serving
from kit.service import public_log, world
from kit.writtenlogs import SoftSigner, signature_entry, sqlite_url, written
from sealwright.log.export import export_log

SIGNER = SoftSigner.make()
ENTRIES = [signature_entry(at).encoded() for at in range(1000)]
GOPATH = Path("/usr/share/gocode")
GO = shutil.which("go")
CACHE = Path(__file__).parents[2] / ".cache" / "go"  # its own library, compiled once for all processes
PROGRAM = r"""
package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type tiles struct{ folder string }

func read(place, path string) ([]byte, error) {
	if !strings.HasPrefix(place, "http") {
		return os.ReadFile(filepath.Join(place, path))
	}
	host, rest, _ := strings.Cut(strings.TrimPrefix(place, "http://"), "/")
	line, err := net.Dial("tcp", host)
	if err != nil {
		return nil, err
	}
	defer line.Close()
	fmt.Fprintf(line, "GET /%s/%s HTTP/1.0\r\nHost: %s\r\n\r\n", rest, path, host)
	got, err := io.ReadAll(line)
	if err != nil {
		return nil, err
	}
	head, body, _ := bytes.Cut(got, []byte("\r\n\r\n"))
	if status, _, _ := strings.Cut(string(head), "\r\n"); !strings.HasSuffix(status, " 200 OK") {
		return nil, fmt.Errorf("%s: %s", path, status)
	}
	return body, nil
}

func (t tiles) Height() int { return 8 }
func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}
func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, one := range wanted {
		data, err := read(t.folder, strings.Replace(one.Path(), "tile/8/", "tile/", 1))
		if err != nil {
			return nil, err
		}
		found = append(found, data)
	}
	return found, nil
}

func must(err error) {
	if err != nil {
		fmt.Println("refused:", err)
		os.Exit(1)
	}
}

func main() {
	folder, key := os.Args[1], os.Args[2]
	signed, err := read(folder, "checkpoint")
	must(err)
	verifier, err := note.NewVerifier(key)
	must(err)
	opened, err := note.Open(signed, note.VerifierList(verifier))
	must(err)
	lines := strings.Split(opened.Text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	must(err)
	raw, err := base64.StdEncoding.DecodeString(lines[2])
	must(err)
	var root tlog.Hash
	copy(root[:], raw)
	reader := tlog.TileHashReader(tlog.Tree{N: size, Hash: root}, tiles{folder})
	for bundle := int64(0); bundle*256 < size; bundle++ {
		path := fmt.Sprintf("tile/entries/%03d", bundle)
		if size-bundle*256 < 256 {
			path += fmt.Sprintf(".p/%d", size-bundle*256)
		}
		data, err := read(folder, path)
		must(err)
		for at := bundle * 256; len(data) > 0; at++ {
			n := int(data[0])<<8 | int(data[1])
			leaf := tlog.RecordHash(data[2 : 2+n])
			proof, err := tlog.ProveRecord(size, at, reader)
			must(err)
			must(tlog.CheckRecord(proof, size, root, at, leaf))
			data = data[2+n:]
		}
	}
	for old := int64(1); old <= size; old += 37 {
		proof, err := tlog.ProveTree(size, old, reader)
		must(err)
		then, err := tlog.TreeHash(old, reader)
		must(err)
		must(tlog.CheckTree(proof, size, root, old, then))
	}
	fmt.Println("whole:", size)
}
"""


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, compiled."""
    assert GO is not None, "golang-go is missing: run scripts/install"
    assert (GOPATH / "src/golang.org/x/mod/sumdb/tlog").is_dir(), (
        "golang-golang-x-mod-dev is missing: run scripts/install"
    )
    folder = tmp_path_factory.mktemp("go")
    (folder / "main.go").write_text(PROGRAM)
    env = os.environ | {"GO111MODULE": "off", "GOPATH": str(GOPATH), "GOCACHE": str(CACHE), "GOFLAGS": ""}
    subprocess.run([GO, "build", "-o", "verifier", "main.go"], cwd=folder, env=env, check=True, timeout=200)
    return folder / "verifier"


def said(verifier: Path, export: Path | str, key: str) -> tuple[int, str]:
    done = subprocess.run([verifier, export, key], capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout


def test_go_finds_every_entry_of_an_export_and_no_changed_one(verifier: Path, tmp_path: Path) -> None:
    export = tmp_path / "export"
    with written(sqlite_url(tmp_path), SIGNER, ENTRIES) as log:
        export_log(log, str(export))
    key = str(SIGNER.key)
    assert said(verifier, export, key) == (0, "whole: 1000\n")
    assert said(verifier, export, str(SoftSigner.make().key))[0] == 1
    for path in ("tile/entries/001", "tile/0/000", "tile/1/000.p/3", "tile/0/003.p/232"):
        file = export / path
        good = file.read_bytes()
        file.write_bytes(bytes((*good[:40], good[40] ^ 1, *good[41:])))
        assert said(verifier, export, key)[0] == 1, path
        file.write_bytes(good)
    checkpoint = export / "checkpoint"
    checkpoint.write_text(checkpoint.read_text().replace("\n1000\n", "\n999\n"))
    assert said(verifier, export, key)[0] == 1


def test_go_finds_every_entry_of_a_service_over_http(verifier: Path, tmp_path: Path) -> None:
    service = world(tmp_path)
    service.writer.append(ENTRIES).result()
    with serving(public_log(service)) as port:
        url = f"http://127.0.0.1:{port}/log"
        assert said(verifier, url, str(service.writer.key)) == (0, "whole: 1000\n")
        assert said(verifier, url, str(SIGNER.key))[0] == 1
    service.close()
