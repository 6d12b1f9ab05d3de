//! `magpie eval --empty`: what a model finds in pictures without packages. All of it is wrong.

use std::path::{Path, PathBuf};

use magpie_perception::{InferenceSession, Pipeline};
use serde::Serialize;

use crate::pictures;
use crate::pictures::read_frame;
use crate::present::{output, progress, table};
use magpie_daemon::config::Config;
use magpie_daemon::failure::{Failure, Outcome, ended_by};
use magpie_daemon::model;
use magpie_network::SystemClock;
use magpie_perception::SharedClock;

/// Scores above the one in service that a cell could set.
const SCORES: [f32; 6] = [0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
/// The report names so many pictures.
const NAMED: usize = 5;

#[derive(Debug, Serialize)]
struct Report {
    model: String,
    pictures: usize,
    by_score: Vec<Row>,
    /// The pictures with the highest scores of false findings, highest first.
    worst: Vec<Picture>,
}

#[derive(Debug, Serialize)]
struct Row {
    score_min: f32,
    findings: usize,
    pictures_with_any: usize,
}

#[derive(Debug, Serialize)]
struct Picture {
    path: PathBuf,
    /// The scores of all findings in service, highest first; never empty in a [`Report`].
    scores: Vec<f32>,
}

pub(super) fn eval(paths: &[PathBuf], as_json: bool, config: &Config) -> Outcome {
    let mut found = Vec::new();
    for path in paths {
        found.extend(pictures::find(path).map_err(Failure::Fault)?);
    }
    let model = model::read(config.model_path.as_deref(), config.model_sha256.as_deref())?;
    let mut session = model::load(&model, &config.session)?;
    let limits = config.limits(model.spec().score_min);
    let clock: SharedClock = SystemClock::start();
    let bar = progress::bar(found.len() as u64, "pictures");
    let mut seen = Vec::new();
    for path in found {
        let frame = read_frame(&path, clock.now())?;
        // Each picture gets a fresh pipeline: the pictures are no stream.
        let (packages, _) = Pipeline::new(session.spec().clone())
            .process(&frame, &mut session, clock.as_ref(), None, &limits)
            .map_err(ended_by)?;
        let mut scores: Vec<f32> = packages.packages.iter().map(|p| p.instance.score).collect();
        scores.sort_by(|a, b| b.total_cmp(a));
        seen.push(Picture { path, scores });
        bar.inc(1);
    }
    bar.finish_and_clear();
    let report = Report::new(&model.spec().name, limits.decode.score_min, seen);
    output::line(&if as_json {
        serde_json::to_string(&report).map_err(Failure::fault)?
    } else {
        report.to_table()
    })
}

impl Report {
    fn new(model: &str, score_min: f32, mut seen: Vec<Picture>) -> Report {
        let pictures = seen.len();
        let asked = std::iter::once(score_min).chain(SCORES.into_iter().filter(|s| *s > score_min));
        let by_score = asked
            .map(|score_min| {
                let counts = seen.iter().map(|p| p.scores.iter().filter(|s| **s >= score_min));
                let counts: Vec<usize> = counts.map(Iterator::count).collect();
                Row {
                    score_min,
                    findings: counts.iter().sum(),
                    pictures_with_any: counts.iter().filter(|count| **count > 0).count(),
                }
            })
            .collect();
        seen.retain(|picture| !picture.scores.is_empty());
        seen.sort_by(|a, b| b.scores[0].total_cmp(&a.scores[0]));
        seen.truncate(NAMED);
        Report { model: model.to_owned(), pictures, by_score, worst: seen }
    }

    fn to_table(&self) -> String {
        let mut by_score = table::new(&["score_min", "false findings", "pictures with any"]);
        for row in &self.by_score {
            by_score.add_row([
                table::decimal(Some(row.score_min), 2),
                table::number(row.findings),
                table::number(row.pictures_with_any),
            ]);
        }
        let mut text = format!("{by_score}\n{} on {} empty pictures", self.model, self.pictures);
        for Picture { path, scores } in &self.worst {
            text += &format!("\n{:.2} in {}", scores[0], Path::new(path).display());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_counted_from_the_score_in_service_on() {
        let picture =
            |name: &str, scores: &[f32]| Picture { path: name.into(), scores: scores.to_vec() };
        let seen = vec![
            picture("belt.jpg", &[]),
            picture("tote.jpg", &[0.55, 0.45, 0.36]),
            picture("wall.jpg", &[0.95]),
        ];
        let report = Report::new("universal", 0.35, seen);
        let rows: Vec<_> = (report.by_score.iter())
            .map(|row| (row.score_min, row.findings, row.pictures_with_any))
            .collect();
        assert_eq!(rows[..3], [(0.35, 4, 2), (0.4, 3, 2), (0.5, 2, 2)]);
        assert_eq!(rows[6], (0.9, 1, 1));
        let names: Vec<_> = report.worst.iter().map(|p| p.path.to_str()).collect();
        assert_eq!(names, [Some("wall.jpg"), Some("tote.jpg")]);
        assert!(report.to_table().contains("0.95 in wall.jpg"), "{}", report.to_table());
    }
}
