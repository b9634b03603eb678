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
        "the break-glass permit {subject} of {found} owes a follow-up: {wanted} others look at it",
        "Have them sign it: sealwright permit follow-up.",
    ),
    "SW-PERMIT-UNNEEDED": Text("the permit {subject} was not needed and is not used up", "Nothing to do."),
    "SW-PERMIT-OTHER": Text("the permit {subject} does not count: it is for {wanted}, and this is {found}", _ASK),
    "SW-PERMIT-TIME": Text(
        "the permit {subject} does not count: it is good {wanted}, and now it is {found}",
        "Set this machine's clock if it is wrong, or have a permit written for now.",
    ),
    "SW-PERMIT-NOT-ALLOWED": Text(
        "the permit {subject} does not count: {found}",
        "Ask those whom the trust file names under [[permit]].",
    ),
    "SW-PERMIT-SIGNATURE": Text(
        "the permit {subject} does not count: {found}",
        "Have each person whom it names sign it: sealwright permit sign.",
    ),
    "SW-PERMIT-SPENT": Text("the permit {subject} was used already for {found}", _ASK, "its permit was used already"),
    "SW-PERMIT-INSUFFICIENT": Text(
        "the permit {subject} does not count: it excuses {wanted}, and against this stands {found}",
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
    "permit.show-excuse.generation": "It lets an OLDER generation be installed than is allowed.",
    "permit.show-excuse.plant-signature": "It lets it be installed WITHOUT the plant's acceptance.",
    "permit.show-excuse.stale-trust": "It lets it be installed though the trust file is TOO OLD.",
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
    "record.permit": "by permit ({kind}, {device})",
    "record.red": "RED: break-glass, no follow-up",
    "record.followed": "break-glass, {outcome} by {persons}",
}
