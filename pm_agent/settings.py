"""Settings from the environment (``PM_AGENT_*``), frozen. Every one has a sane default."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from pm_agent.kernel.types import Policy

ScorerName = Literal["priority", "factors"]


class Settings(BaseSettings):
    """What an operator may set. ``pm-agent doctor`` shows each with its source."""

    model_config = SettingsConfigDict(env_prefix="PM_AGENT_", frozen=True, extra="ignore")

    data: Path = Field(
        default=Path(".pm-agent"), description="Folder of the journal and the administrator's token"
    )
    workspace: str = Field(default="main", description="Workspace id, on every event and metric")
    host: str = Field(default="127.0.0.1", description="Address to listen on; loopback by default")
    port: int = Field(default=8470, ge=1, le=65535, description="Port of HTTP and MCP")
    allowed_hosts: tuple[str, ...] = Field(
        default=(), description="Host names clients may use besides localhost and 127.0.0.1"
    )
    scorer: ScorerName = Field(default="factors", description="How assignments are scored")
    exploration: float = Field(
        default=0.03, ge=0, le=0.5, description="Share of choices drawn among near-ties"
    )
    ray_address: str = Field(
        default="local", description="'local' starts an embedded Ray; 'auto' or an address joins one"
    )
    haproxy: bool = Field(default=True, description="Serve through HAProxy; 13 times cheaper")
    workers: Path | None = Field(
        default=None, description="TOML or JSON file of managed workers to run"
    )
    seed: int | None = Field(default=None, description="Of random draws; None: from the clock")

    @property
    def journal_path(self) -> Path:
        return self.data / f"{self.workspace}.journal.db"

    @property
    def admin_token_path(self) -> Path:
        return self.data / "admin.token"

    @property
    def policy(self) -> Policy:
        return Policy(exploration=self.exploration)

    @property
    def url(self) -> str:
        """Address for clients on this machine."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104 - compared, not bound
        return f"http://{host}:{self.port}"
