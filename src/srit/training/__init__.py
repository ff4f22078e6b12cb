"""The two trainings: the loop that both share, instruction-tuning, and the preference losses."""

CHECKPOINTS = "*.pt"  # the suffix of the files from which a training resumes
