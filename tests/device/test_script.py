"""Which interpreter a script is for, and every text that is not what it looks like."""

from __future__ import annotations

import pytest

from sealwright.device.script import read_script


def kind(name: str, data: bytes) -> str:
    script, findings = read_script(f"/srv/{name}", data)
    assert findings == ()
    assert script is not None
    return script.kind


def refused(name: str, data: bytes) -> tuple[str, str]:
    _, findings = read_script(f"/srv/{name}", data)
    assert findings, name
    return findings[0].code, findings[0].sentence


@pytest.mark.parametrize(
    ("name", "data", "wanted"),
    [
        ("a.sh", b"echo hi\n", "sh"),
        ("a.sh", b"#!/bin/sh\necho hi\n", "sh"),
        ("a.sh", b"#!/bin/bash\necho hi\n", "bash"),
        ("a.bash", b"echo hi\n", "bash"),
        ("a", b"#!/usr/bin/env python3\nprint()\n", "python"),
        ("a.py", b"#!/usr/bin/python3.11\r\nprint()\r\n", "python"),
        ("A.PY", b"print('\xc3\xa4')\n", "python"),
        ("a.py", b"# -*- coding: utf-8 -*-\nprint()\n", "python"),
        ("a.ps1", b"\xef\xbb\xbfGet-Date\r\n", "powershell"),
        ("a.ps1", "Get-Date\r\n".encode("utf-16"), "powershell"),
        ("a.js", b"console.log(1)\n", "node"),
        ("site.yml", b"- hosts: all\n", "ansible"),
        ("q.sql", b"select 1;\n", "sql"),
        ("empty.sh", b"", "sh"),
        ("a", b"# sealwright-run: kind = bash\nx=(1)\n", "bash"),
        ("a.sh", b"# sealwright-run: kind = bash\nx=(1)\n", "bash"),
        ("a", b"// sealwright-run: kind = node\nx()\n", "node"),
    ],
)
def test_the_kind_is_that_of_name_and_first_line(name: str, data: bytes, wanted: str) -> None:
    assert kind(name, data) == wanted


@pytest.mark.parametrize(
    ("name", "data", "code", "words"),
    [
        ("a", b"echo hi\n", "SW-RUN-KIND", "neither its name nor its first line"),
        ("a.exe", b"MZ", "SW-RUN-KIND", ""),
        ("a", b"# sealwright-run: kind = sql\n", "SW-RUN-KIND", ""),
        ("a", b"# sealwright-run: kind = sh\n# sealwright-run: kind = bash\n", "SW-RUN-KIND", ""),
        ("a.sh", b"#!/usr/bin/perl\nprint 1\n", "SW-RUN-INTERPRETER-OTHER", "perl"),
        ("a.sh", b"#!/usr/bin/python3\nprint(1)\n", "SW-RUN-INTERPRETER-OTHER", "python3"),
        ("a.py", b"#!/usr/bin/env bash\n", "SW-RUN-INTERPRETER-OTHER", "bash"),
        ("a.sh", b"#!/bin/sh -e\n", "SW-RUN-INTERPRETER-OTHER", "options -e"),
        ("a.py", b"#!/usr/bin/env -S python3 -c x\n", "SW-RUN-INTERPRETER-OTHER", "-S"),
        ("a.sh", b"#!\necho\n", "SW-RUN-INTERPRETER-OTHER", "?"),
        ("a.sh", b"#!/usr/bin/env\necho\n", "SW-RUN-INTERPRETER-OTHER", "?"),
        ("a.sh", b"#!/bin/sh\r\necho hi\r\n", "SW-RUN-TEXT", "line 1 ends with a carriage return"),
        ("a.sh", b"echo hi\necho ho\r\n", "SW-RUN-TEXT", "line 2 ends with a carriage return"),
        ("a.sh", b"\xef\xbb\xbfecho hi\n", "SW-RUN-TEXT", "byte order mark"),
        ("a.py", "print()\n".encode("utf-16"), "SW-RUN-TEXT", "UTF-16"),
        ("a.py", b"print('\xe4')\n", "SW-RUN-TEXT", "byte 7 is not UTF-8"),
        ("a.py", "ok = 1\nif a != 'user\u202e \u2066': pass\n".encode(), "SW-RUN-TEXT", "line 2, column 14"),
        ("a.py", "x\u200b = 1\n".encode(), "SW-RUN-TEXT", "U+200B (zero width space)"),
        ("a.py", "x = 1\n\ufeffy = 2\n".encode(), "SW-RUN-TEXT", "line 2, column 1"),
        ("a.js", "const \u3164 = 1;\n".encode(), "SW-RUN-TEXT", "U+3164"),
        ("a.js", "a = 1 // \u2028 b()\n".encode(), "SW-RUN-TEXT", "U+2028"),
        ("a.sh", b"echo a\rrm -rf x\n", "SW-RUN-TEXT", "line 1, column 7"),
        ("a.sh", b"echo \x1b[2K\n", "SW-RUN-TEXT", "U+001B"),
        ("a.sh", b"echo \0\n", "SW-RUN-TEXT", "U+0000"),
        ("a.py", b"# coding: utf-7\n+AGEAYg-\n", "SW-RUN-TEXT", "encoding utf-7"),
        ("a.py", b"#!/usr/bin/python3\n# vim: set fileencoding=latin-1 :\n", "SW-RUN-TEXT", "encoding latin-1"),
    ],
)
def test_what_reads_differently_than_it_looks_is_refused(name: str, data: bytes, code: str, words: str) -> None:
    assert kind("twin.sh", b"echo hi\n") == "sh"
    found, sentence = refused(name, data)
    assert found == code
    assert words in sentence


def test_any_bytes_are_answered() -> None:
    sample = b"#!/bin/sh\n# sealwright-run: runs = 1\necho \xc3\xa4\n"
    for at in range(len(sample)):
        for value in (0, 10, 13, 0x80, 0xFF, sample[at] ^ 0x20):
            read_script("/srv/a.sh", sample[:at] + bytes([value]) + sample[at + 1 :])
        read_script("/srv/a.sh", sample[:at])
