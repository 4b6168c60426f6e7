"""The ten measures, renewal rates and the renewals ahead."""
