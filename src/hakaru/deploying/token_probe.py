"""Whether a server of the OpenAI kind really generates: one token is asked for, with a time limit.

After a node of several is lost, vLLM's own /health goes on answering 200 (seen for the 35 s that it
was watched, while a request hung; docs/clusters.md). So what asks for health asks for a token. The
program needs nothing but the Python that every image of vLLM and Ray has, and asks no proxy of the
environment.
"""

from typing import Final

KEY: Final = "VLLM_API_KEY"
"""The variable from which vLLM takes its key, and the probe, too. Source: vLLM,
entrypoints/openai/cli_args.py and envs.py."""
PROGRAM: Final = (
    "import json,os,sys,urllib.request as r;"
    'b=json.dumps({"model":sys.argv[2],"prompt":"1","max_tokens":1}).encode();'
    f'h={{"Content-Type":"application/json","Authorization":"Bearer "+os.environ.get("{KEY}","")}};'
    'q=r.Request(sys.argv[1]+"/v1/completions",b,h);'
    "a=r.build_opener(r.ProxyHandler({})).open(q,timeout=float(sys.argv[3]));"
    'sys.exit(json.load(a)["usage"]["completion_tokens"]<1)'
)


def token_probe(url: str, model: str, *, within_s: int) -> tuple[str, ...]:
    """The command that ends with 0 if the server at `url` gives a token within `within_s`."""
    return ("python3", "-c", PROGRAM, url, model, str(within_s))
