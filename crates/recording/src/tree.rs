//! Where a camera is, by the transforms of a recording.
//!
//! Only what does not move counts: `tf_static`, and Foxglove's transforms that stay as they are.

use std::collections::{BTreeSet, HashMap};

use nalgebra::Isometry3;

/// How long a chain of transforms may be.
const TRANSFORMS_MAX: usize = 32;

#[derive(Default)]
pub(crate) struct Tree {
    parents: HashMap<String, (String, Isometry3<f64>)>,
    /// Frames that are known to move.
    moving: BTreeSet<String>,
}

impl Tree {
    /// As ROS has it, the transform that comes last counts.
    pub(crate) fn note(&mut self, parent: &str, child: &str, parent_from_child: Isometry3<f64>) {
        self.parents.insert(bare(child).to_owned(), (bare(parent).to_owned(), parent_from_child));
    }

    /// As [`Tree::note`], of transforms that may change: those that do say nothing.
    pub(crate) fn note_changing(&mut self, parent: &str, child: &str, pose: Isometry3<f64>) {
        let known = self.parents.get(bare(child));
        let same = |(before, at): &(String, Isometry3<f64>)| before == bare(parent) && *at == pose;
        if known.is_some_and(|known| !same(known)) {
            self.note_moving(child);
            self.parents.remove(bare(child));
        }
        if !self.moving.contains(bare(child)) {
            self.note(parent, child, pose);
        }
    }

    pub(crate) fn note_moving(&mut self, child: &str) {
        self.moving.insert(bare(child).to_owned());
    }

    /// A frame and those above it, each with where the first is in it.
    fn above<'a>(&'a self, frame_id: &'a str) -> Vec<(&'a str, Isometry3<f64>)> {
        let mut chain = vec![(bare(frame_id), Isometry3::identity())];
        for _ in 0..TRANSFORMS_MAX {
            let Some((at, pose)) = chain.last() else { break };
            let Some((parent, parent_from_child)) = self.parents.get(*at) else { break };
            let next = (parent.as_str(), parent_from_child * pose);
            chain.push(next);
        }
        chain
    }

    /// The camera in the robot's base: the one that is asked for, or the one that its name gives away.
    pub(crate) fn place(
        &self,
        frame_id: &str,
        asked: Option<&str>,
    ) -> Result<(String, Isometry3<f64>), String> {
        let chain = self.above(frame_id);
        let (root, _) = *chain.last().expect("it begins with the frame itself");
        if let Some(asked) = asked {
            let to_base = self.above(asked);
            let meeting = to_base.iter().find_map(|(frame, frame_from_base)| {
                let (_, frame_from_camera) = chain.iter().find(|(other, _)| other == frame)?;
                Some(frame_from_base.inverse() * frame_from_camera)
            });
            return match meeting {
                Some(base_from_camera) => Ok((bare(asked).to_owned(), base_from_camera)),
                None => Err(format!(
                    "no static transforms lead from {asked} to {frame_id:?}, which is known up to \
                     {root}"
                )),
            };
        }
        let mut above = chain.iter().skip(1);
        let base = above.find(|(frame, _)| kind_of(frame) == Some(Kind::Base));
        let world = || chain.iter().skip(1).rev().find(|(frame, _)| kind_of(frame).is_some());
        if let Some((base, base_from_camera)) = base.or_else(world) {
            return Ok(((*base).to_owned(), *base_from_camera));
        }
        Err(if self.moving.contains(root) {
            format!("{root} moves")
        } else if chain.len() == 1 {
            format!("no static transform leads to {frame_id:?}")
        } else {
            format!(
                "{root}, up to which the camera is known, may be its own mount; say \
                 --base-frame {root} if it is the robot's base"
            )
        })
    }
}

/// ROS 1 began names with a slash.
fn bare(frame_id: &str) -> &str {
    frame_id.trim_start_matches('/')
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// An arm's base.
    Base,
    /// What an arm's base stands in.
    World,
}

/// How robots' bases are named, after a robot's name, if any.
const ENDS: [(&str, Kind); 11] = [
    ("base link", Kind::Base),
    ("base frame", Kind::Base),
    ("base", Kind::Base),
    ("link 0", Kind::Base),
    ("link0", Kind::Base),
    ("base footprint", Kind::World),
    ("odom", Kind::World),
    ("map", Kind::World),
    ("world frame", Kind::World),
    ("world link", Kind::World),
    ("world", Kind::World),
];

