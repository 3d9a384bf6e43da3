"""The conversation at the prompt of `hakaru chat`: questions, answers as they come, and what is
told of them. Ctrl-C stops an answer; Ctrl-D, or Ctrl-C at the prompt, ends.
"""

import sys
from contextlib import closing

from hakaru.cli.output import print_aside, warn
from hakaru.cli.slash_commands import Answer, Talk, carried_out, command_in, context_used
from hakaru.cli.typed_lines import Piped, Typing
from hakaru.errors import HakaruError, Terminated
from hakaru.language import say, together
from hakaru.serving.conversation import Conversation
from hakaru.signals import listen_again


def talk_on(talk: Talk, typing: Typing) -> None:
    """Answer until nothing more is asked. Raises HakaruError where the one question of a pipe has
    no answer; a person at a terminal is told and asked again.
    """
    while True:
        try:
            text = typing.question()
        except Terminated:
            raise
        except (EOFError, KeyboardInterrupt):
            return
        if text.strip():
            try:
                _turn(talk, text)
            except Terminated:
                raise
            except KeyboardInterrupt:
                listen_again()
            except HakaruError as error:
                if isinstance(typing, Piped):
                    raise
                warn(str(error))


def answer_once(talk: Talk, text: str) -> None:
    """Answer one question, after which nothing more can be asked."""
    _print(talk, talk.asked(text), is_last=True)


def _turn(talk: Talk, text: str) -> None:
    command = command_in(text)
    answer = carried_out(talk, *command) if command else talk.asked(text)
    if answer is not None:
        _print(talk, answer)


def _print(talk: Talk, answer: Answer, *, is_last: bool = False) -> None:
    """Print an answer while it comes, and what is to be told of it."""
    with closing(answer) as pieces:
        try:
            for piece in pieces:
                print(piece, end="", flush=True)
        except KeyboardInterrupt:
            print(" …")
            raise
    print()
    sys.stdout.flush()
    for line in _told(talk, is_last=is_last):
        print_aside(line)


def _told(talk: Talk, *, is_last: bool) -> list[str]:
    conversation, lines = talk.conversation, []
    if conversation.n_left_out:
        lines.append(
            say(
                "[the context is full: the oldest {n} turns were left out; /clear begins anew]",
                n=conversation.n_left_out,
            )
        )
    if conversation.is_cut:
        lines.append(_cut(conversation, is_last=is_last))
    if conversation.tokens_per_s:
        speed = say(
            "({n} tokens, {rate:.1f} tokens/s)",
            n=conversation.n_tokens,
            rate=conversation.tokens_per_s,
        )
        used = "" if is_last else context_used(talk)
        lines.append(together([speed, used]) if used else speed)
    return lines


def _cut(conversation: Conversation, *, is_last: bool) -> str:
    """Why an answer ended before its end, and how to read on."""
    n, limit = conversation.n_tokens, conversation.max_tokens
    if limit is None or n < limit:
        return say("[stopped: the context is full; the oldest turns go with your next question]")
    if is_last or not conversation.goes_on:  # not even begun: the model was still thinking
        return say("[stopped after {n} tokens; for more: --max-tokens {more}]", n=n, more=4 * n)
    return say(
        "[stopped after {n} tokens; /more goes on, --max-tokens {more} allows more]",
        n=n,
        more=4 * n,
    )
