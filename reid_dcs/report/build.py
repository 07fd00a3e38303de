"""Report of an evaluation: title, summary and the order of the sections."""

from pathlib import Path

from reid_dcs.evaluation.protocol import protocol_warnings
from reid_dcs.report import metric_sections, query_sections, run_sections
from reid_dcs.report.evaluation import Evaluation
from reid_dcs.report.page import Paragraph, Report, write_report


def report_evaluation(evaluation: Evaluation, output: Path) -> None:
    """Write ``report.html`` into the folder ``output``.

    Measures the speed of the network on the device that holds it.

    Raises:
        InputError: an image cannot be read, or the page cannot be written.
    """
    sections = [
        metric_sections.results(evaluation),
        metric_sections.training(evaluation),
        metric_sections.cameras(evaluation),
        query_sections.query_table(evaluation),
        query_sections.ranked_lists(evaluation, "worst"),
        query_sections.ranked_lists(evaluation, "best"),
        query_sections.similarity(evaluation),
        query_sections.channels(evaluation),
        metric_sections.worth(evaluation),
        run_sections.cost(evaluation),
        run_sections.reproducibility(evaluation),
    ]
    title = f"{evaluation.config.model.name} on {_dataset_title(evaluation)}"
    report = Report(title, _summary(evaluation), [section for section in sections if section])
    write_report(report, output / "report.html")


def _dataset_title(evaluation: Evaluation) -> str:
    titles = {"synthetic": "generated people", "folder": "a custom data set"}
    return titles.get(evaluation.config.data.name, evaluation.dataset.title)


def _summary(evaluation: Evaluation) -> list[Paragraph]:
    """Main metrics, then warnings about the protocol, the split, the cameras and the license."""
    metrics, dataset = evaluation.metrics, evaluation.dataset
    height, width = evaluation.input_size[1:]
    main = (
        f"mAP {metrics['mAP']:.1%} and rank-1 {metrics['rank1']:.1%}: {metrics['num_query']:,} "
        f"queries against {metrics['num_gallery']:,} gallery images at {height} × {width} "
        f"pixels, ranked by {metrics['metric']} distance."
    )
    warnings = protocol_warnings(metrics, evaluation.config.data.name)
    if dataset.unofficial:
        warnings.append(f"not the official split: {dataset.unofficial}")
    if not dataset.cameras_known:
        warnings.append("cameras are unknown: a query may match images from its camera")
    if terms := dataset.terms:
        warnings.append(
            f"This page shows photographs of people from {dataset.title}, whose terms are: "
            f"{terms}. Share the page only where they allow it."
        )
    return [Paragraph(main), *(Paragraph(_sentence(text), warning=True) for text in warnings)]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."
