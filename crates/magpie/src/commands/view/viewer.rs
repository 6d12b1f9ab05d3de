//! The Python program that draws in Rerun, and what it is handed: see `viewer.py`.

use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

use anyhow::{Context, anyhow};
use magpie_daemon::failure::{Failure, Outcome};
use magpie_files::OutputFile;
use magpie_perception::{BgrImage, CameraInfo, DepthImage};
use magpie_wire as wire;
use nalgebra::Isometry3;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::args::ViewArgs;

const PROGRAM: &str = include_str!("viewer.py");

/// What is known before the first frame is shown.
pub(super) struct Head<'a> {
    pub(super) name: &'a str,
    /// More comes as time goes on: the newest frame is shown.
    pub(super) is_live: bool,
    pub(super) has_depth: bool,
    /// `None`: nobody knows where anything is.
    pub(super) reference: Option<Reference<'a>>,
}

/// What poses are in.
pub(super) struct Reference<'a> {
    pub(super) frame_id: &'a str,
    pub(super) is_base: bool,
    /// `None`: a running cell does not say where its camera is.
    pub(super) camera: Option<(&'a CameraInfo, Isometry3<f64>)>,
}

/// One frame.
pub(super) struct Shown<'a> {
    pub(super) stamp_ns: u64,
    pub(super) picture: Picture<'a>,
    pub(super) depth: Option<&'a DepthImage>,
    /// Of [`Surface::points`](super::surface::Surface::points).
    pub(super) points: Option<Vec<u8>>,
    /// Whole: its masks are of the picture's size.
    pub(super) result: Option<&'a wire::Packages>,
}

pub(super) enum Picture<'a> {
    Bgr(&'a BgrImage),
    Jpeg { header: &'a wire::ImageHeader, bytes: &'a [u8] },
}

/// Draws until somebody closes its window.
pub(super) struct Viewer {
    process: Child,
    messages: BufWriter<ChildStdin>,
    /// The last line that the program says, once it has ended.
    last_line: oneshot::Receiver<String>,
    is_left: bool,
    /// When the first frame was exposed: the viewer opens at the earliest moment that it is told of.
    first_ns: u64,
    out: Option<(PathBuf, JoinHandle<io::Result<OutputFile>>)>,
}

impl Viewer {
    pub(super) fn start(args: &ViewArgs, head: &Head) -> Result<Viewer, Failure> {
        let mut command = Command::new(&args.python);
        // The program is an argument: there is no file that somebody could put something else into.
        command.arg("-c").arg(PROGRAM).stdin(Stdio::piped()).stderr(Stdio::piped());
        match args.out {
            // Ctrl-C is for this program, which then lets the file be finished.
            Some(_) => command.arg("save").stdout(Stdio::piped()).process_group(0),
            None => command.stdout(Stdio::null()),
        };
        let mut process = command.spawn().with_context(|| {
            let python = args.python.display();
            format!("start {python}, which draws in Rerun: install Python, or name one by --python")
        })?;
        let (stdin, stdout, stderr) =
            (process.stdin.take(), process.stdout.take(), process.stderr.take());
        let (say, last_line) = oneshot::channel();
        let stderr = stderr.expect("asked for above");
        // The sender is gone with its thread, so whoever waits for the line hears of its end.
        spawn("magpie-viewer", move || drop(say.send(last_line_of(stderr))))?;
        let out = match (&args.out, stdout) {
            (Some(path), Some(stdout)) => Some((path.clone(), save(path, stdout)?)),
            _ => None,
        };
        let messages = BufWriter::new(stdin.expect("asked for above"));
        let mut viewer = Viewer { process, messages, last_line, is_left: false, first_ns: 0, out };
        viewer.send(&head.to_json(), &[])?;
        Ok(viewer)
    }

    /// Whether nobody looks any more.
    pub(super) fn is_left(&self) -> bool {
        self.is_left
    }

    pub(super) fn show(&mut self, shown: &Shown) -> Outcome {
        if self.first_ns == 0 {
            self.first_ns = shown.stamp_ns;
        }
        let depth = shown.depth.map(|depth| little_endian(depth.data_mm()));
        let labels = shown.result.map(|result| {
            let pixels = result.image_width_px as usize * result.image_height_px as usize;
            let mut labels = vec![0; 2 * pixels];
            wire::paint_labels(result, 2, &mut labels);
            labels
        });
        let (picture_px, coding, picture) = match shown.picture {
            Picture::Bgr(image) => ([image.width_px(), image.height_px()], "bgr8", image.data()),
            Picture::Jpeg { header, bytes } => ([header.width_px, header.height_px], "jpeg", bytes),
        };
        let images = [
            ("picture", Some(picture)),
            ("depth", depth.as_deref()),
            ("points", shown.points.as_deref()),
            ("labels", labels.as_deref()),
        ];
        let given = || images.iter().filter_map(|(name, bytes)| Some((*name, (*bytes)?)));
        let message = json!({
            "stamp_ns": shown.stamp_ns,
            "size_px": picture_px,
            "coding": coding,
            "bytes": given().map(|(name, bytes)| (name, bytes.len())).collect::<Vec<_>>(),
            "result": shown.result.map(wire::to_json),
        });
        self.send(&message, &given().map(|(_, bytes)| bytes).collect::<Vec<_>>())
    }

