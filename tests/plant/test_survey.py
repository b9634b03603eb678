"""A share, a stick, a folder of vendors' files: everything is looked at or named, nothing is written, no name and no file stops it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.efi import GRUB_OF_DEBIAN, SHIM
from kit.inside import sign_inside
from kit.kernel import MODULE
from kit.manifests import claimed
from kit.pki import NOW, Pki, p7s
from kit.samples import project
from kit.signedfiles import MAKERS
from kit.statements import Plant, receive
from kit.surveys import looked, states
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import HashName
from sealwright.artifact.manifest import manifest_bytes
from sealwright.artifact.source import open_artifact
from sealwright.artifact.tree import manifest_of_tree
from sealwright.envelope.kinds import MANIFEST, Construction
from sealwright.errors import OutputRefused
from sealwright.formats.known import could_be_signed_inside, ends_of, may_be_signed_inside
from sealwright.plant import crew as crew_module
from sealwright.plant.crew import Crew
from sealwright.plant.looking import Worker
from sealwright.plant.rows import Answer, Batch, Chunk, parts
from sealwright.plant.seen import LISTED
from sealwright.plant.signers import State
from sealwright.plant.spool import Spool
from sealwright.plant.walk import MAX_DEPTH, Left, NotRead, _entered, _Frame

PKI = Pki.make()
SIGNER = PKI.leaf("release")


@pytest.fixture(params=["all cores", "this process alone"])
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to the same answers."""
    if request.param != "all cores":
        monkeypatch.setattr(crew_module, "can_fork", lambda: False)


def vendors(folder: Path) -> Path:
    """A share with what real makers and ours signed, one broken, copies, and files that nobody signed."""
    share = folder / "share"
    for name, make in MAKERS.items():
        (folder / name).mkdir()
        (share / "ours").mkdir(parents=True, exist_ok=True)
        path = make(folder / name)
        shutil.copyfile(path, share / "ours" / f"{name}{path.suffix}")
    (share / "boot" / "old").mkdir(parents=True)
    for real in (SHIM.source, GRUB_OF_DEBIAN.source, MODULE):
        shutil.copyfile(real, share / "boot" / Path(real).name)
    shutil.copyfile(SHIM.source, share / "boot" / "old" / "shim.copy")
    broken = bytearray(GRUB_OF_DEBIAN.source.read_bytes())
    broken[100_000] ^= 1
    (share / "boot" / "broken.efi").write_bytes(broken)
    (share / "notes").mkdir()
    for number in range(150):
        (share / "notes" / f"{number}.txt").write_text(f"note {number}")
    return share


@pytest.mark.usefixtures("how")
def test_signers_copies_broken_and_unsigned_files_of_a_share_are_told(tmp_path: Path) -> None:
    share = vendors(tmp_path)
    with looked(share) as spool:
        assert states(spool) == {"bare": 4, "broken": 1, "intact": 9, "unsigned": 150}
        signers = {one.subject.partition(",")[0]: one for one in spool.by_signer()}
        updates = signers["CN=updates"]
        assert {one.what: one.number for one in updates.formats} == {
            "rauc": 2,
            "jar": 1,
            "powershell": 1,
            "swupdate": 1,
        }
        assert updates.certificates[0].files == updates.files == 5
        microsoft = signers["CN=Microsoft Windows UEFI Driver Publisher"]
        assert (microsoft.files, microsoft.stamped, microsoft.unstamped) == (2, 2, 0)
        assert microsoft.products == ("shim.debian",)
        grub = signers["CN=Debian Secure Boot Signer 2022 - grub2"]
        assert {one.what: one.number for one in grub.states} == {"broken": 1, "intact": 1}
        (broken,) = spool.told(State.BROKEN)
        assert (os.path.basename(broken.path), broken.code) == ("broken.efi", "SW-FILE-CHANGED")
        (copies,) = spool.copies(10, 10)
        assert copies.digest == f"sha256:{hashlib.sha256(SHIM.source.read_bytes()).hexdigest()}"
        assert [os.path.relpath(path, share) for path in copies.paths] == [
            "boot/shimx64.efi.signed",
            "boot/old/shim.copy",
        ]
        assert [(one.path, one.files) for one in spool.unsigned()] == [(str(share / "notes"), 150)]


