"""The rules of the house that a machine can check: documentation, layering, light imports, clean files."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("photochrom", "chroma", "training", "export", "service")

MOST_LINES = 450
MOST_LINES_OF_A_FUNCTION = 60
MOST_LINES_OF_THE_PAGE = 250
"""Of each file that browsers read: a module, a part of the page, a style sheet."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef


def source_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def place(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)} {getattr(node, 'name', '')}".rstrip()


def public_definitions(path: Path) -> Iterator[Definition]:
    """Yield a module's public classes and functions, and the public methods of the former; setters go with getters."""

    def walk(body: list[ast.stmt]) -> Iterator[Definition]:
        for node in body:
            if not isinstance(node, Definition) or node.name.startswith("_"):
                continue
            if not any(ast.unparse(decorator).endswith(".setter") for decorator in node.decorator_list):
                yield node
                if isinstance(node, ast.ClassDef):
                    yield from walk(node.body)

    yield from walk(ast.parse(path.read_text()).body)


def public_functions(path: Path) -> Iterator[Function]:
    return (node for node in public_definitions(path) if not isinstance(node, ast.ClassDef))


def section(docstring: str, title: str) -> str | None:
    """Return the body of a Google-style docstring section, or None."""
    found = re.search(rf"^{title}:\n((?:[ \t]+.*\n?|\n)*)", docstring + "\n", re.MULTILINE)
    return found.group(1) if found else None


def entries(body: str) -> list[str]:
    """Return the names a section documents: what stands before the colon at the section's own indent."""
    indent = re.match(r"[ \t]*", body)
    width = len(indent.group(0)) if indent else 0
    return re.findall(rf"^[ \t]{{{width}}}(\*{{0,2}}[\w.]+)(?: \([^)]*\))?:", body, re.MULTILINE)


def parameters(node: Function) -> list[str]:
    of = node.args
    names = [argument.arg for argument in of.posonlyargs + of.args]
    names += [f"*{of.vararg.arg}"] if of.vararg else []
    names += [argument.arg for argument in of.kwonlyargs]
    return [name for name in names if name not in {"self", "cls"}]


def raised_names(node: ast.AST) -> set[str]:
    """Return the names of the errors that a function raises and does not catch itself."""
    if isinstance(node, ast.Raise):
        name = ast.unparse(node.exc.func).split(".")[-1] if isinstance(node.exc, ast.Call) else ""
        return {name} if name[:1].isupper() else set()  # lower case: a function that makes the error
    children = [child for child in ast.iter_child_nodes(node) if not isinstance(child, Definition | ast.Lambda)]
    if not isinstance(node, ast.Try):
        return set().union(*map(raised_names, children))
    caught = {name for handler in node.handlers for name in caught_names(handler)}
    tried = set().union(*map(raised_names, node.body)) - caught
    elsewhere = [child for child in children if child not in node.body]
    return (set() if "Exception" in caught else tried).union(*map(raised_names, elsewhere))


def caught_names(handler: ast.ExceptHandler) -> list[str]:
    return re.findall(r"\w+", ast.unparse(handler.type)) if handler.type else ["Exception"]


def tracked_text_files() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listing.returncode != 0:
        pytest.skip("a copy without git does not say which files are tracked")
    suffixes = {".py", ".md", ".txt", ".toml", ".yaml", ".yml", ".json", ".html", ".js", ".css", ".cfg", ".lock", ""}
    paths = [ROOT / name for name in listing.stdout.decode().split("\0") if name]
    return [path for path in paths if path.suffix in suffixes and path.is_file()]


def test_every_public_name_is_documented() -> None:
    silent = [
        place(path, node)
        for path in source_files(*PACKAGES)
        for node in (ast.parse(path.read_text()), *public_definitions(path))
        if not ast.get_docstring(node)
    ]
    assert not silent


def test_args_sections_name_the_parameters() -> None:
    wrong = []
    for path in source_files(*PACKAGES):
        for node in public_functions(path):
            body = section(ast.get_docstring(node) or "", "Args")
            # Further keywords may be told in a sentence instead.
            documented = [name for name in entries(body or "") if not name.startswith("**")]
            if body is not None and documented != parameters(node):
                wrong.append(f"{place(path, node)}: documents {documented}, takes {parameters(node)}")
    assert not wrong


def test_what_is_raised_is_documented() -> None:
    silent = []
    for path in source_files(*PACKAGES):
        for node in public_functions(path):
            raised = raised_names(node) - {"Exit"}  # typer.Exit is how a command returns its status
            documented = section(ast.get_docstring(node) or "", "Raises") or ""
            silent += [f"{place(path, node)}: {name}" for name in sorted(raised) if name not in documented]
    assert not silent


def test_color_science_states_shapes() -> None:
    silent = []
    for path in source_files("chroma"):
        for node in public_functions(path):
            annotations = [argument.annotation for argument in node.args.args + node.args.kwonlyargs]
            arrays = [a for a in (*annotations, node.returns) if a is not None and "np.ndarray" in ast.unparse(a)]
            says_shape = re.search(r"\bshape|\([^)]*[,.][^)]*\)", ast.get_docstring(node) or "")
            if arrays and not says_shape:
                silent.append(place(path, node))
    assert not silent


