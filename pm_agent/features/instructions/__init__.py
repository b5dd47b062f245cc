"""Instructions: the text an agent gets with a task. A claim never waits for it.

Event `TaskAssigned` asks for the effect `WriteInstructions`; the writer (a language model, or rules
without a key) answers with the command `StoreInstructions`; event `InstructionsWritten`.
`AbandonEffect` ends an effect that cannot be done.
"""
