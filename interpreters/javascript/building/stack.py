"""Making the engine's check of its stack a measure of the host's stack too.

quickjs-ng measures how deep its C stack is. But a function's variables mostly live on WebAssembly's own stack, which the
host limits (4 MiB) and nobody can measure from inside: when that one is full, the session is lost. Functions that call
JavaScript use about a third as much of the C stack; the parser, JSON and the like, hardly any. So these get to use some
more of it: a third of what they use of the other one, as measured by nesting until the host's stack was full.
"""

import re

from shared.steps import RecipeError

# File: patterns of functions by name, and the bytes that each call takes.
FRAMES = {
    "quickjs.c": {
        "js_parse_assign_expr2": 768,
        "js_parse_unary": 96,
        "js_parse_statement_or_decl": 256,
        "js_parse_destructuring_element": 512,
        "js_proxy_[a-z_]+": 160,
    },
    "libregexp.c": {"re_parse_disjunction": 384, "re_parse_nested_class": 256},
}

# Functions that check for nothing but being called: JSON, proxies, sorting, flattening.
CHECKED = re.compile(r"js_check_stack_overflow\(((?:s->)?(?:ctx->rt|rt)), 0\)")
CHECKED_FRAME = 128

TAKE = """    {
        void *taken = __builtin_alloca(%d);
        __asm__ volatile("" : : "r"(taken));
    }
"""
CHECK = '({ void *taken = __builtin_alloca(%d); __asm__ volatile("" : : "r"(taken)); js_check_stack_overflow(%s, 0); })'


def patched(name, text):
    """The text of one of the engine's files with larger frames."""
    for function, size in FRAMES[name].items():
        definition = re.compile(r"^(static [^;{}()]*\b" + function + r"\([^;{}]*\)\n\{\n)", re.MULTILINE)
        text, count = definition.subn(lambda found, size=size: found[1] + TAKE % size, text)
        if count == 0:
            raise RecipeError(f"{name} has no function {function}, whose frame the recipe enlarges")
    return CHECKED.sub(lambda found: CHECK % (CHECKED_FRAME, found[1]), text)
