"""Find the level of a model that is best on this machine, serve it, and ask it."""

import sys

import httpx

import hakaru

decision = hakaru.tune(sys.argv[1], tier="near-lossless", memory="8GiB", n_ctx=2048)
if decision.path is None:
    sys.exit(f"nothing was chosen: {decision.why}")
with hakaru.serve(decision.path, **decision.context) as serving:
    question = {"messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 16}
    answer = httpx.post(f"{serving.url}/chat/completions", json=question, timeout=60).json()
print(answer["choices"][0]["message"]["content"])
