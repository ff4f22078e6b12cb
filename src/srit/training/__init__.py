"""The two trainings: the loop that both share, instruction-tuning, and the preference losses."""

CHECKPOINTS = "*.pt"  # how the files in a training's folder end that it goes on from
