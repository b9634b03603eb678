"""What a device's agent says: of releases that it refuses, and on its screens."""

from __future__ import annotations

from sealwright.texts.text import Text

_ASK_MAKER = "Ask who published the release; it was made for other devices or is incomplete."

TEXTS: dict[str, Text] = {
    "SW-INSTALL-REFUSED": Text("{subject} is not installed: {found}", "Do what the message says, and try again."),
    "SW-INSTALL-FAILED": Text(
        "{subject} did not work here: {found}",
        "Look at the device; its former release runs unless the message says otherwise.",
    ),
    "SW-AGENT-STATE": Text(
        "what the agent remembers cannot be relied on ({subject}): {found}",
        "Restore it from this device's own backup; do not delete it.",
    ),
    "SW-AGENT-OTHER-RELEASE": Text(
        "{subject} is not the release that was offered: {wanted} was, this is {found}",
        "Ask the repository's operator; do not use this copy.",
        "it is another release than the one offered",
    ),
    "SW-AGENT-CLAIMS": Text(
        "{subject} does not say {wanted} in signed bytes, and a device installs nothing that does not",
        _ASK_MAKER,
        "it does not say what it is",
    ),
    "SW-AGENT-INCOMPLETE": Text("{subject} is no whole release: {found}", _ASK_MAKER, "it is not complete"),
    "SW-AGENT-INSTALLER": Text(
        "{subject} has a component `{found}`, and no [[installer]] of this device takes it",
        "Name an installer for it in agent.toml, or install a release that was made for this device.",
        "nothing here installs a part of it",
    ),
    "SW-AGENT-REQUIRES": Text(
        "{subject} needs {wanted}; here is {found}",
        "Install that first.",
        "something that it needs is not installed",
    ),
    "SW-AGENT-WITHDRAWN": Text(
        "{subject} was withdrawn by who released it: {found}",
        "Install the release that replaces it.",
        "it was withdrawn",
    ),
    "SW-AGENT-FAILED-BEFORE": Text(
        "{subject} was tried on this device before, and the device returned to its former release",
        "Find out why first; `sealwright agent install --again` tries it once more.",
        "it failed here before",
    ),
    "SW-AGENT-RUNNING": Text(
        "what is installed ({subject}) would not be allowed any more: {found}",
        "Plan an update; nothing is stopped by itself.",
    ),
}

WORDS: dict[str, str] = {
    "agent.nothing-new": "nothing new: {version} (generation {generation}) is installed, and the channel {channel} offers nothing newer",
    "agent.nothing-offered": "nothing is offered to this device in the channel {channel}",
    "agent.new": "{version} (generation {generation}) is offered in the channel {channel}; installed is {installed}",
    "agent.none": "nothing",
    "agent.waits-window": "it waits for the maintenance window: {window}",
    "agent.waits-consent": "it waits for consent: `sealwright agent install --yes`",
    "agent.would": "{version} is allowed and would be installed",
    "agent.installed": "{version} (generation {generation}) is installed and works",
    "agent.reboot": "{version} is in its place and counts once the device has restarted",
    "agent.returned": "back to {version} (generation {generation})",
    "agent.recovered": "an interrupted installation was finished: {result}",
    "agent.result.proved": "{version} is installed",
    "agent.result.returned": "{version} did not get installed, the former release is",
    "agent.ask": "Install {version} (generation {generation}) now? [y/N] ",
    "agent.asked-no": "Nothing was installed.",
    "agent.config-fine": "{path} is fine: {device}, {product}, channel {channel}, group {group}",
    "agent.status.device": "{device}  {product}  {hardware}  group {group}, channel {channel}",
    "agent.status.installed": "installed  {version}  generation {generation}  since {time}",
    "agent.status.previous": "kept       {version}  generation {generation}",
    "agent.status.nothing": "installed  nothing",
    "agent.status.pending": "pending    {version}  generation {generation}: {step}",
    "agent.status.floor": "floor      generation {floor}",
    "agent.status.failed": "failed     {manifest}",
    "agent.status.withdrawn": "WITHDRAWN  what is installed was withdrawn: {advisory}",
    "agent.status.trouble": "TROUBLE    {trouble}",
    "agent.status.checked": "checked    {time}: {outcome}",
    "agent.status.runs": "verdict    {outcome} for running",
    "agent.running": "agent for {device}: a round every {minutes} minutes",
    "agent.stopping": "stopping",
}
