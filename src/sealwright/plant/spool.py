"""What a survey has seen, on disk instead of in memory: a private SQLite database that has no name and ends with the process.

SQLite makes it in the folder for temporary files (SQLITE_TMPDIR, TMPDIR, else /var/tmp) and removes its name at once, so nothing is
left behind and nothing is written beside what was surveyed. Asked at the end for groups: signers, copies, versions, folders.
Every question has an order, and examples are the first by path (the other columns of a group come from the row that min() found), so
that two surveys of the same files read the same, whichever worker was quicker. Paths come as they are, with lone surrogates for
bytes that are no UTF-8: whoever shows them escapes them.
"""

from __future__ import annotations

import os
import pickle
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import groupby, islice, repeat

from sealwright.errors import OutputRefused
from sealwright.plant.belonging import Belonging
from sealwright.plant.rows import Answer, Chunk, FileRow, Plain, SignatureRow, StampRow
from sealwright.plant.seen import (
    BELONGING,
    LISTED,
    Belongs,
    CertificateLine,
    Copies,
    CopiesTotal,
    Counts,
    FolderLine,
    Product,
    Reason,
    RuleLine,
    SignerLine,
    Tally,
    Told,
    Use,
    Version,
)
from sealwright.plant.signers import State
from sealwright.plant.walk import Left, NotRead

CACHE_KIB = 16 * 1024
MAX_KEPT = 5_000  # numbers of folders and signers that are not asked of the database again
FEW = 4  # large files at a time
_TABLES = """
CREATE TABLE folder (id INTEGER PRIMARY KEY, path BLOB UNIQUE NOT NULL, root BLOB, inside BLOB);
CREATE TABLE file (id INTEGER PRIMARY KEY, folder INTEGER, name BLOB, size INTEGER, digest BLOB, state TEXT, tree INTEGER, why TEXT);
CREATE TABLE signer (id INTEGER PRIMARY KEY, identity TEXT UNIQUE, subject TEXT, issuer TEXT);
CREATE TABLE certificate (signer INTEGER, digest TEXT, key TEXT, not_before REAL, not_after REAL, next_end REAL, chain BLOB,
  UNIQUE (signer, digest));
CREATE TABLE authority (digest TEXT PRIMARY KEY, chain BLOB, bound INTEGER);
CREATE TABLE signature (file INTEGER, signer INTEGER, certificate TEXT, format TEXT, slot TEXT, state TEXT, algorithm TEXT,
  weakness TEXT, authority TEXT, stamped REAL, stamp_problem TEXT, product TEXT, version TEXT, generation TEXT, code TEXT, why TEXT);
CREATE TABLE judged (file INTEGER PRIMARY KEY, outcome TEXT, rule TEXT, code TEXT, why TEXT);
CREATE TABLE left (path BLOB, why TEXT, what TEXT);
CREATE TABLE belonging (folder BLOB, name BLOB, above BLOB, owner BLOB, kind TEXT, bound INTEGER DEFAULT 0);
"""
_TOLD = """
SELECT folder.path, file.name, told.state, subject, format, code, told.why FROM (
  SELECT file, signature.state, subject, format, code, coalesce(nullif(weakness, ''), why) AS why FROM signature
    LEFT JOIN signer ON signer.id = signature.signer WHERE signature.state IN ({marks})
  UNION ALL SELECT id, state, '', '', '', why FROM file WHERE state IN ({marks}) AND why IS NOT NULL
) AS told JOIN file ON file.id = told.file JOIN folder ON folder.id = file.folder ORDER BY folder.path, file.name
"""
_PLAIN = "INSERT INTO file (folder, name, size, digest, state, tree) VALUES (?, ?, ?, ?, 'unsigned', 0)"
_DIGEST = "UPDATE file SET size = ?, digest = ? WHERE id = ?"
_LATER = """
SELECT root, inside, path, name, file.id FROM file JOIN folder ON folder.id = file.folder WHERE digest IS NULL AND state = 'unsigned'
  AND NOT tree AND size IN (SELECT size FROM file WHERE NOT tree GROUP BY size HAVING count(*) > 1) ORDER BY +file.id
"""
_FILE = "INSERT INTO file (id, folder, name, size, digest, state, tree, why) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_SIGNATURE = "INSERT INTO signature VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_AUTHORITY = (
    "INSERT INTO authority VALUES (?, ?, ?) ON CONFLICT (digest) DO UPDATE SET bound = min(bound, excluded.bound)"
)
# in which statement a thing is named, by what kind
_STATED = "('receiving', 'acceptance', 'evidence', 'report')"
_BOUND = f"""
UPDATE belonging SET bound = 1 WHERE kind IN {_STATED} AND EXISTS (SELECT 1 FROM folder JOIN file ON file.folder = folder.id
  AND file.name = belonging.owner JOIN signature ON signature.file = file.id WHERE folder.path = belonging.above
  AND signature.state = 'intact'
  AND signature.format = CASE WHEN belonging.kind IN ('receiving', 'evidence') THEN 'receiving' ELSE 'acceptance' END)
"""  # noqa: S608
_BELONGING = """
UPDATE file SET state = ? WHERE state = 'unsigned' AND NOT tree AND id IN (SELECT file.id FROM belonging JOIN folder
  ON folder.path = belonging.folder JOIN file ON file.folder = folder.id AND file.name = belonging.name
  WHERE kind IN ('evidence', 'report'))
"""
# by size first: whole numbers are put in order faster than digests, and most files differ in theirs
_COPIES = """
CREATE TABLE copied AS SELECT digest, size, count(*) AS number FROM file WHERE digest IS NOT NULL AND size > 0 AND NOT tree
  GROUP BY size, digest HAVING number > 1
"""
# CROSS JOIN keeps the order: one pass over the files, each looked up among the few groups, and no index of all digests
_COPIED = """
SELECT file.digest, copy.size, copy.number, folder.path, file.name FROM file
  CROSS JOIN (SELECT * FROM copied ORDER BY size * (number - 1) DESC, digest LIMIT ?) AS copy ON copy.digest = file.digest
  JOIN folder ON folder.id = file.folder
  WHERE NOT tree ORDER BY copy.size * (copy.number - 1) DESC, file.digest, folder.path, file.name
"""


