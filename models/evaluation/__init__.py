"""Evaluation of predictions: backtest report, baselines, drift, promotion gate, challenger, tuning."""
