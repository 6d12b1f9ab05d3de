//! What became of each pick, counted: for the terminal, for programs, and as a page to look through.

use std::collections::BTreeMap;

use magpie_wire as wire;
use maud::{DOCTYPE, PreEscaped, html};
use serde_json::{Value, json};

use super::change::median;
use super::labels::{Label, Labels, rounded};
use super::picks::Pick;
use super::quality::Fitted;
use super::refusal::Refusal;
use crate::present::table;

pub(super) struct Report<'a> {
    pub(super) picks: &'a [Pick],
    /// Outcomes that a later message about the same pick replaced.
    pub(super) replaced: usize,
    /// Why picks taught nothing, in the order of the picks.
    pub(super) refused: &'a [Option<Refusal>],
    pub(super) labels: &'a Labels,
    /// The fit, or why there is none.
    pub(super) quality: &'a Result<Fitted, String>,
}

const OUTCOMES: [wire::Outcome; 6] = [
    wire::Outcome::Held,
    wire::Outcome::Double,
    wire::Outcome::Dropped,
    wire::Outcome::Missed,
    wire::Outcome::NotTried,
    wire::Outcome::Unspecified,
];

const STYLE: &str = "\
body { font: 16px/1.5 sans-serif; max-width: 72em; margin: 2em auto; padding: 0 1em; color: #1a1a1a; }
figure { display: inline-block; margin: 0.5em; vertical-align: top; }
img { display: block; width: 22em; border: 1px solid #ddd; image-rendering: pixelated; }
figcaption { color: #555; }
table { border-collapse: collapse; } td, th { padding: 0.2em 0.8em; border-bottom: 1px solid #ddd; text-align: left; }
.plot svg { width: 40em; height: auto; }";

/// In words of a table.
fn outcome_name(outcome: wire::Outcome) -> &'static str {
    match outcome {
        wire::Outcome::Held => "held",
        wire::Outcome::Double => "double",
        wire::Outcome::Dropped => "dropped",
        wire::Outcome::Missed => "missed",
        wire::Outcome::NotTried => "not tried",
        wire::Outcome::Unspecified => "not said",
    }
}

impl Report<'_> {
    fn picks_of(&self, outcome: wire::Outcome) -> usize {
        self.picks.iter().filter(|pick| pick.told.outcome() == outcome).count()
    }

    fn taught(&self, outcome: wire::Outcome) -> usize {
        let both = self.picks.iter().zip(self.refused);
        match outcome {
            wire::Outcome::NotTried | wire::Outcome::Unspecified => 0,
            _ => both.filter(|(pick, why)| pick.told.outcome() == outcome && why.is_none()).count(),
        }
    }

    fn what(outcome: wire::Outcome) -> &'static str {
        match outcome {
            wire::Outcome::Held => "labels",
            wire::Outcome::Double => "merged outlines",
            wire::Outcome::Dropped | wire::Outcome::Missed => "failed seals",
            wire::Outcome::NotTried | wire::Outcome::Unspecified => "nothing",
        }
    }

    /// Each reason with the number of picks.
    fn reasons(&self) -> BTreeMap<Refusal, usize> {
        let mut reasons = BTreeMap::new();
        for why in self.refused.iter().flatten() {
            *reasons.entry(*why).or_default() += 1;
        }
        reasons
    }

    /// Of the labels: what vanished with what the model had said.
    fn median_iou(&self) -> Option<f32> {
        let mut ious: Vec<f32> = self.labels.labels.iter().map(|one| one.vanished.iou).collect();
        (!ious.is_empty()).then(|| median(&mut ious))
    }

    /// Whether anything was learned.
    pub(super) fn is_empty(&self) -> bool {
        self.labels.labels.is_empty() && self.labels.merged.is_empty() && self.labels.seals() == 0
    }

    pub(super) fn summary(&self) -> String {
        let mut counts = table::new(&["outcome", "picks", "taught", "what"]);
        for outcome in OUTCOMES.into_iter().filter(|outcome| self.picks_of(*outcome) > 0) {
            counts.add_row([
                table::Cell::new(outcome_name(outcome)),
                table::number(self.picks_of(outcome)),
                table::number(self.taught(outcome)),
                table::Cell::new(Report::what(outcome)),
            ]);
        }
        let mut text = counts.to_string();
        if !self.reasons().is_empty() {
            let mut reasons = table::new(&["picks", "taught nothing, since"]);
            for (why, count) in self.reasons() {
                reasons.add_row([table::number(count), table::Cell::new(why)]);
            }
            text = format!("{text}\n{reasons}");
        }
        let labels = self.labels.labels.len();
        let agreed = self.median_iou().map_or_else(String::new, |iou| {
            format!("; median IoU of what vanished with what the model had said: {iou:.3}")
        });
        format!(
            "{text}\n{} picks, {labels} labels in {} pictures{agreed}\ngrasp quality: {}",
            self.picks.len(),
            self.labels.pictures(),
            self.quality_line()
        )
    }

    fn quality_line(&self) -> String {
        match self.quality {
            Err(why) => format!("not fitted: {why}"),
            Ok(fitted) => {
                let [told, published, share] = fitted.brier;
                let verdict = if fitted.tells_more() { "" } else { ", so it tells nothing more" };
                format!(
                    "fitted to {} grasps; mean square of the error {told:.3}, of quality as published \
                     {published:.3}, of always saying the share held {share:.3}{verdict}",
                    fitted.trials
                )
            }
        }
    }

    pub(super) fn to_json(&self) -> String {
        let picks: Vec<Value> = self
            .picks
            .iter()
            .zip(self.refused)
            .map(|(pick, why)| {
                json!({
                    "instance_id": pick.told.instance_id,
                    "publication": pick.told.publication,
                    "stamp_ns": pick.told.stamp_ns,
                    "track_id": pick.told.track_id,
                    "outcome": pick.told.outcome().as_str_name(),
                    "refused": why.map(|why| why.to_string()),
                })
            })
            .collect();
        let labels: Vec<Value> = self.sorted_labels().into_iter().map(label_json).collect();
        let reasons: BTreeMap<String, usize> =
            self.reasons().into_iter().map(|(why, count)| (why.to_string(), count)).collect();
        let report = json!({
            "picks_read": self.picks.len(),
            "outcomes_replaced": self.replaced,
            "labels_made": self.labels.labels.len(),
            "pictures": self.labels.pictures(),
            "merged_outlines": self.labels.merged.len(),
            "failed_seals": self.labels.seals(),
            "median_iou_with_published": self.median_iou().map(rounded),
            "refused": reasons,
            "grasp_quality": self.quality_line(),
            "labels": labels,
            "picks": picks,
        });
        format!("{report:#}")
    }

    /// Those that agree least with the model come first: they teach most, or are wrong.
    fn sorted_labels(&self) -> Vec<&Label> {
        let mut labels: Vec<&Label> = self.labels.labels.iter().collect();
        labels.sort_by(|a, b| a.vanished.iou.total_cmp(&b.vanished.iou));
        labels
    }

    pub(super) fn page(&self, plot: Option<&str>) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    title { "magpie learn" }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    h1 { "magpie learn" }
                    pre { (self.summary()) }
                    h2 { "Labels, from the one that agrees least with the model" }
                    p {
                        "Left: before the pick; green what vanished, white what the model had said, with \
                         the contact. Right: after it."
                    }
                    @for label in self.sorted_labels() {
                        figure {
                            img loading="lazy" src=(label.look) alt="";
                            figcaption { (caption(label)) }
                        }
                    }
                    @if !self.labels.merged.is_empty() {
                        h2 { "Outlines that took more than one package up" }
                        p { "Outline the packages in merged/ by hand; colours show where they may come apart." }
                        @for merged in &self.labels.merged {
                            figure {
                                img loading="lazy" src=(merged.look) alt="";
                                figcaption { "track " (merged.track_id) ", " (merged.regions.len()) " regions" }
                            }
                        }
                    }
                    @if let Some(plot) = plot {
                        h2 { "Grasp quality" }
                        div class="plot" { (PreEscaped(plot)) }
                    }
                }
            }
        };
        page.into_string()
    }
}

fn caption(label: &Label) -> String {
    let read = if label.is_type_read { "as read" } else { "as the model said" };
    format!(
        "{} ({read}), IoU {:.2}, {:.1} times the noise's limit, by {}",
        label.package_type,
        label.vanished.iou,
        label.vanished.strength,
        label.vanished.evidence.name()
    )
}

fn label_json(label: &Label) -> Value {
    json!({
        "stamp_ns": label.stamp_ns,
        "track_id": label.track_id,
        "type": label.package_type,
        "type_source": if label.is_type_read { "station" } else { "model" },
        "iou_with_published": rounded(label.vanished.iou),
        "strength": rounded(label.vanished.strength),
        "evidence": label.vanished.evidence.name(),
        "area_px": label.vanished.mask.area_px(),
        "look": label.look,
    })
}