@contextmanager
def spooling() -> Iterator[None]:
    """OutputRefused where the spool has no room; around everything that writes into it or asks it."""
    try:
        yield
    except sqlite3.Error as cause:
        step = "Make room in the folder for temporary files, or name another one in the environment variable TMPDIR."
        raise OutputRefused("the survey's temporary file", f"it cannot be used: {cause}", step) from cause


class Spool:
    """Owns the database; a context manager."""

    def __init__(self) -> None:
        self.base = sqlite3.connect("", isolation_level=None)
        for pragma in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{CACHE_KIB}", "temp_store = FILE"):
            self.base.execute(f"PRAGMA {pragma}")
        self.base.executescript(_TABLES)
        self.base.execute("BEGIN")
        self.signers: dict[str, int] = {}
        self.folders: dict[bytes, int] = {}
        self.settled: Counts | None = None

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self.base.close()

    def add(self, chunk: Chunk, answer: Answer | None) -> None:
        """What a worker answered; where it died the reason is said of each file."""
        folder = self._folder(chunk)
        if answer is None:
            why = "the process that read it ended: too large or too odd for this machine"
            lost = [FileRow(at, 0, b"", State.UNREADABLE.value, why) for at in range(len(chunk.names))]
            answer = Answer(Plain([], [], []), lost, [], [])
        for one in answer.signers:
            signer = self._signer(one.signer, one.subject, one.issuer)
            if one.chain:
                row = (signer, one.certificate, one.key, one.not_before, one.not_after, one.next_end)
                self.base.execute(
                    "INSERT OR IGNORE INTO certificate VALUES (?,?,?,?,?,?,?)", (*row, pickle.dumps(one.chain))
                )
        for stamp in answer.stamps:
            self.base.execute(_AUTHORITY, (stamp.certificate, pickle.dumps(stamp.chain), stamp.bound))
        places, sizes, digests = answer.plain
        if chunk.files:
            self.base.executemany(_DIGEST, zip(sizes, digests, map(chunk.files.__getitem__, places), strict=True))
            lost_files = [(one.why, chunk.files[one.place]) for one in answer.files]
            self.base.executemany("UPDATE file SET state = 'unreadable', why = ? WHERE id = ?", lost_files)
            return
        if places:
            names = map(chunk.names.__getitem__, places)
            self.base.executemany(_PLAIN, zip(repeat(folder), names, sizes, digests))
        if answer.files:
            self._add(answer.files, folder, chunk)

    def _add(self, rows: Sequence[FileRow], folder: int, chunk: Chunk) -> None:
        """Many at once, with numbers of our own: a statement for each costs as much as what it does."""
        (last,) = self.base.execute("SELECT coalesce(max(id), 0) FROM file").fetchone()
        numbered = list(enumerate(rows, last + 1))
        names, tree = chunk.names, int(chunk.trees)
        self.base.executemany(
            _FILE,
            [
                (id_, folder, names[r.place], r.size, r.digest or None, r.state, tree, r.why or None)
                for id_, r in numbered
            ],
        )
        self.base.executemany(_SIGNATURE, [self._signed(id_, one) for id_, r in numbered for one in r.signatures])
        judged = [(id_, *r.judged) for id_, r in numbered if r.judged is not None]
        self.base.executemany("INSERT INTO judged VALUES (?,?,?,?,?)", judged)

    def _signed(self, file: int, one: SignatureRow) -> tuple[object, ...]:
        """A row of the table, in its order."""
        signer = self._signer(one.signer, "", "") if one.signer else None
        generation = "" if one.generation is None else str(one.generation)
        return (file, signer, *one[1:12], generation, *one[13:])

    def left(self, one: NotRead) -> None:
        """Something that the walk left alone."""
        self.base.execute("INSERT INTO left VALUES (?,?,?)", (one.path, one.why.value, one.what))

    def belongs(self, one: Belonging) -> None:
        """Something that is another one's, if that one's signed statement holds."""
        self.base.execute("INSERT INTO belonging VALUES (?,?,?,?,?,0)", one)

    def later(self) -> Iterator[Chunk]:
        """The large unsigned files that may be copies of another, because it has the same size; asked once, after the first look."""
        # the order wants a sorted copy, so that what changes meanwhile is not met again
        for (root, inside, path), found in groupby(self.base.execute(_LATER), key=lambda row: row[:3]):
            while some := list(islice(found, FEW)):
                names, files = tuple(row[3] for row in some), tuple(row[4] for row in some)
                yield Chunk(root, inside, path, names, files=files)

    def settle(self) -> None:
        """After the last answer: what lies in folders whose signed manifest holds is no unsigned file."""
        trees = self.base.execute(
            "SELECT folder.path, file.name FROM file JOIN folder ON folder.id = file.folder WHERE tree AND state = 'intact'"
        ).fetchall()
        for path, name in trees:
            tree = os.path.join(path, name)
            below = tree + b"/"
            self.base.execute(
                "UPDATE file SET state = ? WHERE state = 'unsigned' AND NOT tree AND folder IN"
                " (SELECT id FROM folder WHERE path = ? OR substr(path, 1, ?) = ?)",
                (LISTED, tree, len(below), below),
            )
        self.base.execute("CREATE INDEX of_signer ON signature (signer)")
        self.base.execute("CREATE INDEX of_file ON signature (file)")
        self.base.execute("CREATE INDEX of_state ON signature (state)")
        self.base.execute("CREATE INDEX of_reason ON file (state) WHERE why IS NOT NULL")
        self._settle_belonging()
        self.base.execute(_COPIES)
        self.settled = self._counted()

    def _settle_belonging(self) -> None:
        """What a statement lists is bound where the statement's signature holds, else a file like any other."""
        if self.base.execute(f"SELECT 1 FROM belonging WHERE kind IN {_STATED} LIMIT 1").fetchone() is None:  # noqa: S608
            return
        self.base.execute("CREATE INDEX by_name ON file (folder, name)")
        self.base.execute(_BOUND)
        self.base.execute("DELETE FROM belonging WHERE kind IN ('evidence', 'report') AND NOT bound")
        self.base.execute(_BELONGING, (BELONGING,))

    @property
    def counts(self) -> Counts:
        """How much of what; after the last answer it is counted once, because every section asks for it."""
        return self.settled or self._counted()

    def _counted(self) -> Counts:
        # nearly all files are unsigned: to group them with the others would be to sort them all
        plain = self.base.execute(
            "SELECT count(*), coalesce(sum(size), 0) FROM file WHERE state = 'unsigned' AND NOT tree"
        )
        ((unsigned, size),) = plain
        others = self.base.execute(
            "SELECT tree, state, count(*), sum(size) FROM file WHERE state != 'unsigned' GROUP BY tree, state ORDER BY state"
        ).fetchall()
        states = [Tally(state, number) for tree, state, number, _ in others if not tree]
        if unsigned:
            states.append(Tally(State.UNSIGNED.value, unsigned))
        size += sum(each for tree, _, _, each in others if not tree)
        trees = sum(number for tree, _, number, _ in others if tree)
        (folders,) = self.base.execute("SELECT count(*) FROM folder").fetchone()
        left = self._tallies('SELECT why, count(*) FROM "left" GROUP BY why ORDER BY why')
        return Counts(tuple(sorted(states)), folders, size, trees, left)

    @property
    def signers_total(self) -> int:
        """How many signers there are."""
        (number,) = self.base.execute("SELECT count(DISTINCT signer) FROM signature").fetchone()
        return int(number)

    def by_signer(self, limit: int = -1) -> Iterator[SignerLine]:
        """Those who signed most come first; -1 is no limit."""
        ranked = self.base.execute(
            "SELECT signer.id, subject, issuer, count(DISTINCT file) AS files FROM signature JOIN signer"
            " ON signer.id = signature.signer GROUP BY signer.id ORDER BY files DESC, subject, issuer, identity LIMIT ?",
            (limit,),
        ).fetchall()
        for signer, subject, issuer, files in ranked:
            (stamped,) = self._one("sum(stamped > 0)", signer)
            (every,) = self._one("count(*)", signer)
            yield SignerLine(
                id=signer,
                subject=subject,
                issuer=issuer,
                files=files,
                states=self._grouped("state", signer),
                formats=self._grouped("format", signer),
                algorithms=self._grouped("algorithm", signer),
                stamped=stamped,
                unstamped=every - stamped,
                authorities=self._grouped("authority", signer),
                products=tuple(one.what for one in self._grouped("product", signer)),
                certificates=tuple(self._certificates(signer)),
            )

    def intact(self) -> Iterator[Use]:
        """Every use of every certificate whose signatures hold, for a draft of a trust file."""
        found = self.base.execute(
            "SELECT chain, format, slot, product, count(DISTINCT file), sum(stamped > 0) = count(*) FROM signature"
            " JOIN certificate ON certificate.signer = signature.signer AND certificate.digest = signature.certificate"
            " WHERE state = 'intact' GROUP BY signature.signer, signature.certificate, format, slot, product"
            " ORDER BY signature.certificate, format, slot, product"
        )
        for chain, form, slot, product, files, stamped in found:
            yield Use(pickle.loads(chain), form, slot, product, files, bool(stamped))  # noqa: S301 (this process wrote it)

    def authorities(self) -> Iterator[StampRow]:
        """Each timestamp authority of which some token was in order; bound only if all of them are."""
        for digest, chain, bound in self.base.execute("SELECT digest, chain, bound FROM authority ORDER BY digest"):
            yield StampRow(digest, pickle.loads(chain), bool(bound))  # noqa: S301 (this process wrote it)

    def told(self, *states: State) -> Iterator[Told]:
        """The files of which some signature, or the file itself, is in one of these states, by path."""
        wanted = [one.value for one in states]
        marks = ",".join("?" * len(wanted))
        found = self.base.execute(_TOLD.format(marks=marks), (*wanted, *wanted))
        for path, name, state, subject, form, code, why in found:
            yield Told(_raw(path, name), state, subject or "", form, code, why or "")

    def signed(self) -> Iterator[tuple[str, str, str, int, tuple[sqlite3.Row, ...]]]:
        """Every file with a signature: path as it is, state, digest, size, and its signatures."""
        found = self.base.execute(
            "SELECT file.id, folder.path, file.name, state, digest, size FROM file JOIN folder ON folder.id = file.folder"
            " WHERE EXISTS (SELECT 1 FROM signature WHERE signature.file = file.id) ORDER BY folder.path, file.name"
        )
        for file, path, name, state, digest, size in found:
            cursor = self.base.execute(
                "SELECT signature.*, subject, issuer FROM signature LEFT JOIN signer ON signer.id = signature.signer"
                " WHERE file = ? ORDER BY signature.rowid",
                (file,),
            )
            cursor.row_factory = sqlite3.Row
            yield _raw(path, name), state, _digest(digest), size, tuple(cursor.fetchall())

    def unsigned(self, limit: int = -1) -> Iterator[FolderLine]:
        """The folders with the most unsigned files of their own."""
        found = self.base.execute(
            "SELECT folder.path, count(*) AS files, sum(size) FROM file JOIN folder ON folder.id = file.folder"
            " WHERE state = 'unsigned' AND NOT tree GROUP BY folder.id ORDER BY files DESC, folder.path LIMIT ?",
            (limit,),
        )
        for path, files, size in found:
            yield FolderLine(_raw(path), files, size)

    def copies(self, limit: int, named: int) -> Iterator[Copies]:
        """Files with the same bytes, those first that take most room. named: how many paths of each."""
        for (digest, size, number), rows in groupby(self.base.execute(_COPIED, (limit,)), key=lambda row: row[:3]):
            # all of a group's rows are gone through by `groupby`; a slice with a negative end would keep them
            paths = islice(rows, named if named >= 0 else None)
            yield Copies(_digest(digest), size, number, tuple(_raw(*one[3:]) for one in paths))

    @property
    def copies_total(self) -> CopiesTotal:
        """How much of it is there more than once."""
        found = self.base.execute(
            "SELECT count(*), coalesce(sum(number - 1), 0), coalesce(sum(size * (number - 1)), 0) FROM copied"
        ).fetchone()
        return CopiesTotal(*found)

    def products(self) -> Iterator[Product]:
        """Products of which one signer's claims name several versions."""
        found = self.base.execute(
            "SELECT product, signer, subject FROM signature LEFT JOIN signer ON signer.id = signature.signer WHERE product != ''"
            " GROUP BY product, signer HAVING count(DISTINCT version || ' ' || generation) > 1 ORDER BY product, subject, identity"
        ).fetchall()
        for product, signer, subject in found:
            versions = self.base.execute(
                "SELECT version, generation, count(DISTINCT file.id), folder.path, file.name,"
                " min(CAST(folder.path || '/' || file.name AS BLOB)) FROM signature"
                " JOIN file ON file.id = signature.file JOIN folder ON folder.id = file.folder"
                " WHERE product = ? AND signer IS ?"
                " GROUP BY version, generation ORDER BY CAST(generation AS INTEGER), version",
                (product, signer),
            ).fetchall()
            lines = tuple(
                Version(version, generation, files, _raw(path, name))
                for version, generation, files, path, name, _ in versions
            )
            yield Product(product, subject or "", lines)

    def belonging(self) -> Iterator[Belongs]:
        """What belongs to another file or folder, by that one."""
        found = self.base.execute(
            "SELECT folder, name, above, owner, kind, bound FROM belonging ORDER BY above, owner, kind, folder, name"
        )
        for folder, name, above, owner, kind, bound in found:
            yield Belongs(_raw(folder, name), _raw(above, owner), kind, bool(bound))

    def not_read(self, *why: Left) -> Iterator[NotRead]:
        """What the walk left alone."""
        marks = ",".join("?" * len(why))
        found = self.base.execute(
            f'SELECT path, why, what FROM "left" WHERE why IN ({marks}) ORDER BY path',  # noqa: S608
            [one.value for one in why],
        )
        for path, reason, what in found:
            yield NotRead(path, Left(reason), what)

    def rules(self, names: Sequence[str]) -> Iterator[RuleLine]:
        """Rule by rule, what the trust file would do with the signed files. names: of all its rules; what counts for none is last."""
        asked = {one.rule: one for one in self._judged()}
        for name in names:
            yield asked.get(name, RuleLine(name, 0, 0, 0, ()))
        if "" in asked:
            yield asked[""]

    def _judged(self) -> Iterator[RuleLine]:
        found = self.base.execute(
            "SELECT rule, sum(outcome = 'trusted'), sum(outcome = 'rejected'), sum(outcome = 'undecided') FROM judged"
            " GROUP BY rule ORDER BY rule = '', rule"
        ).fetchall()
        for rule, allowed, refused, undecided in found:
            reasons = self.base.execute(
                "SELECT code, count(*) AS number, judged.why, folder.path, file.name,"
                " min(CAST(folder.path || '/' || file.name AS BLOB)) FROM judged"
                " JOIN file ON file.id = judged.file JOIN folder ON folder.id = file.folder"
                " WHERE rule = ? AND outcome != 'trusted'"
                " GROUP BY code ORDER BY number DESC, code",
                (rule,),
            ).fetchall()
            lines = tuple(Reason(code, number, why, _raw(path, name)) for code, number, why, path, name, _ in reasons)
            yield RuleLine(rule, allowed, refused, undecided, lines)

    def _tallies(self, query: str) -> tuple[Tally, ...]:
        return tuple(map(Tally._make, self.base.execute(query)))

    def _folder(self, chunk: Chunk) -> int:
        path = chunk.path
        known = self.folders.get(path)
        if known is None:
            values = (path, chunk.root, chunk.inside)
            self.base.execute("INSERT OR IGNORE INTO folder (path, root, inside) VALUES (?, ?, ?)", values)
            (known,) = self.base.execute("SELECT id FROM folder WHERE path = ?", (path,)).fetchone()
            if len(self.folders) >= MAX_KEPT:
                self.folders.clear()
            self.folders[path] = int(known)
        return int(known)

    def _signer(self, identity: str, subject: str, issuer: str) -> int:
        known = self.signers.get(identity)
        if known is None:
            self.base.execute(
                "INSERT OR IGNORE INTO signer (identity, subject, issuer) VALUES (?,?,?)", (identity, subject, issuer)
            )
            (known,) = self.base.execute("SELECT id FROM signer WHERE identity = ?", (identity,)).fetchone()
            if len(self.signers) >= MAX_KEPT:
                self.signers.clear()
            self.signers[identity] = int(known)
        return int(known)

    def _one(self, what: str, signer: int) -> tuple[int]:
        (found,) = self.base.execute(f"SELECT {what} FROM signature WHERE signer = ?", (signer,)).fetchone()  # noqa: S608
        return (int(found or 0),)

    def _grouped(self, column: str, signer: int) -> tuple[Tally, ...]:
        found = self.base.execute(
            f"SELECT {column}, count(*) AS number FROM signature WHERE signer = ? AND {column} != ''"  # noqa: S608
            f" GROUP BY {column} ORDER BY number DESC, {column}",
            (signer,),
        )
        return tuple(map(Tally._make, found))

    def _certificates(self, signer: int) -> Iterator[CertificateLine]:
        found = self.base.execute(
            "SELECT digest, key, not_before, not_after, next_end, chain,"
            " (SELECT count(DISTINCT file) FROM signature WHERE signature.signer = certificate.signer"
            " AND signature.certificate = certificate.digest) FROM certificate WHERE signer = ? ORDER BY not_after, digest",
            (signer,),
        ).fetchall()
        for digest, key, before, after, next_end, chain, files in found:
            yield CertificateLine(
                digest=digest,
                key=key,
                not_before=_time(before),
                not_after=_time(after),
                next_end=_time(next_end) if next_end else None,
                files=files,
                chain=pickle.loads(chain),  # noqa: S301 (this process wrote it)
            )


def _raw(*parts: bytes) -> str:
    return os.fsdecode(os.path.join(*parts))


def _digest(value: bytes | None) -> str:
    return f"sha256:{value.hex()}" if value else ""


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
