"""All wiring in one place: settings → journal, engine, coordinator, ingress, adapters.

The only module that chooses adapters.
"""

import importlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pydantic import SecretStr

from pm_agent.adapters.gates_command import CommandGate
from pm_agent.adapters.journal_sqlite import SQLiteJournal
from pm_agent.adapters.kek_local import LocalKeys, parse_keys, read_key_file
from pm_agent.adapters.llm_rules import RuleBasedWriter
from pm_agent.adapters.process_group import minimal_environment
from pm_agent.adapters.secrets_file import SecretsFile
from pm_agent.adapters.tokens_jwt import ShortTokens
from pm_agent.catalog import CATALOG
from pm_agent.domain.access import IssueToken
from pm_agent.domain.envelope import DEFAULT_WORKSPACE, SYSTEM, Principal
from pm_agent.domain.errors import StartError
from pm_agent.domain.ids import agent_id
from pm_agent.domain.tables import Tables
from pm_agent.domain.world import World
from pm_agent.features.assignment.scoring import SCORERS
from pm_agent.kernel import snapshot as snapshots
from pm_agent.kernel.engine import Engine
from pm_agent.kernel.types import Policy
from pm_agent.ports import (
    Clock,
    GateRunner,
    Head,
    Journal,
    KeyEncryption,
    LanguageModel,
    Notifier,
    Scorer,
    StoredSnapshot,
)
from pm_agent.runtime.admission import Limits
from pm_agent.runtime.attempt import Api
from pm_agent.runtime.backend import Coordinator
from pm_agent.runtime.clock import SystemClock
from pm_agent.runtime.coordinator_loop import BuildEngine, CoordinatorLoop
from pm_agent.runtime.credentials import Credentials
from pm_agent.runtime.effects import EffectRunner
from pm_agent.runtime.executors import Executor, PythonExecutor, ShellExecutor
from pm_agent.runtime.ingress import Ingress
from pm_agent.runtime.secret import digest_of, new_secret
from pm_agent.runtime.worker import Worker
from pm_agent.runtime.worktree import Worktree
from pm_agent.settings import PythonSpec, Settings, ShellSpec, WorkerSpec

ADMIN = Principal(kind="person", id="admin", role="admin")
BURST_S = 4.0  # an agent may ask for so many seconds' worth at once


def open_journal(settings: Settings) -> Journal:
    """Open the workspace's journal for writing; its folder is made if need be."""
    settings.data.mkdir(parents=True, exist_ok=True)
    return _journal(settings, read_only=False)


def open_journal_readonly(settings: Settings) -> Journal:
    """Open a journal that somebody else may be writing, without changing anything."""
    return _journal(settings, read_only=True)


def open_history(place: str, workspace: str = DEFAULT_WORKSPACE) -> Journal:
    """Open a journal for reading alone, by the path of its file or the URL of its database."""
    if "://" in place:
        return open_journal_readonly(Settings(database_url=SecretStr(place), workspace=workspace))
    return SQLiteJournal(Path(place), workspace, read_only=True)


def journal_place(settings: Settings) -> str:
    """Where the journal is, for people: a path, or a database without its password."""
    if settings.database_url is None:
        return str(settings.journal_path)
    from pm_agent.adapters.postgres import place  # noqa: PLC0415 - as in `_journal`

    return place(settings.database_url.get_secret_value())


def _journal(settings: Settings, *, read_only: bool) -> Journal:
    if settings.database_url is None:
        return SQLiteJournal(settings.journal_path, settings.workspace, read_only=read_only)
    # The driver costs 0.1 s and 10 MiB, which a journal in a file does not pay.
    from pm_agent.adapters.journal_postgres import PostgresJournal  # noqa: PLC0415

    return PostgresJournal(
        settings.database_url.get_secret_value(),
        settings.workspace,
        read_only=read_only,
        history_days=settings.history_days,
    )


def engine_builder(
    policy: Policy,
    scorer: Scorer,
    *,
    seed: int | None = None,
    workspace: str = DEFAULT_WORKSPACE,
) -> BuildEngine:
    """How to make an engine from a snapshot, the journal's head and the present instant."""

    def build(saved: StoredSnapshot | None, head: Head, now_us: int) -> Engine:
        if saved:
            world, outbox = snapshots.load(saved)
        else:
            world, outbox = World(Tables(workspace_id=workspace)), None
        return Engine(
            CATALOG,
            scorer,
            policy,
            seed=now_us if seed is None else seed,
            started_us=now_us,
            world=world,
            outbox=outbox,
            head=head,
        )

    return build


def rules(settings: Settings) -> Scorer:
    """The rules that score: those of the settings, or those that stand in for a learned scorer."""
    return SCORERS["factors" if settings.scorer == "learned" else settings.scorer]()


def build_coordinator(
    settings: Settings,
    clock: Clock | None = None,
    on_crash: Callable[[], None] = lambda: None,
    scorer: Scorer | None = None,
) -> CoordinatorLoop:
    """Coordinator on the journal that the settings name; not started yet.

    Parameters
    ----------
    scorer
        Instead of the rules that the settings name.
    """
    build = engine_builder(
        settings.policy,
        scorer or rules(settings),
        seed=settings.seed,
        workspace=settings.workspace,
    )
    return CoordinatorLoop(open_journal(settings), build, clock or SystemClock(), on_crash)


def build_ingress(coordinator: Coordinator, settings: Settings) -> Ingress:
    """Door to a coordinator; its app's lifespan starts it."""
    claims, requests = settings.claims_per_s, settings.requests_per_s
    limits = Limits(
        claims_per_s=claims,
        claims_burst=max(1, round(claims * BURST_S)),
        requests_per_s=requests,
        requests_burst=max(1, round(requests * BURST_S)),
    )
    return Ingress(coordinator, SystemClock(), limits, credentials=build_credentials(settings))


