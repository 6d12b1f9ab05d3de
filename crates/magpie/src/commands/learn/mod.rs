//! `magpie learn`: what became of picks, as labels that nobody drew.
//!
//! ```text
//!  recordings -> picks -----> vanished (change, region) -> labels --> annotations.json, images/
//!   outcomes      result         before / after                   \-> look/, page.html, report.json
//!   results       pictures
//!   frames        quality -> fit -> grasp_quality.toml, .svg
//! ```

mod change;
mod fit;
mod labels;
mod look;
mod picks;
mod quality;
mod refusal;
mod region;
mod reliability;
mod report;
mod vanished;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, anyhow};
use magpie_daemon::failure::{Failure, Outcome};
use magpie_perception::Frame;
use magpie_recording::{FrameReader, Playback};
use magpie_wire as wire;

use self::labels::Labels;
use self::picks::{Acted, Outcomes, Pick, PictureAt};
use self::quality::{Fitted, Trial};
use self::refusal::Refusal;
use self::report::Report;
use self::vanished::{Sighting, pieces, vanished};
use crate::present::{output, progress};

#[derive(Debug, clap::Args)]
pub struct LearnArgs {
    /// Recordings of one cell (.mcap) with the outcomes of its picks, or folders of them.
    #[arg(required = true, value_name = "RECORDING")]
    recordings: Vec<PathBuf>,
    /// A new or empty folder for labels, pictures to look at, and the report.
    #[arg(long)]
    out: PathBuf,
}

pub fn learn(args: &LearnArgs) -> Outcome {
    let recordings = recordings(&args.recordings)?;
    recordings.iter().for_each(|path| magpie_files::note_input(path));
    let outcomes = Outcomes::read(&recordings)?;
    output::create_empty_folder(&args.out)?;
    let replaced = outcomes.replaced;
    let picks = picks::read(&recordings, outcomes)?;

    let mut learner = Learner::new(&picks, &args.out);
    let bar = progress::bar(learner.pictures_wanted() as u64, "pictures");
    for (file, path) in recordings.iter().enumerate() {
        learner.see(file, path, |count| bar.inc(count))?;
    }
    bar.finish_and_clear();
    let (labels, refused) = learner.finish();
    labels.finish()?;

    let quality = fit_quality(&picks);
    let plot = quality.as_ref().ok().map(|(cell, fitted)| reliability::draw(fitted, cell));
    if let (Ok((cell, fitted)), Some(plot)) = (&quality, &plot) {
        output::write(&args.out.join("grasp_quality.toml"), fitted.to_toml(cell))?;
        output::write(&args.out.join("grasp_quality.svg"), plot)?;
    }
    let quality = quality.map(|(_, fitted)| fitted);
    let report =
        Report { picks: &picks, replaced, refused: &refused, labels: &labels, quality: &quality };
    output::write(&args.out.join("report.json"), report.to_json())?;
    output::write(&args.out.join("page.html"), report.page(plot.as_deref()))?;
    output::line(&report.summary())?;
    if report.is_empty() {
        return Err(Failure::Fault(anyhow!(
            "{} picks taught nothing: the table above, and report.json in {}, say why",
            picks.len(),
            args.out.display()
        )));
    }
    output::line(&format!("look through {}", args.out.join("page.html").display()))
}

/// The files, and those in folders by their names.
fn recordings(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for path in paths {
        if !path.is_dir() || path.join("metadata.yaml").is_file() {
            found.push(path.clone());
            continue;
        }
        let within =
            recordings_in(path).with_context(|| format!("read folder {}", path.display()))?;
        if within.is_empty() {
            return Err(Failure::Fault(anyhow!("no recording (.mcap) in {}", path.display())));
        }
        found.extend(within);
    }
    Ok(found)
}

fn recordings_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "mcap") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The fit with the name of its cell, or why there is none.
fn fit_quality(picks: &[Pick]) -> Result<(String, Fitted), String> {
    let cells: BTreeSet<&str> = picks.iter().map(|pick| &*pick.told.cell).collect();
    let Some(cell) = cells.first().filter(|_| cells.len() == 1) else {
        let cells: Vec<&str> = cells.into_iter().collect();
        return Err(format!(
            "the outcomes are of several cells, {}; learn from one at a time",
            cells.join(", ")
        ));
    };
    let trials: Vec<Trial> = picks.iter().filter_map(Trial::new).collect();
    Ok(((*cell).to_owned(), quality::fit(&trials)?))
}

/// Goes through the pictures once, and looks at each pick as soon as both of its pictures are there.
struct Learner<'a> {
    picks: &'a [Pick],
    states: Vec<State>,
    /// Which picks need a picture.
    users: HashMap<PictureAt, Vec<usize>>,
    /// Those that open picks need, as far as they were read.
    frames: BTreeMap<PictureAt, Rc<Frame>>,
    labels: Labels,
}

/// What is known of a pick so far.
enum State {
    /// Why the pictures that were tried taught nothing, and which were.
    Open {
        refusal: Refusal,
        tried: Vec<PictureAt>,
    },
    Taught,
    Refused(Refusal),
    /// Nothing is to be learned from it.
    Silent,
}

