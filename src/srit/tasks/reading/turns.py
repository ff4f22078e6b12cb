"""Finds the part of a text that answers the question: after any thoughts, and before whatever the model adds.

Thoughts are recognized by the tags of the models in use: <think>, <thinking>, <reasoning>, <seed:think>, [THINK],
<|begin_of_thought|>, <|START_THINKING|>, the channels of gpt-oss and Gemma, and the like. An answer ends at an end
token or turn marker of any model family, or at a line such as "Question:", "Q2.", or "User:".
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Turn(NamedTuple):
    """Bounds the part of a text that answers the question."""

    start: int  # where the answer begins: after the last closed thought, or 0 if there is none
    end: int  # where end tokens, another question, or another turn begins, or len(text)
    open_thought: bool  # a thought was opened and never closed: the text holds no answer


# ------------------------------------------------------------------------------------------------- marks

_PRIVATE = (
    r"think(?:ing)?|thoughts?|(?:inner|internal)_?(?:monologue|thoughts?)|scratch_?pad|cot|chain[ _-]of[ _-]thoughts?"
    r"|working_out"
)
_WORKING = r"reason(?:ing)?|rationale|analysis|reflection|deliberation"  # some write it after the answer
_THOUGHT = rf"(?:[a-z0-9]{{1,20}}[:_-]|ant)?(?:{_PRIVATE}|{_WORKING})(?:[ _-](?:process|steps?|trace|block|content))?"
_MESSAGE = r"[^<\n]{0,80}(?:<\|constrain\|>[^<\n]{0,20})?<\|message\|>"
_CHANNEL = r"(?:<\|end\|>\s{0,3})?(?:<\|start\|>assistant\s{0,3})?<\|channel\|>\s?"  # gpt-oss
_OPENS = rf"""
    (?:<|&lt;){_THOUGHT}(?:\s[^<>\n]{{0,200}})?(?<!/)(?:>|&gt;)
    | <\|?(?:begin|start)_(?:of_)?{_THOUGHT}\|?> | <\|{_THOUGHT}(?:_start|_begin)?\|>
    | \[(?-i:THINK|THINKING|THOUGHTS?|REASONING)\] | ◁think▷
    | {_CHANNEL}(?:analysis|commentary){_MESSAGE} | <\|channel>thought | <\|inner_prefix\|>
    | \Aanalysis(?-i:(?=[A-Z]))   # gpt-oss without its special tokens: "analysisThe user asks … assistantfinal36"
    | ^Here(?:['’]s|\ is)\ my\ thought\ process:   # Granite 3
"""
_CLOSES = rf"""
    (?:<|&lt;)/\s?{_THOUGHT}\s?(?:>|&gt;)
    | <\|?end_(?:of_)?{_THOUGHT}\|?> | <\|(?:/{_THOUGHT}|{_THOUGHT}_end)\|>
    | \[/(?-i:THINK|THINKING|THOUGHTS?|REASONING)\] | ◁/think▷
    | {_CHANNEL}final{_MESSAGE} | assistantfinal | <channel\|> | <\|inner_suffix\|>
    | <\|(?:begin_of_solution|start_response)\|>
    | <\|end\|>\s{{0,3}}<\|begin\|>assistant\s{{0,3}}<\|content\|>   # Solar
    | ^Here(?:['’]s|\ is)\ my\ response:
"""
_ROLE = r"(?:<\|(?:im_start|start_header_id|header_start|start|start_of_role|turn)\|?>|<start_of_turn>|<extra_id_1>)\s?"
_ASKS = rf"""
    {_ROLE}(?:user|human|system|developer|tool|ipython)\b
    | <\|(?:user|human|prompter|system|user_token|system_token)\|> | <｜User｜> | \[INST\] | \[\|(?:user|system)\|\]
    | </?(?:user|human)>
"""
_REPLIES = rf"""
    {_ROLE}(?:assistant|model|gpt|ai)\b(?:<\|(?:end_header_id|header_end|end_of_role|im_sep|message)\|>)?
    | <\|(?:assistant|bot|chatbot_token)\|> | <｜Assistant｜> | \[/INST\] | \[\|assistant\|\] | <assistant>
"""
_BEGINS = r"<s>|<bos>|\[BOS\]|<\|(?:begin_of_text|startoftext|start_of_turn_token|bos)\|>|<｜begin▁of▁sentence｜>"
# One-letter names are not tokens: "|a|<|b|>0".
_ENDS = r"""
    </s> | <\|/?(?!(?:begin_of_|end_of_)?(?:box|answer)\|)[a-z][a-z0-9_.:/▁\ -]{2,40}\|> | <｜[^｜<>\n]{1,40}｜>
    | <\|turn> | <turn\|> | </?(?:end|start)_of_(?:turn|text|sentence|utterance|answer)>
    | <(?:eos|pad|eot|eom|eod|eop|eoa|eoh|end|stop|endoftext|im_end|im_start|seed:eos|seed:bos|(?:eos|eot|pad)_token)>
    | <\|[a-z_]{2,20}\|?\Z | </s?\Z   # cut
    | \[(?:EOS|EOT|EOD|PAD|SEP|END|\|endofturn\||/ASSISTANT|/?SYSTEM_PROMPT)\] | <</?SYS>> | \[e~\[ | \]~!?b[\[\]]
    | <extra_id_[0-9]{1,2}> | <reserved_[0-9]{1,4}> | <special_[0-9]{1,4}> | </?assistant>
    | ^\#\#\#[ ]?End\b
"""
_LINE = r"^[ \t>\#*_\[(•-]{0,10}"
_NEXT = r"(?:(?:the[ ])?(?:next|new|another|second|third|follow-?up|additional|bonus|practice|similar)[ ])?"
_COUNT = r"[ ]?(?:no\.?[ ]?|number[ ]|\#)?[0-9]{0,3}"
_COLON = r"(?:[ ]\([^()\n]{0,40}\))?[*_)\]]{0,4}[ ]?[:：]"
_ENGLISH = r"question|problem|exercise|passage|instruction|user|human"
_FOREIGN = r"frage|aufgabe|pregunta|pergunta|domanda|вопрос|问题|問題|题目|質問|用户"
_ASKED = rf"""
    {_LINE}{_NEXT}(?:q|{_ENGLISH}|{_FOREIGN}){_COUNT}{_COLON} | {_LINE}q[0-9]{{0,3}}[.)](?=\s)
    | ^\#{{1,6}}[ ]{_NEXT}(?:question|problem|exercise|instruction|user|human){_COUNT}[ \t*]{{0,9}}$
    | ^[ \t]{{0,9}}(?:\*\*|\[){_NEXT}(?:question|problem|exercise|instruction|user){_COUNT}(?:\*\*|\])[ \t]{{0,9}}$
    | ^(?:question|problem|exercise)[ ][0-9]{{1,3}}[ \t]{{0,9}}$
    | ^(?:next|new|another)[ ](?:question|problem|exercise)[ \t]{{0,9}}$
    | ^(?:user|human)[ \t]{{0,9}}$ | (?<=[.!?)]\s)(?-i:User|Human|Question|Q):(?=\s)
    | <(?:question|problem|query|instruction)(?:\s[^<>\n]{{0,200}})?>
"""
# These begin something new only after an answer.
_PERHAPS = rf"""
    {_LINE}(?:context|article|paragraph|prompt|premise|scenario|task|input|assistant|ai|bot|student|teacher|customer|you
      |example[ ]?[0-9]{{1,3}}){_COLON}
    | ^(?:assistant|model)[ \t]{{0,9}}$ | ^You\ are\ an?\ (?:AI|helpful|chat)
    | ^(?:here|let['’]?s|let\ us|now|try)\b[^.\n]{{0,30}}\b(?:another|next|new)[ ](?:question|problem|exercise|one)\b
    | ^[^\n]{{0,80}}\bend[ ]with:?[ ]["“]?the[ ]answer[ ]is   # the prompt's own instruction
"""
_MARKS = re.compile(
    rf"""
    (?=[<&\[\]◁\#aH])   # the first characters of all marks: four times as fast
    (?: (?P<closes>{_CLOSES}) | (?P<opens>{_OPENS}) | (?P<asks>{_ASKS}) | (?P<replies>{_REPLIES})
      | (?P<begins>{_BEGINS}) | (?P<ends>{_ENDS}) )
    """,
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)
_QUESTION = re.compile(rf"(?P<asked>{_ASKED})|(?P<perhaps>{_PERHAPS})", re.VERBOSE | re.IGNORECASE | re.MULTILINE)
_WORKING_TAG = re.compile(rf"<[|/]?\s?(?:[a-z0-9]{{1,20}}[:_-])?(?:{_WORKING})", re.IGNORECASE)
_BLANK = re.compile(r"[\s*_#>-]*")
_ANSWERED = re.compile(
    r"\b(?:answer|ans)\b(?:\s\([^()\n]{0,60}\))?[*_]{0,3}\s?(?:is\b|[:=])|^a[0-9]{0,2}:|####[ ]?[$\d-]|\\boxed|<answer",
    re.IGNORECASE | re.MULTILINE,
)
_PREAMBLE = re.compile(r"\s*(?:sure|ok|okay|certainly|of course|let['’]?s|let us|i['’]ll|here|great|alright)\b", re.I)
_ITS_ANSWER = re.compile(r"\n\s*\n|\n[ \t*_#]{0,9}(?:answer|a|solution|response|assistant)\b", re.IGNORECASE)
_RULE = re.compile(r"\n[ \t]*[-=*_~#]{3,80}[ \t]*$")


# ------------------------------------------------------------------------------------------------ reading


def opens_thought(text: str) -> bool:
    """Return whether a text opens a thought anywhere."""
    return re.search(_OPENS, text, re.VERBOSE | re.IGNORECASE) is not None


def own_turn(text: str, question: str = "") -> Turn:
    """Find the part of a text that answers the question.

    Args:
        text: what a model wrote, in one turn or several.
        question: what was asked; repeating it does not begin another question.
    """
    spans, open_thought = _outside_thoughts(text)
    for start, end in spans:
        cut = _another_question(text, start, end, question)
        if cut is not None:
            return Turn(start, _trimmed(text, start, cut), open_thought=False)
    start, end = _answering(text, spans)
    return Turn(start, end if end == len(text) else _trimmed(text, start, end), open_thought)


def _outside_thoughts(text: str) -> tuple[list[tuple[int, int]], bool]:
    """Return the spans outside of thoughts, at least one, up to the end of the turn, and whether a thought is open."""
    start, thought, asking = 0, "", False
    spans: list[tuple[int, int]] = []
    for mark in _MARKS.finditer(text):
        kind = mark.lastgroup
        if asking:
            start, asking = mark.end(), kind != "replies"
        elif kind == "closes":
            if thought and _WORKING_TAG.match(mark[0]) and not _WORKING_TAG.match(thought):
                continue  # <thinking> … <reflection> … </reflection> … </thinking>
            if not thought:
                spans.clear()  # the prompt opened it
            start, thought = mark.end(), ""
        elif kind == "opens":
            if not thought:
                spans.append((start, mark.start()))
            thought = thought or mark[0]
        elif thought:
            return spans, True
        elif kind != "ends" and _is_blank(text, start, mark.start()):
            start, asking = mark.end(), kind == "asks"  # a text that begins with its own prompt
        else:
            return [*spans, (start, mark.start())], False
    if asking:
        return [(0, 0)], False
    return (spans, True) if thought else ([*spans, (start, len(text))], False)


def _answering(text: str, spans: list[tuple[int, int]]) -> tuple[int, int]:
    """Return the last span, or the one before it if nothing follows: "36 <reasoning>4 * 9 = 36</reasoning>"."""
    start, end = spans[-1]
    tag = text.rfind("<", 0, start)
    if len(spans) > 1 and _is_blank(text, start, end) and _WORKING_TAG.match(text, tag, start):
        return spans[-2]
    return start, end


def _another_question(text: str, start: int, end: int, question: str) -> int | None:
    """Return where a question begins that is neither the one asked nor part of it."""
    answered, known = _ANSWERED.search(text, start, end), set(re.findall(r"\w+", question.casefold()))
    restated, in_parts = "", False  # "Passage: … Question: …" is one question; "Question 1: … Question 2: …" may be
    for mark in _QUESTION.finditer(text, start, end):
        label, number = re.sub(r"[\W\d_]+", "", mark[0]).casefold(), re.sub(r"\D+", "", mark[0])
        own = _is_restated(
            known, text[max(start, mark.start() - 2000) : mark.start()], text[mark.end() : min(end, mark.end() + 300)]
        )
        if answered and answered.start() < mark.start():
            if not (in_parts and number and question.count(" ") >= 4):
                return mark.start()
        elif own or _is_preamble(text, start, mark.start()):
            restated, in_parts = label, number == "1" and not own
        elif number == "1":
            in_parts = True
        elif mark.lastgroup == "asked" and label == (restated or label) and not (in_parts and number):
            return mark.start()
    return None


def _is_blank(text: str, start: int, end: int) -> bool:
    return end - _BLANK.match(text, start, end).end() == 0  # type: ignore[union-attr]  # it can match the empty text


def _is_preamble(text: str, start: int, end: int) -> bool:
    """Return whether nothing has been said yet, except that something will be: "Sure! Let me go through it."."""
    said = text[start : min(end, start + 200)]
    return _is_blank(text, start, end) or bool(
        end - start < 200
        and not re.search(r"\d", said)
        and (_PREAMBLE.match(said) or said.rstrip("\n *").endswith(":"))
    )


def _is_restated(known: set[str], before: str, after: str) -> bool:
    """Return whether the question is repeated after its mark, or around it: "Ana has 4 bags. Question: How many …"."""
    asked = _ITS_ANSWER.split(after, 1)[0]
    return _repeats(known, asked) or (len(before) < 2000 and _repeats(known, f"{before} {asked}"))


def _repeats(known: set[str], said: str) -> bool:
    """Return whether a text has at least half of a question's words, few others, and no other numbers."""
    words = re.findall(r"\w+", said.casefold())
    strange = [word for word in words if word not in known]
    return (
        2 * len(known.intersection(words)) >= len(known) > 0
        and len(strange) <= len(words) / 5
        and not any(map(str.isdigit, strange))
    )


def _trimmed(text: str, start: int, end: int) -> int:
    """Move the end before any blanks and rules ("---")."""
    said = text[start:end].rstrip()
    while rule := _RULE.search(said, max(0, len(said) - 200)):
        said = said[: rule.start()].rstrip()
    return start + len(said)
