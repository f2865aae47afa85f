"""A space so small that its latency table is built in seconds, and the command that builds it."""

SPACE = (
    "{ops: [sepconv, mbconv3], kernels: [3], ses: [0.0], skips: [none, pool], filters: [1.0, 2.0],"
    " layers: [0, 1], base_filters: [8, 16], base_layers: [1, 1], strides: [1, 2],"
    " resolution: 8, stem_stride: 1, head: 8, stem: 8, classes: 2}"
)


def words(folder, *more):
    out = folder / "table.json"
    return ["build", "--space", f"{folder / 'space.yaml'}", "--out", f"{out}", "--quick", *more]
