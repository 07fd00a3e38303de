"""``import reid_dcs`` is light, and its models are in torchreid's zoo whatever comes first."""

import importlib
import importlib.util
import subprocess
import sys

import pytest

from reid_dcs import InputError
from reid_dcs.runtime.imports import after_import, extra


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that can be imported, and is forgotten after the test."""
    (tmp_path / "made_up").mkdir()
    (tmp_path / "made_up/__init__.py").write_text("loaded = True")
    (tmp_path / "made_up/inside.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    yield "made_up"
    for name in [name for name in sys.modules if name.startswith("made_up")]:
        del sys.modules[name]


@pytest.mark.parametrize("imported", ["made_up", "made_up.inside"])
def test_the_action_follows_the_first_import_once(package, imported):
    seen = []
    after_import(package, lambda: seen.append(sys.modules[package].loaded))
    assert importlib.util.find_spec(package) and seen == []  # to look is not to import
    importlib.import_module(imported)
    assert seen == [True]
    del sys.modules[package]
    importlib.import_module(imported)
    assert seen == [True]


def test_the_action_comes_at_once_where_the_package_is_imported(package):
    importlib.import_module(package)
    seen = []
    after_import(package, lambda: seen.append(1))
    assert seen == [1]


def test_the_action_may_import_the_package(package):
    seen = []
    after_import(package, lambda: seen.append(importlib.import_module(f"{package}.inside")))
    importlib.import_module(package)
    assert len(seen) == 1


def run(*lines):
    program = "\n".join(lines)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


BUILT = [
    "assert torchreid.models.build_model('mobilenetv2_dcs', 5, loss='triplet', pretrained=False)",
    "name = torchreid.data.datasets.__name__",
    "assert 'dcs_market1501' in vars(sys.modules[name])['__image_datasets']",
]


@pytest.mark.slow
def test_models_and_data_sets_are_registered_where_torchreid_came_first():
    run("import sys", "import torchreid", "import reid_dcs", *BUILT)


def test_the_package_alone_imports_neither_torch_nor_torchreid():
    run("import reid_dcs, sys", "assert not {'torch', 'torchreid', 'omegaconf'} & {*sys.modules}")


@pytest.mark.slow
def test_where_torchreid_comes_second_and_public_names_come_at_first_use():
    run(
        "import sys, reid_dcs",
        "import torchreid",
        *BUILT,
        "assert not hasattr(reid_dcs, 'nothing') and not hasattr(reid_dcs, '__wrapped__')",
        "assert 'mobilenetv2_dcs' in reid_dcs.list_models('*_dcs')",
        "assert reid_dcs.build_model('mobilenetv2_base', 5)",
        "assert reid_dcs.FeatureExtractor and reid_dcs.InputError",
        "assert reid_dcs.runs.train and reid_dcs.evaluation.evaluate_rank",
        "from reid_dcs import *",
        "assert FeatureExtractor and list_models",
    )


def test_a_package_of_an_extra_is_named_with_it(package):
    assert extra("made_up.inside").__name__ == "made_up.inside"
    with pytest.raises(
        InputError, match=r'absent is not installed: pip install -e "\.\[gallery\]"'
    ):
        extra("absent.inside", "gallery")
