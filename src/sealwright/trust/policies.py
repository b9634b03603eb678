"""Certificate policies on a path, where an authority demands them (RFC 5280 section 6.1, initial policy set: any).

We ask for no policy of our own. But an authority may say that every path below it must keep one (policyConstraints, critical),
may forbid that anyPolicy or a mapping stands in for it, and a certificate that demands this must not be read as if it did not.
OpenSSL processes these extensions only for a caller who names policies, which its Python binding cannot do.

The valid policy tree is kept as its newest level only: valid policy -> what a certificate below may call it. An empty level
is the tree that RFC 5280 calls NULL; whether a policy is left is all that is asked.
"""

from collections.abc import Sequence
from typing import Annotated

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509.oid import ExtensionOID

from sealwright.envelope.asn1 import der

ANY = x509.ObjectIdentifier("2.5.29.32.0")
MAX_POLICIES = 64
Level = dict[x509.ObjectIdentifier, set[x509.ObjectIdentifier]]


@asn1.sequence
class Mapping:
    """One member of PolicyMappings (RFC 5280 section 4.2.1.5)."""

    issuer: x509.ObjectIdentifier
    subject: x509.ObjectIdentifier


@asn1.sequence
class Wrapped:
    """A SEQUENCE around PolicyMappings, because a decoder's outermost type is a class."""

    mappings: Annotated[list[Mapping], asn1.Size(1, MAX_POLICIES)]


def policy_problem(certificates: Sequence[x509.Certificate]) -> str:
    """Why the policies of a path (leaf to anchor) do not hold, one clause, or "". The anchor's own are not asked."""
    below = list(reversed(certificates[:-1]))
    count = len(below)
    explicit = mapping = inhibit = count + 1
    level: Level = {ANY: {ANY}}
    for depth, one in enumerate(below, 1):
        last, self_issued = depth == count, one.subject == one.issuer
        try:
            policies, mapped, demands, forbids = _extensions(one)
        except ValueError:
            return "its certificate policies cannot be read"
        if max(len(policies or ()), len(mapped)) > MAX_POLICIES:
            return f"a certificate with more than {MAX_POLICIES} policies"
        any_counts = inhibit > 0 or (not last and self_issued)
        level = _next(level, policies, any_counts) if policies is not None else {}
        if explicit == 0 and not level:
            return "an authority on it demands a certificate policy that is not kept"
        if not last:
            if ANY in mapped or any(ANY in names for names in mapped.values()):
                return "an authority on it maps the policy that stands for all"
            level = _mapped(level, mapped, allowed=mapping > 0)
        if last or not self_issued:
            explicit, mapping, inhibit = (max(left - 1, 0) for left in (explicit, mapping, inhibit))
        if demands is not None and demands.require_explicit_policy is not None:
            asked = demands.require_explicit_policy
            # Of the leaf only zero can matter (section 6.1.5 b).
            explicit = min(explicit, asked) if not last or asked == 0 else explicit
        if demands is not None and demands.inhibit_policy_mapping is not None:
            mapping = min(mapping, demands.inhibit_policy_mapping)
        if forbids is not None:
            inhibit = min(inhibit, forbids)
    return "" if explicit > 0 or level else "an authority on it demands a certificate policy that is not kept"


def _next(level: Level, policies: frozenset[x509.ObjectIdentifier], any_counts: bool) -> Level:
    """Section 6.1.3 (d): the policies of a certificate that its authorities expected."""
    expected = {name for names in level.values() for name in names}
    found: Level = {name: {name} for name in policies - {ANY} if name in expected or ANY in level}
    if ANY in policies and any_counts:
        found |= {name: {name} for name in expected if name not in found}
    return found


def _mapped(level: Level, mapped: Level, *, allowed: bool) -> Level:
    """Section 6.1.4 (b): what the certificates below may call a policy instead."""
    if not allowed:
        return {name: names for name, names in level.items() if name not in mapped}
    return level | {name: names for name, names in mapped.items() if name in level or ANY in level}


def _extensions(
    one: x509.Certificate,
) -> tuple[frozenset[x509.ObjectIdentifier] | None, Level, x509.PolicyConstraints | None, int | None]:
    policies, demands, forbids = None, None, None
    mapped: Level = {}
    for extension in one.extensions:
        value = extension.value
        if isinstance(value, x509.CertificatePolicies):
            policies = frozenset(policy.policy_identifier for policy in value)
        elif isinstance(value, x509.PolicyConstraints):
            demands = value
        elif isinstance(value, x509.InhibitAnyPolicy):
            forbids = value.skip_certs
        elif isinstance(value, x509.UnrecognizedExtension) and value.oid == ExtensionOID.POLICY_MAPPINGS:
            for pair in asn1.decode_der(Wrapped, der(0x30, value.value)).mappings:
                mapped.setdefault(pair.issuer, set()).add(pair.subject)
    return policies, mapped, demands, forbids
