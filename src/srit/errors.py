"""Errors that a user can act on. Each message says what is wrong, where, and what to do."""

from __future__ import annotations


class SritError(Exception):
    """The base class of the errors below; `exit_code` is the exit status of the command that ends with it."""

    exit_code = 1


class RecipeError(SritError):
    """The recipe or the command line is wrong. Nothing was spent."""

    exit_code = 2


class DataError(SritError):
    """Input data or a model is unusable."""

    exit_code = 3


class TeacherError(SritError):
    """The teacher refused or gave up. Its answers so far are kept: rerun to continue."""

    exit_code = 4


class MachineError(SritError):
    """The disk, the memory or another process is in the way. Fix that, then rerun."""

    exit_code = 5


class TrainingError(SritError):
    """Training was refused or diverged."""

    exit_code = 6


class TooFewPairs(TrainingError):
    """Too few problems give a pair. Other pair settings or another loss may work with the same answers."""


class JudgeError(SritError):
    """An answer could not be judged: the judge hit its time limit or crashed. Recorded as the verdict "error"."""
