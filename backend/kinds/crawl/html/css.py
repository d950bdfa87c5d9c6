r"""Checks CSS selectors by the syntax that Soup Sieve 2.10 accepts, in time linear in their length. Pure.

A gateway checks each client's selectors on its event loop, so the check must be fast for any text. Soup Sieve's own
parser is not: its patterns for identifiers try every way to divide hexadecimal escapes, so that ``[`` and nine times
``\aaaaaa`` keep it busy for hours. The parser in this module never backtracks: it moves forward through the text, and
each pattern is possessive or atomic. It reads only the argument of ``:contains`` twice: first as a list of strings and,
if it is none, as selectors.

Soup Sieve also accepts what this parser accepts, in time that is linear or quadratic in the text, because
`normal_selector` rewrites two constructs: it ends each hexadecimal escape with a space, so that only one reading is
left, and it replaces each comment by a space. In one respect this parser is stricter: it refuses selectors that nest
deeper than `MAX_NESTING`.
"""

from __future__ import annotations

import re
from typing import NoReturn

from msgspec import Struct

MAX_NESTING = 16
"""Deepest nesting of parentheses. Real selectors use two or three; the time to match is exponential in the depth."""

_ESCAPE = r"\\(?:[0-9a-fA-F]{1,6}+ ?+|[^0-9a-fA-F]|\Z)"
_LETTER = r"A-Za-z_\xa0-\U0010ffff"
_IDENTIFIER = re.compile(rf"(?>(?:--|-?(?:[{_LETTER}]|{_ESCAPE}))(?:[{_LETTER}0-9-]++|{_ESCAPE})*)")
_ESCAPED = re.compile(r"\\(?:([0-9a-fA-F]{1,6}+) ?+|(.)|\Z)", re.S)
_SPACES = re.compile(r" ++")
_STRING = re.compile(r""""[^"\\]*+(?>(?:\\.[^"\\]*+)*)"|'[^'\\]*+(?>(?:\\.[^'\\]*+)*)'""", re.S)
_COMPARISON = re.compile(r"[!~^|*$]?=")
_CASE = re.compile(r"[isIS]")
_NTH = re.compile(r"(?:even|odd|[-+]?(?:[0-9]++n?+|n))", re.I)
_NTH_REST = re.compile(r"[0-9]++")
_DIRECTION = re.compile(r"ltr|rtl", re.I)
_COMBINATORS = "+>~"
_MAX_CODE_POINT = 0x10FFFF

_FLAG_NAMES = (
    "active any-link autofill buffering checked current default defined disabled empty enabled first-child "
    "first-of-type focus focus-visible focus-within fullscreen future host hover in-range indeterminate last-child "
    "last-of-type link local-link muted only-child only-of-type open optional out-of-range past paused "
    "picture-in-picture placeholder-shown playing popover-open read-only read-write required root scope seeking "
    "stalled target target-within user-invalid visited volume-locked"
)
FLAGS = frozenset(_FLAG_NAMES.split())
"""Pseudo-classes without parentheses."""
LISTS = frozenset(("current", "has", "host", "host-context", "is", "matches", "not", "where"))
"""Pseudo-classes whose argument is a list of selectors."""
CONTAINS = frozenset(("contains", "-soup-contains", "-soup-contains-own"))
"""Pseudo-classes whose argument is a list of strings or, if it is none, a list of selectors."""
NTH_CHILD = frozenset(("nth-child", "nth-last-child"))
NTH_TYPE = frozenset(("nth-of-type", "nth-last-of-type"))
FUNCTIONS = LISTS | CONTAINS | NTH_CHILD | NTH_TYPE | {"lang", "dir"}
"""Pseudo-classes with parentheses."""
_FORGIVING = frozenset(("is", "where"))


class _List(Struct):
    """The state of parsing a list of selectors: the whole text, or the text between parentheses."""

    is_forgiving: bool = False
    """Selectors may be missing, as in ``:is(a, )``."""
    is_relative: bool = False
    """Selectors may begin with a combinator, as in ``:has(> a)``."""
    has_compound: bool = False
    """The selector has at least one simple selector after its last combinator."""
    is_led: bool = False
    """A combinator precedes the compound selector that is being read; in relative selectors, a space does not count."""
    has_selector: bool = False
    """A comma has ended a selector that was not empty."""


