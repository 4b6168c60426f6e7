"""Ranking of accounts: playbooks and their expected gain, effects, capacity, managers' verdicts."""
