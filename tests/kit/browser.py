"""A real browser that opens a page where nobody is reached: Chromium, whose only way out is a proxy of the test's own that answers nothing.

What the page makes the browser ask for is in `requests`, what it complains of in `console`: script errors, and what a policy of the
page forbade. `without_scripts` serves the page as a browser with JavaScript turned off shows it. A browser that has no name
service and no proxy but this one sends every request there, also one for an address of this machine.

    with browser(tmp_path) as opened:
        words = opened.dom(page.as_uri())
        assert not opened.requests
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

HOST = "report.plant.invalid"
_NOTHING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_CONSOLE = re.compile(r":CONSOLE:[0-9]+\] (.*)")
_PAGE = re.compile(r'<page width="([0-9.]+)"')
_WORD = re.compile(r'<word xMin="([0-9.-]+)" yMin="([0-9.-]+)" xMax="([0-9.-]+)" yMax="([0-9.-]+)">(.*)</word>')


class Word(NamedTuple):
    """A word on paper. page: from 0; left, right: shares of its width; height: in points."""

    page: int
    left: float
    right: float
    height: float
    text: str


@dataclass(slots=True)
class Browser:
    """What it was made to ask for, and what it said; the listener is the context's."""

    folder: Path
    proxy: str
    requests: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)
    served: bytes = b""

    def dom(self, url: str) -> str:
        """The document after it was loaded, written as HTML."""
        return self._run("--dump-dom", url)

    def printed(self, url: str) -> list[Word]:
        """What stands on paper where, by a reader of PDF that is not the browser's."""
        sheet = self.folder / "printed.pdf"
        sheet.unlink(missing_ok=True)
        self._run(f"--print-to-pdf={sheet}", "--no-pdf-header-footer", url)
        command = ["pdftotext", "-bbox", str(sheet), "-"]
        found, width, page = [], 0.0, -1
        for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
            if (start := _PAGE.search(line)) is not None:
                width, page = float(start[1]), page + 1
            elif (word := _WORD.search(line)) is not None:
                left, top, right, bottom = (float(word[number]) for number in range(1, 5))
                found.append(Word(page, left / width, right / width, bottom - top, word[5]))
        return found

    def without_scripts(self, page: bytes) -> str:
        """Where the page is shown with JavaScript turned off."""
        self.served = page
        return f"http://{HOST}/"

    def _run(self, *words: str) -> str:
        self.requests.clear()
        done = subprocess.run(
            [
                _program(),
                "--headless",
                # its own sandbox needs what a container may not have; it opens pages of tests only
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--enable-logging=stderr",
                f"--proxy-server={self.proxy}",
                "--proxy-bypass-list=<-loopback>",
                f"--user-data-dir={self.folder / 'profile'}",
                *words,
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        self.console[:] = _CONSOLE.findall(done.stderr)
        return done.stdout


def _program() -> str:
    for name in ("chromium-headless-shell", "chromium"):
        if (found := shutil.which(name)) is not None:
            return found
    raise FileNotFoundError("no browser: package chromium-headless-shell is not installed. Run: make install")


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser with an empty profile below `folder`, which owns the listener that is its proxy."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        opened = Browser(folder, f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread = threading.Thread(target=_listen, args=(listener, opened))
        thread.start()
        try:
            yield opened
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # ends `accept`
            thread.join()


def _listen(listener: socket.socket, opened: Browser) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, suppress(OSError):
            connection.settimeout(5)
            asked = connection.recv(65536).partition(b"\r\n")[0].decode("latin-1")
            if asked.startswith(f"GET http://{HOST}/ "):
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Security-Policy: sandbox\r\n"
                    b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(opened.served) + opened.served
                )
            else:
                opened.requests.append(asked)
                connection.sendall(_NOTHING)
