"""Packages of the wheel: those of the tree, and ``configs/`` as data within one of them.

What else there is to say stands in pyproject.toml, which cannot add a folder to those it finds.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["supernet*", "search*", "retrain*"]), "supernet.configs"],
    package_dir={"supernet.configs": "configs"},
    package_data={
        "supernet.configs": ["*/*.yaml"],
        "supernet.command": ["*.json"],
        "supernet.report": ["*.html"],
        **{package: ["py.typed"] for package in ("supernet", "search", "retrain")},
    },
)
