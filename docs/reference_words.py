"""What the reference says of each command beside its options: purpose, examples, further pages."""

from typing import NamedTuple


class Words(NamedTuple):
    """Words of a page of the reference."""

    purpose: str
    examples: str
    """Lines of a shell."""
    further: str
    """Pages that tell more, as links."""


WORDS = {
    "check-data": Words(
        "Reads every image of a folder as a run would, and says what is there: classes, images of"
        " each split, sizes, copies, files that cannot be read. It draws a page of samples and"
        " trains nothing. It ends with status 2 where a run could not begin.",
        "mnasnet check-data photos\n"
        "mnasnet check-data photos --augmentation strong --resolution 96 --json",
        "[Your own images](../data.md#a-look-before-a-run)",
    ),
    "plan": Words(
        "Reads a folder of images, times a few training steps on this machine, and says what a"
        " search, a retraining, a test and an export would take. It writes their configs, which"
        " fit a budget of time. It trains nothing.",
        "mnasnet plan photos --budget 30m\n"
        "mnasnet plan photos --profile quick --target p30 --folder runs/photos",
        "[A plan](../plan.md)",
    ),
    "search": Words(
        "Finds a network for your images and a limit of cost. It tunes a few dozen networks, fits"
        " a regression to what they show, and lets a controller propose better ones. The choice is"
        " written to `arch.json` in the run's folder ([all files](files.md#search)).",
        "mnasnet search -c digits/search --run runs/digits-search\n"
        "mnasnet search -c photos/search --run runs/photos-search \\\n"
        "  --data.root photos --model.target '0.8x mnasnet_a1'",
        "[How a search works](../search-method.md), [targets](../targets.md),"
        " [stop and go on](../runs.md)",
    ),
    "choose": Words(
        "Answers later questions from a search that is done: another target, device or limit, or"
        " a whole front. Shared weights are not trained again. The answer is a folder with an"
        " `arch.json` for each target ([all files](files.md#choose)).",
        "mnasnet choose --run runs/digits-search --target 0.12\n"
        "mnasnet choose --run runs/digits-search --front 20 --cost macs",
        "[Later questions](../targets.md#later-questions)",
    ),
    "retrain": Words(
        "Trains one network from scratch: the choice of a search, or a published network. The"
        " weights that validated best are kept in `checkpoints/best.ckpt`"
        " ([all files](files.md#retrain)).",
        "mnasnet retrain -c digits/retrain --run runs/digits \\\n"
        "  --model.arch runs/digits-search/arch.json\n"
        "mnasnet retrain -c photos/retrain --run runs/a1 \\\n"
        "  --data.root photos --model.arch mnasnet_a1 --model.init timm",
        "[Training](../training.md), [stop and go on](../runs.md)",
    ),
    "test": Words(
        "Tests a trained network, or a detector, on images that no training has seen. Without"
        " `-c` it takes the settings that the run was trained with; a detector's run takes the"
        " model's settings of [`mnasnet detect`](detect.md). The figures are written to"
        " `test.json` ([all files](files.md#test)).",
        "mnasnet test --run runs/digits\nmnasnet test --run runs/digits --ckpt_path last",
        "[Accuracies](../training.md), [metrics](../metrics.md)",
    ),
    "summary": Words(
        "Prints what a run has found and where its files lie: the network, its cost predicted and"
        " measured, its accuracies. A stage that is missing is named.",
        "mnasnet summary --run runs/digits",
        "[Files of a run](files.md)",
    ),
    "report": Words(
        "Writes `report.html` of a run, one page that opens offline, from the files that are"
        " there. Search, retraining, test and export end with it by themselves.",
        "mnasnet report --run runs/digits",
        "[The report](../runs.md#the-report)",
    ),
    "export": Words(
        "Ships a trained network as files for other runtimes, also in int8. Each file is compared"
        " with PyTorch, and says how images become its input. `export.json` tells what came out"
        " ([all files](files.md#export)).",
        "mnasnet export --run runs/digits --formats onnx pt2\n"
        "mnasnet export --run runs/digits --formats onnx --quantize int8",
        "[Export](../export.md)",
    ),
    "card": Words(
        "Makes a folder that timm loads as `local-dir:FOLDER` and that the Hugging Face hub takes:"
        " model card, weights, preprocessing, exported files ([all files](files.md#card)).",
        "mnasnet card --run runs/digits --license apache-2.0",
        "[A model card](../export.md#a-model-card-and-a-folder-for-a-hub)",
    ),
    "detect": Words(
        "Trains a network to find and name objects: SSDLite on the features of any network, on"
        " images with boxes in COCO's layout. [`mnasnet test`](test.md) tests it.",
        "mnasnet detect -c digits/detect --run runs/boxes --model.arch mnasnet_small",
        "[Detection](../detection.md)",
    ),
    "latency": Words(
        "Builds the latency table of a device, measures how true its predictions are, or shows"
        " it. A search reads the table with `--model.table FILE`"
        " ([fields of a table](files.md#latency-table)).",
        "mnasnet latency build --space spaces/paper --out phone.json\n"
        "mnasnet latency validate phone.json --claim 5\n"
        "mnasnet latency show phone.json --plot phone.png",
        "[Latency](../latency.md)",
    ),
    "show": Words(
        "Prints a network layer by layer: shapes, parameters, multiply-adds.",
        "mnasnet show mnasnet_a1\n"
        "mnasnet show runs/digits-search/arch.json --json --plot network.png",
        "[The space](../space.md)",
    ),
    "networks": Words(
        "Prints networks side by side: stages, layers, parameters, multiply-adds, and with a"
        " latency table the predicted time.",
        "mnasnet networks mnasnet_a1 mobilenet_v2 --resolution 96",
        "[The space](../space.md)",
    ),
    "size": Words(
        "Counts the codes of search spaces, and the networks among them that differ.",
        "mnasnet size spaces/paper spaces/digits",
        "[How many networks](../space.md#how-many-networks)",
    ),
    "rank": Words(
        "Measures how well a search ranks networks. It trains random networks from scratch and"
        " compares their accuracies with what scores them without that. It ends with one sentence"
        " and writes `rank.json` ([fields](files.md#rank)).",
        "mnasnet rank -c digits/retrain --space spaces/digits --networks 20 --run runs/rank",
        "[What searches find](../search-quality.md)",
    ),
    "compare": Words(
        "Measures what a search gains over chance. It trains the choices of searches from scratch"
        " beside random networks of the same cost. With `--truth` controllers search"
        " [tables of networks that others have trained](../outside-truth.md) instead. It ends with"
        " one sentence and writes `compare.json` ([fields](files.md#compare)).",
        "mnasnet compare -c digits/retrain --runs runs/digits-search --random 10\n"
        "mnasnet compare --truth accel-nasbench nas-bench-macro --data DIR",
        "[What searches find](../search-quality.md)",
    ),
    "paper": Words(
        "Repeats an experiment of MnasNet's paper: trains its networks with several seeds, and sets"
        " them beside what the paper prints. It ends with one sentence and writes `paper.json`"
        " ([fields](files.md#paper)). Without a name it lists the experiments and what each takes.",
        "mnasnet paper\n"
        "mnasnet paper table6 --processes 2\n"
        "mnasnet paper table6 --scale imagenet --dry_run",
        "[The paper's experiments](../paper.md)",
    ),
}
TRAINER = (
    *("max_steps", "max_epochs", "max_time", "accelerator", "devices", "num_nodes", "strategy"),
    *("precision", "accumulate_grad_batches", "gradient_clip_val", "val_check_interval"),
    *("check_val_every_n_epoch", "limit_train_batches", "limit_val_batches", "limit_test_batches"),
    *("log_every_n_steps", "logger", "callbacks", "deterministic", "enable_progress_bar"),
)
"""Settings of Lightning's Trainer that a run has a use for; its own page has the others."""
TRAINER_PAGE = "https://lightning.ai/docs/pytorch/stable/common/trainer.html#trainer-flags"
DATA = (
    "supernet.data.ImageFolder",
    "supernet.data.containers.hugging_face.HuggingFace",
    "supernet.data.containers.web_dataset.WebDataset",
    "supernet.data.Digits",
    "supernet.data.ClutteredDigits",
    "retrain.detect.coco_boxes.CocoBoxes",
    "retrain.detect.digit_boxes.DigitBoxes",
)
"""Data sets that ship, whose arguments are settings below ``data``."""
INNER = {
    "model.constraints": "search.objective.constraints.Constraint",
    "model.space.restrictions": "supernet.space.arch.Restriction",
}
"""Settings that are lists of records, and what each record is."""
