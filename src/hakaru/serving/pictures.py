"""Pictures and sounds in a request: how much of its body they are."""

from collections.abc import Iterable, Iterator

from hakaru.serving import request_schemas as schemas


def media_bytes(request: schemas.Request) -> int:
    """Bytes of the body that are pictures and sounds, of which no text is tokenized."""
    return sum(map(len, _media(request)))


def _media(request: schemas.Request) -> Iterator[str]:
    match request:
        case schemas.ChatCompletion(messages=messages):
            for message in messages:
                if isinstance(message.content, list):
                    yield from map(_of_part, message.content)
        case schemas.CountTokens(messages=turns):
            for turn in turns:
                yield from _in_blocks(turn.content)
        case schemas.Responses(input=list(items)):
            for item in items:
                yield from _in_blocks(item.content)


def _of_part(part: schemas.Part) -> str:
    match part:
        case schemas.ImagePart(image_url=address):
            return address.url
        case schemas.SoundPart(input_audio=sound):
            return sound.data
    return ""


def _in_blocks(content: "str | Iterable[schemas.Block] | None") -> Iterator[str]:
    if content is None or isinstance(content, str):
        return
    for block in content:
        if isinstance(block.source, schemas.Source):
            yield block.source.data or ""
        yield block.image_url or ""
        yield from _in_blocks(block.content)
