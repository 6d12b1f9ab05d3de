//! Folders of images and video files as frame sources, whole and damaged.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test fails where it cannot go on; its numbers are small"
)]

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
    check_refused(FileSource::ImageFolder(folder(&empty)), &["empty", "no picture"]);
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
}

#[test]
fn depth_of_another_type_is_refused_by_what_it_is() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("depth.png");
    write_depth_png(&path, &depth(SIZE_PX, 9)).unwrap();
    assert_eq!(read_depth_png(&path, 0.001).unwrap(), depth(SIZE_PX, 9));
    let path = dir.path().join("color.png");
    write_png(&path, &color(0)).unwrap();
    let message = chain(&read_depth_png(&path, 0.001).unwrap_err());
    assert!(message.contains("a PNG of 8 bits, RGB"), "{message}");
    fs::write(&path, encode_jpeg(&color(0), 90).unwrap()).unwrap();
    let message = chain(&read_depth_png(&path, 0.001).unwrap_err());
    assert!(message.contains("this is a JPEG"), "{message}");
    fs::write(&path, b"\x93NUMPY\x01\0v\0{'descr': '<u2'}").unwrap();
    let message = chain(&read_depth_png(&path, 0.001).unwrap_err());
    assert!(message.contains("this is a NumPy array"), "{message}");
    let floats = Mat::new_rows_cols_with_data(1, 2, &[0.7f32, 0.8]).unwrap();
    let path = dir.path().join("floats.tiff");
    opencv::imgcodecs::imwrite_def(&path, &floats).unwrap();
    let message = chain(&read_depth_png(&path, 0.001).unwrap_err());
    assert!(message.contains("a TIFF of other values"), "{message}");
}

