"""Methods about tokens and keys."""

from collections.abc import Iterable

from pm_agent.client.errors import Json
from pm_agent.client.sender import Answer, Sender


class AccessOperations(Sender[Answer]):
    """Tokens and keys."""

    def issue_token(self, *, owner: Json, label: str = "", request_id: str | None = None) -> Answer:
        """Make an access token; its secret is shown this once.

        ``owner`` holds ``kind`` (agent or person), ``id`` and ``role`` (worker, lead or admin).
        """
        return self._write("POST", "/v1/tokens", request_id, owner=owner, label=label)

    def revoke_token(self, sha256: str, *, request_id: str | None = None) -> Answer:
        return self._delete(f"/v1/tokens/{sha256}", request_id)

    def issue_key(
        self,
        *,
        owner: Json,
        scopes: Iterable[str] = (),
        project_ids: Iterable[str] = (),
        lasts_days: int = 90,
        label: str = "",
        request_id: str | None = None,
    ) -> Answer:
        """Make an API key; it is shown this once. ``owner`` as for `issue_token`."""
        return self._write(
            "POST",
            "/v1/keys",
            request_id,
            owner=owner,
            scopes=list(scopes),
            project_ids=list(project_ids),
            lasts_days=lasts_days,
            label=label,
        )

    def list_keys(self) -> Answer:
        return self._query("/v1/keys")

    def rotate_key(
        self, key_id: str, *, overlap_h: int = 24, request_id: str | None = None
    ) -> Answer:
        """Make a key's successor; the old one lasts ``overlap_h`` hours longer."""
        path = f"/v1/keys/{key_id}/rotate"
        return self._write("POST", path, request_id, overlap_h=overlap_h)

    def revoke_key(self, key_id: str, *, request_id: str | None = None) -> Answer:
        return self._delete(f"/v1/keys/{key_id}", request_id)

    def exchange_token(
        self,
        *,
        scopes: Iterable[str] = (),
        lasts_s: int = 900,
        request_id: str | None = None,
    ) -> Answer:
        """Exchange the key or token of this client for one that lasts minutes."""
        return self._write("POST", "/v1/token", request_id, scopes=list(scopes), lasts_s=lasts_s)

    def deny_token(self, token_id: str | None = None, *, request_id: str | None = None) -> Answer:
        """Shut a short-lived token out; without an id the one of this client."""
        return self._write("POST", "/v1/token/deny", request_id, token_id=token_id)
