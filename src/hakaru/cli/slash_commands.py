"""What a person types at the prompt of `hakaru chat` beside questions: `/clear`, `/file PATH`."""

import re
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct, field

from hakaru.cli.output import print_aside
from hakaru.errors import Misuse
from hakaru.language import say
from hakaru.serving import turns
from hakaru.serving.attachments import picture_file, text_file
from hakaru.serving.conversation import Conversation

Answer = Generator[str, None, None]
_COMMAND: Final = re.compile(r"/([a-z]+)(?:\s+(.*))?", re.DOTALL)


class Talk(Struct, kw_only=True):
    """A conversation at a prompt, and what the next question brings along."""

    conversation: Conversation
    where: str = ""  # who answers, as `/model` tells it
    n_ctx: int | None = None  # tokens of context; None: not told
    sees: bool = False
    history: Path | None = None  # the file of what was typed
    texts: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)

    def asked(self, text: str) -> Answer:
        """The answer to a question, with what was added to it."""
        whole, pictures = "\n\n".join([*self.texts, text]), tuple(self.pictures)
        self.texts.clear()
        self.pictures.clear()
        return self.conversation.ask(whole, pictures)


def command_in(text: str) -> tuple[str, str] | None:
    """The command of a line, and what stands behind it; None for a question. A question that
    begins with a slash is typed with a blank before it.
    """
    match = _COMMAND.fullmatch(text.rstrip())
    return (match[1], (match[2] or "").strip()) if match else None


def carried_out(talk: Talk, name: str, argument: str) -> Answer | None:
    """Do what the command asks; the answer that it begins, if it begins one. Raises Misuse."""
    if name not in COMMANDS:
        raise Misuse(
            "there is no /{name}; /help lists the commands. A question that begins with / is typed "
            "with a blank before it.",
            name=name,
        )
    return COMMANDS[name].does(talk, argument)


def _help(talk: Talk, argument: str) -> None:
    width = max(len(command.typed) for command in COMMANDS.values())
    for command in COMMANDS.values():
        print_aside(f"{command.typed:<{width}}  {command.text()}")
    print_aside(say("Enter sends; Alt+Enter, or \\ at the end of a line, begins a new line."))


def _clear(talk: Talk, argument: str) -> None:
    talk.conversation.clear()
    print_aside(say("[a new conversation begins]"))


def _system(talk: Talk, argument: str) -> None:
    if argument:
        talk.conversation.system = argument
    text = talk.conversation.system
    print_aside(say("[instruction: {text}]", text=text) if text else say("[no instruction]"))


def _save(talk: Talk, argument: str) -> None:
    path = _path(argument, "/save conversation.json")
    turns.save(path, talk.conversation.turns, talk.conversation.system)
    print_aside(say("[{n} turns are in {path}]", n=len(talk.conversation.turns), path=path))


def _load(talk: Talk, argument: str) -> None:
    path = _path(argument, "/load conversation.json")
    loaded, system = turns.load(path)
    talk.conversation.clear()
    talk.conversation.turns.extend(loaded)
    talk.conversation.system = system
    print_aside(say("[{n} turns from {path}: go on]", n=len(loaded), path=path))


def _file(talk: Talk, argument: str) -> None:
    path = _path(argument, "/file notes.txt")
    talk.texts.append(text_file(path))
    print_aside(say("[{path} goes with your next question]", path=path))


def _image(talk: Talk, argument: str) -> None:
    if not talk.sees:
        raise Misuse(
            "this model does not see; serve one together with its projector: `mmproj` FILE."
        )
    path = _path(argument, "/image photo.jpg")
    talk.pictures.append(picture_file(path))
    print_aside(say("[{path} goes with your next question]", path=path))


def _stats(talk: Talk, argument: str) -> None:
    conversation = talk.conversation
    print_aside(say("turns: {n}", n=len(conversation.turns)))
    print_aside(context_used(talk) or say("context: nothing used yet"))
    if conversation.tokens_per_s:
        print_aside(
            say(
                "last answer: {n} tokens at {rate:.1f} tokens/s",
                n=conversation.n_tokens,
                rate=conversation.tokens_per_s,
            )
        )


def _more(talk: Talk, argument: str) -> Answer | None:
    if not talk.conversation.goes_on:
        print_aside(say("[no answer was cut: there is nothing to go on with]"))
        return None
    return talk.conversation.more()


def _retry(talk: Talk, argument: str) -> Answer | None:
    if not talk.conversation.turns:
        print_aside(say("[nothing was asked yet]"))
        return None
    return talk.conversation.again()


def _model(talk: Talk, argument: str) -> None:
    print_aside(talk.where)


def _forget(talk: Talk, argument: str) -> None:
    if talk.history:
        with suppress(FileNotFoundError):
            talk.history.unlink()
    print_aside(say("[what was typed here and before is not on the disk any more]"))


def context_used(talk: Talk) -> str:
    """How much of the context is taken; empty where nothing is known."""
    used = talk.conversation.n_used
    if used is None:
        return ""
    if talk.n_ctx is None:
        return say("context: {used:,} tokens", used=used)
    return say("context: {used:,} of {n_ctx:,} tokens", used=used, n_ctx=talk.n_ctx)


def _path(argument: str, example: str) -> Path:
    if not argument:
        raise Misuse("no file is named; expected such as {example}", example=example)
    return Path(argument).expanduser()


class Command(Struct, frozen=True):
    """What is typed, what it is for, and what it does."""

    typed: str
    text: Callable[[], str]  # what it is for, in the language in use
    does: Callable[[Talk, str], Answer | None]


COMMANDS: Final = {
    "help": Command("/help", lambda: say("this list"), _help),
    "clear": Command("/clear", lambda: say("begin a new conversation"), _clear),
    "retry": Command("/retry", lambda: say("another answer to the last question"), _retry),
    "more": Command("/more", lambda: say("go on with an answer that was cut"), _more),
    "system": Command("/system TEXT", lambda: say("the instruction for the model"), _system),
    "file": Command("/file PATH", lambda: say("add a text file to the next question"), _file),
    "image": Command("/image PATH", lambda: say("add a picture, where the model sees"), _image),
    "save": Command("/save PATH", lambda: say("write the conversation to a file"), _save),
    "load": Command("/load PATH", lambda: say("go on with a saved conversation"), _load),
    "stats": Command("/stats", lambda: say("tokens, speed, and how full the context is"), _stats),
    "model": Command("/model", lambda: say("which model answers, and where"), _model),
    "forget": Command("/forget", lambda: say("remove the file of what was typed"), _forget),
}
"""The commands by their names."""
