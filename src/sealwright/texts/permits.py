"""What is said of permits: findings of judging them, and the words of `permit`."""

from __future__ import annotations

from sealwright.texts.text import Text

_ASK = "Have a permit written for this very case: sealwright permit ask."

TEXTS: dict[str, Text] = {
    "SW-PERMIT-USED": Text(
        "allowed by a permit alone, for {subject} and nothing else: {wanted}, until {found}",
        "Write down that it was used; do not take it for a release that is in order.",
    ),
    "SW-PERMIT-FOLLOW-UP": Text(
        "the break-glass permit {subject} of {found} owes a follow-up: {wanted} others have to look at it",
        "Have them sign it: sealwright permit follow-up.",
    ),
    "SW-PERMIT-UNNEEDED": Text("the permit {subject} was not needed and is not used up", "Nothing to do."),
    "SW-PERMIT-OTHER": Text("{subject} does not count: it is for {wanted}, and this is {found}", _ASK),
    "SW-PERMIT-TIME": Text(
        "{subject} does not count: it is good {wanted}, and now it is {found}",
        "Set this machine's clock if it is wrong, or have a permit written for now.",
    ),
    "SW-PERMIT-NOT-ALLOWED": Text(
        "{subject} does not count: {found}",
        "Ask those whom the trust file names under [[permit]].",
    ),
    "SW-PERMIT-SIGNATURE": Text(
        "{subject} does not count: {found}",
        "Have each person whom it names sign it: sealwright permit sign.",
    ),
    "SW-PERMIT-SPENT": Text("the permit {subject} was used already for {found}", _ASK, "its permit was used already"),
    "SW-PERMIT-INSUFFICIENT": Text(
        "{subject} does not count: it excuses {wanted}, and against this stands {found}",
        "Mend what the other lines say; no permit helps against an altered file, a denial or a maker's missing signature.",
    ),
    "SW-PERMIT-REFUSED": Text("{subject}: {found}", "Do what the message says; nothing was signed."),
}

WORDS: dict[str, str] = {
    "verify.install.permitted": "INSTALL BY PERMIT ONLY: {kind} for {device}, until {until}",
    "verify.restore.permitted": "RESTORE BY PERMIT ONLY: {kind} for {device}, until {until}",
    "verify.next-permitted": "Install it on {device} now. It is allowed this once, by {name}.",
    "rule.permit": "{name}: {kinds} for {what}, at most {longest}, signed by {threshold} of {persons}",
    "rule.permit-follow-up": "{permit}; looked at afterwards by two of {persons}",
    "rule.permit-rules": "{what} under {rules}",
    "rule.hours": "{number} hours",
    "trust.permits": "Permits:",
    "change.permit-gone": "permits are no longer taken: {sentence}",
    "change.permit-new": "permits are taken: {sentence}",
    "change.permit-now": "permits change: {after} (it was {before})",
    "permit.show-kind": "Permit ({kind}) for the device {device} and no other.",
    "permit.show-product": "Product: {product}",
    "permit.show-no-product": "Product: none is claimed",
    "permit.show-older": "It lets an OLDER generation be installed than is allowed.",
    "permit.show-unaccepted": "It lets it be installed WITHOUT the plant's acceptance.",
    "permit.show-stale": "It lets it be installed though the trust file is TOO OLD.",
    "permit.show-artifact": "Artifact: {name}  {digest}",
    "permit.show-time": "From {begins} until {until} ({hours} hours).",
    "permit.show-reason": "Reason: {reason}",
    "permit.show-reason-elsewhere": "Reason: a text with the digest {digest}, which is not beside it",
    "permit.show-persons": "To be signed by {persons}.",
    "permit.show-signed": "{person}: signed ({name}, not checked here)",
    "permit.show-unsigned": "{person}: NOT SIGNED",
    "permit.show-follow-up": "{outcome}: the use of {name} ({digest}).",
    "permit.never": "It excuses no altered file, no denial, no missing signature of the maker.",
    "permit.asked": "{path}: written; it counts once {persons} signed it: sealwright permit sign",
    "permit.against": "Against it stands: {what}",
    "permit.signed": "{path}: signed by {person}",
    "permit.left": "nothing was signed",
    "permit.ask": "Sign it? Type yes: ",
    "permit.good": "{path}: it counts now, for {device}, until {until}",
    "permit.bad": "{path}: it does not count",
    "permit.problem": "{what}.",
    "permit.followed": "{path}: {outcome}, looked at by {persons}",
    "permit.not-followed": "{path}: not settled, {number} of 2 have looked at it",
    "permit.next": "Next: {step}",
    "fact.permit": "{kind} for {device}, until {until}, by {persons} ({digest})",
    "record.permit": "{line}  by permit: {kind} for {device}, by {persons}",
    "record.red": "{line}  RED: break-glass for {device} by {persons}, no follow-up",
    "record.followed": "{line}  break-glass for {device} by {persons}, {outcome} by {others}",
    "record.owed": "{count} break-glass uses owe a follow-up. Next: two others look at each: sealwright permit follow-up",
    "record.owed-unknown": "Whether others looked at them is not known: name --trust and the folder of --follow-ups.",
    "record.follow-up-problem": "remark: {what}.",
}
