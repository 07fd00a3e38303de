"""What a report of an evaluation says, section by section; visual/report.py sets it as a page."""

from pathlib import Path

from reid_dcs.evaluating import departures
from reid_dcs.reporting import queries, scores
from reid_dcs.reporting.evaluation import Evaluation
from reid_dcs.visual.report import Paragraph, Report, write_report

__all__ = ["Evaluation", "report_evaluation"]


def report_evaluation(done: Evaluation, output: Path) -> None:
    """Write ``report.html``: results, what was found and what was not, costs, how it was made.

    The speed of the network is measured now.

    Raises:
        InputError: a photograph cannot be read, or the page cannot be written.
    """
    sections = [
        scores.results(done),
        scores.training(done),
        scores.cameras(done),
        queries.table(done),
        queries.lists(done, "worst"),
        queries.lists(done, "best"),
        queries.sight(done),
        queries.channels(done),
        scores.cost(done),
        scores.making(done),
    ]
    title = f"{done.config.model.name} on {_title(done)}"
    report = Report(title, _abstract(done), [section for section in sections if section])
    write_report(report, output / "report.html")


def _title(done: Evaluation) -> str:
    titles = {"synthetic": "generated people", "folder": "a set of one's own"}
    return titles.get(done.config.data.name, done.dataset.title)


def _abstract(done: Evaluation) -> list[Paragraph]:
    metrics, name = done.metrics, done.config.data.name
    height, width = done.input_size[1:]
    said = [
        f"mAP {metrics['mAP']:.1%} and rank-1 {metrics['rank1']:.1%}: {metrics['num_query']:,} "
        f"queries against {metrics['num_gallery']:,} gallery images of {height} × {width} "
        f"pixels, by {metrics['metric']} distance."
    ]
    warnings = departures(metrics, name)
    if done.dataset.unofficial:
        warnings.append(f"not the official split: {done.dataset.unofficial}")
    if not done.dataset.cameras_known:
        warnings.append("no cameras are known: a query may find its own camera's images")
    if terms := done.dataset.terms:
        warnings.append(
            f"This page shows photographs of people from {done.dataset.title}, whose terms are: "
            f"{terms}. Do not pass the page on where they do not allow it."
        )
    return [*map(Paragraph, said), *(Paragraph(_sentence(text), True) for text in warnings)]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."
