"""The table: what stands in it, by hand and by known answers, and what is refused."""

import json
from functools import partial

import pandas as pd
import pytest
import torch
from cases import batch, tiny, tiny_vit
from torch import nn

from xailib import benchmark, explain, heatmap, metrics, network
from xailib.benchmark import METHODS, METRICS, run, source, summary
from xailib.benchmark.case import Case, image_seed
from xailib.data import PlantedScenes, Sample
from xailib.data.stickers import VALUES, colours

BOX = torch.tensor([[2, 2, 10, 9]])


class Pictures(torch.utils.data.Dataset):
    """Three random images; those of the given numbers are broken."""

    def __init__(self, *broken: int, count: int = 3):
        self.images, self.labels = batch(count)
        self.broken = broken

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        if i in self.broken:
            raise ValueError(f"picture {i} is torn")
        return Sample(self.images[i], int(self.labels[i]), BOX)


quiet = partial(run, progress=False, layer="features")


def value(table, **where):
    for column, wanted in where.items():
        table = table[table[column] == wanted]
    assert len(table) == 1
    return table["value"].item()


# --- the numbers are those of the library -----------------------------------------------------------------------------


def test_values_are_those_of_the_library_image_by_image():
    net, data = tiny(), Pictures()
    names = ["average_drop", "average_gain", "coherency", "complexity", "adcc", "insertion", "deletion", "aopc"]
    names += ["max_sensitivity", "weight_randomization", "official_metric", "energy_pointing_game", "saliency_metric"]
    settings = {"aopc": {"patch": 4, "regions": 3}, "max_sensitivity": {"samples": 2}}
    table = quiet(net, data, methods=["gradcam"], metrics=names, settings=settings)
    assert list(table["metric"]) == names * 3
    gradcam = partial(explain.cam, layer="features", weights=explain.gradcam)
    for i in range(3):
        x, t = data.images[i][None], data.labels[i][None]
        seed = image_seed(0, f"image {i}")
        S = heatmap.normalize(gradcam(net, x, t))
        p, o = metrics.masked_probabilities(net, x, t, S)
        again = heatmap.normalize(gradcam(net, metrics.masked_images(net, x, S), t))
        C, K = metrics.coherency(S, again), metrics.complexity(S)
        noise, shuffle = (torch.Generator().manual_seed(seed) for _ in range(2))
        expected = {
            "average_drop": metrics.average_drop(p, o),
            "average_gain": metrics.average_gain(p, o),
            "coherency": C,
            "complexity": K,
            "adcc": 100 * metrics.adcc(p, o, C, K),
            "insertion": 100 * metrics.auc(metrics.insertion_curve(net, x, t, S)),
            "deletion": 100 * metrics.auc(metrics.deletion_curve(net, x, t, S)),
            "aopc": 100 * metrics.aopc(net, x, t, S, patch=4, regions=3),
            "max_sensitivity": metrics.max_sensitivity(net, x, t, gradcam, samples=2, generator=noise),
            "weight_randomization": metrics.weight_randomization(net, x, t, gradcam, generator=shuffle),
            "official_metric": metrics.official_metric(S, [BOX], net(x).argmax(1), t),
            "energy_pointing_game": metrics.energy_pointing_game(S, [BOX]),
            "saliency_metric": metrics.saliency_metric(net, x, t, S),
        }
        for name, wanted in expected.items():
            assert value(table, image=f"image {i}", metric=name) == pytest.approx(wanted.item(), rel=1e-6), name


def test_every_method_meets_every_metric():
    settings = {"rise": {"masks": 8, "cells": 4}, "max_sensitivity": {"samples": 1}, "smoothgrad": {"n": 2}}
    settings |= {"lime": {"superpixels": 4, "samples": 8}, "occlusion": {"window": 8}}
    settings |= {"extremal_perturbation": {"iterations": 2, "step": 4, "sigma": 6.0, "blur": 2.0}, "aopc": {"patch": 4}}
    settings |= {"meaningful_perturbation": {"iterations": 2, "cells": 4, "blur": 2.0}, "opticam": {"iterations": 2}}
    table = quiet(tiny(), Pictures(count=1), settings=settings)
    assert set(table["method"]) == METHODS.keys() - {"raw_attention", "rollout", "tibav"}
    assert len(table) == table["method"].nunique() * len(METRICS)
    lost = table[table["problem"] != ""]  # "features" is not the last layer before the head
    assert set(lost["method"]) == {"classic_cam"} and lost["problem"].str.contains("global average pooling").all()
    assert table[table["method"] != "classic_cam"]["value"].notna().all()
    vit = run(tiny_vit(), Pictures(count=1), methods=["rollout", "gradcam"], metrics=["complexity"], progress=False)
    assert vit["value"].between(0, 1).all() and set(benchmark.methods.methods_of(tiny_vit())) == METHODS.keys()


