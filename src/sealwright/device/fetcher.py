"""How bytes come from a release repository: from a server, or from a folder such as a stick; bounded in size, time and bandwidth.

1. python-tuf asks for metadata by `Transport.fetch` and says how much it takes; `Source.blocks` is for targets, which may be large:
   it goes on where an earlier try ended (Range, RFC 9110 section 14), and what it wrote counts for nothing before its digest does.
2. A server is not followed to another address, and is given up where it answers nothing for `timeout_s`, or less than 1 KiB a second
   over a minute.
3. A file of a folder is opened without following a link at its end and must be a regular file.
Proxies and certificates of the environment are not looked at (A108): authorities are the system's, or those of `ca` in agent.toml.
"""

from __future__ import annotations

import errno
import os
import ssl
import stat
import time
from collections.abc import Iterator
from typing import Protocol
from urllib.parse import quote

import urllib3
from tuf.api.exceptions import DownloadError, DownloadHTTPError, SlowRetrievalError
from tuf.ngclient.fetcher import FetcherInterface

from sealwright.device.agentconfig import Limits

BLOCK = 256 * 1024
SLOWEST_RATE = 1024
PATIENCE_S = 60.0
METADATA = "metadata"
TARGETS = "targets"
_SAFE = "/@:+~"


class Source(Protocol):
    """A place that has the repository's files. name: for people."""

    name: str

    def blocks(self, path: str, start: int) -> Iterator[bytes]:
        """The bytes of a file from an offset, in blocks. Resumed or not: the first block is b"" where it had to start at 0 again.

        DownloadHTTPError 404 where there is none, DownloadError for everything else.
        """
        ...


class Transport(FetcherInterface):
    """python-tuf's way to a source, whose name its URLs begin with: to its metadata and what is small."""

    def __init__(self, source: Source, rate_bytes: int) -> None:
        self.source = source
        self.rate_bytes = rate_bytes

    @property
    def urls(self) -> tuple[str, str]:
        """Of the folder of metadata and of that of targets, as python-tuf asks for them here."""
        return f"{self.source.name}/{METADATA}/", f"{self.source.name}/{TARGETS}/"

    def _fetch(self, url: str) -> Iterator[bytes]:
        return paced(self.source.blocks(url.removeprefix(f"{self.source.name}/"), 0), self.rate_bytes)


class Server:
    """An HTTP server. name: its address, without a slash at its end."""

    def __init__(self, name: str, ca: str, limits: Limits) -> None:
        self.name = name
        self.timeout_s = limits.timeout_s
        # made now, while the process may still read the authorities
        context = _tls(ca) if name.startswith("https:") else None
        self.pool = urllib3.PoolManager(1, retries=False, ssl_context=context)

    def blocks(self, path: str, start: int) -> Iterator[bytes]:
        """A GET, of a range where a part is there already."""
        headers = {"User-Agent": "sealwright-agent", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        try:
            response = self.pool.request(
                "GET",
                f"{self.name}/{quote(path, safe=_SAFE)}",
                headers=headers,
                preload_content=False,
                redirect=False,
                timeout=urllib3.Timeout(self.timeout_s),
            )
        except urllib3.exceptions.TimeoutError as cause:
            raise SlowRetrievalError(f"no answer within {self.timeout_s} s") from cause
        except urllib3.exceptions.HTTPError as cause:
            raise DownloadError(f"{cause}"[:200]) from cause
        return self._answered(response, path, start)

    def _answered(self, response: urllib3.BaseHTTPResponse, path: str, start: int) -> Iterator[bytes]:
        if start and response.status == 416:
            response.release_conn()
            yield b""
            yield from self.blocks(path, 0)
            return
        resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if response.status != 200 and not (start and resumed):
            response.release_conn()
            raise DownloadHTTPError(f"HTTP status {response.status}", response.status)
        if start and not resumed:
            yield b""
        whole = False
        try:
            while block := response.read(BLOCK, decode_content=False):
                yield block
            whole = True
        except urllib3.exceptions.TimeoutError as cause:
            raise SlowRetrievalError(f"it stopped answering for {self.timeout_s} s") from cause
        except urllib3.exceptions.HTTPError as cause:
            raise DownloadError(f"{cause}"[:200]) from cause
        finally:
            if whole:
                response.release_conn()
            else:
                response.close()


def _tls(ca: str) -> ssl.SSLContext:
    """Authorities of a file, or the system's where none is named; those of SSL_CERT_FILE and SSL_CERT_DIR are nobody's here."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    system = ssl.get_default_verify_paths()
    places = [(ca, None)] if ca else [(system.openssl_cafile, None), (None, system.openssl_capath)]
    for file, folder in places:
        if ca or os.path.exists(file or folder or ""):
            context.load_verify_locations(file, folder)
    return context


class Folder:
    """A folder, such as a stick. descriptor: of the folder, opened by whoever may; owned by this."""

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self.descriptor = descriptor

    def blocks(self, path: str, start: int) -> Iterator[bytes]:
        """The file of that name below the folder."""
        try:
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(path, flags, dir_fd=self.descriptor)
        except OSError as cause:
            if cause.errno in (errno.ENOENT, errno.ENOTDIR):
                raise DownloadHTTPError("there is no such file", 404) from cause
            raise DownloadError(f"{path}: {cause.strerror}") from cause
        return self._read(path, descriptor, start)

    def _read(self, path: str, descriptor: int, start: int) -> Iterator[bytes]:
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise DownloadError(f"{path} is no file")
            os.lseek(descriptor, start, os.SEEK_SET)
            while block := os.read(descriptor, BLOCK):
                yield block
        except OSError as cause:
            raise DownloadError(f"{path}: {cause.strerror}") from cause
        finally:
            os.close(descriptor)


def paced(blocks: Iterator[bytes], rate_bytes: int) -> Iterator[bytes]:
    """The blocks, at most `rate_bytes` of them a second (0: all); SlowRetrievalError where they trickle."""
    begun, done, waited = time.monotonic(), 0, 0.0
    for block in blocks:
        done += len(block)
        if rate_bytes and (ahead := done / rate_bytes - (time.monotonic() - begun)) > 0:
            time.sleep(ahead)
            waited += ahead
        took = time.monotonic() - begun - waited
        if took > PATIENCE_S and done < took * SLOWEST_RATE:
            raise SlowRetrievalError(f"{done} bytes in {took:.0f} s")
        yield block
