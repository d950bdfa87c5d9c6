"""Hypothesis strategies for msgspec types, so that property tests cover every message there is."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

VISIBLE = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
ENCODABLE = st.characters(exclude_categories=["Cs"])
TEXT = st.text(ENCODABLE, max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Valid values of a type that msgspec can decode."""
    return _values(inspect.type_info(kind))


def _values(info: inspect.Type) -> st.SearchStrategy[Any]:
    match info:
        case inspect.StructType():
            return st.builds(info.cls, **{field.name: _values(field.type) for field in info.fields})
        case inspect.UnionType():
            return st.one_of([_values(each) for each in info.types])
        case inspect.ListType():
            return st.lists(_values(info.item_type), max_size=4)
        case inspect.TupleType():
            return st.tuples(*(_values(each) for each in info.item_types))
        case inspect.DictType():
            return st.dictionaries(_values(info.key_type), _values(info.value_type), max_size=4)
        case inspect.EnumType():
            return st.sampled_from(info.cls)
        case inspect.IntType():
            return st.integers(*_int_bounds(info))
        case inspect.StrType():
            if info.pattern:
                return st.text(VISIBLE, min_size=1, max_size=64)
            return st.text(ENCODABLE, min_size=info.min_length or 0, max_size=20)
        case inspect.RawType():
            return JSON.map(lambda value: msgspec.Raw(msgspec.json.encode(value)))
    return _plain(info)


def _plain(info: inspect.Type) -> st.SearchStrategy[Any]:
    match info:
        case inspect.FloatType():
            return st.floats(allow_nan=False, allow_infinity=False)
        case inspect.BoolType():
            return st.booleans()
        case inspect.BytesType():
            return st.binary(max_size=40)
        case inspect.NoneType():
            return st.none()
    raise TypeError(f"no strategy for {info}")


def _int_bounds(info: inspect.IntType) -> tuple[int, int]:
    low = info.ge if info.ge is not None else -(2**63)
    high = info.lt - 1 if info.lt is not None else 2**63 - 1
    return low, min(high, info.le) if info.le is not None else high
