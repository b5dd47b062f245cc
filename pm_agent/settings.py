"""Settings from the environment (``PM_AGENT_*``), frozen. Every one has a sane default."""

import tomllib
from pathlib import Path
from typing import Literal

import msgspec
from pydantic import (
    AliasChoices,
    BaseModel,
    Field,
    SecretStr,
    SerializationInfo,
    field_serializer,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from pm_agent.domain.errors import StartError
from pm_agent.domain.time import SECOND_US
from pm_agent.kernel.types import Policy


class ShellSpec(BaseModel, extra="forbid", frozen=True):
    """An executor that runs a fixed command; no field of a task ever enters it."""

    kind: Literal["shell"] = "shell"
    argv: tuple[str, ...] = Field(min_length=1)
    pass_env: tuple[str, ...] = Field(
        default=(), description="Variables handed on besides PATH, HOME and LANG, such as a key"
    )
    timeout_s: float = Field(default=4 * 3600.0, gt=0)


class PythonSpec(BaseModel, extra="forbid", frozen=True):
    """An executor that calls ``package.module:function`` of an installed package."""

    kind: Literal["python"] = "python"
    callable: str = Field(pattern=r"^[\w.]+:\w+$")


class WorkerSpec(BaseModel, extra="forbid", frozen=True):
    """One managed worker: an entry ``[[worker]]`` of the workers file."""

    name: str = Field(min_length=1, max_length=60)
    skills: dict[str, int] = Field(default={}, description="Skill to level, 1 to 5")
    executor: ShellSpec | PythonSpec = Field(discriminator="kind")
    folder: Path = Field(description="Its own folder; with a repository a git worktree of it")
    repository: Path | None = None
    main: str = "main"
    project_ids: tuple[str, ...] = ()
    isolation: Literal["host", "process"] = Field(
        default="host", description="'process': a Ray actor process of its own, about 56 MiB"
    )
    heartbeat_s: float = Field(default=30.0, gt=0, le=60)


def load_workers(path: Path) -> tuple[WorkerSpec, ...]:
    """Read the managed workers of a TOML file.

    Raises
    ------
    StartError
        The file is missing or not as it should be; the message names the entry.
    """
    try:
        entries = tomllib.loads(path.read_text()).get("worker", [])
        specs = [WorkerSpec.model_validate(entry) for entry in entries]
    except (OSError, ValueError) as error:
        message = f"The workers file {path} cannot be used: {error}"
        raise StartError(message, "Correct it; the README shows an example.") from error
    beside = path.resolve().parent  # relative folders are meant from the file that names them
    return tuple(
        spec.model_copy(
            update={
                "folder": beside / spec.folder,
                "repository": beside / spec.repository if spec.repository else None,
            }
        )
        for spec in specs
    )


ScorerName = Literal["priority", "factors", "learned"]


class Settings(BaseSettings):
    """What an operator may set. ``pm-agent doctor`` shows each with its source."""

    model_config = SettingsConfigDict(
        env_prefix="PM_AGENT_", frozen=True, extra="ignore", populate_by_name=True
    )

    data: Path = Field(
        default=Path(".pm-agent"), description="Folder of the journal and the administrator's token"
    )
    workspace: str = Field(default="main", description="Workspace id, on every event and metric")
    # As many platforms name it; ours first, and an empty one of ours means SQLite all the same.
    database_url: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("PM_AGENT_DATABASE_URL", "DATABASE_URL"),
        description="PostgreSQL database of the journal; none: a SQLite file in the data folder",
    )
    history_days: int = Field(
        default=400, ge=1, description="How long PostgreSQL keeps rows of task_history"
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on; loopback by default")
    port: int = Field(default=8470, ge=1, le=65535, description="Port of HTTP and MCP")
    allowed_hosts: tuple[str, ...] = Field(
        default=(), description="Host names clients may use besides localhost and 127.0.0.1"
    )
    public_url: str = Field(
        default="",
        description="Address under which clients know this server, behind a proxy; it stands in"
        " short-lived tokens. Empty: http or https, host and port as above",
    )
    tls_cert: Path | None = Field(
        default=None, description="Certificate chain (PEM); with it the server speaks TLS"
    )
    tls_key: Path | None = Field(default=None, description="The certificate's private key (PEM)")
    kek: SecretStr | None = Field(
        default=None,
        description="Key-encryption keys, newest first: '2:BASE64,1:BASE64'; none: from kek_file",
    )
    kek_file: Path | None = Field(
        default=None, description="File of key-encryption keys; none: 'kek' in the data folder"
    )
    kms: str = Field(
        default="",
        pattern=r"^([\w.]+:\w+)?$",
        description="'package.module:function' that makes a KeyEncryption of its own",
    )
    oauth_issuer: str = Field(
        default="", description="Authorisation server whose tokens count too, as its 'iss' says"
    )
    oauth_jwks_url: str = Field(
        default="", description="Where its keys are; empty: as its metadata says"
    )
    oauth_audience: str = Field(
        default="", description="One more audience that its tokens may name for us"
    )
    require_if_match: bool = Field(
        default=False, description="Refuse changes over HTTP that do not say on which version (428)"
    )
    requests_per_s: float = Field(
        default=1_000.0,
        gt=0,
        description="Requests with one key or token a second; four times as many at once",
    )
    mcp_fast_path: bool = Field(
        default=False, description="Serve plain MCP tool calls past the SDK, for bursts"
    )
    scorer: ScorerName = Field(
        default="factors",
        description="How assignments are scored; 'learned' goes by factors until there is a model",
    )
    learn_every_h: float = Field(
        default=0.0,
        ge=0,
        description="Hours between two lessons of the model; 0: only when asked",
    )
    shadow: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="With scorer 'learned': share of the claims in which the newest version that "
        "does not decide says what it would have chosen; 0: none",
    )
    exploration: float = Field(
        default=0.03, ge=0, le=0.5, description="Share of choices drawn among near-ties"
    )
    ray_address: str = Field(
        default="local",
        description="'local' starts an embedded Ray; 'auto' or an address joins one",
    )
    claims_per_s: float = Field(
        default=50.0,
        gt=0,
        description="Claims and registrations of one agent a second; four times as many at once",
    )
    haproxy: bool = Field(default=True, description="Serve through HAProxy; 13 times cheaper")
    workers: Path | None = Field(default=None, description="TOML file of managed workers to run")
    webhooks_to_private_addresses: bool = Field(
        default=False, description="Webhooks may call this machine and private networks"
    )
    confirm_s: float = Field(
        default=60.0,
        gt=0,
        description="How long a task that was pushed waits for its agent's first word",
    )
    confirm_silent_s: float = Field(
        default=600.0,
        gt=0,
        description="The same of an agent that only speaks MCP and may begin in silence",
    )
    seed: int | None = Field(default=None, description="Of random draws; None: from the clock")
    silence_s: float | None = Field(
        default=None,
        gt=0,
        description="For tests of failures: how long an agent may be silent before its leases are"
        " suspect, and again before they are lost; None: 120 s with heartbeats, else 20 min",
    )

    llm: Literal["rules", "anthropic"] = Field(
        default="rules", description="Who writes instructions, advises and judges"
    )
    llm_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("PM_AGENT_LLM_KEY", "ANTHROPIC_API_KEY"),
        description="Key of the language model",
    )
    llm_base_url: str | None = Field(default=None, description="Its address; None: Anthropic's")
    llm_model: str = Field(
        default="claude-sonnet-5-5", description="Model for instructions and advice"
    )
    llm_small_model: str = Field(
        default="claude-haiku-5-5", description="Model for assessments of tasks"
    )
    llm_daily_usd: float = Field(
        default=5.0, ge=0, description="What it may cost a day (UTC); beyond it rules write"
    )
    llm_timeout_s: float = Field(default=30.0, gt=0, le=600, description="Of one call")
    llm_retries: int = Field(
        default=2, ge=0, le=10, description="Of a call that failed for a moment"
    )
    llm_batch: bool = Field(
        default=False, description="Send assessments as batches: half the price, minutes"
    )

    @field_validator("database_url", "kek", "llm_key")
    @classmethod
    def _none_when_empty(cls, value: SecretStr | None) -> SecretStr | None:
        return value if value is not None and value.get_secret_value() else None

    @field_serializer("database_url", "kek", "llm_key")
    def _told_to_own_processes(
        self, value: SecretStr | None, info: SerializationInfo
    ) -> SecretStr | str | None:
        """JSON is for our own processes, which need the secret; people see the Python form."""
        return value.get_secret_value() if value and info.mode == "json" else value

    @property
    def journal_path(self) -> Path:
        return self.data / f"{self.workspace}.journal.db"

    @property
    def history_place(self) -> str:
        """The journal for those who read it alone: a path, or the URL of a database."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return str(self.journal_path)

    @property
    def admin_token_path(self) -> Path:
        return self.data / "admin.token"

    @property
    def secrets_path(self) -> Path:
        return self.data / f"{self.workspace}.secrets.json"

    @property
    def kek_path(self) -> Path:
        return self.kek_file or self.data / "kek"

    @property
    def policy(self) -> Policy:
        policy = Policy(
            exploration=self.exploration,
            shadow=self.shadow,
            webhooks_to_private_addresses=self.webhooks_to_private_addresses,
            confirm_us=round(self.confirm_s * SECOND_US),
            confirm_silent_us=round(self.confirm_silent_s * SECOND_US),
        )
        if self.silence_s is None:
            return policy
        silence_us = round(self.silence_s * SECOND_US)
        return msgspec.structs.replace(
            policy,
            heartbeat_silence_us=silence_us,
            request_silence_us=silence_us,
            request_silence_max_us=silence_us,
        )

    @property
    def url(self) -> str:
        """Address for clients on this machine."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104 - compared, not bound
        return f"{'https' if self.tls_cert else 'http'}://{host}:{self.port}"

    @property
    def known_as(self) -> str:
        """Address under which clients know this server."""
        return (self.public_url or self.url).rstrip("/")
