"""Path of the checkout that contains the tests."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
