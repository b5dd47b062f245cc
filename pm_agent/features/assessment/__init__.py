"""Assessment: how long, hard and risky a task looks. No claim waits for it.

A portfolio manager proposes tasks without an estimate or a complexity (``wanted.py``), few at a
time, by the command `RequestAssessments`; event `AssessmentsRequested` asks for one effect
`AssessTasks`. The writer (a language model, or rules without a key) answers with the command
`StoreAssessments`; one event `TaskAssessed` a task. What a person said always goes before it.
"""
