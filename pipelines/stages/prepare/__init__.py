"""Stages shared by training and scoring: from raw tables to the feature table."""
