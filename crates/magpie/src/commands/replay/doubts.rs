//! What is doubtful about the depth of a recording: what the daemon would say in its status, and of
//! packages without sizes how large they would be.

use std::collections::BTreeMap;

use magpie_daemon::plan_reason;
use magpie_perception::{Frame, FrameReport, Scene, doubt_extents};
use magpie_wire::Reason;

/// The doubts of all frames: of each kind the first, and how many frames have one.
#[derive(Default)]
pub(super) struct Doubts {
    scene: Option<Scene>,
    frames: u64,
    by_code: BTreeMap<&'static str, (Reason, u64)>,
}

impl Doubts {
    pub(super) fn new(scene: Option<&Scene>) -> Doubts {
        Doubts { scene: scene.cloned(), ..Doubts::default() }
    }

    pub(super) fn take(&mut self, frame: &Frame, report: &FrameReport) {
        self.frames += 1;
        let packages = &report.packages;
        let extents = || {
            let (depth, scene) = (frame.depth.as_ref()?, self.scene.as_ref()?);
            let doubt = doubt_extents(&packages.packages, depth, &scene.camera_info)?;
            Some(Reason::ScaleDoubtful { doubt })
        };
        if let Some(reason) = plan_reason::reason(packages).or_else(extents) {
            self.by_code.entry(reason.code()).or_insert_with(|| (reason, 0)).1 += 1;
        }
    }

    pub(super) fn tell(&self) {
        for (reason, frames) in self.by_code.values() {
            let remedy = match reason {
                Reason::ToolTooLarge { .. } => "",
                _ => "; --depth-unit-m says what 1 stands for in the depth of a recording",
            };
            tracing::warn!("{reason} (in {frames} of {} frames{remedy})", self.frames);
        }
    }
}