def test_both_ways_say_the_same_of_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    share = vendors(tmp_path)

    def all_of_it() -> list[object]:
        with looked(share) as spool:
            return [
                [(path, state, digest, size, [tuple(one)[2:14] for one in rows]) for path, state, digest, size, rows in spool.signed()],
                [one._replace(id=0) for one in sorted(spool.by_signer(), key=lambda one: (one.subject, one.issuer))],
                list(spool.unsigned()),
                list(spool.told(State.BROKEN)),
            ]  # fmt: skip

    together = all_of_it()
    monkeypatch.setattr(crew_module, "can_fork", lambda: False)
    assert all_of_it() == together


def test_a_signature_beside_its_file_is_no_file_of_its_own_and_one_that_lies_alone_is(tmp_path: Path) -> None:
    for name in ("drive.bin", "drive.bin.2"):
        (tmp_path / name).write_bytes(name.encode())
        (tmp_path / f"{name}.p7s").write_bytes(p7s(SIGNER, name.encode()))
    (tmp_path / "stray.p7s").write_bytes(p7s(SIGNER, b"something"))
    with looked(tmp_path) as spool:
        assert states(spool) == {"intact": 2, "unsigned": 1}


@pytest.mark.usefixtures("how")
def test_the_evidence_of_what_was_received_is_no_signed_folder_and_not_broken(tmp_path: Path) -> None:
    plant = Plant()
    (tmp_path / "drive.bin").write_bytes(b"unsigned")
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "a.st").write_bytes(b"VAR")
    for name in ("drive.bin", "project"):
        receive(tmp_path / name, plant.anna)
    with looked(tmp_path) as spool:
        assert states(spool).get("broken", 0) == 0
        assert states(spool)["intact"] == 1
    (tmp_path / "drive.bin").write_bytes(b"changed!")
    with looked(tmp_path) as spool:
        assert states(spool)["broken"] == 1


def test_a_folder_of_hundreds_of_signed_files_finds_each_ones_signature(tmp_path: Path) -> None:
    signature = p7s(SIGNER, b"same")
    for number in range(300):
        (tmp_path / f"{number}.bin").write_bytes(b"same" if number % 3 else b"Same")
        (tmp_path / f"{number}.bin.p7s").write_bytes(signature)
    with looked(tmp_path) as spool:
        assert states(spool) == {"intact": 200, "broken": 100}


def test_what_a_signed_manifest_lists_is_not_unsigned_until_something_in_it_changes(tmp_path: Path) -> None:
    tree = project(tmp_path)
    text = manifest_bytes(manifest_of_tree(str(tree), HashName.SHA256, Claims(product="line 3")))
    (tmp_path / f"{tree.name}.manifest").write_bytes(text)
    (tmp_path / f"{tree.name}.manifest.p7s").write_bytes(p7s(SIGNER, text, kind=MANIFEST.name))
    with looked(tmp_path) as spool:
        assert states(spool) == {LISTED: 5}
        assert spool.counts.trees == 1
        assert [one.subject for one in spool.by_signer()] == ["CN=release,O=ACME"]
    (tree / "drives" / "parameters.bin").write_bytes(b"other")
    with looked(tmp_path) as spool:
        assert states(spool) == {"unsigned": 5}
        (told,) = spool.told(State.BROKEN)
        assert told.path == str(tree)


