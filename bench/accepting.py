"""A plant accepts a hundred of its maker's releases at once: fetched, compared, signed and staged by one command, then one signature of the line.

    PYTHONPATH=src:tests .venv/bin/python bench/accepting.py [RELEASES]

Ten products, their releases small. Times are processor time of this process and its children.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from kit.repository import begun, home_in, make_home, now, published, release, sign_release, trust_of
from sealwright.release.catalogue import channels_of, release_of
from sealwright.release.channels import Offer
from sealwright.release.intake import add_releases, put_channels
from sealwright.release.layout import ProductPath
from sealwright.release.offers import Wanted, promoted
from sealwright.release.staging import Staging
from sealwright.signing.home import Home

PRODUCTS = 10


def spent() -> float:
    """Processor seconds of this process and its ended children."""
    return sum(
        one.ru_utime + one.ru_stime
        for one in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


def sealwright(*words: object) -> tuple[float, str]:
    """A command in a process of its own: processor seconds, and what it said."""
    begun_at = spent()
    code = "from sealwright.cli.main import script; script()"
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{words}: {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return spent() - begun_at, done.stdout


def maker_repository(folder: Path, home: Home, number: int) -> tuple[Staging, list[ProductPath]]:
    """A published repository of ten products, each version of which the channel `production` offers to one group."""
    staging = begun(folder / "desk", home)
    published(staging, home)
    products = [ProductPath("drives", f"product-{n}") for n in range(PRODUCTS)]
    for product in products:
        made = []
        for generation in range(1, number // PRODUCTS + 1):
            path = release(folder / "made" / product.name, home, f"1.{generation}.0", generation)
            for beside in path.parent.glob(f"{path.name}.manifest*"):
                beside.unlink()
            sign_release(path, home, generation, f"Product {product.name}")
            made.append(path)
        add_releases(staging, [str(one) for one in made], product, trust_of(home), now())
        for path in made:
            channels = channels_of(staging, product)
            assert channels is not None
            offer = Offer(
                "production", release_of(staging, product, path.name).named, 100, (path.name.replace(".", "-"),)
            )
            put_channels(staging, product, promoted(channels, Wanted(offer, {})), now())
    published(staging, home)
    return staging, products


def trusting(plant: Home, maker: Home, root: str) -> Path:
    """The plant's trust file: its maker, its own acceptance beside, and its maker's repository."""
    trust = Path(plant.path("trust.toml"))
    sealwright("trust", "new", "--next", trust)
    rule = ["--environment", "development", "--anchor", "acme", "--plant", "root", "--plant-person", "release-engineer"]
    parts: Sequence[Sequence[object]] = (
        ["anchor", maker.path("ca.pem"), "--name", "acme", "--environment", "development"],
        ["person", "acme-1", "--organisation", "ACME", "--certificate", maker.path("certificates", "release.pem")],
        ["rule", "drives", *rule],
    )
    for part in parts:
        sealwright("trust", "add", trust, *part)
    first, _, rest = trust.read_text().partition("\n")
    trust.write_text(f'{first}\ntuf_root = "{root}"\n{rest}')
    sealwright("trust", "sign", trust, "--home", plant.folder, "--person", "officer")
    return trust


def main() -> None:
    """Everything, in a folder of its own."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with tempfile.TemporaryDirectory(prefix="accepting-bench-") as made:
        folder = Path(made)
        maker, plant = home_in(folder), make_home(folder / "plant")
        staging, products = maker_repository(folder, maker, number)
        trust = trusting(plant, maker, str(staging.settings.root))
        desk = begun(folder / "plant-desk", plant)
        published(desk, plant)
        named = [word for product in products for word in ("--product", product)]
        words = ["release", "accept", "--all", "production", "--repository", folder / "desk/public", *named,
                 "--into", folder / "in", "--desk", desk.folder, "--promote", "production", "--home", plant.folder,
                 "--trust", trust, "--timestamp", "none", "--json"]  # fmt: skip
        wall = time.monotonic()
        took, said = sealwright(*words)
        accepted = said.count('"outcome": "accepted"')
        assert accepted == number // PRODUCTS * PRODUCTS, said[-2000:]
        print(
            f"{accepted} releases accepted and staged: {took:.1f} s of processor ({time.monotonic() - wall:.1f} s wall)"
        )
        print(f"the line's role signed: {sealwright('release', 'sign', desk.folder, '--home', plant.folder)[0]:.1f} s")
        print(f"published: {sealwright('release', 'publish', desk.folder, '--home', plant.folder)[0]:.1f} s")
        took, said = sealwright(*words)
        assert said.count('"acceptances": 0') == PRODUCTS
        print(f"the same command with nothing new: {took:.1f} s of processor")
        offered = [channels_of(Staging(desk.folder), product) for product in products]
        newest = [one.offers[0].release.version for one in offered if one is not None]
        assert newest == [f"1.{number // PRODUCTS}.0"] * PRODUCTS, newest
        print(f"the plant offers the newest of {len(newest)} products")


if __name__ == "__main__":
    main()
