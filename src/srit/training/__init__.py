"""The two trainings: the loop that both share, instruction-tuning, and the preference losses."""
