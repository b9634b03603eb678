"""Certificate profiles as data: what a certificate of each kind may do, and how long (RFC 5280, RFC 9809, RFC 3161)."""

from __future__ import annotations

from dataclasses import dataclass

CODE_SIGNING = "1.3.6.1.5.5.7.3.3"
EMAIL_PROTECTION = "1.3.6.1.5.5.7.3.4"
TIME_STAMPING = "1.3.6.1.5.5.7.3.8"
CONFIG_SIGNING = "1.3.6.1.5.5.7.3.41"
TRUST_ANCHOR_CONFIG_SIGNING = "1.3.6.1.5.5.7.3.42"
UPDATE_PACKAGE_SIGNING = "1.3.6.1.5.5.7.3.43"


@dataclass(frozen=True, slots=True)
class Profile:
    """path_length: None for a certificate that is no authority's; days: validity; purposes: extended key usage, dotted.

    critical_purposes: RFC 3161 section 2.3 wants it for a timestamp authority.
    """

    name: str
    days: int
    path_length: int | None = None
    purposes: tuple[str, ...] = ()
    critical_purposes: bool = False


ROOT = Profile("root", 20 * 365, path_length=1)
INTERMEDIATE = Profile("intermediate", 10 * 365, path_length=0)
CODE_SIGNER = Profile("code signer", 460, purposes=(UPDATE_PACKAGE_SIGNING, CODE_SIGNING))
UPDATE_SIGNER = Profile("update signer", 460, purposes=(UPDATE_PACKAGE_SIGNING, CODE_SIGNING, EMAIL_PROTECTION))
CONFIG_SIGNER = Profile("configuration signer", 460, purposes=(CONFIG_SIGNING,))
TIMESTAMP_AUTHORITY = Profile("timestamp authority", 10 * 365, purposes=(TIME_STAMPING,), critical_purposes=True)
PERSON = Profile("person", 10 * 365)
PROFILES = (ROOT, INTERMEDIATE, CODE_SIGNER, UPDATE_SIGNER, CONFIG_SIGNER, TIMESTAMP_AUTHORITY, PERSON)
