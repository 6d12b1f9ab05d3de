//! Folders of images and video files as frame sources, whole and damaged.

#![expect(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::{MachineClock, open};
use magpie_camera::{
    Camera, CameraConfig, CameraState, FileSource, FilesConfig, ImageFolderConfig, ImageProblem,
    OpenError, encode_jpeg, read_depth_png, read_image, read_sensor_image, write_depth_png,
    write_png,
};
use magpie_perception::{BgrImage, Counters, DepthImage, Frame, StampSource};
use opencv::core::{Mat, Scalar, Size};
use opencv::prelude::*;
use opencv::videoio::VideoWriter;
use tempfile::TempDir;

const SIZE_PX: (u32, u32) = (32, 24);

/// Every pixel differs from its neighbours and from those of another seed.
fn color(seed: u8) -> BgrImage {
    sized_color(SIZE_PX, seed)
}

fn sized_color((width_px, height_px): (u32, u32), seed: u8) -> BgrImage {
    let bytes = (0u8..251).cycle().skip(seed.into());
    BgrImage::new(width_px, height_px, bytes.take((3 * width_px * height_px) as usize).collect())
        .unwrap()
}

fn depth((width_px, height_px): (u32, u32), seed: u16) -> DepthImage {
    let values = (0..65_000u16).cycle().skip(seed.into());
    DepthImage::new(width_px, height_px, values.take((width_px * height_px) as usize).collect())
        .unwrap()
}

fn folder(path: &Path) -> ImageFolderConfig {
    ImageFolderConfig {
        path: path.to_owned(),
        depth_path: None,
        depth_unit_m: 0.001,
        frame_interval: Duration::from_millis(20),
    }
}

/// A folder of PNG images `0.png`, `1.png` and so on, and one of depth images beside it.
fn write_folder(images: u8) -> (TempDir, ImageFolderConfig) {
    let dir = TempDir::new().unwrap();
    let (colors, depths) = (dir.path().join("color"), dir.path().join("depth"));
    fs::create_dir(&colors).unwrap();
    fs::create_dir(&depths).unwrap();
    for i in 0..images {
        write_png(&colors.join(format!("{i}.png")), &color(i)).unwrap();
        write_depth_png(&depths.join(format!("{i}.png")), &depth(SIZE_PX, i.into())).unwrap();
    }
    let config = ImageFolderConfig { depth_path: Some(depths), ..folder(&colors) };
    (dir, config)
}

fn color_path(config: &ImageFolderConfig, name: &str) -> PathBuf {
    config.path.join(name)
}

fn truncate(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() - 12]).unwrap();
}

fn next(camera: &mut Camera) -> Option<Frame> {
    camera.source.next_frame().unwrap()
}

/// Every frame, once, as fast as frames are taken.
fn once(source: FileSource) -> CameraConfig {
    CameraConfig::Files(FilesConfig { source, looped: false, paced: false })
}

fn looped(source: FileSource) -> CameraConfig {
    CameraConfig::Files(FilesConfig { source, looped: true, paced: false })
}

fn paced(source: FileSource) -> CameraConfig {
    CameraConfig::Files(FilesConfig { source, looped: false, paced: true })
}

