"""What a person would have to write to run a model on a cluster: commands, units and manifests of
engines that exist.
"""
