"""How good predictions are: walk-forward metrics, baselines, the gate, tuning."""
