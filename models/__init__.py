"""Targets, models, evaluation, explanation, ranking and forecast: functions of values, without input or output."""