    /// A line about the daemon, at the moment it was said, or at the first frame.
    pub(super) fn note(&mut self, stamp_ns: u64, state: wire::State, line: &str) -> Outcome {
        let level = match state {
            wire::State::Degraded => "WARN",
            wire::State::Fault => "ERROR",
            _ => "INFO",
        };
        let stamp_ns = stamp_ns.max(self.first_ns);
        self.send(&json!({ "stamp_ns": stamp_ns, "status": line, "level": level }), &[])
    }

    /// Returns when somebody closes the window, or when the program ends by itself.
    pub(super) async fn left(&mut self) {
        if !self.is_left {
            // The line is heard once.
            let line = (&mut self.last_line).await.unwrap_or_default();
            let (say, last_line) = oneshot::channel();
            drop(say.send(line));
            self.last_line = last_line;
            self.is_left = true;
        }
    }

    /// After all was shown, waits until the window is closed or the file is written. After an error
    /// there is no file, and the window keeps what it has.
    pub(super) fn end(mut self, shown: Outcome) -> Outcome {
        if shown.is_err() {
            if let Some((_, saved)) = self.out.take() {
                // It may have ended by itself.
                let _ = self.process.kill();
                drop(saved.join());
            }
            return shown;
        }
        self.finish()
    }

    fn finish(self) -> Outcome {
        let Viewer { mut process, messages, last_line, out, .. } = self;
        drop(messages.into_parts());
        let status = process.wait().context("wait for Rerun").map_err(Failure::Fault)?;
        let last_line = last_line.blocking_recv().unwrap_or_default();
        if !status.success() {
            return Err(Failure::Fault(anyhow!("draw in Rerun: {last_line} ({status})")));
        }
        let Some((path, saved)) = out else { return Ok(()) };
        let saved = saved.join().expect("it only copies").and_then(OutputFile::finish);
        saved.with_context(|| format!("write {}", path.display())).map_err(Failure::Fault)?;
        tracing::info!(path = %path.display(), "written: `rerun FILE` opens it");
        Ok(())
    }

    /// Where the reader is gone nothing is sent, and [`end`](Self::end) tells why.
    fn send(&mut self, message: &Value, images: &[&[u8]]) -> Outcome {
        let sent = writeln!(self.messages, "{message}")
            .and_then(|()| images.iter().try_for_each(|image| self.messages.write_all(image)))
            .and_then(|()| self.messages.flush());
        match sent {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.is_left = true;
                Ok(())
            }
            sent => sent.context("hand a frame to Rerun").map_err(Failure::Fault),
        }
    }
}

impl Head<'_> {
    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "live": self.is_live,
            "depth": self.has_depth,
            "reference": self.reference.as_ref().map(|reference| json!({
                "frame_id": reference.frame_id,
                "is_base": reference.is_base,
                "camera": reference.camera.map(|(info, pose)| camera_to_json(info, &pose)),
            })),
        })
    }
}

fn camera_to_json(info: &CameraInfo, reference_from_camera: &Isometry3<f64>) -> Value {
    let k = &info.intrinsics;
    let (position, turn) =
        (reference_from_camera.translation.vector, reference_from_camera.rotation.coords);
    json!({
        "position_m": position.as_slice(),
        "orientation_xyzw": turn.as_slice(),
        "size_px": [info.width_px, info.height_px],
        "focal_length_px": [k.fx_px, k.fy_px],
        "principal_point_px": [k.cx_px, k.cy_px],
    })
}

fn little_endian(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Reads to the end, which comes when the window is closed as well.
fn last_line_of(stderr: ChildStderr) -> String {
    let mut last = String::new();
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        tracing::debug!("{line}");
        if !line.trim().is_empty() {
            last = line;
        }
    }
    last
}

/// Writes what the program prints into a file that gets its name at the end.
fn save(
    path: &Path,
    mut printed: ChildStdout,
) -> Result<JoinHandle<io::Result<OutputFile>>, Failure> {
    let file = OutputFile::create(path).with_context(|| format!("write {}", path.display()));
    let mut file = file.map_err(Failure::Fault)?;
    spawn("magpie-save", move || io::copy(&mut printed, &mut file).map(|_| file))
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Failure> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(Failure::fault)
}
