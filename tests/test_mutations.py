"""Do the tests bite? Each planted fault must turn tests red that are green without it.

A fault is a replacement in one source file; the tests named beside it run on a copy of the library that has it.
"""

import multiprocessing
import os
import re
import shutil
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROCESSES = multiprocessing.get_context("forkserver" if hasattr(os, "fork") else "spawn")
if hasattr(os, "fork"):  # each fault's process starts with these loaded
    heavy = ["torch._dynamo", "torchvision.transforms.v2", "timm", "hypothesis", "jaxtyping", "beartype", "pandas"]
    PROCESSES.set_forkserver_preload([*heavy, "skimage", "sklearn", "safetensors.torch"])

# (source file, correct code, planted fault, test file or test that must notice)
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
    ("rectifier.py", "if ctx.gate.on:", "if True:", "test_gradients.py::test_one_graph_gives_plain_guided_and_second_gradients"),
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
    ("explain/attention.py", "A @ below", "below @ A", "test_attention.py::test_products_of_attention_by_hand"),
    ("explain/attention.py", "chain([A / A.sum(-1, keepdim=True) for", "chain([A for", "test_attention.py::test_rollout_by_hand"),
    ("explain/attention.py", ".detach().relu())", ".detach()).relu()", "test_attention.py::test_maps_hold_the_patches_of_what_the_classifier_reads"),
    ("explain/attention.py", "else slice(0, 1)", "else slice(0, prefix)", "test_attention.py::test_maps_hold_the_patches_of_what_the_classifier_reads"),
    ("explain/relevance.py", "weight.clamp(min=0), weight.clamp(max=0)", "weight, 0 * weight", "test_relevance.py"),
    ("explain/attention.py", "else torch.float64", "else torch.float32", "test_attention.py::test_reduced_precision_gives_nearby_float32_maps"),
    ("explain/relevance.py", "_ratio(R, a @ b) / 2", "_ratio(R, a @ b)", "test_relevance.py"),
    ("explain/relevance.py", "whole.abs() * unit", "whole * unit", "test_relevance.py"),
    ("explain/relevance.py", "R.sum(tuple(range(1, R.ndim)), keepdim=True)", "R.sum()", "test_relevance.py"),
    ("models/vit.py", "return x + self.mlp(self.norm2(x))", "return x + self.mlp(self.norm1(x))", "test_vit.py"),
    ("explain/perturbation.py", "(whole - scores) @", "(scores - whole) @", "test_perturbation.py"),
    ("explain/perturbation.py", "/ hidings", "/ hidings.max()", "test_perturbation.py"),
    ("explain/perturbation.py", "stride), length - window]", "stride)]", "test_perturbation.py"),
    ("explain/perturbation.py", "else masks * p", "else masks", "test_perturbation.py"),
    ("explain/perturbation.py", "seen = seen + keep.flatten", "seen = keep.flatten", "test_perturbation.py"),
    ("explain/perturbation.py", "(shift * cell).floor()", "(0 * shift).floor()", "test_perturbation.py"),
    ("explain/perturbation.py", "((cells + 1) * cell / cells)", "cell", "test_perturbation.py"),
    ("network.py", "logsumexp(1)).exp()", "amax(1)).exp()", "test_perturbation.py"),
    ("explain/lime.py", "/ (2 * kernel_width**2)", "/ kernel_width**2", "test_perturbation.py"),
    ("explain/lime.py", ".mean(1).sqrt()", ".mean(1)", "test_perturbation.py"),
    ("explain/lime.py", "shown[0] = True", "pass", "test_perturbation.py"),
    ("explain/lime.py", "weights[segments]", "weights.abs()[segments]", "test_perturbation.py"),
    ("explain/optimised_masks.py", "l1 * (1 - mask)", "l1 * mask", "test_perturbation.py"),
    ("explain/optimised_masks.py", "tv * _variation", "l1 * _variation", "test_perturbation.py::test_meaningful_perturbation_deletes_the_planted_patch"),
    ("explain/optimised_masks.py", "pair.roll(move.tolist(),", "pair.roll((0, 0),", "test_perturbation.py::test_jitter_is_drawn_from_the_generator"),
    ("explain/optimised_masks.py", "* misfit - class", "* misfit + class", "test_perturbation.py::test_extremal_perturbation_keeps_the_planted_patch"),
    ("explain/optimised_masks.py", "return area_price(", "return -area_price(", "test_perturbation.py::test_extremal_perturbation_keeps_the_planted_patch"),
    ("explain/optimised_masks.py", "(iteration * 800 / iterations)", "iteration", "test_perturbation.py::test_extremal_perturbation_keeps_the_planted_patch"),
    ("explain/optimised_masks.py", "(discs / temperature)", "discs", "test_perturbation.py::test_extremal_perturbation_keeps_the_planted_patch"),
    ("explain/optimised_masks.py", "iteration % 2 == 0", "iteration % 2 == 1", "test_perturbation.py::test_every_second_iteration_sees_the_mirror_image"),
    ("explain/masked_cam.py", "scores.softmax(1)", "scores.softmax(0)", "test_masked_cam.py"),
    ("explain/masked_cam.py", 'logits.softmax(2) if score_cam', 'logits.sigmoid() if score_cam', "test_masked_cam.py"),
    ("explain/masked_cam.py", "        copies[rows, channels] = A[channels]\n", "", "test_masked_cam.py"),
    ("explain/masked_cam.py", 'e.scores.detach().abs(), "signed"', 'e.scores.detach(), "signed"', "test_masked_cam.py"),
    ("explain/masked_cam.py", "drops = y[:, None] - torch", "drops = -torch", "test_masked_cam.py"),
    ("explain/evidence.py", "(~constant).cumsum(0) - 1", "(~constant).cumsum(0)", "test_masked_cam.py"),
    ("explain/evidence.py", "enlarged.where(high - low > rounding, 0)", "enlarged", "test_opticam.py"),
    ("explain/fusion.py", "if depth < shallow", "if depth <= shallow", "test_masked_cam.py::test_fusion_by_hand"),
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
    ("rerun.py", "len(outputs) == 1 and outputs[0] is logits", "outputs[-1] is logits", "test_rerun.py::test_a_linear_layer_that_runs_twice_is_not_taken_for_a_plain_head"),
    ("network.py", "stack.callback(handle.remove)", "pass", "test_invariants.py"),
    ("rerun.py", "        vars(module).pop(\"forward\", None)", "        pass", "test_invariants.py"),
    ("explain/opticam.py", "(u.grad,) = torch.autograd.grad(loss.sum(), u)", "loss.sum().backward()", "test_invariants.py"),
    ("explain/perturbation.py", "generator if generator is not None else Generator().manual_seed(0)", "torch.default_generator", "test_invariants.py"),
    ("explain/gradients.py", "generator or torch.Generator().manual_seed(0)", "torch.default_generator", "test_invariants.py"),
    ("training/denoising.py", "(_unit(standard, 2) * _unit(guided, 2))", "(standard * guided)", "test_denoising.py"),
    ("training/denoising.py", "return -(_unit(", "return (_unit(", "test_denoising.py"),
    ("training/denoising.py", "(standard - guided).square().mean(1)", "(standard - guided).square().sum(1)", "test_denoising.py"),
    ("training/denoising.py", "_unit(standard, 1).abs()", "_unit(standard, 1)", "test_denoising.py"),
    ("training/denoising.py", "gate.on = gate.count > 0", "gate.on = False", "test_denoising.py"),
    ("training/denoising.py", "guided = -_gradient(", "guided = _gradient(", "test_denoising.py"),
    ("training/denoising.py", "grad_reduction, create_graph=True)", "grad_reduction)", "test_denoising.py"),
    ("training/denoising.py", "v / length.clamp(min=EPSILON), 0)", "v / length.clamp(min=1e-5), 0)", "test_denoising.py"),
    ("training/denoising.py", "reduced = scores.sum() if", "reduced = scores.mean() if", "test_denoising.py"),
    ("training/denoising.py", "        losses = torch.cat([losses, rest])", "        pass", "test_denoising.py::test_a_fraction_regularises_the_first_images"),
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
    ("training/checkpoint.py", "max(history, key=", "min(history, key=", "test_fit.py::test_best_and_last_are_kept"),
    ("training/checkpoint.py", "optimizer.state_dict() | {\"state\": tensors}", "optimizer.state_dict()", "test_fit.py::test_interrupted_and_called_again"),
    ("training/checkpoint.py", "_weights(last), _weights(best), _optimizer", "_weights(last), _optimizer", "test_fit.py"),
    ("training/checkpoint.py", "    scaler.load_state_dict(state[\"scaler\"])\n", "", "test_fit.py::test_interrupted_and_called_again"),
    ("training/parallel.py", "        dist.all_reduce(sums)\n", "        pass\n", "test_fit.py::test_two_processes_train_as_one"),
    ("metrics/faithfulness.py", "((p - o).relu() / p)", "((p - o) / p)", "test_faithfulness.py"),
    ("metrics/faithfulness.py", "(o > p).to(p)", "(o >= p).to(p)", "test_faithfulness.py"),
    ("metrics/faithfulness.py", '1 - p if ag_denominator == "1-p" else p', "p", "test_faithfulness.py"),
    ("metrics/faithfulness.py", ".where(p > 0, 0)", "", "test_faithfulness.py"),
    ("metrics/faithfulness.py", "else (r + 1) / 2", "else r", "test_faithfulness.py::test_coherency_by_hand"),
    ("metrics/faithfulness.py", "coherency, 1 - complexity,", "coherency, complexity,", "test_faithfulness.py"),
    ("metrics/faithfulness.py", "3 / (1 / parts.clamp(min=0)).sum(0)", "parts.mean(0)", "test_faithfulness.py"),
    ("metrics/faithfulness.py", "0 * images if mask_space", "0 * images + 0.5 if mask_space", "test_faithfulness.py"),
    ("metrics/temperature.py", "(middle, high) if surer", "(low, middle) if surer", "test_faithfulness.py"),
    ("metrics/causal.py", "heatmap.rank(maps).argsort(1)", "heatmap.rank(maps)", "test_causal.py"),
    ("metrics/causal.py", "torch.where(place < part", "torch.where(place <= part", "test_causal.py"),
    ("metrics/causal.py", "math.ceil(pixels / step) + 1", "math.ceil(pixels / step)", "test_causal.py"),
    ("metrics/causal.py", "torch.trapezoid(curves, fractions.to(curves))", "curves.mean(1)", "test_causal.py"),
    ("metrics/causal.py", "return mean + F.conv2d(images - mean", "return F.conv2d(images", "test_causal.py::test_blur_is_rises_convolution_of_normalised_images"),
    ("metrics/causal.py", "2 * size - 1 - unrolled", "2 * size - 2 - unrolled", "test_causal.py"),
    ("metrics/substrate.py", "mean + std * ((images", "((images", "test_causal.py::test_all_steps_are_laid_out_channels_last"),
    ("metrics/robustness.py", ".sum((2, 4))", ".amax((2, 4))", "test_causal.py::test_patches_leave_in_the_order_of_their_sums"),
    ("metrics/robustness.py", "drops[:, 1:].mean(1)", "drops.mean(1)", "test_causal.py::test_areas_over_a_curve_by_hand"),
    ("metrics/robustness.py", "2 * torch.rand(", "torch.rand(", "test_causal.py::test_noise_goes_both_ways_and_is_cut_at_black_and_white"),
    ("metrics/robustness.py", "normalization(model, images)[1] * noise", "noise", "test_causal.py::test_noise_is_drawn_in_the_normalised_space"),
    ("metrics/sanity.py", "(counts - 1) / 2", "(counts - 1)", "test_sanity.py"),
    ("metrics/sanity.py", "copy.deepcopy(model)", "model", "test_sanity.py::test_a_cascade_goes_on_from_stage_to_stage"),
    ("metrics/sanity.py", "parameter.flatten()[order", "parameter.flatten()[0 * order", "test_sanity.py"),
    ("metrics/intervals.py", "(1 - confidence) / 2,", "1 - confidence,", "test_sanity.py"),
    ("explain/baselines.py", "+ 2 * change", "+ change", "test_sanity.py"),
    ("network.py", "return outputs[module].clone()", "return outputs[module]", "test_network.py::test_cut_is_plain_forward_and_autograd"),
    ("network.py", "output if output.requires_grad else output.detach()", "output.detach()", "test_network.py::test_several_layers_in_any_order_share_one_pass"),
    ("network.py", "stack.callback(handle.remove)", "pass", "test_network.py::test_several_layers_in_any_order_share_one_pass"),
    ("network.py", "images.clone() if images.is_inference() else images", "images", "test_network.py::test_gradients_where_they_are_switched_off"),
    ("network.py", "if module in outputs:", "if False:", "test_network.py::test_layers_that_cannot_be_cut_are_named"),
    ("network.py", "scores.sum(), outputs", "scores[:1].sum(), outputs", "test_network.py::test_cut_is_plain_forward_and_autograd"),
    ("network.py", "logits.detach()).abs().max() <= tolerance", "logits).numel()", "test_network.py::test_linear_head_is_found"),
    ("heatmap.py", "_ratio(maps - low, high - low)", "_ratio(maps - low, high)", "test_heatmap.py"),
    ("heatmap.py", "empty = whole <= 0", "empty = whole <= 1e-12", "test_heatmap.py"),
    ("heatmap.py", "(2 * sigma**2)", "sigma**2", "test_heatmap.py"),
    ("heatmap.py", 'mode="reflect"', 'mode="replicate"', "test_heatmap.py"),
    ("heatmap.py", "flat.amin(1) == flat.amax(1)", "flat.sum(1) == 0", "test_heatmap.py"),
    ("inputs.py", "if not (0 <= low and high <= 1):", "if low < 0 or high > 1:", "test_inputs.py"),
    ("inputs.py", "for name, module in model.named_modules() if", "for name, module in [('', model)] if", "test_inputs.py"),
    ("inputs.py", "len(targets) != len(images)", "len(targets) < len(images)", "test_inputs.py"),
    ("inputs.py", "(len(maps), *maps.shape[1:]) != (len(images)", "(len(images), *maps.shape[1:]) != (len(images)", "test_inputs.py"),
    ("explain/evidence.py", ", scores=network.class_scores(self.logits, targets))", ")", "test_cam.py"),
    ("explain/cam.py", "(denominator != 0) & (e.G != 0)", "e.G != 0", "test_cam.py"),
    ("grid.py", "return output.permute(0, 3, 1, 2)", "return output.permute(0, 3, 2, 1)", "test_cam.py"),
    ("models/normalized.py", "self.mean) / self.std", "self.mean) * self.std", "test_zoo.py"),
    ("models/zoo.py", "if found != _OFFLINE_SHA256:", "if not found:", "test_zoo.py::test_one_wrong_byte_is_noticed"),
    ("models/zoo.py", "weights_only=True", "weights_only=False", "test_zoo.py::test_a_file_that_runs_code_is_not_obeyed"),
    ("models/zoo.py", "import difflib\n", "import difflib\nimport xailib.data.photos\n", "test_rooms.py::test_imports_point_down"),
    ("heatmap.py", "import math\n", "import math\nimport scipy\n", "test_rooms.py::test_heavy_packages_are_imported_where_they_are_used"),
    ("models/ca_stream.py", "q.shape[-1] ** 0.5", "q.shape[-1]", "test_ca_stream.py"),
    ("models/ca_stream.py", "attend(self.key(F), q)", "attend(F, q)", "test_ca_stream.py"),
    ("models/ca_stream.py", "self.value(F).mT @", "F.mT @", "test_ca_stream.py"),
    ("models/ca_stream.py", "1 + torch.randn(", "torch.randn(", "test_ca_stream.py"),
    ("models/ca_stream.py", "return output.clone()  # what", "return output  # what", "test_ca_stream.py"),
    ("models/ca_stream.py", "return logits.flatten(1).argmax(1)", "return logits.flatten(1).argmin(1)", "test_ca_stream.py"),
    ("models/stages.py", "        self.backbone.eval()\n", "", "test_ca_stream.py::test_a_training_step_changes_the_stream_and_nothing_else"),
    ("models/stages.py", ".eval().requires_grad_(False)", ".eval()", "test_ca_stream.py::test_a_training_step_changes_the_stream_and_nothing_else"),
    ("models/stages.py", '("maxpool", "layer1",', '("relu", "layer1",', "test_ca_stream.py"),
    ("models/parts.py", "S.amax(2) if", "S.mean(2) if", "test_parts.py"),
    ("models/parts.py", "F.normalize(self.U, dim=1)", "self.U", "test_parts.py"),
    ("models/parts.py", "-((-x - s) * W // w)", "(x + s) * W // w", "test_parts.py"),
    ("models/parts.py", ".fill_diagonal_(0)", "", "test_parts.py"),
    ("models/parts.py", "return -(log_s.exp()", "return (log_s.exp()", "test_parts.py"),
    ("models/parts.py", "log_softmax(1)", "log_softmax(2)", "test_parts.py"),
    ("models/parts.py", "+ assign_balance *", "- assign_balance *", "test_parts.py"),
    ("models/parts.py", "~own_parts(", "own_parts(", "test_parts.py"),
    ("models/prototypes.py", ".amin(2)", ".mean(2)", "test_parts.py::test_nearest_place_counts"),
    ("models/prototypes.py", "- separation * far", "+ separation * far", "test_parts.py"),
    ("models/prototypes.py", "1.5 * own_parts", "1.0 * own_parts", "test_parts.py::test_nearest_place_counts"),
    ("models/prototypes.py", "[count + image,", "[image,", "test_parts.py::test_projection_moves_prototypes_onto_patches_of_their_class"),
    ("models/prototypes.py", "~own[targets.cpu()]", "own[targets.cpu()]", "test_parts.py::test_projection_moves_prototypes_onto_patches_of_their_class"),
    ("metrics/boxes.py", "above = maps > maps", "above = maps >= maps", "test_localization.py"),
    ("metrics/boxes.py", "np.argsort(-sizes", "np.argsort(sizes", "test_localization.py"),
    ("metrics/boxes.py", "ndimage.label(mask.cpu().numpy())", "ndimage.label(mask.cpu().numpy(), np.ones((3, 3)))", "test_localization.py"),
    ("metrics/boxes.py", "_area(boxes) + _area(others) - intersection", "_area(boxes) + _area(others)", "test_localization.py"),
    ("metrics/boxes.py", ".clamp(min=0).prod(-1)", ".prod(-1).clamp(min=0)", "test_localization.py::test_legacy_boxes_keep_what_lies_outside"),
    ("metrics/boxes.py", "mask[x0:x1, y0:y1] = True", "mask[max(x0, 0):x1, max(y0, 0):y1] = True", "test_localization.py"),
    ("metrics/boxes.py", ".trunc().long()", ".floor().long()", "test_localization.py"),
    ("metrics/boxes.py", 'new_tensor([0, 0, 1, 1]) if preset == "thesis', 'new_tensor([0, 0, 0, 0]) if preset == "thesis', "test_localization.py"),
    ("metrics/localization.py", "(largest > 0.5)", "(largest >= 0.5)", "test_localization.py"),
    ("metrics/localization.py", "preset) * right", "preset)", "test_localization.py"),
    ("metrics/localization.py", "region_boxes(S > t)", "region_boxes(S >= t)", "test_localization.py"),
    ("metrics/localization.py", ">= limits", "> limits", "test_localization.py"),
    ("metrics/localization.py", "hits.nanmean(0).nan_to_num().argmax(1)", "hits[0].nan_to_num().argmax(1)", "test_localization.py"),
    ("metrics/localization.py", 'counted = None if boxacc == "v2" else 1', "counted = 1", "test_localization.py"),
    ("metrics/localization.py", "share.clamp(min=0.05)", "share", "test_localization.py"),
    ("metrics/localization.py", "log() - p.log()", "log() + p.log()", "test_localization.py"),
    ("metrics/localization.py", 'mode="bicubic"', 'mode="bilinear"', "test_localization.py"),
    ("metrics/pointing.py", "_f1(maps, U, U.sum((1, 2)))", "_f1(maps, U, maps.sum((1, 2)))", "test_localization.py::test_pixel_f1_and_energy_by_hand"),
    ("metrics/pointing.py", "(part / whole).where(whole > 0, 0)", "part / whole", "test_localization.py"),
    ("metrics/pointing.py", "(box[2:] - box[:2]).prod()[None]", "inside.sum((1, 2))", "test_localization.py"),
    ("metrics/pointing.py", "hit.sum(1) / top.sum(1)", "hit.sum(1) / hit.shape[1]", "test_localization.py"),
    ("metrics/pointing.py", "one[:, [1, 0, 3, 2]]", "one", "test_localization.py"),
    ("metrics/box_study.py", '"outside": maps * (1 - U)', '"outside": 1 - U * maps', "test_box_study.py"),
    ("metrics/box_study.py", '"context": 1 - U', '"context": maps * (1 - U)', "test_box_study.py"),
    ("metrics/box_study.py", "box_masks(boxes, maps, preset=preset)", "box_masks(boxes, maps)", "test_box_study.py"),
    ("metrics/dissection.py", "largest[:, above]", "largest[:, above - 1]", "test_dissection.py"),
    ("metrics/dissection.py", "heatmap.resize(part, L.shape[1:]) > T", "heatmap.resize((part > T[:, None, None]).float(), L.shape[1:]) > 0 * T", "test_dissection.py"),
    ("metrics/dissection.py", "union = on + there - both", "union = on + there", "test_dissection.py"),
    ("metrics/dissection.py", "counts[:, -1:] * known", "counts[:, -1:]", "test_dissection.py"),
    ("metrics/dissection.py", "enabled=False)", "enabled=True, dtype=torch.bfloat16)", "test_dissection.py"),
    ("metrics/dissection.py", "values.topk(min(kept, values.shape[1]), dim=1)", "values.topk(min(8, values.shape[1]), dim=1)", "test_dissection.py"),
    ("data/scene_plan.py", "torch.where(uniform() < correlation, labels,", "torch.where(uniform() < correlation**2, labels,", "test_planted.py"),
    ("data/scene_plan.py", "VALUES * (cue == evidence)", "0", "test_planted.py"),
    ("data/scene_plan.py", "(radius + radius[:, k, None])[:, None]", "radius[:, None]", "test_planted.py::test_no_object_touches_another"),
    ("data/scene_drawing.py", "shown = plan.radius[..., None] * size, plan.shown[..., None]", "shown = plan.radius[..., None] * size, 1", "test_planted.py::test_boxes_are_tight_around_the_mask"),
    ("data/scene_drawing.py", "solid[:, k] > 0)", "solid[:, k] > 0.5)", "test_planted.py"),
    ("data/scene_drawing.py", "(solid[:, k] < 1)", "(solid[:, k] <= 0)", "test_planted.py"),
    ("data/scene_drawing.py", "(1.2 - x * x - (y", "(1.2 - x * x * outline - (y", "test_planted.py"),
    ("data/stickers.py", "torch.where(inside, -nearest, nearest)", "nearest", "test_planted.py"),
    ("data/planted.py", "size - line.flip(-1).argmax(-1)", "size - 1 - line.flip(-1).argmax(-1)", "test_planted.py"),
    ("data/boxes.py", ".minimum(torch.tensor([width, height, width, height]))", "", "test_datasets.py"),
    ("data/boxes.py", "image, boxes = transform(image, boxes)", "image = transform(image)", "test_datasets.py"),
    ("data/datasets.py", "[x0 - 1, y0 - 1, x1, y1]", "[x0, y0, x1, y1]", "test_datasets.py"),
    ("data/datasets.py", "x, y, x + width, y + height", "x, y, width, height", "test_datasets.py"),
    ("data/datasets.py", "boxes[:, 2:] += 1", "pass", "test_datasets.py"),
    ("data/datasets.py", '"difficult", "0").strip() == "0"', '"difficult", "0").strip() != ""', "test_datasets.py"),
    ("data/datasets.py", "int(labels[i]) - 1", "int(labels[i])", "test_datasets.py"),
    ("data/images.py", "picture.transpose(2, 0, 1)", "picture.transpose(2, 1, 0)", "test_datasets.py"),
    ("models/convnets.py", "self.relu(self.residual(x) + self.shortcut(x))", "self.relu(self.residual(x)) + self.shortcut(x)", "test_convnets.py"),
    ("models/convnets.py", "self.layer2 = self._layer(64, 128, depths[1], stride=2)", "self.layer2 = self._layer(64, 128, depths[1], stride=1)", "test_convnets.py"),
    ("models/convnets.py", "self.adds = stride == 1 and inputs == outputs", "self.adds = False", "test_convnets.py"),
    ("models/convnets.py", "conv_bn(3, 32, 1, bias=True, padding=1)", "conv_bn(3, 32, 1, bias=True)", "test_convnets.py"),
    ("models/convnets.py", "stride=stride, groups=wide", "stride=stride", "test_convnets.py"),
    ("models/classical.py", "permute(0, 2, 3, 1)", "permute(0, 3, 2, 1)", "test_classical.py"),
    ("models/classical.py", "orientations=orientations, pixels_per_cell", "orientations=9, pixels_per_cell", "test_classical.py"),
    ("models/classical.py", 'block_norm="L2-Hys"', 'block_norm="L1"', "test_classical.py"),
    ("models/classical.py", 'describe = pixels if features == "pixels"', 'describe = pixels if True', "test_classical.py"),
    ("models/classical.py", "KNeighborsClassifier(k)", "KNeighborsClassifier(1)", "test_classical.py"),
    ("benchmark/case.py", "manual_seed(self._seed)", "manual_seed(0)", "test_benchmark.py"),
    ("benchmark/case.py", "return heatmap.normalize(self._raw)", "return self._raw", "test_benchmark.py"),
    ("benchmark/case.py", "if model is self.model and images is", "if images is", "test_benchmark.py"),
    ("benchmark/case.py", 'f"{seed}/{image}"', 'f"{seed}"', "test_benchmark.py::test_chance_depends_on_seed_and_image_alone"),
    ("benchmark/metrics.py", "        return 100 * metric(", "        return metric(", "test_benchmark.py"),
    ("benchmark/functions.py", "or one.default is None)]", ")]", "test_benchmark.py"),
    ("benchmark/report.py", "values.dropna()", "values.fillna(0)", "test_benchmark.py::test_broken_images_and_maps_keep_their_rows"),
    ("benchmark/report.py", "len(values) - len(known)}", "0}", "test_benchmark.py::test_broken_images_and_maps_keep_their_rows"),
    ("benchmark/run.py", '"undefined"] if math.isnan(value)', '"undefined"] if False', "test_benchmark.py::test_a_file_that_is_no_image_is_named"),
    ("benchmark/plan.py", "if found != source.classes:", "if False:", "test_benchmark.py::test_what_makes_no_sense_is_refused_before_anything_runs"),
    ("benchmark/table.py", 'split(b"\\n")[:-1]', 'split(b"\\n")', "test_benchmark_processes.py"),
    ("benchmark/table.py", "len(rows) - metrics + 1, metrics)", "len(rows), metrics)", "test_benchmark_processes.py::test_torn_ends_are_left_out_wherever_the_writer_died"),
    ("benchmark/table.py", "part.unlink()", "pass", "test_benchmark_processes.py::test_two_processes_one_of_which_dies_end_with_the_same_table"),
    ("benchmark/run.py", "[parallel.rank() :: parallel.count()]", "[parallel.rank() + 1 :: 2]", "test_benchmark_processes.py"),
    ("benchmark/plan.py", '"weights": _fingerprint(net), ', "", "test_benchmark_processes.py::test_a_file_with_other_options_is_refused"),
    ("training/convolution.py", "convolution_backward(R, v, w, None", "convolution_backward(v, R, w, None", "test_denoising.py"),
    ("training/convolution.py", "torch.convolution(v, w, None", "0 * torch.convolution(v, w, None", "test_denoising.py"),
    ("grading/wire.py", "if length > LARGEST:", "if False:", "test_grading.py::test_a_large_answer_and_a_large_output"),
    ("grading/sandbox.py", 'ours = [ROOT / "xailib", ROOT / "results"]', 'ours = [Path("/")]', "test_grading.py::test_what_the_kernel_granted_is_what_holds"),
    ("grading/seccomp.py", '"socket": (41, 198)', '"socket": (-1, -1)', "test_grading.py::test_what_the_kernel_granted_is_what_holds"),
    ("grading/seccomp.py", "(_EQUAL, 1, 0, own)", "(_EQUAL, 1, 1, own)", "test_grading.py::test_no_way_out_of_the_sandbox"),
    ("grading/seccomp.py", "(8, 15)", "(15,)", "test_grading.py::test_no_way_out_of_the_sandbox"),
    ("grading/student.py", "changed = not all(map(", "changed = not any(map(", "test_grading.py"),
    ("grading/student.py", 'if closed >= set(job["closed"]):', "if True:", "test_grading.py::test_nothing_runs_where_less_is_shut_than_promised"),
    ("grading/judge.py", "(leaf - leaf.detach())", "(leaf.detach() - leaf)", "test_grading.py"),
    ("grading/submissions.py", "times > 1", "times > 2", "test_grading.py::test_two_notebooks_for_a_lesson_are_not_guessed_at"),
    ("grading/table.py", '("=", "+", "-", "@")', '("=",)', "test_grading.py::test_table_is_sorted_whole_and_harmless"),
    ("checks/__init__.py", ' or getattr(answer, "changed", False)', "", "test_grading.py"),
    ("checks/__init__.py", 'Random(f"{student()}/{name}")', "Random(name)", "test_grading.py::test_a_neighbours_answer_is_another_questions_answer"),
    ("checks/lesson_12.py", "not abs(float(found) - expected) <= 1e-6", "abs(float(found) - expected) > 1e-6", "test_grading.py"),
]  # fmt: skip


