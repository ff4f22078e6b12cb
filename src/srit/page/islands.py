"""Data for a page's script, inside the page: nothing in the data can end its element."""

from __future__ import annotations

import base64
import gzip
import json
from typing import TYPE_CHECKING

from srit.run_directory import Json

if TYPE_CHECKING:
    from markupsafe import Markup

_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def island(value: Json) -> Markup:
    """Return JSON for a `<script type="application/json">`."""
    from markupsafe import Markup

    text = json.dumps(value, separators=(",", ":"), allow_nan=False)  # only ASCII
    return Markup(text.translate(_ESCAPES))


def packed(value: Json) -> str:
    """Return compressed JSON as base64, so repetition takes little room."""
    data = json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    return base64.b64encode(gzip.compress(data, compresslevel=6, mtime=0)).decode()
