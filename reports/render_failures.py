"""What could not be shown of single accounts while an output was made: left out there, counted, and told.

A cell or a sentence that cannot be made costs that cell or sentence, and neither the output nor the list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class RenderFailures:
    """What is missing from outputs: by the output, its part and the type of the error, the accounts concerned."""

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
        """What is made of each value, of one account each; `fallback` of it where it cannot be made."""
        given = list(values)
        try:
            return [make(value) for value in given]
        except Exception:  # whatever is wrong with one value, the others are made
            pairs = zip(given, accounts, strict=True)
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
        """What is made of a value, or `fallback` of it where it cannot be made."""
        try:
            return make(value)
        except Exception as error:  # whatever is wrong with this value
            self.add(output, part, type(error).__name__, account)
            return instead(value)

    def add(self, output: str, part: str, error_type: str, account: Any) -> None:
        """Count something of an account that is missing from an output."""
        self.failures.setdefault((output, part, error_type), []).append(str(account))

    def summarize(self) -> Iterator[dict[str, Any]]:
        """One entry per output, part and type of error: how many, and one account; no value of any account."""
        for (output, part, why), accounts in sorted(self.failures.items()):
            yield {"output": output, "part": part, "why": why, "count": len(accounts), "example": accounts[0]}
