#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Lets a CUDA build of PyTorch be imported where there is no CUDA: tools/cuda_stubs.py FOLDER/torch/lib

PyPI's PyTorch for x86-64 links NVIDIA's libraries, gigabytes that its CPU code never calls. The loader only wants every name
to exist. So one library is compiled that defines the names torch's own libraries lack, each answering "no device"; it is
put beside them under the names of the libraries it stands for, where they are looked for first.
"""
import pathlib
import re
import subprocess
import sys

FOREIGN = re.compile(r"(_*cu|nccl|nvtx)[A-Za-z0-9_]*$")   # how NVIDIA's C functions begin
LIBRARY = re.compile(r"lib(cu|nv|nccl)[^/]*\.so[.0-9]*$")
NO_DEVICE = 100                                           # cudaErrorNoDevice, and an error to the other libraries too


def readelf(option, library):
    return subprocess.run(["readelf", option, "-W", library], capture_output=True, text=True, check=True).stdout


def missing(folder):
    """Sonames nobody here has, and the functions they should define: name -> version ("" without one)."""
    sonames, functions = set(), {}
    here = {p.name for p in folder.iterdir() if not p.is_symlink()}
    for library in folder.glob("lib*.so*"):
        if library.is_symlink() or library.name == "libstubs.so":
            continue
        sonames |= set(re.findall(r"\(NEEDED\).*\[(.*)\]", readelf("-d", library)))
        for line in readelf("--dyn-syms", library).splitlines():
            field = line.split()
            if len(field) >= 8 and field[6] == "UND":
                name, _, version = field[7].partition("@")
                if FOREIGN.match(name):
                    functions[name] = version
    return sorted(n for n in sonames - here if LIBRARY.match(n)), functions


def main(folder):
    sonames, functions = missing(folder)
    source = "".join(f"int {name}(void) {{ return {NO_DEVICE}; }}\n" for name in functions)
    nodes = {v: [f for f in functions if functions[f] == v] for v in functions.values() if v}
    script = folder / "libstubs.map"
    script.write_text("".join(f"{version} {{ {'; '.join(names)}; }};\n" for version, names in nodes.items()))
    subprocess.run(["cc", "-shared", "-fPIC", "-w", "-fno-builtin", f"-Wl,--version-script={script}", "-x", "c", "-", "-o",
                    folder / "libstubs.so"], input=source, text=True, check=True)
    for name in sonames:
        link = folder / name
        link.unlink(missing_ok=True)
        link.symlink_to("libstubs.so")
    print(f"{len(functions)} functions for {len(sonames)} libraries: {' '.join(sonames)}")


if __name__ == "__main__":
    if len(sys.argv) != 2 or not pathlib.Path(sys.argv[1]).is_dir():
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]))
