"""The house stands as the design says: who may import what, read from the syntax trees.

Imports go down only; wings never meet; each foreign library has one room; `import penguiflow` loads no wing;
nothing is imported inside a function but what may be missing; no module keeps state. And how large a file, a
function, its nesting and its list of parameters may be.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "penguiflow"

FLOORS: tuple[tuple[str, ...], ...] = (
    tuple("durations errors headings items processes".split()),
    tuple(
        "completion credit dispatch histogram joining lifecycle overflow positions sequence settling "
        "sqlite_heads timing wire".split()
    ),
    tuple(
        "admission analysis checks complaints draw expand given graph hints kinds labels layout node "
        "payloads picture plan policy promises protocols sealed signature type_checks typing_rules "
        "wiring".split()
    ),
    tuple(
        "admission_queue beginnings chunks context control core diagnosis dropping durable_steps "
        "emission engine fanin feeding flow gate history inbox inline interrupts invoke journal "
        "journal_pages keeper kept kept_leg kept_run known_order lane leaving leg leg_keeper letters "
        "lifetime mail mapping measures meeting node_log observe options outbox outcomes outlet "
        "parallel parking pool questions record recorded repeating replaying reports resuming retention "
        "routing run run_journal run_reading runtime sayings scribe sealing snapshots station "
        "statistics steering step step_watch stream telling threads ticking time_travel traffic "
        "transaction waiting waits watch watchdog whereabouts writer".split()
    ),
)
"""The first names below `penguiflow`, floor by floor."""

WINGS = tuple(
    "telemetry journals operators llm gateways client connectors placements audio dashboard testing".split()
)
ROOF = ("__init__", "__main__", "cli")
MOVEMENT = 3

ROOMS = {
    "pydantic": (*FLOORS[2], *FLOORS[3], *WINGS, "cli"),
    "pydantic_core": (*FLOORS[2], *FLOORS[3], *WINGS, "cli"),
    "anyio": (*FLOORS[3], *WINGS, "cli", "__init__"),
    "tenacity": ("invoke", "llm"),
    "opentelemetry": ("telemetry",),
    "prometheus_client": ("telemetry",),
    "psycopg": ("journals",),
    "httpx": ("llm", "gateways", "client", "connectors"),
    "asyncio": ("parking", "journals", "testing"),
    "trio": ("parking", "testing"),
    "pytest": ("testing",),
}
"""Which parts may import a foreign library, or one that knows the event loop."""

FILES = sorted(PACKAGE.rglob("*.py"))

MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 60
MOST_NESTING = 4
MOST_PARAMETERS = 8


def module_of(path: Path) -> tuple[str, ...]:
    """Give the dotted name of a file, as a tuple, packages with their `__init__`."""
    return ("penguiflow", *path.relative_to(PACKAGE).with_suffix("").parts)


def part_of(module: tuple[str, ...]) -> str:
    """Give the file or folder right below `penguiflow` that a module belongs to."""
    return module[1] if len(module) > 1 else "__init__"


def floor_of(part: str) -> int:
    """Give the number of the floor; wings are one above the last, the roof is above them."""
    for number, names in enumerate(FLOORS):
        if part in names:
            return number
    assert part in WINGS or part in ROOF, (
        f"penguiflow/{part} has no floor: give it one in {Path(__file__).name}"
    )
    return len(FLOORS) + (part in ROOF)


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in FILES:
        yield path, ast.parse(path.read_text(), str(path))


def imports(path: Path, tree: ast.AST) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Give line and dotted name of everything that a file imports, relative names resolved."""
    here = module_of(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, tuple(name.name.split("."))) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level] if node.level else ()
            module = (*base, *(node.module.split(".") if node.module else ()))
            for name in node.names:
                inside = module == ("penguiflow",) and (
                    (PACKAGE / f"{name.name}.py").exists() or (PACKAGE / name.name).is_dir()
                )
                yield node.lineno, (*module, name.name) if inside else module


def found(problems: list[str]) -> str:
    return "\n" + "\n".join(problems)


def test_imports_go_down_only() -> None:
    """A part imports from its own floor and those below it; a wing may also use the public names."""
    problems = []
    for path, tree in trees():
        part = part_of(module_of(path))
        for line, name in imports(path, tree):
            public = name == ("penguiflow",) and part in WINGS
            if name[0] == "penguiflow" and not public and floor_of(part_of(name)) > floor_of(part):
                problems.append(f"{path.relative_to(ROOT)}:{line} looks up to {'.'.join(name)}")
    assert not problems, found(problems)


