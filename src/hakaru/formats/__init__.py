"""Files of models, read within bounds and written byte by byte: GGUF, safetensors, importance
data.
"""
