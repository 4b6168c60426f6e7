"""Contributions of features, and the reasons chosen from them."""
