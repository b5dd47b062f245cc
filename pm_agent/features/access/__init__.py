"""Access tokens, API keys, and short-lived tokens that are shut out early.

Commands: `IssueToken`, `RevokeToken`, `IssueKey`, `RotateKey`, `RevokeKey`, `NoteKeysUsed`,
`DenyToken`, `NoteRefusals`. Events: `TokenIssued`, `TokenRevoked`, `KeyIssued`, `KeyExpirySet`,
`KeyRevoked`, `KeysUsed`, `TokenDenied`, `AccessRefused`. Secrets are made at the edge and shown
once; the world knows a token's SHA-256 and a key's MAC only. No effects.
"""
