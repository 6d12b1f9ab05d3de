//! The folder of labels.
//!
//! | written | for |
//! |---|---|
//! | `images/`, `annotations/instances_default.json` | COCO: CVAT, Datumaro and the like |
//! | `labelme/` | LabelMe: pictures, and beside each its labels |
//! | `label_studio.json`, `label_studio.xml` | Label Studio: tasks with predictions, and the labelling configuration |
//! | `order.csv` | which picture is which, and how unsure the model is of it |
//! | `near_duplicates.csv` | which pictures were left out, because another one shows the same |

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use magpie_perception::ModelSpec;
use serde_json::Value;

use super::documents;
use super::prelabel::PrelabelledPicture;
use crate::present::output;
use magpie_daemon::failure::{Failure, Outcome};

pub(super) struct LabelFolder {
    out: PathBuf,
}

impl LabelFolder {
    /// A folder that holds anything is refused: it may hold what a person corrected.
    pub(super) fn create(out: &Path) -> Result<LabelFolder, Failure> {
        output::create_empty_folder(out)?;
        Ok(LabelFolder { out: out.to_owned() })
    }

    /// The path where a frame of a recording waits for its number.
    pub(super) fn provisional(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.out.join("images");
        make(&folder)?;
        Ok(folder.join(format!("unnumbered_{name}")))
    }

    /// Numbers the pictures in this order and writes all labels; those left over get none.
    pub(super) fn write(
        &self,
        done: &[PrelabelledPicture],
        left_over: &[PrelabelledPicture],
        spec: &ModelSpec,
        image_url: &str,
    ) -> Outcome {
        for name in ["images", "labelme", "annotations"] {
            make(&self.out.join(name))?;
        }
        let digits = done.len().to_string().len().max(4);
        let named: Vec<(String, &PrelabelledPicture)> = (done.iter().enumerate())
            .map(|(at, picture)| (format!("{:0digits$}_{}", at + 1, picture.name), picture))
            .collect();
        for (name, picture) in &named {
            self.place(name, picture)?;
            let labels = documents::labelme(name, picture, &spec.class_names);
            let path = self.out.join("labelme").join(name).with_extension("json");
            write_json(&path, &labels)?;
        }
        for picture in left_over.iter().filter(|picture| self.is_ours(&picture.path)) {
            fs::remove_file(&picture.path)
                .with_context(|| format!("remove {}", picture.path.display()))?;
        }
        let coco = documents::coco(&named, spec);
        write_json(&self.out.join("annotations/instances_default.json"), &coco)?;
        let tasks = documents::label_studio(&named, image_url, spec);
        write_json(&self.out.join("label_studio.json"), &tasks)?;
        let config = documents::label_studio_config(&spec.class_names);
        output::write(&self.out.join("label_studio.xml"), config)?;
        output::write(&self.out.join("order.csv"), documents::order_csv(&named))
    }

    /// The picture under its number, for COCO and for LabelMe.
    fn place(&self, name: &str, picture: &PrelabelledPicture) -> Outcome {
        let target = self.out.join("images").join(name);
        if self.is_ours(&picture.path) {
            fs::rename(&picture.path, &target)
                .with_context(|| format!("rename {}", picture.path.display()))?;
        } else {
            link(&picture.path, &target)?;
        }
        link(&target, &self.out.join("labelme").join(name))
    }

    /// `pairs`: a picture that was left out, and the one that shows the same.
    pub(super) fn write_near_duplicates(&self, pairs: &[(&str, &str)]) -> Result<PathBuf, Failure> {
        let path = self.out.join("near_duplicates.csv");
        output::write(&path, documents::near_duplicates_csv(pairs))?;
        Ok(path)
    }

    fn is_ours(&self, path: &Path) -> bool {
        path.parent() == Some(&self.out.join("images"))
    }
}

fn make(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("make folder {}", folder.display()))
}

/// The same file under a second name, or a copy where the file system knows no such thing.
fn link(source: &Path, target: &Path) -> Outcome {
    let linked = fs::canonicalize(source).and_then(|source| fs::hard_link(source, target));
    let copy = || {
        let mut file = magpie_files::OutputFile::create(target)?;
        std::io::copy(&mut magpie_files::open(source)?, &mut file)?;
        file.finish()
    };
    let there = linked.or_else(|_| copy());
    there.with_context(|| format!("copy {} to {}", source.display(), target.display()))?;
    Ok(())
}

fn write_json(path: &Path, document: &Value) -> Outcome {
    output::write(path, document.to_string())
}
