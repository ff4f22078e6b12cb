"""To which addresses prompts and keys are sent."""

import pytest

from srit.errors import RecipeError
from srit.teachers.openai.endpoint import key_for

HOME = [
    *("localhost", "127.0.0.1", "127.0.0.2", "127.1", "0.0.0.0", "[::1]", "10.1.2.3", "172.16.0.1", "172.31.255.1"),
    *("192.168.1.9", "169.254.1.1", "100.64.0.1", "[fe80::1]", "[fd00::1]", "[::ffff:192.168.1.9]"),
    *("modelbox", "box.local", "box.LOCAL.", "host.docker.internal", "a.b.svc.cluster.local"),
]
ABROAD = [
    *("203.0.113.5", "198.51.100.1", "192.0.2.1", "8.8.8.8", "172.32.0.1", "172.15.0.1", "11.0.0.1", "192.169.0.1"),
    *("example.com", "box.local.example.com", "10.0.0.1.nip.io", "203。0。113。5", "3405803781", "0xcb007105"),
    *("[2001:db8::1]", "[::ffff:8.8.8.8]", "[64:ff9b::808:808]"),
]


@pytest.mark.parametrize("host", HOME)
def test_plain_http_without_a_key_reaches_ones_own_network(monkeypatch, host):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    assert key_for(f"http://{host}:8000/v1", "OPENAI_API_KEY") == "none"


@pytest.mark.parametrize("host", ABROAD)
@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", None])
def test_plain_http_does_not_reach_the_world(monkeypatch, host, variable):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    with pytest.raises(RecipeError, match="unencrypted"):
        key_for(f"http://{host}:8000/v1", variable)


@pytest.mark.parametrize("host", ["192.168.1.9", "modelbox", "box.local", "[fd00::1]"])
def test_a_key_never_travels_in_the_clear(monkeypatch, host):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")

    with pytest.raises(RecipeError, match="OPENAI_API_KEY would travel unencrypted") as caught:
        key_for(f"http://{host}/v1", "OPENAI_API_KEY")

    assert "sk-canary" not in str(caught.value)
    assert key_for(f"https://{host}/v1", "OPENAI_API_KEY") == key_for("http://127.0.0.2/v1", "OPENAI_API_KEY")
    assert key_for(f"http://{host}/v1", None) == "none"
