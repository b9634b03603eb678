"""Authenticators that are not ours: those of Chromium, in a browser that opens pages of any address without a network (DevTools protocol).

    with browser_with_authenticator(tmp_path) as page:
        credential = page.register("sign.acme.example")
        proof = page.asserted(credential, challenge)

Every page is answered by the test itself, so that the browser's own idea of its address is what the answer says. `frame` asks in a
frame of another site's page. `replaced` makes another authenticator with the same key: a clone.
"""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from websockets.sync.client import ClientConnection, connect

from kit.browser import _program

RP = "sign.acme.example"
ORIGIN = "https://sign.acme.example:8443"
_SCRIPT = """(async () => {
  const octets = text => Uint8Array.from(atob(text), one => one.charCodeAt(0));
  const answer = await navigator.credentials.%s;
  return JSON.stringify(answer.toJSON());
})()"""


def unpadded(text: str) -> bytes:
    """Octets of base64url."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass(frozen=True)
class Credential:
    """What a registration gave. entry: as the register has it."""

    rp: str
    origin: str
    id: str
    spki: bytes
    answer: dict[str, Any]

    @property
    def entry(self) -> str:
        key = load_der_public_key(self.spki).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        return (
            f'[[person.approval_key]]\nscheme = "webauthn"\nrp = "{self.rp}"\norigin = "{self.origin}"\n'
            f"credential = \"{self.id}\"\nkey = '''\n{key}'''\n"
        )


@dataclass
class Page:
    """One tab with one authenticator."""

    socket: ClientConnection
    session: str = ""
    device: str = ""
    number: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    def call(self, method: str, **params: Any) -> Any:
        """A command, and its answer."""
        answer = self.answered(method, params)
        assert "error" not in answer, answer
        return answer["result"]

    def answered(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """A command, and its answer or error; pages that are asked for meanwhile are served."""
        number = self.send(method, params, self.session)
        while True:
            answer: dict[str, Any] = json.loads(self.socket.recv(timeout=30))
            if answer.get("method") == "Fetch.requestPaused":
                self._serve(answer)
            elif answer.get("id") == number:
                return answer

    def send(self, method: str, params: dict[str, Any], session: str) -> int:
        """A command, whatever is answered."""
        self.number += 1
        told = {"id": self.number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        self.socket.send(json.dumps(told))
        return self.number

    def attach(self, **changes: Any) -> None:
        """An authenticator in place of the one that is there."""
        if self.device:
            self.call("WebAuthn.removeVirtualAuthenticator", authenticatorId=self.device)
        whole = {
            "protocol": "ctap2",
            "transport": "usb",
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        } | changes
        self.device = self.call("WebAuthn.addVirtualAuthenticator", options=whole)["authenticatorId"]

    def replaced(self, count: int, **changes: Any) -> None:
        """The same credentials in another authenticator, which has signed so often."""
        kept = self.call("WebAuthn.getCredentials", authenticatorId=self.device)["credentials"]
        self.attach(**changes)
        for one in kept:
            wanted = ("credentialId", "isResidentCredential", "rpId", "privateKey")
            copied = {name: one[name] for name in wanted} | {"signCount": count}
            self.call("WebAuthn.addCredential", authenticatorId=self.device, credential=copied)

    def register(self, rp: str = RP, origin: str = ORIGIN, algorithm: int = -7) -> Credential:
        """A new credential."""
        self.call("Page.navigate", url=origin + "/")
        made = self._run(
            f"create({{publicKey: {{rp: {{id: '{rp}', name: 'x'}}, user: {{id: octets('AQID'), name: 'p', displayName: 'p'}},"
            f"challenge: octets('AQID'), pubKeyCredParams: [{{type: 'public-key', alg: {algorithm}}}],"
            "authenticatorSelection: {userVerification: 'preferred'}, attestation: 'none'}})"
        )
        return Credential(rp, origin, made["id"], unpadded(made["response"]["publicKey"]), made)

    def asserted(
        self, credential: Credential, challenge: bytes, origin: str = "", verification: str = "preferred"
    ) -> bytes:
        """An approval's proof, by a page of that address."""
        self.call("Page.navigate", url=(origin or credential.origin) + "/")
        return one_form(self._run(_get(credential, challenge, verification)))

    def asserted_in_a_frame(self, credential: Credential, challenge: bytes) -> bytes:
        """The same, asked for by a frame of the service in another site's page."""
        self.call("Page.navigate", url=f"https://elsewhere.example/?{credential.origin}/")
        frames: list[dict[str, Any]] = []
        while not frames:
            frames = self.call("Page.getFrameTree")["frameTree"].get("childFrames", [])
        own = {"frameId": frames[0]["frame"]["id"]}
        while True:  # the frame's document comes after its empty one, whose world ends with it at any moment
            made = self.answered("Page.createIsolatedWorld", own)
            world = made.get("result", {}).get("executionContextId", 0)
            asks = {"contextId": world, "expression": "location.origin", "returnByValue": True}
            place = self.answered("Runtime.evaluate", asks)
            if place.get("result", {}).get("result", {}).get("value") == credential.origin:
                return one_form(self._run(_get(credential, challenge, "preferred"), contextId=world))

    def _run(self, what: str, **params: Any) -> dict[str, Any]:
        done = self.call(
            "Runtime.evaluate", expression=_SCRIPT % what, awaitPromise=True, returnByValue=True, userGesture=True, **params
        )  # fmt: skip
        assert "exceptionDetails" not in done, done
        found: dict[str, Any] = json.loads(done["result"]["value"])
        return found

    def _serve(self, paused: dict[str, Any]) -> None:
        url = paused["params"]["request"]["url"]
        inner = url.partition("?")[2]
        page = f'<iframe allow="publickey-credentials-get *" src="{inner}"></iframe>' if inner else "<title>t</title>"
        answer = {
            "requestId": paused["params"]["requestId"],
            "responseCode": 200,
            "responseHeaders": [{"name": "content-type", "value": "text/html"}],
            "body": base64.b64encode(page.encode()).decode(),
        }
        self.send("Fetch.fulfillRequest", answer, paused.get("sessionId", ""))


