//! Live cameras: read on a thread that may hang, judged by the age of their newest frame.
//!
//! `v4l2`, `gstreamer` and `rtsp` are the kinds of camera, `device` is what each of them gives.
//! The last two are a `pipeline`, whose buffers `caps` understands and whose `offers` people can
//! read.
//! `capture` reads one opened device, `watch` starts and abandons it, and `stream` hands out what
//! it left in the slot of `latest_frame`.

pub(crate) mod attempt;
mod caps;
mod capture;
pub(crate) mod device;
pub(crate) mod gstreamer;
mod latest_frame;
pub(crate) mod limits;
mod offers;
mod opencv_device;
pub(crate) mod pipeline;
pub(crate) mod redact;
pub(crate) mod rtsp;
pub(crate) mod stream;
#[cfg(test)]
mod tests;
pub(crate) mod v4l2;
mod watch;
