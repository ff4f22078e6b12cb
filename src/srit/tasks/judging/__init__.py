r"""Compares LaTeX answers by how they are written where that decides, or else by value with math-verify.

`writing` normalizes a formula, `units` takes a unit off a number, `forms` distinguishes sets, points, intervals,
equations, and so on, `comparing` compares these, and `sympy_worker` compares what is left, in another process.
"""
