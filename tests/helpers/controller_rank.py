"""One of two processes that update controllers together, each with samples of its own."""

import json
import sys
from datetime import timedelta

import torch
from torch import distributed

from search.controllers.evolution import Evolution
from search.controllers.policy_gradient import gather_mean_std
from search.controllers.ppo_and_reinforce import PPO
from search.controllers.settings import ControllerSettings
from tests.helpers.toys import Toy, train


def update(rank: str, folder: str, sizes: str, *kinds: str) -> None:
    """Write into the folder what this rank started with and holds after four updates."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=int(rank),
        world_size=2,
        timeout=timedelta(seconds=60),
    )
    try:
        states = {kind: _updated(kind, json.loads(sizes), int(rank)) for kind in kinds}
        rewards = torch.rand(6, generator=torch.Generator().manual_seed(int(rank)))
        moments = gather_mean_std(rewards, torch.zeros(6, dtype=torch.long))
        torch.save((states, rewards, moments), f"{folder}/{rank}.pt")
    finally:
        distributed.destroy_process_group()


def _updated(kind, sizes, rank):
    """The state of a controller before and after its updates."""
    torch.manual_seed(0)
    settings = ControllerSettings(
        kind, ppo=PPO(epochs=2, minibatches=2), evolution=Evolution(16, 4)
    )
    controller = settings.build(sizes, 6, 32)
    start = {name: value.clone() for name, value in controller.state_dict().items()}
    list(train(controller, Toy.draw(sizes, 0, 0.5), 100 + rank, 4, samples=6))
    return start, controller.state_dict()


if __name__ == "__main__":
    update(*sys.argv[1:])
