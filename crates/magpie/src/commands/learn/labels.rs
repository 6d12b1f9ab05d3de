//! The folder of what was learned.
//!
//! | written | what |
//! |---|---|
//! | `annotations.json`, `images/` | COCO: the outlines that vanished, in the pictures before the picks |
//! | `merged.json`, `merged/` | outlines that took more than one package up, for a person |
//! | `failed_seals.json` | surfaces on which cups did not hold |
//! | `look/` | each label and each merged outline, beside the picture after |

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::Context;
use magpie_camera::write_png;
use magpie_daemon::failure::Outcome;
use magpie_perception::{Frame, Mask, PackageType};
use magpie_wire as wire;
use serde_json::{Value, json};

use super::look;
use super::picks::{Acted, Pick, PictureAt, outline};
use super::vanished::Vanished;
use crate::present::output;

pub(super) struct Labels {
    out: PathBuf,
    pictures: Vec<Picture>,
    by_place: BTreeMap<PictureAt, usize>,
    pub(super) labels: Vec<Label>,
    pub(super) merged: Vec<Merged>,
    seals: Vec<Value>,
}

/// A picture with labels.
struct Picture {
    name: String,
    result: Rc<wire::Packages>,
    width_px: u32,
    height_px: u32,
}

/// A package that was outlined by its absence.
pub(super) struct Label {
    picture: usize,
    pub(super) package_type: String,
    /// A later station read the type; else the model said it.
    pub(super) is_type_read: bool,
    pub(super) track_id: u64,
    pub(super) stamp_ns: u64,
    pub(super) vanished: Vanished,
    /// The picture to look at, below the folder.
    pub(super) look: String,
}

/// An outline that took more than one package up.
pub(super) struct Merged {
    pub(super) track_id: u64,
    pub(super) stamp_ns: u64,
    /// What vanished, where it comes apart.
    pub(super) regions: Vec<Mask>,
    pub(super) look: String,
}

impl Labels {
    /// The folder is there, and empty.
    pub(super) fn new(out: &Path) -> Labels {
        Labels {
            out: out.to_owned(),
            pictures: Vec::new(),
            by_place: BTreeMap::new(),
            labels: Vec::new(),
            merged: Vec::new(),
            seals: Vec::new(),
        }
    }

    pub(super) fn pictures(&self) -> usize {
        self.pictures.len()
    }

    pub(super) fn seals(&self) -> usize {
        self.seals.len()
    }

