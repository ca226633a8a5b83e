# SPDX-License-Identifier: Apache-2.0
"""Archives of NumPy read by heed, and the reverse."""
import subprocess
import zipfile

import pytest

np = pytest.importorskip("numpy")


def run(tool, *words):
    return subprocess.run([str(tool("io")), *map(str, words)], capture_output=True, text=True)


def arrays():
    random = np.random.default_rng(3)
    real = random.standard_normal((5, 7))
    out = {f"f{8 * n}": real.astype(f"f{n}") for n in (2, 4, 8)}
    for n in (1, 2, 4, 8):
        out[f"i{8 * n}"] = random.integers(-100, 100, (2, 3, 4)).astype(f"i{n}")
        out[f"u{8 * n}"] = random.integers(0, 200, 6).astype(f"u{n}")
    big = {f"big_{k}": v.astype(v.dtype.newbyteorder(">")) for k, v in out.items()}
    fortran = {f"fortran_{k}": np.asfortranarray(v) for k, v in out.items()}
    both = {"both": np.asfortranarray(real.astype(">f4"))}
    return out | big | fortran | both | {"mask": real > 0, "scalar": np.float32(3), "empty": np.zeros((0, 4)),
                                         "noncontiguous": real[::2, ::-1]}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_round_trip(tool, tmp_path, save):
    source, copy = tmp_path / "a.npz", tmp_path / "b.npz"
    save(source, **arrays())
    result = run(tool, "copy", source, copy)
    assert result.returncode == 0, result.stderr
    assert zipfile.ZipFile(copy).testzip() is None
    with np.load(copy) as read:
        assert set(read) == set(arrays())
        for name, array in arrays().items():
            assert read[name].shape == array.shape and read[name].dtype == array.dtype.newbyteorder("="), name
            assert np.array_equal(read[name], array), name


@pytest.mark.parametrize("text", ["b1 h2 q3 d4 causal", b"b1 h2 q3 d4 causal", "caus\u00e4l"])
def test_text_is_its_bytes(tool, tmp_path, text):
    raw = text if isinstance(text, bytes) else text.encode()
    for form in (np.array(text), np.array([text]), np.frombuffer(raw, np.uint8)):
        np.savez(tmp_path / "a.npz", problem=form)
        assert run(tool, "copy", tmp_path / "a.npz", tmp_path / "b.npz").returncode == 0
        assert np.load(tmp_path / "b.npz")["problem"].tobytes() == raw


def test_versions(tool, tmp_path):
    """.npy 1.0, 2.0 and 3.0, and a zip written to a pipe: sizes follow the data."""
    array = np.arange(12, dtype="f4").reshape(3, 4)
    with open(tmp_path / "a.npz", "wb") as file:
        class Pipe:
            def write(self, data):
                return file.write(data)

            def flush(self):
                file.flush()
        with zipfile.ZipFile(Pipe(), "w", zipfile.ZIP_DEFLATED) as archive:
            for version in ((1, 0), (2, 0), (3, 0)):
                with archive.open(f"v{version[0]}.npy", "w", force_zip64=version == (2, 0)) as member:
                    np.lib.format.write_array(member, array, version=version)
    result = run(tool, "names", tmp_path / "a.npz")
    assert result.stdout.splitlines() == ["v1 F32 3 4", "v2 F32 3 4", "v3 F32 3 4"], result.stderr


def test_bfloat16(tool, tmp_path):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    array = np.linspace(-3, 3, 9).astype(ml_dtypes.bfloat16)
    np.savez(tmp_path / "a.npz", x=array)
    assert run(tool, "copy", tmp_path / "a.npz", tmp_path / "b.npz").returncode == 0
    assert np.array_equal(np.load(tmp_path / "b.npz")["x"], array.view("u2"))


def test_objects_are_refused(tool, tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))
    np.savez(tmp_path / "a.npz", x=np.array([Trap()], dtype=object))
    result = run(tool, "names", tmp_path / "a.npz")
    assert result.returncode == 1 and "pickle" in result.stderr and len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "executed").exists()


def test_bomb(tool, tmp_path):
    """A gigabyte of zeros costs a megabyte; more than the limit is refused before memory is taken."""
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(3):
            with archive.open(f"x{i}.npy", "w") as member:
                np.lib.format.write_array_header_1_0(member, {"descr": "|u1", "fortran_order": False, "shape": (8 << 20,)})
                member.write(bytes(8 << 20))
    raw = bytearray((tmp_path / "a.npz").read_bytes())
    assert run(tool, "names", tmp_path / "a.npz").returncode == 0
    size = ((8 << 20) + 128).to_bytes(4, "little")
    assert raw.count(size) == 6    # the same lie in both places of each member
    (tmp_path / "a.npz").write_bytes(raw.replace(size, (0x7fffff00).to_bytes(4, "little")))
    result = run(tool, "names", tmp_path / "a.npz")
    assert result.returncode == 1 and "1032" in result.stderr


def test_overlap(tool, tmp_path):
    """Two entries of the directory that name the same bytes."""
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    raw = (tmp_path / "a.npz").read_bytes()
    end = raw.rindex(b"PK\5\6")
    at = int.from_bytes(raw[end + 16:end + 20], "little")
    entry = raw[at:end]
    forged = raw[end:end + 8] + (2).to_bytes(2, "little") * 2 + (2 * len(entry)).to_bytes(4, "little") + raw[end + 16:]
    (tmp_path / "a.npz").write_bytes(raw[:at] + entry + entry + forged)
    result = run(tool, "names", tmp_path / "a.npz")
    assert result.returncode == 1 and "overlaps" in result.stderr
