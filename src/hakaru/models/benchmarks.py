"""Which published benchmark speaks for which task, in which language.

A benchmark stands in `TABLE` only if it asks for what the task needs, in the language of the task.
Left out: a board's own averages, which mix tasks; columns whose language is not clear; knowledge
tests of one language as evidence for another. A task without a line has no evidence: for `vision`,
and for `tool-use` in Japanese, no board was found whose figures may be carried.

How well the boards agree with each other was measured (docs/labbook.md, 2026-11-30): tests of the
same thing agree, and faithfulness to documents runs against all of them, so that `rag` has its own
evidence.
"""

from typing import Final, Literal, get_args

from msgspec import Struct

from hakaru.language import say

Task = Literal["chat", "code", "reasoning", "rag", "vision", "embedding", "tool-use"]
TASKS: Final[tuple[Task, ...]] = get_args(Task)


class Benchmark(Struct, frozen=True, kw_only=True):
    """A column of a board that speaks for a task."""

    board: str  # the beginning of the ids of its boards: "swallow" means all editions
    name: str  # as the board spells it
    task: Task
    language: str  # "en" or "ja"
    why: str  # what it asks for
    doubtful: bool = False
    """True for a column whose two runs of one model differ widely: it is shown, but decides
    nothing.
    """


def _all(
    board: str, task: Task, language: str, *columns: tuple[str, str], doubtful: bool = False
) -> list[Benchmark]:
    return [
        Benchmark(board=board, name=name, task=task, language=language, why=why, doubtful=doubtful)
        for name, why in columns
    ]


TABLE: Final[tuple[Benchmark, ...]] = (
    *_all(
        "swallow", "chat", "ja",
        ("ja_mtb/avg", "open questions over two turns in Japanese, judged by a model"),
        ("ja_mtb/JMT Avg", "open questions over two turns in Japanese, judged by a model"),
        ("ja_post/JamC-QA", "what people in Japan know"),
        ("ja_post/MIFEvalJa", "instructions in Japanese that can be checked"),
        ("ja_basic/NIILC", "questions about Japan that a person would ask"),
        ("ja_basic/JComQA", "common sense in Japanese"),
    ),
    *_all(
        "swallow", "chat", "en",
        ("en_mtb/avg", "open questions over two turns, judged by a model"),
        ("en_post/HellaSwag", "common sense"),
        ("en_basic/TriviaQA", "questions of general knowledge"),
        ("en_basic/HellaSwag", "common sense"),
    ),
    *_all("open-llm", "chat", "en", ("IFEval", "instructions that can be checked"), doubtful=True),
    *_all(
        "swallow", "code", "ja",
        ("ja_post/JHumanEval", "functions by a Japanese description, run against tests"),
        ("ja_basic/JHumanEval", "functions by a Japanese description, run against tests"),
        ("ja_mtb/coding", "questions about code in Japanese, judged by a model"),
    ),
    *_all(
        "swallow", "code", "en",
        ("en_post/LCB", "LiveCodeBench: problems of contests, run against tests"),
        ("en_basic/HumanEval", "functions by a description, run against tests"),
        ("en_mtb/coding", "questions about code, judged by a model"),
    ),
    *_all(
        "aider", "code", "en",
        ("polyglot_pass_rate_2_percent", "changes to files in six languages, run against tests"),
    ),
    *_all(
        "swallow", "reasoning", "ja",
        ("ja_post/GPQA", "science questions that cannot be looked up, in Japanese"),
        ("ja_post/PolyMathJaHT", "mathematics in Japanese"),
        ("ja_post/MATH100", "mathematics in Japanese"),
        ("ja_post/MMLU-ProX", "questions of many fields with ten choices, in Japanese"),
        ("ja_basic/MGSM", "word problems in Japanese"),
        ("ja_basic/JMMLU", "questions of many fields in Japanese"),
    ),
    *_all(
        "swallow", "reasoning", "en",
        ("en_post/GPQA", "science questions that cannot be looked up"),
        ("en_post/AIME", "mathematics of a contest"),
        ("en_post/MATH500", "mathematics"),
        ("en_post/MMLU-Pro", "questions of many fields with ten choices"),
        ("en_basic/BBH", "tasks that need several steps"),
        ("en_basic/MATH", "mathematics"),
        ("en_basic/MMLU", "questions of many fields"),
        ("other/GPQA", "science questions that cannot be looked up"),
    ),
    *_all(
        "open-llm", "reasoning", "en",
        ("MMLU-PRO", "questions of many fields with ten choices"),
        ("BBH", "tasks that need several steps"),
        ("MUSR", "long stories with a question that needs several steps"),
        ("GPQA", "science questions that cannot be looked up"),
    ),
    *_all("open-llm", "reasoning", "en", ("MATH Level 5", "mathematics"), doubtful=True),
    *_all(
        "vectara", "rag", "en",
        ("hallucination_rate_percent", "summaries that say what the document does not"),
        ("answer_rate_percent", "documents for which a summary was given at all"),
    ),
    *_all(
        "swallow", "rag", "en",
        ("en_basic/SQuAD2", "answers from a passage, or that it has none"),
    ),
    *_all("swallow", "rag", "ja", ("ja_basic/JSQuAD", "answers from a Japanese passage")),
    *_all(
        "bfcl", "tool-use", "en",
        ("Live Acc", "calls of functions that users brought"),
        ("Multi Turn Acc", "calls over several turns"),
        ("Irrelevance Detection", "no call where none helps"),
    ),
    *_all(
        "mteb", "embedding", "ja",
        ("JaqketRetrieval", "finding the passage, quiz questions"),
        ("JaGovFaqsRetrieval", "finding the answer, questions to authorities"),
        ("BelebeleRetrieval/jpn_Jpan-jpn_Jpan", "finding the passage"),
        ("NLPJournalTitleAbsRetrieval.V2", "finding the abstract by its title"),
        ("NLPJournalTitleIntroRetrieval.V2", "finding the introduction by its title"),
        ("NLPJournalAbsIntroRetrieval.V2", "finding the introduction by its abstract"),
        ("MIRACLReranking/ja", "putting passages in order"),
        ("JQaRAReranking", "putting passages in order"),
        ("JSTS", "how alike two sentences are"),
        ("JSICK", "how alike two sentences are"),
    ),
    *_all(
        "mteb", "embedding", "en",
        ("NFCorpus", "finding documents, medicine"),
        ("SciFact", "finding documents, claims of science"),
        ("ArguAna", "finding counter-arguments"),
        ("SCIDOCS", "finding papers that are cited"),
        ("TRECCOVID", "finding documents, medicine"),
        ("FiQA2018", "finding answers, finance"),
        ("BelebeleRetrieval/eng_Latn-eng_Latn", "finding the passage"),
        ("MIRACLReranking/en", "putting passages in order"),
        ("AskUbuntuDupQuestions", "finding the same question"),
        ("STSBenchmark", "how alike two sentences are"),
    ),
)  # fmt: skip


def benchmarks_for(task: Task, language: str | None = None) -> tuple[Benchmark, ...]:
    """The benchmarks that speak for a task, in all languages or in one."""
    return tuple(b for b in TABLE if b.task == task and language in {None, b.language})


def why_no_benchmark(task: Task, language: str) -> str | None:
    """A sentence where no board speaks for the task in the language; None where one does."""
    if benchmarks_for(task, language):
        return None
    if benchmarks_for(task):
        return say(
            "No board whose figures may be carried measures {task} in this language ({language}); "
            "other languages are no evidence for it.",
            task=task,
            language=language,
        )
    return say("No board whose figures may be carried measures {task}.", task=task)
