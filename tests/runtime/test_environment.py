"""environment.json."""

from reid_dcs.runtime.environment import version


def test_the_version_of_a_package_that_is_not_installed_is_unknown():
    assert version("torch") and version("surely_not_installed") is None
