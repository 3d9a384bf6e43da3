"""Does a model that nobody has downloaded fit a card that nobody owns, and how long a context?"""

import hakaru

for preset in ("Q8_0", "Q4_K_M"):
    answer = hakaru.fit("qwen3-8b", hardware="RTX 3060 12GB", preset=preset, n_ctx=32768)
    print(f"{preset}: {answer.verdict}, {answer.total_bytes / 2**30:.1f} GiB")
    for way in answer.alternatives:
        print(f"  {way.flag}: {way.verdict}")
