"""What the lab child can be asked that needs the model to run: answer prompts, compare
distributions.

Operations have the form described in `files.py`. Logits are compared in memory and never stored.
"""

import ctypes
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hakaru.engine import libllama
from hakaru.engine.capi import ChatMessage
from hakaru.engine.distributions import NotFiniteError, sample, sums_of, token_divergences
from hakaru.engine.files import Steps
from hakaru.engine.libllama import c
from hakaru.engine.side_by_side import N_SEQUENCES, groups_of
from hakaru.hardware.threads import n_threads

N_TOKENS: Final = 512
"""Tokens of the windows that are read side by side."""
LOGITS_BYTES: Final = 2**28
"""Logits that llama.cpp is asked for at once."""


def answer(request: dict[str, Any]) -> Steps:
    """Sampled answers to prompts, decoded side by side in groups that fit; the same seed gives the
    same answers on the same build.
    """
    n_predict = request["n_predict"]
    with libllama.model(Path(request["path"])) as model:
        prompts = [
            _opened(model, libllama.tokenize(model, _chat(model, prompt), special=True))
            for prompt in request["prompts"]
        ]
        texts = [list(tokens) for tokens in prompts]
        groups = groups_of([len(tokens) + n_predict for tokens in prompts])
        batch = Batch(max(2048, *(len(tokens) + n_predict for tokens in prompts)))
        for done, group in enumerate(groups):
            for step in _continued(
                model, batch, {i: texts[i] for i in group}, n_predict, request["seed"]
            ):
                yield (done * n_predict + step, len(groups) * n_predict)
            yield ((done + 1) * n_predict, len(groups) * n_predict)
        return {
            "answers": [
                {"tokens": whole, "n_prompt": len(tokens)}
                for whole, tokens in zip(texts, prompts, strict=True)
            ]
        }


def _continued(
    model: Any, batch: "Batch", texts: dict[int, list[int]], n_predict: int, seed: int
) -> Iterator[int]:
    """Write up to `n_predict` tokens to the end of each text, all texts side by side. A text has
    dice of its own, by its number. Yields how many tokens each text has got.
    """
    longest, vocabulary = max(map(len, texts.values())) + n_predict, c.llama_model_get_vocab(model)
    dice = {i: np.random.default_rng([seed, i]) for i in texts}
    place = {i: at for at, i in enumerate(texts)}
    with libllama.context(
        model, n_ctx=longest * len(texts), n_seq_max=len(texts), n_batch=max(2048, longest)
    ) as ctx:
        latest: dict[int, int] = {}
        for i, tokens in texts.items():
            last = [False] * (len(tokens) - 1) + [True]
            logits = batch.decode(
                ctx,
                tokens,
                positions=range(len(tokens)),
                sequences=[place[i]] * len(tokens),
                wanted=last,
            )
            latest[i] = sample(logits[0], dice[i])
        for step in range(n_predict):
            latest = {
                i: token
                for i, token in latest.items()
                if not c.llama_vocab_is_eog(vocabulary, token)
            }
            if not latest:
                return
            for i, token in latest.items():
                texts[i].append(token)
            if step < n_predict - 1:
                logits = batch.decode(
                    ctx,
                    list(latest.values()),
                    positions=[len(texts[i]) - 1 for i in latest],
                    sequences=[place[i] for i in latest],
                    wanted=[True] * len(latest),
                )
                latest = {
                    i: sample(row, dice[i]) for i, row in zip(list(latest), logits, strict=True)
                }
            yield step + 1


def compare(request: dict[str, Any]) -> Steps:
    """Divergence of candidates from a reference on the same windows, several windows read side by
    side. Each step carries for each candidate the sums of the windows just read, and the KLD of
    every token. Logits are compared in memory and never stored.

    `alone` has the candidates read every window by itself: what another split of the batches
    changes. `type_k` and `type_v` are the types of the candidates' KV cache; the reference's is
    F16.
    """
    windows, paths = request["windows"], [request["reference"], *request["candidates"]]
    with ExitStack() as stack, ThreadPoolExecutor(n_threads()) as pool:
        models = [stack.enter_context(libllama.model(Path(path))) for path in paths]
        plan = Plan(windows, n_vocab=libllama.n_vocab(models[0]))
        caches = [
            {},
            *[{"type_k": request["type_k"], "type_v": request["type_v"]}] * (len(models) - 1),
        ]
        contexts = [
            stack.enter_context(plan.context(model, **cache))
            for model, cache in zip(models, caches, strict=True)
        ]
        batch, done = Batch(plan.n_tokens), 0
        for some in plan.batches:
            reference, sums = batch.decode_windows(contexts[0], some), []
            for path, ctx in zip(request["candidates"], contexts[1:], strict=True):
                rows = (
                    _alone(batch, ctx, some)
                    if request["alone"]
                    else batch.decode_windows(ctx, some)
                )
                try:
                    apart = list(pool.map(token_divergences, reference, rows, map(targets, some)))
                except NotFiniteError as error:
                    raise libllama.NotNumbers(
                        request["reference"] if str(error) == "reference" else path
                    ) from error
                sums.append(
                    [
                        {**sums_of(window), "klds": [float(f"{kld:.4g}") for kld in window["kld"]]}
                        for window in apart
                    ]
                )
            done += len(some)
            yield (done, len(windows), sums)
    return {}


