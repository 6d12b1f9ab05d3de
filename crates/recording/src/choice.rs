//! Which topics of a recording hold color, depth and the lens, where others made it.

use std::collections::{BTreeMap, BTreeSet};

use foxglove::messages::{CameraCalibration, FrameTransform};
use magpie_perception::{BoxError, CameraInfo, CameraPlace, Scene, Tool};
use nalgebra::Isometry3;
use prost::Message;

use crate::RecordingError;
use crate::coding::{decode_color, decode_depth, decode_message, is_image};
use crate::frames::Selection;
use crate::lens::{CameraMessage, Lens, is_rectified};
use crate::mcap_file::StoredMessage;
use crate::pixels::{CameraBits, DepthUnit};
use crate::ros;
use crate::schema::{COLOR_TOPIC, DEPTH_TOPIC, RecordingInfo};
use crate::storage::Storage;
use crate::tree::Tree;

/// How a recording of others is read; what is absent is guessed, and told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadOptions {
    pub color_topic: Option<String>,
    pub depth_topic: Option<String>,
    /// The frame that is the robot's base.
    pub base_frame_id: Option<String>,
    /// The length that 1 stands for in depth images; absent: 1 mm in 16 bits and 1 m in numbers, as
    /// REP-118 has it.
    pub depth_unit_m: Option<f64>,
}

/// What the recording of others gives.
pub(crate) struct Choice {
    pub(crate) selection: Selection,
    pub(crate) scene: Option<Scene>,
    pub(crate) base_frame_id: Option<String>,
    /// What was chosen, and what was not and why, in one line.
    pub(crate) told: String,
    /// What of it makes results doubtful.
    pub(crate) doubt: Option<String>,
}

/// So many chunks are searched for topics and transforms; those that hold none, by their index, do not
/// count.
const CHUNKS_SEARCHED_MAX: usize = 200;
/// So many messages of a topic are tried: the first may be damaged, or not yet filled in.
const MESSAGES_TRIED_MAX: usize = 3;
/// Pictures that lie further apart than this are not aligned.
const APART_PX_MAX: f64 = 2.0;
/// Until a tool is given: a cup of 40 mm.
const CUP_RADIUS_M: f64 = 0.02;

/// An image topic, by its first message that can be read.
struct Image {
    topic: String,
    frame_id: String,
    is_depth: bool,
    is_rectified: bool,
    size_px: (u32, u32),
}

impl Image {
    /// Why depth is not taken for that of the picture; `None` of what is, and of what is no depth.
    fn unaligned(&self, color: &Image) -> Option<String> {
        if !self.is_depth {
            return None;
        }
        let has = |parts: &[&str]| {
            let topic = self.topic.to_lowercase();
            parts.iter().any(|part| topic.contains(part))
        };
        let same_camera = !color.frame_id.is_empty() && self.frame_id == color.frame_id;
        let own = self.topic == DEPTH_TOPIC && color.topic == COLOR_TOPIC;
        let named = has(&["aligned", "registered", "to_color", "to_rgb"]);
        let ((width, height), (color_width, color_height)) = (self.size_px, color.size_px);
        if has(&NO_COLOR) {
            return Some("its name says that it is no depth".to_owned());
        }
        if !(own || named || same_camera) {
            return Some(format!(
                "not aligned with the picture, since it is in {:?} and the picture in {:?}; record \
                 aligned_depth_to_color, or say by --depth-topic that it is",
                self.frame_id, color.frame_id
            ));
        }
        let is_other_size = self.size_px != color.size_px;
        is_other_size.then(|| {
            format!("{width}x{height}, the picture {color_width}x{color_height}; record both at one size")
        })
    }
}

#[derive(Default)]
struct Found {
    images: Vec<Image>,
    /// Topics of pictures that are not read, with the reason.
    unread: BTreeMap<String, String>,
    cameras: BTreeMap<String, CameraMessage>,
    /// Why what a topic says of a camera is of no use.
    cameras_unused: BTreeMap<String, String>,
    tree: Tree,
    /// Topics of static transforms: one may come as late as it likes.
    transforms: BTreeSet<String>,
    /// The search ended before the recording did.
    is_cut: bool,
}

