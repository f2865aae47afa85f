"""What ``search.compare`` refuses, in one line each."""

import dataclasses

import pytest

from supernet.errors import UserError
from tests.helpers.tiny import SPACE, save_supernet
from tests.helpers.toy_comparison import SEARCH, compare, first_stage, save_run, toy_options

WRONG = {
    "--seeds 0": "--seeds is 0, it must be at least 1",
    "--top 0": "--top is 0, it must be at least 1",
    "--retrain 3": "--retrain is 3, but there are 2 --seeds",
    "--random 1": "--random is 1, it must be at least 2",
    "--trainings 0": "--trainings is 0, it must be at least 1",
    "--processes 0": "--processes is 0, it must be at least 1",
    "--steps 0": "--steps is 0, it must be at least 1",
    "--evaluations 3": "--evaluations is 3, it must be a multiple of the 4 samples",
    "--controllers magic": "invalid choice: 'magic'",
    "--controllers random random": "--controllers names random twice",
    "--retrain 0 --runs r": "--retrain 0 leaves nothing to do with --runs",
    "--runs gone": "cannot read gone/config.yaml",
    "--search gone.yaml": "gone.yaml is no file, and no config",
    "--search pyproject.toml": "cannot read pyproject.toml",
    "--search configs/spaces/paper.yaml": "configs/spaces/paper.yaml has no section model",
    "--search configs/clutter/retrain.yaml": "no search has model.recipe",
    "--target fast": "target 'fast' is neither a number of macs",
    "--target 1": "target 1 macs lies below the cheapest network",
    "-c gone.yaml": "gone.yaml is no file, and no config",
    "--supernet pyproject.toml": "is no checkpoint of a search",
}


@pytest.mark.parametrize("options", WRONG)
def test_an_option_that_cannot_be_is_named_in_one_line(tmp_path, options):
    files, supernet = toy_options(tmp_path), first_stage(tmp_path)
    if "--supernet" in options:
        options = f"{options} --search {tmp_path / 'found/config.yaml'}"
    with pytest.raises(UserError) as refused:
        compare(files, *supernet, *options.split())
    expected = next(line for wrong, line in WRONG.items() if options.startswith(wrong))
    assert expected in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.glob("cache*"))


def test_neither_a_supernet_nor_a_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="give a --supernet for controllers to search on, or"):
        compare(toy_options(tmp_path))


def test_searches_of_two_manners_or_spaces_are_refused(tmp_path):
    files, supernet = toy_options(tmp_path), first_stage(tmp_path)
    other = dataclasses.replace(SPACE, ops=("conv", "sepconv"))
    more = save_supernet(tmp_path / "other/checkpoints/last.ckpt", other)
    (tmp_path / "other/config.yaml").write_text(SEARCH.replace("p40", "p60"))
    both = [*supernet, "--supernet", supernet[1], more]
    with pytest.raises(UserError, match=r"other/config\.yaml searches in another manner than"):
        compare(files, *both)
    (tmp_path / "other/config.yaml").write_text(SEARCH)
    with pytest.raises(UserError, match=r"last\.ckpt has another space than .*last\.ckpt"):
        compare(files, *both)


@pytest.mark.parametrize("broken", ["", "[1]", '{"trained": 1}'])
def test_a_broken_cost_file_is_refused(tmp_path, broken):
    files = toy_options(tmp_path)
    run = save_run(tmp_path / "a", SPACE.decode([0] * 12))
    (run / "cost.json").write_text(broken)
    with pytest.raises(UserError, match=r"cost\.json is broken"):
        compare(files, "--runs", run)


def test_a_found_network_for_other_images_is_refused(tmp_path):
    files = toy_options(tmp_path)
    run = save_run(tmp_path / "a", SPACE.decode([0] * 12))
    config = tmp_path / "retrain.yaml"
    config.write_text(config.read_text().replace("resolution: 8", "resolution: 12"))
    with pytest.raises(UserError, match=r"8 px .* but the config's data have 10, 12 and 1"):
        compare(files, "--runs", run)
