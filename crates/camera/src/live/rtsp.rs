//! A network stream.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer::{Caps, Element, ElementFactory};
use gstreamer_app::AppSink;

use super::caps::images_decoder;
use super::device::{Device, DeviceError, LiveDevice};
use super::limits::LiveLimits;
use super::pipeline::{Parsed, initialise};
use super::redact::redact;
use crate::errors::OpenError;
use crate::images::Images;

/// How long packets may wait for those before them.
const JITTER_MS: u32 = 50;

/// A network stream, most often RTSP with H.264 or H.265, decoded by whichever decoder GStreamer
/// finds.
#[derive(Clone, Debug, PartialEq)]
pub struct RtspConfig {
    pub url: String,
}

impl LiveDevice for RtspConfig {
    fn describe(&self) -> String {
        format!("stream {}", redact(&self.url))
    }

    fn check(&self) -> Result<(), OpenError> {
        match self.url.split_once("://") {
            Some((scheme, rest)) if !scheme.is_empty() && !rest.is_empty() => Ok(()),
            _ => Err(OpenError::Url { url: redact(&self.url) }),
        }
    }

    fn open(&self, limits: &LiveLimits) -> Result<Box<dyn Device<Images>>, DeviceError> {
        initialise().map_err(|problem| DeviceError::Misconfigured(problem.to_string()))?;
        let missing = |_| {
            let why = "GStreamer's base plugins are not installed (gstreamer1.0-plugins-base)";
            DeviceError::Misconfigured(why.to_owned())
        };
        let raw = Caps::builder("video/x-raw").any_features().build();
        // Any memory, or decoders that know several are passed over. Sound, which many cameras send too, is left alone.
        let source = ElementFactory::make("uridecodebin")
            .property("uri", &self.url)
            .property("caps", &raw)
            .property("expose-all-streams", false)
            .build()
            .map_err(missing)?;
        let sink = AppSink::builder().sync(false).caps(&raw).build();
        let pipeline = gst::Pipeline::new();
        pipeline.add(&source).expect("it is new");
        pipeline.add(&sink).expect("it is new");
        source.connect("source-setup", false, |values| {
            prefer_tcp(&values[1].get::<Element>().expect("the signal carries the source"));
            None
        });
        let sink_pad = sink.static_pad("sink").expect("every sink has one");
        source.connect_pad_added(move |_, pad| {
            if !sink_pad.is_linked() {
                // What cannot be linked is told by the source.
                let _ = pad.link(&sink_pad);
            }
        });
        Parsed::new(pipeline, sink).start(limits, Box::new(images_decoder))
    }
}

/// Lost packets of UDP tear pictures, and UDP gets through few networks. The newest frame is wanted,
/// not a smooth film.
fn prefer_tcp(source: &Element) {
    if source.has_property("protocols") {
        source.set_property_from_str("protocols", "tcp");
    }
    if source.has_property("latency") {
        source.set_property("latency", JITTER_MS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_its_protocol() {
        let refused = RtspConfig { url: "10.0.0.5/stream".into() }.check().unwrap_err();
        assert!(refused.to_string().contains("rtsp://"), "{refused}");
    }
}