def test_several_versions_of_one_product_are_named(tmp_path: Path) -> None:
    for number in (1, 2, 2):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        claimed(
            folder, SIGNER, Claims(product="VX-200", version=f"{number}.0", generation=number), data=bytes([number])
        )
    with looked(tmp_path) as spool:
        (product,) = spool.products()
        assert product.product == "VX-200"
        assert [(one.version, one.generation, one.files) for one in product.versions] == [
            ("1.0", "1", 1),
            ("2.0", "2", 2),
        ]


def test_whichever_worker_is_quicker_a_product_is_shown_by_the_same_file(tmp_path: Path) -> None:
    for number, version in enumerate(("1.0", "2.0", "1.0", "2.0")):
        (tmp_path / f"{number}").mkdir()
        claimed(tmp_path / f"{number}", SIGNER, Claims("VX-200", version), data=bytes([number]))
    root = os.fsencode(tmp_path)
    beside = (b"drive.bin.manifest", b"drive.bin.manifest.p7s")
    chunks = [
        Chunk(root, b"%d" % one, os.path.join(root, b"%d" % one), (b"drive.bin",), beside=beside) for one in range(4)
    ]
    shown = []
    for order in (chunks, chunks[::-1], [chunks[2], chunks[3], chunks[0], chunks[1]]):
        with Spool() as spool:
            for chunk in order:
                (answer,) = Worker(None, NOW.timestamp())((chunk,))
                spool.add(chunk, answer)
            spool.settle()
            (product,) = spool.products()
            shown.append([(one.version, one.files, one.path) for one in product.versions])
    first = [("1.0", 2, str(tmp_path / "0" / "drive.bin")), ("2.0", 2, str(tmp_path / "1" / "drive.bin"))]
    assert shown == [first] * 3


def test_two_signers_of_one_name_stay_two_where_their_keys_differ(tmp_path: Path) -> None:
    impostor = Pki.make().leaf("release")
    for name, signer in (("good.bin", SIGNER), ("evil.bin", impostor)):
        (tmp_path / name).write_bytes(b"x")
        (tmp_path / f"{name}.p7s").write_bytes(p7s(signer, b"x"))
    with looked(tmp_path) as spool:
        assert [one.subject for one in spool.by_signer()] == ["CN=release,O=ACME"] * 2


def test_a069_a071_links_devices_fifos_mounts_and_unreadable_folders_are_named_and_nothing_blocks(
    tmp_path: Path,
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    share = tmp_path / "share"
    share.mkdir()
    (share / "plain.txt").write_text("plain")
    (share / "link").symlink_to(outside)
    (share / "link.txt").symlink_to(outside / "secret.txt")
    (share / "up").symlink_to("..")
    os.mkfifo(share / "fifo")
    with looked(share) as spool:
        assert spool.counts.total == 1
        left = {(os.path.basename(one.path), one.why) for one in spool.not_read(*Left)}
        assert left == {(b"link", Left.LINK), (b"link.txt", Left.LINK), (b"up", Left.LINK), (b"fifo", Left.SPECIAL)}
        assert spool.counts.unread == 0


def test_another_file_system_is_named_and_not_entered() -> None:
    with looked(Path("/dev")) as spool:
        mounts = {one.path for one in spool.not_read(Left.MOUNT)}
        assert b"/dev/pts" in mounts or b"/dev/shm" in mounts


def test_what_a_user_may_not_read_is_counted_and_named(tmp_path: Path) -> None:
    share = tmp_path / "share"
    (share / "closed").mkdir(parents=True)
    (share / "closed" / "a.bin").write_bytes(b"a")
    (share / "open.bin").write_bytes(b"b")
    (share / "mine.bin").write_bytes(b"c")
    (share / "closed").chmod(0)
    (share / "mine.bin").chmod(0)
    code = (
        "import os, sys\nfrom datetime import datetime, UTC\nfrom sealwright.plant.survey import survey\n"
        "from sealwright.plant.signers import State\nfrom sealwright.plant.walk import Left\nfolder = os.fsencode(sys.argv[1])\n"
        "survey([folder], now=datetime.now(UTC)).base.close()\n"  # what is imported late is imported now
        "os.geteuid() or os.setuid(65534)\n"
        "with survey([folder], now=datetime.now(UTC)) as s:\n"
        "    print(s.counts.unread, [os.path.basename(o.path) for o in s.not_read(Left.UNREADABLE)],"
        " [os.path.basename(o.path) for o in s.told(State.UNREADABLE)], s.counts.of('unsigned'))"
    )
    for above in (tmp_path, *tmp_path.parents):
        if above != Path("/") and above.stat().st_uid == os.getuid():
            above.chmod(above.stat().st_mode | 0o055)
    said = subprocess.run([sys.executable, "-c", code, str(share)], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "2 [b'closed'] ['mine.bin'] 1"


def test_a049_a076_names_that_are_not_utf8_and_names_that_move_cursors_are_kept_as_they_are(tmp_path: Path) -> None:
    names = [b"\xff\xfe.bin", b"a\x1b[2Jb.bin", b"new\nline.bin", b'<b>&amp;".bin', "\u202etxt.exe".encode()]
    for name in names:
        (Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name)))).write_bytes(p7s(SIGNER, b"x"))
    (tmp_path / "x.bin").write_bytes(b"x")
    with looked(tmp_path) as spool:
        assert spool.counts.total == len(names) + 1
        assert spool.counts.unread == 0


