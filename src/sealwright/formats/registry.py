"""The table of formats, and which of them speaks for a path.

A folder is a tree with a manifest. A file may have signatures inside, a bare signature beside it, a manifest with claims, or
all three; they are found together with what the plant says of it, and the trust file's rules decide which are needed.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from sealwright.artifact.source import open_artifact
from sealwright.errors import Unreadable
from sealwright.findings import reject
from sealwright.formats.detached import Detached
from sealwright.formats.embedded import extract_beside, extract_embedded, recognise
from sealwright.formats.format import Format, Found, Search
from sealwright.formats.known import EMBEDDED
from sealwright.formats.sidecar import (
    ACCEPTANCE_SUFFIX,
    IMA_LIST_SUFFIX,
    MANIFEST_LINE,
    MANIFEST_SUFFIX,
    OURS,
    RECEIVING_SUFFIX,
    STATEMENT_SUFFIXES,
    has_sidecar,
    with_log_proofs,
)


def detached() -> Format:
    """Any file, as it is."""
    return Detached()


def manifest() -> Format:
    """Folders, and files with claims. Imported when first needed: most files carry a bare signature (start-up time)."""
    from sealwright.formats.manifest import ManifestFormat

    return ManifestFormat()


FORMATS: dict[str, Callable[[], Format]] = {"detached": detached, "manifest": manifest}
NAMES = (*FORMATS, *EMBEDDED)
TIMELESS = tuple(name for name, known in EMBEDDED.items() if known.timeless)


def find(path: str, search: Search) -> Found:
    """Everything that signs `path`, or `search.source` in its place. Manifests, statements and `TREE.ima` stand for what they list.

    Raises Unreadable, ChangedWhileRead or LimitExceeded where the artifact cannot be read.
    """
    if search.beside is None and search.source is None and os.path.isdir(path):
        path = plain_folder(path)
        return with_log_proofs(_find_tree(path, search), path, search)
    listed = path.removesuffix(MANIFEST_SUFFIX)
    if listed != path and search.source is None and _is_manifest(path) and os.path.exists(listed):
        parts = _statements(listed, "manifest", search) if search.signature is None else []
        return with_log_proofs(_together(listed, [manifest().extract(listed, search), *parts]), listed, search)
    if search.source is None and search.beside is None and (about := stated(path)) is not None:
        return find(about, search)
    return with_log_proofs(_find_file(path, search), path, search)


def stands_for_another(path: str) -> bool:
    """Whether `find` judges what a manifest, statement or list is about, and not the file at the path itself."""
    listed, folder = path.removesuffix(MANIFEST_SUFFIX), path.removesuffix(IMA_LIST_SUFFIX)
    if folder != path:
        return os.path.isdir(folder)
    if listed == path:
        return False
    return stated(path) is not None or (os.path.exists(listed) and os.path.isfile(path) and _is_manifest(path))


def file_of(path: str) -> str | None:
    """The file that a manifest or statement at a path is about, where it lies beside it; None for a folder's, and for what is neither."""
    listed = path.removesuffix(MANIFEST_SUFFIX)
    if listed == path or not os.path.isfile(path):
        return None
    about = stated(path) or (listed if os.path.isfile(listed) and _is_manifest(path) else None)
    return about if about is not None and os.path.isfile(about) else None


def stated(path: str) -> str | None:
    """What a statement of the plant is about, where the path is that of one and what it is about lies beside it."""
    for suffix in STATEMENT_SUFFIXES:
        about = path.removesuffix(suffix)
        if about != path and os.path.exists(about) and os.path.isfile(path) and _begins(path, OURS):
            return None if _is_manifest(path) else about
    return None


def _find_file(path: str, search: Search) -> Found:
    given = search.source is not None
    signature, stem = search.signature, path.removesuffix(IMA_LIST_SUFFIX)
    if stem != path and signature is None and not given and os.path.isdir(stem):
        return _ima_list(stem, path, search)
    if signature is not None and (of_statement := _statement_named(path, search)) is not None:
        return of_statement
    by_manifest = (
        signature is not None and signature.endswith(".p7s") and MANIFEST_SUFFIX + "." in os.path.basename(signature)
    )
    listed = by_manifest or (signature is None and search.sees(path + MANIFEST_SUFFIX) and _is_own_manifest(path))
    with search.opened(path) as source:
        search = search.of(source)
        form = recognise(source, search.layouts) if signature is None else None
        parts = [extract_embedded(path, form, search)] if form is not None else []
        if parts and parts[0].candidates and search.alone:
            (one,) = parts
            return Found(path, source.size, one.candidates, one.artifact, components=one.components)
        parts += extract_beside(path, search)
        inside = any(part.candidates for part in parts)
        bare = signature is None and has_sidecar(path, search)
        # a large file is read once: bare signatures are looked for first, and it is hashed for them only if there are any
        if not by_manifest and (not (listed or inside) or bare):
            parts.append(detached().extract(path, search))
        if listed:
            parts.append(manifest().extract(path, search))
        if signature is None:
            parts += _statements(path, form.name if form is not None else "detached", search)
    candidates = tuple(candidate for part in parts for candidate in part.candidates)
    artifact = next((part.artifact for part in parts if part.artifact is not None), None)
    missing = () if candidates else (reject("SW-SIGNATURE-MISSING", os.path.basename(path)),)
    components = tuple(one for part in parts for one in part.components)
    return Found(path, source.size, candidates, artifact, missing, components=components)


