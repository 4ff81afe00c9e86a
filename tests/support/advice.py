"""The rule for warnings and errors in the log: each says what to do, or that nothing has to be done."""

from __future__ import annotations

import re
from typing import Final

STEPS: Final = (
    "check",
    "correct",
    "give",
    "make",
    "please report",
    "publish",
    "restart",
    "set",
    "sign in",
    "start",
    "turn",
    "use",
)
"""What a next step begins with."""

_STEP: Final = re.compile(rf"(^|[.;:,] |\bor )({'|'.join(STEPS)})\b", re.IGNORECASE)
_NOTHING: Final = re.compile(r"\bby (itself|themselves)\b|\bNothing\b")


def says_what_to_do(text: str) -> bool:
    """Whether a line has an imperative at the start of a clause, or says that it passes by itself."""
    return bool(_STEP.search(text) or _NOTHING.search(text))
