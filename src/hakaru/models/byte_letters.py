"""The letters by which GPT-2's tokenizer spells bytes in its tokens: a byte that is a letter by
itself stands for itself, the others for letters from 256 on.
"""


def byte_letters() -> list[str]:
    """The letter of each byte from 0 to 255."""
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = (byte for byte in range(256) if byte not in plain)
    shifted = {byte: 256 + i for i, byte in enumerate(others)}
    return [chr(shifted.get(byte, byte)) for byte in range(256)]
