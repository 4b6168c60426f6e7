"""Stages that score the accounts of a day and publish the list."""
