"""How text may look: with colour or without, in Unicode or in ASCII, and how wide.

Whoever calls decides (a terminal or not, NO_COLOR, TERM, the locale); nothing here looks at the
surroundings. Colours are the eight of every terminal, never a background, and never the only thing
that tells two cases apart.
"""

from dataclasses import dataclass
from enum import Enum, auto


class Role(Enum):
    """What a piece of text is, told by its colour."""

    PLAIN = auto()
    STRONG = auto()
    DIM = auto()
    ADD = auto()
    CHANGE = auto()
    RESTORE = auto()
    RETIRE = auto()
    LOSS = auto()
    WAIT = auto()
    REFUSAL = auto()
    GOOD = auto()
    HERE = auto()
    RESOLVE = auto()


# SGR parameters (ECMA-48, 8.3.117).
_COLOURS = {
    Role.STRONG: "1",
    Role.DIM: "2",
    Role.ADD: "32",
    Role.CHANGE: "36",
    Role.RESTORE: "1;35",
    Role.RETIRE: "33",
    Role.LOSS: "1;31",
    Role.WAIT: "1;33",
    Role.REFUSAL: "1;31",
    Role.GOOD: "1;32",
    Role.HERE: "1;36",
    Role.RESOLVE: "36",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Glyphs:
    """The characters that ASCII has not, and their stand-ins."""

    fork: str
    restore: str
    arrow: str
    becomes: str
    here: str
    branch: str
    last: str
    through: str
    ellipsis: str
    dash: str
    dot: str


UNICODE = Glyphs(
    fork="⑂",
    restore="↺",
    arrow="→",
    becomes="→",
    here="◀ you are here",
    branch="├── ",
    last="└── ",
    through="│   ",
    ellipsis="…",
    dash="–",  # noqa: RUF001 - the sign for "nothing"
    dot="·",
)
ASCII = Glyphs(
    fork="*",
    restore="<",
    arrow="->",
    becomes="->",
    here="<- you are here",
    branch="|-- ",
    last="`-- ",
    through="|   ",
    ellipsis="...",
    dash="-",
    dot=",",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How a text is to look; a WIDTH of 0 wraps nothing."""

    colour: bool = False
    unicode: bool = True
    width: int = 100

    @property
    def glyphs(self) -> Glyphs:
        """The characters to use."""
        return UNICODE if self.unicode else ASCII

    def paint(self, text: str, role: Role) -> str:
        """Colour TEXT as ROLE, if colour is wanted."""
        if not self.colour or role is Role.PLAIN or not text:
            return text
        return f"\033[{_COLOURS[role]}m{text}\033[0m"