pub(crate) fn choose(
    name: &str,
    file: &mut Storage,
    options: &ReadOptions,
) -> Result<Choice, RecordingError> {
    let found = look(file);
    let color = found.color(name, file, options)?;
    let depth = found.depth(name, options, color)?;
    let mut told = vec![match depth {
        Some(depth) => format!("color from {}, depth from {}", color.topic, depth.topic),
        None => format!("color from {}, no depth", color.topic),
    }];
    let mut scene = None;
    let mut base_frame_id = None;
    let mut doubts = Vec::new();
    // A base that was asked for is not passed over.
    let no_base = |reason: &str| match &options.base_frame_id {
        Some(base) => Err(RecordingError::NoBase {
            name: name.to_owned(),
            base: base.clone(),
            reason: reason.to_owned(),
        }),
        None => Ok(()),
    };
    match found.lens(color) {
        Ok((topic, lens)) => {
            told.push(format!("lens from {topic}{}", lens.told));
            doubts.extend(lens.doubts.iter().map(|doubt| format!("of {topic} {doubt}")));
            doubts.extend(depth.and_then(|depth| found.misalignment(topic, color, depth)));
            let (base, pose) = match found.pose(&lens, options) {
                Ok((base, pose)) => {
                    told.push(format!("pose in {base}"));
                    (Some(base), Some(pose))
                }
                Err(reason) => {
                    no_base(&reason)?;
                    told.push(format!("no pose, since {reason}"));
                    (None, None)
                }
            };
            scene = Some(scene_of(lens.info, pose));
            base_frame_id = base;
        }
        Err(reason) => {
            no_base(&reason)?;
            told.push(reason);
        }
    }
    let used =
        |topic: &String| *topic == color.topic || depth.is_some_and(|depth| *topic == depth.topic);
    let unread = found.unread.iter().map(|(topic, reason)| format!("{topic} ({reason})"));
    let others = found.images.iter().filter(|image| !used(&image.topic));
    let others = others.map(|image| match image.unaligned(color).filter(|_| depth.is_none()) {
        Some(reason) => format!("{} ({reason})", image.topic),
        None => image.topic.clone(),
    });
    let others: Vec<String> = others.chain(unread).collect();
    if !others.is_empty() {
        told.push(format!("not used: {}", others.join(", ")));
    }
    if found.is_cut {
        told.push(format!("topics were looked for in {CHUNKS_SEARCHED_MAX} chunks only"));
    }
    Ok(Choice {
        selection: Selection {
            color: color.topic.clone(),
            depth: depth.map(|depth| depth.topic.clone()),
            by_stamp: true,
            is_numbered: false,
            is_depth_asked: options.depth_topic.is_some(),
        },
        scene,
        base_frame_id,
        told: told.join("; "),
        doubt: (!doubts.is_empty()).then(|| doubts.join("; ")),
    })
}

/// Takes the first message of every topic that matters, and every static transform.
fn look(file: &mut Storage) -> Found {
    let mut found = Found::default();
    let mut seen = BTreeSet::new();
    let mut tried: BTreeMap<String, usize> = BTreeMap::new();
    // A file without summary names its topics only inside its chunks.
    let all_named = !file.topics().is_empty();
    let mut searched = 0;
    for chunk in 0..file.chunks() {
        let is_wanted = |topic: &str| !seen.contains(topic) || found.transforms.contains(topic);
        if all_named && !file.topics().iter().any(|topic| is_wanted(topic)) {
            break;
        }
        if !file.may_hold(chunk, &is_wanted) {
            continue;
        }
        if searched == CHUNKS_SEARCHED_MAX {
            found.is_cut = true;
            break;
        }
        searched += 1;
        let Ok(messages) = file.messages(chunk) else { continue };
        for message in messages {
            let topic = message.channel.topic.clone();
            if seen.contains(&topic) && !is_transform(schema_name(&message)) {
                continue;
            }
            if found.take(message) {
                seen.insert(topic);
            } else {
                let times = tried.entry(topic.clone()).or_default();
                *times += 1;
                if *times == MESSAGES_TRIED_MAX {
                    seen.insert(topic);
                }
            }
        }
    }
    found
}

fn schema_name(message: &StoredMessage) -> &str {
    message.channel.schema.as_ref().map_or("", |schema| &schema.name)
}

fn is_transform(schema: &str) -> bool {
    schema == ros::TF_MESSAGE || schema == "foxglove.FrameTransform"
}

