"""The five protocols of suite v1 as a careful user composes them of other packages.

No package measures any of the five. What is composed here does the same work: the same cohort and
network, the same number of images, masks, copies and comparisons, passes in batches of 64 without
gradients where none is needed, everything that belongs to the network made once for all methods.
The building blocks are in `peer_tools`.

It is not the same in everything, and where it differs it is easier:

- random masks, cells and noise are other draws of the same kind, and seeds name no subject;
- Grad-CAM maps are clipped and scaled to [0, 1], since pytorch-grad-cam gives no others;
- signals are planted by our own code, and networks that were tuned to them come ready made, as do
  the twin and the network that memorised labels;
- nothing is checked, recorded or kept, and there are no intervals and no verdict.
"""

from __future__ import annotations

from functools import cached_property
from itertools import combinations

import numpy as np
import peer_tools as tools
from peer_tools import Maps, Masks, Network, Rows, Values
from quantus.functions.similarity_func import correlation_spearman
from scipy.stats import rankdata
from skimage.segmentation import slic
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from benchmark.trial import Trial
from benchmark.trial.removal import masking_rows
from protocols.agreement import AgreementConfig
from protocols.delta_t import DeltaTConfig
from protocols.positive_control import PositiveControlConfig
from protocols.positive_control.arms import TunedTo, sites_of
from protocols.positive_control.planting import edge_artefact, planted_cohort, truths
from protocols.randomization import Randomization, RandomizationConfig
from protocols.randomization.walks import steps
from protocols.roi_pointing import RoiPointingConfig

Scores = dict[str, float]

COPIES, REESTIMATION = 3, 64


