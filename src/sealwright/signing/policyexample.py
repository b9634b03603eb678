"""The policies that `policy init` writes: a small company. docs/policies/small-company is what it wrote.

Development is signed by CI alone, a test wants one other person, production two, in office hours, out of hardware, and from our own
builder where a machine asks. An officer may call an emergency, which two officers look at within a day.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sealwright.errors import UsageError
from sealwright.signing.policyexamplecases import CASES, CI_CASES
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
    table = CASES
    if company.repository:
        files["ci.cedar"] = _CI
        files["settings.toml"] += _SETTINGS_CI + (_SETTINGS_BUILDER if company.builder_key else _SETTINGS_NO_BUILDER)
        table += CI_CASES
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
  action in [Action::"approve", Action::"prepare", Action::"read"],
  resource
);

@id("builders-prepare-again")
permit (
  principal in Role::"builder",
  action in [Action::"prepare", Action::"read"],
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
