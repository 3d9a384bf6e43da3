"""The part "Chat" of the page: its words, in the language in use. What is done with them is done by
the page's scripts, in the reader's browser.
"""

from hakaru.language import say
from hakaru.serving.supervisor import Supervisor

SCRIPTS = ("/chat_store.js", "/chat_stream.js", "/chat_text.js")
"""What the script of the chat imports."""


def chat_part(supervisor: Supervisor) -> dict[str, object]:
    """What the template shows."""
    return {
        "title": say("Chat"),
        "limit": supervisor.settings.tokens_each,
        "no_scripts": say("The chat needs scripts. In a terminal: hakaru chat"),
        "conversation": say("Conversation"),
        "untitled": say("New conversation"),
        "new": say("New"),
        "export": say("Export"),
        "delete": say("Delete"),
        "sure": say("Delete this conversation?"),
        "system": say("System prompt"),
        "system_name": say("System"),
        "you": say("You"),
        "model": supervisor.mode.alias or supervisor.path.stem,
        "message": say("Message"),
        "placeholder": say("Enter sends, Shift+Enter begins a new line"),
        "send": say("Send"),
        "stop": say("Stop"),
        "edit": say("Edit"),
        "again": say("Answer again"),
        "thoughts": say("Thoughts"),
        "pictures": say("Pictures"),
        "picture": say("Picture"),
        "add_picture": say("Add a picture"),
        "remove": say("Remove"),
        "rate": say("{n} tokens/s"),
        "used": say("{n} of {limit} tokens of context"),
        "too_long": say(
            "The conversation is longer than the context. Begin a new one, or edit an earlier "
            "message."
        ),
        "broken": say("The answer broke off: {reason}"),
        "full": say("The browser has no room for more: export or delete conversations."),
    }
