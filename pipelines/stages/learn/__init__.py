"""Stages that train, evaluate and register models."""
