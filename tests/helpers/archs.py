"""Arch files of networks that no search has found."""

from supernet.arch_file import ArchFile
from supernet.cost.counts import count


def counted_arch(space, arch):
    """The file of an architecture whose target is its own number of multiply-accumulates."""
    macs = float(count(space.spec(arch)).macs)
    return ArchFile(space, arch, macs, "macs", "", "", 1.0, 1.0, macs, seed=0, step=0)
