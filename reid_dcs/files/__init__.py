"""Files: reads that end, atomic writes, lock files, output folders outside of others."""

from reid_dcs.files.inside import check_outside, is_in
from reid_dcs.files.locks import exclusive
from reid_dcs.files.reading import LONGEST_TEXT, check_zip, read_text, regular
from reid_dcs.files.temporary import remove_leftovers, remove_temporary_files
from reid_dcs.files.writing import (
    check_creatable,
    check_writable,
    create_folder,
    folder_written_whole,
    kept_as,
    link_whole,
    write_json,
    written_whole,
)

__all__ = [
    "LONGEST_TEXT",
    "check_outside",
    "check_creatable",
    "check_writable",
    "check_zip",
    "create_folder",
    "exclusive",
    "folder_written_whole",
    "is_in",
    "kept_as",
    "link_whole",
    "read_text",
    "regular",
    "remove_leftovers",
    "remove_temporary_files",
    "write_json",
    "written_whole",
]
