"""What `home` prints: backups, checkpoints, restoring, unlocking, loss records."""

from __future__ import annotations

WORDS: dict[str, str] = {
    "home.backed-up": "{path}: backup of {files} files, no private key in it",
    "home.backed-up-with-keys": "{path}: backup of {files} files, WITH THE DEVELOPMENT KEYS: whoever has it can sign with them",
    "home.backed-up-encrypted": "{path}: backup of {files} files, for {number} persons to decrypt",
    "home.left-out": "left out: {name}",
    "home.keep-line": "Next: keep the backup and this line apart from each other, and outside this machine:",
    "home.whole": "{path}: whole and signed by its home's key for backups, of {time}",
    "home.whole-with-keys": "it holds DEVELOPMENT KEYS",
    "home.contained": "contained: the journals go on from there ({more} entries more)",
    "home.contained-equal": "contained: nothing was added since",
    "home.newer": "NEWER than this home: entries are missing here",
    "home.not-contained": "NOT CONTAINED: {why}",
    "home.other-log": "it is of another home, or of a journal that a loss record closed ({id})",
    "home.other-entry": "entry {count} of {name} is another one: the home went on in two places, or a journal was changed",
    "home.restored": "restored {files} files of {time} -> {folder}",
    "home.restored-locked": "it is LOCKED and signs nothing: what was signed after the backup is not known yet",
    "home.restored-next": "Next, with the newest checkpoint known outside: sealwright home unlock --home {folder} --checkpoint LINE",
    "home.entries": "{name}: {count} entries",
    "home.unlocked": "unlocked: nothing is missing",
    "home.unlocked-entries": "unlocked: {added} missing entries came back",
    "home.unlocked-loss": "unlocked with a loss record: a new journal begins, the gap is on record",
    "home.unlocked-missing": "enrolled after the backup, and no longer in home.toml: {name}; enrol it again",
    "home.unlocked-next-loss": "Next: make new revocation lists (sealwright ca crl) and take them to every plant; revoke what nobody can account for",
    "home.unlocked-next": "Next: make sure that the old home signs nothing any more, and make a new backup",
    "home.loss-written": "loss record -> {path}",
    "home.loss-next": "Next, each officer: sealwright home loss --sign {path} --home THEIR-HOME --person ID",
    "home.loss-signed": "signed -> {path}",
    "home.loss-signed-next": "Next, when enough have signed: sealwright home unlock --home HOME --loss {path}",
    "home.gap": "NOT KNOWN: what was issued, revoked and listed after entry {entries} and before {time} (a loss record)",
}
