"""How many calls a second `llm` makes to a local server that answers each in 100 ms.

    python benchmarks/llm_throughput.py

Sixteen calls are under way at once, one text each, through the same function that the methods use: with its cache on
disk, its accounts and its retries. The limit is 16 / 0.1 s = 160 calls a second; the server is a process of its own.
"""

from __future__ import annotations

import asyncio
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from loracle.comparison.ledger import machine
from loracle.prompting.asking import ask
from loracle.prompting.config import LLMConfig
from loracle.prompting.prompt import Prompt, write_instructions

CONCURRENCY, ANSWER_SECONDS = 16, 0.1
LIMIT = CONCURRENCY / ANSWER_SECONDS
TARGET = 0.8
CALLS, RUNS = 480, 7
LABELS = ("bad", "good")


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the calls of one connection, each after 100 ms."""
    items = [{"number": 1, "label": "good"}]
    message = {"role": "assistant", "content": json.dumps({"answers": items})}
    usage = {"prompt_tokens": 90, "completion_tokens": 9}
    body = json.dumps({"choices": [{"index": 0, "finish_reason": "stop", "message": message}], "usage": usage})
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    try:
        while True:
            request = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = next(line for line in request.split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
            await asyncio.sleep(ANSWER_SECONDS)
            writer.write((head + body).encode())
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def serve() -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def measure(url: str, folder: Path) -> float:
    """Return the calls a second of one run, from the first text to the last answer on disk."""
    config = LLMConfig(
        llm_model="tiny",
        llm_base_url=url,
        llm_texts_per_call=1,
        llm_concurrency=CONCURRENCY,
        llm_cache=folder,
    )
    prompt = Prompt(instructions=write_instructions("verdict", LABELS), label_names=LABELS)
    ask(["the first call finds out what the server takes"], prompt, config)
    texts = [f"{'The parcel came late and nobody answers. ' * 12}{number}" for number in range(CALLS)]
    started = time.perf_counter()
    _, receipt = ask(texts, prompt, config)
    seconds = time.perf_counter() - started
    assert (receipt.outcomes["ok"], receipt.calls) == (CALLS, CALLS)
    return CALLS / seconds


def main() -> int:
    if "--serve" in sys.argv:
        asyncio.run(serve())
        return 0
    server = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    assert server.stdout
    try:
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
        with tempfile.TemporaryDirectory() as folder:
            rates = [measure(url, Path(folder, str(run))) for run in range(RUNS)]
    finally:
        server.terminate()
        server.wait()
    report(rates)
    return 0 if statistics.median(rates) >= TARGET * LIMIT else 1


def report(rates: list[float]) -> None:
    median = statistics.median(rates)
    versions = {name: importlib.metadata.version(name) for name in ("loracle", "openai", "httpx2")}
    here = machine()
    print(f"calls a second     {median:.1f} (median of {len(rates)} runs of {CALLS} calls)")
    print(f"spread             {min(rates):.1f} to {max(rates):.1f}")
    print(f"of the limit       {median / LIMIT:.1%} of {LIMIT:.0f} ({CONCURRENCY} calls at once, 100 ms each)")
    print(f"target             {TARGET * LIMIT:.0f}: {'reached' if median >= TARGET * LIMIT else 'missed'}")
    print(f"machine            {here['processor']}, {here['cores']} cores, {here['system']}")
    print(f"load when it ended {os.getloadavg()[0]:.1f}")
    print(
        f"versions           Python {platform.python_version()}, {', '.join(f'{k} {v}' for k, v in versions.items())}"
    )
    print(f"date               {datetime.date.today().isoformat()}")


if __name__ == "__main__":
    sys.exit(main())
