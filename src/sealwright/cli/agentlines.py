"""What the agent's commands print: a round, the status, the file that was read; as text and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealwright.texts.words import say

if TYPE_CHECKING:
    from sealwright.device.agent import Agent
    from sealwright.device.agentconfig import AgentConfig
    from sealwright.device.agentstate import AgentState, Installed
    from sealwright.device.round import Round
    from sealwright.release.channels import Named
    from sealwright.trust.verdict import Verdict

DEFAULT_CONFIG = "/etc/sealwright/agent.toml"


def code_of(done: Round) -> int:
    """0 nothing to do, or done; 1 refused or returned; 3 something newer waits."""
    from sealwright.device.round import Outcome
    from sealwright.trust.verdict import Outcome as Judged

    if done.outcome is Outcome.REFUSED and done.verdict is not None and done.verdict.outcome is Judged.UNDECIDED:
        return 3
    if done.outcome in (Outcome.REFUSED, Outcome.RETURNED):
        return 1
    waits = (Outcome.NEW, Outcome.WAITS_FOR_WINDOW, Outcome.WAITS_FOR_CONSENT, Outcome.WAITS_FOR_REBOOT)
    return 3 if done.outcome in waits else 0


def say_round(config: AgentConfig, done: Round, as_json: bool) -> None:
    """What a round did; a refusal as the verdict says it."""
    from sealwright.device.round import Outcome

    if as_json:
        _print_round(config, done)
        return
    if done.recovered is not None and done.recovered.value != "reboot":
        result = say("agent.result.proved", version=_version(done.installed))
        if done.recovered.value == "returned":
            result = say("agent.result.returned", version=_version(done.installed))
        print(say("agent.recovered", result=result))
    by_permit = done.verdict is not None and done.verdict.permitted is not None
    if done.verdict is not None and (done.outcome is Outcome.REFUSED or by_permit):
        from sealwright.cli.render import Detail, verdict_text

        print(verdict_text(done.verdict, Detail.PLAIN), end="")
    if done.outcome is not Outcome.REFUSED:
        print(_sentence(config, done))
    if done.trouble:
        print(say("agent.status.trouble", trouble=done.trouble))
    if done.running is not None and _matters(done.running):
        _say_running(done.running)


def _matters(running: Verdict) -> bool:
    """Whether somebody has to know: it would be refused, or was withdrawn."""
    return running.outcome.value != "trusted" or any(one.code == "SW-AGENT-RUNNING" for one in running.findings)


def _say_running(running: Verdict) -> None:
    print(say("agent.status.runs", outcome=running.outcome.value))
    for finding in running.findings:
        if finding.severity.value != "note":
            print(f"  {finding.sentence}. {finding.next_step}")


def _sentence(config: AgentConfig, done: Round) -> str:
    from sealwright.device.round import Outcome

    release, installed = done.release, done.installed
    if done.outcome is Outcome.NOTHING_OFFERED or release is None:
        return say("agent.nothing-offered", channel=config.channel)
    words = {"version": release.version, "generation": release.generation}
    if done.outcome is Outcome.NOTHING_NEW:
        here = {} if installed is None else {"version": installed.release.version}
        generation = release.generation if installed is None else installed.release.generation
        return say("agent.nothing-new", **{**words, **here, "generation": generation}, channel=config.channel)
    if done.outcome is Outcome.NEW:
        return say("agent.new", **words, channel=config.channel, installed=_version(installed))
    if done.outcome is Outcome.WOULD_INSTALL:
        return say("agent.would", version=release.version)
    if done.outcome is Outcome.WAITS_FOR_WINDOW:
        return say("agent.waits-window", window="; ".join(map(str, config.windows)))
    if done.outcome is Outcome.WAITS_FOR_CONSENT:
        return say("agent.waits-consent")
    if done.outcome is Outcome.WAITS_FOR_REBOOT:
        return say("agent.reboot", version=release.version)
    if done.outcome is Outcome.RETURNED:
        back = str(installed.release.generation) if installed is not None else "-"
        return say("agent.returned", version=_version(installed), generation=back)
    return say("agent.installed", **words)


def say_config(config: AgentConfig, as_json: bool) -> None:
    """What the file says this device is."""
    words = {
        "path": config.path,
        "device": config.device,
        "product": config.product,
        "channel": config.channel,
        "group": config.group,
    }
    if as_json:
        from sealwright.cli.jsonout import line

        print(line(dict(words)))
    else:
        print(say("agent.config-fine", **words))


def say_status(agent: Agent, running: Verdict | None, as_json: bool) -> int:
    """What is there; 1 where what is installed would be refused for running, was withdrawn, or somebody has to look."""
    state, config = agent.state, agent.config
    wrong = bool(state.trouble) or (running is not None and running.outcome.value == "rejected")
    wrong = wrong or (state.installed is not None and bool(state.advisory(state.installed.release.manifest)))
    if as_json:
        _print_status(config, state, running)
        return int(wrong)
    texts = {"device": config.device, "product": config.product, "hardware": config.hardware}
    print(say("agent.status.device", **texts, group=config.group, channel=config.channel))
    if state.installed is None:
        print(say("agent.status.nothing"))
    else:
        words = _words(state.installed.release)
        print(say("agent.status.installed", **words, time=f"{state.installed.at:%Y-%m-%d %H:%M} UTC"))
    if state.previous is not None:
        print(say("agent.status.previous", **_words(state.previous.release)))
    if state.pending is not None:
        print(say("agent.status.pending", **_words(state.pending.release), step=state.pending.step.value))
    print(say("agent.status.floor", floor=state.floor))
    for manifest in state.failed:
        print(say("agent.status.failed", manifest=manifest))
    if state.installed is not None and (advisory := state.advisory(state.installed.release.manifest)):
        print(say("agent.status.withdrawn", advisory=advisory))
    if running is not None:
        _say_running(running)
    if state.trouble:
        print(say("agent.status.trouble", trouble=state.trouble))
    if state.checked:
        time, _, outcome = state.checked.partition(" ")
        print(say("agent.status.checked", time=time, outcome=outcome))
    return int(wrong)


def _print_round(config: AgentConfig, done: Round) -> None:
    import json

    from sealwright.cli.jsonout import line, verdict_line
    from sealwright.cli.render import deciding_clause

    verdict = None if done.verdict is None else json.loads(verdict_line(done.verdict, deciding_clause(done.verdict)))
    print(
        line(
            {
                "device": config.device,
                "outcome": done.outcome.value,
                "exit_code": code_of(done),
                "release": _named(done.release),
                "installed": _named(done.installed.release) if done.installed is not None else None,
                "recovered": done.recovered.value if done.recovered is not None else None,
                "trouble": done.trouble or None,
                "fetched_bytes": done.fetched_bytes,
                "runs": done.running.outcome.value if done.running is not None else None,
                "verdict": verdict,
            }
        )
    )


def _print_status(config: AgentConfig, state: AgentState, running: Verdict | None) -> None:
    from sealwright.cli.jsonout import finding_object, line, moment

    installed, pending = state.installed, state.pending
    print(
        line(
            {
                "device": config.device,
                "serial": config.serial,
                "hardware": config.hardware,
                "product": config.product,
                "group": config.group,
                "channel": config.channel,
                "installed": _named(installed.release) if installed is not None else None,
                "since": moment(installed.at) if installed is not None else None,
                "previous": _named(state.previous.release) if state.previous is not None else None,
                "pending": _named(pending.release) if pending is not None else None,
                "step": pending.step.value if pending is not None else None,
                "floor": state.floor,
                "failed": [str(one) for one in state.failed],
                "withdrawn": state.advisory(installed.release.manifest) or None if installed is not None else None,
                "trouble": state.trouble or None,
                "checked": state.checked or None,
                "runs": running.outcome.value if running is not None else None,
                "findings": [finding_object(one) for one in running.findings] if running is not None else [],
            }
        )
    )


def _named(release: Named | None) -> dict[str, object] | None:
    if release is None:
        return None
    return {"version": release.version, "generation": release.generation, "manifest": str(release.manifest)}


def _words(release: Named) -> dict[str, object]:
    return {"version": release.version, "generation": release.generation}


def _version(installed: Installed | None) -> str:
    return installed.release.version if installed is not None else say("agent.none")
