# SPDX-License-Identifier: Apache-2.0
"""GPT-2 against transformers: logits, every gradient, ten training losses, checkpoints both ways, padding, packing."""
import json
import math
import subprocess

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
safetensors_torch = pytest.importorskip("safetensors.torch")

import train_rows    # noqa: E402

VOCABULARY, POSITIONS = 97, 40


def small():
    """A random GPT-2, its weights large enough that attention is far from uniform."""
    torch.manual_seed(3)
    config = transformers.GPT2Config(vocab_size=VOCABULARY, n_positions=POSITIONS, n_embd=48, n_layer=3, n_head=4,
                                     resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, initializer_range=0.15, bos_token_id=0,
                                     eos_token_id=0)
    model = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 1:
                p.add_(0.1 * torch.randn_like(p))
    return model


def random_batches(count, rows, length):
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(0, VOCABULARY, (count, rows, length), generator=generator)
    target = torch.full_like(ids, -1)
    target[:, :, :-1] = ids[:, :, 1:]
    position = torch.arange(length).expand(count, rows, length)
    return {"id": ids, "position": position, "target": target}


def write(path, batches):
    safetensors_torch.save_file({k: v.to(torch.int32).contiguous() for k, v in batches.items()}, str(path))


def run(tool, *arguments):
    return subprocess.run([str(tool("gpt2")), *map(str, arguments)], capture_output=True, text=True, timeout=120)


def gradient(tool, tmp_path, folder, batches, attention="flash_attention_2", *more):
    """(logits, {name: gradient}, sum of losses, scored) by heed."""
    write(tmp_path / "batch.safetensors", batches)
    done = run(tool, "gradient", folder, tmp_path / "batch.safetensors", tmp_path / "out.safetensors", attention, *more)
    assert done.returncode == 0, done.stderr
    tensors = safetensors_torch.load_file(str(tmp_path / "out.safetensors"))
    loss, scored = done.stdout.split()
    return tensors.pop("logits"), tensors, float(loss), int(scored)


def sum_of_losses(model, ids, position, target, mask=None):
    logits = model(ids, position_ids=position, attention_mask=mask).logits
    flat = target.reshape(-1)
    return logits, torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), flat, ignore_index=-1, reduction="sum")


def assert_close(got, want, what, bound=2e-5):
    """Within rounding of f32: `want` is computed in double; the scale is the tensor's own."""
    error = (got.double() - want.double()).abs().max().item()
    scale = want.abs().max().item()
    assert error <= bound * (scale + 1e-3), f"{what}: off by {error:.3g} at a scale of {scale:.3g}"