#[test]
fn depth_in_a_tiff_or_pgm_of_16_bits_is_that_of_the_png() {
    let dir = TempDir::new().unwrap();
    let grey = Mat::new_rows_cols_with_data(1, 3, &[500u16, 65_535, 1200]).unwrap();
    for name in ["a.png", "a.tiff", "a.pgm"] {
        let path = dir.path().join(name);
        opencv::imgcodecs::imwrite_def(&path, &grey).unwrap();
        let read = read_depth_png(&path, 0.001).unwrap();
        assert_eq!(read.data_mm(), [500, 0, 1200], "{name}");
    }
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
    // A folder stands for a camera.
    let (mut camera, _) = open(&once(FileSource::ImageFolder(folder(dir.path()))));
    assert_eq!(size(next(&mut camera).unwrap().color), SIZE_PX);
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
    let path = dir.path().join("other.gif");
    fs::write(&path, "GIF89a").unwrap();
    let problem = read_sensor_image(&path).unwrap_err().source;
    assert!(matches!(problem, ImageProblem::NotAnImage), "{problem}");
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

/// A picture with edges and noise, larger than an MCU of every sampling, and no multiple of one.
fn busy(width_px: u32, height_px: u32) -> BgrImage {
    let noise = |i: u32| (i.wrapping_mul(2_654_435_761) >> 13) as u8 % 64;
    let value =
        |i: u32| noise(i).wrapping_add(if i / 3 % width_px > width_px / 3 { 120 } else { 0 });
    BgrImage::new(width_px, height_px, (0..width_px * height_px * 3).map(value).collect()).unwrap()
}

fn coded(extension: &str, image: &BgrImage, settings: &[i32]) -> Vec<u8> {
    let (rows, cols) = (image.height_px() as i32, image.width_px() as i32);
    let mat =
        Mat::new_rows_cols_with_bytes::<opencv::core::Vec3b>(rows, cols, image.data()).unwrap();
    let mut bytes = opencv::core::Vector::new();
    let settings = opencv::core::Vector::from_slice(settings);
    opencv::imgcodecs::imencode(extension, &mat, &mut bytes, &settings).unwrap();
    bytes.to_vec()
}

/// Every way in which OpenCV writes a JPEG: plain, progressive, with restart markers, optimized.
fn jpegs(image: &BgrImage) -> Vec<Vec<u8>> {
    use opencv::imgcodecs::{
        IMWRITE_JPEG_OPTIMIZE, IMWRITE_JPEG_PROGRESSIVE, IMWRITE_JPEG_RST_INTERVAL,
    };
    let ways = [
        vec![],
        vec![IMWRITE_JPEG_PROGRESSIVE, 1],
        vec![IMWRITE_JPEG_RST_INTERVAL, 3],
        vec![IMWRITE_JPEG_OPTIMIZE, 1],
        vec![IMWRITE_JPEG_PROGRESSIVE, 1, IMWRITE_JPEG_RST_INTERVAL, 5],
    ];
    ways.iter().map(|settings| coded(".jpg", image, settings)).collect()
}

#[test]
fn a_jpeg_damaged_in_mid_scan_is_refused_by_name_and_a_whole_one_read() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.jpg");
    let grey = Mat::new_rows_cols_with_default(45, 61, opencv::core::CV_8UC1, 77.into()).unwrap();
    let mut bytes = opencv::core::Vector::new();
    opencv::imgcodecs::imencode_def(".jpg", &grey, &mut bytes).unwrap();
    fs::write(&path, bytes.as_slice()).unwrap();
    assert_eq!(read_image(&path).unwrap().pixel(60, 44), [77; 3]);
    for (width_px, height_px) in [(161, 123), (16, 16), (7, 5), (333, 8)] {
        for whole in jpegs(&busy(width_px, height_px)) {
            fs::write(&path, &whole).unwrap();
            let read = read_image(&path).unwrap();
            assert_eq!((read.width_px(), read.height_px()), (width_px, height_px));
        }
    }
    for whole in jpegs(&busy(161, 123)) {
        let mut refused = 0;
        for at in (1..10).map(|tenth| whole.len() * tenth / 10) {
            let mut damaged = whole.clone();
            damaged[at..at + 24].fill(0x55);
            fs::write(&path, &damaged).unwrap();
            let outcome = read_image(&path);
            refused += usize::from(outcome.is_err());
            let Err(error) = outcome else { continue };
            let told = chain(&error);
            assert!(told.contains("a.jpg") && told.contains("damaged"), "{told}");
        }
        // Some bits are no codes: signs and low bits of coefficients.
        assert!(refused >= 6, "{refused} of 9 places");
    }
}

#[test]
fn webp_tiff_and_bmp_are_read_and_refused_cut() {
    let dir = TempDir::new().unwrap();
    let image = busy(61, 45);
    let lossless = [opencv::imgcodecs::IMWRITE_WEBP_QUALITY, 101];
    for (name, bytes) in [
        ("a.webp", coded(".webp", &image, &lossless)),
        ("a.TIFF", coded(".tiff", &image, &[])),
        ("a.bmp", coded(".bmp", &image, &[])),
        ("a.ppm", coded(".ppm", &image, &[])),
    ] {
        let path = dir.path().join(name);
        assert!(magpie_camera::is_picture_name(&path));
        fs::write(&path, &bytes).unwrap();
        assert_eq!(read_image(&path).unwrap(), image, "{name}");
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert!(read_image(&path).is_err(), "{name}");
    }
    let folder = ImageFolderConfig {
        path: dir.path().to_owned(),
        depth_path: None,
        depth_unit_m: 0.001,
        frame_interval: Duration::from_millis(1),
    };
    fs::write(dir.path().join("a.bmp"), coded(".bmp", &image, &[])).unwrap();
    fs::remove_file(dir.path().join("a.TIFF")).unwrap();
    fs::remove_file(dir.path().join("a.ppm")).unwrap();
    let (mut camera, counters) = open(&once(FileSource::ImageFolder(folder)));
    assert_eq!(next(&mut camera).unwrap().color, image);
    assert!(next(&mut camera).is_none());
    assert_eq!(counters.snapshot().frames_corrupt, 1, "the WebP that is cut");
}

