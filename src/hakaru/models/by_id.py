"""An entry of the catalogue by its id, or the ids that the person may have meant."""

import re
from difflib import get_close_matches

from hakaru.errors import ModelDamaged, ModelNotFound
from hakaru.language import say
from hakaru.models.catalogue import KnownModel
from hakaru.models.own_catalogue import all_models, catalogue


def entry_called(word: str) -> KnownModel:
    """The catalogue's model of that id. Raises ModelNotFound, with similar ids."""
    by_id = {entry.id: entry for entry in all_models()}
    if entry := by_id.get(word.lower()):
        return entry
    if damaged := catalogue().skipped.get(word.lower()):
        raise ModelDamaged("{reason}", reason=damaged)
    close = get_close_matches(word.lower(), by_id, n=3, cutoff=0.5)
    if near := list(dict.fromkeys([*_ids_with(word), *close]))[:3]:
        raise ModelNotFound(
            "'{word}' is neither a file nor a model of the catalogue; did you mean {listed}?",
            word=word,
            listed=say(", ").join(near),
        )
    raise ModelNotFound(
        "'{word}' is neither a file nor a model of the catalogue; name a GGUF file, hf:org/repo "
        "or ollama:name. The catalogue is listed by: {command}",
        word=word,
        command="hakaru ls --catalog",
    )


def _ids_with(word: str) -> list[str]:
    """The catalogue's ids in which `word` stands, whatever its signs: `llama3` in `llama-3-8b`."""
    wanted = re.sub(r"[\W_]", "", word.lower())
    ids = [entry.id for entry in all_models()]
    return [name for name in ids if len(wanted) > 2 and wanted in re.sub(r"\W", "", name)]
