"""The fields that are sent after a server refused some."""

import pytest

from srit.teachers.openai.parameters import Parameters, adapted, is_limit_refused

LIMIT = 64

# (message, the field that it names, what is sent afterwards; None: the same as before)
NO_LIMIT, NO_TEMPERATURE = {"max_completion_tokens", "temperature"}, {"max_tokens"}
COMPLAINTS = {
    "OpenAI, limit": (
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        "max_tokens",
        NO_LIMIT,
    ),
    "OpenAI, temperature": (
        "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported.",
        "temperature",
        NO_TEMPERATURE,
    ),
    "in other words": ("max_tokens is not supported by this model: send max_completion_tokens", "max_tokens", NO_LIMIT),
    "Chinese": ("不支持参数 max_tokens，请使用 max_completion_tokens", "", NO_LIMIT),
    "pydantic, limit": ("Extra inputs are not permitted", "body max_tokens", NO_LIMIT),
    "pydantic, temperature": ("Extra inputs are not permitted", "body temperature", NO_TEMPERATURE),
    "Bedrock": ("extraneous key [max_tokens] is not permitted", "", NO_LIMIT),
    "Google": ('Invalid JSON payload received. Unknown name "max_tokens": Cannot find field.', "", NO_LIMIT),
    "Anthropic, thinking": ("`temperature` may only be set to 1 when thinking is enabled.", "", NO_TEMPERATURE),
    "Anthropic": ("`temperature` is deprecated for this model.", "", NO_TEMPERATURE),
    "Moonshot": ("invalid temperature: only 1 is allowed for this model", "", NO_TEMPERATURE),
    "LiteLLM": (
        "UnsupportedParamsError: O-series models don't support temperature=0.0. Only temperature=1 is supported.",
        "",
        NO_TEMPERATURE,
    ),
    "TGI": ("Input validation error: `temperature` must be strictly positive", "", NO_TEMPERATURE),
    "both at once": (
        "The parameters max_tokens and temperature are not supported; use max_completion_tokens",
        "",
        {"max_completion_tokens"},
    ),
    "a limit that is too high": (
        "max_tokens is too large: 100000. This model supports at most 16384 completion tokens, and you gave 100000.",
        "max_tokens",
        None,
    ),
    "a prompt that is too long": (
        "'max_tokens' or 'max_completion_tokens' is too large: 512. This model's maximum context length is 512 tokens.",
        "max_tokens",
        None,
    ),
    "a limit that is too low": ("Invalid 'max_tokens': Expected a value >= 16, but got 8 instead.", "max_tokens", None),
    "a question about temperature": ("The prompt about the temperature of water was filtered.", "", None),
    "something else": ("the template failed", "", None),
}


@pytest.mark.parametrize("name", COMPLAINTS)
def test_a_refused_field_is_renamed_or_left_out(name):
    complaint, named, expected = COMPLAINTS[name]

    changed = adapted(Parameters(), complaint, named, 0.0)

    assert (changed and set(changed.fields(LIMIT, 0.0))) == expected


def test_a_server_that_knows_neither_limit_is_told_apart():
    sent = adapted(Parameters(), "unknown field max_tokens", "", 0.0)

    assert sent.limit == "max_completion_tokens"
    assert adapted(sent, "unknown field max_completion_tokens", "", 0.0) is None
    assert is_limit_refused(sent, "unknown field max_completion_tokens", "")


def test_a_temperature_beyond_what_is_allowed_is_not_left_out_in_silence():
    assert adapted(Parameters(), "temperature must be between 0 and 2", "temperature", 3.0) is None
