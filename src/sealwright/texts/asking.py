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
    "approve.no-product": "  it names no product, so there is no last release to compare it with",
    "approve.first": "  first release of {product} for {environment} known to this service",
    "approve.back": "  !! OLDER THAN THE LAST RELEASE: {why}",
    "approve.again": "  !! OTHER BYTES UNDER THE SAME {what}",
    "approve.since": "  since the last release, {id} of {when} ({same} files are the same):",
    "approve.claim": "    {name}: {was} -> {becomes}",
    "approve.added": "    added    {name}  {becomes}",
    "approve.removed": "    removed  {name}  {was}",
    "approve.changed": "    changed  {name}  {was} -> {becomes}",
    "approve.more-changes": "    and {number} files more",
    "approve.shown": "nothing is approved: name your own key with --home or --fido2",
    "securitykey.touch": "touch the security key",
    "approve.ask": "Approve? Type yes: ",
    "approve.left": "not approved",
    "approve.done": "approved; it is {state} now, approved by {approvals}",
    "followup.owed": "{id}  an emergency of {who}; two officers look at it until {until}",
    "followup.left": "nothing was said; with --confirm or --dispute you say what {id} was",
    "followup.settled": "it is {outcome} now",
    "followup.one-more": "taken in; another officer has to look at it too",
    "sign.waits-for-approval": "request {id} waits for approval: sealwright approve {id} --service {url} (and your certificates)",
}
