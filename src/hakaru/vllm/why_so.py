"""Why a model is divided or not, in sentences. Pure."""

from hakaru.language import say, together
from hakaru.units import format_bytes, three_digits
from hakaru.vllm.proposal import Option, Proposal, n_devices


def reason(proposal: Proposal, n_ctx: int) -> str:
    """Why the replicas are what they are, and what is missing where the users do not go in."""
    if not proposal.placed:
        return _nothing(proposal, n_ctx)
    option = proposal.placed[0].option
    sentences = [_why(proposal, option)]
    if option.n_nodes > 1:
        sentences.append(_network(option))
    if not proposal.fits:
        sentences.append(_missing(proposal, option))
    return together(sentences)


def _why(proposal: Proposal, option: Option) -> str:
    parallel, n = option.replica.parallel, proposal.n_replicas
    match proposal.topology:
        case "single":
            return say("One device holds the model: divide nothing.")
        case "replicas":
            return say(
                "Each device holds the model by itself: run {n} replicas behind a gateway, and do "
                "not divide it; so no token waits for another device.",
                n=n,
            )
    held = _held_whole(proposal)
    if parallel.pp == 1:
        how = say("So every matrix is divided among {n} devices (tensor parallel).", n=parallel.tp)
    elif parallel.tp == 1:
        how = say("So the layers are divided into {n} stages.", n=parallel.pp)
    else:
        how = say(
            "So the layers are divided into {pp} stages, and every matrix of a stage among {tp} "
            "devices.",
            pp=parallel.pp,
            tp=parallel.tp,
        )
    return together([held, how])


def _held_whole(proposal: Proposal) -> str:
    """What undivided replicas would do."""
    users = sum(placed.users for placed in proposal.whole)
    if not users:
        return say("No device holds the model and one user.")
    if users >= (proposal.asked or users + 1):
        return say(
            "Undivided, the model needs {whole:,} devices for these users, and divided {n:,}, "
            "since its weights lie there fewer times.",
            whole=n_devices(proposal.whole),
            n=n_devices(proposal.placed),
        )
    return say("Undivided replicas hold {n} users at a time, since each has all weights.", n=users)


def _network(option: Option) -> str:
    time = option.time
    if time.network_ms is None:
        return say(
            "How fast the nodes reach each other is not known, so tensor parallel over them was "
            "not weighed."
        )
    network = three_digits(time.network_ms)
    if time.read_ms is None:
        return say("The network takes {ms} ms of each token.", ms=network)
    return say(
        "The network takes {ms} ms of each token, reading the memory at least {read} ms.",
        ms=network,
        read=three_digits(time.read_ms),
    )


def _missing(proposal: Proposal, option: Option) -> str:
    asked = proposal.asked or 1
    per_group = option.per_node * option.replica.users
    n = -(-(asked - proposal.users) // per_group) * option.n_nodes
    return say(
        "That is a place for {users} of {asked} users; {n} more such nodes hold the others.",
        users=proposal.users,
        asked=asked,
        n=n,
    )


def _nothing(proposal: Proposal, n_ctx: int) -> str:
    if not proposal.options:
        return say("No shape that vLLM takes goes onto these devices.")
    best = max(proposal.options, key=lambda o: min(rank.pool_bytes for rank in o.replica.ranks))
    rank = min(best.replica.ranks, key=lambda rank: rank.pool_bytes)
    blocks = best.replica.blocks_each + 1
    return say(
        "With tensor parallel {tp} and pipeline parallel {pp} a device lacks {missing} for one "
        "user of {n_ctx:,} tokens; nothing that was weighed lacks less.",
        tp=best.replica.parallel.tp,
        pp=best.replica.parallel.pp,
        missing=format_bytes(blocks * rank.block_bytes - rank.pool_bytes),
        n_ctx=n_ctx,
    )
