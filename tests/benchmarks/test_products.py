"""The matrix products of a step are those that its sizes say, whether attention is fused or not."""

import pytest
import torch
from torch.nn import functional as F
from transformers import BertConfig, BertForSequenceClassification

from benchmarks.products import Product, Recorder, list_products, prepare_products

BATCH, LENGTH, WIDTH, INNER, LAYERS, HEADS, CLASSES = 3, 10, 16, 40, 2, 4, 2


def record_step(attention: str) -> list[Product]:
    sizes = BertConfig(
        vocab_size=50,
        hidden_size=WIDTH,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_labels=CLASSES,
        attn_implementation=attention,
    )
    network = BertForSequenceClassification(sizes).eval()
    ids = torch.randint(1, 50, (BATCH, LENGTH))
    with Recorder() as recorder:
        logits = network(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        F.cross_entropy(logits, torch.arange(BATCH) % CLASSES).backward()
    return recorder.products


@pytest.mark.parametrize(("attention", "products_of_attention"), [("eager", 2 + 4), ("sdpa", 2 + 5)])
def test_recorded_products_are_those_that_the_sizes_say(attention: str, products_of_attention: int) -> None:
    rows = BATCH * LENGTH
    linear = LAYERS * rows * (4 * WIDTH * WIDTH + 2 * WIDTH * INNER) + BATCH * WIDTH * (WIDTH + CLASSES)
    scores = LAYERS * BATCH * LENGTH * LENGTH * WIDTH  # of one product, over all heads
    found = record_step(attention)
    assert sum(product.multiplications for product in found) == 3 * linear + products_of_attention * scores
    assert sum(product.batch == BATCH * HEADS for product in found) == LAYERS * products_of_attention


def test_a_bias_is_no_factor() -> None:
    bias, first, second = torch.zeros(5), torch.zeros(2, 3), torch.zeros(3, 5)
    assert list(list_products("addmm", (bias, first, second))) == [Product(1, 2, 3, 5, torch.float32)]


def test_a_product_that_adds_in_place_is_one_too() -> None:
    first, second, out = torch.ones(2, 3), torch.ones(3, 5), torch.zeros(2, 5)
    with Recorder() as recorder:
        out.addmm_(first, second)
    assert recorder.products == [Product(1, 2, 3, 5, torch.float32)]


def test_what_is_no_product_is_not_listed() -> None:
    assert list(list_products("softmax", (torch.zeros(2, 3),))) == []


def test_products_are_done_again_at_their_shapes_and_precision() -> None:
    wanted = [Product(1, 2, 3, 5, torch.float32), Product(4, 2, 3, 5, torch.bfloat16)]
    multiply = prepare_products([*wanted, wanted[0]])
    with Recorder() as recorder:
        multiply()
    assert recorder.products == [*wanted, wanted[0]]
