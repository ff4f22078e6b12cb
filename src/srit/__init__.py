"""Self-Refine Instruction-Tuning (Ranaldi and Freitas, EMNLP 2024, arXiv 2405.00402)."""

import os

# OpenMP's threads spin while they wait for each other. Where another process has one of their cores, all of them wait
# for the one that lacks it: beside busy processes a batch of answers took six times as long as with threads that sleep.
# Read when torch is loaded, so it stands here, before any of srit's modules can import it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
