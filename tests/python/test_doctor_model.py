# SPDX-License-Identifier: Apache-2.0
"""heed doctor model: checkpoints against their copies, against ones with one thing wrong, and against what transformers gives."""
import json
import shutil

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
safetensors_torch = pytest.importorskip("safetensors.torch")
numpy = pytest.importorskip("numpy")

VOCABULARY, LAYERS, IDS = 97, 3, [3, 96, 17, 5, 5, 40, 61, 2, 88, 31, 7, 12]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    config = transformers.GPT2Config(vocab_size=VOCABULARY, n_positions=32, n_embd=48, n_layer=LAYERS, n_head=4, resid_pdrop=0.0,
                                     embd_pdrop=0.0, attn_pdrop=0.0, initializer_range=0.15, bos_token_id=0, eos_token_id=0,
                                     attn_implementation="eager")
    made = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for p in made.parameters():
            if p.dim() == 1:
                p.add_(0.1 * torch.randn_like(p))
    return made


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def doctor(run_heed):
    def run(a, b, *more):
        done = run_heed("doctor", "model", a, b, "--json", *more)
        assert done.returncode in (0, 1), done.stderr
        told = json.loads(done.stdout)
        assert done.returncode == (told["verdict"] not in ("SAME", "ROUNDING"))
        return told
    return run


def changed(saved, tmp_path, change, config=None):
    """A copy of the checkpoint in which `change` edited the dict of tensors, and some fields of the config differ."""
    folder = tmp_path / "changed"
    shutil.copytree(saved, folder)
    tensors = safetensors_torch.load_file(str(folder / "model.safetensors"))
    change(tensors)
    safetensors_torch.save_file({k: v.contiguous() for k, v in tensors.items()}, str(folder / "model.safetensors"),
                                metadata={"format": "pt"})
    if config:
        text = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(text | config))
    return folder


def first(told):
    return (told["first"]["component"], told["first"]["layer"])


def not_equal(told):
    return {t["name"]: t["is"] for t in told["weights"]["tensors"] if t["is"] != "equal"}


# ---- Checkpoints ------------------------------------------------------------------------------------------------------

def test_a_copy_is_the_same(saved, tmp_path, doctor):
    told = doctor(saved, changed(saved, tmp_path, lambda t: None))
    assert told["verdict"] == "SAME" and told["first"] is None and not_equal(told) == {}
    assert told["weights"]["counts"]["equal"] == 12 * LAYERS + 4
    assert len(told["components"]) == 14 * LAYERS + 3 and all(c["equal"] for c in told["components"])


@pytest.mark.parametrize("name, where, alters", [
    ("transformer.wte.weight", ("embedding", None), lambda w: w + 1e-4 * torch.randn_like(w)),
    ("transformer.h.0.ln_1.bias", ("norm_1", 0), lambda w: w + 1e-4),
    ("transformer.h.1.attn.c_attn.weight", ("k", 1), lambda w: torch.cat([w[:, :48], w[:, 48:96] * 1.001, w[:, 96:]], 1)),
    ("transformer.h.1.attn.c_attn.bias", ("v", 1), lambda w: torch.cat([w[:96], w[96:] + 1e-4])),
    ("transformer.h.2.attn.c_proj.weight", ("projection", 2), lambda w: w.index_put((torch.tensor(5), torch.tensor(7)),
                                                                                    torch.tensor(0.5))),
    ("transformer.h.2.ln_2.weight", ("norm_2", 2), lambda w: w * 1.0001),
    ("transformer.h.0.mlp.c_fc.weight", ("mlp_in", 0), lambda w: w.flip(1)),
    ("transformer.h.0.mlp.c_proj.bias", ("mlp_out", 0), lambda w: -w),
    ("transformer.ln_f.weight", ("final_norm", None), lambda w: torch.ones_like(w)),
])
def test_one_tensor_changed(saved, tmp_path, doctor, name, where, alters):
    def change(tensors):
        tensors[name] = alters(tensors[name])
    torch.manual_seed(1)
    told = doctor(saved, changed(saved, tmp_path, change))
    assert told["verdict"] == "SEMANTIC" and first(told) == where
    assert not_equal(told) == {name.removeprefix("transformer."): "differs"}
    departs = {(c["component"], c["layer"]) for c in told["components"] if not c["inside"]}
    assert departs == {where} | ({("logits", None)} if "wte" in name else set())    # the first, not what follows from it


def test_a_row_no_token_reads(saved, tmp_path, doctor):
    def change(tensors):
        tensors["transformer.wpe.weight"][30] += 1
    told = doctor(saved, changed(saved, tmp_path, change))
    assert told["verdict"] == "SEMANTIC" and told["first"] is None and not_equal(told) == {"wpe.weight": "differs"}


def test_transposed(saved, tmp_path, doctor):
    def square(tensors):
        tensors["transformer.h.1.attn.c_proj.weight"] = tensors["transformer.h.1.attn.c_proj.weight"].T
    told = doctor(saved, changed(saved, tmp_path, square))
    assert not_equal(told) == {"h.1.attn.c_proj.weight": "transposed"} and first(told) == ("projection", 1)


