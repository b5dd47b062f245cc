"""Methods about tokens and keys."""

from collections.abc import Iterable

from pm_agent.api.handlers.access import ExchangeAnswer, IssueAnswer, IssueKeyAnswer, KeyList
from pm_agent.client.errors import Json
from pm_agent.client.request import Request
from pm_agent.client.sender import Sender, operation
from pm_agent.features.access.decide import DenyResult, KeyResult, TokenResult


class AccessOperations(Sender):
    """Tokens and keys."""

    @operation
    def issue_token(
        self, *, owner: Json, label: str = "", request_id: str | None = None
    ) -> Request[IssueAnswer]:
        """Make an access token; its secret is shown this once.

        ``owner`` holds ``kind`` (agent or person), ``id`` and ``role`` (worker, lead or admin).
        """
        return self._write(IssueAnswer, "POST", "/v1/tokens", request_id, owner=owner, label=label)

    @operation
    def revoke_token(self, sha256: str, *, request_id: str | None = None) -> Request[TokenResult]:
        return self._delete(TokenResult, f"/v1/tokens/{sha256}", request_id)

    @operation
    def issue_key(
        self,
        *,
        owner: Json,
        scopes: Iterable[str] = (),
        project_ids: Iterable[str] = (),
        lasts_days: int = 90,
        label: str = "",
        request_id: str | None = None,
    ) -> Request[IssueKeyAnswer]:
        """Make an API key; it is shown this once. ``owner`` as for `issue_token`."""
        return self._write(
            IssueKeyAnswer,
            "POST",
            "/v1/keys",
            request_id,
            owner=owner,
            scopes=list(scopes),
            project_ids=list(project_ids),
            lasts_days=lasts_days,
            label=label,
        )

    @operation
    def list_keys(self) -> Request[KeyList]:
        return self._query(KeyList, "/v1/keys")

    @operation
    def rotate_key(
        self, key_id: str, *, overlap_h: int = 24, request_id: str | None = None
    ) -> Request[IssueKeyAnswer]:
        """Make a key's successor; the old one lasts ``overlap_h`` hours longer."""
        path = f"/v1/keys/{key_id}/rotate"
        return self._write(IssueKeyAnswer, "POST", path, request_id, overlap_h=overlap_h)

    @operation
    def revoke_key(self, key_id: str, *, request_id: str | None = None) -> Request[KeyResult]:
        return self._delete(KeyResult, f"/v1/keys/{key_id}", request_id)

    @operation
    def exchange_token(
        self,
        *,
        scopes: Iterable[str] = (),
        lasts_s: int = 900,
        request_id: str | None = None,
    ) -> Request[ExchangeAnswer]:
        """Exchange the key or token of this client for one that lasts minutes."""
        return self._exchange(request_id, scopes=list(scopes), lasts_s=lasts_s)

    @operation
    def deny_token(
        self, token_id: str | None = None, *, request_id: str | None = None
    ) -> Request[DenyResult]:
        """Shut a short-lived token out; without an id the one of this client."""
        return self._write(DenyResult, "POST", "/v1/token/deny", request_id, token_id=token_id)
