//! Writes the color pictures of a belt sequence: `--seed N --frames N --out DIR`.

use std::path::PathBuf;
use std::time::Duration;

use magpie_workcell::{Recipe, belt_sequence};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |key: &str| {
        let at = arguments.iter().position(|argument| argument == key);
        at.and_then(|at| arguments.get(at + 1)).ok_or_else(|| format!("missing {key}"))
    };
    let out = PathBuf::from(value("--out")?);
    std::fs::create_dir_all(&out)?;
    let (seed, frames) = (value("--seed")?.parse()?, value("--frames")?.parse()?);
    for simulated in belt_sequence(&Recipe::default(), seed, frames, Duration::from_millis(100))? {
        let color = &simulated.frame.color;
        let mut rgb = color.data().to_vec();
        rgb.chunks_exact_mut(3).for_each(|pixel| pixel.swap(0, 2));
        let picture = image::RgbImage::from_raw(color.width_px(), color.height_px(), rgb);
        let name = format!("{seed:03}-{:04}.png", simulated.frame.sequence);
        picture.ok_or("three bytes per pixel")?.save(out.join(name))?;
    }
    Ok(())
}