def test_transposed_and_not_square(saved, tmp_path, doctor):
    def wide(tensors):
        tensors["transformer.h.1.attn.c_attn.weight"] = tensors["transformer.h.1.attn.c_attn.weight"].T
    told = doctor(saved, changed(saved, tmp_path, wide))
    assert told["verdict"] == "SEMANTIC" and not_equal(told) == {"h.1.attn.c_attn.weight": "transposed"}
    assert "c_attn" in told["not_computed"] and told["components"] == []


def test_missing_and_extra(saved, tmp_path, doctor):
    def rename(tensors):
        tensors["transformer.h.1.ln_3.bias"] = tensors.pop("transformer.h.1.ln_2.bias")
    told = doctor(saved, changed(saved, tmp_path, rename))
    assert told["verdict"] == "SEMANTIC" and not_equal(told) == {"h.1.ln_2.bias": "missing", "h.1.ln_3.bias": "extra"}


def test_epsilon_and_heads(saved, tmp_path, doctor):
    told = doctor(saved, changed(saved, tmp_path, lambda t: None, {"layer_norm_epsilon": 1.1e-5}))
    assert told["verdict"] == "SEMANTIC" and first(told) == ("norm_1", 0) and "layer_norm_epsilon" in told["config"][0]
    assert {c["component"] for c in told["components"] if not c["inside"]} <= {"norm_1", "norm_2", "final_norm"}


def test_heads(saved, tmp_path, doctor):
    told = doctor(saved, changed(saved, tmp_path, lambda t: None, {"n_head": 6}))
    assert first(told) == ("attention", 0) and told["config"] == ["n_head: 4 against 6"]


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_copies_in_16_bits(saved, tmp_path, doctor, kind):
    def narrow(tensors):
        for name in tensors:
            tensors[name] = tensors[name].to(kind)
    told = doctor(saved, changed(saved, tmp_path, narrow))
    assert told["verdict"] == "ROUNDING" and told["weights"]["copy"].startswith("B is A rounded to")
    assert set(not_equal(told).values()) == {"rounded"}
    assert max(c["rms"] for c in told["components"]) < 2


def test_a_copy_in_bf16_with_one_defect(saved, tmp_path, doctor):
    def narrow(tensors):
        tensors["transformer.h.2.mlp.c_fc.bias"] += 0.5
        for name in tensors:
            tensors[name] = tensors[name].to(torch.bfloat16)
    assert doctor(saved, changed(saved, tmp_path, narrow))["verdict"] == "SEMANTIC"


# ---- transformers, by hooks -------------------------------------------------------------------------------------------

def capture(model, ids, file, kind=torch.float32, keep=lambda name: True, change=None):
    """What docs/doctor.md shows: outputs of modules by their names, attention as what its projection reads, weights."""
    arrays, hooks = {"ids": torch.tensor(ids)}, []

    def save(name):
        return lambda module, inputs, output: arrays.__setitem__(name, (output[0] if isinstance(output, tuple) else output))

    for name, module in model.named_modules():
        if name and not name.endswith(("resid_dropout", "attn_dropout", "mlp.dropout", ".attn", ".mlp", "transformer")):
            hooks.append(module.register_forward_hook(save(name)))
        if name.endswith("attn.c_proj"):
            at = name.removesuffix("attn.c_proj") + "attention"
            hooks.append(module.register_forward_pre_hook(lambda m, inputs, at=at: arrays.__setitem__(at, inputs[0])))
    with torch.no_grad():
        given = model(torch.tensor(ids), output_attentions=True)
    for hook in hooks:
        hook.remove()
    for layer, weights in enumerate(given.attentions):
        arrays[f"h.{layer}.weights"] = weights
    arrays = {name: a.detach().clone().contiguous() for name, a in arrays.items() if name == "ids" or keep(name)}
    if change:
        change(arrays)
    if str(file).endswith(".npz"):
        numpy.savez(file, **{name: a.numpy() for name, a in arrays.items()})
    else:
        safetensors_torch.save_file(arrays, str(file))


def test_transformers_is_the_same_model(model, saved, tmp_path, doctor):
    capture(model, [IDS, IDS[::-1]], tmp_path / "theirs.safetensors")
    told = doctor(saved, tmp_path)
    assert told["verdict"] == "ROUNDING" and told["ids"] == IDS + IDS[::-1]
    assert len(told["components"]) == 12 * LAYERS + 3    # no scores, and no sum before the MLP
    assert max(c["rms"] for c in told["components"]) < 1.5 and max(c["peak"] for c in told["components"]) < 5


def test_only_the_logits(model, saved, tmp_path, doctor):
    capture(model, [IDS], tmp_path / "theirs.npz", keep=lambda name: name == "lm_head")
    told = doctor(saved, tmp_path / "theirs.npz")
    assert told["verdict"] == "ROUNDING" and [c["component"] for c in told["components"]] == ["logits"]
    assert 0.05 < told["components"][0]["rms"] < 2    # the floor is neither blind nor blank


