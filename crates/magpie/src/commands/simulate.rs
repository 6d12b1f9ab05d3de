//! `magpie simulate`: frames of the simulated cell, with the truth.

use std::path::{Path, PathBuf};
use std::time::Duration;

use magpie_perception::Tool;
use magpie_recording::{ColorCoding, DepthCoding, FrameWriter, RecordingInfo, WriteOptions};
use magpie_workcell::{Recipe, Truth, belt_sequence, write_dataset};

use crate::present::progress;
use crate::simulated;
use magpie_daemon::failure::{Failure, Outcome};

#[derive(Debug, clap::Args)]
pub struct SimulateArgs {
    /// The same seed gives the same bytes.
    #[arg(long, required_unless_present = "print_recipe")]
    seed: Option<u64>,
    /// How many scenes, or frames of the belt, to simulate.
    #[arg(long, required_unless_present = "print_recipe",
          value_parser = crate::arguments::count::<u32>)]
    frames: Option<u32>,
    /// A new folder for a COCO dataset with depth and truth; or, if the name ends in .mcap, a
    /// recording of packages moving on a belt.
    #[arg(long, required_unless_present = "print_recipe")]
    out: Option<PathBuf>,
    /// What to vary, as TOML; absent: everything.
    #[arg(long)]
    recipe: Option<PathBuf>,
    /// Photographs of surfaces, used as textures.
    #[arg(long)]
    textures: Option<PathBuf>,
    /// Also write the true surfaces, some megabytes a scene, for `magpie eval --grasps`.
    #[arg(long)]
    solids: bool,
    /// Print the recipe's keys and defaults, and end.
    #[arg(long)]
    print_recipe: bool,
}

/// Time between two frames of a belt recording.
const BELT_INTERVAL: Duration = Duration::from_millis(100);
/// Keeps a recording of some seconds at some megabytes; the channel's metadata says that it is lossy.
const BELT_JPEG_QUALITY: u8 = 90;
/// The tool that a belt recording is for: one cup.
const BELT_CUP_RADIUS_M: f64 = 0.02;

pub fn simulate(args: &SimulateArgs) -> Outcome {
    let (false, Some(seed), Some(frames), Some(out)) =
        (args.print_recipe, args.seed, args.frames, &args.out)
    else {
        return crate::present::output::line(magpie_workcell::DEFAULT_RECIPE);
    };
    let mut recipe = simulated::recipe(args.recipe.as_deref())?;
    recipe.solids |= args.solids;
    if args.textures.is_some() {
        recipe.textures.clone_from(&args.textures);
    }
    let frames = u64::from(frames);
    if out.extension().is_some_and(|extension| extension == "mcap") {
        return record_belt(&recipe, seed, frames, out);
    }
    let bar = progress::bar(frames, "frames");
    write_dataset(&recipe, seed, frames, out, |done| bar.set_position(done))
        .map_err(Failure::fault)?;
    bar.finish_and_clear();
    tracing::info!(frames, out = %out.display(), "dataset written");
    Ok(())
}

fn record_belt(recipe: &Recipe, seed: u64, frames: u64, out: &Path) -> Outcome {
    let belt = belt_sequence(recipe, seed, frames, BELT_INTERVAL).map_err(Failure::fault)?;
    let bar = progress::bar(frames, "frames");
    let mut writer = None;
    for simulated in belt {
        let writer = match &mut writer {
            Some(writer) => writer,
            None => writer.insert(create(out, &simulated.truth, seed)?),
        };
        writer.write(&simulated.frame).map_err(Failure::fault)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    writer.map_or(Ok(()), |writer| writer.finish().map_err(Failure::fault))
}

fn create(path: &Path, truth: &Truth, seed: u64) -> Result<FrameWriter, Failure> {
    let tool = Tool::single_cup(BELT_CUP_RADIUS_M);
    let scene = simulated::scene(truth.camera_info.clone(), truth.base_from_camera, tool, seed);
    let identity = [
        ("made_by".to_owned(), format!("magpie {} simulate", env!("CARGO_PKG_VERSION"))),
        ("seed".to_owned(), seed.to_string()),
    ];
    let info =
        RecordingInfo { scene: Some(scene), identity: identity.into(), ..RecordingInfo::default() };
    let options = WriteOptions {
        color: ColorCoding::Jpeg { quality: BELT_JPEG_QUALITY },
        depth: DepthCoding::Png,
        ..WriteOptions::default()
    };
    FrameWriter::create(path, info, options).map_err(Failure::fault)
}
