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

from renewals.pipelines.runtime.errors import Config, InputMissing, OutputFailed

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

POSTGRES = "postgresql"
SCHEMES = {"postgres": POSTGRES}


def scheme_of(address: str) -> str:
    """The kind of database in lower case, such as `duckdb` or `postgresql`; empty for the path of a folder."""
    scheme, sign, _ = address.partition("://")
    scheme = scheme.lower()
    return SCHEMES.get(scheme, scheme) if sign else ""


def must_be_folder(address: str, option: str) -> None:
    """Raise Config where an address lost its slashes, which would pass for the path of a folder."""
    if lost := re.match(r"(duckdb|sqlite|postgres(?:ql)?):", address, re.IGNORECASE):
        forms = "postgresql://HOST/DATABASE" if "postgres" in lost[1].lower() else _forms(lost[1].lower(), "FILE")
        raise Config(f"{option}: {address.split('@')[-1]!r} is neither a folder nor an address; write {forms}")


def existing_file(address: str, option: str) -> Path:
    """The absolute path of a database file to read.

    Raises Config for another form of address, InputMissing where there is no such file.
    """
    path = _path(address, option)
    if path.is_file():
        return path
    if other := _meant(address, option, Path.is_file):
        raise InputMissing(f"{option}: there is no file {path}; {_four_slashes(address, other)}")
    raise InputMissing(f"{option}: there is no file {path}")


def writable_file(address: str, option: str) -> Path:
    """The absolute path of a database file to write, which need not exist yet.

    Raises Config for another form of address, or where only the absolute path with the same words exists; OutputFailed
    where its folder is missing.
    """
    path = _path(address, option)
    if not path.exists() and (other := _meant(address, option, Path.is_file)):
        raise Config(f"{option}: there is no file {path}; {_four_slashes(address, other)}")
    if path.parent.is_dir():
        return path
    if other := _meant(address, option, lambda file: file.parent.is_dir()):
        raise Config(f"{option}: there is no folder {path.parent}; {_four_slashes(address, other)}")
    raise OutputFailed(f"{option}: there is no folder {path.parent}: make it first")


def file_address(scheme: str, path: Path) -> str:
    """The address of a file by its absolute path: four slashes; only what would be decoded or split is encoded."""
    plain = re.sub(r"%(?=[0-9A-Fa-f]{2})", "%25", str(path.absolute())).replace("?", "%3F")
    return f"{scheme}:///{plain}"


def _path(address: str, option: str) -> Path:
    database = _parsed(address, option).database
    assert database is not None
    return Path(database).absolute()


def _parsed(address: str, option: str) -> URL:
    """The parts of a file's address. Raises Config where there is no file in it, or more than a file."""
    from sqlalchemy.engine import make_url

    url = make_url(address)
    scheme = scheme_of(address)
    if url.host is not None or url.username is not None:
        raise Config(f"{option}: {address} has two slashes, which name a server; write {_forms(scheme, _words(url))}")
    if not url.database or url.database == ":memory:":
        raise Config(f"{option}: {address} names no file; write {_forms(scheme, 'FILE')}")
    if url.query:
        raise Config(f"{option}: {address}: options after ? are not known here; a ? in a file's name is written %3F")
    return url


def _words(url: URL) -> str:
    return "/".join(part for part in (url.host, url.database) if part)


def _forms(scheme: str, words: str) -> str:
    return f"{scheme}:///{words} for a path from the current folder, or {scheme}:////PATH/{words} for an absolute one"


def _meant(address: str, option: str, there: Callable[[Path], bool]) -> Path | None:
    """The absolute path with the words of a relative one, if it is `there`; None where `./` says relative."""
    words = str(_parsed(address, option).database)
    if words.startswith(("/", "./", "../")):
        return None
    other = Path("/", words)
    return other if there(other) else None


def _four_slashes(address: str, path: Path) -> str:
    scheme = scheme_of(address)
    given = str(path).lstrip("/")
    return (
        f"three slashes are a path from the current folder. For {path} write {file_address(scheme, path)}; for the "
        f"current folder write {scheme}:///./{given}"
    )


# --- secrets -------------------------------------------------------------------------------------


def without_secrets(address: str) -> str:
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


def redacted(text: str, url: str) -> str:
    """The text without what of the address is secret."""
    for secret in sorted(_secrets(url) | {url}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _secrets(url: str) -> set[str]:
    """Password and options of an address, as written and decoded."""
    try:
        parts = urlsplit(url)
        written = {part for part in (parts.password, parts.query) if part}
    except ValueError:
        _, _, password = url.partition("://")[2].rpartition("@")[0].partition(":")
        written = {password, url.partition("?")[2]} - {""}
    return written | {unquote(part) for part in written}
