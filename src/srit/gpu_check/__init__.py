"""Checks and measures srit on a CUDA GPU: `make gpu-check`, or `python -m srit.gpu_check`.

It needs no network and no weights: models of known shapes are made of random numbers on the device. Each part runs in
a process of its own with a limit of time, so that one that fails or hangs costs the others nothing, and whatever was
measured is written. Without a GPU, the same code runs on the processor with tiny shapes: so the check is itself tested.
"""
