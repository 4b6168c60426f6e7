"""Stages that learning and scoring share: from raw tables to the table of features."""
