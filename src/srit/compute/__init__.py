"""Computes log-probabilities and gradients: the layout of rows, masks, attention, and the output head."""
