"""The runner ``embedl_hub`` against a script that answers as version 0.0.7 does."""

import pytest

from supernet.latency.runners.embedl_hub import main
from tests.helpers.programs import Programs, refusal

HUB = """
case "$1 $2" in
profile*)
  for word; do [ "$previous" = --run-name ] && echo "$word" > "{folder}/name"; previous=$word; done
  {profile} ;;
"run list") echo '{{"items": [{{"id": "r0", "name": "other"}},' \\
  '{{"id": "r7", "name": "'$(cat "{folder}/name")'"}}]}}' ;;
"run show") {show} ;;
esac
"""
SHOWN = (
    """echo '{"metrics": [{"name": "fps", "value": 1}, {"name": "$latency", "value": VALUE}]}'"""
)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Puts the program on PATH and returns what changes its answers."""
    monkeypatch.delenv("EMBEDL_HUB_PROJECT", raising=False)
    programs = Programs(tmp_path / "programs", monkeypatch)

    def answers(profile="echo '✓ Mean latency: 0.02 ms'", show=SHOWN.replace("VALUE", "0.0237")):
        programs.add("embedl-hub", HUB.format(folder=tmp_path, profile=profile, show=show))
        return programs

    answers()
    return answers


@pytest.fixture
def tflite(tmp_path):
    path = tmp_path / "net.tflite"
    path.write_bytes(b"a model")
    return path


def test_the_exact_time_of_the_very_run_is_printed(hub, tflite, capsys):
    programs = hub()
    words = ["--device", "Samsung Galaxy S24", "--param", "num_threads=1", "--project", "p"]
    main([*words, str(tflite)])
    assert capsys.readouterr().out == "0.0237\n"
    profile, listed, shown = programs.calls("embedl-hub")
    assert profile[:7] == ["profile", "tflite", "aws", "--model", str(tflite), "--device", words[1]]
    assert profile[-4:] == ["--param", "num_threads=1", "--project", "p"]
    assert listed[:3] == ["run", "list", "--json"]
    assert shown == ["run", "show", "r7", "--json", "--project", "p"]


def test_an_onnx_file_goes_to_the_phones_of_qualcomm(hub, tmp_path, capsys):
    (tmp_path / "net.onnx").write_bytes(b"a model")
    main(["--device", "Samsung Galaxy S24", str(tmp_path / "net.onnx")])
    assert hub().calls("embedl-hub")[0][:3] == ["profile", "onnxruntime", "qai-hub"]
    words = ["--device", "x", "--cloud", "aws", str(tmp_path / "net.onnx")]
    assert refusal(main, words, capsys) == ("--cloud aws takes no onnx files: give qai-hub")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            {"profile": "echo \"No such command 'profile'.\" >&2; exit 2"},
            "this embedl-hub has no `profile`: `pipx install 'embedl-hub[tflite]==0.0.7'`",
        ),
        (
            {"profile": "echo \"✗ This command requires the 'tflite' extra.\"; exit 1"},
            "this embedl-hub lacks an extra: `pipx install",
        ),
        (
            {"profile": "echo '✗ profiling failed: no device Nokia 3310'; exit 1"},
            "Embedl Hub refuses: profiling failed: no device Nokia 3310",
        ),
        ({"profile": "exit 3"}, "embedl-hub profile ended with status 3: it printed nothing"),
        ({"profile": "sleep 30"}, "embedl-hub profile tflite aws"),
        ({"show": "echo nothing"}, "`embedl-hub run show` printed no JSON"),
        ({"show": "echo '[]'"}, "embedl-hub answers in another form than version 0.0.7"),
        ({"show": "echo '{\"metrics\": []}'"}, "the run on Embedl Hub has no metric $latency"),
        ({"show": SHOWN.replace("VALUE", "0")}, "the run on Embedl Hub has no metric $latency"),
    ],
)
def test_what_goes_wrong_is_one_line(hub, tflite, capsys, answer, reason):
    hub(**answer)
    line = refusal(main, ["--device", "x", "--timeout", "1", str(tflite)], capsys)
    assert line.startswith(reason)


def test_a_run_that_is_not_listed_is_not_taken_for_another(hub, tflite, tmp_path, capsys):
    hub(profile=f"echo another > {tmp_path}/name")
    line = refusal(main, ["--device", "x", str(tflite)], capsys)
    assert line.startswith("Embedl Hub lists no run mnasnet-search-net-")


def test_without_the_program_it_says_what_to_install(tflite, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    line = refusal(main, ["--device", "x", str(tflite)], capsys)
    assert line.startswith("there is no program embedl-hub here: `pipx install")