@pytest.mark.parametrize("attention", ["flash_attention_2", "eager"])
def test_logits_and_gradients(tool, tmp_path, attention):
    model = small()
    model.save_pretrained(tmp_path / "model")
    batches = random_batches(1, 3, 23)
    model = model.double()
    logits, loss = sum_of_losses(model, *(batches[k][0] for k in ("id", "position", "target")))
    loss.backward()
    got_logits, gradients, got_loss, scored = gradient(tool, tmp_path, tmp_path / "model", batches, attention)
    assert scored == 3 * 22
    assert abs(got_loss - loss.item()) <= 1e-6 * loss.item()
    assert_close(got_logits, logits.detach(), "logits")
    names = {name for name, _ in model.named_parameters()}
    assert names == set(gradients)
    for name, p in model.named_parameters():
        assert_close(gradients[name], p.grad, name)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding(tool, tmp_path, side):
    """Rows of different length in one batch are what each row is alone."""
    model = small()
    model.save_pretrained(tmp_path / "model")
    lengths, width = [20, 7, 13], 20
    whole = random_batches(1, len(lengths), width)
    batches = {"id": torch.zeros_like(whole["id"]), "position": torch.zeros_like(whole["id"]),
               "target": torch.full_like(whole["id"], -1), "range": torch.zeros(1, len(lengths), 2)}
    model = model.double()
    total, alone = 0, []
    for row, n in enumerate(lengths):
        first = width - n if side == "left" else 0
        ids, position = whole["id"][0, row, :n], torch.arange(n)
        target = torch.cat([ids[1:], torch.tensor([-1])])
        for name, value in (("id", ids), ("position", position), ("target", target)):
            batches[name][0, row, first:first + n] = value
        batches["range"][0, row] = torch.tensor([first, first + n])
        logits, loss = sum_of_losses(model, ids[None], position[None], target[None])
        total = total + loss
        alone.append((row, first, n, logits.detach()[0]))
    total.backward()
    got_logits, gradients, got_loss, _ = gradient(tool, tmp_path, tmp_path / "model", batches)
    assert torch.isfinite(got_logits).all()
    assert abs(got_loss - total.item()) <= 1e-6 * total.item()
    for row, first, n, logits in alone:
        assert_close(got_logits[row, first:first + n], logits, f"logits of row {row}")
    for name, p in model.named_parameters():
        assert_close(gradients[name], p.grad, name)

    # The same from transformers itself, padded and given the same position ids.
    mask = torch.zeros(len(lengths), width, dtype=torch.long)
    for row, first, n, _ in alone:
        mask[row, first:first + n] = 1
    with torch.no_grad():
        padded, _ = sum_of_losses(model, batches["id"][0], batches["position"][0], batches["target"][0], mask)
    for row, first, n, _ in alone:
        assert_close(got_logits[row, first:first + n], padded[row, first:first + n], f"padded logits of row {row}")


def test_packed_documents(tool, tmp_path):
    model = small()
    model.save_pretrained(tmp_path / "model")
    batches = random_batches(1, 1, 21)
    batches["document"] = torch.zeros_like(batches["id"])
    batches["position"] = batches["position"].clone()
    model = model.double()
    total, begin = 0, 0
    for document, n in enumerate([5, 9, 7]):
        part = slice(begin, begin + n)
        batches["document"][0, 0, part] = document
        batches["position"][0, 0, part] = torch.arange(n)
        batches["target"][0, 0, begin + n - 1] = -1
        _, loss = sum_of_losses(model, *(batches[k][0, :, part].clone() for k in ("id", "position", "target")))
        total = total + loss
        begin += n
    total.backward()
    _, gradients, got_loss, _ = gradient(tool, tmp_path, tmp_path / "model", batches)
    assert abs(got_loss - total.item()) <= 1e-6 * total.item()
    for name, p in model.named_parameters():
        assert_close(gradients[name], p.grad, name)


def adamw_for(model, rate, decay):
    """The groups of the Hugging Face Trainer: no decay for norms and biases."""
    plain = [p for n, p in model.named_parameters() if p.dim() == 1]
    decayed = [p for n, p in model.named_parameters() if p.dim() > 1]
    return torch.optim.AdamW([{"params": decayed, "weight_decay": decay}, {"params": plain, "weight_decay": 0.0}], lr=rate)


