"""What a request holds, endpoint by endpoint, as far as the engine takes a wrong value in silence,
answers it with a 500, or never ends on it. All other fields are the engine's to check.

A field that is `None` counts as left out, as for OpenAI. Sources: the references of OpenAI's and
Anthropic's interfaces, and llama.cpp, tools/server/server-chat.cpp and common/chat.cpp.
"""

from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, Raw, Struct

JsonObject: TypeAlias = dict[str, Any]
Name: TypeAlias = Annotated[str, Meta(min_length=1)]
JsonSchema: TypeAlias = JsonObject | bool
Tokens: TypeAlias = Annotated[float, Meta(lt=2**31)]
"""A number of tokens. The engine keeps 32 bits of a larger one, in silence: 2**63 becomes none."""
Role: TypeAlias = Literal["developer", "system", "user", "assistant", "tool", "function"]


INLINE: Final = "data:"


def refuse_elsewhere(url: str) -> None:
    """Raises ValueError for a picture that does not stand in the request. The engine would fetch it
    from any address, in this machine's network and in the name of whoever runs the server.
    """
    if not url.startswith(INLINE):
        raise ValueError("a picture must stand in the request (data:image/png;base64,…)")


class Address(Struct):
    """Where a picture lies: in the request."""

    url: str

    def __post_init__(self) -> None:
        refuse_elsewhere(self.url)


class Sound(Struct):
    """A sound, in base64."""

    data: str
    format: str


class TextPart(Struct, tag_field="type", tag="text"):
    """A piece of text in a message."""

    text: str


class ImagePart(Struct, tag_field="type", tag="image_url"):
    """A picture in a message."""

    image_url: Address


class SoundPart(Struct, tag_field="type", tag="input_audio"):
    """A sound in a message."""

    input_audio: Sound


class RefusalPart(Struct, tag_field="type", tag="refusal"):
    """What a model refused with, in a conversation that goes on."""

    refusal: str


Part: TypeAlias = TextPart | ImagePart | SoundPart | RefusalPart


class Called(Struct):
    """The function that a model called, and with what."""

    name: str
    arguments: str | JsonObject = ""


class ToolCall(Struct):
    """One call in an answer of a model."""

    function: Called
    type: Literal["function"]
    id: str | None = None


class Message(Struct):
    """A turn of a conversation."""

    role: Role
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None


class Function(Struct):
    """A function that a model may call."""

    name: Name
    description: str | None = None
    parameters: JsonObject | None = None


class Tool(Struct):
    """A tool that a model may use."""

    function: Function
    type: Literal["function"]


class NamedSchema(Struct):
    """The schema that an answer keeps to."""

    schema: JsonSchema
    name: str | None = None


class ResponseFormat(Struct):
    """The form of an answer."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None
    schema: JsonSchema | None = None


class StreamOptions(Struct):
    """What a stream tells beside the answer."""

    include_usage: bool | None = None


class Generation(Struct, kw_only=True):
    """What every request for text may hold."""

    model: str | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    n_predict: Tokens | None = None
    stop: str | list[str] | None = None
    temperature: Annotated[float, Meta(ge=0)] | None = None
    logit_bias: dict[str, float] | list[tuple[int | str, float | bool]] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    grammar: str | None = None
    json_schema: JsonSchema | None = None
    samplers: list[str] | str | None = None


class ChatCompletion(Generation, kw_only=True):
    """`/v1/chat/completions`."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    tools: list[Tool] | None = None
    tool_choice: str | JsonObject | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    chat_template_kwargs: JsonObject | None = None
    reasoning_format: Literal["none", "auto", "deepseek", "deepseek-legacy"] | None = None
    add_generation_prompt: bool | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0)] | None = None


class Completion(Generation, kw_only=True):
    """`/v1/completions`. The engine checks each prompt."""

    prompt: Any
    logprobs: Annotated[int, Meta(ge=0)] | bool | None = None
    echo: bool | None = None

    def __post_init__(self) -> None:
        if self.echo:
            raise ValueError("echo must be false: the engine does not give the prompt back")


class Embeddings(Struct):
    """`/v1/embeddings`. The engine checks each input."""

    input: Any
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None


class Rerank(Struct):
    """`/v1/rerank`."""

    query: str
    documents: Annotated[list[str], Meta(min_length=1)]
    model: str | None = None
    top_n: Annotated[int, Meta(ge=1)] | None = None


class Source(Struct):
    """Where a picture of Anthropic's kind lies: in the request."""

    type: str
    data: str | None = None
    url: str | None = None

    def __post_init__(self) -> None:
        refuse_elsewhere(INLINE if self.url is None else self.url)


class Block(Struct):
    """A part of a message of Anthropic's or of an item of OpenAI's responses. The engine knows the
    kinds.
    """

    type: str
    text: str | None = None
    content: "str | list[Block] | None" = None  # what a tool gave
    input: Raw = msgspec.field(default_factory=Raw)  # with what a tool was called
    source: Source | str | None = None  # of a picture; a text says where a search found something
    image_url: str | None = None  # a picture

    def __post_init__(self) -> None:
        if self.image_url is not None:
            refuse_elsewhere(self.image_url)


