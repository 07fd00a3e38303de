"""Every way in which a command ends is one line and a status; nothing stays behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paths import REPOSITORY

from reid_dcs.cli import main

AT_WORK = {
    "waiting": "ready(); time.sleep(60)",
    "computing": "ready()\n    while True: pass",
    "importing": "import slow",
    "importing a module that catches everything": "import stubborn; time.sleep(60)",
    "in a finalizer": "waits = Waits(); del waits; time.sleep(60)",
    "with threads": "pool.submit(ready); pool.submit(time.sleep, 0.2).result(); time.sleep(60)",
    "turning it into another error": """
    try: ready(); time.sleep(60)
    except BaseException as error: raise ImportError("numpy failed") from error""",
}
PROGRAM = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from reid_dcs.cli.process import command
from reid_dcs.files import exclusive, folder_written_whole, written_whole

def ready(): print("ready", flush=True)

class Waits:
    def __del__(self):
        ready(); time.sleep(60)

here = Path(sys.argv[1])
with (
    command(),
    exclusive(here / ".lock"),
    written_whole(here / "file"),
    folder_written_whole(here / "set") as new,
    ThreadPoolExecutor() as pool,
):
    (new / "image").touch()
    {}
"""
MODULES = {
    "slow": "print('ready', flush=True); import time; time.sleep(60)",
    "stubborn": "import time\ntry: print('ready', flush=True); time.sleep(60)\nexcept: pass",
}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("at_work", AT_WORK)
def test_a_signal_at_any_moment(tmp_path, at_work, number):
    modules = tmp_path / "modules"
    modules.mkdir()
    for name, text in MODULES.items():
        (modules / f"{name}.py").write_text(text)
    path = os.pathsep.join([str(modules), str(REPOSITORY)])
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(AT_WORK[at_work]), tmp_path],
        env=os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (128 + number, "interrupted\n")
    assert list(tmp_path.iterdir()) == [modules]


def run(program, shell=(), **options):
    """Run a program, as arguments of a shell's command if there is one."""
    program = f"import os, sys\nfrom reid_dcs.cli.process import command\n{program}"
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    arguments = [*shell, sys.executable, "-c", program]
    return subprocess.run(arguments, text=True, cwd=REPOSITORY, **options)


@pytest.mark.parametrize(
    "error, said",
    [
        ("ValueError('a\\nb')", "ValueError: a b"),
        ("KeyError('x')", "KeyError: 'x'"),
        ("RecursionError()", "RecursionError"),
        ("MemoryError()", "MemoryError"),
        ("OSError(28, 'No space left')", "OSError: [Errno 28] No space left"),
        ("UnicodeEncodeError('ascii', 'x\\udcff', 0, 1, 'no')", "UnicodeEncodeError: 'ascii'"),
        ("ValueError('x' * 10**6)", "xxx"),
    ],
)
def test_an_unexpected_error_is_one_line_with_advice(error, said):
    done = run(f"with command():\n    print('before')\n    raise {error}")
    assert done.returncode == 1 and done.stdout == "before\n"
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and said in line and "--debug" in line and len(line) < 3000


def test_the_advice_helps():
    done = run("with command(debug=True):\n    raise KeyError('x')")
    assert done.returncode == 1 and "Traceback" in done.stderr and "error: KeyError" in done.stderr


def test_a_command_that_fails_unexpectedly(monkeypatch, capsys):
    monkeypatch.setattr("reid_dcs.zoo.read_manifest", lambda: 1 // 0)
    for options in ([], ["--debug"]):
        with pytest.raises(SystemExit) as stop:
            main(["zoo", "list", *options])
        assert stop.value.code == 1
        said = capsys.readouterr().err
        assert ("Traceback" in said) == bool(options)
        assert said.splitlines()[-1].startswith("error: ZeroDivisionError: ")


ASCII = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}


def test_a_stream_that_cannot_show_a_character():
    done = run("with command(): print('± \\udcff'); print('±', file=sys.stderr)",
               env=os.environ | ASCII)  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "\\xb1 \\udcff\n", "\\xb1\n")


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_streams(tmp_path, closed):
    """The next file that is opened does not take the place of a closed stream."""
    file = tmp_path / "file"
    program = (
        "with command():\n"
        f"    kept = open({str(file)!r}, 'w'); kept.write('kept'); kept.flush()\n"
        "    print('out', flush=True); print('err', file=sys.stderr, flush=True)\n"
        "    os.write(1, b'raw'); os.write(2, b'raw')"
    )
    done = run(program, shell=("sh", "-c", f'exec "$0" "$@" {closed}'))
    assert done.returncode == 0 and file.read_text() == "kept"


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="Linux")
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_finished_training_is_finished_though_nobody_could_read_it(stream):
    program = (
        "with command(keep_running=True):\n    for _ in range(9): print('x' * 5000, file=sys.{})"
    )
    reader, writer = os.pipe()
    os.close(reader)
    with FULL.open("w") as full, os.fdopen(writer, "w") as left:
        for place in (full, left):
            done = run(program.format(stream), **{stream: place})
            assert done.returncode == 0 and not done.stderr and not done.stdout


@pytest.mark.skipif(not FULL.exists(), reason="Linux")
def test_a_list_that_could_not_be_written_has_failed():
    with FULL.open("w") as full:
        done = run("with command(): print('a list')", stdout=full)
    assert done.returncode == 1 and done.stderr.startswith("error: OSError: [Errno 28]")
    assert len(done.stderr.splitlines()) == 1


def test_a_deleted_working_folder(tmp_path):
    (tmp_path / "gone").mkdir()
    program = f"os.chdir({str(tmp_path / 'gone')!r}); os.rmdir(os.getcwd())\nwith command(): {{}}"
    done = run(program.format("print(os.path.abspath('x') != 'x')"))
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
    done = run(program.format("os.mkdir('x')"))
    assert done.returncode == 1 and "No such file" in done.stderr