def test_ten_losses_and_the_checkpoint(tool, tmp_path):
    """Ten steps of AdamW with clipping, the same weights and batches; then transformers opens what heed saved."""
    model = small()
    model.save_pretrained(tmp_path / "model")
    batches = random_batches(10, 4, 16)
    write(tmp_path / "batches.safetensors", batches)
    (tmp_path / "saved").mkdir()
    done = run(tool, "train", tmp_path / "model", tmp_path / "batches.safetensors", tmp_path / "saved", "flash_attention_2",
               1e-2, 0.1, 1.0)
    assert done.returncode == 0, done.stderr
    got = [tuple(map(float, line.split())) for line in done.stdout.splitlines()]
    optimizer = adamw_for(model, 1e-2, 0.1)
    want = []
    for i in range(10):
        optimizer.zero_grad()
        target = batches["target"][i]
        _, loss = sum_of_losses(model, batches["id"][i], batches["position"][i], target)
        loss = loss / (target >= 0).sum()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        want.append((loss.item(), norm.item()))
    for i, ((loss, norm), (want_loss, want_norm)) in enumerate(zip(got, want, strict=True)):
        assert abs(loss - want_loss) <= 1e-4 * want_loss, f"loss {i + 1}: {loss}, PyTorch {want_loss}"
        assert abs(norm - want_norm) <= 1e-3 * want_norm, f"gradient norm {i + 1}: {norm}, PyTorch {want_norm}"

    opened = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    assert opened.config.to_dict()["n_embd"] == 48 and opened.lm_head.weight is opened.transformer.wte.weight
    for name, p in model.named_parameters():
        got, want = dict(opened.named_parameters())[name].detach(), p.detach()
        if name.endswith("c_attn.bias"):    # the same added to every key changes nothing: k's part has only noise for a gradient
            got, want = (torch.cat([t[:48], t[96:]]) for t in (got, want))
        assert torch.allclose(got, want, atol=2e-3), f"{name} after ten steps"
    again, _, _, _ = gradient(tool, tmp_path, tmp_path / "saved", {k: v[:1] for k, v in batches.items()})
    with torch.no_grad():
        logits = opened.double()(batches["id"][0], position_ids=batches["position"][0]).logits
    assert_close(again, logits, "logits of the saved checkpoint")


# ---- dropout ----

def words(key, *counter):
    return train_rows.philox(key, counter)


