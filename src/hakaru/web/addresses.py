"""The addresses of the page at a server's root and of its pieces. They stand apart from what
answers there, which a server does not import before a browser asks.
"""

from typing import Final

PAGE_SCRIPTS: Final = ("/copy.js", "/tabs.js")
PAGE_MODULES: Final = ("/ask.js", "/live.js")
FETCH_SCRIPT: Final = "/fetch.js"
CHAT_SCRIPT: Final = "/chat.js"
KEY_SCRIPT: Final = "/key.js"
IMPORTED: Final = ("/call.js", "/chat_store.js", "/chat_stream.js", "/chat_text.js")
"""What other scripts import."""
FILES: Final = (*PAGE_SCRIPTS, *PAGE_MODULES, FETCH_SCRIPT, CHAT_SCRIPT, KEY_SCRIPT, *IMPORTED)
ROOT: Final = ("/", "/page.css", *FILES)
"""What is answered without a key, too: the page asks for the key."""
OF_BACKENDS: Final = ("/state", "/backends/now", "/privacy/now")
OF_MODELS: Final = (
    "/state", "/machine/of", "/machine/now", "/machine/states", "/machine/plan", "/candidates/of",
    "/privacy/now", "/models", "/models/rows",
)  # fmt: skip
FETCHING: Final = "/fetching"  # told, and begun where something is posted
TO_FETCH: Final = ("/fetching/stop", "/fetching/serve")
