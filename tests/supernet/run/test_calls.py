"""Commands called from Python: their words, what they return, and what they refuse."""

import pytest
import pytorch_lightning as pl

from retrain.api import retrain
from search.api import search
from search.module import SearchModule
from supernet.data.digits import Digits
from supernet.data.image_folder import ImageFolder
from supernet.errors import UserError
from supernet.run.calls import data_words, fit_words, run_words
from supernet.space.mnasnet import MnasSpace
from tests.helpers.tiny import TUNED_OPTIONS, write_tiny_arch


class Told(pl.LightningDataModule):
    """Knows what it was made with."""

    def __init__(self, root: str = "", sizes: list[int] | None = None) -> None:
        super().__init__()
        self.save_hyperparameters()


class Plain(pl.LightningDataModule):
    """Takes nothing."""


def test_a_folder_a_class_and_a_datamodule_are_options(tmp_path):
    assert data_words(tmp_path) == ["--data", "ImageFolder", f"--data.root={tmp_path}"]
    assert data_words(ImageFolder) == ["--data", "supernet.data.image_folder.ImageFolder"]
    words = data_words(Told("here", [1, 2]))
    assert words == ["--data", f"{__name__}.Told", "--data.root=here", "--data.sizes=[1, 2]"]
    assert data_words(Plain()) == ["--data", f"{__name__}.Plain"]


def test_a_datamodule_that_does_not_tell_its_arguments_is_refused():
    with pytest.raises(UserError, match="save_hyperparameters"):
        data_words(Digits(resolution=8))


def test_settings_win_and_are_written_as_options_are():
    settings = {"model.target": ["p20", 12], "wandb.mode": "disabled", "model.final.int8": True}
    words = fit_words(run_words("digits/search", "runs/x", Digits, settings))
    first = "fit --ckpt_path auto --config digits/search --run runs/x --data"
    assert words[:8] == first.split()
    assert words[-3:] == [
        '--model.target=["p20", 12]',
        "--wandb.mode=disabled",
        "--model.final.int8=true",
    ]


def test_a_search_returns_what_it_wrote_and_goes_on(tiny_search, tmp_path):
    config, options = tiny_search[1], iter(TUNED_OPTIONS)
    settings = {
        name.removeprefix("--"): value for name, value in zip(options, options, strict=True)
    }
    found = search(Digits, tmp_path / "found", config=config, settings=settings)
    assert list(found.files) == ["p40"]
    assert found.file == tmp_path / "found" / "arch.json"
    assert found.arch.predicted <= found.arch.target
    again = search(Digits, tmp_path / "found", config=config, settings=settings)
    assert again.arch == found.arch
    with pytest.raises(UserError, match="seed"):
        search(
            Digits, tmp_path / "found", config=config, settings={**settings, "seed_everything": 1}
        )


def test_a_training_returns_its_test_and_its_network(tmp_path):
    settings = {
        "data.resolution": 8,
        "data.batch_size": 64,
        "trainer.max_epochs": 1,
        "trainer.limit_train_batches": 2,
        "trainer.accelerator": "cpu",
        "wandb.mode": "disabled",
    }
    arch = write_tiny_arch(tmp_path / "arch.json")
    trained = retrain(arch, Digits, tmp_path / "run", config=None, settings=settings)
    assert trained.figures["images"] == 359
    assert not trained.network().training


@pytest.mark.parametrize(
    ("config", "settings", "says"),
    [
        ("digits/serch", {}, "closest are digits/search"),
        (None, {"model.taget": "p40"}, "taget"),
        ("digits/search", {"trainer.max_steps": "many"}, "max_steps"),
    ],
)
def test_what_is_wrong_is_raised_in_one_line(config, settings, says, tmp_path):
    with pytest.raises(UserError, match=says) as raised:
        search(Digits, tmp_path / "run", config=config, settings=settings)
    assert "\n" not in str(raised.value)


@pytest.mark.filterwarnings("ignore:You passed in a `val_dataloader`")
def test_a_trainer_alone_is_told_what_to_call(tmp_path):
    module = SearchModule(10, 8, 1, space=MnasSpace(width=0.1, head=16))
    trainer = pl.Trainer(max_steps=1, accelerator="cpu", logger=False, default_root_dir=tmp_path)
    with pytest.raises(UserError, match=r"search\.api\.search"):
        trainer.fit(module, Digits(resolution=8, batch_size=16))
