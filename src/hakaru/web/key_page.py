"""The page of a server that demands a key: it asks for the key, and tells nothing of the server."""

from hakaru.language import current_language, say
from hakaru.pictures import page_file
from hakaru.web.addresses import KEY_SCRIPT


def key_page() -> str:
    """The page that asks for a key, in the language in use. The whole page comes after the
    key.
    """
    return page_file.render(
        "key.html",
        title=say("A key is needed"),
        modules=[KEY_SCRIPT],
        **other_language(),
        text=say(
            "This server asks for a key. Whoever runs it gave you one, or makes one with hakaru "
            "key add. It is kept by this tab until it is closed, and sent to this server alone."
        ),
        no_scripts=say("Without scripts this page cannot ask for a key."),
        label=say("Key"),
        enter=say("Enter"),
        wrong=say("The server does not take this key."),
        failed=say("The server gave no answer."),
    )


def other_language() -> dict[str, str]:
    """The language in which the page could be read, too."""
    other, name = ("en", "English") if current_language() == "ja" else ("ja", "日本語")
    return {"other": other, "other_name": name}