def test_wings_never_meet() -> None:
    problems = []
    for path, tree in trees():
        part = part_of(module_of(path))
        for line, name in imports(path, tree):
            other = part_of(name) if name[0] == "penguiflow" else part
            if part in WINGS and other in WINGS and other != part:
                problems.append(f"{path.relative_to(ROOT)}:{line} looks into {'.'.join(name)}")
    assert not problems, found(problems)


def test_each_foreign_library_has_one_room() -> None:
    """What is not of the standard library is imported only where the design gives it room."""
    problems = []
    for path, tree in trees():
        part = part_of(module_of(path))
        for line, name in imports(path, tree):
            foreign = name[0] not in sys.stdlib_module_names and name[0] != "penguiflow"
            if (foreign or name[0] in ROOMS) and part not in ROOMS.get(name[0], ()):
                problems.append(f"{path.relative_to(ROOT)}:{line} imports {'.'.join(name)}")
    assert not problems, found(problems)


def test_the_rules_do_not_wait() -> None:
    """Words, rules and plans are plain calls: nothing below the floor of movement is a coroutine."""
    problems = []
    waiting = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    for path, tree in trees():
        if floor_of(part_of(module_of(path))) < MOVEMENT:
            problems += [
                f"{path.relative_to(ROOT)}:{node.lineno}"
                for node in ast.walk(tree)
                if isinstance(node, waiting)
            ]
    assert not problems, found(problems)


def test_importing_the_package_loads_no_wing() -> None:
    code = "import sys, penguiflow; print(*sorted(name for name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    loaded = {name.split(".")[1] for name in done.stdout.split() if name.startswith("penguiflow.")}
    assert not loaded & {*WINGS, "cli"}
    assert not {"httpx", "opentelemetry", "bm25s", "pytest", "trio"} & set(done.stdout.split())


def test_nothing_is_imported_inside_functions() -> None:
    """But what may be missing: then in a `try` that says which extra brings it."""
    problems = []
    for path, tree in trees():
        allowed = {
            id(node) for attempt in ast.walk(tree) if names_an_extra(attempt) for node in ast.walk(attempt)
        }
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                problems += [
                    f"{path.relative_to(ROOT)}:{node.lineno} in {function.name}"
                    for node in ast.walk(function)
                    if isinstance(node, ast.Import | ast.ImportFrom) and id(node) not in allowed
                ]
    assert not problems, found(problems)


def names_an_extra(node: ast.AST) -> bool:
    """Whether this is a `try` around an import whose `except ImportError` names an extra of ours."""
    return isinstance(node, ast.Try) and any(
        isinstance(handler.type, ast.Name)
        and handler.type.id in ("ImportError", "ModuleNotFoundError")
        and "penguiflow[" in ast.unparse(handler)
        for handler in node.handlers
    )


DISPLAYS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
MAKERS = set(
    "list dict set bytearray deque defaultdict Counter OrderedDict count cycle iter Lock Event Queue "
    "SimpleQueue local WeakSet WeakKeyDictionary WeakValueDictionary lru_cache cache".split()
)
SENTINELS = {"EMPTY", "NO_LEGS", "NO_ROADS", "NO_TICKETS"}
"""Shared sentinels, never written to: they stand where a list is expected, and making one would cost."""
FILLED_AT_IMPORT = ("testing/graphs/pieces.py",)
"""Where decorators enter functions into a table while the package is imported, and nobody does after that."""
CHANGES = set(
    "append extend insert add update setdefault pop popitem remove discard clear sort appendleft".split()
)


def test_no_module_keeps_state() -> None:
    """At the top of a module stand words and constants; a table is one that nobody ever changes."""
    problems = []
    for path, tree in trees():
        if path.relative_to(PACKAGE).as_posix() not in FILLED_AT_IMPORT:
            problems += [f"{path.relative_to(ROOT)}:{line}" for line in state_of(tree)]
    assert not problems, found(problems)


def state_of(tree: ast.Module) -> Iterator[int]:
    """Give the lines at which a module makes, or changes, what it keeps for itself."""
    tables = set()
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            value = statement.value
            if isinstance(value, DISPLAYS) and (
                ast.unparse(value) not in ("[]", "{}") or {*names} <= SENTINELS
            ):
                tables.update(names)
            elif isinstance(value, DISPLAYS) or called(value) in MAKERS:
                yield statement.lineno
    for node in ast.walk(tree):
        if isinstance(node, ast.Global) or changed(node) in tables:
            yield node.lineno  # type: ignore[attr-defined]  # all of these have one


