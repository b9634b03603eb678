"""What `receive` prints. No word of it says that a maker signed."""

from __future__ import annotations

WORDS: dict[str, str] = {
    "receive.done": "received {path} as {grade} -> {outputs}",
    "receive.compared": "{algorithm} agrees with what came by {channel}",
    "receive.compared-weak": "{algorithm} agrees with what came by {channel}: that finds damage and stops no attacker",
    "receive.compared-list": "every file agrees with the list that came by {channel}",
    "receive.old": "an old signature holds: {how}; key {key}; checked by {tool}",
    "receive.old-weak": "it stands for little: {weaknesses}",
    "receive.by": "signed for {person} by {subject}, {date}",
    "receive.by-development": "signed for {person} by {subject} (DEVELOPMENT key), {date}",
    "receive.date-proved": "date proved {time}",
    "receive.date-unknown": "date not proved",
    "receive.rule": "The maker did not sign it: it is trusted only where a rule of the trust file takes records of the grade {grade} (`grades` in docs/receiving.md).",
    "receive.waits": "WAITS for {persons}. Next, on a machine of theirs: sealwright receive --sign {record} --person {person} --home THEIR-HOME",
    "receive.other-holder": "warning: the home's trust file says that this key is {holder}'s. Where the plant's says so too, nobody takes it as {person}'s.",
    "receive.signed": "signed {record} -> {outputs}",
    "receive.complete": "Everybody whom it names has signed.",
    "receive.shown": "This is what {person} signs:",
    "receive.first": "signed before, in the name of {person}, by {subject}, key {key} (`sealwright verify` judges whose that is)",
    "receive.more": "and {number} files more",
    "receive.ask": "Sign it as {person}? [y/N] ",
    "receive.not-signed": "not signed; nothing was written",
}
