"""Checks and measures srit on a CUDA GPU: `make gpu-check`, or `python -m srit.gpu_check`.

It needs no network and no weights: models of known shapes are filled with random numbers on the device. Each part runs
in its own process with a time limit, so one that fails or hangs costs the others nothing, and everything measured is
written. Without a GPU, the same code runs on the CPU with tiny shapes, so the check itself is tested.
"""
