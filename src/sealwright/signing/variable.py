"""Signing updates of Secure Boot variables, through the one pipeline."""

from __future__ import annotations

from datetime import UTC, datetime

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.artifact.output import Replace, write_atomic
from sealwright.artifact.source import read_file
from sealwright.envelope.kinds import UEFI_VARIABLE
from sealwright.errors import UsageError
from sealwright.formats.efi_variable import (
    MAX_BYTES,
    check_content,
    read_lists,
    read_update,
    signed_for,
    to_be_signed,
    update_of,
)
from sealwright.formats.format import Coverage, Prepared
from sealwright.keys.pin import Pin
from sealwright.signing.home import Home, KeyPurpose
from sealwright.signing.pipeline import Pipeline


def sign_variable(
    path: str,
    target: str,
    variable: str,
    home: Home,
    *,
    key: str | None,
    time: datetime,
    append: bool,
    pin: Pin | None = None,
    replace: Replace = Replace.NO,
) -> None:
    """Write the .auth update of a variable with the lists of an .esl. time: aware, what the firmware compares with its last one.

    Raises UsageError for lists the variable does not take, MalformedArtifact for no lists, what the pipeline raises.
    """
    data = read_file(path, MAX_BYTES)
    check_content(variable, read_lists(data, path), append=append, subject=path)
    moment = time.astimezone(UTC).replace(microsecond=0)
    if not 1998 <= moment.year <= 9999:
        raise UsageError("--time", f"{moment:%Y} is no year of UEFI's", "Use a time from 1998 on.")
    enrolled = home.key(key, KeyPurpose.ARTIFACT, UEFI_VARIABLE)
    signed = to_be_signed(variable, data, moment, append=append)
    name = UEFI_VARIABLE.digest_name(enrolled.algorithm)
    digests = {name: Digest.of(signed, name)}
    prepared = Prepared(
        UEFI_VARIABLE.name, UEFI_VARIABLE.name, path, digests, None, len(data), Coverage.whole(len(data)), Claims()
    )
    with Pipeline(home, enrolled, pin) as pipeline:
        (made,) = pipeline.sign([prepared], datetime.now(UTC))
        update = update_of(data, moment, pipeline.sealed(made).envelope)
    held, _ = signed_for(read_update(update, target), target)
    if held != (variable, append):
        raise UsageError(target, "the update does not verify as what it was made for", "Report this.")
    write_atomic(target, update, replace=replace)
