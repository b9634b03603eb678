"""The bodies of hawkBit's device interface (DDI, version 1), as its clients read and write them.

What clients send and nobody here needs is left unread: an `id` that the path says already, a time of a clock that nobody trusts, progress.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

MAX_ATTRIBUTES = 100
Name = Annotated[str, Meta(min_length=1, max_length=128)]
Value = Annotated[str, Meta(max_length=512)]


class Href(Struct):
    """A link."""

    href: str


class BaseLinks(Struct, omit_defaults=True, rename="camel"):
    """What the device is to ask next."""

    deployment_base: Href | None = None
    cancel_action: Href | None = None
    config_data: Href | None = None


class Polling(Struct):
    """sleep: HH:MM:SS until the next question."""

    sleep: str


class BaseConfig(Struct):
    """How the device is to behave."""

    polling: Polling


class ControllerBase(Struct):
    """The answer to each poll."""

    config: BaseConfig
    links: BaseLinks = field(name="_links")


class ArtifactLinks(Struct, omit_defaults=True):
    """Where a file is: over TLS, or without for who asked without."""

    download: Href | None = None
    md5sum: Href | None = None
    download_http: Href | None = field(name="download-http", default=None)
    md5sum_http: Href | None = field(name="md5sum-http", default=None)


class Hashes(Struct):
    """Hexadecimal."""

    sha1: str
    md5: str
    sha256: str


class Artifact(Struct):
    """One file."""

    filename: str
    hashes: Hashes
    size: int
    links: ArtifactLinks = field(name="_links")


class Chunk(Struct):
    """What hawkBit calls a software module: a component of a release."""

    part: str
    version: str
    name: str
    artifacts: list[Artifact]


class Deployment(Struct):
    """When to do what with which files."""

    download: str
    update: str
    chunks: list[Chunk]


class DeploymentBase(Struct):
    """An action that installs. id: its number."""

    id: str
    deployment: Deployment


class Stop(Struct, rename="camel"):
    """Which action to stop."""

    stop_id: str


class CancelAction(Struct, rename="camel"):
    """An action that ends another; both have one number here."""

    id: str
    cancel_action: Stop


class FeedbackResult(Struct):
    """How it ended, `none` before."""

    finished: Literal["success", "failure", "none"]


class FeedbackStatus(Struct):
    """How far the device is."""

    execution: Literal["closed", "proceeding", "canceled", "scheduled", "rejected", "resumed", "downloaded", "download"]
    result: FeedbackResult
    details: Annotated[list[str], Meta(max_length=1000)] = []


class Feedback(Struct):
    """What a device tells of an action."""

    status: FeedbackStatus


class ConfigData(Struct):
    """What a device tells of itself."""

    data: Annotated[dict[Name, Value], Meta(max_length=MAX_ATTRIBUTES)]
    mode: Literal["merge", "replace", "remove"] = "merge"


class Taken(Struct):
    """That a word was taken."""


class Health(Struct):
    """offering: whether the repository can be relied on now."""

    status: str
    version: str
    offering: bool
