"""What the services print when they start and stop: `serve`."""

from __future__ import annotations

WORDS: dict[str, str] = {
    "serve.tsa": "timestamp authority of {home} at {address}/ (health: {address}/health)",
    "serve.tsa-key": "{subject}, {algorithm}, {provenance}; policy {policy}; accuracy {accuracy} s",
    "serve.tsa-clock": "clock: {sources}; stopped beyond {drift} s",
    "serve.tsa-no-source": "clock: NOT COMPARED with anything (--time-source none); its tokens are worth what the clock is worth",
    "serve.ocsp": "OCSP responder of {home} at {address}/ocsp (lists: {address}/crl/NAME.crl)",
    "serve.ocsp-key": "{subject}: {key}, {algorithm}, until {until}",
    "serve.ocsp-authority": "{subject}: SIGNS ITSELF with {key}, {algorithm}, until {until}",
    "serve.tsa-stopped": "NO TOKEN IS MADE NOW: {problem}. It goes on by itself when a source of time vouches for the clock.",
    "serve.signing": "signing service {id} at {address}",
    "serve.signing-key": "key {name} of {tenant}: {algorithm}, {provenance}",
    "serve.signing-log": "log {key}, {size} entries",
    "serve.signing-policies": "policies: edition {edition}, {digest}: {how}",
    "serve.policies-known": "as the log says",
    "serve.policies-first": "NEW, the first ones of this log, which nobody had to approve",
    "serve.policies-not-weaker": "new, proved not weaker than those before",
    "serve.policies-approved": "NEW, approved by {who}",
    "serve.witness": "witness {name} at {address}",
    "serve.witness-key": "its key, for those who ask it: {key}",
    "serve.witness-log": "cosigns {log}",
    "serve.signing-checked": "(checked, not listening)",
    "serve.stopped": "stopped: {number} tokens given, all recorded",
    "serve.stopped-badly": "stopped: {number} tokens given, all recorded; then {why}",
    "service.backed-up": "{path}: {entries} entries of the log, each hashed again, and {files} files",
    "service.change-missing": "edition {edition} of the policies was approved, and its change is not there to be backed up: find it, with who approved it",
    "service.backup-whole": "{path}: whole, of {time}, {entries} entries of the log",
    "service.restored": "restored from {path}: of {time}, {entries} entries of the log, each hashed again",
    "service.no-head": "Nothing here remembers how far the log went. Ask its monitors and witnesses before the service starts: they refuse it if it went further.",
    "service.other-file": "{name} is another one than in the backup, or is not there: compare the two",
}