def _alone(
    batch: "Batch", ctx: Any, windows: Sequence[dict[str, Any]]
) -> list[npt.NDArray[np.float32]]:
    """The logits of every window, each decoded by itself; copies."""
    return [np.array(batch.decode_windows(ctx, [window])[0]) for window in windows]


class Plan:
    """How windows are read: several side by side, each a sequence of its own, in batches that
    llama.cpp takes at once.
    """

    def __init__(self, windows: Sequence[dict[str, Any]], *, n_vocab: int) -> None:
        self.batches: list[list[dict[str, Any]]] = []
        self.n_vocab = n_vocab
        longest = max(len(w["tokens"]) for w in windows)
        room = max(longest, N_TOKENS)
        tokens = logits = 0
        for window in windows:
            tokens, logits = tokens + len(window["tokens"]), logits + self.logits_bytes([window])
            if (
                not self.batches
                or tokens > room
                or logits > LOGITS_BYTES
                or len(self.batches[-1]) == N_SEQUENCES
            ):
                self.batches.append([])
                tokens, logits = len(window["tokens"]), self.logits_bytes([window])
            self.batches[-1].append(window)
        self.n_seq = max(map(len, self.batches))
        self.n_tokens = max(sum(len(w["tokens"]) for w in b) for b in self.batches)
        # with equal parts one long window would make every sequence's part as long
        self.is_pool = longest > N_TOKENS
        cells, n_parts = (self.n_tokens, 1) if self.is_pool else (longest, self.n_seq)
        self.n_ctx = n_parts * (-(-cells // 256) * 256)  # llama.cpp pads every sequence's part

    def logits_bytes(self, windows: Sequence[dict[str, Any]]) -> int:
        """Bytes of the logits that are compared in these windows."""
        return sum(4 * self.n_vocab * (len(w["tokens"]) - 1 - w["first"]) for w in windows)

    def context(
        self, model: Any, *, type_k: int = 1, type_v: int = 1, on_node: Any = None
    ) -> AbstractContextManager[Any]:
        """A context that holds the largest batch; what is named is as in `libllama.context`."""
        n_ubatch = min(N_TOKENS, self.n_tokens)
        return libllama.context(
            model,
            n_ctx=self.n_ctx,
            n_ubatch=n_ubatch,
            n_batch=self.n_tokens,
            n_seq_max=self.n_seq,
            kv_unified=self.is_pool,
            type_k=type_k,
            type_v=type_v,
            on_node=on_node,
        )


class Batch:
    """A reusable llama_batch of up to `capacity` tokens."""

    def __init__(self, capacity: int) -> None:
        self._batch = c.llama_batch_init(capacity, 0, 1)

    def decode(
        self,
        ctx: Any,
        tokens: Sequence[int],
        *,
        positions: Sequence[int],
        sequences: Sequence[int],
        wanted: Sequence[bool],
    ) -> npt.NDArray[np.float32]:
        """Logits, shape (number wanted, n_vocab), valid until the next decode of `ctx`: a view, not
        a copy.
        """
        batch = self._batch
        batch.n_tokens = len(tokens)
        for i, (token, position, sequence, want) in enumerate(
            zip(tokens, positions, sequences, wanted, strict=True)
        ):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = (
                token,
                position,
                1,
                want,
            )
            batch.seq_id[i][0] = sequence
        if c.llama_decode(ctx, batch) != 0:
            raise libllama.Refused("decode")
        rows, columns = sum(wanted), libllama.n_vocab(c.llama_get_model(ctx))
        return np.ctypeslib.as_array(c.llama_get_logits(ctx), shape=(rows, columns))

    def decode_windows(
        self, ctx: Any, windows: Sequence[dict[str, Any]]
    ) -> list[npt.NDArray[np.float32]]:
        """The logits of every window that are compared, all windows read side by side; views as in
        `decode`.
        """
        libllama.forget(ctx)
        tokens, positions, sequences, wanted = list[int](), list[int](), list[int](), list[bool]()
        for i, window in enumerate(windows):
            n = len(window["tokens"])
            tokens += window["tokens"]
            positions += range(n)
            sequences += [i] * n
            wanted += [window["first"] <= j < n - 1 for j in range(n)]
        rows = self.decode(ctx, tokens, positions=positions, sequences=sequences, wanted=wanted)
        ends = np.cumsum([len(w["tokens"]) - 1 - w["first"] for w in windows])
        return np.split(rows, ends[:-1])


def targets(window: dict[str, Any]) -> npt.NDArray[np.int64]:
    """The tokens that follow where logits are compared."""
    return np.array(window["tokens"][window["first"] + 1 :])


def _opened(model: Any, tokens: list[int]) -> list[int]:
    """The tokens with the model's opening before them, unless the template wrote it already."""
    opening = libllama.opening(model)
    return tokens if tokens[: len(opening)] == opening else opening + tokens


def _chat(model: Any, prompt: str) -> str:
    """The prompt in the model's chat template, by llama.cpp's own list of templates (nothing in the
    file is executed).
    """
    template = c.llama_model_chat_template(model, None)
    if not template:
        return prompt
    message = (ChatMessage * 1)(ChatMessage(role=b"user", content=prompt.encode()))
    room = 4 * len(prompt.encode()) + 4096
    buffer = ctypes.create_string_buffer(room)
    n = c.llama_chat_apply_template(template, message, 1, True, buffer, room)
    return buffer.raw[:n].decode(errors="replace") if 0 < n <= room else prompt
