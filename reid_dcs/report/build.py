"""What a report of an evaluation says, section by section; report/page.py sets it as a page."""

from pathlib import Path

from reid_dcs.evaluation.protocol import protocol_warnings
from reid_dcs.report import metric_sections, query_sections
from reid_dcs.report.evaluation import Evaluation
from reid_dcs.report.page import Paragraph, Report, write_report


def report_evaluation(done: Evaluation, output: Path) -> None:
    """Write ``report.html``: results, what was found and what was not, costs, how it was made.

    The speed of the network is measured now.

    Raises:
        InputError: a photograph cannot be read, or the page cannot be written.
    """
    sections = [
        metric_sections.results(done),
        metric_sections.training(done),
        metric_sections.cameras(done),
        query_sections.table(done),
        query_sections.lists(done, "worst"),
        query_sections.lists(done, "best"),
        query_sections.sight(done),
        query_sections.channels(done),
        metric_sections.cost(done),
        metric_sections.making(done),
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
    warnings = protocol_warnings(metrics, name)
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
