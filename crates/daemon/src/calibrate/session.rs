//! What becomes of orders and pictures, from the first view to the file. No thread and no clock:
//! pictures and orders come in, and what the tab shows goes out.

use std::path::{Path, PathBuf};

use magpie_camera::calibrate::{Board, Dictionary, LensViews};
use magpie_camera::{format_camera_info, read_camera_info};
use magpie_perception::{BgrImage, CameraInfo, StampNs};
use magpie_web::{Answer, CalibrationOrder, PoseUnits, Reading, WhatToCalibrate};
use serde_json::{Value, json};

use super::collection::{Collection, Kind};
use super::found::Found;
use super::stops::{Stops, Written, setup as setup_named};
use crate::calibration_files::pose::{ANGLES, LENGTHS};
use crate::calibration_files::{BoardFile, HandEyeFile};
use crate::failure::one_line;

/// Lenses that are offered from the folder.
const LENSES_MAX: usize = 50;
const NAME_CHARACTERS_MAX: usize = 100;

pub(crate) struct SessionOptions {
    pub(crate) cell: String,
    /// How to restart the daemon.
    pub(crate) restart: String,
    /// Where calibrations are written, and lenses are read.
    pub(crate) folder: PathBuf,
    /// The lens that runs.
    pub(crate) lens: Option<CameraInfo>,
    /// The camera's lasting name.
    pub(crate) device_name: Option<String>,
}

pub(super) struct Session {
    options: SessionOptions,
    /// Counts the collections.
    begun: u64,
    collection: Option<Collection>,
    /// What was done last, for all who look.
    said: String,
    /// Files of lenses in the folder.
    lenses: Vec<String>,
    size_px: Option<(u32, u32)>,
}

/// An order that takes a picture, with the pose as it is read.
pub(super) struct StopOrder {
    collection: u64,
    written: Written,
}

impl Session {
    pub(super) fn new(options: SessionOptions) -> Session {
        let lenses = lenses(&options.folder);
        let said = String::new();
        Session { options, begun: 0, collection: None, said, lenses, size_px: None }
    }

    /// Looks at a picture of the run.
    pub(super) fn look(&mut self, image: &BgrImage, sequence: u64) {
        self.size_px = Some((image.width_px(), image.height_px()));
        if let Some(collection) = &mut self.collection {
            collection.look(image, sequence);
        }
    }

    /// Carries out an order that needs neither a picture nor time; `now` is Unix time.
    pub(super) fn carry_out(&mut self, order: CalibrationOrder, now: StampNs) -> Answer {
        let done = match order {
            CalibrationOrder::Start { what, board } => self.start(what, &board),
            CalibrationOrder::Remove { collection, number } => {
                self.open(collection)?.remove(number)
            }
            CalibrationOrder::Resume { collection } => {
                let collection = self.open(collection)?;
                (collection.found, collection.saved) = (None, None);
                Ok("collecting goes on".to_owned())
            }
            CalibrationOrder::Save { collection, name } => self.save(collection, &name, now),
            CalibrationOrder::Discard { collection } => {
                let (count, word) = {
                    let collection = self.open(collection)?;
                    (collection.count(), collection.word())
                };
                self.collection = None;
                Ok(format!("{count} {word}s are discarded"))
            }
            CalibrationOrder::TakeStop { .. } | CalibrationOrder::Compute { .. } => {
                unreachable!("the desk carries these out")
            }
        };
        done.inspect(|done| self.said.clone_from(done))
    }

    /// Computes; that takes seconds. What is wrong is told to all who look.
    pub(super) fn compute(&mut self, number: u64, reading: Option<&Reading>) {
        let name = self.options.device_name.clone().unwrap_or_else(|| "camera".into());
        let computed = self.open(number).and_then(|open| open.compute(&name, reading));
        self.said = computed.unwrap_or_else(|why| why);
    }

    /// Whether computing would give the result that is there.
    pub(super) fn is_computed(&mut self, number: u64, reading: Option<&Reading>) -> bool {
        self.open(number).is_ok_and(|open| open.is_computed(reading))
    }

    /// Reads the pose of a stop before its picture is waited for.
    pub(super) fn read_stop(
        &mut self,
        collection: u64,
        pose: &str,
        units: &PoseUnits,
    ) -> Result<StopOrder, String> {
        if let Kind::Lens(_) = self.open(collection)?.kind {
            return Err("views of the lens are taken without a pose of the arm".into());
        }
        Ok(StopOrder { collection, written: Written::read(pose, units)? })
    }

    pub(super) fn take_stop(&mut self, stop: &StopOrder, image: &BgrImage) -> Answer {
        let taken = self.open(stop.collection)?.take_stop(&stop.written, image);
        taken.inspect(|taken| self.said.clone_from(taken))
    }