def test_every_test_asserts() -> None:
    idle = []
    for path in source_files("tests"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test_"):
                continue
            steps = list(ast.walk(node))
            calls = [ast.unparse(step.func) for step in steps if isinstance(step, ast.Call)]
            checks = any(re.search(r"assert|raises|warns|check|^expect\(", name) for name in calls)
            if not checks and not any(isinstance(step, ast.Assert) for step in steps):
                idle.append(place(path, node))
    assert not idle


def test_layers_are_kept() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_files_and_functions_stay_short() -> None:
    """A function above the limit says why beside its `def`."""
    long = []
    for path in source_files(*PACKAGES):
        text = path.read_text()
        lines = text.splitlines()
        long += [place(path, ast.parse(text))] if len(lines) > MOST_LINES else []
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, Function) or "  # " in lines[node.lineno - 1]:
                continue
            if (node.end_lineno or 0) - node.lineno >= MOST_LINES_OF_A_FUNCTION:
                long.append(place(path, node))
    assert not long


def test_no_file_of_the_page_holds_two_ideas() -> None:
    files = [path for path in (ROOT / "service").rglob("*") if path.suffix in (".js", ".css", ".html")]
    assert {".js", ".css", ".html"} == {path.suffix for path in files}
    lengths = {str(path.relative_to(ROOT)): path.read_text().count("\n") for path in files}
    assert not {name: length for name, length in lengths.items() if length > MOST_LINES_OF_THE_PAGE}


IMPORT_PROBE = """
import os, sys
root = os.getcwd() + os.sep
opened = []
def watch(event, args):
    if event == "open" and isinstance(args[0], str):
        path = os.path.abspath(args[0])
        is_ours = path.startswith(root) and not path.startswith(root + ".venv")
        if is_ours and "__pycache__" not in path and path[-3:] != ".py":
            opened.append(path)
sys.addaudithook(watch)
import service.http.app
print(sorted({name.partition(".")[0] for name in sys.modules}))
print(opened)
"""


def test_importing_the_service_is_light() -> None:
    result = subprocess.run([sys.executable, "-c", IMPORT_PROBE], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    modules, opened = map(ast.literal_eval, result.stdout.splitlines())
    assert not set(modules) & {"tensorflow", "keras", "tf2onnx", "torch", "jax", "training", "export"}
    assert opened == []


def test_no_tracked_file_names_a_package_index_or_a_path_of_one_machine() -> None:
    # Put together from halves, so that this file does not find itself.
    addresses = ["index" + "-url", "find" + "-links", "pypi" + ".org", "file:" + "///"]
    pattern = re.compile("|".join(map(re.escape, [*addresses, "pythonhosted" + ".org", "/root" + "/", "/home" + "/"])))
    found = [
        f"{path.relative_to(ROOT)}: {hit.group(0)}"
        for path in tracked_text_files()
        if (hit := pattern.search(path.read_text(errors="replace")))
    ]
    assert not found


def requirement_names(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;]+)", path.read_text(), re.MULTILINE))


@pytest.mark.parametrize("environment", ["service", "gpu", "training", "dev"])
def test_requirement_files_hold_what_the_project_asks_for(environment: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {"training": ["training", "export"], "dev": ["service", "training", "export", "dev"]}.get(
        environment, [environment]
    )

    def asked(requirements: list[str]) -> Iterator[tuple[str, str]]:
        for requirement in requirements:
            if inner := re.match(r"photochrom\[(.+)\]", requirement):
                yield from asked(project["optional-dependencies"][inner.group(1)])
            elif pin := re.match(r"([\w-]+)(?:\[.*\])?==([^ ;]+)", requirement):
                yield pin.group(1), pin.group(2)

    locked = requirement_names(ROOT / "requirements" / f"{environment}.txt")
    wanted = dict(asked(project["dependencies"])) | {
        name: pin for extra in extras for name, pin in asked(project["optional-dependencies"][extra])
    }
    assert wanted
    assert {name: locked.get(name) for name in wanted} == wanted, "run `make lock`"


def test_the_service_environment_holds_no_training_stack() -> None:
    for environment in ("service", "gpu"):
        locked = requirement_names(ROOT / "requirements" / f"{environment}.txt")
        assert locked
        assert not {"tensorflow", "tensorflow-cpu", "keras", "tf2onnx", "onnx", "torch", "jax"} & set(locked)


def test_every_setting_is_documented() -> None:
    from service.settings import Settings

    documented = (ROOT / "docs" / "operating.md").read_text()
    prefix = Settings.model_config.get("env_prefix", "")
    missing = [name for name in Settings.model_fields if f"`{prefix}{name.upper()}`" not in documented]
    assert prefix == "PHOTOCHROM_"
    assert not missing
