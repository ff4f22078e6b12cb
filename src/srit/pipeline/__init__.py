"""Defines a stage and what it is made from, and runs the stages that are not done."""
