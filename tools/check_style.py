#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The parts of STYLE.md that a machine can check."""
import ast
import re
import sys

import tree

FILE_LINES, FUNCTION_LINES, COLUMNS = 800, 60, 132
C = (".c", ".h", ".inl", ".def")
CODE = C + (".py", ".sh", ".cmake", ".in", ".js", ".css")
SCRIPTS = ("Makefile", "CMakeLists.txt", ".ci/run", ".gitignore")
DATA = ("LICENSE",)
SPDX = "SPDX-License-Identifier: Apache-2.0"
# Typography that prose may use; anything else outside of ASCII is a surprise (invisible, look-alike, reordering).
PROSE = set("\u2013\u2014\u2018\u2019\u201c\u201d\u2026\u00d7\u00b7\u00b1\u2264\u2265\u2248\u2192\u221a\u03a3\u00b5")
# Machine paths and hosts have no place in any file. (Written in pieces so that this file passes its own check.)
FORBIDDEN = re.compile("|".join([r"/(?:work|home|root|Users)" + r"/\w", r"(?:pypi|pythonhosted)" + r"\.org",
                                 r"deb" + r"\.debian\.org",
                                 r"(?:archive|ports)" + r"\.ubuntu\.com", r"https?://(?:localhost|127\.|10\.|192\.168\.)"]))
OPEN_TASK = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b(?!\(?#\d+)")
DEFINE = re.compile(r"\s*#\s*define\s+(\w+)(\()?")


def is_code(path):
    return path.endswith(CODE) or path in SCRIPTS


def allowed_macros():
    section = re.search(r"^## Allowed macros$(.*?)(^## |\Z)", tree.read("STYLE.md"), re.M | re.S)
    return set(re.findall(r"`(\w+)[`(]", section.group(1))) if section else set()


def c_functions(lines):
    """(name, first line, length) of each function: a signature at column 0 that opens a brace, up to the brace at column 0."""
    start, name = None, ""
    for number, line in enumerate(lines, 1):
        if start is None:
            opens = re.match(r"[A-Za-z_].*\)\s*\{\s*$", line)
            if opens and not line.startswith(("extern", "typedef", "enum", "struct {")):
                names = re.findall(r"(\w+)\s*\(", line)
                start, name = number, names[0] if names else line
            elif re.match(r"[A-Za-z_][^;{}]*\($|[A-Za-z_][^;{}]*,$", line):
                # a signature over several lines: it opens where a later line ends in `) {`
                for ahead in range(number, min(number + 8, len(lines))):
                    if lines[ahead].rstrip().endswith(") {"):
                        found = re.findall(r"(\w+)\s*\(", line)
                        start, name = number, found[0] if found else line
                        break
                    if lines[ahead].rstrip().endswith((";", "}")):
                        break
        elif line.startswith("}"):
            yield name, start, number - start + 1
            start = None


def check_c(path, lines, macros):
    problems = []
    define = None
    for number, line in enumerate(lines, 1):
        at = f"{path}:{number}"
        started = DEFINE.match(line)
        if started:
            define = started.group(1)
            if started.group(2) and define not in macros:
                problems.append(f"{at}: macro {define}() is not on STYLE.md's list of allowed macros")
        if line.endswith("\\") and define not in macros:
            problems.append(f"{at}: a line that ends in a backslash, outside of an allowed macro")
        if not line.endswith("\\"):
            define = None
        if re.match(r"\s*#\s*if\s+0\b", line):
            problems.append(f"{at}: code that is switched off")
        if re.match(r"\s*/\*", line):
            problems.append(f"{at}: comments begin with //")
    for name, number, length in c_functions(lines):
        if length > FUNCTION_LINES:
            problems.append(f"{path}:{number}: {name} has {length} lines, allowed are {FUNCTION_LINES}")
    return problems


def check_python(path, text):
    problems = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = node.end_lineno - node.lineno + 1
            if length > FUNCTION_LINES:
                problems.append(f"{path}:{node.lineno}: {node.name} has {length} lines, allowed are {FUNCTION_LINES}")
    return problems


def check_line(path, at, line):
    problems = []
    code = is_code(path)
    if "\t" in line and path != "Makefile":
        problems.append(f"{at}: a tab")
    if line != line.rstrip():
        problems.append(f"{at}: blanks (or a carriage return) at the end of the line")
    if code and len(line) > COLUMNS:
        problems.append(f"{at}: {len(line)} columns, allowed are {COLUMNS}")
    odd = sorted({c for c in line if ord(c) > 126 or (ord(c) < 32 and c != "\t")} - (set() if code else PROSE))
    if odd:
        problems.append(f"{at}: characters outside of ASCII: {' '.join(f'U+{ord(c):04X}' for c in odd)}")
    if FORBIDDEN.search(line):
        problems.append(f"{at}: a machine's path or a host's address: '{FORBIDDEN.search(line).group()}'")
    if OPEN_TASK.search(line):
        problems.append(f"{at}: '{OPEN_TASK.search(line).group()}' without an issue's number in parentheses, as in (#12)")
    return problems


def check(path, macros):
    try:
        text = tree.read(path)
    except UnicodeDecodeError:
        return [f"{path}: is not UTF-8 text"]
    lines = text.split("\n")
    problems = []
    if text and lines[-1]:
        problems.append(f"{path}: the last line has no end")
    lines = lines[:-1] if lines and not lines[-1] else lines
    if is_code(path):
        if len(lines) > FILE_LINES:
            problems.append(f"{path}: {len(lines)} lines, allowed are {FILE_LINES}")
        first = lines[1] if lines and lines[0].startswith("#!") and len(lines) > 1 else (lines[0] if lines else "")
        if SPDX not in first and path not in (".gitignore",) and not path.endswith(".pc.in"):
            problems.append(f"{path}:1: the first line is not '{SPDX}'")
    for number, line in enumerate(lines, 1):
        problems += check_line(path, f"{path}:{number}", line)
    if path.endswith(C):
        problems += check_c(path, lines, macros)
    if path.endswith(".py"):
        problems += check_python(path, text)
    return problems


def main():
    macros = allowed_macros()
    paths = [p for p in tree.files() if p not in DATA and not p.startswith("tests/cli/")]
    problems = [p for path in paths for p in check(path, macros)]
    print("\n".join(problems + [f"check_style: {len(paths)} files, {len(problems)} violations"]))
    return bool(problems) or not paths


if __name__ == "__main__":
    sys.exit(main())
