//! Cameras and servers that can be killed and frozen, and what a source must make of that.

use std::process::{Child, Command};
use std::time::Duration;

use magpie_camera::{Camera, CameraState};

use crate::common::now;

/// A process that is killed with the test.
pub(crate) struct Peer(Child);

impl Peer {
    /// `packages` are what a machine needs that lacks the program.
    pub(crate) fn start(command: &mut Command, packages: &str) -> Peer {
        let program = command.get_program().to_owned();
        let child = command.spawn();
        Peer(child.unwrap_or_else(|error| {
            panic!("start {program:?}: {error}; apt-get install {packages}")
        }))
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.0.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // SIGKILL, which also ends a process that is stopped.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for a state and returns how long that took.
pub(crate) fn wait_for(
    camera: &Camera,
    what: &str,
    time_max: Duration,
    reached: fn(&CameraState) -> bool,
) -> Duration {
    let began = now();
    loop {
        let state = camera.handle.state();
        if reached(&state) {
            return began.elapsed();
        }
        assert!(began.elapsed() < time_max, "{what} not within {time_max:?}; state is {state:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The life of every live camera: it streams, is lost within its deadline, and comes back without
/// a new process.
pub(crate) fn check_loss_and_return(
    mut camera: Camera,
    break_it: impl FnOnce(),
    repair_it: impl FnOnce(),
    size_px: (u32, u32),
    packages: &str,
) {
    let streams = |state: &CameraState| matches!(state, CameraState::Streaming { .. });
    let what = format!("a first frame (are these installed: {packages}?)");
    let opening = wait_for(&camera, &what, Duration::from_secs(60), streams);
    let first = camera.source.next_frame().unwrap().expect("a first frame");
    assert_eq!((first.color.width_px(), first.color.height_px()), size_px);
    let mut last = first;
    for _ in 0..20 {
        let frame = camera.source.next_frame().unwrap().expect("a stream");
        assert!(frame.sequence > last.sequence && frame.stamp > last.stamp);
        last = frame;
    }
    break_it();
    let lost = |state: &CameraState| matches!(state, CameraState::Lost { .. });
    // The deadline is 1 s; the rest is for a busy machine and for frames on their way.
    let loss = wait_for(&camera, "loss", Duration::from_secs(4), lost);
    let progress = camera.handle.progress();
    repair_it();
    let recovery = wait_for(&camera, "recovery", Duration::from_secs(60), streams);
    assert!(camera.handle.progress() > progress);
    // What lay in the slot may be from before the loss; what comes now may not.
    camera.source.next_frame().unwrap().expect("a frame");
    let frame = camera.source.next_frame().unwrap().expect("a frame after the loss");
    assert!(frame.sequence > last.sequence && frame.stamp > last.stamp);
    eprintln!("first frame {opening:.2?}, loss seen {loss:.2?}, recovered {recovery:.2?}");
}
