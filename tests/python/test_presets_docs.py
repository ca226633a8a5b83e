# SPDX-License-Identifier: Apache-2.0
"""docs/contract.md's tables of presets say what `heed list` says, and what each row was held against."""
import json
import re


def tables(root):
    """First column -> the other columns, for both tables of the section."""
    section = (root / "docs/contract.md").read_text().split("## Presets\n")[1].split("\n## ")[0]
    found = []
    for block in re.split(r"\n\n", section):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines() if line.startswith("|")]
        if rows:
            found.append({row[0].strip("`"): row[1:] for row in rows[2:]})
    return section, found


def test_documents_agree_with_the_table(root, run_heed):
    section, (rules, proofs) = tables(root)
    listed = json.loads(run_heed("list", "--json").stdout)["presets"]
    window = {None: "none", "sides": "(left, right), inclusive", "keys": "W keys counting self"}
    built = [p for p in listed if p["built"]]
    assert [p["name"] for p in built] == list(rules) == list(proofs)
    for p in built:
        offset, empty, lse, reads = rules[p["name"]][:4]
        assert (offset, empty) == (p["offset"], p["empty_row"]), p["name"]
        assert lse == (p["empty_lse"] or "no lse"), p["name"]
        assert reads.startswith(window[p["window"]]) and ("layers" in reads) == p["window_even_layers"], p["name"]
        for version in re.findall(r"\d+(?:\.\d+)+\w*", p["proof"]):
            assert version in proofs[p["name"]][0], f"{p['name']}: {version}"
    for p in listed:
        assert p["built"] or (f"`{p['name']}`" in section and p["proof"] is None), p["name"]
