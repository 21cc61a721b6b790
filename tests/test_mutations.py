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
    ("rectifier.py", "R = R.clamp(min=0)", "R = R.abs()", "test_gradients.py"),
    ("rectifier.py", "hardtanh_backward(R, y, 0, ctx.high)", "threshold_backward(R, y, 0)", "test_gradients.py"),
    ("rectifier.py", "if ctx.gate.on:", "if True:", "test_gradients.py"),
    ("rectifier.py", ' or spelling.endswith("_")', "", "test_gradients.py"),
    ("explain/gradients.py", ".abs().amax(1)", ".amax(1).abs()", "test_gradients.py"),
    ("explain/gradients.py", "+ spread[rows] * noise", "+ spread.mean() * noise", "test_gradients.py"),
    ("explain/gradients.py", "arange(0.5, steps", "arange(0.0, steps", "test_gradients.py"),
    ("explain/gradients.py", "(way * _mean", "(images * _mean", "test_gradients.py"),
    ("explain/gradients.py", "total / n)", "total / len(samples))", "test_gradients.py"),
    ("explain/gradients.py", ".repeat(len(samples))", ".repeat_interleave(len(samples))", "test_gradients.py"),
    ("explain/gradients.py", "gap / rise.abs()", "gap / scores.abs()", "test_gradients.py"),
    ("attention.py", "query.shape[-1] ** -0.5", "query.shape[-1] ** -1", "test_attention.py"),
    ("attention.py", "permute(2, 1, 3, 0, 4)", "permute(2, 1, 3, 0, 4).flip(0)", "test_attention.py"),
    ("explain/attention.py", "A @ below", "below @ A", "test_attention.py"),
    ("explain/attention.py", "chain([A / A.sum(-1, keepdim=True) for", "chain([A for", "test_attention.py"),
    ("explain/attention.py", ".detach().relu())", ".detach()).relu()", "test_attention.py"),
    ("explain/attention.py", "else slice(0, 1)", "else slice(0, prefix)", "test_attention.py"),
    ("explain/relevance.py", "weight.clamp(min=0), weight.clamp(max=0)", "weight, 0 * weight", "test_relevance.py"),
    ("explain/attention.py", "else torch.float64", "else torch.float32", "test_attention.py"),
    ("explain/relevance.py", "_ratio(R, a @ b) / 2", "_ratio(R, a @ b)", "test_relevance.py"),
    ("explain/relevance.py", "whole.abs() * unit", "whole * unit", "test_relevance.py"),
    ("explain/relevance.py", "R.sum(tuple(range(1, R.ndim)), keepdim=True)", "R.sum()", "test_relevance.py"),
    ("models/vit.py", "return x + self.mlp(self.norm2(x))", "return x + self.mlp(self.norm1(x))", "test_vit.py"),
    ("explain/perturbation.py", "(whole - scores) @", "(scores - whole) @", "test_perturbation.py"),
    ("explain/perturbation.py", "/ hidings", "/ hidings.max()", "test_perturbation.py"),
    ("explain/perturbation.py", "stride), length - window]", "stride)]", "test_perturbation.py"),
    ("explain/perturbation.py", "/ (masks * p)", "/ masks", "test_perturbation.py"),
    ("explain/perturbation.py", "(shift * cell).floor()", "(0 * shift).floor()", "test_perturbation.py"),
    ("explain/perturbation.py", "((cells + 1) * cell / cells)", "cell", "test_perturbation.py"),
    ("network.py", "logsumexp(1)).exp()", "amax(1)).exp()", "test_perturbation.py"),
    ("explain/lime.py", "/ (2 * kernel_width**2)", "/ kernel_width**2", "test_perturbation.py"),
    ("explain/lime.py", ".mean(1).sqrt()", ".mean(1)", "test_perturbation.py"),
    ("explain/lime.py", "shown[0] = True", "pass", "test_perturbation.py"),
    ("explain/lime.py", "weights[segments]", "weights.abs()[segments]", "test_perturbation.py"),
    ("explain/optimised_masks.py", "l1 * (1 - mask)", "l1 * mask", "test_perturbation.py"),
    ("explain/optimised_masks.py", "tv * _variation", "l1 * _variation", "test_perturbation.py"),
    ("explain/optimised_masks.py", "pair.roll(move.tolist(),", "pair.roll((0, 0),", "test_perturbation.py"),
    ("explain/optimised_masks.py", "* misfit - class", "* misfit + class", "test_perturbation.py"),
    ("explain/optimised_masks.py", "return area_price(", "return -area_price(", "test_perturbation.py"),
    ("explain/optimised_masks.py", "(iteration * 800 / iterations)", "iteration", "test_perturbation.py"),
    ("explain/optimised_masks.py", "(discs / temperature)", "discs", "test_perturbation.py"),
    ("explain/optimised_masks.py", "iteration % 2 == 0", "iteration % 2 == 1", "test_perturbation.py"),
    ("explain/masked_cam.py", "scores.softmax(1)", "scores.softmax(0)", "test_masked_cam.py"),
    ("explain/masked_cam.py", 'logits.softmax(2) if score_cam', 'logits.sigmoid() if score_cam', "test_masked_cam.py"),
    ("explain/masked_cam.py", "        copies[rows, channels] = A[channels]\n", "", "test_masked_cam.py"),
    ("explain/masked_cam.py", 'e.scores.detach().abs(), "signed"', 'e.scores.detach(), "signed"', "test_masked_cam.py"),
    ("explain/masked_cam.py", "drops = y[:, None] - torch", "drops = -torch", "test_masked_cam.py"),
    ("explain/evidence.py", "(~constant).cumsum(0) - 1", "(~constant).cumsum(0)", "test_masked_cam.py"),
    ("explain/evidence.py", "enlarged.where(high - low > rounding, 0)", "enlarged", "test_opticam.py"),
    ("explain/fusion.py", "if depth < shallow", "if depth <= shallow", "test_masked_cam.py"),
    ("explain/fusion.py", "(gamma * M).tanh()", "(M / gamma).tanh()", "test_masked_cam.py"),
    ("explain/opticam.py", ".A.relu()", ".A", "test_opticam.py"),
    ("explain/opticam.py", "u[running].softmax(1)", "u[running].sigmoid()", "test_opticam.py"),
    ("explain/opticam.py", "(goal[running] - found).abs()", "(found - goal[running])", "test_opticam.py"),
    ("explain/opticam.py", "scatter(1, targets[:, None], -torch.inf).amax(1)", "amax(1)", "test_opticam.py"),
    ("explain/opticam.py", "losses.nan_to_num(torch.inf).argmin(0)", "0 * targets", "test_opticam.py"),
    ("explain/opticam.py", "running = running[on]", "pass", "test_opticam.py"),
    ("explain/opticam.py", "else change > 0", "else change < 0", "test_opticam.py"),
    ("rerun.py", "if reached else next(kept)", "if reached and False else next(kept)", "test_rerun.py"),
    ("rerun.py", "scores(outputs.clone())", "scores(outputs)", "test_rerun.py"),
    ("training/denoising.py", "(_unit(standard, 2) * _unit(guided, 2))", "(standard * guided)", "test_denoising.py"),
    ("training/denoising.py", "return -(_unit(", "return (_unit(", "test_denoising.py"),
    ("training/denoising.py", "(standard - guided).square().mean(1)", "(standard - guided).square().sum(1)", "test_denoising.py"),
    ("training/denoising.py", "_unit(standard, 1).abs()", "_unit(standard, 1)", "test_denoising.py"),
    ("training/denoising.py", "gate.on = gate.count > 0", "gate.on = False", "test_denoising.py"),
    ("training/denoising.py", "guided = -_gradient(", "guided = _gradient(", "test_denoising.py"),
    ("training/denoising.py", "grad_reduction, create_graph=True)", "grad_reduction)", "test_denoising.py"),
    ("training/denoising.py", "v / length.clamp(min=EPSILON), 0)", "v / length.clamp(min=1e-5), 0)", "test_denoising.py"),
    ("training/denoising.py", "reduced = scores.sum() if", "reduced = scores.mean() if", "test_denoising.py"),
    ("training/denoising.py", "        losses = torch.cat([losses, rest])", "        pass", "test_denoising.py"),
    ("training/schedule.py", "(step + 1) / warm)", "step / warm)", "test_fit.py"),
    ("training/schedule.py", "step >= milestone * steps", "step > milestone * steps", "test_fit.py"),
    ("training/schedule.py", "(step - warm) / (last - warm)", "step / last", "test_fit.py"),
    ("training/schedule.py", "lr=self.lr, **sgd)", "lr=self.lr, **sgd | {'nesterov': False})", "test_fit.py"),
    ("training/fit.py", "seed=_mixed(recipe.seed, epoch))", "seed=_mixed(recipe.seed))", "test_fit.py"),
    ("training/fit.py", "torch.manual_seed(_mixed(*numbers))", "pass", "test_fit.py"),
    ("training/fit.py", "sums + len(images) * torch", "sums + torch", "test_fit.py"),
    ("training/fit.py", "        self.model.train()\n", "", "test_fit.py"),
    ("training/evaluation.py", "    model.eval()\n", "", "test_fit.py"),
    ("training/evaluation.py", "(logits > 0) == (labels > 0.5)", "(logits > 0.5) == (labels > 0.5)", "test_fit.py"),
    ("training/checkpoint.py", "max(history, key=", "min(history, key=", "test_fit.py"),
    ("training/checkpoint.py", "optimizer.state_dict() | {\"state\": tensors}", "optimizer.state_dict()", "test_fit.py"),
    ("training/checkpoint.py", "_weights(last), _weights(best), _optimizer", "_weights(last), _optimizer", "test_fit.py"),
    ("training/checkpoint.py", "    scaler.load_state_dict(state[\"scaler\"])\n", "", "test_fit.py"),
    ("training/parallel.py", "        dist.all_reduce(sums)\n", "        pass\n", "test_fit.py"),
    ("metrics/faithfulness.py", "((p - o).relu() / p)", "((p - o) / p)", "test_faithfulness.py"),
    ("metrics/faithfulness.py", "(o > p).to(p)", "(o >= p).to(p)", "test_faithfulness.py"),
    ("metrics/faithfulness.py", '1 - p if ag_denominator == "1-p" else p', "p", "test_faithfulness.py"),
    ("metrics/faithfulness.py", ".where(p > 0, 0)", "", "test_faithfulness.py"),
    ("metrics/faithfulness.py", "(r + 1) / 2", "r", "test_faithfulness.py"),
    ("metrics/faithfulness.py", "coherency, 1 - complexity,", "coherency, complexity,", "test_faithfulness.py"),
    ("metrics/faithfulness.py", "3 / (1 / parts.clamp(min=0)).sum(0)", "parts.mean(0)", "test_faithfulness.py"),
    ("metrics/faithfulness.py", "0 * images if mask_space", "0 * images + 0.5 if mask_space", "test_faithfulness.py"),
    ("metrics/faithfulness.py", "(middle, high) if surer", "(low, middle) if surer", "test_faithfulness.py"),
    ("metrics/causal.py", "heatmap.rank(maps).argsort(1)", "heatmap.rank(maps)", "test_causal.py"),
    ("metrics/causal.py", "torch.where(place < part", "torch.where(place <= part", "test_causal.py"),
    ("metrics/causal.py", "math.ceil(pixels / step) + 1", "math.ceil(pixels / step)", "test_causal.py"),
    ("metrics/causal.py", "torch.trapezoid(curves, fractions.to(curves))", "curves.mean(1)", "test_causal.py"),
    ("metrics/causal.py", "return mean + F.conv2d(images - mean", "return F.conv2d(images", "test_causal.py"),
    ("metrics/causal.py", "2 * size - 1 - unrolled", "2 * size - 2 - unrolled", "test_causal.py"),
    ("metrics/substrate.py", "mean + std * ((images", "((images", "test_causal.py"),
    ("metrics/robustness.py", ".sum((2, 4))", ".amax((2, 4))", "test_causal.py"),
    ("metrics/robustness.py", "drops[:, 1:].mean(1)", "drops.mean(1)", "test_causal.py"),
    ("metrics/robustness.py", "2 * torch.rand(", "torch.rand(", "test_causal.py"),
    ("metrics/robustness.py", "normalization(model, images)[1] * noise", "noise", "test_causal.py"),
    ("metrics/sanity.py", "(counts - 1) / 2", "(counts - 1)", "test_sanity.py"),
    ("metrics/sanity.py", "copy.deepcopy(model)", "model", "test_sanity.py"),
    ("metrics/sanity.py", "parameter.flatten()[order", "parameter.flatten()[0 * order", "test_sanity.py"),
    ("metrics/intervals.py", "(1 - confidence) / 2,", "1 - confidence,", "test_sanity.py"),
    ("explain/baselines.py", "+ 2 * change", "+ change", "test_sanity.py"),
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
