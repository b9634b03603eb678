"""A release repository in a test's own folder: a home with keys for its roles, signed releases, and python-tuf's own client."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from tuf.ngclient import Updater, UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface

from sealwright.artifact.claims import Claims
from sealwright.keys.key import KeyKind
from sealwright.keys.pin import Pin
from sealwright.release import roles
from sealwright.release.beginning import Roles, begin
from sealwright.release.intake import add_releases
from sealwright.release.layout import ProductPath
from sealwright.release.publication import Publication, publish
from sealwright.release.rolekeys import RoleSigners, enrolled_role_key
from sealwright.release.roles import Holders
from sealwright.release.staging import Settings, Staging, Terms
from sealwright.release.thresholds import sign_staged
from sealwright.signing.enrol import enrol_for
from sealwright.signing.home import Home, open_home
from sealwright.signing.init import InitOptions, init_home
from sealwright.signing.sign import NotSigned, SignOptions, sign_paths
from sealwright.trust.belief import Believed, load_trust

PRODUCT = ProductPath("drives", "vx-200")
TITLE = "VX-200 drive"
NAMES = ("repo-root", "repo-targets", "repo-online")


def now() -> datetime:
    """The time, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def make_home(folder: Path, names: tuple[str, ...] = NAMES, token: str = "", pin: Pin | None = None) -> Home:
    """A development home with keys for roles, of those names. token: where its keys live, "" for files."""
    init_home(str(folder), InitOptions(now(), "Line", "ACME", token, pin=pin) if token else InitOptions(now(), "Line"))
    for name in names:
        enrol_for(open_home(str(folder)), "repository", name, pin, now(), KeyKind.P256)
    return open_home(str(folder))


@cache
def _made() -> Path:
    folder = Path(mkdtemp(prefix="repository-home-"))
    make_home(folder / "home")
    return folder


def home_in(folder: Path) -> Home:
    """A copy of this process's home with keys for roles."""
    shutil.copytree(_made() / "home", folder / "home")
    return open_home(str(folder / "home"))


def trust_of(home: Home) -> Believed:
    """The trust file of a home."""
    return load_trust(home.path("trust.toml"))


def release(
    folder: Path, home: Home, version: str, generation: int, files: dict[str, bytes] | None = None, enforces: int = 0
) -> Path:
    """A signed release of the drive: its folder."""
    path = folder / version
    for name, data in (files or {"application/fw.bin": f"firmware {version}".encode()}).items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    floor = f"enforces = {enforces}\n" if enforces else ""
    (path / "release.toml").write_text(
        f'# sealwright release 1\n{floor}\n[[component]]\nname = "application"\npath = "application"\n'
    )
    sign_release(path, home, generation)
    return path


def sign_release(path: Path, home: Home, generation: int, product: str = TITLE) -> None:
    """Sign a folder as a release; its name is the version."""
    claims = Claims(product, path.name, generation, (), "development")
    (answer,) = sign_paths([str(path)], home, SignOptions(claims=claims, timestamp="none"))
    assert not isinstance(answer, NotSigned), answer.error


def holders(home: Home, *names: str, threshold: int = 1) -> Holders:
    """Keys of a home by name."""
    return Holders(tuple(enrolled_role_key(key) for key in home.keys if key.name in names), threshold)


def begun(folder: Path, home: Home, storage: str = "public", terms: Terms | None = None) -> Staging:
    """A staging folder with its first roles, which nobody has signed. Line drives; keys repo-root, repo-targets (lines too), repo-online."""
    who = Roles(
        holders(home, "repo-root"),
        holders(home, "repo-targets"),
        holders(home, "repo-online"),
        holders(home, "repo-online"),
    )
    return begin(
        str(folder), Settings(storage, terms or Terms()), who, {"drives": holders(home, "repo-targets")}, now()
    )


def published(staging: Staging, home: Home) -> Publication:
    """Sign what is staged and publish it."""
    with RoleSigners(home, None, now) as signers:
        sign_staged(staging, signers)
        return publish(staging, signers, now())


def repository(folder: Path, home: Home, *versions: tuple[str, int], storage: str = "public") -> Staging:
    """A published repository with some releases, in `desk`; the releases themselves in `releases`."""
    staging = begun(folder / "desk", home, storage)
    published(staging, home)
    if versions:
        made = [str(release(folder / "releases", home, *one)) for one in versions]
        add_releases(staging, made, PRODUCT, trust_of(home), now())
        published(staging, home)
    return staging


class Folder(FetcherInterface):
    """Fetches from a folder, as python-tuf's client asks for URLs below `folder:`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _fetch(self, url: str):  # type: ignore[no-untyped-def]  # the interface leaves it open
        from urllib.parse import unquote

        from tuf.api.exceptions import DownloadHTTPError

        path = self.folder / unquote(url.removeprefix("folder:/"))
        if not path.is_file():
            raise DownloadHTTPError("not there", 404)
        return iter([path.read_bytes()])


def client(folder: Path, root: bytes, url: str, fetcher: FetcherInterface | None = None, **config: int) -> Updater:
    """python-tuf's client with its own memory, believing a root at first. url: of the repository."""
    (folder / "targets").mkdir(parents=True, exist_ok=True)
    (folder / "metadata").mkdir(exist_ok=True)
    return Updater(
        str(folder / "metadata"), f"{url}/metadata/", str(folder / "targets"), f"{url}/targets/",
        fetcher=fetcher, config=UpdaterConfig(**config), bootstrap=root,
    )  # fmt: skip


def folder_client(folder: Path, staging: Staging, **config: int) -> Updater:
    """The same, for a repository that was published into a folder."""
    public = Path(staging.folder, "public")
    root = (public / "metadata" / "1.root.json").read_bytes()
    return client(folder, root, "folder:", Folder(public), **config)


def fetched(updater: Updater, path: str) -> bytes:
    """A target, downloaded and checked by python-tuf."""
    info = updater.get_targetinfo(path)
    assert info is not None, path
    return Path(updater.download_target(info)).read_bytes()


def line_role(staging: Staging) -> roles.Targets:
    """The line's role as it stands."""
    return staging.line("drives").signed
