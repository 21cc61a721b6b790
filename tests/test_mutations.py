"""Do the tests bite? Each planted fault in a formula must turn the tests of its family red.

A fault is a replacement in one source file; the family's tests run on a copy of the library that has it.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# (source file, correct code, planted fault, test file that must notice)
MUTANTS = [
    ("explain/cam.py", "return e.G.mean((2, 3), keepdim=True)", "return e.G.amax((2, 3), keepdim=True)", "test_cam.py"),
    ("explain/cam.py", "return e.G.relu()", "return e.G.abs()", "test_cam.py"),
    ("explain/cam.py", "2 + e.A.sum((2, 3), keepdim=True) * e.G", "2 + e.A * e.G", "test_cam.py"),
    ("explain/cam.py", "(alpha * e.G.relu())", "(alpha * e.G)", "test_cam.py"),
    ("explain/cam.py", "/ total).where", "/ total.abs().sqrt()).where", "test_cam.py"),
    ("explain/cam.py", "maps = (w * A).sum(1)", "maps = (w * A).mean(1)", "test_cam.py"),
    ("explain/cam.py", "        maps = maps.relu()", "        maps = maps.abs()", "test_cam.py"),
    ("heatmap.py", 'align_corners=False)[:, 0]', 'align_corners=True)[:, 0]', "test_heatmap.py"),
    ("rectifier.py", "passing = passing & (R > 0)", "passing = R > 0", "test_gradients.py"),
    ("rectifier.py", "x > 0 if high is None else (x > 0) & (x < high)", "x > 0", "test_gradients.py"),
    ("rectifier.py", "if ctx.gate.on:", "if True:", "test_gradients.py"),
    ("rectifier.py", ' or spelling.endswith("_")', "", "test_gradients.py"),
    ("explain/gradients.py", ".abs().amax(1)", ".amax(1).abs()", "test_gradients.py"),
    ("explain/gradients.py", "+ spread[rows] * noise", "+ spread.mean() * noise", "test_gradients.py"),
    ("explain/gradients.py", "arange(0.5, steps", "arange(0.0, steps", "test_gradients.py"),
    ("explain/gradients.py", "(way * _mean", "(images * _mean", "test_gradients.py"),
    ("explain/gradients.py", "total / n)", "total / len(samples))", "test_gradients.py"),
    ("explain/gradients.py", ".repeat(len(samples))", ".repeat_interleave(len(samples))", "test_gradients.py"),
    ("explain/gradients.py", "gap / rise.abs()", "gap / scores.abs()", "test_gradients.py"),
]  # fmt: skip


@pytest.mark.parametrize("file, code, fault, tests", MUTANTS, ids=lambda part: part[-40:])
def test_planted_fault_is_noticed(file, code, fault, tests, tmp_path):
    for folder in ("xailib", "tests"):  # the tests move too: beside their conftest.py the library here would come first
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    source = tmp_path / "xailib" / file
    text = source.read_text()
    assert text.count(code) == 1, f"{file} no longer holds {code!r} exactly once: mend the mutant"
    source.write_text(text.replace(code, fault))
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", f"tests/{tests}"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 1, ran.stdout[-2000:] + ran.stderr[-2000:]  # 1: tests ran, and some failed
    assert "failed" in ran.stdout
