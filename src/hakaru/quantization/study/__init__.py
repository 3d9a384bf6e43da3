"""What is measured of one model before it is quantized: importance, errors of types, what probes
lose, the link between damage and loss, and the speed of recipes.
"""
