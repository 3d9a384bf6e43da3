"""Which slot of the engine a prompt goes to."""

from pathlib import Path

import httpx
import pytest

from hakaru.serving.serve import serve


@pytest.mark.engine
def test_agents_with_the_same_tools_do_not_drive_each_other_out(tiny: Path) -> None:
    """What two prompts have in common, a third of each, is not enough for one to take the slot of
    the other: the next turn of each finds its own in the cache.
    """
    prompts = ["tools " * 30 + text * 90 for text in ("read", "test")]
    with serve(tiny, n_ctx=2048, n_parallel=2) as serving:
        for turn in ("", " and the next turn"):
            counts = [
                httpx.post(
                    f"{serving.url}/completions",
                    json={"prompt": prompt + turn, "max_tokens": 1},
                    timeout=60,
                ).json()["usage"]
                for prompt in prompts
            ]
    for prompt, usage in zip(prompts, counts, strict=True):
        assert usage["prompt_tokens_details"]["cached_tokens"] >= len(prompt) - 1, usage
