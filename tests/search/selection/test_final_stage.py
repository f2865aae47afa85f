"""Where the end of a search runs, and on which images."""

from types import SimpleNamespace

import torch

from search.module import SearchModule
from search.selection.results import Results
from supernet.data.digits import Digits
from supernet.data.run_data import RunData


def recorded(monkeypatch, owner, name, calls):
    original = getattr(owner, name)

    def call(self, *args, **options):
        calls.append((name, *args))
        return original(self, *args, **options)

    monkeypatch.setattr(owner, name, call)


def test_the_last_choice_is_made_on_the_device_of_the_search(search, tiny_search, monkeypatch):
    calls = []
    for owner, name in ((SearchModule, "to"), (SearchModule, "cpu"), (Results, "_judge")):
        recorded(monkeypatch, owner, name, calls)
    search(*tiny_search)
    names = [name for name, *_ in calls]
    end = names.index("_judge")
    assert names[end - 2 : end + 2] == ["cpu", "to", "_judge", "cpu"]
    assert calls[end - 1] == ("to", torch.device("cpu"))


def test_what_scores_sees_batches_as_training_does():
    class Doubling(Digits):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            return batch[0] * 2, batch[1]

    batch = torch.rand(2, 3, 8, 8), torch.tensor([0, 1])
    for data, factor in ((Digits(), 1), (Doubling(), 2)):
        module = SimpleNamespace(
            data=RunData(data, "search", seed=0), device="cpu", laid_out=lambda images: images
        )
        images, labels = SearchModule.moved(module, batch)
        assert torch.equal(images, factor * batch[0])
        assert torch.equal(labels, batch[1])