class PeersJob:
    """The job of some methods on one network and cohort.

    Args:
        trial: Network, cohort and relatives that ours has; nothing is computed with it.
    """

    def __init__(self, trial: Trial) -> None:
        test, train = trial.test, trial.train
        self.network = Network(trial.classifier)
        self.images, self.groups = test.images[:, 0], test.groups
        self.foreground = test.anatomy.foreground[:, 0]
        self.regions = {name: mask[:, 0] for name, mask in test.anatomy.rois.items()}
        self.controls = {name: mask[:, 0] for name, mask in test.anatomy.control_rois.items()}
        self.training, self.training_groups = train.images[:, 0], train.groups
        self.rows = masking_rows(trial, DeltaTConfig().subjects)
        self.imputers = tools.imputers_of(self.training)
        self._steps = list(steps(trial.classifier))
        config = PositiveControlConfig()
        self._test, self._train = test, train
        self._sites, self._training_sites = sites_of(trial, "test"), sites_of(trial, "train")
        self._decoys = [sites_of(trial, "test", f"decoy {n}") for n in range(config.decoys)]
        self._tuned = [
            self._beside(TunedTo(strength).on(trial).classifier) for strength in config.strengths
        ]
        self._twin = self._beside(Randomization.twin_model.on(trial).classifier)
        self._memorised = self._beside(Randomization.label_model.on(trial).classifier)
        self._maps: dict[str, Maps] = {}

    def _beside(self, classifier: object) -> Network:
        other = Network(classifier)
        other.counts = self.network.counts
        return other

    def run(self, protocol: str, method: str) -> Scores:
        """Return some scores of a method under one of the five protocols, by its name."""
        scores: Scores = getattr(self, protocol)(method)
        return scores

    def maps(self, method: str, rows: Rows) -> Maps:
        """Return the maps of some test images on the network, each made once."""
        made = self._maps.setdefault(method, np.full_like(self.images, np.nan))
        missing = rows[np.isnan(made[rows]).all((1, 2))]
        if len(missing):
            maps = tools.explain(self.network, self.images[missing], self.groups[missing], method)
            made[missing] = np.abs(maps)  # as scores of position rank them; CAMs are positive
        return made[rows]

    @cached_property
    def copies(self) -> list[Network]:
        """Fully randomised copies."""
        stages = [_path(name) for name in self.network.stages]
        few = self.training[:REESTIMATION]
        return [self.network.randomised(stages, copy, few) for copy in range(COPIES)]

    @cached_property
    def walks(self) -> list[Network]:
        """Copies of which some stages are randomised, for each step of a walk and each seed."""
        few, networks = self.training[:REESTIMATION], []
        for stages in {step.stages for step in self._steps}:
            names = [_path(self.network.stages[number]) for number in sorted(stages)]
            is_whole = len(names) == len(self.network.stages)
            for copy in range(RandomizationConfig().seeds):
                whole = self.copies[copy]
                networks.append(whole if is_whole else self.network.randomised(names, copy, few))
        return networks

    @cached_property
    def planted(self) -> list[tuple[Maps, Maps]]:
        """Test images, clean and planted, and planted training images, by strength; zero last."""
        return [
            (
                planted_cohort(self._test, strength, self._sites).images[:, 0],
                planted_cohort(self._train, strength, self._training_sites).images[:, 0],
            )
            for strength in (*PositiveControlConfig().strengths, None)
        ]

    @cached_property
    def planted_embeddings(self) -> list[Values]:
        """Embeddings of each strength's test images, after what is asked of signals themselves."""
        config, kept = PositiveControlConfig(), []
        count, some = len(self.images), self.rows
        clean = tools.outputs_of(self.network, self.training)[1]
        truth = truths(self._sites, self.images.shape[1:])[:, 0]
        for number, (images, training) in enumerate(self.planted):
            networks = [self.network, *self._tuned[number : number + 1]]
            outputs = [tools.outputs_of(network, images) for network in networks]
            altered = tools.outputs_of(self.network, training[len(clean) :])[1]
            labels = np.repeat([0, 1], len(clean))
            probe = LogisticRegression(max_iter=1000).fit(np.concatenate([clean, altered]), labels)
            of_probe = probe.decision_function(outputs[0][1])
            margins = [of_probe, *(own[:, 1] for own, _ in outputs[1:])]
            for (_, embeddings), margin in zip(outputs, margins, strict=True):
                roc_auc_score(np.repeat([0, 1], count), margin)
                tools.swapped(embeddings[:count] - embeddings[count:], config.permutations)
            sites = truth[some][:, None]
            edge_artefact(images[some, None], images[count + some, None], sites, sites)
            kept.append(outputs[0][1])
        tools.null_distances(self.outputs[1], config.splits, config.null_permutations)
        return kept

    @cached_property
    def outputs(self) -> tuple[Values, ...]:
        """Margins and embeddings of the test images."""
        return tools.outputs_of(self.network, self.images)

    @cached_property
    def cells(self) -> tuple[Masks, Values]:
        """The cells of each foreground, and what removing each does, [n, count]."""
        count = AgreementConfig().regions
        masks = np.zeros((len(self.rows), count, *self.images.shape[1:]), dtype=bool)
        for row, organ in enumerate(self.foreground[self.rows]):
            image = self.images[self.rows[row]]
            cells = slic(image, count, compactness=1, mask=organ, channel_axis=None)
            for number in range(count):
                masks[row, number] = cells == number + 1
        return masks, self._drop(masks, "mean")

    @cached_property
    def region_effects(self) -> dict[str, Values]:
        """Outputs without the regions, without moved ones, and without common ones."""
        repeats, generator = RoiPointingConfig().repeats, np.random.default_rng(0)
        union = np.any(list(self.regions.values()), axis=0)[self.rows] & self.foreground[self.rows]
        common = self.foreground[self.rows].all(0)
        shared = [tools.moved(union[0] & common, common, generator) for _ in range(repeats)]
        masks = np.stack(
            [
                [region, *(tools.moved(region, organ, generator) for _ in range(repeats)), *shared]
                for region, organ in zip(union, self.foreground[self.rows], strict=True)
            ]
        )
        return {name: self._without(masks, name)[0] for name in self.imputers}

    def roi_pointing(self, method: str) -> Scores:
        """Score maps against every region and its control, on the network and its copies."""
        regions = {**self.regions, **{f"{name} control": m for name, m in self.controls.items()}}
        regions["all"] = np.any(list(self.regions.values()), axis=0)
        regions["all control"] = np.any(list(self.controls.values()), axis=0)
        sure = np.flatnonzero(self._own_margin(np.arange(len(self.images))) > np.log(0.8 / 0.2))
        few = np.intersect1d(sure, self.rows)
        maps = np.zeros_like(self.images)
        maps[sure] = self.maps(method, np.arange(len(maps)))[sure]
        scores = self._localised(maps, sure, regions)
        for copy in self.copies:
            maps = np.zeros_like(self.images)
            maps[few] = tools.explain(copy, self.images[few], self.groups[few], method)
            self._localised(maps, few, regions)
        margins = self.region_effects["mean"][:, 0]
        return {"ap": scores["all"]["ap"], "margin": float(margins.mean())}

    def delta_t(self, method: str) -> Scores:
        """Remove the top of each map and random masks of its shape, by every imputer."""
        config, generator = DeltaTConfig(), np.random.default_rng(1)
        maps, organs = self.maps(method, self.rows), self.foreground[self.rows]
        pairs = list(zip(maps, organs, strict=True))
        tops, arms = [], []
        for map_, organ in pairs:
            sizes = [int(np.ceil(q * organ.sum())) for q in config.quantiles]
            own = [tools.top_mask(map_, organ, size) for size in sizes]
            tops.append(own)
            repeats = range(config.repeats)
            arms.append([[tools.moved(top, organ, generator) for _ in repeats] for top in own])
        top, random = np.array(tops), np.array(arms)
        everything = np.concatenate([top, random.reshape(len(top), -1, *top.shape[2:])], 1)
        drops = {}
        for name in self.imputers:
            drop = self._drop(everything, name)
            own, other = drop[:, : top.shape[1]], drop[:, top.shape[1] :]
            drops[name] = own - other.reshape(*own.shape, -1).mean(2)
        inside = self.foreground[self.rows][:, None]
        few = random[:, :, : config.secondary_repeats].reshape(len(top), -1, *top.shape[2:])
        single = [
            [tools.scattered(mask, organ, generator) for mask in of for _ in range(2)]
            for of, (_, organ) in zip(top, pairs, strict=True)
        ]
        self._drop(np.array(single), "mean")
        self._drop(np.concatenate([inside, inside & ~top, inside & ~few], 1), "mean")
        _ = self.region_effects
        return {"delta_t": float(drops["mean"].mean())}

    def agreement(self, method: str) -> Scores:
        """Compare with a panel, and what maps put on cells with what removing them does."""
        config, rows = AgreementConfig(), self.rows
        organs, names = self.foreground[rows], [method, *(set(config.panel) - {method})]
        maps = {name: self.maps(name, rows) for name in names}
        partners = [
            np.roll(np.arange(len(rows)), 2 * shift + 2) for shift in range(config.partners)
        ]
        tops = {
            name: [
                [tools.top_mask(map_, organ, int(q * organ.sum())) for q in config.quantiles]
                for map_, organ in zip(of_method, organs, strict=True)
            ]
            for name, of_method in maps.items()
        }
        agreements = []
        for first, second in combinations(names, 2):
            agreements.append(tools.compared(maps[first], maps[second], organs, partners))
            if method in (first, second):
                for order in (np.arange(len(rows)), *partners):
                    tools.overlaps(np.array(tops[first]), np.array(tops[second])[order])
        for row, organ in enumerate(organs):
            tools.concordance([rankdata(maps[name][row][organ]) for name in names])
        cells, effects = self.cells
        pairs = zip(maps[method], cells, strict=True)
        masses = np.array([[map_[cell].sum() for cell in of] for map_, of in pairs])
        found = tools.rank_correlations(masses, effects)
        for partner in partners:
            tools.rank_correlations(masses[partner], effects)
        tools.rank_correlations(masses, np.abs(effects))
        return {"predicts": float(np.mean(found)), "agreement": float(np.mean(agreements))}

    def randomization(self, method: str) -> Scores:
        """Compare maps with those on randomised copies, walks, twin and memorised network."""
        config, rows = RandomizationConfig(), self.rows
        own, organs = self.maps(method, rows), self.foreground[rows]

        def alike(network: Network, among: Rows) -> dict[str, list[float]]:
            images, groups = self.images[rows[among]], self.groups[rows[among]]
            other = tools.explain(network, images, groups, method)
            return tools.likeness(own[among], other, organs[among], config.quantile)

        everyone = np.arange(len(rows))
        full = [alike(copy, everyone) for copy in self.copies]
        twin, _ = alike(self._twin, everyone), alike(self._memorised, everyone)
        half = len(rows) // 2
        per_group = config.walk_subjects // 2
        walked = np.r_[:per_group, half : half + per_group]
        for other in self.walks:
            alike(other, walked)
        for copy in self.copies:
            margins, _ = tools.outputs_of(copy, self.images[rows[walked]])
            maps = tools.explain(copy, self.images[rows[walked]], margins.argmax(1), method)
            tools.likeness(own[walked], maps, organs[walked], config.quantile)
        self._smoothed(method, rows[: config.smooth_subjects], config)
        learned = np.mean(twin["spearman"]) - np.mean([one["spearman"] for one in full])
        return {"learned": float(learned), "twin": float(np.mean(twin["spearman"]))}

    def positive_control(self, method: str) -> Scores:
        """Score maps of planted images against the sites, on tuned networks and by a probe."""
        config, found = PositiveControlConfig(), []
        truth = truths(self._sites, self.images.shape[1:])[:, 0]
        for number in range(len(self._tuned)):
            images, embeddings = self.planted[number][0], self.planted_embeddings[number]
            found.append(self._tuned_maps(method, images, number, truth, config))
            self._frozen_maps(method, images, embeddings, truth, config)
        return {"found": float(np.mean(found))}

    def _localised(self, maps: Maps, rows: Rows, regions: dict[str, Masks]) -> dict[str, Scores]:
        scores = {}
        for name, masks in regions.items():
            of_region = tools.localisation(maps[rows], masks[rows], self.foreground[rows])
            scores[name] = {score: float(np.nanmean(values)) for score, values in of_region.items()}
        return scores

    def _own_margin(self, rows: Rows) -> Values:
        margins: Values = self.outputs[0][rows, self.groups[rows]]
        return margins

    def _without(self, masks: Masks, imputer: str) -> tuple[Values, Values]:
        """Return own margins and projections [n, M] of the rows without each of their masks."""
        altered = tools.impute(self.images[self.rows], masks, self.imputers[imputer])
        margins, embeddings = tools.outputs_of(self.network, altered)
        own = margins[np.arange(len(margins)), np.repeat(self.groups[self.rows], masks.shape[1])]
        projections = embeddings @ self._direction
        return own.reshape(masks.shape[:2]), projections.reshape(masks.shape[:2])

    @cached_property
    def _direction(self) -> Values:
        embeddings = self.outputs[1]
        first, second = (embeddings[self.groups == group].mean(0) for group in (0, 1))
        difference: Values = first - second
        return difference / (difference @ difference)

    def _drop(self, masks: Masks, imputer: str) -> Values:
        """Return how far each removal moves the rows' projections to the other group, [n, M]."""
        before = (self.outputs[1][self.rows] @ self._direction)[:, None]
        signs = 1 - 2 * self.groups[self.rows][:, None]
        drop: Values = signs * (before - self._without(masks, imputer)[1])
        return drop

    def _smoothed(self, method: str, rows: Rows, config: RandomizationConfig) -> list[float]:
        noises, generator = config.smooth_noises, np.random.default_rng(2)
        images = np.repeat(self.images[rows], noises, 0)
        noise = generator.normal(0, config.smooth_sigma, images.shape)
        noisy = np.clip(images + noise, 0, 1).astype(np.float32)
        groups = np.repeat(self.groups[rows], noises)
        means = [
            tools.explain(network, noisy, groups, method).reshape(len(rows), noises, -1).mean(1)
            for network in (self.network, self.copies[0])
        ]
        organs = self.foreground[rows].reshape(len(rows), -1)
        return [
            float(correlation_spearman(first[inside], second[inside]))
            for first, second, inside in zip(*means, organs, strict=True)
        ]

    def _tuned_maps(
        self, method: str, images: Maps, number: int, truth: Masks, config: PositiveControlConfig
    ) -> float:
        """Score planted images' maps on a tuned network, and put clean pixels back at their top."""
        network, rows, count = self._tuned[number], self.rows, len(self.images)
        planted = images[count + rows]
        maps = tools.explain(network, planted, np.ones(len(rows), dtype=np.int64), method)
        found = self._site_scores(maps, truth, rows, config)
        generator, masks = np.random.default_rng(3), []
        for map_, site, organ in zip(maps, truth[rows], self.foreground[rows], strict=True):
            sizes = [int((site & organ).sum()), *(int(q * organ.sum()) for q in config.quantiles)]
            tops = [tools.top_mask(map_, organ, size) for size in sizes]
            repeats = range(config.repeats)
            moved = [tools.moved(top, organ, generator) for top in tops for _ in repeats]
            masks.append([*tops, *moved])
        restored = np.where(np.array(masks), self.images[rows][:, None], planted[:, None])
        tools.outputs_of(network, restored.reshape(-1, *restored.shape[2:]))
        return found

    def _frozen_maps(
        self,
        method: str,
        images: Maps,
        embeddings: Values,
        truth: Masks,
        config: PositiveControlConfig,
    ) -> None:
        """Score maps of the projection on the frozen network, and what planting changes in them."""
        half = config.probe_subjects // 2
        rows, count = np.r_[self.rows[:half], self.rows[-half:]], len(self.images)
        direction = embeddings[count:].mean(0) - embeddings[:count].mean(0)
        network = self.network.projecting_on(direction)
        both = images[np.concatenate([rows, count + rows])]
        maps = tools.explain(network, both, np.zeros(len(both), dtype=np.int64), method)
        clean, planted = maps[: len(rows)], maps[len(rows) :]
        for scored in (planted, np.abs(planted - clean)):
            self._site_scores(scored, truth, rows, config)

    def _site_scores(
        self, maps: Maps, truth: Masks, rows: Rows, config: PositiveControlConfig
    ) -> float:
        scores = tools.localisation(maps, truth[rows], self.foreground[rows])
        for map_, site, organ in zip(maps, truth[rows], self.foreground[rows], strict=True):
            sizes = [int((site & organ).sum()), *(int(q * organ.sum()) for q in config.quantiles)]
            for size in sizes:
                top = tools.top_mask(map_, organ, size)
                _ = (top & site).sum() / (top | site).sum()
        for decoy in self._decoys:
            other = truths(decoy[rows], self.images.shape[1:])[:, 0]
            tools.average_precisions(maps, other, self.foreground[rows])
        return float(np.mean(scores["ap"]))


def _path(stage: str) -> str:
    return stage if stage == "head" else f"trunk.{stage}"
