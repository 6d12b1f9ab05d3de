//! Which topics of a recording hold color, depth and the lens, where others made it.

use std::collections::{BTreeMap, HashMap};

use foxglove::messages::{CameraCalibration, FrameTransform};
use magpie_perception::{CameraInfo, CameraPlace, Distortion, Intrinsics, Scene, Tool};
use nalgebra::Isometry3;
use prost::Message;

use crate::RecordingError;
use crate::coding::{decode_color, decode_depth, decode_message, is_image};
use crate::frames::Selection;
use crate::mcap_file::StoredMessage;
use crate::ros;
use crate::schema::{COLOR_TOPIC, DEPTH_TOPIC, RecordingInfo};
use crate::storage::Storage;

/// Which topics a recording is read from; what is absent is guessed, and told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topics {
    pub color: Option<String>,
    pub depth: Option<String>,
}

/// What the recording of others gives.
pub(crate) struct Choice {
    pub(crate) selection: Selection,
    pub(crate) scene: Option<Scene>,
    pub(crate) base_frame_id: Option<String>,
    /// What was chosen, and what was not and why, in one line.
    pub(crate) told: String,
}

/// A recording's topics show within so many chunks; one that comes later is not found.
const CHUNKS_SEARCHED_MAX: usize = 200;
/// How long a chain of transforms may be.
const TRANSFORMS_MAX: usize = 32;
/// Until a tool is given: a cup of 40 mm.
const CUP_RADIUS_M: f64 = 0.02;

/// An image topic, by its first message.
struct Image {
    topic: String,
    first: StoredMessage,
    frame_id: String,
    is_depth: bool,
}

#[derive(Default)]
struct Found {
    images: Vec<Image>,
    /// Topics of pictures that are not read, with the reason.
    unread: BTreeMap<String, String>,
    lenses: BTreeMap<String, CameraInfo>,
    /// Why a lens of that topic is of no use.
    lenses_unused: BTreeMap<String, String>,
    parents: HashMap<String, (String, Isometry3<f64>)>,
}

pub(crate) fn choose(
    name: &str,
    file: &mut Storage,
    asked: &Topics,
) -> Result<Choice, RecordingError> {
    let found = look(file);
    let color = found.color(name, file, asked)?;
    let depth = found.depth(name, asked, color)?;
    let size = size_of(color);
    let mut told = vec![match depth {
        Some(depth) => format!("color from {}, depth from {}", color.topic, depth.topic),
        None => format!("color from {}, no depth", color.topic),
    }];
    let (scene, base_frame_id) = match found.lens(color) {
        Ok((topic, info)) if (info.width_px, info.height_px) == size => {
            told.push(format!("lens from {topic}"));
            let place = found.place(&info.frame_id);
            let (base, pose) = place.unzip();
            if let Some(base) = &base {
                told.push(format!("pose in {base}"));
            }
            (Some(scene(info.clone(), pose)), base)
        }
        Ok((topic, info)) => {
            let (width, height) = (info.width_px, info.height_px);
            told.push(format!("no lens, since {topic} is for {width}x{height} px"));
            (None, None)
        }
        Err(reason) => {
            told.push(reason);
            (None, None)
        }
    };
    let used =
        |topic: &String| *topic == color.topic || depth.is_some_and(|depth| *topic == depth.topic);
    let others = found.images.iter().map(|image| image.topic.clone());
    let unread = found.unread.iter().map(|(topic, reason)| format!("{topic} ({reason})"));
    let others: Vec<String> = others.filter(|topic| !used(topic)).chain(unread).collect();
    if !others.is_empty() {
        told.push(format!("not used: {}", others.join(", ")));
    }
    Ok(Choice {
        selection: Selection {
            color: color.topic.clone(),
            depth: depth.map(|depth| depth.topic.clone()),
            by_stamp: true,
            is_numbered: false,
        },
        scene,
        base_frame_id,
        told: told.join("; "),
    })
}

/// Takes the first message of every topic that matters.
fn look(file: &mut Storage) -> Found {
    let mut found = Found::default();
    let mut seen = std::collections::BTreeSet::new();
    for chunk in 0..file.chunks().min(CHUNKS_SEARCHED_MAX) {
        if !file.topics().is_empty() && file.topics().is_subset(&seen) {
            break;
        }
        let Ok(messages) = file.messages(chunk) else { continue };
        for message in messages {
            let schema = schema_name(&message).to_owned();
            let is_transform = schema == ros::TF_MESSAGE || schema == "foxglove.FrameTransform";
            if seen.insert(message.channel.topic.clone()) || is_transform {
                found.take(&schema, message);
            }
        }
    }
    found
}

fn schema_name(message: &StoredMessage) -> &str {
    message.channel.schema.as_ref().map_or("", |schema| &schema.name)
}

