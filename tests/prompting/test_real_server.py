"""A server that others wrote, with a tiny random model behind it, is asked as any other."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from loracle.data.loading import load_task
from loracle.methods.llm import LLM, LLMScorer
from loracle.methods.method import Setup
from loracle.prompting.answers import OUTCOMES
from loracle.prompting.config import LLMConfig

START_SECONDS = 60
TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a Llama of one layer and 16 hidden units, random weights, that reads and writes bytes."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: index for index, letter in enumerate(["<s>", "</s>", *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    fast.chat_template = TEMPLATE
    folder = tmp_path_factory.mktemp("llama") / "tiny-llama"
    fast.save_pretrained(folder)
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def real_server(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `transformers serve`, which answers with the tiny model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("serve") / "log.txt"
    command = [sys.executable, "-c", "from transformers.cli.transformers import app; app()", "serve", str(tiny_llama)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    try:
        _wait_until_healthy(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(20)


def _wait_until_healthy(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    started = time.monotonic()
    while time.monotonic() - started < START_SECONDS:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"the server did not start within {START_SECONDS} s: {log.read_text()}")


@pytest.mark.slow
def test_every_text_ends_in_an_outcome_and_tokens_are_counted(
    real_server: str, tiny_llama: Path, tiny_file: Path, tmp_path: Path
) -> None:
    task = load_task(tiny_file)
    config = LLMConfig(
        llm_model=str(tiny_llama),
        llm_base_url=real_server,
        llm_texts_per_call=2,
        llm_characters=60,
        llm_cache=tmp_path / "answers",
    )
    setup = Setup(llm=config)
    assert LLM.check
    LLM.check(task, setup)
    classifier = LLM.fit(task, setup, seed=0).classifier
    probabilities = classifier.predict_proba(list(task.test.texts[:5]))
    assert isinstance(classifier.scorer, LLMScorer)
    receipt = classifier.scorer.receipt
    assert receipt is not None
    assert probabilities.shape == (5, 2)
    assert np.isin(probabilities.sum(axis=1), (0, 1)).all()
    assert set(receipt.outcome_of) <= set(OUTCOMES) - {"api_error"}
    assert sum(receipt.outcomes.values()) == receipt.texts == 5
    assert receipt.calls >= 3
    assert receipt.prompt_tokens
    assert receipt.completion_tokens
    assert receipt.prompt_tokens > 5 * 60 > 0
    assert receipt.seconds_per_1000
    assert receipt.cost is None
    classifier.predict_proba(list(task.test.texts[:5]))
    again = classifier.scorer.receipt
    assert again
    assert (again.calls, again.outcome_of) == (0, receipt.outcome_of)
