"""A problem, its demonstration, and answers to it."""

from srit.records import Completion, Demonstration, Problem

PROBLEM = Problem("p", "sums", "train", "1 + 1?", "2")
DEMONSTRATION = Demonstration("p", "sums", "solver", "1 + 1 = 2. The answer is 2.", "2", "right", True, "correct")


def tokenize(text):
    return (*text.encode(), 0)


def completion(text, *, right, prompt="cot", index=0, truncated=False, verdict=None):
    return Completion(
        problem_id="p",
        task="sums",
        prompt=prompt,
        index=index,
        text=text,
        token_ids=tokenize(text),
        logp=-1.0,
        truncated=truncated,
        answer=None,
        verdict=verdict or ("right" if right else "wrong"),
        reward=float(right),
    )


GOOD = completion("1 + 1 makes 2. The answer is 2.", right=True)
ALSO_GOOD = completion("One and one is two. The answer is 2.", right=True, index=1)
BAD = completion("1 + 1 makes 3. The answer is 3.", right=False, prompt="direct")
BARE = completion("2", right=True, prompt="direct", index=1)


def shown(demonstrations):
    """What finds a problem's demonstration among these."""
    found = {demonstration.problem_id: demonstration for demonstration in demonstrations}
    return lambda problem: found.get(problem.id)