impl Found {
    fn take(&mut self, schema: &str, message: StoredMessage) {
        let topic = message.channel.topic.clone();
        let coding = message.channel.message_encoding.as_str();
        match (schema, coding) {
            (ros::CAMERA_INFO, "cdr") => match ros::camera_info(&message.data) {
                Ok(info) => {
                    let ros::CameraInfoMessage { frame_id, width, height, .. } = info;
                    self.note_lens(
                        topic,
                        (frame_id, (width, height), &info.distortion_model, &info.d, &info.k),
                    );
                }
                Err(err) => drop(self.lenses_unused.insert(topic, err.to_string())),
            },
            ("foxglove.CameraCalibration", "protobuf") => {
                match CameraCalibration::decode(&message.data[..]) {
                    Ok(info) => {
                        let size = (info.width, info.height);
                        let (model, d, k) = (&info.distortion_model, &info.d, &info.k);
                        self.note_lens(topic, (info.frame_id.clone(), size, model, d, k));
                    }
                    Err(err) => drop(self.lenses_unused.insert(topic, err.to_string())),
                }
            }
            (ros::TF_MESSAGE, "cdr") if topic.ends_with("tf_static") => {
                for transform in ros::transforms(&message.data).unwrap_or_default() {
                    let ros::Transform { parent, child, parent_from_child } = transform;
                    self.parents.insert(child, (parent, parent_from_child));
                }
            }
            ("foxglove.FrameTransform", "protobuf") => {
                if let Ok(transform) = FrameTransform::decode(&message.data[..]) {
                    let (parent, child) = (transform.parent_frame_id, transform.child_frame_id);
                    let (t, r) = (transform.translation, transform.rotation);
                    let (t, r) = (t.unwrap_or_default(), r.unwrap_or_default());
                    if let Some(pose) = ros::pose([t.x, t.y, t.z, r.x, r.y, r.z, r.w]) {
                        self.parents.insert(child, (parent, pose));
                    }
                }
            }
            _ if is_image(schema, coding) => match decode_message(schema, &message.data) {
                Ok(image) => {
                    let (frame_id, is_depth) = (image.frame_id().to_owned(), image.is_depth());
                    let is_depth = is_depth || (topic.contains("depth") && is_16_bit(&message));
                    self.images.push(Image { topic, first: message, frame_id, is_depth });
                }
                Err(err) => drop(self.unread.insert(topic, err.to_string())),
            },
            _ if ["Image", "CompressedVideo"].iter().any(|end| schema.ends_with(end)) => {
                let reason = if schema.ends_with("CompressedVideo") {
                    format!("{schema}: video is not decoded; record pictures")
                } else {
                    format!("{schema} as {coding:?} is not read; convert it to ROS 2 or Foxglove's")
                };
                self.unread.insert(topic, reason);
            }
            _ => {}
        }
    }

    fn note_lens(
        &mut self,
        topic: String,
        (frame_id, size, model, d, k): (String, (u32, u32), &str, &[f64], &[f64]),
    ) {
        let lens = || -> Result<CameraInfo, String> {
            let &[fx_px, _, cx_px, _, fy_px, cy_px, ..] = k else {
                return Err("its k has not nine values".to_owned());
            };
            let is_finite = [fx_px, fy_px, cx_px, cy_px].iter().all(|value| value.is_finite());
            if !(is_finite && fx_px > 0.0 && fy_px > 0.0) {
                return Err("it says that the camera is not calibrated".to_owned());
            }
            let info = CameraInfo {
                camera_name: frame_id.clone(),
                frame_id,
                width_px: size.0,
                height_px: size.1,
                intrinsics: Intrinsics { fx_px, fy_px, cx_px, cy_px },
                distortion: Distortion::named(model, d).map_err(|error| error.to_string())?,
            };
            match info.pixel_without_ray() {
                Some(pixel) => Err(format!(
                    "its distortion turns back within the picture: no single ray leads to pixel \
                     {:.0}, {:.0}",
                    pixel.x, pixel.y
                )),
                None => Ok(info),
            }
        };
        match lens() {
            Ok(info) => drop(self.lenses.insert(topic, info)),
            Err(reason) => drop(self.lenses_unused.insert(topic, reason)),
        }
    }

    fn color(&self, name: &str, file: &Storage, asked: &Topics) -> Result<&Image, RecordingError> {
        let candidates = || self.images.iter().filter(|image| !image.is_depth);
        if let Some(topic) = &asked.color {
            let image = candidates().find(|image| image.topic == *topic);
            return image.ok_or_else(|| self.no_topic(name, topic, "color", false));
        }
        let rank = |image: &&Image| {
            let topic = image.topic.to_lowercase();
            let has = |parts: &[&str]| parts.iter().any(|part| topic.contains(part));
            let place = match () {
                () if image.topic == COLOR_TOPIC => 0,
                () if has(&["infra", "depth", "confidence", "mask", "label", "/ir/"]) => 3,
                () if has(&["color", "rgb"]) => 1,
                () => 2,
            };
            // What was compressed for the eye comes after what was not.
            (place, topic.contains("compressed"), image.topic.clone())
        };
        candidates().min_by_key(rank).ok_or_else(|| self.no_pictures(name, file))
    }