fn open_error(source: FileSource) -> OpenError {
    let config = once(source);
    let clock = Arc::new(MachineClock::new());
    magpie_camera::open(&config, clock, Arc::new(Counters::default())).err().expect("an error")
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn check_refused(source: FileSource, expected: &[&str]) {
    let message = chain(&open_error(source));
    for part in expected {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_folder_is_played_in_the_order_of_its_names_with_its_depth() {
    let (_dir, config) = write_folder(3);
    let (mut camera, _) = open(&once(FileSource::ImageFolder(config)));
    for i in 0..3u8 {
        let frame = next(&mut camera).unwrap();
        assert_eq!((frame.sequence, frame.stamp_source), (i.into(), StampSource::Arrival));
        assert_eq!(frame.color, color(i));
        assert_eq!(frame.depth, Some(depth(SIZE_PX, i.into())));
    }
    assert!(next(&mut camera).is_none());
    assert!(next(&mut camera).is_none());
    assert_eq!(camera.handle.state(), CameraState::Ended { reason: "end of file".into() });
    assert_eq!(camera.handle.progress(), 3);
}

#[test]
fn depth_of_a_folder_is_read_in_its_unit_and_what_was_not_measured_is_a_hole() {
    let (_dir, config) = write_folder(1);
    let depth = DepthImage::new(2, 2, vec![5000, 65_535, 0, 20_001]).unwrap();
    write_depth_png(&config.depth_path.clone().unwrap().join("0.png"), &depth).unwrap();
    write_png(&color_path(&config, "0.png"), &sized_color((2, 2), 0)).unwrap();
    let read = |depth_unit_m: f64| {
        let config = ImageFolderConfig { depth_unit_m, ..config.clone() };
        let (mut camera, _) = open(&once(FileSource::ImageFolder(config)));
        next(&mut camera).unwrap().depth.unwrap().data_mm().to_vec()
    };
    assert_eq!(read(0.001), [5000, 0, 0, 20_001]);
    // Fifths and quarters of a millimetre, as TUM and RealSense L515 have them.
    assert_eq!(read(0.000_2), [1000, 0, 0, 4000]);
    assert_eq!(read(0.000_25), [1250, 0, 0, 5000]);
}

#[test]
fn jpeg_and_png_images_mix_and_other_files_are_passed_over() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("b.JPG"), encode_jpeg(&color(1), 100).unwrap()).unwrap();
    write_png(&dir.path().join("a.png"), &color(0)).unwrap();
    fs::write(dir.path().join("notes.txt"), "cell 7").unwrap();
    let (mut camera, _) = open(&once(FileSource::ImageFolder(folder(dir.path()))));
    assert_eq!(next(&mut camera).unwrap().color, color(0));
    let jpeg = next(&mut camera).unwrap();
    assert_eq!((jpeg.color.width_px(), jpeg.color.height_px(), jpeg.depth), (32, 24, None));
    assert!(next(&mut camera).is_none());
}

#[test]
fn a_loop_goes_on_with_rising_sequence_numbers() {
    let (_dir, config) = write_folder(2);
    let (mut camera, _) = open(&looped(FileSource::ImageFolder(config)));
    for i in 0..7u8 {
        let frame = next(&mut camera).unwrap();
        assert_eq!((frame.sequence, frame.color), (i.into(), color(i % 2)));
    }
}

#[test]
fn stop_ends_a_loop() {
    let (_dir, config) = write_folder(2);
    let (mut camera, _) = open(&looped(FileSource::ImageFolder(config)));
    assert!(next(&mut camera).is_some());
    camera.handle.stop();
    assert!(next(&mut camera).is_none());
    assert_eq!(camera.handle.state(), CameraState::Ended { reason: "stopped".into() });
}

#[test]
fn a_paced_source_keeps_its_interval_and_stop_interrupts_the_wait() {
    let (_dir, config) = write_folder(3);
    let open_paced = |frame_interval| {
        let source =
            FileSource::ImageFolder(ImageFolderConfig { frame_interval, ..config.clone() });
        let config = paced(source);
        let clock = Arc::new(MachineClock::new());
        magpie_camera::open(&config, clock, Arc::new(Counters::default())).unwrap()
    };
    let interval = Duration::from_millis(20);
    let mut camera = open_paced(interval);
    let stamps: Vec<_> = (0..3).map(|_| next(&mut camera).unwrap().stamp).collect();
    assert!(stamps[1] >= stamps[0] + interval && stamps[2] >= stamps[0] + 2 * interval);

    let mut camera = open_paced(Duration::from_secs(3600));
    assert!(next(&mut camera).is_some());
    let handle = camera.handle.clone();
    let stopper = std::thread::Builder::new().spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        handle.stop();
    });
    assert!(next(&mut camera).is_none());
    stopper.unwrap().join().unwrap();
}

