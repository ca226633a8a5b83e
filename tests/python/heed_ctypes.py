# SPDX-License-Identifier: Apache-2.0
"""Mirrors of include/heed/heed.h for ctypes; test_attention_torch.py checks sizes and offsets against the compiler's."""
import ctypes
from ctypes import CFUNCTYPE, POINTER, Structure, byref, c_bool, c_char, c_char_p, c_double, c_float, c_int, c_int64
from ctypes import c_size_t, c_uint, c_uint64, c_void_p

OK, INVALID, REFUSED = 0, 1, 2
F32, BF16, F16, INT8 = 1, 2, 3, 4
FORWARD, BACKWARD = 0, 1
BOTTOM_RIGHT, TOP_LEFT, OFFSET = 0, 1, 2
SINKS, SLOPES, BIAS, MASK, KEY_RANGE, KEY_COUNT, OFFSETS, DOCUMENTS, BIAS_FIRST = (1 << n for n in range(9))
AXIS_BATCH, AXIS_HEAD, AXIS_QUERY, AXIS_KEY = 1, 2, 4, 8


class Error(Structure):
    _fields_ = [("status", c_int), ("text", c_char * 252)]


class Stride(Structure):
    _fields_ = [(name, c_int64) for name in ("batch", "head", "token")]


class GridStride(Structure):
    _fields_ = [(name, c_int64) for name in ("batch", "head", "query", "key")]


class Mask(Structure):
    _fields_ = [("kind", c_void_p), ("i", c_int64 * 3), ("data", c_void_p)]


class Score(Structure):
    _fields_ = [("kind", c_void_p), ("f", c_double * 2), ("data", c_void_p)]


class Pos(Structure):
    _fields_ = [(name, c_int64) for name in ("batch", "head", "row", "position", "key")]


VISIBLE = CFUNCTYPE(c_bool, POINTER(Mask), Pos)
SCORE_OF = CFUNCTYPE(c_double, POINTER(Score), Pos, c_double)    # value and slope


class MaskKind(Structure):
    _fields_ = [("name", c_char_p), ("visible", VISIBLE), ("classify", c_void_p), ("keys_of_row", c_void_p), ("axes", c_uint)]


class ScoreKind(Structure):
    _fields_ = [("name", c_char_p), ("value", SCORE_OF), ("slope", SCORE_OF), ("tile", c_void_p)]


class Problem(Structure):
    _fields_ = [(name, c_int64) for name in ("batch", "heads", "kv_heads", "queries", "keys", "channels", "value_channels")] + [
        ("dtype", c_int), ("kv_dtype", c_int), ("pass_", c_int), ("with_", c_uint), ("align", c_int), ("offset", c_int64),
        ("empty_row", c_int), ("scale", c_double), ("dropout", c_double), ("page_size", c_int64), ("page_count", c_int64),
        ("ragged", c_bool), ("score", Score * 4), ("mask", Mask * 4)] + [
        (name, Stride) for name in ("q", "k", "v", "out", "dout", "dq", "dk", "dv")] + [
        ("bias_dtype", c_int), ("bias_axes", c_uint), ("mask_axes", c_uint), ("bias", GridStride), ("bool_mask", GridStride)]


class Args(Structure):
    _fields_ = [(name, c_void_p) for name in (
        "q", "k", "v", "out", "lse", "sinks", "slopes", "bias", "mask", "key_range", "key_count", "offsets", "documents",
        "query_start", "key_start", "pages", "k_scale", "v_scale")] + [("seed", c_uint64)] + [(name, c_void_p) for name in (
            "dout", "dq", "dk", "dv", "dbias", "dsinks", "dslopes", "workspace")] + [("workspace_bytes", c_size_t)]


class Choice(Structure):
    _fields_ = [("implementation", c_char_p), ("cpu", c_char_p), ("threads", c_int), ("parallel", c_void_p), ("pool", c_void_p)]


class Wanted(Structure):
    _fields_ = [(name, POINTER(c_int64)) for name in ("heads", "rows", "keys")] + [
        (name, c_int64) for name in ("n_heads", "n_rows", "n_keys")] + [(name, c_void_p) for name in (
            "row_raw", "row_edited", "row_masked", "row_weights", "key_raw", "key_edited", "key_masked", "key_weights",
            "entropy", "largest", "largest_at")]


class Preset(Structure):
    _fields_ = [(name, c_char_p) for name in ("name", "system", "proof", "refused")] + [
        ("sets_align", c_bool), ("align", c_int), ("empty_row", c_int), ("window", c_int), ("window_even_layers", c_bool),
        ("gives_lse", c_bool), ("alibi_by_key", c_bool), ("one_mask", c_bool), ("empty_lse", c_float)]


