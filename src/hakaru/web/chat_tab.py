"""The part "Chat" of the page: its words, in the language in use. What is done with them is done by
the page's scripts, in the reader's browser.
"""

from collections.abc import Sequence

from hakaru.language import say


def chat_part(models: Sequence[tuple[str, int | None]], *, are_several: bool) -> dict[str, object]:
    """What the template shows. Each of `models` is a name with the tokens of a conversation, where
    they are known; `are_several`: questions name one of them.
    """
    return {
        "title": say("Chat"),
        "models": models,
        "are_several": are_several,
        "which": say("Model"),
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
        "used_alone": say("{n} tokens of context"),
        "too_long": say(
            "The conversation is longer than the context. Begin a new one, or edit an earlier "
            "message."
        ),
        "waiting": say("Waiting for {model} …"),
        "broken": say("The answer broke off: {reason}"),
        "full": say("The browser has no room for more: export or delete conversations."),
    }