    pub(super) fn add(
        &mut self,
        pick: &Pick,
        acted: &Acted,
        [before, after]: [&Frame; 2],
        vanished: Vanished,
    ) -> Outcome {
        let number = self.labels.len() + 1;
        let picture = self.picture(acted, before)?;
        let look = format!("look/{number:04}.png");
        let drawn = look::draw(before, after, acted, std::slice::from_ref(&vanished.mask))?;
        self.write_picture(&look, &drawn)?;
        let read = pick.told.r#type.trim();
        let said = if read.is_empty() { &acted.package().r#type } else { read };
        self.labels.push(Label {
            picture,
            package_type: said.to_owned(),
            is_type_read: !read.is_empty(),
            track_id: pick.told.track_id,
            stamp_ns: pick.told.stamp_ns,
            vanished,
            look,
        });
        Ok(())
    }

    /// The place of a picture among those that are written; writes it where it is new.
    fn picture(
        &mut self,
        acted: &Acted,
        frame: &Frame,
    ) -> Result<usize, magpie_daemon::failure::Failure> {
        if let Some(picture) = self.by_place.get(&acted.picture) {
            return Ok(*picture);
        }
        let number = self.pictures.len();
        let name = format!("images/{:04}_{}.png", number + 1, acted.result.stamp_ns);
        self.write_picture(&name, &frame.color)?;
        self.pictures.push(Picture {
            name,
            result: Rc::clone(&acted.result),
            width_px: frame.color.width_px(),
            height_px: frame.color.height_px(),
        });
        self.by_place.insert(acted.picture, number);
        Ok(number)
    }

    pub(super) fn add_merged(
        &mut self,
        pick: &Pick,
        acted: &Acted,
        [before, after]: [&Frame; 2],
        regions: Vec<Mask>,
    ) -> Outcome {
        let number = self.merged.len() + 1;
        let look = format!("look/merged_{number:04}.png");
        self.write_picture(&look, &look::draw(before, after, acted, &regions)?)?;
        self.write_picture(
            &format!("merged/{number:04}_{}.png", pick.told.stamp_ns),
            &before.color,
        )?;
        self.merged.push(Merged {
            track_id: pick.told.track_id,
            stamp_ns: pick.told.stamp_ns,
            regions,
            look,
        });
        Ok(())
    }

    /// A surface on which cups did not hold.
    pub(super) fn add_seal(&mut self, pick: &Pick, acted: &Acted) {
        let (told, package, grasp) = (&pick.told, acted.package(), acted.grasp());
        let contact = grasp.pose.as_ref().and_then(|pose| pose.position_m);
        self.seals.push(json!({
            "cell": told.cell,
            "instance_id": told.instance_id,
            "publication": told.publication,
            "stamp_ns": told.stamp_ns,
            "track_id": told.track_id,
            "type": package.r#type,
            "outcome": told.outcome().as_str_name(),
            "vacuum_pa": told.vacuum_pa,
            "contact_px": acted.contact_px(),
            "position_m": contact.map(|at| [at.x, at.y, at.z]),
            "quality": grasp.quality,
            "seal": grasp.seal,
            "clearance": grasp.clearance,
            "cups": grasp.cups,
        }));
    }

    fn write_picture(&self, name: &str, image: &magpie_perception::BgrImage) -> Outcome {
        let path = self.out.join(name);
        let folder = path.parent().unwrap_or(&self.out);
        std::fs::create_dir_all(folder)
            .with_context(|| format!("make folder {}", folder.display()))?;
        write_png(&path, image).with_context(|| format!("write {}", path.display()))?;
        Ok(())
    }

    /// Writes the indexes. Pictures are there already.
    pub(super) fn finish(&self) -> Outcome {
        if !self.labels.is_empty() {
            output::write(&self.out.join("annotations.json"), self.coco().to_string())?;
        }
        if !self.merged.is_empty() {
            let merged = json!(self.merged.iter().enumerate().map(merged_json).collect::<Vec<_>>());
            output::write(&self.out.join("merged.json"), format!("{merged:#}"))?;
        }
        if !self.seals.is_empty() {
            output::write(&self.out.join("failed_seals.json"), format!("{:#}", json!(self.seals)))?;
        }
        Ok(())
    }

    /// Packages that nobody labelled are one crowd of each picture, which no training learns and no
    /// evaluation counts; and no picture claims to be labelled throughout.
    fn coco(&self) -> Value {
        let categories = self.categories();
        let id_of = |name: &str| 1 + categories.iter().position(|one| one == name).unwrap_or(0);
        let (mut images, mut annotations) = (Vec::new(), Vec::new());
        for (number, picture) in self.pictures.iter().enumerate() {
            images.push(json!({
                "id": number + 1,
                "file_name": picture.name,
                "width": picture.width_px,
                "height": picture.height_px,
                "all_polygon": false,
            }));
            let labels: Vec<&Label> =
                self.labels.iter().filter(|label| label.picture == number).collect();
            for label in &labels {
                let mut annotation = annotation(&label.vanished.mask, number + 1, 0);
                annotation["id"] = json!(annotations.len() + 1);
                annotation["category_id"] = json!(id_of(&label.package_type));
                annotation["learned"] = json!({
                    "iou_with_published": rounded(label.vanished.iou),
                    "strength": rounded(label.vanished.strength),
                    "evidence": label.vanished.evidence.name(),
                    "type_source": if label.is_type_read { "station" } else { "model" },
                    "track_id": label.track_id,
                });
                annotations.push(annotation);
            }
            if let Some(unlabelled) = unlabelled(picture, &labels) {
                let mut annotation = annotation(&unlabelled, number + 1, 1);
                annotation["id"] = json!(annotations.len() + 1);
                annotation["category_id"] = json!(1);
                annotations.push(annotation);
            }
        }
        let categories: Vec<Value> = (1..)
            .zip(&categories)
            .map(|(id, name): (usize, _)| json!({"id": id, "name": name, "supercategory": ""}))
            .collect();
        json!({
            "info": {"description": "Outlines of what vanished when it was picked"},
            "licenses": [],
            "images": images,
            "annotations": annotations,
            "categories": categories,
        })
    }

    /// The universal model's first, in its order: labels of several runs then have the same numbers.
    fn categories(&self) -> Vec<String> {
        let mut names: Vec<String> =
            PackageType::ALL.iter().map(|each| each.name().to_owned()).collect();
        let others: BTreeSet<&String> = (self.labels.iter())
            .map(|label| &label.package_type)
            .filter(|name| !names.contains(name))
            .collect();
        let others: Vec<String> = others.into_iter().cloned().collect();
        names.extend(others);
        names
    }
}

/// What the result shows beside the labels.
fn unlabelled(picture: &Picture, labels: &[&Label]) -> Option<Mask> {
    let is_labelled = |track_id: u64| labels.iter().any(|label| label.track_id == track_id);
    let mut bitmap = vec![0; picture.width_px as usize * picture.height_px as usize];
    let mut paint = |mask: &Mask, value: u8| {
        for (x, y, length) in mask.columns() {
            let first = y as usize * picture.width_px as usize + x as usize;
            let column = bitmap[first..].iter_mut().step_by(picture.width_px as usize);
            column.take(length as usize).for_each(|pixel| *pixel = value);
        }
    };
    let others = picture.result.packages.iter().filter(|other| !is_labelled(other.track_id));
    let fits =
        |mask: &Mask| (mask.width_px(), mask.height_px()) == (picture.width_px, picture.height_px);
    others.filter_map(outline).filter(fits).for_each(|mask| paint(&mask, 1));
    labels.iter().for_each(|label| paint(&label.vanished.mask, 0));
    let mask = Mask::from_bitmap(picture.width_px, picture.height_px, &bitmap);
    (!mask.is_empty()).then_some(mask)
}

fn annotation(mask: &Mask, image_id: usize, iscrowd: u8) -> Value {
    let bbox = mask.bbox().expect("a label has pixels");
    let [width, height] = [bbox.x_max_px - bbox.x_min_px, bbox.y_max_px - bbox.y_min_px];
    json!({
        "image_id": image_id,
        "segmentation": {
            "size": [mask.height_px(), mask.width_px()],
            "counts": mask.to_coco_string(),
        },
        "area": mask.area_px(),
        "bbox": [bbox.x_min_px, bbox.y_min_px, width, height],
        "iscrowd": iscrowd,
    })
}

fn merged_json((number, merged): (usize, &Merged)) -> Value {
    let region = |mask: &Mask| json!({"size": [mask.height_px(), mask.width_px()], "counts": mask.to_coco_string()});
    json!({
        "picture": format!("merged/{:04}_{}.png", number + 1, merged.stamp_ns),
        "look": merged.look,
        "track_id": merged.track_id,
        "stamp_ns": merged.stamp_ns,
        "regions": merged.regions.iter().map(region).collect::<Vec<_>>(),
    })
}

pub(super) fn rounded(value: f32) -> f64 {
    (1e3 * f64::from(value)).round() / 1e3
}
