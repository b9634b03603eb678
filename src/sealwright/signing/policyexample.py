"""The policies that `policy init` writes: a small company. docs/policies/small-company is what it wrote.

Development is signed by CI alone, a test wants one other person, production two, in office hours, out of hardware, and from our own
builder where a machine asks. An officer may call an emergency, which two officers look at within a day.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sealwright.errors import UsageError
from sealwright.signing.policysettings import parse_settings

TABLE = "tests/small-company.toml"
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,199}")


@dataclass(frozen=True, slots=True)
class Company:
    """What differs from company to company. repository, builder: of CI, "" where no machine signs; zone: of its hours.

    builder_key: PEM, with which its provenance is signed, "" where that is entered later; build_type: of the provenance.
    """

    repository: str
    builder: str
    zone: str
    builder_key: str = ""
    build_type: str = "https://actions.github.io/buildtypes/workflow/v1"


def example(company: Company) -> dict[str, str]:
    """Names and texts of the files. UsageError for a name that would have to be quoted, or a zone that is none."""
    for name in (company.repository, company.builder, company.zone, company.build_type):
        if name and not _PLAIN.fullmatch(name):
            raise UsageError(name, "it is no plain name", "Give it without spaces, quotes and signs.")
    if bool(company.repository) is not bool(company.builder):
        raise UsageError("init", "a repository and its builder belong together", "Name both, or neither.")
    files = {"people.cedar": _PEOPLE, "signing.cedar": _SIGNING, "limits.cedar": _LIMITS, "settings.toml": _SETTINGS}
    table = _TABLE
    if company.repository:
        files["ci.cedar"] = _CI
        files["settings.toml"] += _SETTINGS_CI + (_SETTINGS_BUILDER if company.builder_key else _SETTINGS_NO_BUILDER)
        table += _TABLE_CI
    files[TABLE] = table
    filled = {name: _filled(text, company) for name, text in files.items()}
    parse_settings(filled["settings.toml"].encode(), "--zone")
    return filled


def _filled(text: str, company: Company) -> str:
    values = {
        "REPOSITORY": company.repository,
        "BUILDER": company.builder,
        "ZONE": company.zone,
        "BUILD_TYPE": company.build_type,
        "BUILDER_KEY": company.builder_key.strip(),
    }
    for name, value in values.items():
        text = text.replace(f"%{name}%", value)
    return text


_PEOPLE = """// Who may use the service at all. What is not permitted here or in another file is refused.

@id("requesters-ask")
permit (
  principal in Role::"requester",
  action in [Action::"request", Action::"withdraw", Action::"read"],
  resource
);

@id("approvers-look-and-approve")
permit (
  principal in Role::"approver",
  action in [Action::"approve", Action::"read"],
  resource
);

@id("auditors-read-everything")
permit (
  principal in Role::"auditor",
  action in [Action::"read", Action::"read-log"],
  resource
);

@id("operators-operate")
permit (principal in Role::"operator", action == Action::"operate", resource);

@id("keys-and-policies-by-two-officers")
@advice("Two officers must approve it.")
permit (
  principal in Role::"administrator",
  action in [Action::"manage-keys", Action::"change-policy"],
  resource
)
when { context.officers >= 2 };
"""
_SIGNING = """// What is signed, and with whose approval.

@id("test-by-one-other-person")
permit (principal in Role::"requester", action == Action::"sign", resource)
when {
  resource.environment == Environment::"test" &&
  context.approvals >= 1
};

@id("production-four-eyes")
@advice("Production needs two other people, and product and version in what is signed.")
permit (principal in Role::"requester", action == Action::"sign", resource)
when {
  resource.environment == Environment::"production" &&
  context.approvals >= 2 &&
  resource.claims_signed
};

@id("production-only-in-hardware")
@advice("Use a production key.")
forbid (principal, action == Action::"sign", resource)
when {
  resource.environment == Environment::"production" &&
  resource.provenance != Provenance::"hardware-attested" &&
  resource.provenance != Provenance::"hardware-claimed"
};
"""
_CI = """// What machines sign. One whose repository is not named here signs nothing.

@id("development-by-ci-alone")
permit (principal is Machine, action == Action::"sign", resource)
when {
  resource.environment == Environment::"development" &&
  resource.provenance == Provenance::"development" &&
  principal.claims.repository == "%REPOSITORY%"
};