def test_bf16(model, saved, tmp_path, doctor):
    narrow = transformers.GPT2LMHeadModel.from_pretrained(saved, dtype=torch.bfloat16, attn_implementation="eager").eval()
    capture(narrow, [IDS], tmp_path / "theirs.safetensors")
    told = doctor(saved, tmp_path)
    assert told["verdict"] == "ROUNDING", told["first"]


def test_attention_with_another_scale(model, saved, tmp_path, doctor):
    other = transformers.GPT2LMHeadModel.from_pretrained(saved, attn_implementation="eager").eval()
    attention = other.transformer.h[1].attn
    attention.scaling = 1.0
    attention.scale_attn_weights = False
    capture(other, [IDS], tmp_path / "theirs.npz", keep=lambda name: "weights" not in name)
    told = doctor(saved, tmp_path / "theirs.npz")
    assert told["verdict"] == "SEMANTIC" and first(told) == ("attention", 1)
    assert told["attention"]["layer"] == 1 and ["scale.none"] in [e["ids"] for e in told["attention"]["explanations"]]
    assert [(c["component"], c["layer"]) for c in told["components"] if not c["inside"]] == [("attention", 1)]


@pytest.mark.parametrize("name, where", [
    ("transformer.drop", ("embedding", None)), ("transformer.h.2.ln_1", ("norm_1", 2)), ("transformer.h.0.mlp.act",
                                                                                           ("activation", 0)),
    ("transformer.h.1.mlp.c_proj", ("mlp_out", 1)), ("transformer.h.1", ("out", 1)), ("lm_head", ("logits", None)),
    ("h.0.weights", ("weights", 0)),
])
def test_one_captured_array_is_wrong(model, saved, tmp_path, doctor, name, where):
    def change(arrays):
        arrays[name] *= 1.0001
    capture(model, [IDS], tmp_path / "theirs.npz", change=change)
    assert first(doctor(saved, tmp_path / "theirs.npz")) == where


def test_a_nan_is_found_where_it_was_born(model, saved, tmp_path, doctor):
    other = transformers.GPT2LMHeadModel.from_pretrained(saved, attn_implementation="eager").eval()
    hook = other.transformer.h[1].mlp.act.register_forward_hook(lambda m, i, output: output.index_fill(1, torch.tensor([4]),
                                                                                                      float("nan")))
    capture(other, [IDS], tmp_path / "theirs.npz")
    hook.remove()
    told = doctor(saved, tmp_path / "theirs.npz")
    assert told["verdict"] == "NAN" and first(told) == ("activation", 1) and not told["first"]["finite"]


# ---- What cannot be done ----------------------------------------------------------------------------------------------

def refused(run_heed, status, words, *arguments):
    done = run_heed("doctor", "model", *arguments)
    assert done.returncode == status and words in done.stderr and len(done.stderr.splitlines()) == 1, (done.returncode, done.stderr)


def test_refusals(model, saved, tmp_path, run_heed):
    refused(run_heed, 64, "model compares two", saved)
    refused(run_heed, 64, "hf download", saved, "nobody/nothing")
    refused(run_heed, 64, "--prompt and --ids", saved, saved, "--ids", "1", "--prompt", "x")
    refused(run_heed, 5, "id 97 is none of the model's 97", saved, saved, "--ids", "3,97")
    refused(run_heed, 5, "33 tokens, but the model has 32 positions", saved, saved, "--ids", ",".join(["1"] * 33))
    refused(run_heed, 5, "no id", saved, saved, "--ids", "3,x")
    (tmp_path / "empty").mkdir()
    refused(run_heed, 5, "no checkpoint, no capture", saved, tmp_path / "empty")
    refused(run_heed, 64, "the checkpoint is named first", tmp_path / "empty", saved)
    numpy.savez(tmp_path / "odd.npz", logits=numpy.zeros((12, 96), "f4"), ids=numpy.array(IDS))
    refused(run_heed, 5, "rows of 97", saved, tmp_path / "odd.npz")
    numpy.savez(tmp_path / "none.npz", nothing=numpy.zeros(3))
    refused(run_heed, 5, "no array of the capture has the name of a component", saved, tmp_path / "none.npz")
    numpy.savez(tmp_path / "objects.npz", logits=numpy.array([None]), allow_pickle=True)
    refused(run_heed, 3, "object", saved, tmp_path / "objects.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "odd.npz").read_bytes()[:200])
    refused(run_heed, 5, "cut.npz", saved, tmp_path / "cut.npz")
    shutil.copytree(saved, tmp_path / "half")
    (tmp_path / "half" / "model.safetensors").write_bytes((saved / "model.safetensors").read_bytes()[:5000])
    refused(run_heed, 5, "model.safetensors", saved, tmp_path / "half")


def test_for_people(model, saved, tmp_path, run_heed):
    def change(tensors):
        tensors["transformer.h.1.mlp.c_fc.weight"][3, 5] += 0.25
    done = run_heed("doctor", "model", saved, changed(saved, tmp_path, change), "--ids", "1,2,3")
    assert done.returncode == 1
    assert "SEMANTIC  another model" in done.stdout and "first        mlp_in of layer 1" in done.stdout
    assert "1 elements, at most by 0.25" in done.stdout
