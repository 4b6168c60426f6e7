"""Addresses of databases, as `--tables`, `--to` and `tracking.uri` take them, with SQLAlchemy's meaning.

Three slashes before a file are a path from the current folder, four an absolute one, and `%20` is a space. Two slashes
would name a server, which a file has not.
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
    """The kind of database in lower case, such as `duckdb` or `postgresql`; empty for the path of a folder."""
    scheme, sign, _ = address.partition("://")
    scheme = scheme.lower()
    return SCHEME_ALIASES.get(scheme, scheme) if sign else ""


def reject_malformed_address(address: str, option: str) -> None:
    """Raise ConfigError where an address lost its slashes, which would pass for the path of a folder."""
    if lost := re.match(r"(duckdb|sqlite|postgres(?:ql)?):", address, re.IGNORECASE):
        forms = (
            "postgresql://HOST/DATABASE" if "postgres" in lost[1].lower() else _address_syntax(lost[1].lower(), "FILE")
        )
        raise ConfigError(f"{option}: {address.split('@')[-1]!r} is neither a folder nor an address; write {forms}")


def existing_file(address: str, option: str) -> Path:
    """The absolute path of a database file to read.

    Raises ConfigError for another form of address, MissingInputError where there is no such file.
    """
    path = _database_path(address, option)
    if path.is_file():
        return path
    if other := _absolute_alternative(address, option, Path.is_file):
        raise MissingInputError(f"{option}: there is no file {path}; {_absolute_path_hint(address, other)}")
    raise MissingInputError(f"{option}: there is no file {path}")


def writable_file(address: str, option: str) -> Path:
    """The absolute path of a database file to write, which need not exist yet.

    Raises ConfigError for another form of address, or where only the absolute path with the same words exists;
    OutputError where its folder is missing.
    """
    path = _database_path(address, option)
    if not path.exists() and (other := _absolute_alternative(address, option, Path.is_file)):
        raise ConfigError(f"{option}: there is no file {path}; {_absolute_path_hint(address, other)}")
    if path.parent.is_dir():
        return path
    if other := _absolute_alternative(address, option, lambda file: file.parent.is_dir()):
        raise ConfigError(f"{option}: there is no folder {path.parent}; {_absolute_path_hint(address, other)}")
    raise OutputError(f"{option}: there is no folder {path.parent}: make it first")


def file_address(scheme: str, path: Path) -> str:
    """The address of a file by its absolute path: four slashes; only what would be decoded or split is encoded."""
    plain = re.sub(r"%(?=[0-9A-Fa-f]{2})", "%25", str(path.absolute())).replace("?", "%3F")
    return f"{scheme}:///{plain}"


def _database_path(address: str, option: str) -> Path:
    database = _parse_url(address, option).database
    assert database is not None
    return Path(database).absolute()


def _parse_url(address: str, option: str) -> URL:
    """The parts of a file's address. Raises ConfigError where there is no file in it, or more than a file."""
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
    """The absolute path with the words of a relative one, if it is `exists`; None where `./` says relative."""
    words = str(_parse_url(address, option).database)
    if words.startswith(("/", "./", "../")):
        return None
    other = Path("/", words)
    return other if exists(other) else None


def _absolute_path_hint(address: str, path: Path) -> str:
    scheme = scheme_of(address)
    given = str(path).lstrip("/")
    return (
        f"three slashes are a path from the current folder. For {path} write {file_address(scheme, path)}; for the "
        f"current folder write {scheme}:///./{given}"
    )


# --- secrets -------------------------------------------------------------------------------------


def redact_url(address: str) -> str:
    """An address as it may be shown: no user, no password, no options."""
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
    """The text without what of the address is secret."""
    for secret in sorted(_url_secrets(url) | {url}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _url_secrets(url: str) -> set[str]:
    """Password and options of an address, as written and decoded."""
    try:
        parts = urlsplit(url)
        written = {part for part in (parts.password, parts.query) if part}
    except ValueError:
        _, _, password = url.partition("://")[2].rpartition("@")[0].partition(":")
        written = {password, url.partition("?")[2]} - {""}
    return written | {unquote(part) for part in written}
