"""Of the log of a server that answers nothing is kept that a client sent."""

import pytest

from hakaru.engine.without_requests import without_requests

KEPT = (
    "0.00.930.003 I slot print_timing: id  1 | task 0 | prompt eval time =     256.71 ms",
    "0.00.5 W slot   operator(): id  0 | task 8 | created context checkpoint 1 of 32 (pos_min = 0)",
    "0.00.930.089 I srv  update_slots: all slots are idle",
    "0.00.930.089 I srv  log_server_r: done request: POST /v1/completions  200",
    "/src/ggml/src/ggml-cuda/ggml-cuda.cu:98: CUDA error",
    "ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 1073741824",
    "llama_decode: failed to decode, ret = -3",
    "terminate called after throwing an instance of 'std::bad_alloc'",
)
DROPPED = (
    "parse: error parsing grammar: Undefined rule identifier 'secret'",
    "root ::= secret",
    "WARNING: JSON schema conversion was incomplete: pattern ^(secret is not supported",
    "0.00.634.476 I srv  server_strea: conv_id=secret (empty=0)",
    "llama_grammar_init_impl: secret",
    "  what():  Unexpected empty grammar stack after accepting piece: secret (1)",
    "0.00.1 W slot   operator(): id  0 | task 8 | stopped by 'secret'",
    "secret",
    "",
)
"""As llama.cpp writes them, or could."""


@pytest.mark.parametrize("line", KEPT)
def test_work_and_failures_are_kept(line: str) -> None:
    """Their changing parts are numbers, or names of the engine's own."""
    assert without_requests(line) == line


@pytest.mark.parametrize("line", DROPPED)
def test_what_may_quote_a_request_is_not(line: str) -> None:
    """Whatever the rest of the line says."""
    assert without_requests(line) is None


def test_of_a_refusal_the_number_is_kept() -> None:
    """Its message may quote."""
    line = '0.04 W srv    operator(): got exception: {"error":{"code":400,"message":"secret"}}'
    assert without_requests(line) == "0.04 W srv    operator(): got exception: 400"