#[test]
fn sixteen_bits_are_a_mono_cameras_picture_of_as_many_bits_as_it_uses() {
    let dir = TempDir::new().unwrap();
    for name in ["a.png", "a.tiff", "a.pgm"] {
        for (values, expected) in [
            ([0_u16, 511, 65_535], [0_u8, 1, 255]),
            ([0, 511, 4095], [0, 31, 255]),
            ([0, 511, 1023], [0, 127, 255]),
            ([0, 51, 255], [0, 51, 255]),
        ] {
            let path = dir.path().join(name);
            let mat = Mat::new_rows_cols_with_data(1, 3, &values).unwrap();
            opencv::imgcodecs::imwrite_def(&path, &mat).unwrap();
            for read in [read_image(&path).unwrap(), read_sensor_image(&path).unwrap()] {
                let found = [0, 1, 2].map(|x| read.pixel(x, 0));
                assert_eq!(found, expected.map(|value| [value; 3]), "{name} {values:?}");
            }
        }
    }
}

/// A PNG's chunk: length, type, data, checksum.
fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = u32::MAX;
    for &byte in kind.iter().chain(data) {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 };
        }
    }
    let length = (data.len() as u32).to_be_bytes();
    [&length[..], kind, data, &(!crc).to_be_bytes()].concat()
}

/// EXIF data that says nothing but how to turn the picture.
fn exif(orientation: u8) -> Vec<u8> {
    let mut data = QUARTER_TURN[10..].to_vec();
    data[19] = orientation;
    data
}

/// The same picture in each format, with this orientation.
fn turned(image: &BgrImage, orientation: u8) -> Vec<(&'static str, Vec<u8>)> {
    let data = exif(orientation);
    let jpeg = coded(".jpg", image, &[opencv::imgcodecs::IMWRITE_JPEG_QUALITY, 100]);
    let png = coded(".png", image, &[]);
    let webp = coded(".webp", image, &[opencv::imgcodecs::IMWRITE_WEBP_QUALITY, 101]);
    let (width_px, height_px) = (image.width_px(), image.height_px());
    let mut riff = b"WEBPVP8X\x0A\0\0\0\x08\0\0\0".to_vec();
    riff.extend(&(width_px - 1).to_le_bytes()[..3]);
    riff.extend(&(height_px - 1).to_le_bytes()[..3]);
    riff.extend(&webp[12..]);
    riff.extend([b"EXIF", &(data.len() as u32).to_le_bytes()[..], &data].concat());
    let length = (riff.len() as u32).to_le_bytes();
    // Baseline TIFF, its ten entries sorted: uncompressed RGB in one strip behind the directory.
    let pixels: Vec<u8> =
        image.data().chunks_exact(3).flat_map(|bgr| [bgr[2], bgr[1], bgr[0]]).collect();
    let entry = |tag: u16, value: u32| {
        [&tag.to_le_bytes()[..], &4_u16.to_le_bytes(), &1_u32.to_le_bytes(), &value.to_le_bytes()]
            .concat()
    };
    let short = |tag: u16, value: u16| {
        let mut entry = entry(tag, u32::from(value));
        entry[2] = 3;
        entry
    };
    let at = 8 + 2 + 12 * 10 + 4;
    let entries = [
        entry(256, width_px),
        entry(257, height_px),
        short(258, 8),
        short(259, 1),
        short(262, 2),
        entry(273, at),
        short(274, u16::from(orientation)),
        short(277, 3),
        entry(278, height_px),
        entry(279, pixels.len() as u32),
    ];
    let tiff = [b"II*\0\x08\0\0\0\x0A\0", &entries.concat()[..], &[0; 4], &pixels].concat();
    vec![
        ("a.jpg", [&jpeg[..2], &QUARTER_TURN[..10], &data, &jpeg[2..]].concat()),
        ("a.png", [&png[..33], &chunk(b"eXIf", &data), &png[33..]].concat()),
        (
            "late.png",
            [&png[..png.len() - 12], &chunk(b"eXIf", &data), &png[png.len() - 12..]].concat(),
        ),
        ("a.webp", [b"RIFF", &length[..], &riff].concat()),
        ("a.tiff", tiff),
    ]
}

