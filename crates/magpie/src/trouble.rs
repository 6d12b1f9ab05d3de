//! What the planner could not work with, told by the loop and read by supervision.

use std::sync::{Mutex, PoisonError};

use magpie_perception::{DepthProblem, GraspRefusal, Packages};

/// The newest frame's trouble. Written once a frame, read ten times a second: nobody waits long.
#[derive(Debug, Default)]
pub(crate) struct PlanTrouble(Mutex<Option<Trouble>>);

impl PlanTrouble {
    pub(crate) fn look(&self, packages: &Packages) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Trouble::of(packages);
    }

    pub(crate) fn reason(&self) -> Option<String> {
        let trouble = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.map(|trouble| trouble.to_string())
    }
}

#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Trouble {
    #[error("depth not used: {0}")]
    Depth(DepthProblem),
    #[error("the tool is too large for each of the {packages} packages in view: see [tool]")]
    Tool { packages: usize },
}

impl Trouble {
    fn of(packages: &Packages) -> Option<Trouble> {
        let depth = packages.depth_problem.map(Trouble::Depth);
        let packages = &packages.packages;
        let too_large = Some(GraspRefusal::ToolTooLarge);
        let is_none_held =
            !packages.is_empty() && packages.iter().all(|p| p.refusal() == too_large);
        depth.or_else(|| is_none_held.then_some(Trouble::Tool { packages: packages.len() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use magpie_perception::{
        BboxPx, Instance, Mask, Package, ReferenceFrame, StampNs, StampSource,
    };

    fn frame(refusals: &[Option<GraspRefusal>], depth_problem: Option<DepthProblem>) -> Packages {
        let bbox = BboxPx { x_min_px: 0.0, y_min_px: 0.0, x_max_px: 1.0, y_max_px: 1.0 };
        let package = |refusal: &Option<GraspRefusal>| Package {
            track_id: 1,
            instance: Instance { class_id: 0, score: 1.0, bbox, mask: Mask::empty(4, 4) },
            grasps: Err(refusal.unwrap_or(GraspRefusal::NoSeal)),
            deepest_px: [0.0; 2],
            height_m: None,
            position_in_reference: None,
            size: None,
            occluded_share: 0.0,
            pick_rank: 0,
        };
        Packages {
            sequence: 0,
            stamp: StampNs(0),
            stamp_source: StampSource::Exposure,
            image_width_px: 4,
            image_height_px: 4,
            reference_frame: ReferenceFrame::Camera,
            valid_until: StampNs(1),
            packages: refusals.iter().map(package).collect(),
            velocity: None,
            depth_problem,
        }
    }

    #[test]
    fn depth_that_is_no_depth_and_a_tool_larger_than_all_packages_are_told() {
        let large = Some(GraspRefusal::ToolTooLarge);
        let told = |packages: &Packages| {
            let trouble = PlanTrouble::default();
            trouble.look(packages);
            trouble.reason().unwrap_or_default()
        };
        assert_eq!(told(&frame(&[], None)), "");
        assert_eq!(told(&frame(&[None, large], None)), "");
        assert!(told(&frame(&[large, large], None)).contains("[tool]"));
        assert!(told(&frame(&[None], Some(DepthProblem::Empty))).contains("no pixel"));
    }
}
