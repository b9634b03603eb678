"""Sentences about a judgement: what was found beside an artifact, who signed it, which rule it met, at which time."""

from __future__ import annotations

from sealwright.texts.text import Text

_ASK_MAKER = "Ask whoever delivered the file for a correctly signed one."
_ASK_OFFICER = "Ask your security officer; nothing on this machine needs to be changed."
_FETCH_AGAIN = "Copy the delivery again from its source and verify it again."
_NEWER_TRUST = "Bring a newer trust file and revocation bundle on a stick and verify again."

TEXTS: dict[str, Text] = {
    "SW-SIGNATURE-MISSING": Text(
        "{subject}: there is no signature of its maker beside it", _ASK_MAKER, "the file is not signed"
    ),
    "SW-MANIFEST-MISSING": Text(
        "{found} has no manifest {subject} beside it",
        "Ask whoever delivered the folder for its manifest and signature.",
        "the folder is not signed",
    ),
    "SW-MANIFEST-KIND": Text(
        "{subject}: the manifest is made for {wanted}, but this is {found}", _FETCH_AGAIN, "the manifest does not fit"
    ),
    "SW-MANIFEST-NAME": Text(
        "{subject}: the manifest names the file {wanted}, this one is called {found}",
        "Give the file the name under which it was signed, if that is what it is.",
        "the file has another name than the signed one",
    ),
    "SW-SIGNATURE-NAME": Text(
        "{subject}: the signature is about a file called {wanted}, this one is called {found}",
        "Give the file the name under which it was signed, if that is what it is.",
        "the file has another name than the signed one",
    ),
    "SW-FILE-CHANGED": Text(
        "{subject}: the delivered file is not the one that was signed ({found})",
        _FETCH_AGAIN,
        "the file was changed",
        plain="{subject}: the delivered file is not the one that was signed",
    ),
    "SW-ACCEPTANCE-MISSING": Text(
        "{subject}: the rule wants the plant's word beside the maker's signature, and there is none",
        "Have it tested and accepted by the plant first (`sealwright accept`).",
        "the plant has not accepted it",
    ),
    "SW-SIGNATURE-PQ-MISSING": Text(
        "{subject}: the rule wants a post-quantum signature, and there is none",
        _ASK_MAKER,
        "a required signature is missing",
    ),
    "SW-SIGNATURE-IGNORED": Text(
        "the signature {subject} did not count: {found}",
        "Nothing to do if the others are the ones you expect.",
        plain="the signature {subject} does not count here; `--details` says why",
    ),
    "SW-TIMESTAMP-UNREADABLE": Text(
        "{subject} cannot be read as a timestamp: {found}",
        "Ask for the timestamp again; until then the date is not proved.",
    ),
    "SW-TIMESTAMP-REFUSED": Text(
        "{subject} proves no date: {found}", "Ask for a timestamp of an authority in the trust file."
    ),
    "SW-TIMESTAMP-CLOCK": Text(
        "{subject} says that it is {found}, this machine says {wanted}",
        "Check this machine's clock, then the authority's; the timestamp was kept and counts.",
    ),
    "SW-TIMESTAMP-STRANGER": Text(
        "no verifier with this home's trust file accepts timestamps of {subject}: {found}",
        "Name another authority with `--timestamp`, or have this one written into the trust file.",
    ),
    "SW-EVIDENCE-REFUSED": Text(
        "the evidence record {subject} proves nothing: {found}",
        "Bring the record that was made for these files; the signature was judged without it.",
    ),
    "SW-EVIDENCE-HOLDS": Text(
        "the evidence record {subject} proves that the signed file existed by {wanted}; its archive timestamps: {found}",
        "Nothing to do; renew it before its last timestamp ages (`sealwright renew-proofs`).",
    ),
    "SW-REVOCATION-AS-KEPT": Text(
        "the certificate of {subject} ended on {wanted}; that it was not revoked is judged by lists kept in the evidence record",
        "Nothing to do.",
        plain="that the signer had not been withdrawn is judged by what was kept with the signed file",
    ),
    "SW-ALGORITHM-WITHDRAWN": Text(
        "{subject} rests on {found}, which counts for what is proved to have existed by {wanted}, and nothing proves that",
        "Ask the signer for a new signature; for what you keep, run `sealwright renew-proofs` before such a date.",
        "it rests on an algorithm that no longer counts",
    ),
    "SW-TIMESTAMP-REQUIRED": Text(
        "{subject}: the rule wants a proved date, and neither a timestamp nor a log proof proves one",
        "Ask the signer for a timestamp of it, or for its log proof.",
        "the date of the signature is not proved",
    ),
    "SW-LOG-PROOF-MISSING": Text(
        "{subject}: the rule {wanted} wants a proof that it is in a signing log that witnesses watch, and there is none",
        "Ask the signer for the log proof of this file (FILE.tlog-proof).",
        "nothing proves that it is in the signing log",
    ),
    "SW-LOG-PROOF-REFUSED": Text(
        "the log proof {subject} proves nothing: {found}",
        "Fetch the log proof of this signature again.",
        plain="the log proof {subject} proves nothing; `--details` says why",
    ),
    "SW-LOG-PROOF-UNWITNESSED": Text(
        "the log proof {subject} was seen by {found} of the {wanted} witnesses that the trust file wants, so it proves nothing yet",
        "Fetch the log proof again: witnesses sign later than the log does.",
    ),
    "SW-RULE-NONE": Text("no rule of the trust file is made for {subject}", _ASK_OFFICER, "no rule allows it"),
    "SW-CLAIMS-DIFFER": Text(
        "the signatures of {subject} say different things: {wanted} and {found}",
        _ASK_MAKER,
        "its signatures contradict each other",
    ),
    "SW-CLAIMS-NOT-SIGNED": Text(
        "{subject} does not say in signed bytes that it is for {wanted}, and the rule needs it",
        "Ask the signer to sign it with its product, version and generation.",
        "what it is made for is not signed",
    ),
    "SW-SIGNER-NOT-ALLOWED": Text(
        "{subject} may not sign this: wanted {wanted}, found {found}",
        _ASK_MAKER,
        "its signer may not sign this",
        plain="{subject} may not sign this",
    ),
    "SW-SIGNER-UNMAPPED": Text(
        "{subject}: the certificate of {found} belongs to no person in the trust file",
        _ASK_OFFICER,
        "its signer is not known",
        plain="{subject}: {found} is not among the people of the trust file",
    ),
    "SW-SIGNERS-TOO-FEW": Text(
        "{subject}: {wanted} distinct signers are needed, {found} counted",
        "Ask for the missing signature.",
        "too few have signed it",
    ),
    "SW-SIGNERS-NOT-DISTINCT": Text(
        "{subject}: {wanted} and {found} must come from different people, and come from one",
        "Ask for a signature of another person.",
        "one person signed for two",
    ),
    "SW-PIN-ENDED": Text(
        "{subject}: the trust file accepted this certificate itself only until {found}",
        _ASK_OFFICER,
        "the exception for its signer has ended",
        plain="{subject}: the trust file accepted this signer only until {found}",
    ),
    "SW-PART-UNSIGNED": Text(
        "{subject}: {found} is not covered by the signature",
        _ASK_MAKER,
        "a part of the file is not signed",
        plain="{subject}: a part of it is not signed ({found})",
    ),
    "SW-KEY-CONSTRUCTION": Text(
        "the key of {subject} is enrolled for {found}, and this is a signature by {wanted}",
        _ASK_MAKER,
        "its signer's key is for something else",
    ),
    "SW-CERT-PURPOSE": Text(
        "the certificate of {subject} is not made for this: wanted {wanted}, found {found}",
        _ASK_MAKER,
        "its signer may sign other things only",
        plain="{subject} may sign other things, but not this",
    ),
    "SW-CERT-EXPIRED": Text(
        "the certificate of {subject} has ended ({found}), and nothing proves that it signed before",
        "Ask the signer for a timestamp or log proof of it, or for a newly signed file.",
        "its signer's right to sign has ended",
        plain="the right of {subject} to sign has ended, and nothing proves that it signed before",
    ),
    "SW-CERT-EXPIRY-IGNORED": Text(
        "a certificate of {subject} or above it has ended ({found}); the device does not ask for that, and the rule follows it",
        "Plan for a newly signed file: only a denial, a revocation or a higher minimum stops an old one there.",
        plain="the right of {subject} to sign has ended; the device does not ask for that, and neither does the rule",
    ),
    "SW-CERT-NOT-YET-VALID": Text(
        "the certificate of {subject} begins on {found}, after the time of this judgement",
        "Check this machine's clock.",
        "its signer's right to sign has not begun",
        plain="the right of {subject} to sign begins only after the time of this judgement",
    ),
    "SW-CERT-NO-PATH": Text(
        "the certificate of {subject} does not lead to an anchor of the trust file: {found}",
        _ASK_MAKER,
        "its signer is not trusted here",
        plain="nobody whom the trust file trusts vouches for {subject}",
    ),
    "SW-CERT-REVOKED": Text(
        "{subject} was revoked from {wanted} ({found}), so its signature does not count",
        "Ask the signer for a newly signed file.",
        "its signer was revoked",
    ),
    "SW-CERT-REVOKED-LATER": Text(
        "{subject} was revoked from {wanted} ({found}), after the proved date of this signature",
        "Ask the signer what replaces it.",
    ),
    "SW-REVOCATION-UNKNOWN": Text(
        "nobody can say whether {subject} was revoked: {found}",
        _NEWER_TRUST,
        "revocation cannot be checked",
        plain="nobody can say whether {subject} was revoked in the meantime",
    ),
    "SW-REVOCATION-NOT-ASKED": Text(
        "the trust file names no revocation list for {subject}",
        "Ask your security officer whether one should be added.",
    ),
    "SW-CRL-REFUSED": Text(
        "the revocation list {subject} was not used: {found}",
        "Fetch the list again from whoever makes it.",
        plain="a list of what was revoked, {subject}, could not be used",
    ),
    "SW-KEY-DEVELOPMENT": Text(
        "{subject} is signed with a development key, which no production rule accepts",
        "Sign it with the production key in its token.",
        "it is signed with a development key",
    ),
    "SW-KEY-UNPROVED": Text(
        "nothing says that the key of {subject} lives in a token, so it counts as a development key ({found})",
        "Ask your security officer: the trust file can say where this key lives, under [[evidence]].",
        "nothing says that its key is kept safely",
        plain="nothing says that the key of {subject} lives in a token, so it counts as a development key",
    ),
    "SW-KEY-DEVELOPMENT-GRADE": Text(
        "{subject} is signed with a development key: good for trying, not for a plant",
        "Use keys in a token for production.",
    ),
    "SW-KEY-UNPROVED-GRADE": Text(
        "nothing says that the key of {subject} lives in a token: no production rule would accept it yet",
        "Ask its maker where the key lives; the trust file can say it under [[evidence]].",
    ),
    "SW-KEY-IMPORTED": Text(
        "the key of {subject} once lived outside its token; the trust file accepts it until {wanted}: {found}",
        "Plan its replacement by the review date.",
    ),
    "SW-KEY-IN-SERVICE": Text(
        "the key of {subject} is held by a key service, and no hardware is shown; the trust file accepts it until {wanted}: {found}",
        "Plan a key in a token by the review date, or renew the reason.",
    ),
    "SW-DENIED-SIGNER": Text("{subject} is on the deny list: {found}", _ASK_MAKER, "its signer was withdrawn"),
    "SW-DENIED-SIGNER-LATER": Text(
        "{subject} was retired from {wanted} ({found}), after the proved date of this signature",
        "Ask the signer what replaces it.",
    ),
    "SW-DENIED-ARTIFACT": Text(
        "{subject} itself is on the deny list: {found}", _ASK_MAKER, "this very file was withdrawn"
    ),
    "SW-DENIED-GENERATION": Text(
        "{subject} is generation {found}, and everything below {wanted} was withdrawn",
        "Use a newer version.",
        "this version was withdrawn",
    ),
    "SW-ENVIRONMENT-WRONG": Text(
        "{subject} is made for {found}, the rule is for {wanted}", _ASK_MAKER, "it is made for another environment"
    ),
    "SW-HARDWARE-WRONG": Text(
        "{subject}: the hardware here is {wanted}, signed for is {found}",
        "Take the file that is made for this hardware.",
        "it is made for other hardware",
    ),
    "SW-PRODUCT-WRONG": Text(
        "{subject}: the product here is {wanted}, signed for is {found}",
        "Take the file that is made for this product.",
        "it is made for another product",
    ),
    "SW-GENERATION-OLD": Text(
        "{subject} is generation {found}, the lowest allowed is {wanted}",
        "Use a newer version.",
        "it is an old version",
    ),
    "SW-TIME-CLOCK-BEHIND": Text(
        "{subject} shows {found}, but it is at least {wanted}", "Set the clock; the judgement used the later time."
    ),
    "SW-TIME-FLOOR-ONLY": Text(
        "{subject}: the clock is wrong, and the rule wants a right one to install",
        "Set this machine's clock and verify again.",
        "this machine's clock is wrong",
    ),
    "SW-TRUST-EXPIRED": Text("{subject} ended on {found}", _NEWER_TRUST, "the trust file has ended"),
    "SW-TRUST-STALE": Text(
        "{subject}: the trust file is {found} old, the rule allows {wanted} to install",
        _NEWER_TRUST,
        "the trust file is too old",
    ),
    "SW-TRUST-AGEING": Text("{subject}: the trust file is {found} old, the rule wants {wanted}", _NEWER_TRUST),
}
