"""How a run stops: each class is one exit code, and its message is for a person."""

from typing import Any


class RunError(Exception):
    """A run that cannot go on: says what is wrong, where, and what to do. No traceback is shown."""

    exit_code = 70
    state = "InternalError"
    """What the JSON line of a run calls this end; part of the interface, whatever the class is called."""

    def __init__(self, message: str, **details: Any) -> None:
        """`details` is what the run has to tell beside the message, where it did a part of its work."""
        super().__init__(message)
        self.details = details


class DataContractError(RunError):
    """The tables, a model file or a returned workbook do not keep the contract."""

    exit_code = 65
    state = "DataContract"


class LoggedActionsError(DataContractError):
    """A model reads what our people log of what they do, and may not serve (domain M5)."""

    state = "ReadsActionsError"


class OldFeaturesError(DataContractError):
    """A model or a table has features under the names of an older release."""


class MissingInputError(RunError):
    """A required table, folder or earlier stage's output is not there."""

    exit_code = 66
    state = "InputMissing"


class ServiceUnavailableError(RunError):
    """A database or the model registry does not answer; try again later."""

    exit_code = 69
    state = "Unavailable"


class OutputError(RunError):
    """The disk refused an output; nothing was published."""

    exit_code = 74
    state = "OutputFailed"


class RunLockedError(RunError):
    """Another run holds the lock; try again later."""

    exit_code = 75
    state = "Busy"


class ConfigError(RunError):
    """`params.yaml` or an override is wrong."""

    exit_code = 78
    state = "Config"


class GateRejectedError(RunError):
    """The trained model did not pass the gate; the champion stays as it was."""

    exit_code = 80
    state = "GateRefused"


class InternalError(RunError):
    """A fault of this software, or of a file that only it writes; nothing was published."""

    exit_code = 70
