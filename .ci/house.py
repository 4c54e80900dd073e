"""Checks the sizes of the house: modules, functions, and what stands in it twice."""

import ast
import pathlib
import re
import subprocess
import sys

MODULE, FUNCTION, DUPLICATED = 400, 40, 2.0  # Lines, lines of code, percent.
FOLDERS = ("keras_vae", "trainers", "benchmarks")


def code_lines(node, source):
    """Returns the number of lines of a function without docstrings and comments."""
    strings = {
        line
        for part in ast.walk(node)
        if isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)
        for line in range(part.lineno, part.end_lineno + 1)
    }
    lines = range(node.lineno, node.end_lineno + 1)
    texts = (source[n - 1].strip() for n in lines if n not in strings)
    return sum(bool(text) and not text.startswith("#") for text in texts)


def faults(path):
    """Yields what is too long in a module."""
    text = path.read_text()
    source = text.splitlines()
    if len(source) > MODULE:
        yield f"{path}: {len(source)} lines, at most {MODULE}"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            size = code_lines(node, source)
            if size > FUNCTION:
                yield f"{path}: {node.name} has {size} code lines, at most {FUNCTION}"


def duplicated(paths):
    """Returns the share of lines, in percent, in blocks of six that stand twice."""
    options = ("--ignore-docstrings", "--ignore-imports", "--ignore-signatures")
    command = [sys.executable, "-c", "from pylint import run_symilar; run_symilar()"]
    command += ["--duplicates=6", "--ignore-comments", *options, *map(str, paths)]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(re.search(r"percent=([\d.]+)", report)[1])


def namesakes(folder):
    """Yields test modules whose name another one has: pytest imports but one."""
    loose = (
        path
        for path in sorted(pathlib.Path(folder).rglob("test_*.py"))
        if not (path.parent / "__init__.py").exists()
    )
    first = {}
    for path in loose:
        if first.setdefault(path.name, path) != path:
            yield f"{path}: {first[path.name]} has the same name"


def main():
    """Prints what breaks the rules; exits with 1 where anything does."""
    paths = [path for folder in FOLDERS for path in pathlib.Path(folder).rglob("*.py")]
    found = [fault for path in sorted(paths) for fault in faults(path)]
    found += namesakes("tests")
    percent = duplicated(paths)
    if percent > DUPLICATED:
        found.append(f"{percent}% of the lines stand twice, at most {DUPLICATED}%")
    print("\n".join(found) or f"sizes passed, {percent}% of the lines stand twice")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