def test_two_forward_passes_serve_drop_increase_and_gain():
    net, seen = tiny(), []
    x, t = batch(1)
    case = Case(net, x, t, [BOX], explain.edge_map)
    with network.hooked([(net, lambda _, inputs, __: seen.append(len(inputs[0])))]):
        for name in ("average_drop", "average_increase", "average_gain"):
            case.value(METRICS[name])
    assert sum(seen) == 2


def test_a_map_is_made_once():
    asked = []

    def mine(model, images, targets):
        asked.append(images)
        return images.mean(1)

    names = ["insertion", "complexity", "pixel_f1", "coherency", "adcc", "max_sensitivity"]
    quiet(
        tiny(), Pictures(count=1), methods={"mine": mine}, metrics=names, settings={"max_sensitivity": {"samples": 3}}
    )
    assert len(asked) == 1 + 1 + 3  # of the image, of the masked image, and of each noisy one


# --- chance -----------------------------------------------------------------------------------------------------------


def test_chance_depends_on_seed_and_image_alone():
    settings = {"smoothgrad": {"n": 2}, "max_sensitivity": {"samples": 1}}
    ask = partial(quiet, tiny(), metrics=["complexity", "max_sensitivity"], settings=settings)
    whole = ask(Pictures(), methods=["random_map", "smoothgrad"])
    some = ask(source(Pictures(), images=2), methods=["smoothgrad", "random_map"])
    both = whole.merge(some, on=["image", "method", "metric"])
    assert len(both) == 8 and both["value_x"].equals(both["value_y"])
    maps = whole[(whole["method"] == "random_map") & (whole["metric"] == "complexity")]
    assert maps["value"].nunique() == 3  # each image has a noise of its own
    other = ask(Pictures(), methods=["random_map", "smoothgrad"], seed=1)
    assert not (other["value"] == whole["value"])[other["method"] == "smoothgrad"].any()


# --- known answer -----------------------------------------------------------------------------------------------------


class Colours(nn.Module):
    """Knows the class colours of planted scenes: the logit is how well the best place of the image fits."""

    def forward(self, x):
        near = (x[:, None] - colours()[:VALUES, :, None, None]).square().sum(2)
        return 40 * -nn.functional.avg_pool2d(near, 3).flatten(2).amin(2)


def test_on_planted_scenes_the_truth_beats_chance_and_fakecam_is_seen_through():
    generator = torch.Generator().manual_seed(0)
    scenes = PlantedScenes(12, evidence="colour", size=48, generator=generator)
    drawn = scenes.batch(range(12))

    def truth(model, images, targets):
        which = next(i for i, image in enumerate(drawn.images) if torch.equal(image, images[0]))
        return drawn.evidence[which][None].float()

    methods = {"truth": truth} | {name: METHODS[name] for name in ("random_map", "fakecam")}
    names = ["average_drop", "average_gain", "insertion", "deletion", "aopc", "energy_pointing_game", "pointing_game"]
    names += ["pixel_f1"]
    table = run(
        Colours().eval(), scenes, methods=methods, metrics=names, settings={"aopc": {"patch": 6}}, progress=False
    )
    mean = summary(table).set_index(["method", "metric"])["mean"]
    for name in names:
        ahead = mean["truth", name] - mean["random_map", name]
        assert ahead < 0 if name in ("average_drop", "deletion") else ahead > 0, name
    assert mean["truth", "energy_pointing_game"] == mean["truth", "pointing_game"] == 100
    assert (
        mean["fakecam", "average_drop"] < 0.1 and mean["fakecam", "average_gain"] < 0.1 < mean["truth", "average_gain"]
    )


# --- your own ---------------------------------------------------------------------------------------------------------