noticed: set[str] = set()  # the tests that a fault has turned red


@pytest.mark.parametrize("file, code, fault, tests", MUTANTS, ids=lambda part: part[-40:])
def test_planted_fault_is_noticed(file, code, fault, tests, tmp_path):
    copy(tmp_path)
    source = tmp_path / "xailib" / file
    text = source.read_text(encoding="utf-8")
    assert text.count(code) == 1, f"{file} no longer holds {code!r} exactly once: mend the mutant"
    source.write_text(text.replace(code, fault), encoding="utf-8")
    status, said = run(tmp_path, f"tests/{tests}")
    assert status == 1 and "failed" in said, said[-4000:]  # 1: tests ran, and some failed
    noticed.update(re.findall(r"^FAILED (tests/\S+::\w+)", said, re.MULTILINE))


def test_what_noticed_a_fault_passes_without_one(tmp_path):
    copy(tmp_path)
    status, said = run(tmp_path, *sorted(noticed))
    assert noticed and status == 0, said[-4000:]


def copy(folder: Path) -> None:
    """The library, and the tests too: beside their conftest.py the library here would come first."""
    for name in ("xailib", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)


def run(folder: Path, *tests: str) -> tuple[int, str]:
    """The exit status of the tests in `folder`, the first that fails being the last, and what was said."""
    process = PROCESSES.Process(target=_run, args=(folder, tests))
    process.start()
    process.join()
    return process.exitcode, (folder / "said.txt").read_text(encoding="utf-8")


def _run(folder: Path, tests: tuple[str, ...]) -> None:
    """In a process of its own, which has the heavy packages but not yet `xailib`."""
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    without = [f"-pno:{plugin}" for plugin in ("anyio", "cacheprovider", "nbval", "xdist")]  # not needed, slow to load
    with open("said.txt", "w", encoding="utf-8") as said, redirect_stdout(said):
        status = pytest.main(["-x", "-q", *without, *tests])
    sys.exit(int(status))
