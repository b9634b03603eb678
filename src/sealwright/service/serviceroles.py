"""Keys of a repository's roles that a signing service holds: `release sign --service`, `release publish --service`.

    sign_staged(staging, ServiceRoles(ServicePlace(client, reason="spring release")))

The service gets the whole role, reads it and encodes it again before it signs (`formats/role.py`); its policies speak of the format `tuf`, of the
product `role NAME` and of the version. All roles that one key signs are one request. What comes back is verified here with the certificate's key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from securesystemslib.signer import Signature

from sealwright.envelope.kinds import TUF
from sealwright.release.rolekeys import Payload, prepared_role, role_key
from sealwright.service.serviceplace import ServiceKey, ServicePlace
from sealwright.signing.home import Home
from sealwright.signing.stamps import utc_now
from sealwright.trust.certificate import load_certificate, public_key


class ServiceRoles:
    """The role keys that a service shows to who asks, by their ids."""

    def __init__(self, place: ServicePlace) -> None:
        keys = [ServiceKey(place, told) for told in place.client.served().keys]
        self._keys = {_id(key): key for key in keys if key.signs(TUF)}

    @property
    def ids(self) -> frozenset[str]:
        """As clients know them."""
        return frozenset(self._keys)

    def sign(self, key_id: str, payloads: Sequence[Payload]) -> list[Signature]:
        """One request; raises what `ServiceKey.sign` raises, StillWaiting where nobody approved in time."""
        key = self._keys[key_id]
        made = key.sign([prepared_role(one, key.algorithm) for one in payloads], utc_now())
        return [Signature(key_id, one.value.hex()) for one in made]


@dataclass(frozen=True, slots=True)
class PublishingRoles:
    """The same for who publishes. home: records what goes out; it signs nothing."""

    roles: ServiceRoles
    home: Home

    @property
    def ids(self) -> frozenset[str]:
        """Of the service's keys."""
        return self.roles.ids

    def sign(self, key_id: str, payloads: Sequence[Payload]) -> list[Signature]:
        """By the service."""
        return self.roles.sign(key_id, payloads)

    def close(self) -> None:
        """Nothing of the home is open."""


def _id(key: ServiceKey) -> str:
    public = public_key(load_certificate(key.certificate.der, key.name))
    return role_key(public, key.algorithm, f"key {key.name}").keyid
