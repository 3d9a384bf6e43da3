"""Windows are cut from documents and answers, and a person's own text is read before a verdict."""

from hakaru.evaluation.texts import Document
from hakaru.evaluation.windows import (
    N_TOKENS,
    least_to_read,
    window_of_answer,
    windows_digest,
    windows_of_documents,
)


def test_the_persons_own_text_is_read_before_the_answer() -> None:
    """Twelve windows of it, or all that there are; texts at hand wait for nobody."""
    assert least_to_read(["code", "prose-en"] * 50) == 0
    assert least_to_read(["code", "own", "code", "answers-own", "code"] * 2) == 9
    assert least_to_read(["code", "own"] * 40) == 24


def test_windows_of_one_document_do_not_overlap() -> None:
    """Otherwise they would not be independent."""
    document = [Document(name="a", domain="own", text="")]
    for n in (N_TOKENS, 256, 400, 1280, 10_000):
        windows = windows_of_documents(document, [list(range(n))], per_document=40)
        assert len(windows) == min(40, n // N_TOKENS)
        tokens = [t for w in windows for t in w.tokens]
        assert len(tokens) == len(set(tokens))


def test_windows_are_cut_from_the_middle_and_never_too_short() -> None:
    """One window per document, none from a document that is shorter than one."""
    documents = [Document(name=n, domain="code", text="") for n in "ab"]
    (window,) = windows_of_documents(documents, [list(range(1000)), list(range(N_TOKENS - 1))])
    assert len(window.tokens) == N_TOKENS
    assert window.tokens[0] == (1000 - N_TOKENS) // 2
    (opened,) = windows_of_documents(documents[:1], [list(range(1000))], [7])
    assert opened.tokens == (7, *window.tokens)
    assert opened.n_scored == window.n_scored
    assert window_of_answer("answers-en", {"tokens": list(range(20)), "n_prompt": 15}) is None
    assert windows_digest([window]) != windows_digest([window, window])
