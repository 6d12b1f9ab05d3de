//! `magpie export`: the model's own outlines of pictures or of a recording, as files that annotation
//! tools open, so that a person corrects instead of draws.
//!
//! The pictures are numbered from the one the model is least sure of, each next one unsure and unlike
//! those before it, and every tool shows them in that order.

mod choose;
mod corners;
mod documents;
mod folder;
mod likeness;
mod polygons;
mod prelabel;
mod refine;

use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::ProgressBar;
use magpie_camera::write_png;
use magpie_inference::{MobileSam, OnnxSession};
use magpie_perception::{
    Frame, FrameSource, InferenceSession, Instance, Limits, PackageType, Pipeline, Tool,
};
use magpie_recording::Playback;

use self::choose::{Choice, choose};
use self::folder::LabelFolder;
use self::likeness::{Likeness, Noting};
use self::prelabel::{Prelabel, PrelabelledPicture};
use self::refine::Refiner;
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
    /// Only this many pictures: those that the model is unsure of, and that differ.
    #[arg(long, value_parser = crate::arguments::count::<u32>)]
    pictures_max: Option<u32>,
    /// Also pictures that show what another one shows.
    #[arg(long)]
    near_duplicates: bool,
    /// Refine the outlines by MobileSAM, whose files lie in this folder; `scripts/install --refine`
    /// puts them into .cache/mobile_sam.
    #[arg(
        long,
        value_name = "FOLDER",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = ".cache/mobile_sam"
    )]
    refine: Option<PathBuf>,
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
    let load = |folder: &PathBuf| MobileSam::load(folder, config.session.threads);
    let sam = args.refine.as_ref().map(load).transpose().map_err(Failure::config)?;
    let folder = LabelFolder::create(&args.out)?;
    let mut labeller = Labeller {
        limits: config.limits(model.spec().score_min),
        session: &mut session,
        clock: SystemClock::start(),
        refiner: sam.map(Refiner::new),
        tolerance_share: args.tolerance,
        done: Vec::new(),
        unreadable: 0,
        topics: &args.topics,
        tool: &config.tool,
    };
    labeller.label(&sources, &folder, args.interval_s)?;

    let Labeller { mut done, unreadable, refiner, .. } = labeller;
    if done.is_empty() {
        return Err(Failure::Fault(anyhow::anyhow!(
            "label pictures: none of them could be read; see the errors above"
        )));
    }
    done.sort_by(|a, b| b.unsure.total_cmp(&a.unsure).then_with(|| a.origin.cmp(&b.origin)));
    let seen = done.len();
    let pictures_max = args.pictures_max.map_or(seen, |max| max as usize);
    let compared: Vec<(f64, &Likeness)> = done.iter().map(|p| (p.unsure, &p.likeness)).collect();
    let choice = choose(&compared, pictures_max, args.near_duplicates);
    let doubled = tell_near_duplicates(&folder, &done, &choice)?;
    let (done, left_over) = divided(done, &choice.taken);
    folder.write(&done, &left_over, model.spec(), &args.image_url)?;
    let notes: Vec<String> = doubled.into_iter().chain(refiner.map(|r| told(&r))).collect();
    report(args, &done, seen, unreadable, &notes)
}

/// What the report says of them, if there are any; a file names them.
fn tell_near_duplicates(
    folder: &LabelFolder,
    done: &[PrelabelledPicture],
    choice: &Choice,
) -> Result<Option<String>, Failure> {
    if choice.near_duplicates.is_empty() {
        return Ok(None);
    }
    let origin = |at: usize| done[at].origin.as_str();
    let pairs: Vec<(&str, &str)> =
        choice.near_duplicates.iter().map(|(one, other)| (origin(*one), origin(*other))).collect();
    let path = folder.write_near_duplicates(&pairs)?;
    let told = counted(pairs.len(), "near-duplicate");
    Ok(Some(format!("{told} left out, see {}", path.display())))
}

fn told(refiner: &Refiner) -> String {
    let Refiner { asked, refined, merged, .. } = refiner;
    format!(
        "{refined} of {asked} outlines refined, {} merged with another",
        counted(*merged, "finding")
    )
}

/// The pictures of these numbers in their order, and the others.
fn divided(
    done: Vec<PrelabelledPicture>,
    taken: &[usize],
) -> (Vec<PrelabelledPicture>, Vec<PrelabelledPicture>) {
    let mut all: Vec<Option<PrelabelledPicture>> = done.into_iter().map(Some).collect();
    let taken = taken.iter().map(|at| all[*at].take().expect("no picture is taken twice"));
    (taken.collect(), all.into_iter().flatten().collect())
}

fn report(
    args: &ExportArgs,
    done: &[PrelabelledPicture],
    seen: usize,
    unreadable: usize,
    notes: &[String],
) -> Outcome {
    let packages: usize = done.iter().map(|picture| picture.labels.len()).sum();
    let of_all = if done.len() < seen { format!(" (of {seen})") } else { String::new() };
    output::line(&format!(
        "{}{of_all} with {} in {}, unsure and different ones first",
        counted(done.len(), "picture"),
        counted(packages, "package"),
        args.out.display()
    ))?;
    for note in notes {
        output::line(note)?;
    }
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
    refiner: Option<Refiner>,
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
        let spec = self.session.spec().clone();
        let box_class = spec.class_names.iter().position(|name| name == PackageType::Box.name());
        let mut noting = Noting { session: &mut *self.session, features: Vec::new() };
        let (packages, _) = Pipeline::new(spec)
            .process(frame, &mut noting, self.clock.as_ref(), None, &limits)
            .map_err(ended_by)?;
        let features = noting.features;
        let mut instances: Vec<_> = packages.packages.into_iter().map(|p| p.instance).collect();
        instances.sort_by(|a, b| b.score.total_cmp(&a.score));
        let scores: Vec<f32> = instances.iter().map(|instance| instance.score).collect();
        instances.retain(|instance| instance.score >= outlined_score_min);
        let labels = self
            .refined(frame, instances)?
            .into_iter()
            .map(|one| Prelabel {
                class_id: one.class_id,
                score: one.score,
                polygons: if self.refiner.is_some() && Some(one.class_id) == box_class {
                    polygons::polygons_of_box(&one.mask, self.tolerance_share)
                } else {
                    polygons::polygons(&one.mask, self.tolerance_share)
                },
            })
            .filter(|label| !label.polygons.is_empty())
            .collect();
        self.done.push(PrelabelledPicture {
            origin,
            path,
            name,
            width_px: frame.color.width_px(),
            height_px: frame.color.height_px(),
            labels,
            unsure: unsure(&scores),
            likeness: Likeness::new(&frame.color, features),
        });
        Ok(())
    }

    fn refined(&mut self, frame: &Frame, found: Vec<Instance>) -> Result<Vec<Instance>, Failure> {
        match &mut self.refiner {
            Some(refiner) => refiner.refine(&frame.color, found).map_err(Failure::fault),
            None => Ok(found),
        }
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