def one_form(answer: dict[str, Any]) -> bytes:
    """A browser's answer as an approval's proof: what a console's script has to do."""
    parts = {name: answer["response"][name] for name in ("authenticatorData", "clientDataJSON", "signature")}
    whole = {"clientExtensionResults": {}, "id": answer["id"], "rawId": answer["rawId"], "response": parts}
    return json.dumps(whole | {"type": answer["type"]}, separators=(",", ":")).encode()


def _get(credential: Credential, challenge: bytes, verification: str) -> str:
    id_, asked = base64.b64encode(unpadded(credential.id)).decode(), base64.b64encode(challenge).decode()
    return (
        f"get({{publicKey: {{rpId: '{credential.rp}', challenge: octets('{asked}'), userVerification: '{verification}',"
        f"allowCredentials: [{{type: 'public-key', id: octets('{id_}')}}]}}}})"
    )


@contextmanager
def browser_with_authenticator(folder: Path) -> Iterator[Page]:
    """A browser of its own, with an empty profile below `folder`."""
    words = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
    ]
    # nothing leaves it: what is not answered by the test goes to a proxy that is not there; frames stay in the page's process
    words += ["--proxy-server=http://127.0.0.1:1", "--proxy-bypass-list=<-loopback>", "--disable-site-isolation-trials"]
    words += ["--disable-features=IsolateOrigins,site-per-process", "--remote-debugging-port=0"]
    process = subprocess.Popen(
        [_program(), *words, f"--user-data-dir={folder / 'profile'}", "about:blank"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    try:
        address = next(found[0] for line in process.stderr if (found := re.search(r"ws://\S+", line)))
        with connect(address, max_size=1 << 22) as socket:
            page = Page(socket)
            target = page.call("Target.createTarget", url="about:blank")["targetId"]
            page.session = page.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            page.call("Fetch.enable", patterns=[{"urlPattern": "*"}])
            page.call("Page.enable")
            page.call("WebAuthn.enable")
            page.attach()
            yield page
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the program is a script, and its processes are many
        process.wait(20)
        process.stderr.close()
