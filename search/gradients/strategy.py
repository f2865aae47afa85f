"""The strategy of a search on several devices: Lightning's DDP, which leaves gradients alone."""

import torch
from pytorch_lightning.strategies import DDPStrategy
from torch import distributed

REPLACED = ("auto", "ddp", "ddp_find_unused_parameters_true", "ddp_find_unused_parameters_false")
"""Names under which Lightning makes a ``DDPStrategy`` of processes where there are many devices."""


class SearchStrategy(DDPStrategy):
    """Processes of a search, which averages gradients itself (``GradientReduction``).

    ``DistributedDataParallel`` would average all weights in each step, and must be told to look for
    those that have no gradient.
    """

    @torch.no_grad()
    def configure_ddp(self) -> None:
        """Give all ranks the first one's weights, as DDP does, and wrap nothing."""
        assert self.model is not None
        for tensor in [*self.model.parameters(), *self.model.buffers()]:
            first = tensor.detach().contiguous()
            distributed.broadcast(first, src=0)
            tensor.copy_(first)