def test_a_tree_that_is_deeper_than_anybody_needs_is_cut_and_said(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(5000):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    try:
        with looked(tmp_path) as spool:
            (deep,) = spool.not_read(Left.DEEP)
            assert deep.path.count(b"/d") == MAX_DEPTH
            assert spool.counts.unread == 1
    finally:
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)


def test_a150_a_file_that_is_replaced_by_a_link_while_it_is_looked_at_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside.txt").write_text("secret")
    share = tmp_path / "share"
    share.mkdir()
    (share / "a.txt").symlink_to(tmp_path / "outside.txt")
    worker = Worker(None, NOW.timestamp())
    (answer,) = worker((Chunk(os.fsencode(share), b"", os.fsencode(share), (b"a.txt",)),))
    assert [one.state for one in answer.files] == ["unreadable"]
    (share / "real").mkdir()
    (share / "linked").symlink_to(share / "real")
    (share / "real" / "b.txt").write_text("b")
    (answer,) = worker((Chunk(os.fsencode(share), b"real", b"", (b"b.txt",)),))
    assert answer.plain.sizes == [1]
    (answer,) = worker((Chunk(os.fsencode(share), b"linked", b"", (b"b.txt",)),))
    assert [one.state for one in answer.files] == ["unreadable"]


def test_a_file_that_grows_while_it_is_read_is_said_to_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "log.txt").write_bytes(b"line\n")
    chunk = Chunk(os.fsencode(tmp_path), b"", os.fsencode(tmp_path), (b"log.txt",))
    worker = Worker(None, NOW.timestamp())
    (before,) = worker((chunk,))
    assert before.plain.sizes == [5]
    read = os.read

    def growing(descriptor: int, size: int) -> bytes:
        with (tmp_path / "log.txt").open("ab") as file:
            file.write(b"more\n")
        return read(descriptor, size)

    monkeypatch.setattr(os, "read", growing)
    (answer,) = worker((chunk,))
    (row,) = answer.files
    assert (row.state, row.why) == ("unreadable", "it changed while it was read")


def test_a_large_file_is_read_whole_only_where_another_one_has_its_size(tmp_path: Path) -> None:
    data = bytes(range(256)) * 4096
    (tmp_path / "large.bin").write_bytes(data)
    (tmp_path / "other.bin").write_bytes(bytes(reversed(data)))
    (tmp_path / "alone.bin").write_bytes(data[1:])
    for number in range(6):
        (tmp_path / f"copy{number}.bin").write_bytes(data)
    with looked(tmp_path) as spool:
        (copies,) = spool.copies(10, 10)
        assert copies.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert copies.number == 7
        (unread,) = spool.base.execute("SELECT count(*) FROM file WHERE digest IS NULL").fetchone()
        assert unread == 1


