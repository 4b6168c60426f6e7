"""Inputs of a run, its settings, its lock, and the exit codes and messages at its end."""
