"""What is reserved and spent never passes the limit, however many threads ask."""

import random
import threading
import time

import pytest

from loracle.prompting.purse import BudgetError, Purse


def test_reserving_what_is_left_is_allowed_and_more_is_not() -> None:
    purse = Purse(1.0)
    purse.reserve(1.0)
    purse.settle(1.0, 0.75)
    with pytest.raises(BudgetError) as raised:
        purse.reserve(0.5)
    assert (raised.value.limit, raised.value.spent, raised.value.needed) == (1.0, 0.75, 0.5)
    purse.reserve(0.25)


def test_purse_without_a_limit_only_sums() -> None:
    purse = Purse()
    for _ in range(3):
        purse.reserve(1e9)
        purse.settle(1e9, 2.0)
    assert purse.spent == 6.0


def test_call_that_might_fit_waits_for_those_under_way() -> None:
    purse, order = Purse(1.0), []
    purse.reserve(0.9)

    def settle() -> None:
        time.sleep(0.03)
        order.append("settled")
        purse.settle(0.9, 0.1)

    thread = threading.Thread(target=settle)
    thread.start()
    purse.reserve(0.5)
    order.append("reserved")
    thread.join()
    assert order == ["settled", "reserved"]


def test_sum_never_passes_the_limit_with_many_threads() -> None:
    purse, most, lock = Purse(10.0), [0.0], threading.Lock()
    open_sums = [0.0]

    def work(seed: int) -> None:
        draw = random.Random(seed)
        while True:
            amount = draw.random()
            try:
                purse.reserve(amount)
            except BudgetError:
                return
            with lock:
                open_sums[0] += amount
                most[0] = max(most[0], purse.spent + open_sums[0])
            with lock:
                open_sums[0] -= amount
                purse.settle(amount, amount * draw.random())

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    assert 8.0 < purse.spent <= 10.0
    assert most[0] <= 10.0 + 1e-9
