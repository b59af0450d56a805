"""What answers have in common, and a part of a list."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

T = TypeVar("T")


def in_order(value: Any) -> Any:
    """Return a set as a list, which is always the same for the same set."""
    return sorted(value) if isinstance(value, (set, frozenset)) else value


def as_dict(value: Any) -> Any:
    """Return a mapping that cannot be changed as a dict, which pydantic takes."""
    return dict(value) if hasattr(value, "keys") else value


class Answer(BaseModel):
    """Base of all: read from a record by the names of its fields."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class Page(Answer, Generic[T]):
    """A part of a list; ``next`` is what to ask for with ``after``, null at the end."""

    items: list[T]
    next: str | None


def page_of(kind: type[T], records: Any, *, limit: int, key: str) -> Any:
    """Return a page of records as answers.

    Args:
        kind: A type of answers.
        records: One more than ``limit`` where there are more.
        limit: How many were asked for.
        key: The field that the next page goes on after.
    """
    shown = records[:limit]
    following = str(getattr(shown[-1], key)) if len(records) > limit else None
    model: Any = kind
    return {"items": [model.model_validate(one) for one in shown], "next": following}
