//! Why the planner cannot plan grasps: the loop writes it, supervision reads it.

use std::sync::{Mutex, PoisonError};

use magpie_perception::{GraspRefusal, Packages, doubt_packages};
use magpie_wire::Reason;

/// The reason that the newest frame gives. It is written once a frame and read ten times a second,
/// so nobody waits long.
#[derive(Debug, Default)]
pub(crate) struct PlanReason(Mutex<Option<Reason>>);

impl PlanReason {
    pub(crate) fn update(&self, packages: &Packages) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reason(packages);
    }

    pub(crate) fn reason(&self) -> Option<Reason> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What a frame gives reason to say of depth, sizes and the tool.
pub fn reason(packages: &Packages) -> Option<Reason> {
    let depth = packages.depth_problem.map(|problem| Reason::DepthNotUsed { problem });
    let doubtful = || doubt_packages(packages).map(|doubt| Reason::ScaleDoubtful { doubt });
    let found = &packages.packages;
    let too_large = Some(GraspRefusal::ToolTooLarge);
    let is_none_held = !found.is_empty() && found.iter().all(|p| p.refusal() == too_large);
    depth
        .or_else(doubtful)
        .or_else(|| is_none_held.then_some(Reason::ToolTooLarge { packages: found.len() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use magpie_perception::{
        BboxPx, DepthProblem, Instance, Mask, Package, ReferenceFrame, SizeM, StampNs, StampSource,
    };

    fn frame(refusals: &[Option<GraspRefusal>], depth_problem: Option<DepthProblem>) -> Packages {
        let bbox = BboxPx { x_min_px: 0.0, y_min_px: 0.0, x_max_px: 1.0, y_max_px: 1.0 };
        let package = |refusal: &Option<GraspRefusal>| {
            let instance = Instance { class_id: 0, score: 1.0, bbox, mask: Mask::empty(4, 4) };
            let grasps = Err(refusal.unwrap_or(GraspRefusal::NoSeal));
            Package { grasps, ..Package::unplanned(instance, 1) }
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
    fn depth_that_is_no_depth_and_a_tool_larger_than_all_packages_are_reasons() {
        let large = Some(GraspRefusal::ToolTooLarge);
        let code = |packages: &Packages| {
            let plan_reason = PlanReason::default();
            plan_reason.update(packages);
            plan_reason.reason().map(|reason| reason.code())
        };
        assert_eq!(code(&frame(&[], None)), None);
        assert_eq!(code(&frame(&[None, large], None)), None);
        assert_eq!(code(&frame(&[large, large], None)), Some("tool_too_large"));
        assert_eq!(code(&frame(&[None], Some(DepthProblem::Empty))), Some("depth_not_used"));
        let mut large = frame(&[None], None);
        large.packages[0].size = Some(SizeM { length_m: 1.6, width_m: 1.2, height_m: 0.9 });
        assert_eq!(code(&large), Some("scale_doubtful"));
    }
}