    pub(super) fn check_open(&mut self, number: u64) -> Result<(), String> {
        self.open(number).map(drop)
    }

    fn open(&mut self, number: u64) -> Result<&mut Collection, String> {
        match &mut self.collection {
            Some(collection) if collection.number == number => Ok(collection),
            Some(_) => Err("another collection was begun meanwhile: look at it first".into()),
            None => Err("nothing is being collected: begin first".into()),
        }
    }

    fn start(&mut self, what: WhatToCalibrate, board: &Value) -> Answer {
        if let Some(open) = &self.collection {
            return Err(format!(
                "a collection with {} {}s is there already: discard it first",
                open.count(),
                open.word()
            ));
        }
        let file: BoardFile =
            serde_json::from_value(board.clone()).map_err(|error| format!("the board: {error}"))?;
        let board = file.board()?;
        let kind = match what {
            WhatToCalibrate::Lens => {
                Kind::Lens(LensViews::new(board).map_err(|error| error.to_string())?)
            }
            WhatToCalibrate::HandEye { setup, lens } => {
                Kind::HandEye(Box::new(self.stops(board, &setup, lens)?))
            }
        };
        self.begun += 1;
        let collection = Collection::new(self.begun, kind);
        let line = format!("show the {} to the camera", collection.board());
        self.collection = Some(collection);
        // Told before the work: to mend it takes a restart, which forgets what was taken.
        Ok(match magpie_files::unwritable(&self.options.folder) {
            None => line,
            Some(why) => format!(
                "{line}; BUT NOTHING CAN BE SAVED: {why}; discard, let the daemon's user write there or \
                 name another [web] calibration_folder, and restart the daemon first"
            ),
        })
    }

    fn stops(&self, board: Board, setup: &str, lens: String) -> Result<Stops, String> {
        board.check_for_hand_eye().map_err(|error| error.to_string())?;
        let setup = setup_named(setup)?;
        let info = if lens.is_empty() {
            let why = "no lens runs: calibrate it first, save it, and choose its file";
            self.options.lens.clone().ok_or(why)?
        } else {
            let known = self.lenses.contains(&lens);
            let gone = || format!("there is no lens {lens:?} in {}", self.options.folder.display());
            let path = known.then(|| self.options.folder.join(&lens)).ok_or_else(gone)?;
            read_camera_info(&path, None).map_err(|error| one_line(&error.into()))?
        };
        let units = PoseUnits { length: "m".into(), angle: "rad".into(), euler: String::new() };
        let (stops, written) = (Vec::new(), Vec::new());
        Ok(Stops { board, setup, info, lens, units, stops, written, taken: 0 })
    }

    /// Writes the result to a new file of the folder.
    fn save(&mut self, number: u64, name: &str, now: StampNs) -> Answer {
        let name = file_name(name)?;
        let path = self.options.folder.join(&name);
        let absolute = std::path::absolute(&self.options.folder);
        let named = absolute.map_or_else(|_| path.clone(), |folder| folder.join(&name));
        let SessionOptions { folder, restart, .. } = &self.options;
        let (folder, restart) = (folder.clone(), restart.clone());
        let collection = self.open(number)?;
        let found = collection.found.as_ref().ok_or("nothing is computed yet")?;
        if let Some(why) = found.refusal() {
            return Err(format!("{name} is not written: {why}"));
        }
        let (text, mut lines) = match (found, &collection.kind) {
            (Found::Lens(report, _), _) => {
                let yaml =
                    format_camera_info(&report.info).map_err(|error| one_line(&error.into()))?;
                (yaml, vec![format!("camera_info = {:?}", named.display().to_string())])
            }
            (Found::HandEye(verdict), Kind::HandEye(stops)) => {
                let file = HandEyeFile::of(&verdict.report, Some(&stops.info), now);
                let yaml = serde_saphyr::to_string(&file).map_err(|error| error.to_string())?;
                let mut lines = Vec::new();
                if !stops.lens.is_empty() {
                    let lens = named.with_file_name(&stops.lens).display().to_string();
                    lines.push(format!("camera_info = {lens:?}"));
                }
                lines.push(format!("hand_eye = {:?}", named.display().to_string()));
                (yaml, lines)
            }
            (Found::HandEye(_), Kind::Lens(_)) => {
                unreachable!("a lens has no hand-eye calibration")
            }
        };
        std::fs::create_dir_all(&folder).map_err(|error| {
            let folder = folder.display();
            format!(
                "make the folder {folder}: {error}; let the daemon's user write there, or name another \
                 one as [web] calibration_folder"
            )
        })?;
        magpie_files::write_new(&path, &text)
            .map_err(|error| format!("write {}: {error}", named.display()))?;
        tracing::info!("the page wrote {}", named.display());
        lines.insert(0, "[scene]".to_owned());
        collection.saved = Some(json!({
            "path": named.display().to_string(),
            "lines": lines,
            "restart": restart,
        }));
        self.lenses = lenses(&self.options.folder);
        Ok(format!("written to {}", named.display()))
    }

