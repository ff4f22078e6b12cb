"""What a stage is, what it is made from, and the run that makes what is not done."""