def called(node: ast.AST) -> str:
    """Give the last name of what is called, or nothing."""
    if not isinstance(node, ast.Call):
        return ""
    return ast.unparse(node.func).partition("[")[0].rpartition(".")[2]


def changed(node: ast.AST) -> str:
    """Give the name of the table that a part of the tree changes, or nothing."""
    if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
        return ast.unparse(node.value)
    if called(node) in CHANGES:
        assert isinstance(node, ast.Call)
        return ast.unparse(node.func).rpartition(".")[0]
    if isinstance(node, ast.AugAssign):
        return ast.unparse(node.target)
    return ""


@pytest.mark.parametrize("path", [path for path in FILES if path.parent.name in WINGS], ids=str)
def test_a_wing_only_hands_names_on(path: Path) -> None:
    """The `__init__.py` of a wing has no code of its own."""
    if path.name != "__init__.py":
        return
    kinds = {type(statement) for statement in ast.parse(path.read_text()).body}
    assert kinds <= {ast.Expr, ast.ImportFrom, ast.Import, ast.Assign}


def test_the_top_level_is_tidy() -> None:
    """What is kept lies in five places; everything else that is kept is a dotfile."""
    top = {path.name for path in ROOT.iterdir()}
    if (ROOT / ".git").exists():  # then what is lying about, and not kept, does not count
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
        top = {Path(name).parts[0] for name in listed.stdout.splitlines()}
    kept = {name for name in top if not name.startswith(".")}
    assert kept <= {"pyproject.toml", "penguiflow", "tests", "examples", "docs", "README.md", "LICENSE"}


def test_every_module_says_what_it_is() -> None:
    problems = [str(path.relative_to(ROOT)) for path, tree in trees() if not ast.get_docstring(tree)]
    assert not problems, found(problems)


Function = ast.FunctionDef | ast.AsyncFunctionDef
BLOCKS = (
    ast.If,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.With,
    ast.AsyncWith,
    ast.Try,
    ast.Match,
)


def functions() -> Iterator[tuple[str, Function]]:
    """Give all functions of the package, inner ones too, with where they are and what they are called."""
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, Function):
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", node


def length(function: Function) -> int:
    """Count the lines of a function, its decorators and its docstring aside."""
    lines = (function.end_lineno or 0) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        lines -= (first.end_lineno or 0) - first.lineno + 1
    return lines


def depth(node: ast.AST) -> int:
    """Count how many blocks are inside one another at the deepest place; an inner function begins anew."""
    return max((deeper(node, child) for child in ast.iter_child_nodes(node)), default=0)


def deeper(parent: ast.AST, node: ast.AST) -> int:
    """Count a block and what is in it; an ``elif`` is no deeper than its ``if``."""
    if isinstance(node, Function | ast.ClassDef):
        return 0
    is_elif = isinstance(parent, ast.If) and isinstance(node, ast.If) and parent.orelse == [node]
    return depth(node) + (isinstance(node, BLOCKS) and not is_elif)


def parameters(function: Function) -> int:
    """Count what a caller has to give, or to give in order: options that are given by name don't count."""
    given = function.args
    required = sum(default is None for default in given.kw_defaults)
    names = [parameter.arg for parameter in (*given.posonlyargs, *given.args)]
    return len([name for name in names if name not in ("self", "cls")]) + required


def test_files_are_short() -> None:
    lines = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in FILES}
    problems = [f"{path}: {count} lines" for path, count in lines.items() if count > MOST_LINES]
    assert not problems, found(problems)


def test_functions_are_short() -> None:
    counted = ((where, length(function)) for where, function in functions())
    problems = [f"{where}: {count} lines" for where, count in counted if count > MOST_LINES_OF_A_FUNCTION]
    assert not problems, found(problems)


def test_nothing_is_nested_deep() -> None:
    counted = ((where, depth(function)) for where, function in functions())
    problems = [f"{where}: {count} deep" for where, count in counted if count > MOST_NESTING]
    assert not problems, found(problems)


def test_functions_take_few_parameters() -> None:
    counted = ((where, parameters(function)) for where, function in functions())
    problems = [f"{where}: {count} parameters" for where, count in counted if count > MOST_PARAMETERS]
    assert not problems, found(problems)


def test_how_depth_is_counted() -> None:
    """The measure itself: an ``elif`` chain is one deep, a block in a block is two."""
    chain = "def f():\n if a: pass\n elif b: pass\n elif c: pass"
    nested = "async def f():\n async for a in b:\n  if c: pass\n  else:\n   if d: pass\n   e()"
    assert [depth(ast.parse(text).body[0]) for text in (chain, nested)] == [1, 3]
