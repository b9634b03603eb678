"""Certificate profiles as data: what a certificate of each kind may do, how long, and for which keys.

    | profile              | validity  | extended key usage                                   | for                                  |
    | root                 | 20 years  |                                                      | the anchor, offline                  |
    | intermediate         | 10 years  |                                                      | issues all below                     |
    | code-signer          | 460 days  | updatePackageSigning, codeSigning                    | firmware, programs, scripts          |
    | device-code-signer   | 20 years  | updatePackageSigning, codeSigning                    | what is burnt into devices           |
    | update-signer        | 460 days  | updatePackageSigning, codeSigning, emailProtection   | RAUC, SWUpdate (their default)       |
    | config-signer        | 460 days  | configSigning                                        | configurations, recipes              |
    | trust-config-signer  | 460 days  | trustAnchorConfigSigning                             | lists of anchors for devices         |
    | uefi-signer          | 20 years  | codeSigning                                          | Secure Boot: firmware asks no date   |
    | module-signer        | 20 years  | codeSigning                                          | kernel modules: the kernel asks none |
    | timestamp-authority  | 10 years  | timeStamping, critical and alone                     | RFC 3161 section 2.3                 |
    | ocsp-responder       | 90 days   | OCSPSigning, with nocheck                            | RFC 6960 section 4.2.2.2             |
    | log                  | 10 years  | one of our own arc                                   | a log's key, and nothing else        |
    | record-signer        | 10 years  | one of our own arc                                   | a station's records of what it found |
    | repository           | 10 years  | one of our own arc                                   | a role of a release repository       |
    | person               | 3 years   | documentSigning                                      | approvals, records (RFC 9336)        |
    | tls-server           | 90 days   | serverAuth                                           | the service                          |
    | tls-client           | 460 days  | clientAuth                                           | who asks the service                 |

460 days is the limit of the CA/Browser Forum's code-signing requirements (6.3.2) since March 2026; a device that was built to
check one key for its whole life gets the long-lived profile, which says by its name that it is an exception. Purposes are
those of RFC 9809 and RFC 5280 section 4.2.1.12. Every certificate has critical basicConstraints and keyUsage, key
identifiers, and a random serial of 159 bits (RFC 5280 section 4.1.2.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sealwright.envelope.algorithms import Scheme
from sealwright.pki.oids import LOG_SIGNING, RECORD_SIGNING, REPORT_SIGNING, REPOSITORY_SIGNING

SERVER_AUTH = "1.3.6.1.5.5.7.3.1"
CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"
CODE_SIGNING = "1.3.6.1.5.5.7.3.3"
EMAIL_PROTECTION = "1.3.6.1.5.5.7.3.4"
TIME_STAMPING = "1.3.6.1.5.5.7.3.8"
OCSP_SIGNING = "1.3.6.1.5.5.7.3.9"
DOCUMENT_SIGNING = "1.3.6.1.5.5.7.3.36"
CONFIG_SIGNING = "1.3.6.1.5.5.7.3.41"
TRUST_ANCHOR_CONFIG_SIGNING = "1.3.6.1.5.5.7.3.42"
UPDATE_PACKAGE_SIGNING = "1.3.6.1.5.5.7.3.43"
YEAR = 365


class Names(StrEnum):
    """Which names beside the subject a certificate must or may not have."""

    NONE = "none"
    HOSTS = "hosts"


@dataclass(frozen=True, slots=True)
class Profile:
    """path_length: None for a certificate that is no authority's; days: validity; purposes: extended key usage, dotted.

    critical_purposes: RFC 3161 section 2.3 wants it for a timestamp authority; schemes: of the keys it is issued for;
    names: whether subject alternative names are wanted; no_check: id-pkix-ocsp-nocheck; about: one line for a list.
    """

    name: str
    days: int
    path_length: int | None = None
    purposes: tuple[str, ...] = ()
    critical_purposes: bool = False
    schemes: frozenset[Scheme] = frozenset(Scheme)
    names: Names = Names.NONE
    no_check: bool = False
    about: str = ""

    @property
    def is_authority(self) -> bool:
        """Whether its certificates issue others."""
        return self.path_length is not None


# What `cryptography` builds certificates and lists with, and TLS and OCSP clients read
_ISSUES = frozenset((Scheme.RSA_PKCS1, Scheme.RSA_PSS, Scheme.ECDSA, Scheme.ED25519))
_CLASSIC = frozenset((Scheme.RSA_PKCS1, Scheme.ECDSA))
_CODE = (UPDATE_PACKAGE_SIGNING, CODE_SIGNING)

# Two: between it and a signer stand its successor, cross-signed when roots change, and that one's intermediate
ROOT = Profile("root", 20 * YEAR, path_length=2, schemes=_ISSUES, about="the anchor, kept offline")
INTERMEDIATE = Profile("intermediate", 10 * YEAR, path_length=0, schemes=_ISSUES, about="issues everything below")
CODE_SIGNER = Profile("code-signer", 460, purposes=_CODE, about="firmware, programs, scripts")
DEVICE_CODE_SIGNER = Profile(
    "device-code-signer", 20 * YEAR, purposes=_CODE, about="a key that devices check for their whole life"
)
UPDATE_SIGNER = Profile(
    "update-signer", 460, purposes=(*_CODE, EMAIL_PROTECTION), schemes=_CLASSIC, about="RAUC and SWUpdate"
)
CONFIG_SIGNER = Profile("config-signer", 460, purposes=(CONFIG_SIGNING,), about="configurations, recipes")
TRUST_CONFIG_SIGNER = Profile(
    "trust-config-signer", 460, purposes=(TRUST_ANCHOR_CONFIG_SIGNING,), about="lists of anchors for devices"
)
UEFI_SIGNER = Profile(
    "uefi-signer", 20 * YEAR, purposes=(CODE_SIGNING,), schemes=frozenset((Scheme.RSA_PKCS1,)), about="Secure Boot"
)
MODULE_SIGNER = Profile(
    "module-signer", 20 * YEAR, purposes=(CODE_SIGNING,), schemes=_CLASSIC, about="Linux kernel modules"
)
TIMESTAMP_AUTHORITY = Profile(
    "timestamp-authority", 10 * YEAR, purposes=(TIME_STAMPING,), critical_purposes=True, about="RFC 3161 timestamps"
)
OCSP_RESPONDER = Profile(
    "ocsp-responder", 90, purposes=(OCSP_SIGNING,), schemes=_CLASSIC, no_check=True, about="answers of revocation"
)
LOG = Profile("log", 10 * YEAR, purposes=(LOG_SIGNING,), about="a log's key")
# As long as a log's: a certificate that ends on a station must not stop what is installed there
RECORD_SIGNER = Profile(
    "record-signer", 10 * YEAR, purposes=(RECORD_SIGNING,), about="a station's records of what it verified"
)
# What a role's key may sign, and until when, its repository says; a certificate that ends must not stop a rotation
REPOSITORY = Profile("repository", 10 * YEAR, purposes=(REPOSITORY_SIGNING,), about="a role of a release repository")
DEVICE = Profile("device", 20 * YEAR, purposes=(REPORT_SIGNING,), about="a device's reports of what it runs")
PERSON = Profile("person", 3 * YEAR, purposes=(DOCUMENT_SIGNING,), about="approvals, records, trust files")
TLS_SERVER = Profile(
    "tls-server", 90, purposes=(SERVER_AUTH,), schemes=_CLASSIC, names=Names.HOSTS, about="the service"
)
TLS_CLIENT = Profile(
    "tls-client", 460, purposes=(CLIENT_AUTH,), schemes=_CLASSIC, about="people and machines that ask the service"
)
PROFILES = {
    profile.name: profile
    for profile in (
        ROOT,
        INTERMEDIATE,
        CODE_SIGNER,
        DEVICE_CODE_SIGNER,
        UPDATE_SIGNER,
        CONFIG_SIGNER,
        TRUST_CONFIG_SIGNER,
        UEFI_SIGNER,
        MODULE_SIGNER,
        TIMESTAMP_AUTHORITY,
        OCSP_RESPONDER,
        LOG,
        RECORD_SIGNER,
        REPOSITORY,
        DEVICE,
        PERSON,
        TLS_SERVER,
        TLS_CLIENT,
    )
}
