"""Errors a user can act on. Each message says what is wrong, where, and what to do."""

from __future__ import annotations


class SritError(Exception):
    """Base of all errors meant for a person; `exit_code` is the command's status."""

    exit_code = 1


class RecipeError(SritError):
    """The recipe or the command line is wrong; nothing was spent."""

    exit_code = 2


class DataError(SritError):
    """Input data or a model cannot be used."""

    exit_code = 3


class TeacherError(SritError):
    """The teacher refused or gave up. What it answered is kept: run again to go on."""

    exit_code = 4


class MachineError(SritError):
    """Disk, memory or another process stands in the way: run again."""

    exit_code = 5


class TrainingError(SritError):
    """Training was refused or diverged."""

    exit_code = 6


class TooFewPairs(TrainingError):
    """Too few problems give a pair; with other pairs or another loss the same answers may do."""


class JudgeError(SritError):
    """An answer could not be judged (time limit, crashed worker); a verdict of its own."""