impl<'a> Learner<'a> {
    fn new(picks: &'a [Pick], out: &Path) -> Learner<'a> {
        let mut learner = Learner {
            picks,
            states: Vec::new(),
            users: HashMap::new(),
            frames: BTreeMap::new(),
            labels: Labels::new(out),
        };
        for (number, pick) in picks.iter().enumerate() {
            let state = learner.begin(number, pick);
            learner.states.push(state);
        }
        learner
    }

    fn begin(&mut self, number: usize, pick: &'a Pick) -> State {
        match pick.told.outcome() {
            wire::Outcome::NotTried | wire::Outcome::Unspecified => State::Silent,
            wire::Outcome::Dropped | wire::Outcome::Missed => match &pick.acted {
                Ok(acted) => {
                    self.labels.add_seal(pick, acted);
                    State::Taught
                }
                Err(refusal) => State::Refused(*refusal),
            },
            wire::Outcome::Held | wire::Outcome::Double => match pick.seen() {
                Ok(acted) => {
                    let after = acted.after.iter().map(|after| after.picture);
                    for picture in after.chain([acted.picture]) {
                        self.users.entry(picture).or_default().push(number);
                    }
                    State::Open { refusal: Refusal::NoPictures, tried: Vec::new() }
                }
                Err(refusal) => State::Refused(refusal),
            },
        }
    }

    fn pictures_wanted(&self) -> usize {
        self.users.len()
    }

    fn is_open(&self, number: usize) -> bool {
        matches!(self.states[number], State::Open { .. })
    }

    fn is_wanted(&self, picture: PictureAt) -> bool {
        self.users.get(&picture).is_some_and(|users| users.iter().any(|user| self.is_open(*user)))
    }

    fn see(&mut self, file: usize, path: &Path, told: impl Fn(u64)) -> Outcome {
        if !self.users.keys().any(|picture| picture.file == file) {
            return Ok(());
        }
        let of_file = || format!("read {}", path.display());
        let mut reader = FrameReader::open(path, Playback::default()).with_context(of_file)?;
        loop {
            let wanted = |stamp| self.is_wanted(PictureAt { file, stamp });
            let Some(frame) = reader.next_wanted(wanted).with_context(of_file)? else { break };
            let picture = PictureAt { file, stamp: frame.stamp };
            self.frames.insert(picture, Rc::new(frame));
            for number in self.users.get(&picture).cloned().unwrap_or_default() {
                self.look_at(number)?;
            }
            let mut frames = std::mem::take(&mut self.frames);
            frames.retain(|picture, _| self.is_wanted(*picture));
            self.frames = frames;
            told(1);
        }
        let losses = reader.losses();
        if !losses.is_none() {
            tracing::warn!("{}: {losses}", path.display());
        }
        Ok(())
    }

    /// Tries the pictures after a pick that are there and were not tried.
    fn look_at(&mut self, number: usize) -> Outcome {
        let pick = &self.picks[number];
        let Ok(acted) = &pick.acted else { return Ok(()) };
        let Some(before) = self.frames.get(&acted.picture).cloned() else { return Ok(()) };
        for after in &acted.after {
            let State::Open { tried, .. } = &mut self.states[number] else { break };
            let frame = self.frames.get(&after.picture).cloned();
            let Some(frame) = frame.filter(|_| !tried.contains(&after.picture)) else { continue };
            tried.push(after.picture);
            let is_last = tried.len() == acted.after.len();
            match self.teach(pick, acted, after, [&before, &frame])? {
                Ok(()) => self.states[number] = State::Taught,
                Err(why) if is_last => self.states[number] = State::Refused(why),
                Err(why) => {
                    if let State::Open { refusal, .. } = &mut self.states[number] {
                        *refusal = why;
                    }
                }
            }
        }
        Ok(())
    }

    fn teach(
        &mut self,
        pick: &Pick,
        acted: &Acted,
        after: &picks::After,
        [before, frame]: [&Frame; 2],
    ) -> Result<Result<(), Refusal>, Failure> {
        let outline = match acted.outline() {
            Ok(outline) => outline,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let sighting = Sighting {
            before,
            after: frame,
            outline: &outline,
            contact_px: acted.contact_px().unwrap_or_default(),
            others: &acted.others(after),
        };
        let refused = if pick.told.outcome() == wire::Outcome::Double {
            let regions = pieces(&sighting);
            let told = |regions| self.labels.add_merged(pick, acted, [before, frame], regions);
            regions.map(told)
        } else {
            let vanished = vanished(&sighting);
            vanished.map(|vanished| self.labels.add(pick, acted, [before, frame], vanished))
        };
        match refused {
            Ok(written) => written.map(Ok),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// The labels, and why picks taught nothing.
    fn finish(self) -> (Labels, Vec<Option<Refusal>>) {
        let refused = self.states.into_iter().map(|state| match state {
            State::Open { refusal, .. } | State::Refused(refusal) => Some(refusal),
            State::Taught | State::Silent => None,
        });
        (self.labels, refused.collect())
    }
}
