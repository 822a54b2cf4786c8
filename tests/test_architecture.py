"""The house stands as docs/architecture.md draws it: who imports whom, how long files and functions are."""

import ast
import itertools
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "loracle"

ROWS = [
    {"errors"},
    {"files", "wording", "threads"},
    {"lora", "data", "evaluation", "caching"},
    {"models"},
    {"training", "prompting"},
    {"methods"},
    {"planning"},
    {"comparison", "prediction", "inspection"},
    {"reporting", "export", "serving", "scaling"},
    {"api", "configuration", "printing"},
    {"commands"},
    {"cli"},
    {"__main__", "__init__"},
]
ROW_OF = {room: number for number, row in enumerate(ROWS) for room in row}
FILES = sorted(SOURCE.rglob("*.py"))
TRANSFORMERS_ROOMS = {"models", "training"}


def room(path: Path) -> str:
    relative = path.relative_to(SOURCE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def is_module(name: str) -> bool:
    place = SOURCE.parent.joinpath(*name.split("."))
    return place.with_suffix(".py").is_file() or place.is_dir()


def imported_modules(node: ast.AST) -> list[str]:
    found: list[str] = []
    for item in ast.walk(node):
        if isinstance(item, ast.Import):
            found += [alias.name for alias in item.names]
        elif isinstance(item, ast.ImportFrom):
            assert item.level == 0, "relative imports hide the room"
            found.append(item.module or "")
            found += [f"{item.module}.{alias.name}" for alias in item.names if is_module(f"{item.module}.{alias.name}")]
    return found


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def without_type_checking(tree: ast.Module) -> ast.Module:
    """Return the module without its `if TYPE_CHECKING:` blocks."""

    class Strip(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.AST | None:
            return None if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" else node

    return Strip().visit(tree)


def test_there_is_something_to_check() -> None:
    assert len(FILES) > 30
    assert {room(path) for path in FILES} >= {"lora", "data", "training", "methods", "comparison", "cli"}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_room_imports_only_rooms_above_it(path: Path) -> None:
    own = room(path)
    assert own in ROW_OF, f"{own} has no place in the rows"
    for module in imported_modules(parsed(path)):
        if module.startswith("loracle."):
            other = module.split(".")[1]
            assert other == own or ROW_OF[other] < ROW_OF[own], f"{own} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_transformers_is_imported_lazily_and_in_its_rooms_alone(path: Path) -> None:
    tree = without_type_checking(parsed(path))
    top_level = [item for item in tree.body if isinstance(item, ast.Import | ast.ImportFrom)]
    assert not any(name.startswith("transformers") for item in top_level for name in imported_modules(item))
    if room(path) not in TRANSFORMERS_ROOMS:
        assert not any(name.startswith("transformers") for name in imported_modules(tree))


@pytest.mark.parametrize("path", FILES, ids=str)
def test_files_and_functions_stay_short(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= (200 if path.name == "layer.py" else 400), f"{lines} lines"
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            length = node.end_lineno - node.lineno + 1
            assert length <= 60, f"{node.name} has {length} lines"


def test_no_import_cycle_between_modules() -> None:
    names = {path: ".".join(["loracle", *path.relative_to(SOURCE).with_suffix("").parts]) for path in FILES}
    graph = {
        names[path]: set(imported_modules(without_type_checking(parsed(path)))) & set(names.values()) for path in FILES
    }
    state: dict[str, int] = {}

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert state.get(module) != 1, f"cycle: {' -> '.join([*trail, module])}"
        if state.get(module) == 2:
            return
        state[module] = 1
        for other in graph[module]:
            visit(other, (*trail, module))
        state[module] = 2

    for module in graph:
        visit(module, ())


def test_nothing_is_unpickled() -> None:
    for path, module in itertools.product(FILES, ("pickle", "joblib", "dill")):
        assert module not in imported_modules(parsed(path)), path
        assert "torch.load" not in path.read_text(encoding="utf-8"), path