def test_own_methods_and_metrics_get_what_they_name():
    def bright(model, images, targets, *, layer, generator):
        assert layer == "features" and generator.initial_seed() == image_seed(3, "image 0")
        return images.mean(1)

    def doubled(p, *, factor=2.0, boxes=None):
        assert torch.equal(boxes[0], BOX)
        return factor * p

    table = quiet(
        {"net": tiny()},
        source(Pictures(), images=1),
        methods={"bright": bright, "flat": lambda model, images, targets: images[:, 0]},
        metrics={"doubled": doubled, "sum": lambda maps: maps.sum((1, 2))},
        settings={"doubled": {"factor": 3.0}},
        seed=3,
    )
    x, t = batch(1)
    assert value(table, method="bright", metric="doubled") == pytest.approx(3 * tiny()(x).softmax(1)[0, 0].item())
    assert value(table, method="flat", metric="sum") == pytest.approx(heatmap.normalize(x[:, 0]).sum().item())
    assert list(table["model"].unique()) == ["net"]


def test_several_networks_each_with_its_own_numbers():
    nets = {"one": tiny(), "two": tiny(7)}
    table = quiet(nets, Pictures(), methods=["gradcam"], metrics=["average_drop"])
    for name, net in nets.items():
        alone = quiet(net, Pictures(), methods=["gradcam"], metrics=["average_drop"])
        assert list(table[table["model"] == name]["value"]) == list(alone["value"])


def test_the_predicted_class_can_be_explained():
    net = tiny()
    table = quiet(net, Pictures(), methods=["gradcam"], metrics=["complexity"], targets="predicted")
    assert list(table["target"]) == net(Pictures().images).argmax(1).tolist()


# --- what has no value is named and counted ---------------------------------------------------------------------------


def nan_map(model, images, targets):
    return images.mean(1) / (0 if torch.equal(images[0], batch()[0][1]) else 1)


def test_broken_images_and_maps_keep_their_rows():
    methods = {"nan_map": nan_map, "edge_map": explain.edge_map}
    table = quiet(tiny(), Pictures(2), methods=methods, metrics=["complexity", "pixel_f1"])
    assert len(table) == 3 * 2 * 2
    torn = table[table["image"] == "image 2"]
    assert torn["value"].isna().all() and set(torn["problem"]) == {"ValueError: picture 2 is torn"}
    undefined = table[(table["image"] == "image 1") & (table["method"] == "nan_map")]
    assert undefined["value"].isna().all() and undefined["problem"].str.contains("NaN or infinite").all()
    rows = summary(table).set_index(["method", "metric"])
    assert rows.loc[("nan_map", "pixel_f1"), ["n", "missing"]].tolist() == [1, 2]
    assert rows.loc[("edge_map", "pixel_f1"), ["n", "missing"]].tolist() == [2, 1]
    found = benchmark.problems(table)
    assert list(found["values"]) == [2, 4] and list(found["image"]) == ["image 1", "image 2"]
    assert "4 values of TinyNet are missing (ValueError: picture 2 is torn): images image 2" in benchmark.markdown(
        table
    )


def test_a_file_that_is_no_image_is_named(tmp_path):
    from torchvision.utils import save_image

    for i, kind in enumerate("ab"):
        (tmp_path / kind).mkdir()
        save_image(batch()[0][i], tmp_path / kind / "good.png")
    (tmp_path / "b" / "bad.png").write_bytes((tmp_path / "b" / "good.png").read_bytes()[:200])
    net = tiny()
    net.head = nn.Linear(8, 2).eval()
    table = quiet(
        net, source("folder", root=tmp_path, size=16), methods=["gradcam"], metrics=["complexity", "pixel_f1"]
    )
    assert list(table["image"]) == ["a/good.png"] * 2 + ["b/bad.png"] * 2 + ["b/good.png"] * 2
    assert table["problem"].str.contains("bad.png is not a whole image").tolist() == [0, 0, 1, 1, 0, 0]
    assert list(table["problem"][[1, 5]]) == ["undefined"] * 2  # no boxes, no F1


