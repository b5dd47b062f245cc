"""Progress: what an agent says about running work, and what it has used.

Command: `ReportProgress`. Events: `ProgressReported`; a cap that is reached places a hold.
"""
