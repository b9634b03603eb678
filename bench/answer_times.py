"""Does the time of an answer tell a stranger whether something exists (A129)? One service, one connection, questions in random order.

Each row compares two questions whose answers are the same octets: about what is not there, and about what is another's. `first` is how often a
random answer of one is quicker than a random one of the other: 0.5 where nothing tells them apart (the area under the ROC curve; so many answers
make +-0.01 by chance, as the row that compares a question with itself shows). Usage: answer_times.py [answers of each].
"""

from __future__ import annotations

import json
import random
import ssl
import statistics
import sys
import tempfile
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPSConnection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from kit.service import wanted
from kit.signingservice import House, house, running
from sealwright.cli.main import main as sealwright

ANSWERS = 4000
LARGE = 500
OVER, NOBODY = "over", "nobody"


@dataclass(frozen=True)
class Question:
    """What is asked. body: "" for a GET."""

    path: str
    body: str = ""


class Line:
    """One kept connection of somebody."""

    def __init__(self, made: House, who: str) -> None:
        context = ssl.create_default_context(cafile=str(made.folder / "servers.pem"))
        context.load_cert_chain(*made.identity(who))
        self._line = HTTPSConnection("127.0.0.1", made.port, context=context, timeout=120)

    def ask(self, question: Question) -> tuple[float, int, bytes]:
        """Seconds, status, body."""
        method = "POST" if question.body else "GET"
        headers = {"content-type": "application/json"} if question.body else {}
        began = time.perf_counter()
        self._line.request(method, question.path, question.body or None, headers)
        answer = self._line.getresponse()
        data = answer.read()
        return time.perf_counter() - began, answer.status, data


Asking = tuple[Line, Question]


def compared(status: int, one: Asking, other: Asking, answers: int) -> tuple[list[float], list[float]]:
    """Times of both, asked in random order."""
    took: tuple[list[float], list[float]] = ([], [])
    order = [0, 1] * answers
    random.shuffle(order)
    for which in order:
        line, question = (one, other)[which]
        seconds, found, data = line.ask(question)
        if found != status:
            raise SystemExit(f"{found}: {data[:300]!r}")
        took[which].append(seconds)
    return took


def quicker(one: list[float], other: list[float]) -> float:
    """How often one of `one` is below one of `other`, ties half."""
    ordered = sorted(other)
    above = sum(len(ordered) - (bisect_left(ordered, x) + bisect_right(ordered, x)) / 2 for x in one)
    return above / (len(one) * len(other))


def row(what: str, took: tuple[list[float], list[float]]) -> str:
    """One line of the table."""
    medians = [statistics.median(one) * 1000 for one in took]
    return f"| {what} | {medians[0]:.3f} ms | {medians[1]:.3f} ms | {medians[1] - medians[0]:+.3f} ms | {quicker(*took):.3f} |"


def asking(made: House, count: int) -> str:
    """A request of Max's that waits for approvals; its id."""
    items = [{"line": one.line.decode()} for one in wanted([f"{count} {n}" for n in range(count)], "production")]
    body = json.dumps({"key": "release", "items": items})
    _, status, data = Line(made, "max").ask(Question("/v1/requests", body))
    if status != 202:
        raise SystemExit(data.decode())
    return str(json.loads(data)["id"])


def prepared(folder: Path) -> House:
    """A service with a key of each tenant, the certificate of a person whose time is over, and one of a person whom nobody entered."""
    made = house(folder / "house", officers=(OVER, NOBODY))
    register = folder / "house" / "people.toml"
    people = register.read_text().split("[[person]]\n")
    kept = [one for one in people if f'id = "{NOBODY}"' not in one]
    over = [
        one.replace("roles", "until = 2020-01-01T00:00:00Z\nroles", 1) if f'id = "{OVER}"' in one else one
        for one in kept
    ]
    register.write_text("[[person]]\n".join(over))
    if sealwright(["key", "enrol", "jar", "--home", made.home.folder, "--name", "stranger"]):
        raise SystemExit("no second key")
    with made.configuration.open("a") as lines:
        lines.write('[[key]]\nname = "stranger"\ntenant = "other"\n')
    return made


def run(made: House, answers: int) -> None:
    """The table."""
    small, large = asking(made, 1), asking(made, LARGE)
    stranger, max_ = Line(made, "stranger"), Line(made, "max")
    item = wanted(["k.bin"])[0].line.decode()

    def request(id_: str) -> Question:
        return Question(f"/v1/requests/{id_}")

    def key(name: str) -> Question:
        return Question("/v1/requests", json.dumps({"key": name, "items": [{"line": item}]}))

    def approval(id_: str) -> Question:
        return Question(f"/v1/requests/{id_}/approvals", json.dumps({"scheme": "cms", "proof": "AAAA"}))

    nowhere, anything = "0" * 64, Question("/v1/keys")
    persons = (Line(made, NOBODY), anything), (Line(made, OVER), anything)
    rows: list[tuple[str, Callable[[], tuple[list[float], list[float]]]]] = [
        (
            "a request, with itself",
            lambda: compared(404, (stranger, request(nowhere)), (stranger, request(nowhere)), answers),
        ),
        ("a request", lambda: compared(404, (stranger, request(nowhere)), (stranger, request(small)), answers)),
        (
            f"one of {LARGE} artifacts",
            lambda: compared(404, (stranger, request(nowhere)), (stranger, request(large)), answers),
        ),
        (
            "an approval of one",
            lambda: compared(404, (stranger, approval(nowhere)), (stranger, approval(small)), answers),
        ),
        ("a person (401), or one whose time is over", lambda: compared(401, *persons, answers)),
        ("a key", lambda: compared(404, (max_, key("nowhere7")), (max_, key("stranger")), answers)),
    ]
    print("| asked about | not there | another's | difference | first |")
    print("| --- | --- | --- | --- | --- |")
    for what, measured in rows:
        print(row(what, measured()), flush=True)


def main() -> None:
    """Build, serve, measure."""
    answers = int(sys.argv[1]) if len(sys.argv) > 1 else ANSWERS
    with tempfile.TemporaryDirectory() as name, running(prepared(Path(name))) as made:
        run(made, answers)


if __name__ == "__main__":
    main()