#[test]
fn corrupt_frames_in_the_middle_are_counted_and_skipped() {
    let (_dir, config) = write_folder(5);
    truncate(&color_path(&config, "1.png"));
    write_png(&color_path(&config, "2.png"), &sized_color((16, 24), 2)).unwrap();
    let wrong_depth = config.depth_path.as_ref().unwrap().join("3.png");
    write_depth_png(&wrong_depth, &depth((16, 12), 0)).unwrap();
    let (mut camera, counters) = open(&once(FileSource::ImageFolder(config)));
    assert_eq!(next(&mut camera).unwrap().color, color(0));
    let last = next(&mut camera).unwrap();
    assert_eq!((last.sequence, last.color), (1, color(4)));
    assert_eq!(counters.snapshot().frames_corrupt, 3);
    let reason = camera.handle.last_corrupt().unwrap();
    assert!(reason.contains("depth is 16x12 px, colour 32x24 px"), "{reason}");
    assert!(next(&mut camera).is_none());
}

#[test]
fn a_frame_of_another_size_is_refused_with_both_sizes() {
    let (_dir, config) = write_folder(2);
    write_png(&color_path(&config, "1.png"), &sized_color((16, 8), 2)).unwrap();
    let config = ImageFolderConfig { depth_path: None, ..config };
    let (mut camera, counters) = open(&once(FileSource::ImageFolder(config)));
    assert!(next(&mut camera).is_some());
    assert!(next(&mut camera).is_none());
    assert_eq!(counters.snapshot().frames_corrupt, 1);
    let reason = camera.handle.last_corrupt().unwrap();
    assert!(reason.contains("16x8") && reason.contains("32x24"), "{reason}");
}

#[test]
fn a_loop_without_a_usable_frame_is_an_error_not_a_spin() {
    let (dir, config) = write_folder(2);
    let (mut camera, _) = open(&looped(FileSource::ImageFolder(config)));
    for i in 0..2 {
        truncate(&dir.path().join(format!("color/{i}.png")));
    }
    let error = camera.source.next_frame().unwrap_err();
    assert!(error.from.contains("color"), "{error}");
    assert!(error.source.to_string().contains("truncated"), "{}", error.source);
}

#[test]
fn a_folder_that_cannot_be_played_is_an_error_at_open() {
    let (dir, config) = write_folder(2);
    let missing = dir.path().join("nowhere");
    check_refused(FileSource::ImageFolder(folder(&missing)), &["nowhere", "No such file"]);
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    check_refused(FileSource::ImageFolder(folder(&empty)), &["empty", "no .jpg"]);
    let still = ImageFolderConfig { frame_interval: Duration::ZERO, ..config.clone() };
    check_refused(FileSource::ImageFolder(still), &["frame interval"]);
    fs::remove_file(dir.path().join("depth/1.png")).unwrap();
    check_refused(FileSource::ImageFolder(config.clone()), &["no depth image", "1.png"]);
    truncate(&color_path(&config, "0.png"));
    let colors = ImageFolderConfig { depth_path: None, ..config };
    check_refused(FileSource::ImageFolder(colors), &["0.png", "truncated"]);
}

fn problem(path: &Path) -> ImageProblem {
    let error = read_image(path).unwrap_err();
    assert_eq!(error.path, path);
    error.source
}

#[test]
fn a_jpeg_cut_anywhere_is_refused() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("cut.jpg");
    let whole = encode_jpeg(&sized_color((64, 64), 3), 90).unwrap();
    for length in (3..whole.len()).step_by(7).chain([whole.len() - 1]) {
        fs::write(&path, &whole[..length]).unwrap();
        let problem = problem(&path);
        assert!(matches!(problem, ImageProblem::Truncated { format: "JPEG", .. }), "{problem}");
    }
    fs::write(&path, &whole).unwrap();
    assert!(read_image(&path).is_ok());
}

#[test]
fn a_jpeg_whose_end_was_never_written_is_refused() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("power_cut.jpg");
    let mut bytes = encode_jpeg(&sized_color((64, 64), 3), 90).unwrap();
    let length = bytes.len();
    bytes[length / 2..].fill(0);
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(problem(&path), ImageProblem::Truncated { .. }));
}