    fn depth(
        &self,
        name: &str,
        asked: &Topics,
        color: &Image,
    ) -> Result<Option<&Image>, RecordingError> {
        let candidates = || self.images.iter().filter(|image| image.is_depth);
        if let Some(topic) = &asked.depth {
            let image = candidates().find(|image| image.topic == *topic);
            return image.map(Some).ok_or_else(|| self.no_topic(name, topic, "depth", true));
        }
        // Depth that is not seen by the color camera would lie beside what it belongs to.
        let aligned = |image: &&Image| {
            let says = ["aligned", "registered", "to_color", "to_rgb"];
            let same_camera = !color.frame_id.is_empty() && image.frame_id == color.frame_id;
            let own = image.topic == DEPTH_TOPIC && color.topic == COLOR_TOPIC;
            let named = says.iter().any(|part| image.topic.contains(part));
            (own || named || same_camera) && depth_size(image) == Some(size_of(color))
        };
        let rank = |image: &&Image| (image.topic.contains("compressed"), image.topic.clone());
        Ok(candidates().filter(aligned).min_by_key(rank))
    }

    fn no_topic(
        &self,
        name: &str,
        topic: &str,
        what: &'static str,
        is_depth: bool,
    ) -> RecordingError {
        let there = self.images.iter().filter(|image| image.is_depth == is_depth);
        let there: Vec<&str> = there.map(|image| image.topic.as_str()).collect();
        RecordingError::NoTopic {
            name: name.to_owned(),
            what,
            topic: topic.to_owned(),
            there: if there.is_empty() { "none".to_owned() } else { there.join(", ") },
        }
    }

    fn no_pictures(&self, name: &str, file: &Storage) -> RecordingError {
        let reason = |topic: &String| self.unread.get(topic).map(|reason| format!(" ({reason})"));
        let topics: Vec<String> = (file.topics().iter())
            .map(|topic| format!("{topic}{}", reason(topic).unwrap_or_default()))
            .collect();
        let topics = if topics.is_empty() { "none".to_owned() } else { topics.join(", ") };
        RecordingError::NoPictures { name: name.to_owned(), topics }
    }

    /// The lens of the color camera: ROS puts it beside the picture.
    fn lens(&self, color: &Image) -> Result<(&String, &CameraInfo), String> {
        let mut folder = color.topic.as_str();
        while let Some((above, _)) = folder.rsplit_once('/') {
            let topic = format!("{above}/camera_info");
            if let Some(lens) = self.lenses.get_key_value(&topic) {
                return Ok(lens);
            }
            if let Some(reason) = self.lenses_unused.get(&topic) {
                return Err(format!("no lens, since of {topic} {reason}"));
            }
            folder = above;
        }
        let same = self
            .lenses
            .iter()
            .find(|(_, info)| !color.frame_id.is_empty() && info.frame_id == color.frame_id);
        same.ok_or_else(|| "no lens".to_owned())
    }

    /// The name of the base, and where the camera is in it.
    fn place(&self, frame_id: &str) -> Option<(String, Isometry3<f64>)> {
        let (mut at, mut pose) = (frame_id, Isometry3::identity());
        for _ in 0..TRANSFORMS_MAX {
            let Some((parent, parent_from_child)) = self.parents.get(at) else { break };
            (at, pose) = (parent.as_str(), parent_from_child * pose);
        }
        // A tree that ends in the camera's own mount says nothing of the robot.
        let is_base = at != frame_id && (at.contains("base") || at == "world");
        is_base.then(|| (at.to_owned(), pose))
    }
}

fn is_16_bit(message: &StoredMessage) -> bool {
    decode_depth(schema_name(message), &message.data).is_ok()
}

fn size_of(color: &Image) -> (u32, u32) {
    let image = decode_color(schema_name(&color.first), &color.first.data);
    image.map_or((0, 0), |image| (image.width_px(), image.height_px()))
}

fn depth_size(depth: &Image) -> Option<(u32, u32)> {
    let image = decode_depth(schema_name(&depth.first), &depth.first.data).ok()?;
    Some((image.width_px(), image.height_px()))
}

fn scene(camera_info: CameraInfo, base_from_camera: Option<Isometry3<f64>>) -> Scene {
    Scene {
        camera_info,
        camera_place: base_from_camera.map(CameraPlace::InBase),
        support_plane_in_camera: None,
        tool: Tool::single_cup(CUP_RADIUS_M),
        calibration_id: String::new(),
    }
}

impl Choice {
    pub(crate) fn info(&self) -> RecordingInfo {
        let mut info = RecordingInfo { scene: self.scene.clone(), ..RecordingInfo::default() };
        if let Some(base) = &self.base_frame_id {
            info.base_frame_id.clone_from(base);
        }
        info
    }
}
