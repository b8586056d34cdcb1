"""The text IPython's pretty printer makes of everyday values, made quickly.

For numbers, strings, and lists, tuples and dicts of them, nothing of the printer's layout is left to decide: all on one
line when it fits, one item a line when not. IPython's own printer takes 20 us an item. Anything else is left to it.
"""

# IPython's PlainTextFormatter: widest line, and how many items it shows of a container.
_WIDTH, _MOST_ITEMS = 79, 1000

SCALARS = frozenset({int, float, bool, str, bytes, complex, type(None)})
_BRACKETS = {list: ("[", "]"), tuple: ("(", ")"), dict: ("{", "}")}
KINDS = SCALARS | _BRACKETS.keys()

# Nested containers are looked through up to this many values: more than a line of them never fits.
_SMALL = 40


def text_of(value):
    """The text, or None when it takes the printer."""
    kind = type(value)
    try:
        if kind in SCALARS:
            return repr(value)
        return _container(value, kind) if kind in _BRACKETS else None
    except (ValueError, RecursionError):
        return None  # an integer with too many digits, or a list inside itself: IPython knows what to say


def _container(value, kind):
    if _is_flat(value, kind):
        if len(value) <= _SMALL:
            line = repr(value)
            if len(line) <= _WIDTH:
                return line
        return _broken(value, kind)
    if _count(value, 0) <= _SMALL:
        line = repr(value)
        if len(line) <= _WIDTH:
            return line
    return None


def _is_flat(value, kind):
    if kind is dict:
        return SCALARS.issuperset(map(type, value)) and SCALARS.issuperset(map(type, value.values()))
    return SCALARS.issuperset(map(type, value))


def _broken(value, kind):
    """One item a line, unless all of it fits after all."""
    if kind is dict:
        items = [f"{key!r}: {item!r}" for key, item, _ in zip(value, value.values(), range(_MOST_ITEMS))]
    else:
        items = [repr(item) for item in value[:_MOST_ITEMS]]
    if len(value) > _MOST_ITEMS:
        items.append("...")
    opening, closing = _BRACKETS[kind]
    if kind is tuple and len(value) == 1:
        closing = ",)"
    if sum(map(len, items)) + 2 * len(items) <= _WIDTH:
        return opening + ", ".join(items) + closing
    return opening + ",\n ".join(items) + closing


def _count(value, seen):
    """How many values there are in a nest of plain containers; too many when anything else is among them."""
    kind = type(value)
    seen += 1
    if kind in SCALARS or seen > _SMALL:
        return seen
    if kind not in _BRACKETS:
        return _SMALL + 1
    for item in value:
        seen = _count(item, seen)
        if seen > _SMALL:
            return seen
    for item in value.values() if kind is dict else ():
        seen = _count(item, seen)
    return seen
