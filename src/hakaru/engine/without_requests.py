"""What may be kept of the log of a server that answers: nothing that came with a request.

At the level that tells the buffers, llama.cpp's log has no prompts. But where it refuses a request,
or fails to, it quotes from it: `unrecognized type …` of a JSON schema, a whole grammar, the end of
a body that is no JSON. So a line is kept only in a form whose changing parts are numbers, or names
of the engine's own: the work of its slots, its tensors and buffers, and where its code failed.
"""

import re
from typing import Final

_STAMP: Final = r"(?:[\d.]+ [A-Z] )?"
_KEPT: Final = re.compile(
    rf"{_STAMP}(?:"
    r"slot +\S+: id +-?\d+ \| (?!.*['\"])"  # the work of one slot
    r"|srv +(?:update_slots|log_server_r\w*|stop\w*|load_model|prompt_save): "
    r"|(?!.*grammar)(?:ggml|gguf|llama|llm|cuda|CUDA|metal|vulkan|kv|graph)[\w:]*(?: error)?: "
    r"|(?:init_batch|decode|find_slot|process_ubatch): "
    r"|/?[\w./+-]+\.(?:c|cc|cpp|cu|cuh|h|hpp|m|mm|metal|comp):\d+: "  # a failed assertion
    r"|\t(?:repeat_last_n|dry_multiplier|top_k|mirostat) = "
    r"|terminate called |Segmentation fault|Killed|Aborted)"
)
_REFUSED: Final = re.compile(rf"({_STAMP}srv +operator\(\): got exception: ).*?\"code\":(\d+)")


def without_requests(line: str) -> str | None:
    """The line as it may be kept; None for a line that may hold what a client sent."""
    if refused := _REFUSED.match(line):
        return f"{refused[1]}{refused[2]}"
    return line if _KEPT.match(line) else None
