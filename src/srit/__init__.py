"""Self-Refine Instruction-Tuning (Ranaldi and Freitas, EMNLP 2024, arXiv 2405.00402)."""