#[test]
fn a_png_that_is_cut_or_damaged_is_refused() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("cut.png");
    write_png(&path, &color(0)).unwrap();
    let whole = fs::read(&path).unwrap();
    for length in 8..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(matches!(problem(&path), ImageProblem::Truncated { format: "PNG", .. }));
    }
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 0x10;
    fs::write(&path, &damaged).unwrap();
    assert!(matches!(problem(&path), ImageProblem::Undecodable { format: "PNG" }));
}

#[test]
fn what_is_no_image_is_refused() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("text.jpg");
    fs::write(&path, "not an image").unwrap();
    assert!(matches!(problem(&path), ImageProblem::NotAnImage));
    assert!(matches!(problem(dir.path()), ImageProblem::Io(_)));
    write_depth_png(&path, &depth(SIZE_PX, 0)).unwrap();
    assert!(matches!(problem(&path), ImageProblem::SixteenBitColor));
}

#[test]
fn depth_of_another_type_is_refused_by_what_it_is() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("depth.png");
    write_depth_png(&path, &depth(SIZE_PX, 9)).unwrap();
    assert_eq!(read_depth_png(&path, 0.001).unwrap(), depth(SIZE_PX, 9));
    write_png(&path, &color(0)).unwrap();
    let message = chain(&read_depth_png(&path, 0.001).unwrap_err());
    assert!(message.contains("a PNG of 8 bits, RGB"), "{message}");
    fs::write(&path, encode_jpeg(&color(0), 90).unwrap()).unwrap();
    let message = chain(&read_depth_png(&path, 0.001).unwrap_err());
    assert!(message.contains("this is a JPEG"), "{message}");
}

#[test]
fn a_grey_image_becomes_bgr_and_a_written_png_comes_back() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("x.png");
    write_png(&path, &color(5)).unwrap();
    assert_eq!(read_image(&path).unwrap(), color(5));
    let grey = Mat::new_rows_cols_with_data(1, 2, &[7u8, 9]).unwrap();
    opencv::imgcodecs::imwrite_def(&path, &grey).unwrap();
    let read = read_image(&path).unwrap();
    assert_eq!((read.pixel(0, 0), read.pixel(1, 0)), ([7; 3], [9; 3]));
}

/// An APP1 segment that says: turn me by a quarter (EXIF 2.3, orientation 6).
const QUARTER_TURN: &[u8] =
    b"\xFF\xE1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";

#[test]
fn a_picture_to_calibrate_with_stays_as_the_sensor_took_it() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("turned.jpg");
    let plain = encode_jpeg(&color(5), 95).unwrap();
    fs::write(&path, [&plain[..2], QUARTER_TURN, &plain[2..]].concat()).unwrap();
    let size = |image: BgrImage| (image.width_px(), image.height_px());
    assert_eq!(size(read_image(&path).unwrap()), (SIZE_PX.1, SIZE_PX.0), "as a viewer shows it");
    assert_eq!(size(read_sensor_image(&path).unwrap()), SIZE_PX);
}

#[test]
fn what_industrial_cameras_save_can_be_calibrated_with_and_is_refused_cut() {
    let dir = TempDir::new().unwrap();
    let (width_px, height_px) = (64, 48);
    let bytes: Vec<u8> = (0..64_u32 * 48).map(|i| (i * 37 % 251) as u8).collect();
    let grey = Mat::new_rows_cols_with_data(height_px, width_px, &bytes).unwrap();
    for name in ["a.bmp", "a.tiff", "a.pgm"] {
        let path = dir.path().join(name);
        opencv::imgcodecs::imwrite_def(&path, &grey).unwrap();
        let read = read_sensor_image(&path).unwrap();
        assert_eq!((read.width_px(), read.height_px()), (64, 48), "{name}");
        assert_eq!(read.pixel(5, 3), [bytes[3 * 64 + 5]; 3], "{name}");
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let problem = read_sensor_image(&path).unwrap_err().source;
        assert!(matches!(problem, ImageProblem::Undecodable { .. }), "{name}: {problem}");
    }
    let path = dir.path().join("deep.tiff");
    let deep = Mat::new_rows_cols_with_data(1, 2, &[700_u16, 900]).unwrap();
    opencv::imgcodecs::imwrite_def(&path, &deep).unwrap();
    let problem = read_sensor_image(&path).unwrap_err().source;
    assert!(matches!(problem, ImageProblem::SixteenBitColor), "{problem}");
    fs::write(&path, "GIF89a").unwrap();
    let problem = read_sensor_image(&path).unwrap_err().source;
    assert!(matches!(problem, ImageProblem::NotASensorImage), "{problem}");
}

