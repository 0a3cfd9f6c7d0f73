"""Settings and statistics of `agreement`."""

from __future__ import annotations

from pydantic import Field, field_validator

from benchmark.protocol import ProtocolConfig
from benchmark.reading import statistic

SAME = 0.99  # Spearman, on every subject, of two methods that are one


class AgreementConfig(ProtocolConfig):
    """Settings of `agreement`.

    Attributes:
        panel: Explainers that every explainer is compared with.
        subjects: Images, as many of each group.
        regions: Compact regions that each foreground is cut into.
        quantiles: Shares of the foreground whose overlap is compared.
        partners: Other subjects that each subject's maps are compared with for the null.
    """

    panel: tuple[str, ...] = ("cam", "gradcam", "gradcampp", "layercam", "saliency")
    subjects: int = Field(64, ge=4)
    regions: int = Field(64, ge=4)
    quantiles: tuple[float, ...] = (0.05, 0.10, 0.20)
    partners: int = Field(4, ge=1)

    @field_validator("panel")
    @classmethod
    def _different(cls, panel: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(panel)) < len(panel) or not panel:
            raise ValueError("a panel of different explainers, at least one")
        return panel


class AgreementStatistics:
    """Everything that `agreement` reads."""

    predicts_delta_t = statistic(
        "rank correlation over regions of the map's mass with what removing the region changes",
        "higher",
    )
    predicts_delta_t_null = statistic("predicts_delta_t with maps of other subjects")
    predicts_delta_t_above_null = statistic("predicts_delta_t minus its null", "higher")
    predicts_magnitude = statistic(
        "predicts_delta_t with the size of the change, since removal moves the groups oppositely",
        "higher",
    )
    spearman = statistic("rank correlation of two methods' maps of one subject")
    spearman_null = statistic("spearman with the other map of another subject")
    spearman_corrected = statistic("spearman minus its null")
    iou = statistic("overlap of the tops of two methods' maps of one subject")
    iou_corrected = statistic("iou minus that with the other map of another subject")
    concordance = statistic("Kendall's W over panel and explainer")
    concordance_of_classes = statistic("concordance where methods that are one count once")
    region_effect = statistic(
        "largest drop of the signed group projection without one region, in units of T"
    )
