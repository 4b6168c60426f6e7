"""Database addresses of `--tables`, `--to` and `tracking.uri`, in the syntax of SQLAlchemy.

Three slashes before a file mean a path from the current folder, four an absolute path, and `%20` a space. Two slashes
name a server, which a file does not have.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from renewals.pipelines.runtime.errors import ConfigError, MissingInputError, OutputError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

POSTGRES = "postgresql"
SCHEME_ALIASES = {"postgres": POSTGRES}


def scheme_of(address: str) -> str:
    """Scheme of an address in lower case, such as `duckdb` or `postgresql`; empty for the path of a folder."""
    scheme, sign, _ = address.partition("://")
    scheme = scheme.lower()
    return SCHEME_ALIASES.get(scheme, scheme) if sign else ""


def reject_malformed_address(address: str, option: str) -> None:
    """Raise ConfigError for an address without slashes, such as `duckdb:FILE`, which looks like the path of a folder.

    `option` is the name of the option in the message.
    """
    if match := re.match(r"(duckdb|sqlite|postgres(?:ql)?):", address, re.IGNORECASE):
        scheme = match[1].lower()
        forms = "postgresql://HOST/DATABASE" if "postgres" in scheme else _address_syntax(scheme, "FILE")
        raise ConfigError(f"{option}: {address.split('@')[-1]!r} is neither a folder nor an address; write {forms}")


def existing_file(address: str, option: str) -> Path:
    """Absolute path of a database file to read.

    Raises ConfigError if the address is not one of a file, MissingInputError if the file does not exist.
    """
    path = _database_path(address, option)
    if path.is_file():
        return path
    if alternative := _absolute_alternative(address, option, Path.is_file):
        raise MissingInputError(f"{option}: there is no file {path}; {_absolute_path_hint(address, alternative)}")
    raise MissingInputError(f"{option}: there is no file {path}")


def writable_file(address: str, option: str) -> Path:
    """Absolute path of a database file to write, which need not exist yet.

    Raises ConfigError if the address is not one of a file, or if the path exists only as an absolute one (three slashes
    instead of four); OutputError if its folder is missing.
    """
    path = _database_path(address, option)
    if not path.exists() and (alternative := _absolute_alternative(address, option, Path.is_file)):
        raise ConfigError(f"{option}: there is no file {path}; {_absolute_path_hint(address, alternative)}")
    if path.parent.is_dir():
        return path
    if alternative := _absolute_alternative(address, option, lambda file: file.parent.is_dir()):
        raise ConfigError(f"{option}: there is no folder {path.parent}; {_absolute_path_hint(address, alternative)}")
    raise OutputError(f"{option}: there is no folder {path.parent}: create it first")


def file_address(scheme: str, path: Path) -> str:
    """Address of a file with its absolute path (four slashes); encodes `?`, and `%` where it would be decoded."""
    escaped_path = re.sub(r"%(?=[0-9A-Fa-f]{2})", "%25", str(path.absolute())).replace("?", "%3F")
    return f"{scheme}:///{escaped_path}"


def _database_path(address: str, option: str) -> Path:
    database = _parse_url(address, option).database
    assert database is not None
    return Path(database).absolute()


def _parse_url(address: str, option: str) -> URL:
    """Parsed address of a database file. Raises ConfigError if it has no file, or also a server or options."""
    from sqlalchemy.engine import make_url

    url = make_url(address)
    scheme = scheme_of(address)
    if url.host is not None or url.username is not None:
        raise ConfigError(
            f"{option}: {address} has two slashes, which name a server; write "
            f"{_address_syntax(scheme, _host_and_path(url))}"
        )
    if not url.database or url.database == ":memory:":
        raise ConfigError(f"{option}: {address} names no file; write {_address_syntax(scheme, 'FILE')}")
    if url.query:
        raise ConfigError(
            f"{option}: {address}: options after ? are not known here; a ? in a file's name is written %3F"
        )
    return url


def _host_and_path(url: URL) -> str:
    return "/".join(part for part in (url.host, url.database) if part)


def _address_syntax(scheme: str, path: str) -> str:
    return f"{scheme}:///{path} for a path from the current folder, or {scheme}:////PATH/{path} for an absolute one"


def _absolute_alternative(address: str, option: str, exists: Callable[[Path], bool]) -> Path | None:
    """The relative path of an address read as an absolute one, if that `exists`; None if it starts with `./` or
    `../`."""
    path = str(_parse_url(address, option).database)
    if path.startswith(("/", "./", "../")):
        return None
    alternative = Path("/", path)
    return alternative if exists(alternative) else None


def _absolute_path_hint(address: str, path: Path) -> str:
    scheme = scheme_of(address)
    relative = str(path).lstrip("/")
    return (
        f"three slashes mean a path from the current folder. For {path} write {file_address(scheme, path)}; for the "
        f"current folder write {scheme}:///./{relative}"
    )


# --- secrets -------------------------------------------------------------------------------------


def redact_url(address: str) -> str:
    """Address for display: without user, password and options."""
    scheme, sign, rest = address.partition("://")
    if not sign:
        return address
    try:
        parts = urlsplit(address)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"
    except ValueError:  # a port that is no number, a bracket that is not closed
        return f"{scheme}://{rest.split('@')[-1].split('?')[0]}"


def redact_secrets(text: str, url: str) -> str:
    """Text with the address and its password and options replaced by `***`."""
    for secret in sorted(_url_secrets(url) | {url}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _url_secrets(url: str) -> set[str]:
    """Password and options of an address, encoded and decoded."""
    try:
        parts = urlsplit(url)
        secrets = {part for part in (parts.password, parts.query) if part}
    except ValueError:
        _, _, password = url.partition("://")[2].rpartition("@")[0].partition(":")
        secrets = {password, url.partition("?")[2]} - {""}
    return secrets | {unquote(part) for part in secrets}
