"""HTML report of an evaluation."""

from reid_dcs.report.build import report_evaluation
from reid_dcs.report.evaluation import Evaluation

__all__ = ["Evaluation", "report_evaluation"]
