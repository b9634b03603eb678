"""What is said about requests at a signing service: `approve`, `sign --service`."""

from __future__ import annotations

WORDS: dict[str, str] = {
    "approve.waits": "{id}  asked by {who}, {count} artifacts, until {until}; approved by {approvals}",
    "approve.asks": "{who} asks for {count} signatures, format {format}",
    "approve.key": "  by the key {key}, under the policies {policy}; good until {until}",
    "approve.reason": "  reason: {reason}",
    "approve.emergency": "  AN EMERGENCY: it passes by the ordinary approvals, and two officers look at it afterwards",
    "approve.item": "  {file}  {digest}  {size} bytes",
    "approve.more": "  and {number} more",
    "approve.ask": "Approve? Type yes: ",
    "approve.left": "not approved",
    "approve.done": "approved; it is {state} now, approved by {approvals}",
    "followup.owed": "{id}  an emergency of {who}; two officers look at it until {until}",
    "followup.left": "nothing was said; with --confirm or --dispute you say what {id} was",
    "followup.settled": "it is {outcome} now",
    "followup.one-more": "taken in; another officer has to look at it too",
    "approve.provenance-signed": "  BUILT by a builder that the service's policies trust, whose signature it has checked:",
    "approve.provenance-bare": "  built as the requester says, and nobody vouches for it:",
    "ci.waits": "request {id} is {state}; approved by {approvals}",
    "ci.statement": "provenance: {path}",
    "ci.verified": "{path}: built by this builder",
    "ci.builder": "    builder {builder}, build type {type}",
    "ci.source": "    source {source} at {ref}",
    "sign.waits-for-approval": "request {id} waits for approval: sealwright approve {id} --service {url} (and your certificates)",
}
