"""Text for Markdown as GitHub and GitLab show it (GFM): nothing in it may look, link or notify as it does not mean to.

Knows nothing of plans. Text is one line afterwards, and without control characters.
"""

import html
import re

from reconciler.render.layout import printable

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#!|~$^&]|:(?=[\w+/]))")
_MENTION = re.compile(r"(?<![\w`])@(?=\w)")
_QUOTED = re.compile(r"(?<![\w)])'([^']+)'")
_UNSEEN = "\u200b"
"""Between ``@`` and a name: nobody is notified of a report, whatever an operator wrote in it."""


def escaped(text: str) -> str:
    """Write TEXT so that it is shown as it is."""
    line = printable(text, unicode=True)
    return _MENTION.sub(f"@{_UNSEEN}", _SPECIAL.sub(r"\\\1", line))


def code(text: str) -> str:
    """Write TEXT as code, also within a table."""
    line = printable(text, unicode=True)
    longest = max((len(run) for run in re.findall(r"`+", line)), default=0)
    fence = "`" * (longest + 1)
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{space}{line}{space}{fence}".replace("|", r"\|")


def prose(text: str) -> str:
    """Write a sentence of ours: what stands in single quotes (a command, a line of YAML) as code, the rest as it is."""
    pieces = _QUOTED.split(text)
    return "".join(code(p) if number % 2 else escaped(p) for number, p in enumerate(pieces))


def plain_html(text: str) -> str:
    """Write TEXT for a place in which HTML counts and Markdown does not, as within ``<summary>``."""
    return html.escape(_MENTION.sub(f"@{_UNSEEN}", printable(text, unicode=True)))
