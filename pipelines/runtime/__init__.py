"""The job, its settings, its lock, and how a run ends."""
