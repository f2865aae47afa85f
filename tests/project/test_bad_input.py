"""Bad input ends every command with one line and status 2, and never with a traceback."""

import os
import resource
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from supernet.command.process import run_command
from tests.helpers import preloaded


@pytest.fixture
def refused(search, tiny_search, capsys):
    """Add options to a search that works, and return the one line that refuses them."""

    def run(*args):
        capsys.readouterr()
        with pytest.raises(SystemExit) as leaving:
            search(*tiny_search, *args)
        output = capsys.readouterr()
        assert leaving.value.code == 2
        assert output.err.startswith("error: ")
        assert output.err.count("\n") == 1
        assert "search" not in output.out, "training had begun"
        return output.err

    return run


def test_the_command_itself_prints_one_line(tiny_search):
    wrong = ["--model.space.ops", "[conv, foo]"]
    done = preloaded.run("search", "fit", *tiny_search, *wrong, warns=True)
    assert done.returncode == 2
    allowed = f"allowed are conv, sepconv, {', '.join(f'mbconv{n}' for n in range(2, 9))}"
    assert done.stderr == f"error: space.ops: unknown value 'foo', {allowed}\n"
    assert done.stdout == ""


OPTIONS = {
    "--model.space no.yaml": "no.yaml is no file, and no config of that name ships; closest are ",
    "--model.space.reference resnet": "unknown network 'resnet'",
    '--model.space.restrictions [{"block":9}]': "block is 9, it must be one of 1 to 3",
    "--model.space.base_filters [8,16]": "got 2, 3, 3; those that are empty are mobilenet_v2's",
    "--model.space.ops [conv,foo]": "unknown value 'foo', allowed are conv, sepconv, mbconv2",
    "--model.space.width 0": "space.width is 0.0, it must be above 0",
    "--model.space.width wide": "--model.space.width: 'wide' is not a number",
    "--model.space.strides [1,2]": "must name the same number of blocks, got 3, 3, 2",
    "--model.target 10": "target 10 macs lies below the cheapest network of the space, 2.659e+04",
    "--model.target []": "target is an empty list: give at least one",
    "--model.target [p20,p20.0]": "targets p20 and p20.0 are the same",
    "--model.target [p20,slow]": "target 'slow' is neither a number of macs, nor relative",
    "--model.target [p20,10]": "target 10 macs lies below the cheapest network of the space",
    "--model.target [p10,p20,p30,p40,p50]": "an update has 4 samples per process for 5 targets",
    "--model.target fast": "target 'fast' is neither a number of macs, nor relative",
    "--model.cost joule": "--model.cost: invalid choice: 'joule' (choose from ",
    "--model.tarjet 3": "--model.tarjet 3; did you mean --model.target?",
    "--model.schedule.warmup 2": "schedule.warmup is 2.0, it must be at least 0 and at most 1",
    "--model.weights.name adamm": "Optimizer adamm not found",
    "--model.weights.lr -1": "weights.lr is -1.0",
    "--model.sampling.every 0": "sampling.every is 0",
    "--model.final.candidates 0": "final.candidates is 0",
    "--model.final.recalibration_images 0": "final.recalibration_images is 0",
    "--model.final.tuning_steps -1": "final.tuning_steps is -1, it must be at least 0",
    "--model.sampling.score best": "--model.sampling.score: invalid choice: 'best' (choose",
    "--model.controller.ppo.minibatches 5": "ppo.minibatches is 5, but an update has 4 samples",
    "--model.sampling.every 40": "of 24 steps it has those from 20 on, and sampling.every is 40",
    "--model.sampling.images 200": "reward: 179 images are fewer than one batch of 200",
    "--model.sampling.images 1": "a batch has 1 image, but maps of one pixel leave batch norm",
    "--data.batch_size 1": "nothing to average: set data.init_args.batch_size to at least 2",
    "--data.resolution 64": "resolution is 64, it must be at least 8 and at most 32",
    "--data.resolutoin 8": "data.resolutoin is no option: --data.help CLASS lists what there is",
    "--data.batch_size 5000": "1080 images are fewer than one batch of 5000",
    "--data foo.Bar": "No module named 'foo'",
    "--data ImageFolder": "data: ImageFolder needs root: add --data.root",
    "--data ImageFolder --data.resolution 8 --data.root /nowhere": "/nowhere is not a folder",
    "--data ImageFolder --data.root /nowhere": (
        "tiny.yaml gives to Digits, but the data are ImageFolder: say which is meant"
    ),
    "--trainer.max_steps -1": "inf steps: give trainer.max_steps or trainer.max_epochs",
    "--trainer.max_steps ten": "--trainer.max_steps: 'ten' is not a number",
    "--trainer.max_steps 4": "the controller would learn nothing: of 4 steps it has those from 4 ",
    "--trainer.log_every_n_steps 0": "trainer.log_every_n_steps is 0, it must be at least 1",
    "--trainer.fast_dev_run true": "use --dry_run or trainer.max_steps",
    "--trainer.precision bf16-true": "allowed are 32-true, bf16-mixed, 16-mixed, under which",
    "--trainer.precision 64-true": "trainer.precision is 64-true: allowed are 32-true, bf16-mixed",
    "--trainer.precision 16-true": "trainer.precision is 16-true: allowed are 32-true, bf16-mixed",
    "--trainer.precision 16-mixed --trainer.accelerator cpu": "would take bf16-mixed instead",
    "--trainer.devices -1": "devices -1: `devices` selected with `CPUAccelerator` should be an int",
    "--trainer.devices abc": "devices abc: ",
    "--trainer.devices \x1b[2J": r"devices \x1b[2J: ",
    "--trainer.accelerator tpu": "trainer with accelerator tpu, devices 1: ",
    "--trainer.limit_train_batches 0": "trainer.limit_train_batches is 0",
    "--trainer.max_epochs 0": "trainer.max_epochs is 0, it must be at least 1, or -1 for no limit",
    "--trainer.callbacks EarlyStopping --trainer.callbacks.monitor val/loss": (
        "EarlyStopping monitors 'val/loss', which this run does not log; allowed are: none"
    ),
    "--run=": "--run is empty: name a folder for this run",
    "--ckpt_path ~/gone.ckpt": f"no checkpoint at {Path.home()}/gone.ckpt",
    "--trainer.overfit_batches 2": "use limit_train_batches",
    "--trainer.gradient_clip_val 0.5": "trainer.gradient_clip_val is 0.5: a search shortens",
    "--trainer.accelerator none": "accelerator='none'`. Available names are: ",
    "--trainer.strategy none": "strategy='none'",
    "--trainer.precision low": "trainer.precision is 'low', it must be one of 64, 32, 16",
    "--trainer.logger TensorBoardLogger": (
        "trainer.logger: TensorBoardLogger needs save_dir: add --trainer.logger.save_dir"
    ),
    "--seed_everything -1": "Seed: -1 does not conform to restriction v>=0 and v<4294967296",
    "--seed_everything true": "seed_everything",
    "--threads -1": "does not conform to restriction v>=0",
    "--ckpt_path last": "nothing to continue in",
    "--ckpt_path gone.ckpt": "no checkpoint at gone.ckpt",
    "--run /dev/null/run": "cannot make the run folder /dev/null/run (Not a directory)",
    "--unknown": "unrecognized arguments: --unknown",
    "--wandb.mode on": "--wandb.mode: invalid choice: 'on' (choose from ",
}


