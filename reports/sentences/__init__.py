"""Results of pipelines as sentences, in every language."""
