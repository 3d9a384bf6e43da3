"""The text and the JSON of `hakaru pull`."""

from hakaru.cli.output import print_facts, print_text
from hakaru.cli.tell.two_ways import print_ways, spoken_time
from hakaru.cli.wrapping import whole
from hakaru.language import say, together
from hakaru.models.spoken_type import spoken_type
from hakaru.planning.answer import Fit
from hakaru.planning.sentences import verdict_sentences
from hakaru.pulling.download import Download
from hakaru.pulling.fetch import Fetched
from hakaru.pulling.pull import Pulled
from hakaru.units import format_bytes


def print_download(download: Download) -> None:
    """What is going to be fetched, before it is."""
    rows = [[say("model"), whole(download.origin)]]
    if download.taken:
        rows.append([say("type"), download.taken.sentence()])
    if download.fit and not download.makes:
        rows.append([say("memory"), _memory(download.fit, download.becomes)])
    rows.append([say("licence"), _licence(download)])
    rows.append([say("download"), _size(download)])
    rows.append([say("place"), _place(download)])
    print_facts(rows)
    if download.ways:
        print_ways(download.ways)


def _memory(fit: Fit, becomes: str | None) -> str:
    """The verdict, at the type that is going to be made where these are original weights."""
    told = verdict_sentences(fit.placement, fit.margin.fraction)
    if becomes is None:
        at = say("With {n_ctx:,} tokens of context:", n_ctx=fit.settings.n_ctx)
        return together([at, *told])
    at = say(
        "As {type} ({bytes} of weights), quantized from them, with {n_ctx:,} tokens of context:",
        type=becomes,
        bytes=format_bytes(fit.model.weights_bytes),
        n_ctx=fit.settings.n_ctx,
    )
    return together([at, *told])


def _licence(download: Download) -> str:
    licence = download.licence or (download.entry.license if download.entry else None)
    told = licence or say("not stated there")
    if download.is_gated:
        return say("{licence}; its authors ask for consent first", licence=told)
    return told


def _size(download: Download) -> str:
    if download.missing_bytes == 0:
        return say("nothing: it is all here already")
    missing = download.missing_bytes
    size = format_bytes(missing) if missing is not None else say("a size that is not known")
    if download.bytes and missing and missing < download.bytes:
        size = say(
            "{rest} of {all}; the others are here already",
            rest=size,
            all=format_bytes(download.bytes),
        )
    count = say("{n} files", n=len(download.files)) if len(download.files) > 1 else say("one file")
    told = say(", ").join((count, size))
    if download.seconds is None:
        return told
    speed = format_bytes(download.bytes_per_s or 0)
    return say(
        "{size}; about {time} at {speed}/s, as the last time",
        size=told,
        time=spoken_time(download.seconds),
        speed=speed,
    )


def _place(download: Download) -> str:
    return say(
        "{folder} ({free} free)",
        folder=whole(str(download.disk)),
        free=format_bytes(download.free_bytes),
    )


def print_pulled(pulled: Pulled) -> None:
    """What lies on the disk now, and how it was checked."""
    for sentence in checks(pulled):
        print_text(sentence)
    print_text(say("It lies at {path}", path=whole(str(pulled.path))))
    if pulled.made:
        print_text(say("The file that fits lies at {path}", path=whole(str(pulled.made))))


def checks(pulled: Pulled) -> list[str]:
    """How the file was checked."""
    if pulled.download is None:
        return [say("It is on this machine already.")]
    told = [_speed(pulled.fetched)] if pulled.fetched else []
    if all(file.sha256 for file in pulled.download.files):
        told.append(say("Its SHA-256 is the one that the Hub announces."))
    else:
        told.append(say("Its size is the announced one; no SHA-256 was announced."))
    if pulled.model and pulled.is_as_judged:
        told.append(
            say(
                "Its header is the one that was judged: {architecture}, {type}, {bytes} of "
                "weights.",
                architecture=pulled.model.shape.architecture,
                type=spoken_type(pulled.model),
                bytes=format_bytes(pulled.model.weights_bytes),
            )
        )
    elif pulled.model:
        told.append(
            say(
                "Its header is another one than was judged before; judge the file again: {command}",
                command=whole(f"hakaru fit {pulled.path}"),
            )
        )
    if pulled.predicted_bytes and pulled.model:
        real = pulled.model.weights_bytes
        told.append(
            say(
                "The catalogue predicts {predicted} of weights for this type; there are {real} "
                "({difference:+.1%}).",
                predicted=format_bytes(pulled.predicted_bytes),
                real=format_bytes(real),
                difference=real / pulled.predicted_bytes - 1,
            )
        )
    return told


def _speed(fetched: Fetched) -> str:
    if fetched.bytes_per_s is None:
        return say("Fetched {bytes}.", bytes=format_bytes(fetched.bytes))
    return say(
        "Fetched {bytes} in {time} ({speed}/s).",
        bytes=format_bytes(fetched.bytes),
        time=spoken_time(fetched.seconds),
        speed=format_bytes(fetched.bytes_per_s),
    )


def pulled_json(pulled: Pulled, *, dry_run: bool) -> dict[str, object]:
    """The object of `hakaru pull --json`."""
    download, fetched, model = pulled.download, pulled.fetched, pulled.model
    taken = download.taken if download else None
    return {
        "schema": "hakaru.pull/1",
        "dry_run": dry_run,
        "origin": pulled.origin,
        "path": str(pulled.path),
        "files": [
            {
                "name": file.name,
                "path": str(file.link),
                "bytes": file.remote.bytes,
                "missing_bytes": file.missing_bytes,
                "sha256": file.sha256,
            }
            for file in (download.files if download else ())
        ],
        "bytes": download.bytes if download else None,
        "missing_bytes": download.missing_bytes if download else 0,
        "free_bytes": download.free_bytes if download else None,
        "seconds": download.seconds if download else None,
        "licence": download.licence if download else None,
        "gated": download.is_gated if download else None,
        "verdict": download.fit.verdict if download and download.fit else None,
        "type": taken.offer.label if taken else None,
        "why": taken.sentence() if taken else None,
        "becomes": download.becomes if download else None,
        "ways": [way.as_json() for way in download.ways] if download else [],
        "makes": download.makes if download else False,
        "made": str(pulled.made) if pulled.made else None,
        "fetched": {
            "bytes": fetched.bytes,
            "seconds": fetched.seconds,
            "bytes_per_s": fetched.bytes_per_s,
        }
        if fetched
        else None,
        "as_judged": pulled.is_as_judged,
        "weights_bytes": model.weights_bytes if model else None,
        "predicted_weights_bytes": pulled.predicted_bytes,
    }
