//! `magpie export`: the model's own outlines of pictures or of a recording, as files that annotation
//! tools open, so that a person corrects instead of draws.
//!
//! The pictures are numbered from the one the model is least sure of, and every tool shows them in
//! that order.

mod documents;
mod folder;
mod polygons;
mod prelabel;

use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::ProgressBar;
use magpie_camera::write_png;
use magpie_inference::OnnxSession;
use magpie_perception::{Frame, FrameSource, InferenceSession, Limits, Pipeline, Tool};
use magpie_recording::Playback;

use self::folder::LabelFolder;
use self::prelabel::{Prelabel, PrelabelledPicture};
use crate::pictures;
use crate::pictures::read_frame;
use crate::present::{output, progress};
use crate::topics::{TopicArgs, is_recording};
use magpie_daemon::config::Config;
use magpie_daemon::failure::{Failure, Outcome, ended_by};
use magpie_daemon::model;
use magpie_network::SystemClock;
use magpie_perception::SharedClock;

#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// Pictures, folders of pictures, recordings (.mcap), ROS 2 bags (.mcap, .db3 or their folders).
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<PathBuf>,
    #[command(flatten)]
    topics: TopicArgs,
    /// A new or empty folder for the labels.
    #[arg(long)]
    out: PathBuf,
    /// The model; absent: the universal model.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Lowest score of what is outlined, 0 to 1; absent: as the model advises.
    #[arg(long, value_parser = crate::arguments::score)]
    score_min: Option<f32>,
    /// Least time between two frames taken from a recording; 0 takes every frame.
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    interval_s: f64,
    /// Only this many pictures: those that the model is least sure of.
    #[arg(long, value_parser = crate::arguments::count::<u32>)]
    pictures_max: Option<u32>,
    /// How far edges of polygons may stray from the mask, as a share of the root of its area.
    #[arg(long, default_value_t = polygons::TOLERANCE_SHARE, value_parser = share)]
    tolerance: f64,
    /// What Label Studio puts before a picture's name to find it.
    #[arg(long, default_value = "/data/local-files/?d=images/")]
    image_url: String,
    /// Configuration for everything else.
    #[arg(long)]
    config: Option<PathBuf>,
}

/// Findings with a lower score are noise; between this and the lowest score outlined they are
/// uncertain.
const UNCERTAIN_SCORE_MIN: f32 = 0.1;

pub fn export(args: &ExportArgs) -> Outcome {
    let mut config = Config::load(args.config.as_deref()).map_err(Failure::config)?;
    config.score_min = args.score_min.or(config.score_min);
    let model = model::chosen(args.model.as_deref(), &config)?;
    let sources: Vec<Source> =
        args.sources.iter().map(|path| Source::find(path)).collect::<Result<_, _>>()?;
    let mut session = model::load(&model, &config.session)?;
    let folder = LabelFolder::create(&args.out)?;
    let mut labeller = Labeller {
        limits: config.limits(model.spec().score_min),
        session: &mut session,
        clock: SystemClock::start(),
        tolerance_share: args.tolerance,
        done: Vec::new(),
        unreadable: 0,
        topics: &args.topics,
        tool: &config.tool,
    };
    labeller.label(&sources, &folder, args.interval_s)?;

    let Labeller { mut done, unreadable, .. } = labeller;
    if done.is_empty() {
        return Err(Failure::Fault(anyhow::anyhow!(
            "label pictures: none of them could be read; see the errors above"
        )));
    }
    done.sort_by(|a, b| b.unsure.total_cmp(&a.unsure).then_with(|| a.origin.cmp(&b.origin)));
    let seen = done.len();
    let kept = args.pictures_max.map_or(seen, |max| seen.min(max as usize));
    let left_over = done.split_off(kept);
    folder.write(&done, &left_over, model.spec(), &args.image_url)?;
    report(args, &done, seen, unreadable)
}

fn report(
    args: &ExportArgs,
    done: &[PrelabelledPicture],
    seen: usize,
    unreadable: usize,
) -> Outcome {
    let packages: usize = done.iter().map(|picture| picture.labels.len()).sum();
    let of_all = if done.len() < seen { format!(" (of {seen})") } else { String::new() };
    output::line(&format!(
        "{}{of_all} with {} in {}, the least sure first",
        counted(done.len(), "picture"),
        counted(packages, "package"),
        args.out.display()
    ))?;
    if unreadable > 0 {
        return Err(Failure::Fault(anyhow::anyhow!(
            "{unreadable} of {} pictures could not be read and have no labels; see the errors above",
            seen + unreadable
        )));
    }
    Ok(())
}

fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

enum Source {
    Pictures(Vec<PathBuf>),
    Recording(PathBuf),
}

impl Source {
    fn find(path: &Path) -> Result<Source, Failure> {
        if is_recording(path) {
            return Ok(Source::Recording(path.to_owned()));
        }
        pictures::find(path).map(Source::Pictures).map_err(Failure::Fault)
    }
}

struct Labeller<'a> {
    session: &'a mut OnnxSession,
    clock: SharedClock,
    limits: Limits,
    tolerance_share: f64,
    done: Vec<PrelabelledPicture>,
    unreadable: usize,
    topics: &'a TopicArgs,
    tool: &'a Tool,
}

