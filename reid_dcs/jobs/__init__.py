"""How a run of any task proceeds: output folder, resume, training, search.

A task describes its parts by a :class:`Job`; :func:`train` and :func:`search` carry it out. Nothing
here depends on Re-ID or torchreid.
"""

from reid_dcs.jobs.job import Job
from reid_dcs.jobs.search import search
from reid_dcs.jobs.train import train

__all__ = ["Job", "search", "train"]
