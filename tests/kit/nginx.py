"""nginx as a dumb file server: its own configuration, an unprivileged port, started by a test and stopped after it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CONFIG = """daemon off;
master_process off;
pid {work}/nginx.pid;
error_log {work}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {work}/body;
  proxy_temp_path {work}/proxy;
  fastcgi_temp_path {work}/fastcgi;
  uwsgi_temp_path {work}/uwsgi;
  scgi_temp_path {work}/scgi;
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


@contextmanager
def nginx(root: Path, work: Path, within: tuple[str, ...] = ()) -> Iterator[str]:
    """Serve a folder while the block runs; its URL. within: the words before a command that put it into a network."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    assert program, "the package nginx is missing"
    work.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (work / "nginx.conf").write_text(_CONFIG.format(work=work, root=root, port=port))
    process = subprocess.Popen(
        [*within, program, "-p", str(work), "-c", str(work / "nginx.conf"), "-e", str(work / "error.log")]
    )
    try:
        for _ in range(600):
            if within and (work / "nginx.pid").exists():  # written once it listens
                break
            with socket.socket() as probe:
                if not within and probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (work / "error.log").read_text()
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)
