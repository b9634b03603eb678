"""The page of a survey in a real browser: it asks for nothing, runs nothing, shows every name as text, and can be read on paper.

The page's policy is the second wall behind the escaping. It is shown by pages in which the first wall has a hole: each does nothing
here, and does its harm where the policy is taken out of the same page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kit.browser import Browser, browser
from kit.certs import made
from kit.efi import GRUB_OF_DEBIAN, SHIM
from kit.foreign import rsa_key, sign_by_openssl
from kit.html import Page
from kit.pki import DAY, Pki, p7s
from sealwright.artifact.names import display
from sealwright.cli.main import main

NOW = datetime.now(UTC)
ELSEWHERE = "http://evil.example/stolen"
MARK = "PLANTED-HERE.bin"
HOSTILE = (
    "<script>document.title='RAN'<\\script>.bin",
    f"<img src={ELSEWHERE.replace('/', '')} onerror=alert(1)>.bin",
    "\"'><svg onload=alert(1)>.bin",
    "&lt;b&gt;&amp;.bin",
    "]]>--><!--.bin",
    "invoice\u202efdp.exe.bin",
    "\x1b[2J\x07\r\nwide.bin",
    "\u2066a\u2069\u200b\ufeff.bin",
    "{{7*7}}${7*7}.bin",
    "x" * 240 + ".bin",
)
TAGS = {
    "a", "article", "body", "h1", "h2", "h3", "head", "html", "meta", "nav", "p", "section", "style", "table", "tbody",
    "td", "th", "title", "tr",
}  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a share with real files, and hostile names in files, a certificate, a folder, signed and not signed."""
    folder = tmp_path_factory.mktemp("survey")
    share = folder / "share"
    (share / "<b>bold</b>").mkdir(parents=True)
    (share / "shim.efi").write_bytes(SHIM.source.read_bytes())
    (share / "copy of shim.efi").write_bytes(SHIM.source.read_bytes())
    broken = bytearray(GRUB_OF_DEBIAN.source.read_bytes())
    broken[100_000] ^= 1
    (share / "grub.efi").write_bytes(broken)
    pki = Pki.make()
    for number in range(40):
        (share / f"{number}.bin").write_bytes(b"firmware")
        (share / f"{number}.bin.p7s").write_bytes(p7s(pki.leaf(f"release {number}"), b"firmware"))
    for name in (*HOSTILE, MARK):
        (share / name).write_bytes(b"y")
        (share / f"{name}.p7s").write_bytes(b"no signature")
        (share / "<b>bold</b>" / name).write_bytes(b"z" + name.encode())
    root = made("root", ca=True, before=NOW - DAY, after=NOW + 100 * DAY)
    odd = made("</h3><script>1</script>\u202e", root, key=rsa_key(2048), before=NOW - DAY, after=NOW + 100 * DAY)
    (share / "odd.bin").write_bytes(b"firmware")
    sign_by_openssl(share / "odd.bin", odd, "sha256", root)
    assert main(["survey", str(share), "--html", str(folder / "report.html")]) == 1
    return folder / "report.html"


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Browser]:
    with browser(tmp_path) as one:
        yield one


def test_it_opens_without_an_error_and_asks_for_nothing(report: Path, opened: Browser) -> None:
    assert "Survey: who signed what" in opened.dom(report.as_uri())
    assert opened.console == []
    assert opened.requests == []


def test_no_name_becomes_a_tag_and_every_one_is_shown(report: Path, opened: Browser) -> None:
    shown = Page(opened.dom(report.as_uri()))
    assert set(shown.tags) == TAGS
    assert {name for name, _ in shown.attributes} <= {"charset", "class", "content", "href", "http-equiv", "id", "lang", "name", "aria-label"}  # fmt: skip
    for name in HOSTILE:
        assert display(name) in shown.words
    assert r"CN=\</h3\>\<script\>1\</script\>\u202e" in shown.words
    assert not set("\x1b\x07\u202e\u2066\u200b") & set(shown.words)


def test_it_says_the_same_where_javascript_is_turned_off(report: Path, opened: Browser) -> None:
    """What is in the file is all there is: nothing is made by a script."""
    page = report.read_bytes()
    off = opened.dom(opened.without_scripts(page))
    assert opened.console == []
    assert opened.requests == []
    assert Page(off).words.split() == Page(page.decode()).words.split()
    asked = opened.without_scripts(page.replace(b"<h1>", b"<h1><script>document.title='RAN'</script>", 1))
    assert "<title>RAN" not in opened.dom(asked)
    assert "scripts" in opened.console[0]


