"""Cells and sentences of single accounts that could not be rendered: they are left out of the output, counted and
reported.

If one cell or sentence fails, only this cell or sentence is missing; the output and the list are still made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class RenderFailures:
    """Failed cells and sentences: the affected accounts by output, part of the output and type of the error."""

    failures: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)

    def render_each(
        self,
        output: str,
        part: str,
        make: Callable[[Item], Any],
        values: Iterable[Item],
        accounts: Iterable[Any],
        instead: Callable[[Item], Any] = lambda value: None,
    ) -> list[Any]:
        """Return `make(value)` for each value, `instead(value)` where `make` fails. `accounts` has one account per
        value, for the report."""
        items = list(values)
        try:
            return [make(value) for value in items]
        except Exception:  # an error in one value must not stop the others
            pairs = zip(items, accounts, strict=True)
            return [self.render_one(output, part, make, value, account, instead) for value, account in pairs]

    def render_one(
        self,
        output: str,
        part: str,
        make: Callable[[Item], Any],
        value: Item,
        account: Any,
        instead: Callable[[Item], Any] = lambda value: None,
    ) -> Any:
        """Return `make(value)`, or `instead(value)` if it fails; the failure is counted for the account."""
        try:
            return make(value)
        except Exception as error:  # any error in this value is counted, not raised
            self.add(output, part, type(error).__name__, account)
            return instead(value)

    def add(self, output: str, part: str, error_type: str, account: Any) -> None:
        """Count one failure of an account in a part of an output."""
        self.failures.setdefault((output, part, error_type), []).append(str(account))

    def summarize(self) -> Iterator[dict[str, Any]]:
        """Yield one entry per output, part and type of error: the count and one example account, but no value of any
        account."""
        for (output, part, error_type), accounts in sorted(self.failures.items()):
            yield {"output": output, "part": part, "why": error_type, "count": len(accounts), "example": accounts[0]}