class AnthropicTool(Struct):
    """A tool that a model may use."""

    name: Name
    description: str | None = None
    input_schema: JsonObject | None = None
    type: str | None = None  # None and "custom": the client runs it


class AnthropicMessage(Struct):
    """A turn of a conversation."""

    role: Role
    content: str | list[Block]


class OutputConfig(Struct):
    """What an answer of `/v1/messages` keeps to."""

    format: JsonObject | None = None
    effort: str | None = None

    def __post_init__(self) -> None:
        refuse_form(self.format)


def refuse_form(form: JsonObject | None) -> None:
    """Raises ValueError for the form of an answer of `/v1/messages`, which the engine drops."""
    if form is not None:
        raise ValueError(
            "a form of the answer cannot be demanded here; ask /v1/chat/completions or "
            "/v1/responses"
        )


class CountTokens(Struct, kw_only=True):
    """`/v1/messages/count_tokens`."""

    messages: Annotated[list[AnthropicMessage], Meta(min_length=1)]
    system: str | list[Block] | None = None
    tools: list[AnthropicTool] | None = None
    tool_choice: JsonObject | None = None
    thinking: JsonObject | None = None
    model: str | None = None


class Messages(CountTokens, kw_only=True):
    """`/v1/messages`. Anthropic demands `max_tokens`, without which a small model goes on to the
    end of its context.
    """

    max_tokens: Annotated[int, Meta(ge=1, lt=2**31)]
    stop_sequences: list[str] | None = None
    stream: bool | None = None
    output_config: OutputConfig | None = None
    output_format: JsonObject | None = None  # its former name

    def __post_init__(self) -> None:
        refuse_form(self.output_format)


class Item(Struct):
    """A message, a call or its result among the inputs of a response."""

    type: str | None = None
    role: str | None = None
    content: str | list[Block] | None = None
    arguments: str | None = None  # of a call
    output: str | list[Block] | None = None  # of a call


class TextFormat(Struct):
    """The form of the text of a response."""

    type: Literal["text", "json_object", "json_schema"]
    schema: JsonSchema | None = None

    def __post_init__(self) -> None:
        if self.type == "json_schema" and self.schema is None:
            raise ValueError("a json_schema needs its 'schema'")


class ResponseText(Struct):
    """How the text of a response is written."""

    format: TextFormat | None = None


class Responses(Struct, kw_only=True):
    """`/v1/responses`."""

    input: str | Annotated[list[Item], Meta(min_length=1)]
    max_output_tokens: Tokens | None = None
    text: ResponseText | None = None
    instructions: str | None = None
    model: str | None = None
    stream: bool | None = None
    tools: list[JsonObject] | None = None
    tool_choice: str | JsonObject | None = None


class Tokenize(Struct):
    """`/tokenize`."""

    content: str | list[str | int]


class Detokenize(Struct):
    """`/detokenize`."""

    tokens: list[Annotated[int, Meta(ge=0)]]


Request: TypeAlias = (
    ChatCompletion
    | Completion
    | Embeddings
    | Rerank
    | CountTokens
    | Responses
    | Tokenize
    | Detokenize
)
SCHEMAS: Final[dict[str, type[Request]]] = {
    "/v1/chat/completions": ChatCompletion,
    "/v1/completions": Completion,
    "/v1/embeddings": Embeddings,
    "/v1/rerank": Rerank,
    "/v1/responses": Responses,
    "/v1/messages": Messages,
    "/v1/chat/completions/input_tokens": ChatCompletion,
    "/v1/responses/input_tokens": Responses,
    "/v1/messages/count_tokens": CountTokens,
    "/apply-template": ChatCompletion,
    "/tokenize": Tokenize,
    "/detokenize": Detokenize,
}
"""By endpoint, what is posted there."""
_DECODERS: Final = {path: msgspec.json.Decoder(schema) for path, schema in SCHEMAS.items()}
_AT: Final = " - at '$."


class Unreadable(ValueError):
    """A body that is no such request; `field` says where, such as `messages[0].role`."""

    def __init__(self, reason: str, field: str | None = None) -> None:
        super().__init__(reason)
        self.field = field


def has_tools(request: Request) -> bool:
    """Whether the model is to be shown tools."""
    match request:
        case (
            ChatCompletion(tools=tools, tool_choice=choice)
            | CountTokens(tools=tools, tool_choice=choice)
            | Responses(tools=tools, tool_choice=choice)
        ):
            return bool(tools) and choice not in ("none", {"type": "none"})
    return False


def whole(body: bytes) -> JsonObject:
    """All of a body that was `decoded`. Raises Unreadable for a number that no double holds."""
    try:
        found: JsonObject = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise Unreadable(f"the body is no JSON: {error}") from error
    return found


def decoded(path: str, body: bytes) -> Request:
    """The request in `body`, without the fields that are the engine's to check. Raises
    Unreadable.
    """
    try:
        return _DECODERS[path].decode(body)
    except msgspec.ValidationError as error:
        reason, _, at = str(error).replace("`", "'").partition(_AT)
        field, reason = at.removesuffix("'"), f"{reason[:1].lower()}{reason[1:]}"
        raise Unreadable(f"{field}: {reason}" if field else reason, field or None) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise Unreadable(f"the body is no JSON: {error}") from error