    pub(super) fn describe(&self) -> Value {
        let names = |units: &[(&'static str, f64)]| -> Vec<_> {
            units.iter().map(|(name, _)| *name).collect()
        };
        let dictionaries: Vec<_> = Dictionary::all().map(Dictionary::name).collect();
        let suggested = self.collection.as_ref().map(|collection| match collection.kind {
            Kind::Lens(_) => self.free_name("camera_info"),
            Kind::HandEye(_) => self.free_name("hand_eye"),
        });
        json!({
            "size_px": self.size_px,
            "folder": self.options.folder.display().to_string(),
            "has_lens": self.options.lens.is_some(),
            "lenses": self.lenses,
            "dictionaries": dictionaries,
            "length_units": names(&LENGTHS),
            "angle_units": names(&ANGLES),
            "said": self.said,
            "suggested_name": suggested,
            "collection": self.collection.as_ref().map(Collection::describe),
        })
    }

    /// A name that no file has yet.
    fn free_name(&self, what: &str) -> String {
        let cell = &self.options.cell;
        let names = (1..).map(|count| match count {
            1 => format!("{cell}.{what}.yaml"),
            _ => format!("{cell}.{what}.{count}.yaml"),
        });
        let mut free = names.filter(|name| !self.options.folder.join(name).exists());
        free.next().expect("there are more numbers than files")
    }
}

/// A name alone, that leads into no other folder.
fn file_name(name: &str) -> Result<String, String> {
    let name = name.trim();
    if name.is_empty() {
        return Err("name the file, for example dock-7.hand_eye.yaml".into());
    }
    let name = if name.ends_with(".yaml") { name.to_owned() } else { format!("{name}.yaml") };
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.chars().all(is_part) && !name.starts_with('.') && name.len() <= NAME_CHARACTERS_MAX {
        return Ok(name);
    }
    Err(format!(
        "{name:?} is no name for the file: use up to {NAME_CHARACTERS_MAX} letters, digits, `-`, `_` and \
         `.`, without a folder"
    ))
}

/// The lenses that lie in the folder, by the names of their files.
fn lenses(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names
        .filter(|name| name.ends_with(".yaml") && !name.starts_with('.'))
        .filter(|name| read_camera_info(&folder.join(name), None).is_ok())
        .collect();
    names.sort();
    names.truncate(LENSES_MAX);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_by_a_word_and_lies_in_no_other_folder() {
        assert_eq!(file_name(" dock-7.hand_eye ").unwrap(), "dock-7.hand_eye.yaml");
        assert_eq!(file_name("a.yaml").unwrap(), "a.yaml");
        let long = "x".repeat(NAME_CHARACTERS_MAX);
        for name in ["", "..", "../a", "a/b.yaml", "a\\b", ".hidden", "a b", "ä", "a\nb", &long] {
            assert!(file_name(name).is_err(), "{name:?}");
        }
    }

    fn session(folder: &Path) -> Session {
        Session::new(SessionOptions {
            cell: "dock-7".into(),
            restart: "restart it".into(),
            folder: folder.to_owned(),
            lens: None,
            device_name: None,
        })
    }

    #[test]
    fn that_nothing_can_be_saved_is_told_at_the_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let begin = |folder: &Path| {
            let board = json!({"kind": "chessboard", "size": [7, 5], "square_length_m": 0.03});
            session(folder).start(WhatToCalibrate::Lens, &board).unwrap()
        };
        let said = begin(&folder.path().join("made/later"));
        assert!(!said.contains("SAVED"), "{said}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left there");
        std::fs::write(folder.path().join("file"), "").unwrap();
        let said = begin(&folder.path().join("file/below"));
        assert!(
            said.contains("NOTHING CAN BE SAVED") && said.contains("calibration_folder"),
            "{said}"
        );
    }

    #[test]
    fn a_name_that_is_free_is_suggested() {
        let folder = tempfile::tempdir().unwrap();
        let session = session(folder.path());
        assert_eq!(session.free_name("hand_eye"), "dock-7.hand_eye.yaml");
        std::fs::write(folder.path().join("dock-7.hand_eye.yaml"), "old").unwrap();
        assert_eq!(session.free_name("hand_eye"), "dock-7.hand_eye.2.yaml");
        // What is no lens is not offered as one.
        assert!(lenses(folder.path()).is_empty());
    }
}