@id("machines-sign-tags-of-our-builder-only")
@advice("Sign from a protected tag, built by the release workflow.")
forbid (principal is Machine, action == Action::"sign", resource)
when { resource.environment == Environment::"production" }
unless {
  principal.claims.repository == "%REPOSITORY%" &&
  principal.claims.ref_type == "tag" &&
  principal.claims.ref_protected == "true" &&
  context.builder == "%BUILDER%"
};

@id("ci-is-bounded")
@advice("More than 60 in an hour is a mistake or an attack; ask an operator.")
forbid (principal is Machine, action == Action::"sign", resource)
when { context.over.contains(Quota::"ci-hour") };
"""
_LIMITS = """// When production is not signed, and what an emergency may.

@id("nothing-while-frozen")
@followup("24h")
@advice("It is a freeze; ask an officer whether this is an emergency.")
forbid (principal, action == Action::"sign", resource)
when {
  resource.environment == Environment::"production" &&
  context.freeze.contains(Freeze::"year-end")
}
unless { context.emergency };

@id("production-in-office-hours")
@followup("24h")
@advice("Sign between 7 and 18 o'clock, Monday to Friday.")
forbid (principal, action == Action::"sign", resource)
when { resource.environment == Environment::"production" }
unless { context.hours.contains(Hours::"office") || context.emergency };

@id("emergency-by-one-officer")
@followup("24h")
@advice("An officer must approve an emergency.")
permit (principal in Role::"requester", action == Action::"sign", resource)
when { context.emergency && context.officers >= 1 };

@id("officers-call-an-emergency")
@followup("24h")
permit (principal in Role::"officer", action == Action::"break-glass", resource);
"""
_SETTINGS = """# sealwright policy settings 1
zone = "%ZONE%"

[hours.office]
days = ["monday", "tuesday", "wednesday", "thursday", "friday"]
from = "07:00"
until = "18:00"

[freeze.year-end]
from = 2026-12-18
until = 2027-01-06
reason = "nobody is at the plants"
"""
_SETTINGS_CI = """
[quota.ci-hour]
of = "principal"
per = "hour"
at_most = 60
"""
_SETTINGS_BUILDER = """
[builder.release]
id = "%BUILDER%"
build_types = ["%BUILD_TYPE%"]
key = '''
%BUILDER_KEY%
'''
"""
_SETTINGS_NO_BUILDER = """
# Without the builder's key no build provenance counts, and machines sign nothing for production (docs/ci/provenance.md):
# [builder.release]
# id = "%BUILDER%"
# build_types = ["%BUILD_TYPE%"]
# key = "-----BEGIN PUBLIC KEY-----..."
"""
_TABLE = """# sealwright policy test 1
# Each rule in both directions: what it is there for, and what stands just beside it.
[usual]
action = "sign"
environment = "production"
provenance = "hardware-attested"
claims_signed = true
at = 2026-11-26T10:00:00

[who.anna]
roles = ["requester"]
[who.ben]
roles = ["approver"]
[who.olga]
roles = ["approver", "officer"]
[who.adam]
roles = ["administrator"]
[who.otto]
roles = ["operator"]
[who.ida]
roles = ["auditor"]
[who.nobody]

[[case]]
who = "anna"
approvals = 2
expected = "allowed"
rule = "production-four-eyes"
needed = "2"

[[case]]
who = "anna"
approvals = 1
expected = "refused"
needed = "2"

[[case]]
who = "anna"
approvals = 8
claims_signed = false
expected = "refused"
needed = "never"

[[case]]
who = "anna"
approvals = 2
provenance = "development"
expected = "refused"
rule = "production-only-in-hardware"

[[case]]
who = "anna"
approvals = 2
provenance = "hardware-imported"
expected = "refused"
rule = "production-only-in-hardware"

[[case]]
who = "ben"
approvals = 8
expected = "refused"

[[case]]
who = "nobody"
approvals = 8
expected = "refused"

[[case]]
who = "anna"
environment = "test"
approvals = 1
expected = "allowed"
rule = "test-by-one-other-person"

[[case]]
who = "anna"
environment = "test"
expected = "refused"
needed = "1"

[[case]]
who = "anna"
environment = "development"
approvals = 8
expected = "refused"

[[case]]
who = "anna"
approvals = 2
at = 2026-12-24T10:00:00
expected = "refused"
rule = "nothing-while-frozen"