MIRRORS = {"heed_error": Error, "heed_stride": Stride, "heed_grid_stride": GridStride, "heed_mask": Mask, "heed_score": Score,
           "heed_pos": Pos, "heed_mask_kind": MaskKind, "heed_score_kind": ScoreKind,
           "heed_problem": Problem, "heed_args": Args, "heed_choice": Choice,
           "heed_wanted": Wanted, "heed_preset": Preset}


class HeedError(Exception):
    """A status that is not OK, with its sentence."""
    def __init__(self, status, error):
        super().__init__(error.text.decode())
        self.status = status


def load(path):
    heed = ctypes.CDLL(str(path))
    heed.heed_version.restype = c_char_p
    heed.heed_problem_parse.argtypes = [POINTER(Problem), c_char_p, POINTER(Error)]
    heed.heed_problem_print.argtypes, heed.heed_problem_print.restype = [POINTER(Problem), c_char_p, c_size_t], c_size_t
    heed.heed_plan_create.argtypes = [POINTER(c_void_p), POINTER(Problem), POINTER(Choice), POINTER(Error)]
    heed.heed_plan_destroy.argtypes = [c_void_p]
    heed.heed_workspace_bytes.argtypes, heed.heed_workspace_bytes.restype = [c_void_p], c_size_t
    heed.heed_plan_implementation.argtypes, heed.heed_plan_implementation.restype = [c_void_p], c_char_p
    heed.heed_inspect_bytes.argtypes, heed.heed_inspect_bytes.restype = [c_void_p], c_size_t
    heed.heed_inspect.argtypes = [c_void_p, POINTER(Args), POINTER(Wanted), POINTER(Error)]
    heed.heed_preset_find.argtypes, heed.heed_preset_find.restype = [c_char_p], POINTER(Preset)
    heed.heed_preset_window.argtypes = [POINTER(Preset), c_int64, c_int64, c_int64, POINTER(Mask), POINTER(Error)]
    heed.heed_preset_lse.argtypes = [POINTER(Preset), POINTER(Problem), POINTER(Args), POINTER(Error)]
    heed.heed_run.argtypes = [c_void_p, POINTER(Args), POINTER(Error)]
    return heed


def parse(heed, text):
    problem, error = Problem(), Error()
    status = heed.heed_problem_parse(byref(problem), text.encode(), byref(error))
    if status != OK:
        raise HeedError(status, error)
    return problem


def preset(heed, name):
    return heed.heed_preset_find(name.encode())


def preset_window(heed, name, left, right=0, layer=0):
    """What a window of the preset's own system means, as a mask of a problem."""
    mask, error = Mask(), Error()
    status = heed.heed_preset_window(preset(heed, name), layer, left, right, byref(mask), byref(error))
    if status != OK:
        raise HeedError(status, error)
    return mask


def preset_lse(heed, name, problem, args):
    """args.lse, filled by a run, becomes the preset's."""
    error = Error()
    status = heed.heed_preset_lse(preset(heed, name), byref(problem), byref(args), byref(error))
    if status != OK:
        raise HeedError(status, error)


class Plan:
    """A plan and its workspace; run(args) for as long as this object lives."""
    def __init__(self, heed, problem, implementation=None, threads=0):
        self.heed, self.handle, error = heed, c_void_p(), Error()
        choice = Choice(implementation=implementation.encode() if implementation else None, threads=threads)
        status = heed.heed_plan_create(byref(self.handle), byref(problem), byref(choice), byref(error))
        if status != OK:
            raise HeedError(status, error)
        self.bytes = max(heed.heed_workspace_bytes(self.handle), heed.heed_inspect_bytes(self.handle))
        self.memory = ctypes.create_string_buffer(self.bytes + 64)
        self.workspace = (ctypes.addressof(self.memory) + 63) // 64 * 64
        self.implementation = heed.heed_plan_implementation(self.handle).decode()

    def run(self, args):
        error = Error()
        args.workspace, args.workspace_bytes = self.workspace, self.bytes
        status = self.heed.heed_run(self.handle, byref(args), byref(error))
        if status != OK:
            raise HeedError(status, error)

    def inspect(self, args, heads=None, rows=None, keys=None, **outputs):
        """heed_inspect: lists of chosen heads, rows, keys (None: all); outputs by name are addresses."""
        wanted, error = Wanted(**outputs), Error()
        for name, chosen in (("heads", heads), ("rows", rows), ("keys", keys)):
            if chosen is not None:
                setattr(wanted, name, (c_int64 * max(1, len(chosen)))(*chosen))
                setattr(wanted, "n_" + name, len(chosen))
        args.workspace, args.workspace_bytes = self.workspace, self.bytes
        status = self.heed.heed_inspect(self.handle, byref(args), byref(wanted), byref(error))
        if status != OK:
            raise HeedError(status, error)

    def __del__(self):
        if self.handle:
            self.heed.heed_plan_destroy(self.handle)
