"""The best file of 4.5 bits per weight that can be made of a model, and what it lost."""

import sys
from pathlib import Path

import hakaru

model, out = sys.argv[1:]
made = hakaru.quantize(model, bpw=4.5, effort="quick", output=Path(out))
if isinstance(made, hakaru.Made) and made.measured:
    kind = made.preset or "a mix of types"
    print(f"{kind}, {made.file_bytes:,} bytes, mean KLD {made.measured.value:.4f} nats per token")
