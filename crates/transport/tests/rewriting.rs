//! Messages in the memory of earlier ones say what new ones say.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

mod support;

use magpie_perception::{
    CupSet, FrameReport, Grasp, GraspRefusal, Grasps, ReferenceFrame, StampNs,
};
use magpie_wire::{self as wire, Spare, rewritten, to_wire};

/// Every third package is known by its mask alone; every other one has more grasps.
fn report(sequence: u64, packages: u32) -> FrameReport {
    let frame = support::frame(sequence, StampNs(1_000 + sequence));
    let mut report = support::report(&frame, packages);
    let shift = usize::try_from(sequence).unwrap();
    for (index, package) in report.packages.packages.iter_mut().enumerate() {
        if (index + shift).is_multiple_of(3) {
            package.grasps = Err(GraspRefusal::NoSeal);
            (package.size, package.height_m, package.position_in_reference) = (None, None, None);
        } else if (index + shift).is_multiple_of(2) {
            let mut grasps = package.grasps().to_vec();
            grasps.push(Grasp { cups: CupSet::of(2).with(5), ..grasps[0].clone() });
            package.grasps = Ok(Grasps::new(grasps).unwrap());
        }
    }
    if packages == 0 {
        report.packages.reference_frame = ReferenceFrame::Camera;
    }
    report
}

#[test]
fn nothing_of_an_earlier_message_is_left() {
    let identities = support::options("dock", &support::free_endpoint()).identities;
    let envelope = wire::Envelope {
        cell: "dock",
        instance_id: "1",
        publication: 1,
        published: StampNs(2_000),
        unix_ahead_ns: 0,
        state: wire::State::Ok,
        results_superseded: 0,
    };
    let (mut message, mut spare) = (wire::Packages::default(), Spare::default());
    for (sequence, packages) in [12, 3, 0, 16, 7].into_iter().enumerate() {
        let report = report(sequence as u64, packages);
        message = rewritten(message, &mut spare, &report, &identities, &envelope);
        assert_eq!(message, to_wire(&report, &identities, &envelope), "{packages} packages");
    }
}
