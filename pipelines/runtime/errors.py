"""Exceptions that end a run: each class has an exit code, and its message is written for the user."""

from typing import Any


class RunError(Exception):
    """Base class of errors that end a run. The message says what is wrong, where, and what to do; no traceback."""

    exit_code = 70
    state = "InternalError"
    """Value of `state` in the JSON line of the run; part of the interface, independent of the class name."""

    def __init__(self, message: str, **details: Any) -> None:
        """`details` are further keys of the JSON line, for a run that did a part of its work."""
        super().__init__(message)
        self.details = details


class DataContractError(RunError):
    """The tables, a model file or a returned workbook violate their contract."""

    exit_code = 65
    state = "DataContract"


class LoggedActionsError(DataContractError):
    """A model uses features of logged actions and must not become champion (domain M5)."""

    state = "ReadsActionsError"


class OldFeaturesError(DataContractError):
    """A model or a table has features with names of an older release."""


class MissingInputError(RunError):
    """A required table, folder or output of an earlier stage is missing."""

    exit_code = 66
    state = "InputMissing"


class NoChampionError(MissingInputError):
    """No model of a target ever became its champion."""


class ServiceUnavailableError(RunError):
    """A database or the model registry does not answer; try again later."""

    exit_code = 69
    state = "Unavailable"


class OutputError(RunError):
    """An output could not be written; nothing was published."""

    exit_code = 74
    state = "OutputFailed"


class RunLockedError(RunError):
    """Another run holds the lock; try again later."""

    exit_code = 75
    state = "Busy"


class ConfigError(RunError):
    """`params.yaml`, an override or an option is invalid."""

    exit_code = 78
    state = "Config"


class GateRejectedError(RunError):
    """The trained model did not pass the gate; the champion is unchanged."""

    exit_code = 80
    state = "GateRefused"


class InternalError(RunError):
    """An error in this software, or in a file that only this software writes; nothing was published."""

    exit_code = 70