class Mask(torch.nn.Module):
    """In place of a dropout module: keeps what heed's rule keeps. places(shape) gives (row, head, batch) of each line."""

    def __init__(self, p, key, places):
        super().__init__()
        self.p, self.key, self.places = p, key, places

    def forward(self, x):
        lines, width = x.reshape(-1, x.shape[-1]), x.shape[-1]
        keep = [[w >= self.p * 2**32 for block in range((width + 3) // 4)
                 for w in words(self.key, block, *self.places(line, x.shape))] for line in range(lines.shape[0])]
        return x * (torch.tensor(keep)[:, :width].reshape(x.shape) / (1 - self.p))


def mask_dropout(model, seed, monkeypatch):
    """The rule of model/gpt2_block.h and gpt2_run.c, written again. Attention calls the function, layer after layer."""
    config, attention = model.config, []
    monkeypatch.setattr(torch.nn.functional, "dropout", lambda x, p, training: attention.pop(0)(x))
    activation = [lambda line, shape, place=place, layer=layer: (line, place, layer) for place in range(3) for layer in range(4)]
    model.transformer.drop = Mask(config.embd_pdrop, seed, activation[0])
    for i, block in enumerate(model.transformer.h):
        low, high, *_ = words(seed, i, 0, 0, 0x61747464)
        attention.append(Mask(config.attn_pdrop, high << 32 | low, lambda line, shape: (
            line % shape[2], line // shape[2] % shape[1], line // shape[2] // shape[1])))
        block.attn.resid_dropout = Mask(config.resid_pdrop, seed, activation[4 + i + 1])
        block.mlp.dropout = Mask(config.resid_pdrop, seed, activation[8 + i + 1])


@pytest.mark.parametrize("attention", ["flash_attention_2", "eager"])
def test_dropout_gradients(tool, tmp_path, monkeypatch, attention):
    """With the masks fed to PyTorch: the same gradients; and logits, which are evaluation, as if there were no dropout."""
    model = small()
    model.save_pretrained(tmp_path / "model")
    changed_files(tmp_path / "model", embd_pdrop=0.1, attn_pdrop=0.25, resid_pdrop=0.2)
    batches = random_batches(1, 3, 23)
    batch = [batches[k][0] for k in ("id", "position", "target")]
    with torch.no_grad():
        plain, _ = sum_of_losses(model.double().eval(), *batch)
    masked = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "model", attn_implementation="eager").double().train()
    mask_dropout(masked, 7, monkeypatch)
    _, loss = sum_of_losses(masked, *batch)
    loss.backward()
    logits, gradients, got_loss, _ = gradient(tool, tmp_path, tmp_path / "model", batches, attention)
    assert_close(logits, plain, "logits")
    assert abs(got_loss - loss.item()) <= 1e-6 * loss.item()
    for name, p in masked.named_parameters():
        assert_close(gradients[name], p.grad, name)


# ---- bf16 ----

def autocast_gradients(model, ids, position, target):
    """By torch.autocast: bf16 products and attention, f32 weights, norms and loss."""
    model.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits, loss = sum_of_losses(model, ids, position, target)
    loss.backward()
    return logits.detach().float(), {name: p.grad.clone() for name, p in model.named_parameters()}


def distance(got, want):
    return ((got.double() - want).norm() / want.norm()).item()


@pytest.mark.parametrize("attention", ["flash_attention_2", "eager"])
def test_bf16_gradients(tool, tmp_path, attention):
    """heed's bf16 is as near to the gradient in double as PyTorch's autocast is, in every parameter and in the logits."""
    model = small()
    model.save_pretrained(tmp_path / "model")
    batches = random_batches(1, 6, 37)
    batch = [batches[k][0] for k in ("id", "position", "target")]
    other_logits, other = autocast_gradients(model, *batch)
    exact = small().double()
    logits, loss = sum_of_losses(exact, *batch)
    loss.backward()
    got_logits, got, got_loss, scored = gradient(tool, tmp_path, tmp_path / "model", batches, attention, "bf16")
    assert scored == 6 * 36
    assert abs(got_loss - loss.item()) <= 5e-3 * loss.item()
    want = {name: p.grad for name, p in exact.named_parameters()}
    errors = {"logits": (distance(got_logits, logits), distance(other_logits, logits))}
    errors |= {name: (distance(got[name], want[name]), distance(other[name], want[name])) for name in want}
    for name, (ours, theirs) in errors.items():
        assert 1e-5 < ours, f"{name} is too exact ({ours:.2g}) to have been computed in bf16"
        assert ours <= 2 * theirs, f"{name}: off by {ours:.3g} of its length, PyTorch's autocast by {theirs:.3g}"
    mean = [sum(e[side] for e in errors.values()) / len(errors) for side in (0, 1)]
    assert mean[0] <= 1.2 * mean[1], f"on average off by {mean[0]:.3g}, PyTorch's autocast by {mean[1]:.3g}"


def test_bf16_training_curve(tool, tmp_path):
    """Thirty steps: the losses stay as near to those of f32 as PyTorch's autocast does, and the saved weights are f32."""
    steps = 30
    model = small()
    model.save_pretrained(tmp_path / "model")
    batches = random_batches(3, 4, 16)
    batches = {k: v.repeat(steps // 3, 1, 1) for k, v in batches.items()}
    write(tmp_path / "batches.safetensors", batches)
    curves = []
    for more in ([], ["bf16"]):
        (tmp_path / "saved").mkdir(exist_ok=True)
        done = run(tool, "train", tmp_path / "model", tmp_path / "batches.safetensors", tmp_path / "saved", "flash_attention_2",
                   1e-3, 0.1, 1.0, *more)
        assert done.returncode == 0, done.stderr
        curves.append([float(line.split()[0]) for line in done.stdout.splitlines()])
    optimizer = adamw_for(model, 1e-3, 0.1)
    theirs = []
    for i in range(steps):
        target = batches["target"][i]
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            _, loss = sum_of_losses(model, batches["id"][i], batches["position"][i], target)
        loss = loss / (target >= 0).sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        theirs.append(loss.item())
    f32, ours = curves
    assert f32[-1] < 0.5 * f32[0]
    gap = [math.sqrt(sum((x / y - 1) ** 2 for x, y in zip(side, f32, strict=True)) / steps) for side in (ours, theirs)]
    assert 0 < gap[0] <= 2 * gap[1], f"bf16 leaves the losses of f32 by {gap[0]:.3g}, PyTorch's autocast by {gap[1]:.3g}"
    saved = safetensors_torch.load_file(str(tmp_path / "saved" / "model.safetensors"))
    weight = saved["transformer.h.0.attn.c_attn.weight"]
    assert weight.dtype == torch.float32 and not torch.equal(weight, weight.bfloat16().float())


def changed_files(folder, **fields):
    config = json.loads((folder / "config.json").read_text())
    config.update(fields)
    (folder / "config.json").write_text(json.dumps(config))


def test_checkpoint_variants(tool, tmp_path):
    """Names without prefix, the head stored twice, old mask buffers, half precision: all the same model."""
    model = small()
    model.save_pretrained(tmp_path / "model")
    batches = random_batches(1, 2, 9)
    want, *_ = gradient(tool, tmp_path, tmp_path / "model", batches)
    file = tmp_path / "model" / "model.safetensors"
    tensors = safetensors_torch.load_file(str(file))
    plain = {name.removeprefix("transformer."): t for name, t in tensors.items()}
    for i in range(3):
        plain[f"h.{i}.attn.bias"] = torch.ones(1, 1, POSITIONS, POSITIONS, dtype=torch.bool)
        plain[f"h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
    plain["lm_head.weight"] = plain["wte.weight"].clone()
    safetensors_torch.save_file(plain, str(file))
    got, *_ = gradient(tool, tmp_path, tmp_path / "model", batches)
    assert torch.equal(got, want)
    for dtype in (torch.bfloat16, torch.float16):
        safetensors_torch.save_file({n: t.to(dtype) for n, t in tensors.items()}, str(file))
        got, *_ = gradient(tool, tmp_path, tmp_path / "model", batches)
        rounded = small().to(dtype).double()
        with torch.no_grad():
            logits = rounded(batches["id"][0], position_ids=batches["position"][0]).logits
        assert_close(got, logits, f"logits of {dtype} weights")


@pytest.mark.parametrize("field, value", [
    ("activation_function", "relu"), ("scale_attn_by_inverse_layer_idx", True), ("reorder_and_upcast_attn", True),
    ("add_cross_attention", True), ("tie_word_embeddings", False), ("scale_attn_weights", False), ("model_type", "llama"),
    ("sliding_window", 4), ("n_head", 5), ("n_layer", 0), ("vocab_size", -3), ("n_embd", 1 << 40), ("layer_norm_epsilon", "small")])
def test_config_fields_that_change_arithmetic(tool, tmp_path, field, value):
    small().save_pretrained(tmp_path / "model")
    changed_files(tmp_path / "model", **{field: value})
    write(tmp_path / "batch.safetensors", random_batches(1, 1, 4))
    done = run(tool, "gradient", tmp_path / "model", tmp_path / "batch.safetensors", tmp_path / "out.safetensors", "auto")
    assert done.returncode in (3, 5) and field in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.parametrize("damage", ["missing", "extra", "shape", "dtype", "head", "cut"])
def test_damaged_weights(tool, tmp_path, damage):
    small().save_pretrained(tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    tensors = safetensors_torch.load_file(str(file))
    name = "transformer.h.1.mlp.c_fc.weight"
    if damage == "missing":
        del tensors[name]
    elif damage == "extra":
        name = "transformer.h.9.ln_1.weight"
        tensors[name] = torch.zeros(48)
    elif damage == "shape":
        tensors[name] = tensors[name].t().contiguous()
    elif damage == "dtype":
        tensors[name] = tensors[name].to(torch.int32)
    elif damage == "head":
        name = "lm_head.weight"
        tensors[name] = torch.zeros(VOCABULARY, 48)
    safetensors_torch.save_file(tensors, str(file))
    if damage == "cut":
        name = "model.safetensors"
        file.write_bytes(file.read_bytes()[:-100])
    write(tmp_path / "batch.safetensors", random_batches(1, 1, 4))
    done = run(tool, "gradient", tmp_path / "model", tmp_path / "batch.safetensors", tmp_path / "out.safetensors", "auto")
    assert done.returncode in (3, 5) and name in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