def build_credentials(settings: Settings) -> Credentials:
    """What lets somebody in: our keys and tokens, and those of an authorisation server outside."""
    secrets = open_secrets(settings)
    here = settings.known_as
    audiences = (here, f"{here}/mcp")
    outside = None
    if settings.oauth_issuer:
        # httpx takes 10 MiB of a coordinator, which asks nobody.
        from pm_agent.adapters.issuer_oauth import OutsideIssuer  # noqa: PLC0415

        more = (settings.oauth_audience,) if settings.oauth_audience else ()
        outside = OutsideIssuer(settings.oauth_issuer, (*audiences, *more), settings.oauth_jwks_url)
    return Credentials(secrets, ShortTokens(secrets, here, audiences), outside)


def open_secrets(settings: Settings) -> SecretsFile:
    """Secrets of the workspace; the file is made with the first one."""
    return SecretsFile(settings.secrets_path, partial(key_encryption, settings), settings.workspace)


def key_encryption(settings: Settings) -> KeyEncryption:
    """Where the key-encryption keys are: a KMS, the environment, or a file.

    Raises
    ------
    InvalidInput, SecretsLocked
    """
    if settings.kms:
        module, _, function = settings.kms.partition(":")
        made: KeyEncryption = getattr(importlib.import_module(module), function)()
        return made
    if settings.kek is not None:
        return LocalKeys(parse_keys(settings.kek.get_secret_value()))
    return read_key_file(settings.kek_path)


def build_effect_runner(coordinator: Coordinator, settings: Settings) -> EffectRunner:
    """Runner of the effects that the configured adapters perform."""
    return EffectRunner(coordinator, language_model(settings), gate_runner(), notifier(settings))


def language_model(settings: Settings) -> LanguageModel:
    """Who writes, advises and judges: rules, until a model is configured.

    Raises
    ------
    StartError
        A model is configured and its key is missing.
    """
    if settings.llm == "rules":
        return RuleBasedWriter()
    if settings.llm_key is None:
        message = "PM_AGENT_LLM=anthropic needs a key, and there is none."
        raise StartError(message, "Set PM_AGENT_LLM_KEY, or PM_AGENT_LLM=rules.")
    # The SDK takes time and memory to load, which rules do not pay.
    from anthropic import AsyncAnthropic  # noqa: PLC0415

    from pm_agent.adapters.llm_anthropic import AnthropicModel, Models  # noqa: PLC0415
    from pm_agent.adapters.llm_batches import Batches  # noqa: PLC0415

    client = AsyncAnthropic(
        api_key=settings.llm_key.get_secret_value(),
        base_url=settings.llm_base_url,
        timeout=settings.llm_timeout_s,
        max_retries=settings.llm_retries,
    )
    return AnthropicModel(
        client,
        Models(settings.llm_model, settings.llm_small_model),
        microusd_a_day=round(settings.llm_daily_usd * 1_000_000),
        now_us=SystemClock().now_us,
        batches=Batches(client, gather_s=5, poll_s=30, timeout_s=3_600)
        if settings.llm_batch
        else None,
    )


def gate_runner() -> GateRunner:
    """Who runs the gates: the project's fixed command as a subprocess."""
    return CommandGate()


def notifier(settings: Settings) -> Notifier:
    """Who brings tasks to webhooks: signed requests over HTTP."""
    from pm_agent.adapters.notify_webhook import WebhookNotifier  # noqa: PLC0415 - as above

    may_be_private = settings.webhooks_to_private_addresses
    return WebhookNotifier(SystemClock(), may_be_private=may_be_private)


def build_executor(spec: ShellSpec | PythonSpec) -> Executor:
    """Executor of a managed worker, as configured."""
    if spec.kind == "shell":
        env = minimal_environment()
        env |= {name: os.environ[name] for name in spec.pass_env if name in os.environ}
        return ShellExecutor(spec.argv, env=env, timeout_s=spec.timeout_s)
    module, _, function = spec.callable.partition(":")
    return PythonExecutor(getattr(importlib.import_module(module), function))


def build_worker(spec: WorkerSpec, api: Api) -> Worker:
    """A managed worker on a client that carries its own token."""
    return Worker(
        api,
        spec.name,
        build_executor(spec.executor),
        Worktree(spec.folder, spec.repository, main=spec.main, author=spec.name),
        skills=[{"name": name, "level": level} for name, level in spec.skills.items()],
        project_ids=spec.project_ids,
        heartbeat_s=spec.heartbeat_s,
    )


def ensure_admin_secret(settings: Settings) -> str:
    """Return the administrator's token: made on first use, in a file only its owner reads."""
    path = settings.admin_token_path
    if path.exists():
        return path.read_text().strip()
    settings.data.mkdir(parents=True, exist_ok=True)
    secret = new_secret()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(secret + "\n")
    return secret


async def issue_agent_secret(coordinator: Coordinator, name: str) -> str:
    """Make an access token for an agent that PM Agent runs itself."""
    secret = new_secret()
    digest = digest_of(secret)
    command = IssueToken(
        request_id=f"worker-token:{digest[:16]}",
        principal=SYSTEM,
        sha256=digest,
        owner=Principal(kind="agent", id=agent_id(name), role="worker"),
        label="managed worker",
    )
    await coordinator.submit([command], [])
    return secret


async def admit_admin(coordinator: Coordinator, secret: str) -> None:
    """Let the administrator's token in; nothing happens when it is known already."""
    digest = digest_of(secret)
    command = IssueToken(
        request_id=f"admin-token:{digest[:16]}",
        principal=SYSTEM,
        sha256=digest,
        owner=ADMIN,
        label="administrator",
    )
    await coordinator.submit([command], [])