def normal_selector(text: str) -> str:
    """Return the selector in a form that Soup Sieve compiles quickly.

    `text` must be printable. Raises ValueError with advice when it is not a valid selector.
    """
    return _Reader(text).read()


class _Reader:
    """Parses one text. The position `_at` never decreases, except for the arguments of ``:contains``."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._normal: list[str] = []
        self._lists = [_List()]

    def read(self) -> str:
        """Parse the whole text and return its normal form. Raises ValueError with advice."""
        self._skip_blanks()
        while True:
            begin = self._at
            has_space = self._skip_blanks()
            if self._at == len(self._text):
                break
            character = self._text[self._at]
            if character == ")":
                self._close()
            elif character in ",+>~":
                self._at += 1
                self._combine(character)
                self._keep(character)
                self._skip_blanks()
            elif has_space:
                self._combine(" ")
            elif self._at > begin:
                self._fail("put a space beside the comment")
            else:
                self._simple(character)
        if len(self._lists) > 1:
            self._fail("close what is open with )")
        if not self._lists[-1].has_compound:
            self._fail("a selector is missing")
        return "".join(self._normal)

    # --- lists and combinators ---------------------------------------------------------------------

    def _combine(self, combinator: str) -> None:
        here = self._lists[-1]
        if combinator == ",":
            if not here.has_compound and not here.is_forgiving:
                self._fail("a selector is missing before ,")
            here.has_selector |= here.has_compound
            here.is_led = False
        elif here.is_relative:
            if not here.has_compound and here.is_led:
                self._fail(f"a selector is missing before {combinator}")
            here.is_led = combinator != " "
        else:
            if not here.has_compound:
                self._fail(f"a selector is missing before {combinator}")
            here.is_led = True
        here.has_compound = False

    def _open(self, name: str) -> None:
        if len(self._lists) > MAX_NESTING:
            self._fail(f"nest selectors at most {MAX_NESTING} deep")
        self._lists.append(_List(is_forgiving=name in _FORGIVING, is_relative=name == "has"))

    def _close(self) -> None:
        here = self._lists[-1]
        if len(self._lists) == 1:
            self._fail("nothing is open that ) could close")
        if not here.has_compound and (not here.is_forgiving or (here.has_selector and here.is_led)):
            self._fail("a selector is missing before )")
        self._lists.pop()
        self._lists[-1].has_compound = True
        self._at += 1
        self._keep(")")

    # --- simple selectors --------------------------------------------------------------------------

    def _simple(self, character: str) -> None:
        here = self._lists[-1]
        if character == ":":
            self._pseudo()
        elif character in ".#":
            self._at += 1
            self._keep(character)
            if self._identifier() is None:
                self._fail(f"a name is missing after {character}")
        elif character == "[":
            self._attribute()
        elif character == "&":
            self._at += 1
            self._keep(character)
        elif here.has_compound:
            self._fail(f"{character!a} stands where no tag can")
        else:
            self._tag()
        here.has_compound = True

    def _tag(self) -> None:
        name = self._identifier() or self._take("*")
        if self._take("|"):
            name = self._identifier() or self._take("*")
        if not name:
            self._fail(f"{self._shown()} begins no selector")

    def _attribute(self) -> None:
        self._take("[")
        self._skip_blanks()
        name = self._identifier()
        if name is None or (self._is_at("|") and not self._is_at("|=")):
            if name is None:
                self._take("*")
            name = self._identifier() if self._take("|") else None
        if name is None:
            self._fail("the name of an attribute is missing")
        self._skip_blanks()
        if self._match(_COMPARISON):
            self._skip_blanks()
            if not self._value():
                self._fail("the value of an attribute is missing")
            self._skip_blanks()
            if self._match(_CASE):
                self._skip_blanks()
        if not self._take("]"):
            self._fail(f"] is missing before {self._shown()}")

    # --- pseudo-classes ----------------------------------------------------------------------------

    def _pseudo(self) -> None:
        self._take(":")
        if self._is_at(":"):
            self._fail("pseudo-elements cannot be selected, only ::text and ::attr(NAME) at the end")
        written = self._identifier()
        if written is None:
            self._fail("the name of a pseudo-class is missing")
        name = _unescaped(written)
        name = name.lower() if name.isascii() else ""  # Soup Sieve also converts only ASCII letters to lower case
        has_argument = self._take("(")
        if name not in (FUNCTIONS if has_argument else FLAGS):
            known = FLAGS | FUNCTIONS
            advice = f":{name} is written {'without' if has_argument else 'with'} parentheses"
            self._fail(advice if name in known else f"there is no pseudo-class :{written[:40]!a}")
        if has_argument:
            self._skip_blanks()
            self._argument(name)

    def _argument(self, name: str) -> None:
        if name in NTH_CHILD or name in NTH_TYPE:
            self._nth(name)
        elif name == "dir":
            self._end_argument(name, self._match(_DIRECTION))
        elif name == "lang":
            self._end_argument(name, self._values())
        elif name not in CONTAINS or not self._are_values():
            self._open(name)

    def _nth(self, name: str) -> None:
        step = self._match(_NTH)
        if not step:
            self._fail(f":{name} needs a number, as in 2, odd or 2n+1")
        has_space = self._skip_blanks()
        if step[-1] in "nN" and step.lower() != "even" and (self._take("+") or self._take("-")):
            self._skip_blanks()
            if not self._match(_NTH_REST):
                self._fail(f"a number is missing in :{name}")
            has_space = self._skip_blanks()
        if name in NTH_CHILD and has_space and self._text[self._at : self._at + 2].lower() == "of":
            self._keep(self._text[self._at : self._at + 2])
            self._at += 2
            if not self._skip_blanks():
                self._fail("put a space after of")
            self._open(name)
        else:
            self._end_argument(name, True)

    def _end_argument(self, name: str, is_sound: object) -> None:
        self._skip_blanks()
        if not (is_sound and self._take(")")):
            self._fail(f":{name} cannot have {self._shown()} in its parentheses")

    def _are_values(self) -> bool:
        """Read values and the closing parenthesis, and return True; or read nothing and return False."""
        at, kept = self._at, len(self._normal)
        if self._values() and self._take(")"):
            return True
        self._at = at
        del self._normal[kept:]
        return False

    def _values(self) -> bool:
        """Read one or more values, and the blanks after them. Return False when a value is missing."""
        while self._value():
            self._skip_blanks()
            if not self._take(","):
                return True
            self._skip_blanks()
        return False

    def _value(self) -> bool:
        text = self._match(_STRING)
        if text:
            _unescaped(text)
        return bool(text) or self._identifier() is not None

    # --- pieces of text ----------------------------------------------------------------------------

    def _identifier(self) -> str | None:
        """Read an identifier at this position and return it as written; return None when there is none."""
        found = _IDENTIFIER.match(self._text, self._at)
        if found is None:
            return None
        self._at = found.end()
        _unescaped(found[0])
        self._keep(_ESCAPED.sub(lambda escape: f"\\{escape[1]} " if escape[1] else escape[0], found[0]))
        return found[0]

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            return ""
        self._at = found.end()
        self._keep(found[0])
        return found[0]

    def _take(self, wanted: str) -> str:
        """Read and return `wanted` if it stands at this position; otherwise return ""."""
        if not self._is_at(wanted):
            return ""
        self._at += len(wanted)
        self._keep(wanted)
        return wanted

    def _is_at(self, wanted: str) -> bool:
        return self._text.startswith(wanted, self._at)

    def _skip_blanks(self) -> bool:
        """Read spaces and comments; return whether there was a space."""
        has_space = False
        while (character := self._text[self._at : self._at + 1]) in (" ", "/"):
            if character == " ":
                has_space = True
                self._match(_SPACES)
                continue
            if not self._is_at("/*"):
                break
            end = self._text.find("*/", self._at + 2)
            if end < 0:
                self._fail("close the comment with */")
            self._at = end + 2
            self._keep(" ")
        return has_space

    def _keep(self, text: str) -> None:
        self._normal.append(text)

    def _shown(self) -> str:
        return ascii(self._text[self._at : self._at + 10]) if self._at < len(self._text) else "the end"

    def _fail(self, advice: str) -> NoReturn:
        raise ValueError(f"{advice} (character {min(self._at + 1, len(self._text))})")


def _unescaped(text: str) -> str:
    """Return the text with its escapes decoded. Raises ValueError for an escape that stands for no character."""
    return _ESCAPED.sub(_character, text) if "\\" in text else text


def _character(escape: re.Match[str]) -> str:
    if not escape[1]:
        return escape[2] or "\ufffd"
    code_point = int(escape[1], 16)
    if code_point > _MAX_CODE_POINT:
        raise ValueError(f"there is no character \\{escape[1]}")
    return chr(code_point or 0xFFFD)
