"""One budget of $2.00, 200 calls at once: what the provider took, here and through LiteLLM's proxy.

    python -m benchmarks.budgets [SECONDS]

SECONDS is how long the provider takes for an answer on average (default 0.1). LiteLLM's budget is
the one that it has without a database: per provider, for a day.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.calls.litellm import environment
from holdfast.testing.model_server import ModelServer
from holdfast.testing.spending import Provider, storm

CALLS, CAP = 200, 2_000_000
KEY = "sk-nobody"
CONFIG = """\
model_list:
  - model_name: scripted
    litellm_params:
      model: openai/scripted
      api_base: {url}/v1
      api_key: none
      input_cost_per_token: 0.000001
      output_cost_per_token: 0.00001
router_settings:
  provider_budget_config:
    openai:
      budget_limit: {cap}
      time_period: 1d
litellm_settings:
  telemetry: false
general_settings:
  master_key: {key}
"""


def main(arguments: list[str]) -> int:
    delay = float(arguments[0]) if arguments else 0.1
    ours = storm(CALLS, 0, 1, CAP, delay)
    print(f"holdfast: the provider took ${ours.provider:.4f} for {ours.served} calls")
    found = environment()
    if isinstance(found, str):
        print(f"litellm: {found}")
        return 0
    provider = Provider(random.Random(1), delay)
    with (
        ModelServer(rule=provider) as model,
        proxy(found, model.url) as port,
        ThreadPoolExecutor(CALLS) as clients,
    ):
        came = Counter(clients.map(ask, [port] * CALLS))
    took = provider.took / 1e6
    print(f"litellm: the provider took ${took:.4f} for {provider.served} calls; {dict(came)}")
    return 0


@contextmanager
def proxy(place: Path, url: str) -> Generator[int]:
    """LiteLLM's proxy in front of the model server, ready; gone on leaving."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    with TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        config.write_text(CONFIG.format(url=url, cap=CAP / 1e6, key=KEY))
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        process = subprocess.Popen(
            [place / "bin/litellm", "--config", config, "--port", str(port)],
            env=kept | {"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            ready(port)
            yield port
        finally:
            process.terminate()
            process.wait(30)


def ready(port: int) -> None:
    end = time.monotonic() + 90
    while time.monotonic() < end:
        try:
            line = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            line.request("GET", "/health/liveliness")
            if line.getresponse().status == http.HTTPStatus.OK:
                return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError("the proxy did not start")


def ask(port: int) -> int:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    body = {"model": "scripted", "messages": [{"role": "user", "content": "work"}]}
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
    line.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    return line.getresponse().status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
