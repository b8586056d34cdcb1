"""Running one cell with IPython's meaning, without IPython's detours.

A cell that is plain Python is compiled and run here. IPython's transformers come in when a cell does not parse (magics,
`!`, `?`), or when the user has installed transformers of their own.
"""

import __future__
import ast
import asyncio
import linecache
import sys
from inspect import CO_COROUTINE

import _sandpool

from . import errors, events
from .shell import Shell, create_shell

_compile = _sandpool.compile_cell

# `from __future__ import ...` holds for the cells after it too.
_FUTURES = sum({getattr(__future__, name).compiler_flag for name in __future__.all_feature_names})

shell: Shell = None
namespace = None


def start():
    """Create the shell; once, while the image is made."""
    global shell, namespace
    shell = create_shell()
    namespace = shell.user_ns


def run_cell(source):
    """Run a cell: True when it finished, False when it raised (and an error event says what)."""
    try:
        try:
            return _run(source)
        except SystemExit as request:
            return _left(request)
        except BaseException as failure:
            errors.report(failure)
            return False
    except KeyboardInterrupt as interrupt:
        # A second interrupt, or one that came while the first failure was told.
        errors.report(interrupt)
        return False


def _run(source):
    number = shell.execution_count
    filename = f"Cell In[{number}]"
    linecache.cache[filename] = (len(source), None, (source + "\n").splitlines(True), filename)
    shell.execution_count = number + 1
    _remember(source, number)
    shell.failed = False
    callbacks = shell.events.callbacks
    if callbacks["pre_execute"] or callbacks["pre_run_cell"]:
        shell.events.trigger("pre_execute")
        shell.events.trigger("pre_run_cell", shell.execution_info(source))
    try:
        if _is_plain(source):
            _run_plain(source, filename, number)
        else:
            _run_transformed(source, filename, number, None)
    finally:
        if callbacks["post_execute"] or callbacks["post_run_cell"]:
            shell.events.trigger("post_execute")
            shell.events.trigger("post_run_cell", shell.last_execution_result)
    return not shell.failed


def _remember(source, number):
    """In, _i, _ii, _iii and _iN, as IPython keeps them."""
    ns = namespace
    ns["_iii"], ns["_ii"], ns["_i"] = ns.get("_ii", ""), ns.get("_i", ""), shell.last_source
    shell.last_source = source
    ns[f"_i{number}"] = source
    history = shell.history_manager
    history.input_hist_parsed.append(source)
    history.input_hist_raw.append(source)
    ns.pop("__warningregistry__", None)


def _is_plain(source):
    """Whether to try the cell as it is: not if the user's own transformers must see it, or its first word is a magic
    that needs no % (`ls`, `pwd`, `cd data`)."""
    if shell.has_transformers():
        return False
    if "\n" in source.strip():
        return True
    word = source.split(None, 1)[0] if source and not source.isspace() else ""
    return not (word in shell.automagics and word not in namespace and shell.automagic)


def _run_plain(source, filename, number):
    failure = None
    try:
        body, value, line, column, flags = _compile(source, filename, shell.compile.flags & _FUTURES)
    except SyntaxError as problem:
        failure = problem.with_traceback(None)
    if failure is not None:
        return _run_transformed(source, filename, number, failure)
    shell.compile.flags |= flags & _FUTURES
    if body is not None:
        result = eval(body, namespace)
        if body.co_flags & CO_COROUTINE:
            _await(result)
    if value is not None:
        result = eval(value, namespace)
        if value.co_flags & CO_COROUTINE:
            result = _await(result)
        if result is not None and not _is_silenced(source, line, column):
            shell.show(result, number)


def _is_silenced(source, line, column):
    """Whether a semicolon follows the last expression."""
    if ";" not in source:
        return False
    lines = source.split("\n")
    tail = lines[line - 1].encode()[column:].decode("utf-8", "replace").lstrip(" \t)")
    return tail.startswith(";")


def _run_transformed(source, filename, number, failure):
    """Run a cell through IPython's transformers."""
    try:
        transformed = shell.transform_cell(source)
    except SyntaxError as problem:
        raise (failure or problem) from None
    if failure is not None and transformed.rstrip("\n") == source.rstrip("\n"):
        transformed = shell.prefilter_manager.prefilter_lines(source) if "\n" not in source.strip() else source
        if transformed.rstrip("\n") == source.rstrip("\n"):
            raise failure
    lines = transformed.splitlines(True)
    if len(lines) != source.count("\n") + 1:
        linecache.cache[filename] = (len(transformed), None, lines, filename)
    shell.history_manager.input_hist_parsed[-1] = transformed
    tree = compile(transformed, filename, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | shell.compile.flags & _FUTURES, True)
    tree = shell.transform_ast(tree)
    for nodes, shown in _groups(tree.body):
        _run_nodes(nodes, shown, transformed, filename, number)


def _groups(body):
    """`(statements, whether the value is shown)` in order, by the shell's interactivity."""
    interactivity = shell.ast_node_interactivity
    if interactivity == "all":
        return [([node], isinstance(node, ast.Expr)) for node in body]
    if interactivity == "last_expr_or_assign" and body and isinstance(body[-1], (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        target = body[-1].targets[0] if isinstance(body[-1], ast.Assign) else body[-1].target
        if isinstance(target, ast.Name):
            name = ast.copy_location(ast.Name(target.id, ast.Load()), body[-1])
            body = [*body, ast.copy_location(ast.Expr(name), body[-1])]
    if interactivity != "none" and body and isinstance(body[-1], ast.Expr):
        return [(body[:-1], False), (body[-1:], True)]
    return [(body, False)]


def _run_nodes(nodes, shown, source, filename, number):
    if not nodes:
        return
    tree = ast.Expression(nodes[0].value) if shown else ast.Module(nodes, [])
    flags = shell.compile.flags & _FUTURES | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(ast.fix_missing_locations(tree), filename, "eval" if shown else "exec", flags, True)
    result = eval(code, namespace)
    if code.co_flags & CO_COROUTINE:
        result = _await(result)
    if shown and result is not None and not _is_silenced(source, nodes[0].end_lineno, nodes[0].end_col_offset):
        shell.show(result, number)


def _await(coroutine):
    """Run a cell's coroutine on the cells' own loop: tasks that a cell starts go on while later cells await."""
    loop = asyncio.get_event_loop_policy().get_event_loop()
    task = loop.create_task(coroutine)
    try:
        return loop.run_until_complete(task)
    except BaseException:
        if not task.done():
            task.cancel()
            loop.call_soon(loop.stop)
            loop.run_forever()
        raise


def _left(request):
    """sys.exit(): the end of the cell, not of the session. A failure if the code says so, as a process would."""
    if request.code is None or request.code == 0:
        return True
    errors.report(request)
    return False
