"""A machine's name is one that a file can have, and tells machines apart."""

import pytest

from benchmarks.machine import Neighbours, describe_circumstances, name_machine


@pytest.mark.parametrize(
    ("processor", "cores", "gpu", "name"),
    [
        ("AMD EPYC", 2, None, "amd-epyc-2-cores"),
        ("Intel(R) Xeon(R) CPU @ 2.20GHz", 8, None, "intel-xeon-8-cores"),
        ("AMD EPYC 9R14 96-Core Processor", 16, None, "amd-epyc-9r14-16-cores"),
        ("Intel(R) Xeon(R) Platinum 8488C", 16, "NVIDIA H100", "intel-xeon-platinum-8488c-16-cores-nvidia-h100"),
    ],
)
def test_name_holds_processor_cores_and_gpu(processor: str, cores: int, gpu: str | None, name: str) -> None:
    assert name_machine({"processor": processor, "cores": cores, "gpu": gpu}) == name


def test_circumstances_say_when_and_with_what() -> None:
    found = describe_circumstances()
    assert {"date", "load", "threads", "waiting_threads", "versions", "commit"} == found.keys()
    assert {"python", "torch", "transformers"} <= found["versions"].keys()


def test_own_work_does_not_count_as_that_of_neighbours() -> None:
    neighbours = Neighbours()
    sum(number * number for number in range(3_000_000))
    assert 0 <= neighbours.count_busy_cores() < 64
