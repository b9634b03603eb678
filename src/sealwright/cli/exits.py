"""What the exit codes say, command by command: the end of each help, and `docs/exit-codes.md`, which a test holds to this table.

    0 done, or yes   1 not done, or no   2 the command cannot mean what was asked   3 open: neither yes nor no yet

Code 3 is never a success. The output names what is missing: a newer trust file, a person's signature, a timestamp, a folder that
could be read.
"""

from __future__ import annotations

from dataclasses import dataclass

PAGE = "docs/exit-codes.md"


@dataclass(frozen=True, slots=True)
class Exits:
    """What 0, 1 and 3 say; `open` is empty where a command never ends with 3."""

    done: str
    refused: str
    open: str = ""


GENERAL = Exits("done, or yes", "not done, or no", "open: neither yes nor no yet, and the output says what is missing")
PLAIN = Exits("done", "not done")

EXITS: dict[str, Exits] = {
    "verify": Exits(
        "everything is allowed",
        "something is refused, or the trust file cannot be used",
        "something cannot be decided: the trust file is too old, the clock is wrong, the line was not said",
    ),
    "survey": Exits(
        "everything was read and no signature is broken; unsigned and weak files count as fine",
        "a signature is broken",
        "something could not be read; in the rest nothing is broken",
    ),
    "sign": Exits("everything is signed", "something is not signed", "everything is signed, a timestamp is to come"),
    "record list": Exits(
        "listed", "a record cannot be read, or the folder has none", "listed; a break-glass install owes a follow-up"
    ),
    "record check": Exits("the records are whole", "something is wrong with them, or the folder has none"),
    "record export": Exits("exported", "a record cannot be read and is missing, or the folder has none"),
    "accept": Exits("everything is accepted", "something is not", "everything is accepted, a timestamp is to come"),
    "permit check": Exits("it counts now, or settles it", "it does not"),
    "ci sign": Exits(
        "everything is signed",
        "refused by the service or its policies, or something is not signed",
        "not decided: it still waits for approval, or the service gives no answer; the same run may ask again",
    ),
    "ci verify": Exits("the provenance is what was demanded", "it is not"),
    "approve": Exits("approved, or listed", "not approved, or the service refuses it"),
    "confirm": Exits("confirmed", "something is not the same, or nothing is confirmed, or the service refuses it"),
    "stamp": Exits(
        "everything is stamped; with --status: nothing waits too long",
        "something is not stamped; with --status: something waits longer than --within",
    ),
    "renew-proofs": Exits(
        "nothing is due, or all that was is renewed", "something is due (--status), or was not renewed"
    ),
    "agent check": Exits(
        "nothing newer is offered", "the repository is refused or does not answer", "something newer is offered"
    ),
    "agent install": Exits(
        "installed, or there is nothing newer",
        "refused, or it did not work and the former release is back",
        "it waits: for consent, the maintenance window, the next boot, or fresher trust",
    ),
    "agent status": Exits(
        "all is well", "what is installed was withdrawn or would be refused for running, or somebody has to look"
    ),
    "agent rollback": Exits(
        "back",
        "refused, or the former release does not work",
        "not done: nobody said yes, or it counts after the next boot",
    ),
    "agent run": Exits(
        "it was stopped", "with --rounds: the last round was refused or failed", "with --rounds: something waits"
    ),
    "station": Exits(
        "everything is allowed", "something is refused, or the medium is not checked", "something cannot be decided"
    ),
    "handover install": Exits(
        "handed over, done, and what was read back is what was signed",
        "refused, or not done, or the device gave back something else",
        "nothing was handed over: it cannot be decided",
    ),
    "handover compare": Exits(
        "the device gave back what was signed",
        "it gave back something else, or the release is refused",
        "nothing was compared: it cannot be decided what was signed",
    ),
    "handover share": Exits(
        "everything is on the share or stick, and nothing had to be taken off",
        "something is refused or was taken off the share, or lies there and is not ours",
        "something cannot be decided",
    ),
    "receive": Exits(
        "received, and everybody has signed",
        "not received",
        "received; a person has yet to sign, or a timestamp to come",
    ),
    "run": Exits(
        "the script's own code, 126 where it was not started; with --check: it would run",
        "with --check: it is refused",
        "with --check: it cannot be decided",
    ),
    "inspect": Exits("shown; nothing is judged", "something cannot be read"),
    "key check": Exits("no key must be refused", "a key must be refused"),
    "key report": Exits("each key is as declared", "a key was asked and is not, or wants something done"),
    "key attest": Exits("attested", "the key's home can prove nothing: a file, a token"),
    "key begin-audit": Exits("begun", "the TPM does not audit, or the key lives in none"),
    "key attest-uses": Exits("attested", "the key's uses are not written down, or the TPM does not answer"),
    "key check-attestation": Exits("it holds", "it does not hold"),
    "cert revoke": Exits("revoked, and on a list", "not revoked, or its list could not be made"),
    "cert expiring": Exits("nothing ends", "something ends"),
    "ca ceremony check": Exits("it holds", "it does not hold"),
    "trust diff": Exits("compared", "with --inventory: something would no longer be trusted"),
    "trust check": Exits("it can be used", "it must not be used"),
    "trust install": Exits("installed", "refused; with --dry-run --inventory: something would no longer be trusted"),
    "trust status": Exits(
        "nothing to do within --within",
        "something to look at",
        "stale: nothing is installed by it until a newer one comes",
    ),
    "layout check": Exits("both are right", "the layout or the image is wrong"),
    "log check": Exits("it is whole", "something is wrong with it", "it cannot be read"),
    "log monitor": Exits("nothing to be alarmed about", "an alarm", "it cannot be read, so nothing is known"),
    "audit keys": Exits(
        "every use is in the log",
        "a use is not, or a count is not of the log's time",
        "the log cannot be read, or nothing counts a key of --home",
    ),
    "policy check": Exits("they can be used", "they cannot be used, or something in them is dangerous"),
    "policy test": Exits("every answer is as the table says", "an answer is another"),
    "policy explain": Exits("it is allowed", "it is not allowed"),
    "policy change": Exits("the change is written, or none is needed", "it is not written"),
    "policy approve": Exits("approved", "not approved"),
    "policy diff": Exits("NEW allows nothing that OLD did not", "NEW allows more", "not decided: treat NEW as weaker"),
    "release create": Exits(
        "signed; with --dry-run: it could be",
        "not signed, or its folder is not complete",
        "signed, a timestamp is to come",
    ),
    "release init": Exits("begun, and signed by enough", "not begun", "begun; somebody else has yet to sign"),
    "release line": Exits("staged, and signed by enough", "not staged", "staged; somebody else has yet to sign"),
    "release rotate": Exits("staged, and signed by enough", "not staged", "staged; somebody else has yet to sign"),
    "release sign": Exits("signed by enough", "not signed", "signed; somebody else has yet to sign"),
    "release publish": Exits(
        "published; with --dry-run: it could be", "not published: clients get what they got before"
    ),
    "release status": Exits(
        "nothing ends within --within, and every report counts", "something ends, or has; or a report does not count"
    ),
    "release accept": Exits(
        "everything is accepted", "something is not", "everything is accepted, a timestamp is to come"
    ),
    "serve tsa": Exits("ended by a signal", "it could not start, or had to stop"),
    "serve ocsp": Exits("ended by a signal", "it could not start, or had to stop"),
    "serve signing": Exits("ended by a signal; with --check: it can start", "it could not start, or had to stop"),
    "serve witness": Exits("ended by a signal; with --check: it can start", "it could not start, or had to stop"),
    "serve fleet": Exits("ended by a signal; with --check: it can start", "it could not start, or had to stop"),
    "serve hawkbit": Exits("ended by a signal; with --check: it can start", "it could not start, or had to stop"),
    "report show": Exits("each signature is of its report", "one is not, or cannot be read"),
    "report send": Exits(
        "the service has them all", "it refuses one, or is no such service", "it does not answer; the reports are kept"
    ),
    "home checkpoint": Exits("printed; with --check: contained", "with --check: not contained"),
    "doctor": Exits("what is needed is in order", "something that is needed is wrong, or the token must not be used"),
}


def exits_text(command: str, group: bool) -> str:
    """The end of a help page. command: such as `trust status`; group: it has actions of its own."""
    exits = GENERAL if group else EXITS.get(command, PLAIN)
    said = [("0", exits.done), ("1", exits.refused), ("2", "wrong usage"), ("3", exits.open)]
    return "\n".join(["exit codes:", *(f"  {code}  {words}" for code, words in said if words), f"  ({PAGE})", ""])
