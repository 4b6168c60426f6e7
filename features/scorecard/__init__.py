"""Scorecard measures, renewal rates and upcoming renewals."""
