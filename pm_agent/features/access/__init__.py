"""Access tokens.

Commands: `IssueToken`, `RevokeToken`. Events: `TokenIssued`, `TokenRevoked`. The secret is made at
the edge and shown once; the world knows its SHA-256 only.
"""
