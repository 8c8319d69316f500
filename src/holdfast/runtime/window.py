"""How often in the last minute: of each, and of all together; pure but for what it remembers."""

from __future__ import annotations

import math
from collections import deque

SPAN = 60.0


class Window:
    """Lets in so many within any 60 seconds. Only who was let in counts, so who is refused and
    waits as told gets in, and it remembers no more than all may."""

    def __init__(self) -> None:
        self._all: deque[tuple[float, str]] = deque()
        self._each: dict[str, deque[float]] = {}

    def take(self, name: str, now: float, *, each: int, together: int) -> int:
        """0: in, and counted. Else the seconds after which there is room again."""
        self._forget(now)
        mine = self._each.get(name, ())
        waits = [0.0]
        if len(mine) >= each:
            waits.append(mine[len(mine) - each] + SPAN - now)
        if len(self._all) >= together:
            waits.append(self._all[len(self._all) - together][0] + SPAN - now)
        if (wait := max(waits)) > 0:
            return max(1, math.ceil(wait))
        self._all.append((now, name))
        self._each.setdefault(name, deque()).append(now)
        return 0

    def __len__(self) -> int:
        return len(self._all)

    def _forget(self, now: float) -> None:
        while self._all and self._all[0][0] <= now - SPAN:
            _, name = self._all.popleft()
            mine = self._each[name]
            mine.popleft()
            if not mine:
                del self._each[name]
