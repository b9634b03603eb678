"""The cases by which the policies of `policy init` are tried: each rule in both directions (`policyexample.py` fills the names in)."""

from __future__ import annotations

CASES = """# sealwright policy test 1
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
[who.builder]
roles = ["builder"]
machine = true
person = "ben"
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
who = "builder"
action = "prepare"
expected = "allowed"
rule = "builders-prepare-again"

[[case]]
who = "builder"
action = "approve"
expected = "refused"

[[case]]
who = "anna"
action = "prepare"
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
CI_CASES = """[who.ci]
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
