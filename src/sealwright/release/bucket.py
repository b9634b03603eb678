"""A bucket of an object store with the S3 interface as the place of a repository: `s3://BUCKET/PREFIX?endpoint=URL&region=NAME`.

Credentials are those that the AWS library finds (role, profile, environment), never a part of the URL; TLS is checked as everywhere.
What is added is put on the condition that nothing has its name (If-None-Match), the pointer on the condition that it is still the
one that was read (If-Match), so that of two who publish one is refused, wherever they run. An object above 5 GiB is refused: the
condition goes with a single request.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from sealwright.errors import LimitExceeded, RepositoryUnavailable, UsageError
from sealwright.release.storage import (
    MAX_METADATA_BYTES,
    POINTER,
    Added,
    not_staged,
    opened,
    other_bytes,
    other_pointer,
)

if TYPE_CHECKING:
    from botocore.client import BaseClient

MAX_OBJECT_BYTES = 5 << 30
CONNECT_S, READ_S = 10, 60
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_TAKEN = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
_ABSENT = ("NoSuchKey", "404", "NotFound")


class BucketStorage:
    """One prefix of one bucket."""

    def __init__(self, client: BaseClient, bucket: str, prefix: str) -> None:
        self._client: Any = client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""

    @property
    def place(self) -> str:
        """Bucket and prefix."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def read(self, name: str, limit_bytes: int) -> bytes | None:
        """See `Storage`."""
        return self._read(name, limit_bytes)[0]

    def add(self, files: Sequence[Added]) -> None:
        """See `Storage`: one request each, and one more for a name that is taken."""
        for one in files:
            if one.size > MAX_OBJECT_BYTES:
                raise LimitExceeded(one.name, f"{one.size} bytes", "Pack it in parts of at most 5 GiB.")
            with opened(one) as descriptor, open(descriptor, "rb", closefd=False) as body:
                if hashlib.file_digest(body, "sha256").digest() != one.digest.value:
                    raise not_staged(one.name)
                body.seek(0)
                # the store compares what arrives with it: the file may change while it is sent
                checksum = base64.b64encode(one.digest.value).decode()
                if not self._put(one.name, body, IfNoneMatch="*", ChecksumSHA256=checksum) and not self._has(one):
                    raise other_bytes(one.name)

    def exchange(self, before: bytes | None, after: bytes) -> None:
        """See `Storage`."""
        found, tag = self._read(POINTER, MAX_METADATA_BYTES)
        if found == after:
            return
        condition = {"IfNoneMatch": "*"} if found is None else {"IfMatch": tag}
        if found != before or not self._put(POINTER, after, **condition):
            raise other_pointer(self.place)

    def _read(self, name: str, limit_bytes: int) -> tuple[bytes | None, str]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._key(name))
            data = answer["Body"].read(limit_bytes + 1)
        except ClientError as cause:
            if cause.response.get("Error", {}).get("Code") in _ABSENT:
                return None, ""
            raise self._unavailable(cause) from cause
        except BotoCoreError as cause:
            raise self._unavailable(cause) from cause
        if len(data) > limit_bytes:
            raise LimitExceeded(f"{self.place}/{name}", f"more than {limit_bytes} bytes", "Find out who wrote there.")
        return data, str(answer["ETag"])

    def _put(self, name: str, body: Any, **condition: str) -> bool:
        """Whether it was written; False where the condition does not hold."""
        from botocore.exceptions import BotoCoreError, ClientError

        kept = "no-cache" if name == POINTER else "public, max-age=31536000, immutable"
        try:
            self._client.put_object(Bucket=self._bucket, Key=self._key(name), Body=body, CacheControl=kept, **condition)
        except ClientError as cause:
            if cause.response.get("Error", {}).get("Code") in _TAKEN:
                return False
            raise self._unavailable(cause) from cause
        except BotoCoreError as cause:
            raise self._unavailable(cause) from cause
        return True

    def _has(self, one: Added) -> bool:
        """Whether an object has the bytes of a file."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._key(one.name))
            if answer["ContentLength"] != one.size:
                return False
            theirs = hashlib.sha256()
            for block in answer["Body"].iter_chunks(1 << 20):
                theirs.update(block)
        except (BotoCoreError, ClientError) as cause:
            raise self._unavailable(cause) from cause
        return one.digest.value == theirs.digest()

    def _key(self, name: str) -> str:
        return f"{self._prefix}{name}"

    def _unavailable(self, cause: Exception) -> RepositoryUnavailable:
        return RepositoryUnavailable(
            self.place, f"the object store says: {cause}"[:300], "Check its address, the credentials and what they may."
        )


def open_bucket(url: str) -> BucketStorage:
    """The place of a URL; UsageError for one with anything else in it, a password above all."""
    try:
        import boto3
        from botocore.config import Config
    except ImportError as cause:
        raise UsageError(
            url[:100], "the AWS library is not installed", "Install Sealwright with the extra `release`."
        ) from cause
    parts = urlsplit(url)
    asked = dict(parse_qsl(parts.query, keep_blank_values=True))
    if not _BUCKET.fullmatch(parts.netloc) or parts.fragment or asked.keys() - {"endpoint", "region"}:
        raise UsageError(
            "s3://", "it is no place in an object store", "Write s3://BUCKET/PREFIX?endpoint=https://HOST&region=NAME."
        )
    config = Config(
        connect_timeout=CONNECT_S, read_timeout=READ_S, retries={"mode": "standard", "total_max_attempts": 4}
    )
    client = boto3.session.Session().client(
        "s3", endpoint_url=asked.get("endpoint"), region_name=asked.get("region", "us-east-1"), config=config
    )
    return BucketStorage(client, parts.netloc, parts.path.strip("/"))