impl Found {
    /// Whether the message was understood, or no other of its topic would be.
    fn take(&mut self, message: StoredMessage) -> bool {
        let topic = message.channel.topic.clone();
        let schema = schema_name(&message);
        match (schema, message.channel.message_encoding.as_str()) {
            (ros::CAMERA_INFO, "cdr") => {
                return self.note_camera(topic, ros::camera_info(&message.data));
            }
            ("foxglove.CameraCalibration", "protobuf") => {
                return self.note_camera(topic, foxglove_camera(&message.data));
            }
            (ros::TF_MESSAGE, "cdr") => {
                let transforms = ros::transforms(&message.data).unwrap_or_default();
                let is_static = topic.ends_with("tf_static");
                for ros::Transform { parent, child, parent_from_child } in transforms {
                    if is_static {
                        self.tree.note(&parent, &child, parent_from_child);
                    } else {
                        self.tree.note_moving(&child);
                    }
                }
                if is_static {
                    self.transforms.insert(topic);
                }
            }
            ("foxglove.FrameTransform", "protobuf") => {
                if let Ok(transform) = FrameTransform::decode(&message.data[..]) {
                    let (t, r) = (transform.translation, transform.rotation);
                    let (t, r) = (t.unwrap_or_default(), r.unwrap_or_default());
                    if let Some(pose) = ros::pose([t.x, t.y, t.z, r.x, r.y, r.z, r.w]) {
                        let (parent, child) =
                            (&transform.parent_frame_id, &transform.child_frame_id);
                        self.tree.note_changing(parent, child, pose);
                    }
                }
                self.transforms.insert(topic);
            }
            (schema, coding) if is_image(schema, coding) => match image(&message) {
                Ok(image) => {
                    self.unread.remove(&topic);
                    self.images.push(image);
                }
                Err(err) => {
                    self.unread.entry(topic).or_insert_with(|| err.to_string());
                    return false;
                }
            },
            (schema, coding)
                if ["Image", "CompressedVideo"].iter().any(|end| schema.ends_with(end)) =>
            {
                let reason = if schema.ends_with("CompressedVideo") {
                    format!("{schema}: video is not decoded; record pictures")
                } else {
                    format!("{schema} as {coding:?} is not read; convert it to ROS 2 or Foxglove's")
                };
                self.unread.insert(topic, reason);
            }
            _ => {}
        }
        true
    }

    /// Drivers send zeros until they have read their calibration.
    fn note_camera(&mut self, topic: String, camera: Result<CameraMessage, BoxError>) -> bool {
        match camera {
            Ok(camera) => {
                let is_filled_in = camera.k.iter().any(|&value| value != 0.0);
                self.cameras_unused.remove(&topic);
                self.cameras.insert(topic, camera);
                is_filled_in
            }
            // The next may be whole.
            Err(err) => {
                self.cameras_unused.insert(topic, err.to_string());
                false
            }
        }
    }

    fn color(
        &self,
        name: &str,
        file: &Storage,
        options: &ReadOptions,
    ) -> Result<&Image, RecordingError> {
        let candidates = || self.images.iter().filter(|image| !image.is_depth);
        if let Some(topic) = &options.color_topic {
            let image = candidates().find(|image| image.topic == *topic);
            return image.ok_or_else(|| self.no_topic(name, topic, "color", false));
        }
        let rank = |image: &&Image| {
            let topic = image.topic.to_lowercase();
            // What a rectified picture is called says nothing of its camera.
            let camera = topic.replace("rect_color", "rect");
            let has = |parts: &[&str]| parts.iter().any(|part| camera.contains(part));
            let place = match () {
                () if image.topic == COLOR_TOPIC => 0,
                () if has(&NO_COLOR) || has(&["depth"]) => 3,
                () if has(&["color", "rgb"]) => 1,
                () => 2,
            };
            let is_grey = !["color", "rgb"].iter().any(|part| topic.contains(part));
            // What was compressed for the eye comes after what was not.
            let is_compressed = topic.contains("compressed");
            (place, image.is_rectified, is_grey, is_compressed, image.topic.clone())
        };
        candidates().min_by_key(rank).ok_or_else(|| self.no_pictures(name, file))
    }

