"""The formats of the table (`known.py`) at work: which one speaks for a file, what it finds there, the check of what was made."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, cast

from sealwright.artifact.source import OpenArtifact, open_artifact, read_file_or_none
from sealwright.envelope.cms import Signer, check_signer
from sealwright.errors import ChangedWhileRead, SealwrightError, UsageError
from sealwright.findings import Severity, reject
from sealwright.formats.format import (
    BesideFormat,
    Candidate,
    Companion,
    EmbeddedFormat,
    Found,
    Prepared,
    Sealed,
    Search,
    Slot,
)
from sealwright.formats.known import BESIDE, EMBEDDED, ends_of, fitting
from sealwright.formats.sidecar import MAX_ENVELOPE_BYTES, read_late_tokens

if TYPE_CHECKING:
    from sealwright.formats.layouttext import Layout


def embedded_format(name: str, layouts: Collection[Layout] = ()) -> EmbeddedFormat:
    """The format of that name. layouts: what it is described by, where it is."""
    if EMBEDDED[name].described:
        from sealwright.formats.layout import LayoutFormat  # few files are of any (start-up time)

        return LayoutFormat(tuple(layouts))
    return _factory(name)()


@cache
def _factory(name: str) -> Callable[[], EmbeddedFormat]:
    known = EMBEDDED[name]
    return cast("Callable[[], EmbeddedFormat]", getattr(import_module(known.module), known.factory))


def recognise(source: OpenArtifact, layouts: Collection[Layout] = ()) -> EmbeddedFormat | None:
    """The format whose signatures a file can hold, or None; what somebody has described comes before what is known here."""
    if layouts:
        from sealwright.formats.layout import LayoutFormat

        if (described := LayoutFormat(tuple(layouts))).recognises(source):
            return described.fitting(source)
    head, tail = ends_of(source)
    for name in fitting(head, tail, source.path):
        found = embedded_format(name)
        if found.recognises(source):
            return found
    return None


def signed_beside(path: str, search: Search) -> list[EmbeddedFormat]:
    """The formats whose signature lies beside a file, or that the signature asked for is of by its name."""
    return [embedded_format(name) for name, endings in BESIDE.items() if _lies_beside(path, endings[-1], search)]


def extract_beside(path: str, search: Search) -> list[Found]:
    """The signatures that `signed_beside` is about."""
    found = []
    for form in signed_beside(path, search):
        looked = search if search.signature is None else search._replace(delivered=_delivered(form, search.signature))
        found.append(extract_embedded(path, form, looked))
    return found


def files_beside(name: str, prepared: Prepared, sealed: Sealed) -> tuple[Companion, ...]:
    """What a format writes beside the new file, the signature last; nothing where it is inside."""
    if name not in BESIDE:
        return ()
    return cast("BesideFormat", embedded_format(name)).beside(prepared, sealed)


def recognised(path: str, layouts: Collection[Layout] = ()) -> EmbeddedFormat:
    """The same for a path; UsageError where it is of no such format."""
    with open_artifact(path) as source:
        found = recognise(source, layouts)
    if found is None:
        raise UsageError(
            path,
            "it is of no format that keeps its signature inside",
            "A signature beside it is a file of its own (FILE.p7s). Where one goes inside, name the format: "
            f"{', '.join(EMBEDDED)}.",
        )
    return found


def extract_embedded(path: str, form: EmbeddedFormat, search: Search) -> Found:
    """The signatures inside. A file that cannot be read as its format is one candidate that never counts, with the reason."""
    try:
        return with_late_tokens(form.extract(path, search), path, search)
    except ChangedWhileRead:
        raise
    except SealwrightError as cause:
        name = (search.source.path if search.source is not None else path).rpartition("/")[2]
        about = cause.subject.rpartition("/")[2]  # the file, or one that lies beside it
        finding = reject(cause.code, about if about.startswith(f"{name}.") else name, found=cause.what)
        broken = Candidate(name, Slot.MAKER, form.name, form.name, None, {}, None, findings=(finding,))
        return Found(path, 0, (broken,), None)


def with_late_tokens(found: Found, path: str, search: Search) -> Found:
    """The timestamps that lie beside the file, for each of its signatures."""
    tokens, findings = read_late_tokens(path, search) if found.candidates else ((), ())
    if not tokens and not findings:
        return found
    late = [
        candidate._replace(late_tokens=tokens, findings=(*candidate.findings, *findings))
        for candidate in found.candidates
    ]
    return found._replace(candidates=tuple(late))


def check_attached(form: EmbeddedFormat, path: str, prepared: Prepared, sealed: Sealed) -> None:
    """The new file holds exactly this signature, or will have it beside it, and it fits the bytes that were written.

    Raises ChangedWhileRead where the artifact was changed after it was prepared, and what `check_signer` raises.
    """
    with open_artifact(path) as source:
        delivered = files_beside(form.name, prepared, sealed)
        search = Search(source=source, certificates=(sealed.certificate,), delivered=delivered, name=prepared.name)
        found = form.extract(path, search)
    for candidate in found.candidates:
        signers = candidate.envelope.signers if candidate.envelope is not None else ()
        for signer in signers:
            if isinstance(signer, Signer) and signer.signature == sealed.value:
                check_signer(signer, candidate.digests, candidate.kind, prepared.path)
                _check_no_refusal(candidate, prepared.path)
                return
    raise ChangedWhileRead(prepared.path, "the signature is not found in what was written", "Sign it again.")


def _check_no_refusal(candidate: Candidate, path: str) -> None:
    """Where the signature is over a statement about the bytes (a root hash, a list), the bytes that were written are as it says.

    A part that nobody signed yet is no contradiction: a FIT is signed configuration by configuration.
    """
    for finding in candidate.findings:
        if finding.severity is Severity.REJECT and finding.code != "SW-PART-UNSIGNED":
            raise ChangedWhileRead(path, finding.sentence, "Sign it again.")


def _lies_beside(path: str, ending: str, search: Search) -> bool:
    return search.sees(path + ending) if search.signature is None else search.signature.endswith(ending)


def _delivered(form: EmbeddedFormat, signature: str) -> tuple[Companion, ...]:
    """A named signature, and what lies beside it in place of beside the artifact."""
    endings = BESIDE[form.name]
    stem = signature.removesuffix(endings[-1])
    read = {ending: read_file_or_none(stem + ending, MAX_ENVELOPE_BYTES) for ending in endings}
    return tuple(Companion(ending, data) for ending, data in read.items() if data is not None)
