//! Writes a simulated dataset: `--seed N --frames N --out DIR [--textures DIR]`.

use std::path::PathBuf;

use magpie_workcell::{Recipe, write_dataset};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |key: &str| {
        arguments.iter().position(|argument| argument == key).and_then(|at| arguments.get(at + 1))
    };
    let number = |key: &str| {
        value(key)
            .ok_or_else(|| format!("missing {key}"))?
            .parse::<u64>()
            .map_err(|error| format!("{key}: {error}"))
    };
    let mut recipe = Recipe::default();
    recipe.textures = value("--textures").map(PathBuf::from);
    let out = PathBuf::from(value("--out").ok_or("missing --out")?);
    let frames = number("--frames")?;
    write_dataset(&recipe, number("--seed")?, frames, &out, |done| {
        if done.is_multiple_of(100) || done == frames {
            eprintln!("{done} of {frames}");
        }
    })?;
    Ok(())
}