def _dying(deadly: bytes) -> Callable[[Batch], list[Answer]]:
    worker = Worker(None, NOW.timestamp())

    def answer(batch: Batch) -> list[Answer]:
        if any(deadly in chunk.names for chunk in batch):
            os._exit(9)
        return worker(batch)

    return answer


def one_kills_its_reader(tmp_path: Path) -> None:
    """In a process of its own: where threads run nothing is forked, and this one would be killed."""
    for number in range(100):
        (tmp_path / f"{number:02}.txt").write_text(str(number))
    names = tuple(os.fsencode(one.name) for one in sorted(tmp_path.iterdir()))
    chunks = [Chunk(os.fsencode(tmp_path), b"", os.fsencode(tmp_path), names[at : at + 10]) for at in range(0, 100, 10)]
    with Spool() as spool, Crew[Batch, list[Answer]](_dying(b"42.txt"), parts) as crew:
        for batch, answers in crew.answers(iter([tuple(chunks[:5]), tuple(chunks[5:])])):
            for at, chunk in enumerate(batch):
                spool.add(chunk, answers[at] if answers is not None else None)
        assert states(spool) == {"unreadable": 1, "unsigned": 99}
        (told,) = spool.told(State.UNREADABLE)
        assert os.path.basename(told.path) == "42.txt"


def test_a_file_that_kills_the_process_that_reads_it_costs_itself_and_no_other(tmp_path: Path) -> None:
    here = Path(__file__).parent
    code = "import sys; sys.path[:0] = sys.argv[1:3]; import pathlib, test_survey as it; it.one_kills_its_reader(pathlib.Path(sys.argv[3]))"
    command = [sys.executable, "-c", code, str(here), str(here.parent), str(tmp_path)]
    subprocess.run(command, check=True, timeout=120)


def test_nothing_is_written_beside_the_files_and_no_time_of_theirs_changes(tmp_path: Path) -> None:
    share = vendors(tmp_path)

    def looks() -> list[tuple[str, int, int, int]]:
        return sorted(
            (str(one), one.lstat().st_mtime_ns, one.lstat().st_ctime_ns, one.lstat().st_size)
            for one in share.rglob("*")
        )

    before = looks()
    with looked(share) as spool:
        assert spool.counts.total
    assert looks() == before


def test_a073_archives_that_grow_without_end_are_bounded(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.jar", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\r\n\r\n")
        bomb.writestr("META-INF/A.SF", bytes(200 << 20))
        bomb.writestr("META-INF/A.RSA", bytes(100))
    (tmp_path / "plain.txt").write_text("plain")
    with looked(tmp_path) as spool:
        assert spool.counts.total == 2
        assert spool.counts.of(State.UNSIGNED) == 1


def test_a_path_may_be_one_file_or_nothing_at_all(tmp_path: Path) -> None:
    path = tmp_path / "drive.bin"
    path.write_bytes(b"x")
    path.with_name("drive.bin.p7s").write_bytes(p7s(SIGNER, b"x"))
    with looked(path, tmp_path / "gone") as spool:
        assert states(spool) == {"intact": 1, "unreadable": 1}


def test_what_is_named_twice_is_no_copy_of_itself(tmp_path: Path) -> None:
    below = tmp_path / "share" / "below"
    below.mkdir(parents=True)
    (below / "a.bin").write_bytes(b"a")
    (tmp_path / "linked").symlink_to(below)
    with looked(tmp_path / "share", below, tmp_path / "share", tmp_path / "linked", below / "a.bin") as spool:
        assert spool.counts.total == 1
    with looked(below, tmp_path / "linked") as spool:
        assert spool.counts.total == 1


