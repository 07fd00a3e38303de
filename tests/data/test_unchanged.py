"""What a resumed run says about images that are not those that it began with."""

import pytest

from reid_dcs import InputError
from reid_dcs.data.unchanged import check_unchanged

NOW = {"train": {"images": 4, "classes": 2, "digest": "a"}}


def changed(before):
    with pytest.raises(InputError) as caught:
        check_unchanged(before, NOW, "resume=auto")
    return str(caught.value)


def test_a_damaged_entry_says_what_to_do():
    assert changed({"train": 3}) == (
        "resume=auto: its data entry is damaged or of another version: start over in another "
        "folder with --output-dir"
    )


def test_other_images_say_what_to_do():
    end = "; restore them, or start over in another folder with --output-dir"
    fewer, other = ({"train": NOW["train"] | change} for change in ({"images": 3}, {"digest": "b"}))
    start = "resume=auto: the train images have changed since: "
    counts = "they were 3 images, 2 classes, and are 4 images, 2 classes"
    assert changed(fewer) == f"{start}{counts}{end}"
    assert changed(other) == f"{start}other files, labels or contents under the same counts{end}"


def test_a_split_that_the_run_did_not_use_is_not_compared():
    check_unchanged({}, NOW, "resume=auto")
    check_unchanged(NOW, NOW, "resume=auto")