impl Labeller<'_> {
    fn label(&mut self, sources: &[Source], folder: &LabelFolder, interval_s: f64) -> Outcome {
        let bar = progress::bar(0, "pictures");
        for source in sources {
            match source {
                Source::Pictures(paths) => self.label_pictures(paths, &bar)?,
                Source::Recording(path) => self.label_recording(path, folder, interval_s, &bar)?,
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    fn label_pictures(&mut self, paths: &[PathBuf], bar: &ProgressBar) -> Outcome {
        bar.inc_length(paths.len() as u64);
        for path in paths {
            match read_frame(path, self.clock.now()) {
                Ok(frame) => {
                    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    self.label_frame(&frame, path.display().to_string(), path.clone(), name)?;
                }
                Err(failure) => {
                    bar.suspend(|| tracing::error!("left out: {}", failure.message()));
                    self.unreadable += 1;
                }
            }
            bar.inc(1);
        }
        Ok(())
    }

    /// A frame becomes a file at once, since its number is known only when all are.
    fn label_recording(
        &mut self,
        recording: &Path,
        folder: &LabelFolder,
        interval_s: f64,
        bar: &ProgressBar,
    ) -> Outcome {
        let mut reader =
            self.topics.open(recording, Playback::default(), self.tool).map_err(Failure::fault)?;
        let stem = recording.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut due = None;
        while let Some(frame) = reader.next_frame().map_err(Failure::fault)? {
            if due.is_some_and(|due| frame.stamp < due) {
                continue;
            }
            due = Some(frame.stamp + Duration::from_secs_f64(interval_s));
            bar.inc_length(1);
            let name = format!("{stem}_{:06}.png", frame.sequence);
            let path = folder.provisional(&format!("{}_{name}", self.done.len()))?;
            write_png(&path, &frame.color).map_err(Failure::fault)?;
            let origin = format!("{} frame {}", recording.display(), frame.sequence);
            self.label_frame(&frame, origin, path, name)?;
            bar.inc(1);
        }
        let losses = reader.losses();
        if !losses.is_none() {
            bar.suspend(|| tracing::warn!("{}: {losses}", recording.display()));
        }
        Ok(())
    }

    fn label_frame(
        &mut self,
        frame: &Frame,
        origin: String,
        path: PathBuf,
        name: String,
    ) -> Outcome {
        let outlined_score_min = self.limits.decode.score_min;
        let mut limits = self.limits.clone();
        limits.decode.score_min = outlined_score_min.min(UNCERTAIN_SCORE_MIN);
        // Each picture gets a fresh pipeline: pictures are no stream.
        let (packages, _) = Pipeline::new(self.session.spec().clone())
            .process(frame, self.session, self.clock.as_ref(), None, &limits)
            .map_err(ended_by)?;
        let mut instances: Vec<_> = packages.packages.iter().map(|p| &p.instance).collect();
        instances.sort_by(|a, b| b.score.total_cmp(&a.score));
        let scores: Vec<f32> = instances.iter().map(|instance| instance.score).collect();
        let labels = instances
            .iter()
            .filter(|instance| instance.score >= outlined_score_min)
            .map(|instance| Prelabel {
                class_id: instance.class_id,
                score: instance.score,
                polygons: polygons::polygons(&instance.mask, self.tolerance_share),
            })
            .filter(|label| !label.polygons.is_empty())
            .collect();
        let (width_px, height_px) = (frame.color.width_px(), frame.color.height_px());
        let unsure = unsure(&scores);
        self.done.push(PrelabelledPicture {
            origin,
            path,
            name,
            width_px,
            height_px,
            labels,
            unsure,
        });
        Ok(())
    }
}

/// 1 minus the mean score of all findings, uncertain ones too; 1 where nothing is found.
///
/// On simulated frames this rule predicted best, of eight, which pictures need most correction.
fn unsure(scores: &[f32]) -> f64 {
    let counted: Vec<f64> = scores
        .iter()
        .filter(|score| **score >= UNCERTAIN_SCORE_MIN)
        .map(|s| f64::from(*s))
        .collect();
    if counted.is_empty() { 1.0 } else { 1.0 - counted.iter().sum::<f64>() / counted.len() as f64 }
}

fn share(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    let is_share = (0.0..=1.0).contains(&value);
    is_share.then_some(value).ok_or_else(|| format!("{text} is not between 0 and 1"))
}

fn seconds(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    // More than a day, or less than nothing, means that somebody mistook the unit.
    let is_interval = (0.0..=86_400.0).contains(&value);
    is_interval.then_some(value).ok_or_else(|| format!("{text} is not between 0 and 86400 seconds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_as_unsure_as_its_findings_and_wholly_where_there_are_none() {
        assert!((unsure(&[0.9, 0.5]) - 0.3).abs() < 1e-6);
        assert!((unsure(&[0.9, 0.05]) - 0.1).abs() < 1e-6, "noise does not count");
        assert!((unsure(&[]) - 1.0).abs() < 1e-12);
    }
}
