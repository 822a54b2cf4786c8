"""A hard cap on what is spent, held before each call and not only noticed after it."""

from __future__ import annotations

import threading


class BudgetError(Exception):
    """The next call could cost more than is left; nothing is under way that could give some back."""

    def __init__(self, limit: float, spent: float, needed: float) -> None:
        super().__init__(f"{spent} of {limit} spent, {needed} needed")
        self.limit, self.spent, self.needed = limit, spent, needed


class Purse:
    """Money that calls may spend, shared by threads.

    A call first reserves the most that it can cost, and settles for what it did cost. Amounts are in the currency of
    the price file; without a limit they are only summed.
    """

    def __init__(self, limit: float | None = None) -> None:
        self.limit = limit
        self._spent = 0.0
        self._reserved: list[float] = []
        self._settled = threading.Condition()

    @property
    def spent(self) -> float:
        """What was spent so far; a call of which nothing was heard counts with the most that it can have cost."""
        return self._spent

    def reserve(self, amount: float) -> None:
        """Set aside the most that a call can cost; waits while calls under way may leave enough.

        Raises BudgetError where `amount` would pass the limit even if all of them cost nothing more.
        """
        with self._settled:
            while self.limit is not None and self._spent + sum(self._reserved) + amount > self.limit:
                if not self._reserved:
                    raise BudgetError(self.limit, self._spent, amount)
                self._settled.wait()
            self._reserved.append(amount)

    def settle(self, reserved: float, spent: float) -> None:
        """Put what the call cost in the place of what was set aside for it."""
        with self._settled:
            self._reserved.remove(reserved)
            self._spent += spent
            self._settled.notify_all()