[[case]]
who = "anna"
approvals = 2
at = 2026-12-24T10:00:00
emergency = true
expected = "allowed"
rule = "production-four-eyes"

[[case]]
who = "anna"
approvals = 2
at = 2026-11-26T06:59:00
expected = "refused"
rule = "production-in-office-hours"

[[case]]
who = "anna"
approvals = 2
at = 2026-11-26T07:00:00
expected = "allowed"

[[case]]
who = "anna"
approvals = 2
at = 2026-11-28T10:00:00
expected = "refused"
rule = "production-in-office-hours"

[[case]]
who = "anna"
approvals = 1
officers = 1
emergency = true
expected = "allowed"
rule = "emergency-by-one-officer"
needed = "1/1"

[[case]]
who = "anna"
approvals = 1
officers = 1
expected = "refused"

[[case]]
who = "anna"
approvals = 1
emergency = true
expected = "refused"

[[case]]
who = "olga"
action = "break-glass"
expected = "allowed"
rule = "officers-call-an-emergency"

[[case]]
who = "anna"
action = "break-glass"
expected = "refused"

[[case]]
who = "anna"
action = "request"
expected = "allowed"
rule = "requesters-ask"

[[case]]
who = "ben"
action = "request"
expected = "refused"

[[case]]
who = "ben"
action = "approve"
requester = "anna"
expected = "allowed"
rule = "approvers-look-and-approve"

[[case]]
who = "ben"
action = "approve"
requester = "ben"
expected = "refused"
rule = "sealwright-not-your-own-request"

[[case]]
who = "ben"
action = "read"
of = "another"
expected = "refused"
rule = "sealwright-own-tenant"

[[case]]
who = "ida"
action = "read-log"
expected = "allowed"
rule = "auditors-read-everything"

[[case]]
who = "anna"
action = "read-log"
expected = "refused"

[[case]]
who = "otto"
action = "operate"
expected = "allowed"
rule = "operators-operate"

[[case]]
who = "ben"
action = "operate"
expected = "refused"

[[case]]
who = "adam"
action = "change-policy"
approvals = 2
officers = 2
expected = "allowed"
rule = "keys-and-policies-by-two-officers"
needed = "2/2"

[[case]]
who = "adam"
action = "change-policy"
approvals = 2
officers = 1
expected = "refused"

[[case]]
who = "olga"
action = "manage-keys"
approvals = 8
officers = 8
expected = "refused"

"""
_TABLE_CI = """[who.ci]
machine = true
person = "anna"
roles = ["requester"]
claims = { repository = "%REPOSITORY%", ref = "refs/tags/v1", ref_type = "tag", ref_protected = "true" }
[who.branch]
machine = true
person = "anna"
roles = ["requester"]
claims = { repository = "%REPOSITORY%", ref = "refs/heads/main", ref_type = "branch", ref_protected = "true" }
[who.fork]
machine = true
person = "anna"
roles = ["requester"]
claims = { repository = "%REPOSITORY%-evil", ref = "refs/tags/v1", ref_type = "tag", ref_protected = "true" }

[[case]]
who = "branch"
environment = "development"
provenance = "development"
expected = "allowed"
rule = "development-by-ci-alone"

[[case]]
who = "fork"
environment = "development"
provenance = "development"
expected = "refused"

[[case]]
who = "branch"
environment = "development"
expected = "refused"

[[case]]
who = "branch"
environment = "development"
provenance = "development"
used_hour = 60
expected = "refused"
rule = "ci-is-bounded"

[[case]]
who = "ci"
approvals = 2
builder = "%BUILDER%"
expected = "allowed"
rule = "production-four-eyes"

[[case]]
who = "ci"
approvals = 1
builder = "%BUILDER%"
expected = "refused"

[[case]]
who = "ci"
approvals = 2
expected = "refused"
rule = "machines-sign-tags-of-our-builder-only"

[[case]]
who = "branch"
approvals = 2
builder = "%BUILDER%"
expected = "refused"
rule = "machines-sign-tags-of-our-builder-only"

[[case]]
who = "fork"
approvals = 2
builder = "%BUILDER%"
expected = "refused"
rule = "machines-sign-tags-of-our-builder-only"

[[case]]
who = "ci"
action = "approve"
requester = "anna"
expected = "refused"
rule = "sealwright-not-your-own-request"
"""
