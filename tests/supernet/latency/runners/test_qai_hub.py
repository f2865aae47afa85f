"""The runner ``qai_hub`` against a module that stands for Qualcomm's package."""

import importlib.util
import inspect
import sys
from types import SimpleNamespace

import pytest

from supernet.latency.runners.qai_hub import main
from tests.helpers.programs import refusal

DONE = SimpleNamespace(success=True, message=None)
SUMMARY = {"estimated_inference_time": 3652, "all_inference_times": [10003, 4205]}


class Job:
    """A job of either kind that ends as it is told."""

    job_id = "jp123"

    def __init__(self, status=DONE, summary=None):
        self.status, self.summary = status, summary

    def wait(self, timeout):
        if isinstance(self.status, Exception):
            raise self.status
        self.waited = timeout
        return self.status

    def get_target_model(self):
        return "compiled"

    def download_profile(self):
        return {"execution_summary": self.summary}


class HubError(Exception):
    """The package's own base class of errors."""


class Hub(SimpleNamespace):
    """The package: two jobs, and what was asked of it."""

    Error = HubError

    def __init__(self, job, compiling=None):
        super().__init__(job=job, compiling=compiling, asked=[])

    def Device(self, name, os):
        return (name, os)

    def submit_compile_job(self, model, device, **options):
        self.asked.append(("compile", model, device, options))
        return self.compiling

    def submit_inference_job(self, model, device, **options):
        sys.stdout.write("Uploading 12\n34\n")
        if isinstance(self.job, Exception):
            raise self.job
        self.asked.append(("profile", model, device, options))
        return self.job


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"a model")
    return path


@pytest.fixture
def install(monkeypatch):
    """Puts a module in the package's place."""

    def put(hub):
        monkeypatch.setitem(sys.modules, "qai_hub", hub)
        return hub

    return put


def test_a_file_is_profiled_as_it_is_and_all_its_runs_are_printed(install, model, capsys):
    hub = install(Hub(Job(summary=SUMMARY)))
    words = ["--device", "Samsung Galaxy S24", "--options", "--compute_unit npu"]
    main([*words, "--timeout", "77", str(model)])
    assert capsys.readouterr().out == "10.003 4.205\n"
    ((kind, path, device, options),) = hub.asked
    assert (kind, path, device) == ("profile", str(model), ("Samsung Galaxy S24", ""))
    assert options == {"inputs": None, "profile": True, "options": "--compute_unit npu"}
    assert hub.job.waited == 77


def test_a_file_is_compiled_first_where_a_runtime_is_asked_for(install, model, capsys):
    hub = install(Hub(Job(summary={"estimated_inference_time": 3652}), Job()))
    words = ["--device", "S24", "--runtime", "tflite", "--input", "images=1,3,16,16"]
    main([*words, str(model)])
    assert capsys.readouterr().out == "3.652\n"
    compiled, profiled = hub.asked
    assert compiled[3] == {
        "input_specs": {"images": (1, 3, 16, 16)},
        "options": "--target_runtime tflite",
    }
    assert profiled[1] == "compiled"


FAILED = SimpleNamespace(success=False, message="Unsupported op\nReduceWindow")


@pytest.mark.parametrize(
    ("hub", "reason"),
    [
        (
            Hub(Job(), Job(FAILED)),
            "the compile job jp123 of Qualcomm AI Hub failed: Unsupported op ReduceWindow",
        ),
        (
            Hub(Job(SimpleNamespace(success=False, message=None)), Job()),
            "the profile job jp123 of Qualcomm AI Hub failed: it does not say why",
        ),
        (
            Hub(Job(TimeoutError("x")), Job()),
            "Qualcomm AI Hub has not finished within 1800 s: raise --timeout",
        ),
        (
            Hub(HubError("Failed to load configuration file.\n┌──┐"), Job()),
            "Qualcomm AI Hub knows no account here: `pip install",
        ),
        (Hub(HubError("no device S99"), Job()), "Qualcomm AI Hub refuses: no device S99"),
        (Hub(OSError("no route"), Job()), "Qualcomm AI Hub refuses: no route"),
        (Hub(Job(summary={}), Job()), "the profile of Qualcomm AI Hub holds no inference time"),
        (None, 'Qualcomm AI Hub needs `pip install "qai-hub>=0.56"`'),
    ],
)
def test_what_goes_wrong_is_one_line(install, model, capsys, hub, reason):
    install(hub)
    words = ["--device", "S24", "--runtime", "onnx", str(model)]
    assert refusal(main, words, capsys).startswith(reason)


def test_a_call_that_the_package_does_not_have_is_no_refusal(install, model):
    install(Hub(TypeError("unexpected keyword argument 'profile'")))
    with pytest.raises(TypeError, match="unexpected keyword"):
        main(["--device", "S24", str(model)])


def test_options_that_mean_nothing_are_refused(install, model, capsys):
    install(Hub(Job()))
    words = ["--device", "S24", str(model)]
    assert refusal(main, [*words, "--input", "x=1,3"], capsys).startswith(
        "--input is for compiling"
    )
    bad = [*words, "--runtime", "onnx", "--input", "x=1,R"]
    assert "'x=1,R' is not such as images=1,3,224,224" in refusal(main, bad, capsys)
    assert refusal(main, ["--device", "S24", "net.pte"], capsys).startswith("net.pte is no onnx or")


@pytest.mark.skipif(importlib.util.find_spec("qai_hub") is None, reason="needs qai-hub")
def test_the_package_has_what_the_runner_asks_of_it():
    import qai_hub

    assert issubclass(qai_hub.UserError, qai_hub.Error)
    inspect.signature(qai_hub.Device).bind("Samsung Galaxy S24", "")
    compiling = inspect.signature(qai_hub.submit_compile_job)
    compiling.bind("net.onnx", "device", input_specs=None, options="")
    profiling = inspect.signature(qai_hub.submit_inference_job)
    profiling.bind("net.onnx", "device", inputs=None, profile=True, options="")
    assert {"wait", "download_profile"} <= set(dir(qai_hub.InferenceJob))
    assert {"wait", "get_target_model"} <= set(dir(qai_hub.CompileJob))
