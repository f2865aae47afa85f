"""What the benchmark of int8 makes of an export's report."""

from benchmarks.int8 import cells, rows

JUDGED = {"accuracy": 0.62, "fp32_accuracy": 0.63, "points_lost": 1.0, "images": 719}
ENTRIES = {
    "onnx": {"bytes": 1_500_000, "latency_ms": 0.2, "failure": ""},
    "onnx-int8": {
        "bytes": 500_000,
        "accuracy": JUDGED,
        "relative_difference": 0.057,
        "agreement": 0.965,
        "failure": "test accuracy is lower",
    },
    "executorch": {"bytes": 1, "latency_ms": 0.1, "delegated_share": 0.99, "failure": ""},
    "executorch-qat": {
        "bytes": 2,
        "latency_ms": 0.3,
        "accuracy": JUDGED,
        "delegated_share": 1.0,
        "relative_difference": 0.05,
        "agreement": 1.0,
        "failure": "",
    },
}


def test_each_file_in_int8_stands_beside_its_file_of_floats():
    refused, trained = rows(ENTRIES)
    assert (refused["format"], refused["method"]) == ("onnx", "int8")
    assert (refused["fp32_bytes"], refused["bytes"]) == (1_500_000, 500_000)
    assert (trained["format"], trained["method"]) == ("executorch", "qat")
    assert (trained["fp32_delegated_share"], trained["delegated_share"]) == (0.99, 1.0)
    assert (trained["fp32_latency_ms"], trained["latency_ms"]) == (0.1, 0.3)


def test_what_was_not_measured_is_a_dash():
    refused, trained = rows(ENTRIES)
    name, method, *numbers, verdict = cells(refused)
    assert (name, method, verdict) == ("onnx", "int8", "refused")
    assert numbers == ["0.6300", "1.00", "5.7%", "96.5%", "1.50 / 0.50", "0.2 / -", "-"]
    assert cells(trained)[-2:] == ["100.0%", ""]