/// MJPG in AVI at 25 frames a second; frame `i` is uniformly `20 * i` bright.
fn write_video(path: &Path, frames: i32) {
    let fourcc = VideoWriter::fourcc('M', 'J', 'P', 'G').unwrap();
    let mut writer = VideoWriter::new(path, fourcc, 25.0, Size::new(64, 48), true).unwrap();
    for i in 0..frames {
        let value = Scalar::all(f64::from(20 * i));
        let kind = opencv::core::CV_8UC3;
        writer.write(&Mat::new_rows_cols_with_default(48, 64, kind, value).unwrap()).unwrap();
    }
    writer.release().unwrap();
}

/// Which frame of [`write_video`] this is.
fn brightness(frame: &Frame) -> i32 {
    let [_, green, _] = frame.color.pixel(30, 20);
    (i32::from(green) + 10) / 20
}

#[test]
fn a_video_file_is_played_to_its_end() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("cell.avi");
    write_video(&path, 5);
    let (mut camera, counters) = open(&once(FileSource::VideoFile { path }));
    for i in 0..5 {
        let frame = next(&mut camera).unwrap();
        assert_eq!((frame.color.width_px(), frame.color.height_px()), (64, 48));
        assert_eq!(brightness(&frame), i);
    }
    assert!(next(&mut camera).is_none());
    assert_eq!(camera.handle.state(), CameraState::Ended { reason: "end of file".into() });
    assert_eq!(counters.snapshot().frames_corrupt, 0);
}

#[test]
fn a_looped_video_file_begins_anew() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("cell.avi");
    write_video(&path, 3);
    let (mut camera, _) = open(&looped(FileSource::VideoFile { path }));
    for i in 0..8 {
        let frame = next(&mut camera).unwrap();
        assert_eq!(brightness(&frame), i % 3);
        assert_eq!(frame.sequence, u64::try_from(i).unwrap());
    }
}

#[test]
fn a_paced_video_keeps_the_frame_rate_of_the_file() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("cell.avi");
    write_video(&path, 3);
    let source = FileSource::VideoFile { path };
    let config = paced(source);
    let clock = Arc::new(MachineClock::new());
    let mut camera = magpie_camera::open(&config, clock, Arc::new(Counters::default())).unwrap();
    let first = next(&mut camera).unwrap().stamp;
    assert!(next(&mut camera).unwrap().stamp >= first + Duration::from_millis(40));
}

#[test]
fn a_video_file_that_cannot_be_played_is_an_error_at_open() {
    let dir = TempDir::new().unwrap();
    let video = |name: &str| FileSource::VideoFile { path: dir.path().join(name) };
    check_refused(video("nowhere.avi"), &["nowhere.avi", "No such file"]);
    fs::write(dir.path().join("text.avi"), "not a video").unwrap();
    check_refused(video("text.avi"), &["text.avi", "not a video"]);
    write_video(&dir.path().join("cut.avi"), 5);
    let bytes = fs::read(dir.path().join("cut.avi")).unwrap();
    fs::write(dir.path().join("cut.avi"), &bytes[..100]).unwrap();
    check_refused(video("cut.avi"), &["cut.avi"]);
}

#[test]
fn a_truncated_video_is_played_as_far_as_it_goes_and_counted() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("cut.avi");
    write_video(&path, 60);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let (mut camera, counters) = open(&once(FileSource::VideoFile { path }));
    let frames = std::iter::from_fn(|| next(&mut camera)).count();
    assert!((10..50).contains(&frames), "{frames}");
    assert_eq!(counters.snapshot().frames_corrupt, 1);
    let reason = camera.handle.last_corrupt().unwrap();
    assert!(reason.contains(&format!("truncated: {frames} of 60")), "{reason}");
}
