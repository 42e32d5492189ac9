"""
Reads JSON from somebody who is not trusted as an object of a dataclass, and says which of its values is wrong.

The annotations of the class say what each value has to be: a text, a number, true or false, null, a dataclass, a list,
a tuple or a mapping of those, a `Literal` of texts, or one of several. Of a field's metadata `least` is the smallest
number, and `longest` the length of its texts. A name that the class does not have is refused; none may be missing.
"""

from __future__ import annotations

import dataclasses
import json
import math
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeVar, get_args, get_origin, get_type_hints

LONGEST: Final = 8192
"""Characters of a text whose field does not say otherwise."""
MOST: Final = 1000
"""Items of a list or of a mapping."""
LARGEST: Final = 2**53
"""Up to here a whole number is the same in every program that reads JSON."""
_MOST_DIGITS: Final = 20
_WORDS: Final = {str: "text", bool: "true or false", int: "a whole number", float: "a number", NoneType: "null"}
_Kind = TypeVar("_Kind")


class FormError(ValueError):
    """What is wrong, and where."""


def read(kind: type[_Kind], data: bytes) -> _Kind:
    """The object. `data` is UTF-8. Raises FormError."""
    try:
        value = json.loads(data.decode("utf-8"), parse_int=_integer, parse_constant=_constant)
    except UnicodeDecodeError as error:
        raise FormError(f"it is not UTF-8: {error.reason} at byte {error.start}") from None
    except RecursionError:
        raise FormError("it is nested too deeply") from None
    except ValueError as error:
        raise FormError(f"it is not JSON: {error}") from None
    found: _Kind = _value(kind, value, "", LONGEST)
    return found


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:  # Python takes long for very many
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _constant(name: str) -> object:
    raise ValueError(f"{name} is no number of JSON")


def _value(kind: Any, value: object, at: str, longest: int) -> Any:
    for each in get_args(kind) if isinstance(kind, UnionType) else (kind,):
        if _has_form(each, value):
            return _checked(each, value, at, longest)
    raise FormError(f"{at or 'it'} must be {_expected(kind)}, not {_shown(value)}")


def _has_form(kind: Any, value: object) -> bool:
    """Whether a value of JSON can be of this kind, without a look at what it contains."""
    if kind in (str, bool, int, NoneType):
        return type(value) is kind
    if kind is float:
        return type(value) in (int, float)
    origin = get_origin(kind)
    return isinstance(value, str if origin is Literal else list if origin in (list, tuple) else dict)


def _checked(kind: Any, value: Any, at: str, longest: int) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if kind is str:
        if len(value) > longest:
            raise FormError(f"{at} has {len(value)} characters; {longest} are allowed")
        return value.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair could not be printed
    if kind in (int, float):
        if not math.isfinite(value) or (kind is int and abs(value) > LARGEST):
            raise FormError(f"{at} is too large a number: {_shown(value)}")
        return kind(value)
    if origin is Literal and value not in inner:
        raise FormError(f"{at} must be {_expected(kind)}, not {_shown(value)}")
    if origin in (list, dict) and len(value) > MOST:
        raise FormError(f"{at} has {len(value)} items; {MOST} are allowed")
    if origin is list:
        return [_value(inner[0], each, f"{at}[{index}]", longest) for index, each in enumerate(value)]
    if origin is tuple:
        if len(value) != len(inner):
            raise FormError(f"{at} must have {len(inner)} items, not {len(value)}")
        return tuple(
            _value(each, item, f"{at}[{index}]", longest)
            for index, (each, item) in enumerate(zip(inner, value, strict=True))
        )
    if origin is dict:
        return {
            _value(str, name, f"a name in {at}", longest): _value(inner[1], each, f"{at}.{_shown(name)}", longest)
            for name, each in value.items()
        }
    return _object(kind, value, at) if dataclasses.is_dataclass(kind) else value


def _object(kind: Any, value: dict[str, object], at: str) -> Any:
    hints = get_type_hints(kind)
    before = f"{at}." if at else ""
    fields = {each.name: each for each in dataclasses.fields(kind)}
    if unknown := value.keys() - fields.keys():
        raise FormError(f"{before}{_shown(min(unknown))} is not known")
    found = {}
    for name, each in fields.items():
        if name not in value:
            raise FormError(f"{before}{name} is missing")
        longest = each.metadata.get("longest", LONGEST)
        found[name] = _value(hints[name], value[name], f"{before}{name}", longest)
        if found[name] is not None and "least" in each.metadata and found[name] < each.metadata["least"]:
            raise FormError(f"{before}{name} must be {each.metadata['least']} or more, not {found[name]}")
    return kind(**found)


def _expected(kind: Any) -> str:
    """What a value has to be, in words."""
    if isinstance(kind, UnionType):
        return " or ".join(dict.fromkeys(map(_expected, get_args(kind))))
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    return _WORDS.get(kind) or ("a list" if get_origin(kind) in (list, tuple) else "an object")


def _shown(value: object) -> str:
    """The beginning of a value, on one line."""
    text = json.dumps(value)[:60] if isinstance(value, (str, int, float, bool, NoneType)) else type(value).__name__
    return {"list": "a list", "dict": "an object"}.get(text, text)
