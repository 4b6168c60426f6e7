"""Versions of accounts, contracts and people, rebuilt from dated extracts."""
