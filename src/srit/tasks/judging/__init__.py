r"""Compares LaTeX answers: what their writing decides is decided here, the values of formulas by math-verify.

`writing` brings a formula into one writing, `units` takes a unit off a number, `forms` tells sets, points, intervals,
equations and so on apart, `comparing` compares these, and `sympy_worker` compares what is left, in another process.
"""
