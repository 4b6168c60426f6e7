"""Sentences about results of the pipelines, in every language."""