def test_imagenet_comes_with_its_boxes(tmp_path):
    from torchvision.utils import save_image

    folder = tmp_path / "ILSVRC" / "Data" / "CLS-LOC" / "val"
    folder.mkdir(parents=True)
    save_image(torch.zeros(3, 16, 32), folder / "cat.JPEG")
    (tmp_path / "LOC_synset_mapping.txt").write_text("n1 cat\nn2 dog\nn3 cow\nn4 hen\n")
    (tmp_path / "LOC_val_solution.csv").write_text("ImageId,PredictionString\ncat,n3 8 0 15 15 n3 20 8 31 15\n")
    images = source("imagenet", root=tmp_path, size=16)  # the middle square: columns 8 to 23 of the file
    whole = {"whole": lambda model, images, targets: images[:, 0] + torch.eye(16)}
    table = quiet(tiny(), images, methods=whole, metrics=["energy_pointing_game"])
    inside = 8 + 4  # of the diagonal: rows and columns 0 to 7 in one box, and 12 to 15 in the other
    assert table["target"].item() == 2 and table["image"].item() == "val/cat.JPEG"
    assert table["value"].item() == pytest.approx(100 * inside / 16)


# --- the summary ------------------------------------------------------------------------------------------------------


def made_up(*values, metric="average_drop", method="gradcam", model="resnet50.tv_in1k"):
    problem = ["undefined" if v is None else "" for v in values]
    images = [f"image {i}" for i in range(len(values))]
    columns = {"model": model, "image": images, "target": 0, "method": method, "metric": metric}
    return pd.DataFrame(columns | {"value": pd.Series(values, dtype=float), "problem": problem})


def test_summary_by_hand():
    row = summary(made_up(0.0, 10.0, None, 20.0)).iloc[0]
    assert row["mean"] == 10 and row["median"] == 10 and row["n"] == 3 and row["missing"] == 1
    low, high = metrics.bootstrap_interval(torch.tensor([0.0, 10.0, 20.0]))
    assert (row["low"], row["high"]) == pytest.approx((low, high))
    one = summary(made_up(5.0)).iloc[0]
    assert one["mean"] == 5 and one[["low", "high"]].isna().all()
    infinite = summary(made_up(1.0, 2.0, torch.inf)).iloc[0]
    assert infinite["mean"] == torch.inf and infinite["median"] == 2 and pd.isna(infinite["low"])
    none = summary(made_up(None, None)).iloc[0]
    assert pd.isna(none["mean"]) and none["n"] == 0


def test_markdown_and_latex_by_hand():
    table = pd.concat([made_up(5.0), made_up(None, metric="mine"), made_up(0.25, method="opticam", metric="mine")])
    text = benchmark.markdown(table)
    assert "| method | average_drop ↓ | mine |\n| --- | --- | --- |\n| gradcam | 5 | none |" in text
    assert "\n| opticam |  | 0.25 |" in text
    tex = benchmark.latex(table)
    assert "method & average\\_drop $\\downarrow$ & mine \\\\\n\\midrule\ngradcam & 5 & none \\\\" in tex
    assert "95 \\% bootstrap" in tex or tex.startswith("%")


def test_beside_the_thesis():
    table = pd.concat([made_up(12.0, 13.0), made_up(1.0, method="mine"), made_up(3.0, model="efficientnet_lite0")])
    rows = benchmark.beside_thesis(table)
    assert list(zip(rows["source"], rows["mean"], rows["published"], strict=True)) == [
        ("2.1", 12.5, 12.2),
        ("3.1", 12.5, 13.04),
    ]
    assert benchmark.beside_thesis(made_up(1.0, model="torchvision/vgg16_bn", method="opticam", metric="insertion"))[
        "published"
    ].tolist() == [59.2]
    published = pd.read_csv(benchmark.report.PUBLISHED)
    assert set(published["method"]) <= METHODS.keys() and set(published["metric"]) <= METRICS.keys()
    assert set(published["network"]) == set(benchmark.report.NETWORKS.values())


