"""Ways to break a rule, by its name."""

from collections.abc import Callable
from typing import Any

Break = Callable[[Any, Any], None]
"""Spoils a tree; is given the tree and the functions that write and spoil tiles."""
BREAKS: list[tuple[str, str, Break]] = []
"""Rule, severity, and what breaks it."""


def breaks(rule: str, severity: str = "error") -> Callable[[Break], Break]:
    def note(function: Break) -> Break:
        BREAKS.append((rule, severity, function))
        return function

    return note