#[test]
fn a_picture_is_turned_as_its_orientation_says_in_every_format() {
    let dir = TempDir::new().unwrap();
    // Flat quarters, so that a JPEG keeps them.
    let value = |x: u32, y: u32| [30 + 60 * (x / 16) as u8, 200 - 90 * (y / 16) as u8, 10];
    let pixels = (0..32).flat_map(|y| (0..48).flat_map(move |x| value(x, y))).collect();
    let image = BgrImage::new(48, 32, pixels).unwrap();
    // Where the first row and the first column of the file are seen (EXIF 2.3, 4.6.4).
    let (top_left, top_right) = (value(0, 0), value(47, 0));
    let (bottom_left, bottom_right) = (value(0, 31), value(47, 31));
    let corners = [
        [top_left, top_right, bottom_left, bottom_right],
        [top_right, top_left, bottom_right, bottom_left],
        [bottom_right, bottom_left, top_right, top_left],
        [bottom_left, bottom_right, top_left, top_right],
        [top_left, bottom_left, top_right, bottom_right],
        [bottom_left, top_left, bottom_right, top_right],
        [bottom_right, top_right, bottom_left, top_left],
        [top_right, bottom_right, top_left, bottom_left],
    ];
    for (orientation, expected) in (1_u8..).zip(corners) {
        for (name, bytes) in turned(&image, orientation) {
            let path = dir.path().join(name);
            fs::write(&path, bytes).unwrap();
            let read = read_image(&path).unwrap();
            let (right, bottom) = (read.width_px() - 1, read.height_px() - 1);
            assert_eq!(right, if orientation < 5 { 47 } else { 31 }, "{name} {orientation}");
            let found = [(0, 0), (right, 0), (0, bottom), (right, bottom)];
            for ((x, y), expected) in found.into_iter().zip(expected) {
                let near = read.pixel(x, y).iter().zip(expected).all(|(a, b)| a.abs_diff(b) < 4);
                assert!(near, "{name} {orientation}: {:?} at {x}, {y}", read.pixel(x, y));
            }
            let taken = read_sensor_image(&path).unwrap();
            assert_eq!((taken.width_px(), taken.height_px()), (48, 32), "{name} {orientation}");
            assert!(taken.pixel(47, 0)[0].abs_diff(top_right[0]) < 4, "{name} {orientation}");
        }
    }
}

#[test]
fn a_picture_too_large_for_memory_is_refused_by_its_header() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("bomb.png");
    let header = [&20_000_u32.to_be_bytes()[..], &20_000_u32.to_be_bytes(), &[8, 2, 0, 0, 0]];
    let signature = b"\x89PNG\r\n\x1a\n".to_vec();
    let parts = [
        signature,
        chunk(b"IHDR", &header.concat()),
        chunk(b"IDAT", &[0; 64]),
        chunk(b"IEND", &[]),
    ];
    fs::write(&path, parts.concat()).unwrap();
    let told = chain(&read_image(&path).unwrap_err());
    assert!(told.contains("20000x20000 px") && told.contains("67 megapixels"), "{told}");
    let sparse = fs::File::create(dir.path().join("huge.png")).unwrap();
    sparse.set_len(5_000_000_000).unwrap();
    let told = chain(&read_image(&dir.path().join("huge.png")).unwrap_err());
    assert!(told.contains("5000000000 bytes"), "{told}");
}
