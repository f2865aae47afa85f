"""The runner ``stedgeai`` against a script that prints what ST's program prints."""

import pytest

from supernet.latency.runners.stedgeai import main
from tests.helpers.programs import Programs, refusal

REPORT = """
ST Edge AI Core v4.0.1
Running the ONNX model...
ST.AI Profiling results v2.0 - "network"
---------------------------------------------------------------
nb sample(s)   :   10
duration       :   11.970 ms by sample (11.733/12.052/0.097)
macc           :   2938
"""
WORDS = ["--target", "stm32n6", "--desc", "serial:/dev/ttyACM0:921600"]


@pytest.fixture
def programs(tmp_path, monkeypatch):
    programs = Programs(tmp_path / "programs", monkeypatch)
    programs.add("stedgeai", f"cat <<'END'{REPORT}END")
    return programs


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "a net.onnx"
    path.write_bytes(b"a model")
    return path


def option(call, name):
    return call[call.index(name) + 1]


def test_a_model_on_the_board_is_timed(programs, model, capsys):
    main([*WORDS, "--options", "--st-neural-art default@user.json", str(model)])
    assert capsys.readouterr().out == "11.97\n"
    (call,) = programs.calls("stedgeai")
    assert call[0] == "validate"
    assert option(call, "--model") == str(model)
    assert option(call, "--mode") == "target"
    assert option(call, "--desc") == "serial:/dev/ttyACM0:921600"
    assert option(call, "--st-neural-art") == "default@user.json"


def test_a_program_of_the_user_flashes_the_generated_code_first(programs, model, capsys):
    making = """if [ "$1" = generate ]; then
    for word; do [ "$previous" = --output ] && mkdir "$word"; previous=$word; done
    exit 0; fi"""
    programs.add("stedgeai", f"{making}\ncat <<'END'{REPORT}END")
    programs.add("flash", 'test -d "$3"')
    main([*WORDS, "--load", "flash --fast", str(model)])
    assert capsys.readouterr().out == "11.97\n"
    generate, validate = programs.calls("stedgeai")
    (flash,) = programs.calls("flash")
    assert generate[0] == "generate"
    assert validate[0] == "validate"
    assert flash == ["--fast", str(model), option(generate, "--output")]
    assert option(validate, "--output") == option(generate, "--output")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "echo 'E801(HwIOError): Invalid firmware - COM3:115200'",
            "E801(HwIOError): Invalid firmware - COM3:115200: flash ST's validation firmware",
        ),
        (
            "echo 'E200(ValidationError): the model does not match the C model'; exit 1",
            "E200(ValidationError): the model does not match the C model: the board holds another",
        ),
        (
            "echo 'INTERNAL ERROR: Overwriting Entry 0'; exit 1",
            "INTERNAL ERROR: Overwriting Entry 0",
        ),
        ("echo lost; exit 3", "stedgeai validate ended with status 3: lost"),
        ("sleep 30", "stedgeai validate "),
        ("echo done", "`stedgeai validate` printed no `duration : ... ms by sample`"),
        ("echo 'duration : 0.000 ms by sample (0/0/0)'", "`stedgeai validate` printed 0 ms"),
    ],
)
def test_what_goes_wrong_is_one_line(programs, model, capsys, script, reason):
    programs.add("stedgeai", script)
    line = refusal(main, [*WORDS, "--timeout", "1", str(model)], capsys)
    assert line.startswith(reason)
    assert ("gave no answer within 1 s" in line) == (script == "sleep 30")


def test_a_board_that_could_not_be_flashed_is_not_timed(programs, model, capsys):
    programs.add("flash", "echo 'no ST-LINK' >&2; exit 7")
    words = [*WORDS, "--load", "flash", str(model)]
    assert refusal(main, words, capsys) == "flash ended with status 7: no ST-LINK"
    assert [call[0] for call in programs.calls("stedgeai")] == ["generate"]
    words = [*WORDS, "--load", "no_such_program", str(model)]
    assert refusal(main, words, capsys).startswith("there is no program no_such_program here")


def test_without_the_program_it_says_what_to_install(model, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    assert refusal(main, [*WORDS, str(model)], capsys).startswith(
        "there is no program stedgeai here: install ST Edge AI Core"
    )
    assert refusal(main, [*WORDS, "net.pte"], capsys).startswith("net.pte is no onnx or tflite")
