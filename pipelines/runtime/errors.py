"""How a run stops: each class is one exit code, and its message is for a person."""

from typing import Any


class Stop(Exception):
    """A run that cannot go on: says what is wrong, where, and what to do. No traceback is shown."""

    exit_code = 70

    def __init__(self, message: str, **told: Any) -> None:
        """`told` is what the run has to tell beside the message, where it did a part of its work."""
        super().__init__(message)
        self.told = told


class DataContract(Stop):
    """The tables, a model file or a returned workbook do not keep the contract."""

    exit_code = 65


class ReadsActionsError(DataContract):
    """A model reads what our people log of what they do, and may not serve (domain M5)."""


class InputMissing(Stop):
    """A required table, folder or earlier stage's output is not there."""

    exit_code = 66


class Unavailable(Stop):
    """A database or the model registry does not answer; try again later."""

    exit_code = 69


class OutputFailed(Stop):
    """The disk refused an output; nothing was published."""

    exit_code = 74


class Busy(Stop):
    """Another run holds the lock; try again later."""

    exit_code = 75


class Config(Stop):
    """`params.yaml` or an override is wrong."""

    exit_code = 78


class GateRefused(Stop):
    """The trained model did not pass the gate; the champion stays as it was."""

    exit_code = 80


class InternalError(Stop):
    """A fault of this software, or of a file that only it writes; nothing was published."""

    exit_code = 70
