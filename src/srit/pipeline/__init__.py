"""What a stage is, what it is made from, and the run that makes the stages that are not done."""