def children() -> set[str]:
    """The processes that this one has started and not taken leave of, from whichever test (proc(5))."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_a_spool_without_room_is_a_typed_error_and_leaves_no_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("a")
    with looked(tmp_path) as spool:
        assert spool.counts.total == 1
    add = Spool.add

    def full(self: Spool, chunk: Chunk, answer: Answer | None) -> None:
        self.base.execute("PRAGMA max_page_count = 1")
        add(self, chunk, answer)
        self.base.execute("CREATE TABLE more AS SELECT zeroblob(100000000)")

    monkeypatch.setattr(Spool, "add", full)
    before = children()
    with pytest.raises(OutputRefused, match="TMPDIR"), looked(tmp_path):
        pass
    assert children() <= before


def test_a153_a_folder_that_leads_back_to_one_above_it_is_named_and_not_entered(tmp_path: Path) -> None:
    """As a mount can make it: the same device and number again. Few tests may mount, so the folder above is given the same place."""
    (tmp_path / "loop").mkdir()
    here, below = os.open(tmp_path, os.O_RDONLY), os.stat(tmp_path / "loop")
    frames = [_Frame(here, os.fsencode(tmp_path), b"", (below.st_dev, below.st_ino), [])]
    try:
        (found,) = _entered(b"loop", b"loop", frames[0], os.fsencode(tmp_path / "loop"), frames)
    finally:
        os.close(here)
    assert isinstance(found, NotRead)
    assert found.why is Left.LOOP
    assert len(frames) == 1


def test_memory_does_not_grow_with_the_number_of_files(tmp_path: Path) -> None:
    for number in range(20_000):
        if number % 100 == 0:
            folder = tmp_path / f"{number:06}"
            folder.mkdir()
        (folder / f"file-of-no-maker-{number:06}.dat").write_bytes(b"%d" % number)
    code = (
        "import os, resource, sys\nfrom datetime import datetime, UTC\nfrom sealwright.plant.survey import survey\n"
        "def most(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "with survey([os.fsencode(sys.argv[1])], now=datetime.now(UTC)) as seen: assert seen.counts.total == 100\n"
        "before = most()\n"
        "with survey([os.fsencode(sys.argv[2])], now=datetime.now(UTC)) as seen: assert seen.counts.total == 20_000\n"
        "print((most() - before) // 1024)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "000000"), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(said.stdout) < 40  # MiB, most of it the database's own cache, which is bounded


def test_the_quick_look_overlooks_no_format(tmp_path: Path) -> None:
    for name, make in MAKERS.items():
        (tmp_path / name).mkdir()
        path = make(tmp_path / name)
        with open_artifact(str(path)) as source:
            assert may_be_signed_inside(source), name
            assert could_be_signed_inside(*ends_of(source), path.name.upper()), name
    assert not could_be_signed_inside(b"plain te", b"xt without any signature inside.", "notes.txt")


def test_signatures_of_other_kinds_are_named_and_those_of_ima_are_looked_at(tmp_path: Path) -> None:
    for name in ("a.iso", "a.iso.asc", "b.bin", "b.bin.minisig", "c.bin", "c.bin.sig", "alone.asc", "d.bin"):
        (tmp_path / name).write_bytes(name.encode())
    sign_inside(tmp_path / "d.bin", PKI.leaf("ima", construction=Construction.IMA), tmp_path / "e.bin", "ima")
    assert (tmp_path / "e.bin.sig").exists()
    with looked(tmp_path) as spool:
        named = [os.path.basename(one.path) for one in spool.not_read(Left.ELSEWHERE)]
        assert named == [b"a.iso.asc", b"b.bin.minisig", b"c.bin.sig"]
        assert states(spool) == {"bare": 1, "unsigned": 8}
        assert spool.counts.unread == 0