@pytest.mark.parametrize("options", OPTIONS)
def test_an_option_that_cannot_be_is_named(refused, options):
    assert OPTIONS[options] in refused(*options.split())


@pytest.mark.skipif(torch.cuda.is_available(), reason="the accelerator is there")
def test_a_missing_gpu_is_named(refused):
    line = refused("--trainer.accelerator", "gpu")
    assert "accelerator gpu, devices 1" in line
    assert "--trainer.accelerator cpu" in line


def test_online_tracking_without_a_login_starts_nothing(refused, monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))  # without the user's .netrc
    assert "--wandb.mode offline" in refused("--wandb.mode", "online")


# --- configs --------------------------------------------------------------------------------------

CONFIGS = {
    "model: {space: {widht: 3}}": "'model.space.widht'",
    "modle: {target: 3}": "bad.yaml: there is no setting 'modle'; did you mean model?",
    "trainer: {max_stps: 3}": "'trainer.max_stps'",
    "data: {init_args: {resolutoin: 3}}": "data.resolutoin is no option",
    "model: {target: 3\nx: [1": "bad.yaml is not YAML: while parsing a flow mapping",
    "- 1\n- 2": "Unexpected config: - 1 - 2",
    "model: {sampling: {every: often}}": "sampling.every is 'often', it must be a whole number",
}


@pytest.mark.parametrize("content", CONFIGS)
def test_a_config_that_cannot_be_is_named(refused, tmp_path, content):
    bad = tmp_path / "bad.yaml"
    bad.write_text(content)
    assert CONFIGS[content] in refused("-c", bad)