def _find_tree(folder: str, search: Search) -> Found:
    """What signs a folder: its manifest; where there is none, or it is named, a list with the IMA signatures of its files.

    Such a list binds no names, so it never makes up for a manifest that does not hold.
    """
    listed = folder + IMA_LIST_SUFFIX
    if search.signature is not None and search.signature.endswith(IMA_LIST_SUFFIX):
        return _ima_list(folder, search.signature, search)
    if search.signature is None and not os.path.lexists(folder + MANIFEST_SUFFIX) and os.path.lexists(listed):
        return _ima_list(folder, listed, search)
    if search.signature is not None and (of_statement := _statement_named(folder, search)) is not None:
        return of_statement
    parts = _statements(folder, "manifest", search) if search.signature is None else []
    if parts and not os.path.lexists(folder + MANIFEST_SUFFIX):
        return _together(folder, parts)
    return _together(folder, [manifest().extract(folder, search), *parts])


def _together(folder: str, parts: list[Found]) -> Found:
    """All that signs a folder; what is missing beside it is told only where nothing signs it."""
    if len(parts) == 1:
        return parts[0]
    candidates = tuple(candidate for part in parts for candidate in part.candidates)
    artifact = next((part.artifact for part in parts if part.artifact is not None), None)
    findings = () if candidates else tuple(finding for part in parts for finding in part.findings)
    return Found(folder, max(part.size for part in parts), candidates, artifact, findings)


def _statements(path: str, about: str, search: Search) -> list[Found]:
    """What the plant says of an artifact."""
    if not any(search.sees(path + suffix) for suffix in STATEMENT_SUFFIXES):
        return []
    from sealwright.formats.statements import find_acceptance, find_receiving  # start-up time: few files have one

    found = (find_receiving(path, about, search), find_acceptance(path, about, search))
    return [one for one in found if one is not None]


def _statement_named(path: str, search: Search) -> Found | None:
    """The statement whose signature was named with --signature; None where another one was."""
    named = os.path.basename(search.signature or "")
    if not any(f"{suffix}." in named for suffix in STATEMENT_SUFFIXES):
        return None
    from sealwright.formats.statements import find_acceptance, find_receiving  # start-up time: few files have one

    for suffix, find_one in ((ACCEPTANCE_SUFFIX, find_acceptance), (RECEIVING_SUFFIX, find_receiving)):
        if named.startswith(f"{os.path.basename(path)}{suffix}."):
            found = find_one(path, "detached", search)
            if found is not None:
                return found._replace(candidates=tuple(one for one in found.candidates if one.source == named))
    return None


def _is_own_manifest(path: str) -> bool:
    """Whether `path.manifest` is not the statement about another file, whose name this one has with an ending more."""
    return (
        not path.endswith((".plant", ".received"))
        or not _begins(path + MANIFEST_SUFFIX, OURS)
        or _is_manifest(path + MANIFEST_SUFFIX)
    )


def _ima_list(folder: str, path: str, search: Search) -> Found:
    from sealwright.formats.imalist import extract_list  # start-up time

    return extract_list(folder, path, search)


def _is_manifest(path: str) -> bool:
    return _begins(path, MANIFEST_LINE)


def _begins(path: str, line: bytes) -> bool:
    with open_artifact(path) as source:
        return source.read_at(0, len(line)) == line


def plain_folder(folder: str) -> str:
    """A folder's path without trailing separators; its name is needed for `NAME.manifest`."""
    full = os.path.abspath(folder)
    if os.path.dirname(full) == full:
        raise Unreadable(
            folder, "a root folder has no name for its manifest", "Name the manifest's signature with --signature."
        )
    return full if folder in (".", "..") or folder.endswith(("/.", "/..")) else folder.rstrip("/" + os.sep)
