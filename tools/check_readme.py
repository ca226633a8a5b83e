#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The README quotes examples/forward.c to the letter, and every link of the documents leads to a file that exists."""
import os
import re
import sys

import tree


def program():
    """The README's C program: its only ```c block."""
    blocks = re.findall(r"^```c\n(.*?)^```$", tree.read("README.md"), re.M | re.S)
    if len(blocks) != 1:
        sys.exit(f"check_readme: README.md has {len(blocks)} C programs, expected 1")
    return blocks[0]


def example():
    """examples/forward.c without its SPDX line."""
    return re.sub(r"^// SPDX[^\n]*\n", "", tree.read("examples/forward.c"))


def dead_links(path):
    problems = []
    text = re.sub(r"^```.*?^```$", "", tree.read(path), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if not re.match(r"[a-z]+:", target) and not os.path.exists(os.path.join(tree.ROOT, os.path.dirname(path), target)):
            problems.append(f"{path}: links to {target}, which does not exist")
    return problems


def main():
    if sys.argv[1:] == ["--print"]:
        print(program(), end="")
        return 0
    problems = []
    if program() != example():
        problems.append("README.md: its C program is not examples/forward.c")
    documents = [p for p in tree.files() if p.endswith(".md")]
    problems += [p for document in documents for p in dead_links(document)]
    print("\n".join(problems + [f"check_readme: {len(documents)} documents, {len(problems)} violations"]))
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