def test_a_config_of_bytes_or_nothing_is_named(refused, tmp_path):
    (tmp_path / "bytes.yaml").write_bytes(bytes(range(128, 256)))
    assert "bytes.yaml is not YAML" in refused("-c", tmp_path / "bytes.yaml")
    assert "gone.yaml is no file, and no config of that name ships" in refused("-c", "gone.yaml")
    assert "not a file" in refused("-c", tmp_path)


def test_an_image_folder_without_images_is_named(refused, tmp_path):
    root = tmp_path / "images"
    root.mkdir()
    images = ["--data", "ImageFolder", "--data.root", root, "--data.resolution", "8"]
    assert f"{root} holds 0 class folder(s)" in refused(*images)
    (root / "cat").mkdir()
    (root / "dog").mkdir()
    assert f"{root / 'cat'} holds no images" in refused(*images)


# --- checkpoints ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_checkpoints_that_are_broken_or_foreign_are_named(
    search, refused, tiny_search, tmp_path, capsys
):
    search(*tiny_search)
    run, broken = tmp_path / "run", tmp_path / "broken.ckpt"
    good = (run / "checkpoints" / "last.ckpt").read_bytes()
    elsewhere = ["--run", tmp_path / "other", "--ckpt_path", broken]
    for content in (good[: len(good) // 2], os.urandom(4096), b"", b"PK\x03\x04"):
        broken.write_bytes(content)
        assert f"{broken} is no whole checkpoint" in refused(*elsewhere)
    for content in ({"weights": 1}, [1, 2], torch.zeros(3)):
        torch.save(content, broken)
        assert f"{broken} is not the checkpoint of a run" in refused(*elsewhere)
    retrained = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    del retrained["search"]
    torch.save(retrained, broken)
    assert "the checkpoint is not of a search" in refused(*elsewhere)

    kept = (run / "config.yaml").read_bytes()
    for options, difference in {
        "--model.space.width 0.2": "space.width is 0.1, this search's is 0.2",
        "--model.target p80": "target is ",
        "--model.cost params": "cost is macs, this search's is params",
        "--seed_everything 5": "seed is 0, this search's is 5",
        "--data.resolution 9": "space.resolution is 8, this search's is 9",
        "--data.batch_size 20": "batch size over all processes 16, now it is 20",
    }.items():
        assert difference in refused("--ckpt_path", "last", *options.split())
    assert (run / "config.yaml").read_bytes() == kept
    assert (run / "checkpoints" / "last.ckpt").read_bytes() == good


@contextmanager
def files_of_at_most(limit):
    """No file may grow beyond so many bytes, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_checkpoint_before_whole(tiny_search, tmp_path, search, capsys):
    # The first checkpoint is smaller than those with an optimizer's state.
    limit = 900_000
    with files_of_at_most(limit), pytest.raises(SystemExit) as leaving:
        search(*tiny_search, "--checkpoint_every_s", "0")
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert leaving.value.code == 2
    assert capsys.readouterr().err == (
        f"error: cannot write {last}: File too large; the checkpoint before is whole: free some"
        " space and go on with --ckpt_path last\n"
    )
    assert 0 < last.stat().st_size < limit
    assert torch.load(last, weights_only=True)["search"]["steps_done"] < 24
    assert [path.name for path in last.parent.iterdir()] == ["last.ckpt"]
    search(*tiny_search, "--ckpt_path", "last")
    assert (tmp_path / "run" / "arch.json").exists()


# --- other commands -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "not JSON"),
        ('{"format": "onnx"}', "format is 'onnx', not 'mnasnet-arch'"),
        ('{"format": "mnasnet-arch", "version": 9}', "version is 9, this program reads 1"),
        (None, "cannot be read (No such file or directory)"),
    ],
)
def test_a_foreign_architecture_is_refused_by_show(command, tmp_path, content, reason):
    path = tmp_path / "arch.json"
    if content is not None:
        path.write_text(content)
    done = command("supernet", "show", path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {path}: {reason}")
    assert done.stderr.count("\n") == 1


def test_an_unknown_export_format_is_named(tmp_path, capsys):
    export = pytest.importorskip("retrain.export.export")
    with pytest.raises(SystemExit) as leaving:
        run_command(lambda: export.main(["--run", str(tmp_path), "--formats", "onnx", "tflite9"]))
    assert leaving.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: unknown format 'tflite9', known are onnx")
