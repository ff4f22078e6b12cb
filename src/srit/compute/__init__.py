"""How a model's log-probabilities and gradients are computed: the layout of rows, masks, attention, the head."""