/// Words of robots' names, without digits. Cameras have bases too, and names without number; so a
/// name that is not known is asked for.
const ROBOTS: [&str; 47] = [
    "robot",
    "arm",
    "manipulator",
    "cell",
    "station",
    "left",
    "right",
    "r",
    "ur",
    "ure",
    "e",
    "panda",
    "franka",
    "fr",
    "fer",
    "kuka",
    "iiwa",
    "lbr",
    "abb",
    "irb",
    "gofa",
    "yumi",
    "fanuc",
    "crx",
    "yaskawa",
    "motoman",
    "staubli",
    "kinova",
    "gen",
    "jaco",
    "xarm",
    "ufactory",
    "denso",
    "cobotta",
    "doosan",
    "dsr",
    "techman",
    "tm",
    "omron",
    "melfa",
    "epson",
    "comau",
    "jaka",
    "aubo",
    "dobot",
    "kawasaki",
    "nachi",
];

/// `None` of a frame that is not known as a robot's base.
fn kind_of(frame_id: &str) -> Option<Kind> {
    let name = frame_id.to_lowercase().replace(|letter: char| !letter.is_alphanumeric(), " ");
    let (robot, kind) =
        ENDS.iter().find_map(|(end, kind)| Some((name.strip_suffix(end)?, *kind)))?;
    let is_whole_word = robot.is_empty() || robot.ends_with(' ');
    let letters = |word: &str| word.replace(|letter: char| letter.is_ascii_digit(), "");
    let mut words = robot.split_whitespace().map(letters).filter(|word| !word.is_empty());
    (is_whole_word && words.all(|word| ROBOTS.contains(&word.as_str()))).then_some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(transforms: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::default();
        for (parent, child) in transforms {
            tree.note(parent, child, Isometry3::translation(0.0, 0.0, 1.0));
        }
        tree
    }

    /// The base, how far below it the camera's frame `cam` is, or why it is not known.
    #[track_caller]
    fn check(transforms: &[(&str, &str)], asked: Option<&str>, expected: &str) {
        let found = match tree(transforms).place("cam", asked) {
            Ok((base, base_from_camera)) => {
                format!("{base} {}", base_from_camera.translation.z)
            }
            Err(reason) => reason,
        };
        assert!(found.contains(expected), "{found}");
    }

    #[test]
    fn a_camera_on_a_robots_base_is_in_that_base() {
        for base in [
            "base_link",
            "base",
            "world",
            "map",
            "/base_link",
            "robot_base",
            "ur5e_base_link",
            "panda_link0",
            "lbr_link_0",
            "robot1/base_link",
            "cell_3_base",
            "World",
        ] {
            check(&[(base, "mount"), ("mount", "cam")], None, &format!("{} 2", bare(base)));
        }
        check(&[("world", "base_link"), ("base_link", "cam")], None, "base_link 1");
        check(&[("map", "odom"), ("odom", "cam")], None, "map 2");
    }

    #[test]
    fn a_cameras_own_mount_is_no_base_of_a_robot() {
        for mount in [
            "camera_base",
            "zed2_base_link",
            "kinect_base",
            "oak-d-base-frame",
            "camera/base_link",
            "d435i_base_link",
            "database",
            "tripod_base",
            "rs_base",
            "camera_world",
        ] {
            check(&[(mount, "cam")], None, &format!("say --base-frame {mount} if"));
        }
        check(&[], None, "no static transform leads to \"cam\"");
    }

    #[test]
    fn a_base_that_is_asked_for_is_found_wherever_it_is_in_the_tree() {
        check(&[("tripod_base", "cam")], Some("tripod_base"), "tripod_base 1");
        let beside = [("world", "base_link"), ("base_link", "plate"), ("world", "cam")];
        check(&beside, Some("base_link"), "base_link 0");
        check(&beside, Some("plate"), "plate -1");
        check(&beside, Some("flange"), "no static transforms lead from flange to \"cam\"");
    }

    #[test]
    fn what_moves_and_what_goes_round_in_a_circle_is_no_place() {
        let mut arm = tree(&[("tool0", "cam")]);
        arm.note_moving("tool0");
        assert!(matches!(arm.place("cam", None), Err(why) if why == "tool0 moves"));
        check(&[("a", "cam"), ("cam", "a")], None, "may be its own mount");
        let mut changing = Tree::default();
        for z in [1.0, 2.0, 1.0] {
            changing.note_changing("base", "cam", Isometry3::translation(0.0, 0.0, z));
        }
        assert!(matches!(changing.place("cam", None), Err(why) if why == "cam moves"));
    }
}
