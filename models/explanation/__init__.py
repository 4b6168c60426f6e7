"""Explanation of scores: reasons from feature contributions, score changes and what-if values."""
