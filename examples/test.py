"""What did quantizing lose, and how fast is the result here? test.py SMALL.gguf LARGE.gguf"""

import sys

import hakaru

small, large = sys.argv[1:]
findings = hakaru.test(small, reference=large, n_ctx=2048)
if findings.quality is not None:
    loss, same = findings.quality.kld_mean, findings.quality.top1_agreement
    print(f"mean KLD {loss.value:.4f} nats per token, the same first token at {same.value:.1%}")
if findings.trial is not None:
    print(f"{findings.trial.speed.decode_tokens_per_s.value:.1f} tokens/s")
