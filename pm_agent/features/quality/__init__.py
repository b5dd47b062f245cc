"""Quality: done is two facts, work handed in and work accepted.

Commands: `CompleteTask`, then `AcceptCompletion` or `RejectCompletion` by the project's policy:
``auto`` at once, ``command`` when the gate's fixed argv exits 0, ``person`` when somebody says so.
Events: `CompletionSubmitted`, `CompletionAccepted`, `CompletionRejected`. Effect: `RunGate`. Only
accepted work unblocks dependants; rejected work is a new attempt.

Late work that was kept (`CandidateKept`) goes through the gate while another attempt is live: the
first one through wins, and the other is stopped. Without a gate it is handed in by
`SubmitCandidate` when the attempt after it fails. `CandidateRejected` ends its chances.
"""