def test_the_figure_has_a_panel_per_metric():
    table = pd.concat(
        [made_up(5.0, 7.0), made_up(1.0, torch.inf, metric="saliency_metric"), made_up(3.0, method="mine")]
    )
    figure = benchmark.figure(table)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["average drop (%) ↓"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["gradcam", "mine"]
    assert figure.axes[0].lines[0].get_xdata().tolist() == [6, 3]
    assert "gradcam, mine, judged by" in figure.alt


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, words",
    [
        ({"methods": ["gradcm"]}, "no method 'gradcm'; did you mean 'gradcam'"),
        ({"metrics": ["speed"]}, "no metric 'speed'; known are all, average_drop"),
        ({"data": "cifar"}, "data must be one of photos, planted, imagenet, folder"),
        ({"targets": "best"}, "targets must be 'label' or 'predicted'"),
        ({"layer": "featurs"}, "did you mean 'features'"),
        ({"layer": None}, "no default layer for TinyNet"),
        ({"settings": {"rsie": {"masks": 3}}}, "settings for 'rsie', which is neither a method nor a metric"),
        ({"settings": {"gradcam": {"wieghts": 3}}}, "gradcam has no option 'wieghts'"),
        ({"methods": {"mine": lambda model, images, targets, depth: images}}, "asks for 'depth'"),
        ({"metrics": {"mine": lambda maps, depth: maps}}, "asks for 'depth', which is none of model"),
        ({"file": "table.txt"}, r"a file named \*.csv"),
        ({"data": PlantedScenes(2, generator=torch.Generator())}, "count 5 classes, TinyNet knows 4"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(options, words, tmp_path):
    given = {"data": Pictures(), "methods": ["gradcam"], "metrics": ["complexity"]} | options
    if "file" in given:
        given["file"] = tmp_path / given["file"]
    with pytest.raises(ValueError, match=words):
        quiet(tiny(), given.pop("data"), **given)


def test_a_network_in_training_mode_is_refused():
    with pytest.raises(ValueError, match="training mode"):
        quiet(tiny().train(), Pictures(), methods=["gradcam"], metrics=["complexity"])


def test_a_metric_of_many_numbers_is_a_mistake():
    with pytest.raises(TypeError, match="one number per image"):
        quiet(tiny(), Pictures(), methods=["edge_map"], metrics={"mine": lambda maps: maps})


def test_missing_folders_say_what_to_get(tmp_path):
    with pytest.raises(ValueError, match="say which: root="):
        source("folder")
    with pytest.raises(FileNotFoundError, match="LOC_val_solution|ILSVRC"):
        source("imagenet", root=tmp_path)


# --- the command ------------------------------------------------------------------------------------------------------


def test_command_leaves_table_record_summary_and_figure(tmp_path, capsys):
    from xailib.__main__ import main

    file = tmp_path / "new" / "mine.csv"
    words = ["benchmark", "--data", "planted", "--cue", "colour", "--images", "2", "--size", "32", "--device", "cpu"]
    words += ["--targets", "predicted", "--methods", "gradcam,fakecam", "--metrics", "average_drop,insertion"]
    words += ["--set", "insertion.step=512", "--out", str(file)]
    assert main(words) == 0
    printed = capsys.readouterr()
    assert "| gradcam |" in printed.out and "maps judged: 100%" in printed.err
    assert len(pd.read_csv(file)) == 8 and file.with_suffix(".png").stat().st_size > 1000
    noted = json.loads(file.with_suffix(".json").read_text())
    assert noted["options"]["metrics"]["insertion"].endswith("insertion(step=512)")
    assert {"machine", "versions", "date", "commit"} <= noted.keys() and noted["options"]["seed"] == 0
    for change, complaint in (
        (["--seed", "1"], "begun with other"),
        (["--set", "insertion.steps=3"], "insertion has no option 'steps'"),
        (["--set", "step"], "--set takes NAME.OPTION=VALUE"),
        (["--targets", "label"], "explain what the network sees"),
    ):
        with pytest.raises(SystemExit):
            main([*words, *change])
        assert complaint in capsys.readouterr().err
    notes = file.with_suffix(".json")
    for damaged, content, complaint in (
        (file, b"\x80\x04\x95 no table\n", "mine.csv is not a table of the benchmark; choose another file"),
        (notes, notes.read_bytes()[:99], "mine.json is damaged"),
        (notes, b"[1, 2]", "mine.json is damaged"),
        (notes, b'{"options": [1]}', "mine.json is damaged"),
        (notes, b"{}", "mine.json is damaged"),
        (notes, b"[" * 100000, "mine.json is damaged"),
    ):
        damaged.write_bytes(content)
        with pytest.raises(SystemExit):
            main(words)
        assert complaint in capsys.readouterr().err and damaged.read_bytes() == content
    with pytest.raises(SystemExit):
        main(["doctor", "--quick"])
