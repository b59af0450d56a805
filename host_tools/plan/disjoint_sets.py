"""`DisjointSets`: names that belong together, found in almost linear time (union by order of appearance, so results are deterministic)."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

Name = TypeVar("Name", bound=Hashable)


class DisjointSets(Generic[Name]):
    """A partition of names; every name starts alone."""

    def __init__(self, names: Iterable[Name]) -> None:
        self._parent = {name: name for name in names}
        self._rank = dict.fromkeys(self._parent, 0)

    def find(self, name: Name) -> Name:
        """Return the name that stands for ``name``'s set."""
        root = name
        while self._parent[root] != root:
            root = self._parent[root]
        while self._parent[name] != root:
            self._parent[name], name = root, self._parent[name]
        return root

    def join(self, first: Name, second: Name) -> None:
        """Make one set of the sets of both names."""
        first, second = self.find(first), self.find(second)
        if first == second:
            return
        if self._rank[first] < self._rank[second]:
            first, second = second, first
        self._parent[second] = first
        self._rank[first] += self._rank[first] == self._rank[second]

    def sets(self) -> tuple[tuple[Name, ...], ...]:
        """Return every set, each and all in order of first appearance."""
        members: dict[Name, list[Name]] = {}
        for name in self._parent:
            members.setdefault(self.find(name), []).append(name)
        return tuple(tuple(names) for names in members.values())
