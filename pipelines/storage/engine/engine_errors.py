"""Translation of query-engine and file errors into exceptions of this project."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from renewals.pipelines.runtime.errors import ConfigError, DataContractError, OutputError


@contextmanager
def translate_engine_errors(operation: str) -> Iterator[None]:
    """Translate errors of DuckDB, Spark and the file system into our exceptions; `operation` starts their message.

    A file error raises `OutputError` if the operation starts with "writing", else `DataContractError`.
    """
    import duckdb

    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise ConfigError(
            f"{operation}: more memory is needed than engine.memory allows ({first_line(error)})"
        ) from None
    except (duckdb.IOException, OSError) as error:
        if "No space left" in str(error) or "max_temp_directory_size" in str(error):
            raise OutputError(f"{operation}: the disk is full ({first_line(error)})") from None
        if operation.startswith("writing"):
            raise OutputError(f"{operation}: {first_line(error)}") from None
        raise DataContractError(f"{operation}: {first_line(error)}") from None
    except (duckdb.InvalidInputException, duckdb.ConversionException, duckdb.SerializationException) as error:
        raise DataContractError(f"{operation}: {first_line(error)}") from None
    except Exception as error:
        from renewals.pipelines.storage.engine import spark

        stop = spark.translate_spark_error(operation, error)
        if stop is None:
            raise
        raise stop from None


def first_line(error: BaseException) -> str:
    """First line of an error's message, or its class name if the message is empty."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