def test_each_link_leads_to_a_section_of_the_page(report: Path, opened: Browser) -> None:
    shown = Page(opened.dom(report.as_uri()))
    links = [value for name, value in shown.attributes if name == "href"]
    assert len(links) > 5
    assert {one.removeprefix("#") for one in links} <= {value for name, value in shown.attributes if name == "id"}


def test_on_paper_nothing_is_cut_off_and_everything_can_be_read(report: Path, opened: Browser) -> None:
    words = opened.printed(report.as_uri())
    assert opened.requests == []
    assert max(word.page for word in words) >= 2
    assert min(word.left for word in words) >= 0
    assert max(word.right for word in words) <= 1
    assert min(word.height for word in words) >= 8
    text = "".join(word.text for word in words)
    for wanted in ("Itdoesnotsaywhomtotrust", "MicrosoftWindowsUEFIDriverPublisher", "release39", "x" * 20):
        assert wanted in text
    # the folder of a page is of no use on paper
    assert "Contents" not in text


def test_on_paper_a_signer_is_not_torn_apart(report: Path, opened: Browser) -> None:
    words = opened.printed(report.as_uri())
    for at, word in enumerate(words):
        if word.text.startswith("CN=release"):
            after = words[at : at + 60]
            key = next(one for one in after if one.text == "key")
            assert key.page == word.page, word


RUNS = "<script>document.title='RAN'</script>"


@pytest.mark.parametrize(
    "planted",
    [
        RUNS,
        f"<script src={ELSEWHERE}></script>",
        "<svg onload=\"document.title='RAN'\"></svg>",
        f"<img src={ELSEWHERE}>",
        "<img src=x: onerror=\"document.title='RAN'\">",
        f"<style>@import url({ELSEWHERE});</style>",
        f"<style>h1 {{ background: url({ELSEWHERE}) }}</style>",
        f'<p style="background: url({ELSEWHERE})">x</p>',
        f"<link rel=stylesheet href={ELSEWHERE}>",
        f"<iframe src={ELSEWHERE}></iframe>",
        f"<object data={ELSEWHERE}></object>",
        f"<embed src={ELSEWHERE}>",
        f"<video src={ELSEWHERE} autoplay></video>",
        f"<base href={ELSEWHERE}><img src=x>",
        f"<form action={ELSEWHERE} id=f></form><script>document.getElementById('f').submit()</script>",
    ],
)
def test_what_gets_past_the_escaping_is_stopped_by_the_pages_policy(
    report: Path, opened: Browser, tmp_path: Path, planted: str
) -> None:
    text = report.read_text()
    assert text.count(MARK)
    (tmp_path / "holed.html").write_text(text.replace(MARK, planted, 1))
    shown = opened.dom((tmp_path / "holed.html").as_uri())
    assert opened.requests == []
    assert "<title>Survey" in shown
    assert "Content Security Policy" in " ".join(opened.console)
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>\n', "", text, count=1)
    assert len(bare) < len(text)
    (tmp_path / "bare.html").write_text(bare.replace(MARK, planted, 1))
    shown = opened.dom((tmp_path / "bare.html").as_uri())
    assert "<title>RAN" in shown or [one for one in opened.requests if ELSEWHERE.partition("/stolen")[0] in one]


def test_a_planted_style_cannot_hide_what_is_broken(report: Path, opened: Browser, tmp_path: Path) -> None:
    """Only the page's own style counts, by its digest."""
    text = report.read_text()
    planted = "<style>#broken { display: none }</style>"
    (tmp_path / "holed.html").write_text(text.replace(MARK, planted, 1))
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>\n', "", text, count=1)
    (tmp_path / "bare.html").write_text(bare.replace(MARK, planted, 1))

    def on_paper(name: str) -> str:
        return "".join(word.text for word in opened.printed((tmp_path / name).as_uri()))

    assert "Broken(1)" in on_paper("holed.html")
    assert "Broken(1)" not in on_paper("bare.html")
    (tmp_path / "other.html").write_text(text.replace("h1 {", "#broken { display: none } h1 {", 1))
    assert "Broken(1)" in on_paper("other.html")
