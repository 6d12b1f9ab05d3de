//! The peer `usls` in a process of its own: frames in memory to masks at camera resolution.
//!
//! `usls-peer MODEL.onnx FOLDER_OF_PICTURES SCORE_MIN IOU_MAX`, and from then on as `worker.py`: a
//! number of frames from a line of standard input, milliseconds and instances of each as a line of
//! JSON.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use usls::{Config, Image, Model, Version, models::YOLO};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, folder, score_min, iou_max] = &arguments[..] else {
        anyhow::bail!("usls-peer MODEL.onnx FOLDER_OF_PICTURES SCORE_MIN IOU_MAX");
    };
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "png"));
    paths.sort();
    let pictures: Vec<Image> = paths.iter().map(Image::try_read).collect::<Result<_>>()?;
    let config = Config::yolo()
        .with_task(usls::Task::InstanceSegmentation)
        .with_version(Version::from(11))
        .with_model_file(model)
        .with_class_confs(&[score_min.parse()?])
        .with_iou(iou_max.parse()?)
        .commit()?;
    let mut yolo = YOLO::new(config)?;
    for picture in &pictures {
        instances(&mut yolo, picture)?;
    }
    let mut answers = std::io::stdout();
    writeln!(answers, "ready")?;
    let mut done = 0;
    for line in std::io::stdin().lock().lines() {
        let mut measured = Vec::new();
        for _ in 0..line?.trim().parse::<usize>()? {
            let picture = &pictures[done % pictures.len()];
            let start = Instant::now();
            let instances = instances(&mut yolo, picture)?;
            measured.push(format!("[{}, {instances}]", start.elapsed().as_secs_f64() * 1e3));
            done += 1;
        }
        writeln!(answers, "[{}]", measured.join(", "))?;
        answers.flush()?;
    }
    Ok(())
}

fn instances(yolo: &mut usls::Runtime<YOLO>, picture: &Image) -> Result<usize> {
    let found = yolo.run(std::slice::from_ref(picture))?;
    let masks = found.first().context("no result")?.masks();
    assert!(masks.iter().all(|mask| mask.dimensions() == picture.dimensions()));
    Ok(masks.len())
}
