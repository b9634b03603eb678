"""Signatures inside files, made as the pipeline makes them, without a home."""

from __future__ import annotations

from pathlib import Path

from kit.pki import NOW, Signer, token
from sealwright.artifact.claims import Claims
from sealwright.artifact.output import Output, write_batch
from sealwright.envelope.construct import asked_of_key, attributes_of, built
from sealwright.envelope.kinds import KINDS
from sealwright.formats.embedded import check_attached, embedded_format, files_beside
from sealwright.formats.format import Existing, Sealed
from sealwright.formats.known import EMBEDDED
from sealwright.formats.layouttext import Layout

NO_CLAIMS = Claims()


def sign_inside(
    path: Path,
    signer: Signer,
    out: Path,
    form: str = "pe",
    *,
    existing: Existing = Existing.REFUSE,
    tsa: Signer | None = None,
    claims: Claims = NO_CLAIMS,
    layouts: tuple[Layout, ...] = (),
) -> Path:
    """Sign as the pipeline does, without a home; what lies beside the new file is written with it.

    layouts: the one that describes the format `layout`.
    """
    made, using = signer.signing, embedded_format(form, layouts)
    name = KINDS[EMBEDDED[form].kind].digest_name(made.algorithm)
    prepared = using.prepare(str(path), (name,), claims, existing, None)._replace(name=out.name)
    kind = KINDS[prepared.kind]
    digest = prepared.digests[kind.digest_name(made.algorithm)]
    attributes = attributes_of(made, kind, digest, NOW, prepared.name)
    value = signer.key.sign([asked_of_key(made, kind, digest, attributes)])[0]
    tokens = [token(tsa, value)] if tsa is not None else []
    sealed = Sealed(built(made, kind, attributes, value, tokens, prepared.content), value, made.der, made.algorithm)
    new = Output(
        str(out), using.attach(prepared, sealed), check=lambda new: check_attached(using, new, prepared, sealed)
    )
    beside = [Output(f"{out}{one.suffix}", one.data) for one in files_beside(form, prepared, sealed)]
    write_batch([new, *beside])
    return out


def stripped(path: Path, out: Path, form: str = "pe", layouts: tuple[Layout, ...] = ()) -> Path:
    """The program without its signatures."""
    write_batch([Output(str(out), embedded_format(form, layouts).strip(str(path)))])
    return out