    fn depth(
        &self,
        name: &str,
        options: &ReadOptions,
        color: &Image,
    ) -> Result<Option<&Image>, RecordingError> {
        let candidates = || self.images.iter().filter(|image| image.is_depth);
        if let Some(topic) = &options.depth_topic {
            let image = candidates().find(|image| image.topic == *topic);
            return image.map(Some).ok_or_else(|| self.no_topic(name, topic, "depth", true));
        }
        // Depth that is not seen by the color camera would lie beside what it belongs to.
        let aligned = |image: &&Image| image.unaligned(color).is_none();
        let rank = |image: &&Image| {
            let is_other_kind = image.is_rectified != color.is_rectified;
            (is_other_kind, image.topic.contains("compressed"), image.topic.clone())
        };
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
        let why = self.unread.get(topic).map(|why| format!(" ({why})"));
        RecordingError::NoTopic {
            name: name.to_owned(),
            what,
            topic: format!("{topic}{}", why.unwrap_or_default()),
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

    /// What is said of the color camera, and where: ROS puts it beside the picture.
    fn camera(&self, color: &Image) -> Result<(&String, &CameraMessage), String> {
        let mut folder = color.topic.as_str();
        while let Some((above, _)) = folder.rsplit_once('/') {
            let topic = format!("{above}/camera_info");
            if let Some(camera) = self.cameras.get_key_value(&topic) {
                return Ok(camera);
            }
            if let Some(reason) = self.cameras_unused.get(&topic) {
                return Err(format!("no lens, since of {topic} {reason}"));
            }
            folder = above;
        }
        let same = self
            .cameras
            .iter()
            .find(|(_, info)| !color.frame_id.is_empty() && info.frame_id == color.frame_id);
        same.ok_or_else(|| "no lens".to_owned())
    }

    /// The lens of the color picture, where it is for a picture of that size.
    fn lens(&self, color: &Image) -> Result<(&String, Lens), String> {
        let (topic, camera) = self.camera(color)?;
        let lens = camera
            .lens(color.is_rectified)
            .map_err(|reason| format!("no lens, since of {topic} {reason}"))?;
        let (lens_px, picture_px) = ((lens.info.width_px, lens.info.height_px), color.size_px);
        if lens_px != picture_px {
            return Err(format!(
                "no lens, since {topic} is for {}x{} px{}, and the picture has {}x{}",
                lens_px.0, lens_px.1, lens.told, picture_px.0, picture_px.1
            ));
        }
        Ok((topic, lens))
    }

    /// Says so where one of color and depth was rectified and the other was not.
    fn misalignment(&self, lens_topic: &str, color: &Image, depth: &Image) -> Option<String> {
        let apart_px = self.cameras.get(lens_topic)?.rectifying_moves_px()?;
        let which = if depth.is_rectified { "depth" } else { "color" };
        (color.is_rectified != depth.is_rectified && apart_px > APART_PX_MAX).then(|| {
            format!(
                "of {} and {} only {which} is rectified, so that they lie up to {apart_px:.0} px apart: \
                 choose topics of one kind by --color-topic and --depth-topic",
                color.topic, depth.topic
            )
        })
    }

    /// The name of the base, and where the picture is taken from in it; or why nobody knows.
    fn pose(&self, lens: &Lens, options: &ReadOptions) -> Result<(String, Isometry3<f64>), String> {
        let asked = options.base_frame_id.as_deref();
        let (base, base_from_camera) = self.tree.place(&lens.info.frame_id, asked)?;
        let camera_from_picture = lens
            .frame_from_picture
            .ok_or("by its P the picture is of the second camera of a pair")?;
        Ok((base, base_from_camera * camera_from_picture))
    }
}

/// Parts of names of pictures that show neither color nor depth.
const NO_COLOR: [&str; 8] =
    ["infra", "/ir/", "thermal", "confidence", "mask", "label", "disparity", "amplitude"];

/// What a picture is, once it can be decoded.
fn image(message: &StoredMessage) -> Result<Image, BoxError> {
    let (schema, topic) = (schema_name(message), message.channel.topic.as_str());
    let decoded = decode_message(schema, &message.data)?;
    let names_depth = topic.to_lowercase().contains("depth");
    let depth = || decode_depth(schema, &message.data, DepthUnit::default());
    let (is_depth, size_px) = match (decoded.is_depth() || names_depth).then(depth) {
        Some(Ok(depth)) => (true, (depth.width_px(), depth.height_px())),
        not_depth => {
            let color = decode_color(schema, &message.data, &mut CameraBits::default());
            // The reason of what its name says it is.
            let color = color.map_err(|why| not_depth.and_then(Result::err).unwrap_or(why))?;
            (false, (color.width_px(), color.height_px()))
        }
    };
    Ok(Image {
        topic: topic.to_owned(),
        frame_id: decoded.frame_id().to_owned(),
        is_depth,
        is_rectified: is_rectified(topic),
        size_px,
    })
}

fn foxglove_camera(message: &[u8]) -> Result<CameraMessage, BoxError> {
    let CameraCalibration { frame_id, width, height, distortion_model, d, k, r, p, .. } =
        CameraCalibration::decode(message)?;
    let sensor_px = [width, height];
    Ok(CameraMessage { frame_id, sensor_px, distortion_model, d, k, r, p, ..Default::default() })
}

fn scene_of(camera_info: CameraInfo, base_from_camera: Option<Isometry3<f64>>) -> Scene {
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
